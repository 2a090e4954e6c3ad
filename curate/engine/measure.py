"""Makes a measured table: measure what was never measured, judge everything, publish."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from curate.engine.attribution import Attribution
from curate.engine.buckets import Buckets, found_in_parts
from curate.engine.changes import Changes
from curate.engine.checks import Pinned, table_checks
from curate.engine.histogram import Histograms
from curate.engine.judge import Judge
from curate.engine.located import located_parts
from curate.engine.passages import with_passages
from curate.engine.plan import PASSAGES, PlannedTable
from curate.engine.session import Session
from curate.engine.shard import plan_shards, step_tasks, write_plan
from curate.engine.standing import id_ranges, reaching, standing, standing_parts
from curate.lake.content import Appender, Content, new_file
from curate.lake.digest import ContentDigest, digest_rows
from curate.lake.keyset import KeySet
from curate.lake.runs import Head
from schemas.errors import StageError
from schemas.report import Failure, TableReport
from schemas.tables import TABLES

ERRORS = {"key": pl.String, "step": pl.String, "message": pl.String}
_FAILURES_SHOWN = 20


@dataclass
class MeasuredTable:
    """A table that was measured and judged, its verdicts written and not yet published."""

    base: Head
    table: PlannedTable
    rows: Buckets  # what reaches it, with key and one struct per step, by number of its range of ids
    ranges: list[pl.Expr]
    verdicts: Pinned
    digest: str  # of the verdicts
    content: Content
    report: TableReport
    begun: float

    def kept(self) -> Iterator[pl.DataFrame]:
        """The rows that are kept, in parts in order of their ids."""
        for number, ids in enumerate(self.ranges):
            kept = self.verdicts.scan().filter(ids & pl.col("kept")).select("id").collect()
            yield self.rows.read(number).join(kept, on="id", how="semi", maintain_order="left")


def make_measured(session: Session, name: str) -> Head:
    """Measure, judge and publish one table of steps that look at one document at a time."""
    with measured_table(session, name) as made:
        return publish_measured(session, made, {}, {})


@contextmanager
def measured_table(session: Session, name: str, *, again: bool = False) -> Iterator[MeasuredTable]:
    """Measure what was never measured, and judge everything that reaches the table, a part after the other.

    The rows are there `again` for who asks.
    """
    begun, base = time.perf_counter(), session.lake.head()
    table, report = session.plan.table(name), TableReport(table=name)
    ranges = id_ranges(reaching(session, base, name))
    content = session.lake.content(name, table.fingerprint, table.schema)
    # Of a table called deduplicated, too, whose steps that compare documents are switched off.
    state = session.lake.state(session.name, f"verdicts/{name}", TABLES["verdicts"].schema)
    pin = base.pins.get(session.key(f"verdicts/{name}"))
    with Buckets(session.work) as reached, Buckets(session.work) as measured:
        for number, rows in enumerate(_reached(session, base, table, ranges)):
            reached.add(rows, number)
        reached.settle()
        errors = measure_missing(session, base, table, reached, len(ranges), content, report)
        judging = _Judging(session, table, errors, report, Changes(report, state, pin))

        def verdicts() -> Iterator[pl.DataFrame]:
            for number, rows in enumerate(_measured(session, table, content, reached, len(ranges))):
                if again:
                    measured.add(rows, number)
                yield judging.verdicts(rows, ranges[number])

        version, written = state.replace_parts(verdicts(), pin)
        report.bytes_written += written
        judging.finish()
        made = Pinned(state, version)
        yield MeasuredTable(base, table, measured, ranges, made, judging.digest.value, content, report, begun)


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


def _reached(
    session: Session, base: Head, table: PlannedTable, ranges: list[pl.Expr]
) -> Iterator[pl.DataFrame]:
    """The documents that reach a table, with their keys, in parts by id; passages are compared with all others'."""
    steps = session.plan.steps_asked_by(table)
    if PASSAGES not in table.reads:
        for part in standing_parts(session, base, table.name, steps):
            yield with_keys(part, table)
        return
    whole = with_passages(session, base, table, standing(session, base, table.name, steps=steps))
    for ids in ranges:
        yield with_keys(whole.filter(ids).sort("id"), table)


def _measured(
    session: Session, table: PlannedTable, content: Content, reached: Buckets, parts: int
) -> Iterator[pl.DataFrame]:
    """Rows with their measurements, part by part."""
    columns = ["key", "digest_out", *(step for step, _ in table.measured)]
    keys = (reached.read(number).get_column("key") for number in range(parts))
    with found_in_parts(session.work, content, columns, keys) as found:
        for number in range(parts):
            rows = reached.read(number)
            yield rows.join(found.read(number), on="key", how="left", maintain_order="left")


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
    reached: Buckets,
    parts: int,
    content: Content,
    report: TableReport,
) -> pl.DataFrame:
    """Run the steps over texts whose key is not in the content; returns errors (key, step, message)."""
    appender = content.append()
    session.progress.start(table.name, reached.count)
    missing = _missing(table, (reached.read(number) for number in range(parts)), appender, report)
    tasks = []
    for number, rows in enumerate(located_parts(session, head, missing)):
        plan = session.work / f"{table.name}-{session.run}-{number}.parquet"
        tasks += shard_tasks(table, rows, content, plan)
    session.progress.advance(table.name, reached.count - report.measured)
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


def _missing(
    table: PlannedTable, parts: Iterable[pl.DataFrame], appender: Appender, report: TableReport
) -> Iterator[pl.DataFrame]:
    """What the steps need of texts that are not measured yet, each once; counts them in the report."""
    read = [_path(name)[0] for name in table.reads]
    needed = dict.fromkeys(["key", "document_key", "home", "home_key", "chars", *read])
    planned = KeySet()
    for part in parts:
        reached = part.select(*needed)
        unknown = reached.filter(~appender.has(reached.get_column("key")))
        missing = unknown.unique("key", keep="first", maintain_order=True)
        missing = missing.filter(~pl.Series(planned.has(missing.get_column("key")), dtype=pl.Boolean))
        planned.add(missing.get_column("key"))
        report.measured += len(missing)
        # A text that stands twice and is new was not there before.
        report.reused += len(reached) - len(unknown)
        yield missing


def shard_tasks(
    table: PlannedTable, located: pl.DataFrame, content: Content, plan: Path
) -> list[dict[str, Any]]:
    """The shards of a table as tasks; their rows (key, file, row, chars, what is read) lie in one plan file."""
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
