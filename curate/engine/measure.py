"""Makes a measured table: measure what was never measured, judge everything, publish."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from curate.engine.attribution import attribute
from curate.engine.changes import note_changes
from curate.engine.checks import Pinned, table_checks
from curate.engine.histogram import histograms
from curate.engine.judge import judge
from curate.engine.passages import with_passages
from curate.engine.plan import PlannedTable
from curate.engine.session import Session, verdict_digest
from curate.engine.shard import plan_shards, step_tasks, write_plan
from curate.engine.standing import locate, standing
from curate.lake.content import Content, new_file
from curate.lake.digest import digest_rows
from curate.lake.runs import Head
from schemas.errors import StageError
from schemas.report import Failure, TableReport
from schemas.tables import TABLES

ERRORS = {"key": pl.String, "step": pl.String, "message": pl.String}
_FAILURES_SHOWN = 20


@dataclass
class MeasuredTable:
    """A table that was measured and judged, not yet published."""

    base: Head
    table: PlannedTable
    rows: pl.DataFrame  # all that reached it, with key and one struct per step
    verdicts: pl.DataFrame
    content: Content
    report: TableReport
    begun: float

    @property
    def kept(self) -> pl.DataFrame:
        """The rows that are kept."""
        return self.rows.filter(self.verdicts.get_column("kept"))


def make_measured(session: Session, name: str) -> Head:
    """Measure, judge and publish one table of steps that look at one document at a time."""
    made = measure_table(session, name)
    made.rows = made.rows.clear()  # not to be held while verdicts are written
    return publish_measured(session, made, {}, {})


def measure_table(session: Session, name: str) -> MeasuredTable:
    """Measure what was never measured, and judge everything that reaches the table."""
    begun, base = time.perf_counter(), session.lake.head()
    table, report = session.plan.table(name), TableReport(table=name)
    steps = session.plan.steps_asked_by(table)
    rows = with_passages(session, base, table, standing(session, base, name, steps=steps))
    rows = with_keys(rows, table)
    content = session.lake.content(name, table.fingerprint, table.schema)
    errors = measure_missing(session, base, table, rows, content, report)
    measured = content.scan().select("key", "digest_out", *[step for step, _ in table.measured])
    judged = rows.lazy().join(measured, on="key", how="left", maintain_order="left").collect()
    del rows
    verdicts, report.reasons = judge(judged, table, errors)
    report.rows, report.kept = len(verdicts), int(verdicts.get_column("kept").sum())
    report.histograms = histograms(judged, table, verdicts)
    report.languages = _languages(judged)
    report.failures = _failures(verdicts, judged)
    attribute(report, session.plan, table, judged, verdicts)
    return MeasuredTable(base, table, judged, verdicts, content, report, begun)


def publish_measured(
    session: Session, made: MeasuredTable, more: dict[str, Pinned], digests: dict[str, str]
) -> Head:
    """Check and publish the verdicts of a measured table, and the state tables that were made of it."""
    name = made.table.name
    # Of a table called deduplicated, too, whose steps that compare documents are switched off.
    state = session.lake.state(session.name, f"verdicts/{name}", TABLES["verdicts"].schema)
    pin = made.base.pins.get(session.key(f"verdicts/{name}"))
    note_changes(made.report, state, pin, made.verdicts)
    version, written = state.replace_rows(made.verdicts, pin, "id")
    made.report.bytes_written += written
    pinned = {f"verdicts/{name}": Pinned(state, version), **more}
    made.report.checks = [*table_checks(session, made.base, made.report, pinned), *made.report.checks]
    made.report.seconds = time.perf_counter() - made.begun
    return session.publish(
        made.base,
        name,
        pins={key: table.version for key, table in pinned.items()},
        fingerprints={name: made.table.fingerprint},
        digests={name: verdict_digest(made.verdicts), **digests},
        reads=[f"verdicts/{before.name}" for before in session.plan.before(name)],
        report=made.report,
    )


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
    rows: pl.DataFrame,
    content: Content,
    report: TableReport,
) -> pl.DataFrame:
    """Run the steps over texts whose key is not in the content; returns errors (key, step, message)."""
    appender = content.append()
    flat = [name for name in table.reads if len(_path(name)) == 1]
    nested = [_path(name)[0] for name in table.reads if len(_path(name)) > 1]
    needed = dict.fromkeys(["key", "home", "home_key", "chars", *flat, *nested])
    unknown = rows.select(*needed).join(
        appender.known.to_frame("key"), on="key", how="anti", maintain_order="left"
    )
    missing = unknown.unique("key", keep="first", maintain_order=True)
    report.measured = len(missing)
    report.reused = len(rows) - len(unknown)  # a text that stands twice and is new was not there before
    session.progress.start(table.name, len(rows))
    session.progress.advance(table.name, len(rows) - len(missing))
    tasks = shard_tasks(session, head, table, missing, content)
    total = len(missing)
    del unknown, missing  # the plan file has them
    errors: list[list[str]] = []
    done = 0
    for result in session.workers.map("curate.engine.shard:measure_shard", tasks):
        if result["file"]:
            appender.add(Path(result["file"]))
        errors += result["errors"]
        done += result["done"]
        refuse_many_errors(table.name, errors, done, total)
        for step, seconds in result["seconds"].items():
            report.step_seconds[step] = report.step_seconds.get(step, 0.0) + seconds
        session.progress.advance(table.name, result["done"])
    content.compact()
    report.bytes_written += appender.bytes
    return pl.DataFrame(errors, schema=ERRORS, orient="row")


def shard_tasks(
    session: Session, head: Head, table: PlannedTable, missing: pl.DataFrame, content: Content
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
    plan = session.work / f"{table.name}-{session.run}.parquet"
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
