"""Makes a measured table: measure what was never measured, judge everything, publish."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from curate.engine.attribution import Attribution
from curate.engine.changes import Changes
from curate.engine.checks import Pinned, table_checks
from curate.engine.histogram import Histograms
from curate.engine.judge import Judge
from curate.engine.passages import with_passages
from curate.engine.plan import PASSAGES, PlannedTable
from curate.engine.session import Session
from curate.engine.shard import plan_shards, step_tasks, write_plan
from curate.engine.standing import document_parts, id_ranges, locate, reaching, standing
from curate.lake.content import Appender, Content, new_file
from curate.lake.digest import ContentDigest, digest_rows
from curate.lake.keyset import KeySet
from curate.lake.runs import Head
from curate.lake.state import PART_ROWS
from schemas.errors import StageError
from schemas.report import Failure, TableReport
from schemas.tables import TABLES

ERRORS = {"key": pl.String, "step": pl.String, "message": pl.String}
_FAILURES_SHOWN = 20
Rows = Callable[
    [pl.Expr], pl.DataFrame
]  # the documents that reach a table and meet a condition: see `standing`


@dataclass
class MeasuredTable:
    """A table that was measured and judged, its verdicts written and not yet published."""

    base: Head
    table: PlannedTable
    rows: Rows
    verdicts: Pinned
    digest: str  # of the verdicts
    content: Content
    report: TableReport
    begun: float

    def kept(self, session: Session) -> Iterator[pl.DataFrame]:
        """The rows that are kept, with key and one struct per step; those whose texts lie together come together."""
        for part in document_parts(session, self.base):
            rows = self.rows(part)
            ids = rows.get_column("id").implode()
            kept = (
                self.verdicts.scan().filter(pl.col("kept") & pl.col("id").is_in(ids)).select("id").collect()
            )
            yield _measured(
                rows.join(kept, on="id", how="semi", maintain_order="left"), self.table, self.content
            )


def make_measured(session: Session, name: str) -> Head:
    """Measure, judge and publish one table of steps that look at one document at a time."""
    return publish_measured(session, measure_table(session, name), {}, {})


def measure_table(session: Session, name: str) -> MeasuredTable:
    """Measure what was never measured, and judge everything that reaches the table, a part after the other."""
    begun, base = time.perf_counter(), session.lake.head()
    table, report = session.plan.table(name), TableReport(table=name)
    count = reaching(session, base, name)
    rows = _rows_of(session, base, table, count)
    content = session.lake.content(name, table.fingerprint, table.schema)
    errors = measure_missing(session, base, table, rows, count, content, report)
    # Of a table called deduplicated, too, whose steps that compare documents are switched off.
    state = session.lake.state(session.name, f"verdicts/{name}", TABLES["verdicts"].schema)
    pin = base.pins.get(session.key(f"verdicts/{name}"))
    judging = _Judging(session, table, errors, report, Changes(report, state, pin))
    parts = (
        judging.verdicts(_measured(rows(ids).sort("id"), table, content), ids) for ids in id_ranges(count)
    )
    version, written = state.replace_parts(parts, pin)
    report.bytes_written += written
    judging.finish()
    return MeasuredTable(
        base, table, rows, Pinned(state, version), judging.digest.value, content, report, begun
    )


def publish_measured(
    session: Session, made: MeasuredTable, more: dict[str, Pinned], digests: dict[str, str]
) -> Head:
    """Check and publish the verdicts of a measured table, and the state tables that were made of it."""
    name = made.table.name
    pinned = {f"verdicts/{name}": made.verdicts, **more}
    made.report.checks = [*table_checks(session, made.base, made.report, pinned), *made.report.checks]
    made.report.seconds = time.perf_counter() - made.begun
    return session.publish(
        made.base,
        name,
        pins={key: table.version for key, table in pinned.items()},
        fingerprints={name: made.table.fingerprint},
        digests={name: made.digest, **digests},
        reads=[f"verdicts/{before.name}" for before in session.plan.before(name)],
        report=made.report,
    )


class _Judging:
    """Judges a table part by part, and gathers what the report tells of it."""

    def __init__(
        self,
        session: Session,
        table: PlannedTable,
        errors: pl.DataFrame,
        report: TableReport,
        changes: Changes,
    ) -> None:
        self._report, self._changes = report, changes
        self._judge = Judge(table, errors)
        self._histograms = Histograms(table, session.work)
        self._attribution = Attribution(session.plan, table)
        self._languages: Counter[str] = Counter()
        self.digest = ContentDigest(("id", "key"))

    def verdicts(self, judged: pl.DataFrame, ids: pl.Expr) -> pl.DataFrame:
        """Verdicts on the documents with certain ids."""
        verdicts, report = self._judge.verdicts(judged), self._report
        report.rows += len(verdicts)
        report.kept += int(verdicts.get_column("kept").sum())
        report.failures += _failures(verdicts, judged)[: _FAILURES_SHOWN - len(report.failures)]
        self._histograms.add(judged, verdicts)
        self._attribution.add(judged, verdicts)
        self._languages.update(_languages(judged))
        self._changes.add(verdicts, ids)
        self.digest.add(verdicts.select("id", "key", "kept"))
        return verdicts

    def finish(self) -> None:
        """Fill in the report."""
        self._report.reasons = self._judge.reasons
        self._report.histograms = self._histograms.made()
        self._report.languages = dict(self._languages.most_common())
        self._attribution.tell(self._report)


def _rows_of(session: Session, base: Head, table: PlannedTable, count: int) -> Rows:
    """How the documents that reach a table and meet a condition are found, with their keys.

    Few are found once and held, and so are those whose passages are compared with all others'.
    """
    steps = session.plan.steps_asked_by(table)
    if PASSAGES in table.reads or count <= PART_ROWS:
        whole = with_passages(session, base, table, standing(session, base, table.name, steps=steps))
        return with_keys(whole, table).filter
    return lambda among: with_keys(standing(session, base, table.name, steps=steps, among=among), table)


def _measured(rows: pl.DataFrame, table: PlannedTable, content: Content) -> pl.DataFrame:
    """Rows with their measurements."""
    found = content.find(rows.get_column("key"), ["key", "digest_out", *(step for step, _ in table.measured)])
    return rows.join(found, on="key", how="left", maintain_order="left")


def with_keys(rows: pl.DataFrame, table: PlannedTable) -> pl.DataFrame:
    """Adds `key`: the digest of the text, and of the columns that the table's steps read."""
    if not table.reads:
        return rows.with_columns(key="text_digest")
    read = rows.select(
        pl.col(_path(name)[0])
        if len(_path(name)) == 1
        else pl.col(_path(name)[0]).struct.field(_path(name)[1]).alias(name)
        for name in table.reads
    )
    return rows.with_columns(key=digest_rows([rows.get_column("text_digest"), *read.get_columns()]))


