"""Finds the passages that documents share, for the step `repeated_passages`: over all of them, in one order.

The first document in the order of sources and places keeps its copy. Texts are read a batch at a time, twice for
lines and paragraphs (counted, then found), once for spans.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
import pyarrow as pa

from curate.dedup.options import ExactOptions
from curate.dedup.passages import PassageCounts
from curate.dedup.spans import SpanIndex
from curate.dedup.units import Ranges
from curate.dedup.written_ranges import write_ranges
from curate.engine.keepers import keeper_rank
from curate.engine.plan import PASSAGES, PlannedTable
from curate.engine.session import Session
from curate.engine.shard import plan_shards, read_texts
from curate.engine.standing import locate
from curate.engine.workers import raise_if_stopped
from curate.lake.runs import Head
from curate.stages.repeated_passages import RepeatedPassagesOptions


def with_passages(session: Session, base: Head, table: PlannedTable, rows: pl.DataFrame) -> pl.DataFrame:
    """Adds the column `passages` where a step of the table asks for it; rows keep their order."""
    if PASSAGES not in table.reads:
        return rows
    options = next(step.options for step in table.steps if isinstance(step.options, RepeatedPassagesOptions))
    rank = keeper_rank(rows, ExactOptions.model_validate({}), session.plan.recipe.sources)
    numbered = rows.select("id", "home", "home_key", "chars").with_columns(rank=pl.Series(rank))
    ordered = locate(session, base, numbered).sort("rank")
    found = _spans(session, ordered, options) if options.find == "spans" else _passages(ordered, options)
    written = write_ranges(found, len(ordered))
    return rows.join(
        ordered.select("id", pl.Series(PASSAGES, written)), on="id", how="left", maintain_order="left"
    )


def _batches(ordered: pl.DataFrame) -> Iterator[tuple[int, pa.LargeStringArray]]:
    """Number of the first row of each batch, and its texts."""
    for start, stop in plan_shards(ordered):
        raise_if_stopped()
        yield start, read_texts(ordered.slice(start, stop - start))


def _spans(session: Session, ordered: pl.DataFrame, options: RepeatedPassagesOptions) -> Ranges:
    index = SpanIndex(options.spans, session.work)
    return _joined([index.add(texts) for _, texts in _batches(ordered)])


def _passages(ordered: pl.DataFrame, options: RepeatedPassagesOptions) -> Ranges:
    counts = PassageCounts(options.passages)
    for first, texts in _batches(ordered):
        counts.add(texts, first)
    return _joined([counts.find(texts, first) for first, texts in _batches(ordered)])


def _joined(parts: list[Ranges]) -> Ranges:
    columns = (
        np.concatenate([np.empty(0, np.int64), *(getattr(part, name) for part in parts)])
        for name in ("row", "start", "stop")
    )
    return Ranges(*columns)
