"""How a table stands in Dagster before anything is made: key, group, kinds, pool, description, columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import dagster as dg

from curate.engine.plan import Plan
from indexing.described import columns, description
from schemas.recipe import Recipe

_GROUPS = {
    **dict.fromkeys(("pages", "documents"), "ingest"),
    **dict.fromkeys(("tokens", "finetune"), "training"),
    **dict.fromkeys(("chunks", "vectors", "index_candidate", "index_live"), "retrieval"),
}
_KINDS = {
    "vectors": {"pytorch", "deltalake"},
    "index_candidate": {"faiss"},
    "index_live": {"faiss"},
    "finetune": {"parquet"},
}
POOLS = {"pages": "network", "vectors": "gpu", "index_candidate": "gpu"}


def table_key(recipe: Recipe, table: str, key_prefix: Sequence[str]) -> dg.AssetKey:
    """`[name, table]`, below the prefix of a deployment."""
    return dg.AssetKey([*key_prefix, recipe.name, table])


def shown(plan: Plan, table: str, group_prefix: str) -> dict[str, Any]:
    """What `dagster.asset` is told of a table."""
    schema = [
        dg.TableColumn(column.name, str(column.type).replace("large_", ""), description=column.meaning)
        for column in columns(plan, table)
    ]
    steps = [step for one in plan.tables if one.name == table for step in one.steps]
    return {
        "group_name": group_prefix + _GROUPS.get(table, "curation"),
        "kinds": _KINDS.get(table, {"polars", "deltalake"}),
        "description": description(plan, table),
        "metadata": {"dagster/column_schema": dg.TableSchema(schema)} if schema else {},
        # Not of options and rules: Dagster reads it when it loads the code, a run reads the recipe as it is then.
        "code_version": ", ".join(f"{step.name} {step.stage.version}" for step in steps if step.stage)
        or None,
    }


def source_specs(recipe: Recipe, key_prefix: Sequence[str], group_prefix: str) -> list[dg.AssetSpec]:
    """The sources of a recipe, which Dagster does not make."""
    found = []
    for name, source in recipe.sources.items():
        urls = [re.sub(r"//[^/@]*@", "//", url) for url in source.url]  # a password may stand in one
        places = [*urls, *source.files, *filter(None, [source.loader])]
        found.append(
            dg.AssetSpec(
                dg.AssetKey([*key_prefix, recipe.name, "sources", name]),
                group_name=f"{group_prefix}ingest",
                kinds={"http" if source.url else "file" if source.files else "python"},
                description="\n".join(f"- `{place}`" for place in places),
                metadata={"license": source.license, "access": source.access},
            )
        )
    return found