def _path(name: str) -> list[str]:
    return name.split(".", 1)


def measure_missing(
    session: Session,
    head: Head,
    table: PlannedTable,
    rows: Rows,
    count: int,
    content: Content,
    report: TableReport,
) -> pl.DataFrame:
    """Run the steps over texts whose key is not in the content; returns errors (key, step, message)."""
    appender = content.append()
    session.progress.start(table.name, count)
    tasks = list(_tasks_of_missing(session, head, table, rows, appender, report))
    session.progress.advance(table.name, count - report.measured)
    errors: list[list[str]] = []
    done = 0
    for result in session.workers.map("curate.engine.shard:measure_shard", tasks):
        if result["file"]:
            appender.add(Path(result["file"]))
        errors += result["errors"]
        done += result["done"]
        refuse_many_errors(table.name, errors, done, report.measured)
        for step, seconds in result["seconds"].items():
            report.step_seconds[step] = report.step_seconds.get(step, 0.0) + seconds
        session.progress.advance(table.name, result["done"])
    content.compact(session.many_files)
    report.bytes_written += appender.bytes
    return pl.DataFrame(errors, schema=ERRORS, orient="row")


def _tasks_of_missing(
    session: Session, head: Head, table: PlannedTable, rows: Rows, appender: Appender, report: TableReport
) -> Iterator[dict[str, Any]]:
    """The shards of all texts that are not measured yet; counts them in the report."""
    flat = [name for name in table.reads if len(_path(name)) == 1]
    nested = [_path(name)[0] for name in table.reads if len(_path(name)) > 1]
    needed = dict.fromkeys(["key", "home", "home_key", "chars", *flat, *nested])
    planned = KeySet()
    for number, part in enumerate(document_parts(session, head)):
        reached = rows(part).select(*needed)
        unknown = reached.filter(~appender.has(reached.get_column("key")))
        missing = unknown.unique("key", keep="first", maintain_order=True)
        missing = missing.filter(~pl.Series(planned.has(missing.get_column("key")), dtype=pl.Boolean))
        planned.add(missing.get_column("key"))
        report.measured += len(missing)
        report.reused += len(reached) - len(
            unknown
        )  # a text that stands twice and is new was not there before
        plan = session.work / f"{table.name}-{session.run}-{number}.parquet"
        yield from shard_tasks(session, head, table, missing, appender.content, plan)


def shard_tasks(
    session: Session, head: Head, table: PlannedTable, missing: pl.DataFrame, content: Content, plan: Path
) -> list[dict[str, Any]]:
    """The shards of a table as tasks; their rows (key, home, home_key, chars, what is read) lie in one plan file."""
    if missing.is_empty():
        return []
    located = locate(session, head, missing)
    reads = {name: _path(name) for name in table.reads}
    nested = [
        pl.col(path[0]).struct.field(path[1]).alias(name) for name, path in reads.items() if len(path) > 1
    ]
    flat = [name for name, path in reads.items() if len(path) == 1]
    planned = located.select("key", "file", "row", "chars", *flat, *nested)
    write_plan(planned.drop("chars"), plan)
    common = {"plan": str(plan), "steps": step_tasks(table.steps), "reads": list(reads)}
    return [
        {**common, "start": start, "stop": stop, "out": str(new_file(content.folder))}
        for start, stop in plan_shards(planned)
    ]


def refuse_many_errors(table: str, errors: list[list[str]], done: int, total: int) -> None:
    """Stop when more than 1 % and more than 20 documents broke a stage.

    Raises:
        StageError: with a sample.
    """
    if len(errors) > 20 and len(errors) > 0.01 * total:
        key, step, message = errors[0]
        raise StageError(
            f"{len(errors)} of {done} documents broke the step {table}.{step}, the first ({key}) with: {message}",
            hint=f"Fix or switch off [{table}.{step}]; what was measured is kept.",
        )


def _languages(judged: pl.DataFrame) -> dict[str, int]:
    if "langid" not in judged.columns:
        return {}
    counts = judged.get_column("langid").struct.field("language").value_counts(sort=True)
    return {str(language): int(count) for language, count in counts.iter_rows() if language is not None}


def _failures(verdicts: pl.DataFrame, rows: pl.DataFrame) -> list[Failure]:
    broken = (
        verdicts.filter(pl.col("message") != "")
        .head(_FAILURES_SHOWN)
        .join(rows.select("id", "place"), on="id", how="left")
    )
    return [Failure(**row) for row in broken.select("id", "place", "reason", "message").to_dicts()]
