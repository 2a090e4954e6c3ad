"""What a run changed: the verdicts of a table held against those of the version before."""

from __future__ import annotations

import polars as pl

from curate.lake.state import State
from schemas.report import TableReport


class Changes:
    """Counts what arrived, came back, changed and went; all arrive where there was no version before."""

    def __init__(self, report: TableReport, state: State, pin: int | None) -> None:
        self._report, self._pin = report, pin
        self._stood = state.scan(pin) if pin is not None else None

    def add(self, verdicts: pl.DataFrame, ids: pl.Expr | None = None) -> None:
        """Verdicts on the documents with certain ids (on all, without)."""
        if self._stood is None:
            self._report.arrived += int(verdicts.get_column("kept").sum())
            return
        stood = self._stood if ids is None else self._stood.filter(ids)
        old = stood.select("id", was="kept", old_key="key").collect()
        both = verdicts.select("id", "key", "kept").join(old, on="id", how="full", coalesce=True)
        counts = both.select(
            arrived=(pl.col("was").is_null() & pl.col("kept")).sum(),
            came_back=(~pl.col("was") & pl.col("kept")).sum(),
            changed=(pl.col("was") & pl.col("kept") & (pl.col("key") != pl.col("old_key"))).sum(),
            gone=(pl.col("was") & ~pl.col("kept").fill_null(False)).sum(),
        ).row(0, named=True)
        for name, count in counts.items():
            setattr(self._report, name, getattr(self._report, name) + int(count or 0))
