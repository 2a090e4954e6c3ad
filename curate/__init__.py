"""From a source to a corpus.

    from curate import run, clean

    run("curate.toml")                                # the whole way, in the lake ./lake
    clean(["docs.jsonl"], "kept.parquet")             # one-off, with no lake

What is heavy is imported when it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curate.cli.whole import run
    from curate.engine.clean import clean
    from curate.engine.stage import stage
    from curate.lake.lake import open_lake

__all__ = ["clean", "open_lake", "run", "stage"]

_HOMES = {
    "clean": "curate.engine.clean",
    "open_lake": "curate.lake.lake",
    "run": "curate.cli.whole",
    "stage": "curate.engine.stage",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'curate' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
