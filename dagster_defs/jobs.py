"""What stands beside the assets of a recipe: jobs, a nightly schedule, sensors, the resource."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from curate.engine.session import recipe_text
from curate.lake.digest import digest_json
from curate.reports.masked import masked
from curate.sources.files import find_files
from curate.sources.remote import find_objects, is_url
from dagster_defs.graph import table_key
from dagster_defs.running import RunSettings, told
from indexing.live import promote, rollback
from indexing.way import INDEX_TABLES, tables_of
from schemas.errors import CurateError
from schemas.recipe import Recipe, load_recipe

_SETTINGS = RunSettings()  # one object: Dagster merges a key that several definitions share only then


class Promotion(dg.Config):
    """Which index version is to answer."""

    version: str = Field(description="as curate index list shows it")


def curate_jobs(
    recipe: str | Path, *, lake: str | Path = "lake", key_prefix: Sequence[str] = ()
) -> dg.Definitions:
    """Jobs, schedule, sensors and the resource `curate` for the assets of `curate_assets`, given the same.

    Jobs: NAME_refresh makes every table, NAME_index the index; NAME_promote and NAME_rollback choose the
    index version that answers. The schedule and the sensors are off until somebody switches them on.

    Raises:
        CurateError: the recipe cannot be loaded.
    """
    path = Path(recipe).resolve()
    loaded = load_recipe(path)
    name = loaded.name.replace("-", "_")
    keys = {table: table_key(loaded, table, key_prefix) for table in tables_of(loaded)}
    refresh = dg.define_asset_job(f"{name}_refresh", list(keys.values()), description="Make every table.")
    jobs: list[Any] = [refresh]
    if loaded.index is not None:
        index = [keys[table] for table in INDEX_TABLES]
        jobs.append(dg.define_asset_job(f"{name}_index", index, description="Make the index of the corpus."))
        jobs += _live_jobs(name, loaded.name, lake, keys["index_live"])
    sensors = [_sensor(f"{name}_recipe_changed", recipe_text, path, refresh)]
    if any(source.files for source in loaded.sources.values()):
        sensors.append(_sensor(f"{name}_new_files", files_of, path, refresh))
    nightly = dg.ScheduleDefinition(f"{name}_nightly", job=refresh, cron_schedule="0 2 * * *")
    return dg.Definitions(jobs=jobs, schedules=[nightly], sensors=sensors, resources={"curate": _SETTINGS})


def _live_jobs(name: str, recipe: str, lake: str | Path, key: dg.AssetKey) -> list[dg.JobDefinition]:
    def tell(context: dg.OpExecutionContext, version: str) -> None:
        tags = {"dagster/data_version": version}
        context.log_event(dg.AssetMaterialization(key, metadata={"index version": version}, tags=tags))

    @dg.op(name=f"{name}_promote_version")
    def promote_version(context: dg.OpExecutionContext, config: Promotion) -> None:
        with told(context):
            tell(context, promote(lake, recipe, config.version))

    @dg.op(name=f"{name}_rollback_version")
    def rollback_version(context: dg.OpExecutionContext) -> None:
        with told(context):
            tell(context, rollback(lake, recipe))

    @dg.job(name=f"{name}_promote", description="Make an index version live, if its gates passed.")
    def promote_job() -> None:
        promote_version()

    @dg.job(name=f"{name}_rollback", description="Make the index live that was live before.")
    def rollback_job() -> None:
        rollback_version()

    return [promote_job, rollback_job]


def files_of(recipe: Recipe) -> list[list[Any]]:
    """Path, size and time of every file of the sources; URL, and size and etag, of every object."""
    patterns = [pattern for source in recipe.sources.values() for pattern in source.files]
    local = find_files([pattern for pattern in patterns if not is_url(pattern)], recipe.folder.resolve())
    stats = [(str(file), file.stat()) for file in local]
    objects = find_objects([pattern for pattern in patterns if is_url(pattern)])
    return [*([file, stat.st_size, stat.st_mtime_ns] for file, stat in stats), *map(list, objects.items())]


def _sensor(name: str, look: Callable[[Recipe], Any], path: Path, job: Any) -> dg.SensorDefinition:
    """Asks for a run of what it sees twice alike and has not run yet; the cursor holds both."""

    @dg.sensor(name=name, job=job, minimum_interval_seconds=30)
    def changed(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        before = {"seen": "", "ran": "", **json.loads(context.cursor or "{}")}
        try:
            seen = digest_json(look(load_recipe(path)))
        except (CurateError, OSError) as error:
            return dg.SkipReason(" ".join(masked([str(error), getattr(error, "hint", "")])))
        settled = seen == before["seen"] != before["ran"]
        cursor = json.dumps({"seen": seen, "ran": seen if settled else before["ran"]})
        return dg.SensorResult([dg.RunRequest()] if settled else [], cursor=cursor)

    return changed
