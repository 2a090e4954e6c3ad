"""The recipe and the lake of a folder, as Dagster loads them: `dagster dev`, `dg dev`, `curate ui`.

CURATE_RECIPE and CURATE_LAKE name others than curate.toml and lake in the working directory.
"""

from __future__ import annotations

import os

import dagster as dg

from dagster_defs.assets import curate_assets
from dagster_defs.jobs import curate_jobs
from schemas.errors import CurateError


def _definitions(recipe: str, lake: str) -> dg.Definitions:
    # In this process: Polars and torch use all cores anyway, and a process for each step costs seconds.
    assets = dg.Definitions(assets=curate_assets(recipe, lake=lake), executor=dg.in_process_executor)
    return dg.Definitions.merge(assets, curate_jobs(recipe, lake=lake))


try:
    defs = _definitions(os.environ.get("CURATE_RECIPE", "curate.toml"), os.environ.get("CURATE_LAKE", "lake"))
except CurateError as error:
    raise dg.DagsterInvalidDefinitionError(f"{error.message}\n{error.hint}") from None
