"""Makes a deduplicated table: exact copies by digest, then near-duplicates (`near.py`).

Sketches and verified pairs are content; which documents go is judged anew in every run from what stands,
so the result is a function of that alone and never of the order of arrival.
"""

from __future__ import annotations

import time

import numpy as np
import polars as pl

from curate.dedup.options import Keeper, MinhashOptions
from curate.engine.attribution import attribute
from curate.engine.changes import note_changes
from curate.engine.checks import Pinned, duplicate_checks, table_checks
from curate.engine.judge import reasons_of
from curate.engine.near import NearDuplicates
from curate.engine.plan import PlannedStep
from curate.engine.session import Session, verdict_digest
from curate.engine.standing import standing
from curate.lake.runs import Head
from schemas.report import TableReport


def make_deduplicated(session: Session, name: str) -> Head:
    """Drop what has a copy among what is kept; publish."""
    begun, base = time.perf_counter(), session.lake.head()
    rows = standing(session, base, name)
    session.progress.start(name, len(rows))
    fingerprints: dict[str, str] = {}
    verdicts, report = deduplicated_verdicts(session, base, name, rows, fingerprints)
    attribute(report, session.plan, session.plan.table(name), rows, verdicts)
    stored = session.lake.state(session.name, f"verdicts/{name}")
    pin = base.pins.get(session.key(f"verdicts/{name}"))
    note_changes(report, stored, pin, verdicts)
    version, written = stored.replace_rows(verdicts, pin, "id")
    report.bytes_written += written
    made = Pinned(stored, version)
    report.checks = [
        *table_checks(session, base, report, {f"verdicts/{name}": made}),
        *duplicate_checks(session, base, report, rows, made, fingerprints),
    ]
    report.seconds = time.perf_counter() - begun
    return session.publish(
        base,
        name,
        pins={f"verdicts/{name}": version},
        fingerprints=fingerprints,
        digests={name: verdict_digest(verdicts)},
        reads=[f"verdicts/{before.name}" for before in session.plan.before(name)],
        report=report,
    )


def deduplicated_verdicts(
    session: Session,
    base: Head,
    name: str,
    rows: pl.DataFrame,
    fingerprints: dict[str, str] | None = None,
    *,
    dry: bool = False,
) -> tuple[pl.DataFrame, TableReport]:
    """Verdicts on the documents that reach the table, and the report so far.

    `fingerprints` receives those of the content used. With `dry`, nothing is sketched or compared that
    was not before: such documents are kept, and counted as measured in the report.
    """
    table, report, count = session.plan.table(name), TableReport(table=name), len(rows)
    found = {} if fingerprints is None else fingerprints
    keeper, similarity, dropped_by = np.arange(count), np.zeros(count), np.full(count, -1)
    for number, step in enumerate(table.steps):
        began = time.perf_counter()
        alive = np.flatnonzero(dropped_by < 0)
        standing_rows = rows[alive]
        rank = keeper_rank(standing_rows, step.options.keeper, list(session.plan.recipe.sources))  # type: ignore[attr-defined]
        if isinstance(step.options, MinhashOptions):
            near = NearDuplicates(session, base, name, step.options, report, found, dry)
            stands_for, alike = near.find(standing_rows, rank)
        else:
            stands_for, alike = exact_copies(standing_rows, rank)
        gone = np.flatnonzero(stands_for != np.arange(len(alive)))
        keeper[alive[gone]], similarity[alive[gone]] = alive[stands_for[gone]], alike[gone]
        dropped_by[alive[gone]] = number
        report.step_seconds[step.name] = time.perf_counter() - began
    keeper, similarity = _follow(keeper, similarity)
    verdicts = _verdicts(rows, table.steps, keeper, similarity, dropped_by)
    report.reasons = reasons_of(verdicts, table, {})
    report.rows, report.kept = count, int(verdicts.get_column("kept").sum())
    return verdicts, report


def keeper_rank(rows: pl.DataFrame, keeper: Keeper, sources: list[str]) -> np.ndarray:
    """(n,) place of each document in the order of preference, 0 first.

    `first`: source order in the recipe, then URL or path, then id; `newest` puts the document's own date
    before that (no date comes last). Never the time of a fetch or the order of arrival.
    """
    order = {name: number for number, name in enumerate(sources)}
    frame = rows.select(
        "date",
        "place",
        "id",
        source=pl.col("source").replace_strict(order, return_dtype=pl.Int32),
        row=pl.int_range(pl.len()),
    )
    by = ["source", "place", "id"]
    newest = (
        frame.sort(["date", *by], descending=[True, False, False, False])
        if keeper == "newest"
        else frame.sort(by)
    )
    rank = np.empty(len(rows), dtype=np.int64)
    rank[newest.get_column("row").to_numpy()] = np.arange(len(rows))
    return rank


def exact_copies(rows: pl.DataFrame, rank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row that stands for each row (itself if kept), and similarity: the first in rank of equal texts."""
    frame = rows.select("text_digest", row=pl.int_range(pl.len())).with_columns(rank=pl.Series(rank))
    first = frame.select(pl.col("row").sort_by("rank").first().over("text_digest")).to_series().to_numpy()
    return first, (first != np.arange(len(rows))).astype(np.float64)


def _follow(keeper: np.ndarray, similarity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Let every row name a row that is kept: a copy of what a later step dropped goes with it."""
    while (keeper[keeper] != keeper).any():
        moved = keeper[keeper] != keeper
        similarity = np.where(moved, np.minimum(similarity, similarity[keeper]), similarity)
        keeper = keeper[keeper]
    return keeper, similarity


def _verdicts(
    rows: pl.DataFrame,
    steps: tuple[PlannedStep, ...],
    keeper: np.ndarray,
    similarity: np.ndarray,
    dropped_by: np.ndarray,
) -> pl.DataFrame:
    """Columns of `verdicts` for rows of which `dropped_by` (number of a step, -1 while kept) are gone."""
    reasons = [
        "near_duplicate" if isinstance(step.options, MinhashOptions) else "duplicate" for step in steps
    ]
    named = pl.DataFrame(
        {"by": range(len(steps)), "step": [step.name for step in steps], "reason": reasons},
        schema={"by": pl.Int64, "step": pl.String, "reason": pl.String},
    )
    frame = pl.DataFrame(
        {"by": dropped_by, "similarity": similarity, "keeper": rows.get_column("id").gather(keeper)}
    )
    kept = pl.col("by") < 0
    return (
        pl.concat([rows.select("id", key="text_digest"), frame], how="horizontal")
        .join(named, on="by", how="left", maintain_order="left")
        .select(
            "id",
            "key",
            kept.alias("kept"),
            pl.col("step").fill_null(""),
            pl.col("reason").fill_null(""),
            failed=pl.when(kept)
            .then(pl.lit([], dtype=pl.List(pl.String)))
            .otherwise(pl.concat_list(pl.format("{}.{}", "step", "reason"))),
            message=pl.lit(""),
            duplicate_of=pl.when(kept).then(pl.lit("")).otherwise("keeper"),
            similarity=pl.col("similarity"),
        )
    )
