"""The public factory: a recipe as assets with their checks."""

# No `from __future__ import annotations` here and in jobs.py: Dagster reads the annotations of its functions.
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from curate.engine.checks import check_names
from curate.engine.plan import make_plan
from curate.lake.mirror import is_url
from dagster_defs.graph import POOLS, shown, source_specs, table_key
from dagster_defs.running import Asset, RunSettings, told
from indexing.way import tables_of
from schemas.checks import CHECKS
from schemas.recipe import load_recipe

_AC = dg.AutomationCondition
# Dagster's `eager` runs on unchanged data too, and does not look at checks.
_INPUTS_CHANGED = (
    _AC.eager().replace("any_deps_updated", _AC.any_deps_match(_AC.data_version_changed()))
    & _AC.all_deps_blocking_checks_passed()
).with_label("inputs changed and checked")
# One nightly run was missed; two were.
_NIGHTLY = dg.FreshnessPolicy.time_window(warn_window=timedelta(hours=26), fail_window=timedelta(hours=50))
_ENDS = ("pages", "index_live")  # what asks the world, and what users see: fresh, and never automatic


def curate_assets(
    recipe: str | Path,
    *,
    lake: str | Path = "lake",
    key_prefix: Sequence[str] = (),
    group_prefix: str = "",
    tags: Mapping[str, Mapping[str, Any]] | None = None,
    pools: Mapping[str, str] | None = None,
    owners: Sequence[str] | None = None,
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """An asset with its checks for each table of a recipe, and one for each source, keys `[name, table]`.

    They merge into any `Definitions` that has the resource `curate` (see `curate_jobs`), and run under any
    executor whose steps see the recipe and the lake.

    Args:
        recipe: the file.
        lake: the lake, a folder or a URL.
        key_prefix: what stands before `[name, table]`.
        group_prefix: what stands before the groups ingest, curation, training, retrieval.
        tags: table → tags of its step, for example {"vectors": {"dagster-k8s/config": {...}}}.
        pools: table → concurrency pool, merged over pages: network, vectors and index_candidate: gpu.
        owners: as Dagster has them; not given: team:NAME.

    Raises:
        CurateError: the recipe cannot be run.
    """
    plan = make_plan(load_recipe(recipe))
    name, tables = plan.recipe.name, tables_of(plan.recipe)
    keys = {table: table_key(plan.recipe, table, key_prefix) for table in tables}
    sources = source_specs(plan.recipe, key_prefix, group_prefix)
    home = str(lake) if is_url(lake) else str(Path(lake).resolve())
    found: list[dg.AssetsDefinition | dg.AssetSpec] = [*sources]
    for table, inputs in tables.items():
        severities = check_names(plan.recipe, table)
        define = dg.asset(
            key=keys[table],
            deps=[keys[one] for one in inputs] or sources,
            **shown(plan, table, group_prefix),
            check_specs=[_check_spec(check, keys[table], severities[check]) for check in severities],
            op_tags=(tags or {}).get(table),
            pool={**POOLS, **(pools or {})}.get(table),
            owners=[f"team:{name}"] if owners is None else owners,
            automation_condition=None if table in _ENDS else _INPUTS_CHANGED,
            freshness_policy=_NIGHTLY if table in _ENDS else None,
        )
        asset = Asset(str(Path(recipe).resolve()), name, home, table, keys[table], severities)
        found.append(define(_function(asset)))
    return found


def _check_spec(name: str, key: dg.AssetKey, severity: str) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        name, asset=key, blocking=severity == "blocking", description=CHECKS[name].meaning
    )


def _function(asset: Asset) -> Any:
    def make(context: dg.AssetExecutionContext, curate: RunSettings) -> dg.MaterializeResult:  # type: ignore[type-arg]
        with told(context, again=asset.table == "pages"):
            return asset.make(context, curate)

    return make
