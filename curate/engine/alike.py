"""What a step that compares documents found: which one stands for each, and how alike they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from curate.engine.session import Session
from curate.lake.runs import Head
from schemas.report import TableReport


@dataclass(frozen=True)
class Comparing:
    """What a step that compares documents works with.

    `report` and `fingerprints` (of the content used, by TABLE/STEP/CONTENT) are filled in. With `dry` nothing is
    sketched, embedded or compared that was not before.
    """

    session: Session
    base: Head
    table: str
    step: str
    report: TableReport
    fingerprints: dict[str, str]
    dry: bool

    def pin(self, content: str, fingerprint: str) -> str:
        """Name the content that the step uses, so that it stays and is found by `content_key`; the fingerprint again."""
        self.fingerprints[content_key(self.table, self.step, content)] = fingerprint
        return fingerprint


def content_key(table: str, step: str, content: str) -> str:
    """Under which name the content of a step stands beside that of the other steps of its table."""
    return f"{table}/{step}/{content}"


@dataclass(frozen=True)
class Alike:
    """Of n documents, in their order."""

    keeper: np.ndarray
    """(n,) row that stands for each; itself if it is kept."""
    similarity: np.ndarray
    """(n,) float64, exact, to that row; 0 if kept."""
    estimate: np.ndarray
    """(n,) float64, what the sketches said; 0 if kept or not compared by sketch."""
    band: np.ndarray
    """(n,) int32, first band of the sketch in which both are equal; -1 if there is none."""

    @classmethod
    def copies(cls, keeper: np.ndarray) -> Alike:
        """Where what is alike is equal."""
        gone = keeper != np.arange(len(keeper))
        return cls(keeper, gone.astype(np.float64), np.zeros(len(keeper)), np.full(len(keeper), -1, np.int32))


def by_group(rows: pl.DataFrame, column: str) -> list[np.ndarray]:
    """Row numbers of each group of rows with the same value of a column or expression; all, without one."""
    if not column:
        return [np.arange(len(rows))]
    numbered = rows.select(group=pl.sql_expr(column), row=pl.int_range(pl.len()))
    groups = numbered.group_by("group", maintain_order=True).agg("row").get_column("row")
    return [group.to_numpy() for group in groups]
