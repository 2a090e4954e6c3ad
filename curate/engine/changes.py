"""What a run changed: the verdicts of a table held against those of the version before."""

from __future__ import annotations

import polars as pl

from curate.lake.state import State
from schemas.report import TableReport


def note_changes(report: TableReport, state: State, pin: int | None, verdicts: pl.DataFrame) -> None:
    """Count what arrived, came back, changed and went; all arrive where there was no version before."""
    if pin is None:
        report.arrived = int(verdicts.get_column("kept").sum())
        return
    old = state.scan(pin).select("id", was="kept", old_key="key").collect()
    both = verdicts.select("id", "key", "kept").join(old, on="id", how="full", coalesce=True)
    counts = both.select(
        arrived=(pl.col("was").is_null() & pl.col("kept")).sum(),
        came_back=(~pl.col("was") & pl.col("kept")).sum(),
        changed=(pl.col("was") & pl.col("kept") & (pl.col("key") != pl.col("old_key"))).sum(),
        gone=(pl.col("was") & ~pl.col("kept").fill_null(False)).sum(),
    ).row(0, named=True)
    for name, count in counts.items():
        setattr(report, name, int(count or 0))
