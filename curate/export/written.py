"""What a writer says of one shard that it wrote, and how shards add up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True)
class Written:
    """What became of the rows of one shard, or of several together.

    Every row of the shard is in the files or in `dropped`: `taken` + the sum of `dropped` is their number
    (a check of the export).
    """

    rows: int = 0  # in the files: documents, conversations, sequences, pairs
    taken: int = 0  # rows of the shard that went into them; differs from `rows` where several make one
    tokens: int = 0  # in the files; 0 where nobody counted
    dropped: dict[str, int] = field(default_factory=dict)  # reason → rows of the shard
    numbers: dict[str, float] = field(default_factory=dict)  # of the kind's own; summed over shards
    languages: dict[str, int] = field(default_factory=dict)  # → rows of the shard that were taken
    sources: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As a worker returns it; `Written(**...)` reads it."""
        return asdict(self)


def add_up(parts: Iterable[Written]) -> Written:
    """Several shards together."""
    totals: dict[str, Any] = Written().to_json()
    for part in parts:
        for name, value in part.to_json().items():
            totals[name] = _plus(totals[name], value) if isinstance(value, dict) else totals[name] + value
    return Written(**totals)


def _plus(one: dict[str, Any], two: dict[str, Any]) -> dict[str, Any]:
    return {key: one.get(key, 0) + two.get(key, 0) for key in sorted({*one, *two})}


def counts(column: pa.Array | pa.ChunkedArray) -> dict[str, int]:
    """How often each value of a column of strings occurs, for `languages` and `sources`."""
    found = pc.value_counts(column.cast(pa.large_string())).to_pylist()
    return dict(sorted((str(entry["values"]), int(entry["counts"])) for entry in found))
