"""What a changed [index] would make again: `curate plan`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curate.lake.lake import Lake
    from schemas.index import IndexOptions
    from schemas.recipe import Recipe

# What is made again by an option; an option that is not named here changes the index alone.
_CHUNKS = {"chunker", "chunk_tokens", "overlap", "embedder", "passage_prompt"}
_VECTORS = {
    "embedder",
    "query_prompt",
    "passage_prompt",
    "dtype",
}  # all are in the fingerprint of the embedder


def index_change(recipe: Recipe, lake: str) -> str:
    """What a run would make of the index because [index] is not that of the live one; "" if nothing.

    A passage that was cut or embedded in the same way before is never made again, whatever is said here.
    """
    from curate.lake.lake import open_lake

    home = open_lake(lake)
    live = home.head().live.get(recipe.name, "")
    if recipe.index is None:
        return f"the recipe has no [index]; {live} stays live as it is" if live else ""
    stands = _options(home, recipe.name, live)
    if stands is None:
        return "none is live; a run would make chunks, vectors and the index"
    return _differs(stands, recipe.index)


def _options(home: Lake, name: str, version: str) -> IndexOptions | None:
    """With which options an index version was built; None if it is not there."""
    from indexing.manifest import MANIFEST, read_manifest

    for folder in home.folders(home.root / name / "indexes", MANIFEST):
        if folder.name == version:
            return read_manifest(folder).options
    return None


def _differs(stands: IndexOptions, wanted: IndexOptions) -> str:
    """Which options differ, and what follows from that."""
    old, new = stands.model_dump(), wanted.model_dump()
    changed = {key: f"{key} {_shown(old[key])} → {_shown(new[key])}" for key in new if old[key] != new[key]}
    if not changed:
        return ""
    parts = ["chunks"] * bool(_CHUNKS & set(changed)) + ["vectors"] * bool(
        (_CHUNKS | _VECTORS) & set(changed)
    )
    made = ", ".join(parts) + " and the index" if parts else "the index"
    return f"{', '.join(changed.values())}: a run would make {made} anew"


def _shown(value: object) -> str:
    """An option as the recipe has it."""
    return "(not given)" if value is None else json.dumps(value)
