"""Makes a deduplicated table: exact copies by digest, then near-duplicates (`near.py`).

Sketches and verified pairs are content; which documents go is judged anew in every run from what stands,
so the result is a function of that alone and never of the order of arrival.
"""

from __future__ import annotations

import importlib
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
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
from curate.engine.session import Session
from curate.engine.stage import Options
from curate.engine.standing import standing_parts
from curate.lake.digest import ContentDigest
from curate.lake.runs import Head
from curate.lake.state import PART_ROWS
from schemas.report import NearError, TableReport
from schemas.tables import TABLES

_NEAR_ERROR = ("id", "key", "kept", "step", "duplicate_of")  # columns of verdicts that it is measured by


def make_deduplicated(session: Session, name: str) -> Head:
    """Drop what has a copy among what is kept; publish."""
    begun, base = time.perf_counter(), session.lake.head()
    table = session.plan.table(name)
    rows, groups = _reaching(session, base, table)
    session.progress.start(name, len(rows))
    ranks = _ranks(session, base, table, rows)
    rows = rows.drop("place")  # long, and only ranks are made of it
    fingerprints: dict[str, str] = {}
    decided, report = _decided(session, base, name, rows, fingerprints, ranks)
    del ranks
    digest = ContentDigest(("id", "key"))
    stored = session.lake.state(session.name, f"verdicts/{name}", TABLES["verdicts/deduplicated"].schema)
    pin = base.pins.get(session.key(f"verdicts/{name}"))
    attribution, changes = Attribution(session.plan, table), Changes(report, stored, pin)
    parts = _told(decided.parts(), groups, attribution, changes, digest)
    version, written = stored.replace_parts(parts, pin)
    del groups
    attribution.tell(report)
    report.bytes_written += written
    made = Pinned(stored, version)
    report.near_errors = _near_errors(session, base, report, rows, decided.verdicts(*_NEAR_ERROR))
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
        digests={name: digest.value},
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
    for part in standing_parts(session, base, table.name, steps):
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
    verdicts: Iterator[pl.DataFrame],
    groups: pl.DataFrame,
    attribution: Attribution,
    changes: Changes,
    digest: ContentDigest,
) -> Iterator[pl.DataFrame]:
    """Verdicts in parts, each told to those who gather what the report says."""
    first, start = "", 0
    for part, following in itertools.pairwise(itertools.chain(verdicts, [None])):
        assert part is not None
        attribution.add_groups(groups.slice(start, len(part)), part)
        last = "~" if following is None else following.item(0, "id")
        changes.add(part, (pl.col("id") >= pl.lit(first)) & (pl.col("id") < pl.lit(last)))
        digest.add(part.select("id", "key", "kept"))
        yield part
        first, start = last, start + len(part)


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

    `fingerprints` receives those of the content used. With `dry`, nothing is sketched or compared that was not before:
    such documents are kept, and counted as measured in the report.
    """
    made_from = {} if fingerprints is None else fingerprints
    ranks = _ranks(session, base, session.plan.table(name), rows)
    decided, report = _decided(session, base, name, rows, made_from, ranks, dry=dry)
    return decided.verdicts(), report


def _decided(
    session: Session,
    base: Head,
    name: str,
    rows: pl.DataFrame,
    fingerprints: dict[str, str],
    ranks: list[np.ndarray],
    *,
    dry: bool = False,
) -> tuple[_Decided, TableReport]:
    """What becomes of the documents that reach the table, and the report so far."""
    table, report, count = session.plan.table(name), TableReport(table=name), len(rows)
    told, dropped_by = Alike.copies(np.arange(count)), np.full(count, -1, np.int16)
    for number, step in enumerate(table.steps):
        assert isinstance(step.options, CorpusOptions)
        began = time.perf_counter()
        alive = np.flatnonzero(dropped_by < 0)
        reach = rows if len(alive) == count else rows[alive]
        comparing = Comparing(session, base, name, step.name, report, fingerprints, dry)
        alike = _finder(step.options)(comparing, step.options, reach, _places(ranks[number][alive]))
        gone = np.flatnonzero(alike.keeper != np.arange(len(alive)))
        told.keeper[alive[gone]] = alive[alike.keeper[gone]]
        for column in ("similarity", "estimate", "band"):
            getattr(told, column)[alive[gone]] = getattr(alike, column)[gone]
        dropped_by[alive[gone]] = number
        report.step_seconds[step.name] = time.perf_counter() - began
    decided = _Decided(rows.select("id", key="text_digest"), table.steps, _followed(told), dropped_by)
    failed = [part.filter(~pl.col("kept")).select("failed") for part in decided.parts()]
    report.reasons = reasons_of(pl.concat(failed), table, {})
    report.rows, report.kept = count, int((dropped_by < 0).sum())
    return decided, report


def _places(ranks: np.ndarray) -> np.ndarray:
    """Places 0 to n - 1 in the same order."""
    places = np.empty(len(ranks), dtype=np.int64)
    places[np.argsort(ranks)] = np.arange(len(ranks))
    return places


def _near_errors(
    session: Session, base: Head, report: TableReport, rows: pl.DataFrame, verdicts: pl.DataFrame
) -> list[NearError]:
    """What each `minhash` step misses, as far as it is to be measured."""
    found = []
    last = {one.step: one for one in session.last_report(base, report.table).near_errors}
    for step in session.plan.table(report.table).steps:
        if isinstance(step.options, MinhashOptions) and step.options.error_sample and len(rows):
            comparing = Comparing(session, base, report.table, step.name, report, {}, dry=False)
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


@dataclass(frozen=True)
class _Decided:
    """What becomes of documents, from which their verdicts are made some at a time."""

    rows: pl.DataFrame  # id and key
    steps: tuple[PlannedStep, ...]
    told: Alike
    dropped_by: np.ndarray  # (n,) number of a step, -1 while kept

    def verdicts(self, *columns: str) -> pl.DataFrame:
        """Columns of `verdicts` (all without a name) of all rows."""
        return pl.concat(part.select(*columns) if columns else part for part in self.parts())

    def parts(self) -> Iterator[pl.DataFrame]:
        """Verdicts in order of the rows, at least one part."""
        count = len(self.rows)
        stands_for = np.bincount(self.told.keeper, minlength=count) if count else np.zeros(0, np.int64)
        for start in range(0, max(count, 1), PART_ROWS):
            yield self._part(slice(start, start + PART_ROWS), stands_for[start : start + PART_ROWS])

    def _part(self, part: slice, stands_for: np.ndarray) -> pl.DataFrame:
        told, by = self.told, self.dropped_by[part]
        frame = pl.DataFrame(
            {
                "by": by.astype(np.int64),
                "similarity": told.similarity[part],
                "estimate": told.estimate[part],
                "band": told.band[part],
                "keeper": self.rows.get_column("id").gather(told.keeper[part]),
                "stands_for": stands_for.astype(np.int32),
                "weight": np.where(by < 0, _weights(self.steps, stands_for), 0.0),
            }
        )
        kept = pl.col("by") < 0
        return (
            pl.concat([self.rows[part], frame], how="horizontal")
            .join(_named_steps(self.steps), on="by", how="left", maintain_order="left")
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


def _named_steps(steps: tuple[PlannedStep, ...]) -> pl.DataFrame:
    """Number, name and reason of each step."""
    return pl.DataFrame(
        {
            "by": range(len(steps)),
            "step": [step.name for step in steps],
            "reason": [REASONS[_stage(step.options)] for step in steps],
        },
        schema={"by": pl.Int64, "step": pl.String, "reason": pl.String},
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
