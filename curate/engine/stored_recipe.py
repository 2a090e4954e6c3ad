"""The recipe of a name as the lake has stored it, and another one put in its place."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

from curate.lake.lake import Lake
from curate.lake.runs import Head
from schemas.recipe import Recipe, build_recipe, load_recipe, packaged_recipes


def stored_recipe(lake: Lake, head: Head, name: str) -> Recipe | None:
    """The recipe under which the newest table of a name was made, up to that row; None before the first."""
    for seq in range(head.seq, 0, -1):
        row = head if seq == head.seq else lake.runs.at(seq)
        if row.name == name and row.recipe:
            return build_recipe(tomllib.loads(row.recipe))
    return None


def in_place_of(base: Recipe, new: str, settings: Mapping[str, Any]) -> Recipe:
    """The recipe in a file, or a packaged one, under the name of `base` and with at least its sources.

    Raises:
        RecipeError: it cannot be read.
    """
    packaged = new in packaged_recipes()
    data: dict[str, Any] = {"extends": new} if packaged else load_recipe(new).resolved
    sources = {**base.resolved["sources"], **data.get("sources", {})}
    return build_recipe(
        {**data, "name": base.name, "sources": sources}, dict(settings), "" if packaged else new
    )
