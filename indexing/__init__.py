"""From a corpus to answers: passages, vectors, index versions, gates, search.

from indexing import open_index

index = open_index("lake", "acme-docs")  # the live version
hits = index.search("How do I reset the VPN?", k=5, where="language = 'en'")
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from indexing.search import Index

__all__ = ["build_index", "open_index"]


def open_index(lake: str | Path = "lake", name: str = "") -> Index:
    """Open the live version of an index of a lake; `name` may be left out where there is only one.

    Raises:
        LakeError: no such lake or name.
        IndexingError: nothing is live under that name.
    """
    from indexing.live import live_version
    from indexing.search import Index

    return Index(lambda: live_version(lake, name))


def build_index(recipe: str | Path = "curate.toml", lake: str | Path = "lake") -> str:
    """Build the index of a corpus that stands, as the recipe's [index] says; returns the live version.

    What was cut and embedded before is not done again; a candidate that fails a gate does not go live.

    Raises:
        CurateError: what went wrong, and what to do.
    """
    from curate.engine.plan import make_plan
    from curate.engine.run import run_tables
    from indexing.way import INDEX_TABLES, check_way, make_table
    from schemas.errors import IndexingError
    from schemas.recipe import load_recipe

    plan = make_plan(load_recipe(recipe))
    if plan.recipe.index is None:
        raise IndexingError(f"{recipe} has no [index].", hint="Add the line [index] to the recipe.")
    check_way(plan)
    return run_tables(plan, lake, tables=INDEX_TABLES, make=make_table).live
