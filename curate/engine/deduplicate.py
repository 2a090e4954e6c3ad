"""Makes a deduplicated table: exact copies by digest, then near-duplicates (`near.py`).

Sketches and verified pairs are content; which documents go is judged anew in every run from what stands,
so the result is a function of that alone and never of the order of arrival.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from curate.dedup.options import (
    FINDERS,
    NORMALIZED,
    OPTIONS,
    REASONS,
    TEXT,
    CorpusOptions,
    ExactOptions,
    MinhashOptions,
    SemanticOptions,
)  # fmt: skip
from curate.engine.alike import Alike, Comparing
from curate.engine.attribution import Attribution, grouped_by
from curate.engine.changes import Changes
from curate.engine.checks import Pinned, duplicate_checks, recall_check, table_checks
from curate.engine.judge import reasons_of
from curate.engine.keepers import keeper_expression, keeper_rank
from curate.engine.near import NearDuplicates
from curate.engine.near_error import near_error
from curate.engine.plan import PlannedStep, PlannedTable
from curate.engine.session import Session, verdict_digest
from curate.engine.stage import Options
from curate.engine.standing import id_ranges, reaching, standing
from curate.lake.runs import Head
from curate.lake.state import PART_ROWS
from schemas.report import NearError, TableReport
from schemas.tables import TABLES


def make_deduplicated(session: Session, name: str) -> Head:
    """Drop what has a copy among what is kept; publish."""
    begun, base = time.perf_counter(), session.lake.head()
    table = session.plan.table(name)
    rows, groups = _reaching(session, base, table)
    session.progress.start(name, len(rows))
    ranks = _ranks(session, base, table, rows)
    rows = rows.drop("place")  # long, and only ranks are made of it
    fingerprints: dict[str, str] = {}
    verdicts, report = deduplicated_verdicts(session, base, name, rows, fingerprints, ranks=ranks)
    stored = session.lake.state(session.name, f"verdicts/{name}", TABLES["verdicts/deduplicated"].schema)
    pin = base.pins.get(session.key(f"verdicts/{name}"))
    attribution, changes = Attribution(session.plan, table), Changes(report, stored, pin)
    version, written = stored.replace_parts(_told(verdicts, groups, attribution, changes), pin)
    attribution.tell(report)
    report.bytes_written += written
    made = Pinned(stored, version)
    report.near_errors = _near_errors(Comparing(session, base, name, report, {}, dry=False), rows, verdicts)
    report.checks = [
        *report.checks,
        *recall_check(report.near_errors),
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


def _reaching(session: Session, base: Head, table: PlannedTable) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Documents that reach the table, by id, with what is asked of them; and by what drop rates are told."""
    named = _named(table)
    told = {name for other in session.plan.tables for name, _ in other.measured}
    languages = {name for name in told if _is_langid(session, name)}
    if any(isinstance(step.options, SemanticOptions) for step in table.steps):
        named |= languages | {"declared_language"}  # which ones the embedder does not know is told
    steps = [name for name in told if name in named | languages]
    rows, groups = [], []
    for ids in id_ranges(reaching(session, base, table.name)):
        part = standing(session, base, table.name, steps=steps, among=ids).sort("id")
        rows.append(part.select([name for name in part.columns if name in named]))
        groups.append(grouped_by(session.plan, part).cast(pl.Categorical))
    return pl.concat(rows), pl.concat(groups)


def _is_langid(session: Session, step: str) -> bool:
    return any(
        known.name == step and known.stage is not None and known.stage.name == "langid"
        for table in session.plan.tables
        for known in table.steps
    )


def _named(table: PlannedTable) -> set[str]:
    """Columns that the steps of a table need of a document."""
    named = {"id", "text_digest", "source", "place", "chars", "date", "home", "home_key"}
    for step in table.steps:
        assert isinstance(step.options, CorpusOptions)
        options = step.options
        by = options.by if isinstance(options, ExactOptions) and options.by not in (TEXT, NORMALIZED) else ""
        keeper = keeper_expression(options.keeper)
        for sql in filter(None, (options.within, by, keeper)):
            named.update(pl.sql_expr(sql).meta.root_names())
    newest = any(
        isinstance(step.options, CorpusOptions) and step.options.keeper == "newest" for step in table.steps
    )
    return named if newest else named - {"date"}


def _ranks(session: Session, base: Head, table: PlannedTable, rows: pl.DataFrame) -> list[np.ndarray]:
    """Order of preference of each step over all rows."""
    before = _kept_before(session, base, table)
    sources = session.plan.recipe.sources
    return [
        keeper_rank(rows, step.options, sources, before)
        for step in table.steps
        if isinstance(step.options, CorpusOptions)
    ]


def _told(
    verdicts: pl.DataFrame, groups: pl.DataFrame, attribution: Attribution, changes: Changes
) -> Iterator[pl.DataFrame]:
    """Verdicts in parts, each told to those who gather what the report says."""
    for start in range(0, len(verdicts), PART_ROWS):
        part = verdicts.slice(start, PART_ROWS)
        attribution.add_groups(groups.slice(start, PART_ROWS), part)
        first = part.item(0, "id") if start else ""
        last = verdicts.item(start + PART_ROWS, "id") if start + PART_ROWS < len(verdicts) else "~"
        changes.add(part, (pl.col("id") >= pl.lit(first)) & (pl.col("id") < pl.lit(last)))
        yield part
    if verdicts.is_empty():
        changes.add(verdicts)


