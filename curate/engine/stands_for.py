"""How many documents each document of the product stands for, and how often it is to be read in training."""

from __future__ import annotations

import polars as pl

from curate.dedup.options import CorpusOptions
from curate.engine.plan import PlannedTable
from curate.engine.session import Session
from curate.lake.runs import Head


def sizes(session: Session, head: Head) -> pl.DataFrame:
    """How many documents each one stands for by the verdicts pinned in `head`: id, stands_for, of those that stand for more than themselves.

    What one table dropped for a document that a later one drops counts for the keeper of that.
    """
    found = pl.LazyFrame(schema={"id": pl.String, "stands_for": pl.Int64})
    for table in _tables(session):
        verdicts = session.lake.read(session.name, f"verdicts/{table.name}", head)
        owner = pl.when("kept").then("id").otherwise("duplicate_of")
        each = verdicts.select("id", owner=owner).join(found, on="id", how="left")
        found = each.group_by(id="owner").agg(pl.col("stands_for").fill_null(1).sum())
        found = found.filter(pl.col("stands_for") > 1)
    return found.collect()


def with_sizes(session: Session, rows: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Adds `stands_for` (int32, from 1) and `weight` (float64) to documents (id), by what `sizes` found.

    The weight is that of the last step with a table of `weights`; 1 without one.
    """
    rows = rows.join(found, on="id", how="left", maintain_order="left")
    counts = rows.get_column("stands_for").fill_null(1).cast(pl.Int32)
    options = [step.options for table in _tables(session) for step in table.steps]
    weights = [one.weight_table for one in options if isinstance(one, CorpusOptions) and one.weights]
    weight = weights[-1].of(counts.to_numpy()) if weights else [1.0] * len(counts)
    return rows.with_columns(stands_for=counts, weight=pl.Series(weight, dtype=pl.Float64))


def _tables(session: Session) -> list[PlannedTable]:
    return [table for table in session.plan.before("corpus") if table.kind == "deduplicated"]
