"""Dagster's door: a recipe as assets, checks, jobs, a schedule and sensors, for anybody's `Definitions`.

`Definitions.merge(Definitions(assets=curate_assets(RECIPE)), curate_jobs(RECIPE))` is a whole deployment.
"""

from dagster_defs.assets import curate_assets
from dagster_defs.jobs import curate_jobs

__all__ = ["curate_assets", "curate_jobs"]