def deduplicated_verdicts(
    session: Session,
    base: Head,
    name: str,
    rows: pl.DataFrame,
    fingerprints: dict[str, str] | None = None,
    *,
    dry: bool = False,
    ranks: list[np.ndarray] | None = None,
) -> tuple[pl.DataFrame, TableReport]:
    """Verdicts on the documents that reach the table, and the report so far.

    `fingerprints` receives those of the content used; `ranks` are given where `rows` have no place any more. With `dry`, nothing is sketched or compared that
    was not before: such documents are kept, and counted as measured in the report.
    """
    table, report, count = session.plan.table(name), TableReport(table=name), len(rows)
    made_from = {} if fingerprints is None else fingerprints
    comparing = Comparing(session, base, name, report, made_from, dry)
    ranks = _ranks(session, base, table, rows) if ranks is None else ranks
    told, dropped_by = Alike.copies(np.arange(count)), np.full(count, -1)
    for number, step in enumerate(table.steps):
        assert isinstance(step.options, CorpusOptions)
        began = time.perf_counter()
        alive = np.flatnonzero(dropped_by < 0)
        reach = rows if len(alive) == count else rows[alive]
        alike = _finder(step.options)(comparing, step.options, reach, _places(ranks[number][alive]))
        gone = np.flatnonzero(alike.keeper != np.arange(len(alive)))
        told.keeper[alive[gone]] = alive[alike.keeper[gone]]
        for column in ("similarity", "estimate", "band"):
            getattr(told, column)[alive[gone]] = getattr(alike, column)[gone]
        dropped_by[alive[gone]] = number
        report.step_seconds[step.name] = time.perf_counter() - began
    verdicts = _verdicts(rows, table.steps, _followed(told), dropped_by)
    report.reasons = reasons_of(verdicts, table, {})
    report.rows, report.kept = count, int(verdicts.get_column("kept").sum())
    return verdicts, report


def _places(ranks: np.ndarray) -> np.ndarray:
    """Places 0 to n - 1 in the same order."""
    places = np.empty(len(ranks), dtype=np.int64)
    places[np.argsort(ranks)] = np.arange(len(ranks))
    return places


def _near_errors(comparing: Comparing, rows: pl.DataFrame, verdicts: pl.DataFrame) -> list[NearError]:
    """What each `minhash` step misses, as far as it is to be measured."""
    session, found = comparing.session, []
    last = {one.step: one for one in session.last_report(comparing.base, comparing.table).near_errors}
    for step in session.plan.table(comparing.table).steps:
        if isinstance(step.options, MinhashOptions) and step.options.error_sample and len(rows):
            near = NearDuplicates(comparing, step.options)
            found.append(near_error(near, step.name, rows, verdicts, last.get(step.name)))
    return found


def _kept_before(session: Session, base: Head, table: PlannedTable) -> pl.Series:
    """Ids that the version before kept; none are asked for without a step that wants them."""
    stable = any(
        isinstance(step.options, CorpusOptions) and step.options.keeper == "stable" for step in table.steps
    )
    if not stable or session.key(f"verdicts/{table.name}") not in base.pins:
        return pl.Series("id", [], pl.String)
    kept = session.lake.read(session.name, f"verdicts/{table.name}", base).filter("kept").select("id")
    return kept.collect().get_column("id")


def _followed(told: Alike) -> Alike:
    """Let every row name a row that is kept: a copy of what a later step dropped goes with it."""
    keeper, similarity = told.keeper, told.similarity
    while (keeper[keeper] != keeper).any():
        moved = keeper[keeper] != keeper
        similarity = np.where(moved, np.minimum(similarity, similarity[keeper]), similarity)
        keeper = keeper[keeper]
    return replace(told, keeper=keeper, similarity=similarity)


def _verdicts(
    rows: pl.DataFrame, steps: tuple[PlannedStep, ...], told: Alike, dropped_by: np.ndarray
) -> pl.DataFrame:
    """Columns of `verdicts` for rows of which `dropped_by` (number of a step, -1 while kept) are gone."""
    named = pl.DataFrame(
        {
            "by": range(len(steps)),
            "step": [step.name for step in steps],
            "reason": [REASONS[_stage(step.options)] for step in steps],
        },
        schema={"by": pl.Int64, "step": pl.String, "reason": pl.String},
    )
    stands_for = np.bincount(told.keeper, minlength=len(rows)) if len(rows) else np.zeros(0, np.int64)
    frame = pl.DataFrame(
        {
            "by": dropped_by,
            "similarity": told.similarity,
            "estimate": told.estimate,
            "band": told.band,
            "keeper": rows.get_column("id").gather(told.keeper),
            "stands_for": stands_for.astype(np.int32),
            "weight": np.where(dropped_by < 0, _weights(steps, stands_for), 0.0),
        }
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
            estimate=pl.col("estimate"),
            band=pl.col("band"),
            stands_for=pl.col("stands_for"),
            weight=pl.col("weight"),
        )
    )


def _stage(options: Options) -> str:
    return next(name for name, model in OPTIONS.items() if type(options) is model)


def _finder(options: Options) -> Callable[[Comparing, Any, pl.DataFrame, np.ndarray], Alike]:
    """The function of a step, found by name as the tasks of workers are: one needs what lies above this package."""
    module, _, function = FINDERS[_stage(options)].partition(":")
    found: Callable[[Comparing, Any, pl.DataFrame, np.ndarray], Alike] = getattr(
        importlib.import_module(module), function
    )
    return found


def _weights(steps: tuple[PlannedStep, ...], stands_for: np.ndarray) -> np.ndarray:
    """Of the last step that has a table of weights; 1 without one."""
    tables = [step.options.weight_table for step in steps if isinstance(step.options, CorpusOptions)]
    given = [table for table in tables if len(table.least)]
    return given[-1].of(stands_for) if given else np.ones(len(stands_for))
