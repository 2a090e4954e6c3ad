"""What Dagster stores about a table that was made: numbers, tables, checks; words only when masked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from curate.engine.session import Session
from curate.lake.runs import Head
from curate.reports.masked import masked
from curate.reports.samples import corpus_samples
from curate.reports.summary import funnel_rows
from schemas.checks import Check
from schemas.errors import CurateError
from schemas.report import RunReport, TableReport
from schemas.tables import TABLES

_SAMPLES, _LONGEST = 5, 120


def failure_of(error: CurateError) -> dg.Failure:
    """An error of ours as Dagster shows it: what was found, and what to do."""
    message, hint = masked([error.message, error.hint])
    return dg.Failure(f"{message}\n{hint}", metadata={"hint": hint})


def metadata_of(session: Session, head: Head, table: str, report: TableReport) -> dict[str, Any]:
    """Counts that Dagster plots over runs, and the tables behind them."""
    done = report.measured + report.reused
    key = session.key(table)
    folders = [folder for folder in (key, session.key(f"verdicts/{table}")) if folder in head.pins]
    funnel = funnel_rows(RunReport(name="", run="", tables=[report]))
    tables = {
        "funnel": [{"what": f"{row.kind} {row.name}", "documents": row.count} for row in funnel],
        "reasons": [reason.model_dump(exclude={"unjudged"}) for reason in report.reasons],
        "fail together": [pair.model_dump() for pair in report.fail_together],
        "drop rates": [rate.model_dump() for rate in report.drop_rates],
        "languages": [{"language": name, "documents": count} for name, count in report.languages.items()],
    }
    histograms = [one.model_dump() for one in report.histograms]
    return {
        "dagster/row_count": report.kept,
        "dagster/relation_identifier": key.replace("/", "."),
        "dagster/uri": f"{session.lake.place}/{(folders or [session.name])[0]}",
        "reached": report.rows,
        "stored rows": _stored(session, head, table),
        "made": report.measured,
        "reused share": report.reused / done if done else 1.0,
        "bytes written": report.bytes_written,
        "seconds": report.seconds,
        **report.model_dump(include={"arrived", "came_back", "changed", "gone"}),
        **{f"count {name}": count for name, count in report.counts.items()},
        **{name: _table(rows) for name, rows in tables.items() if rows},
        **({"histograms": dg.MetadataValue.json(histograms)} if histograms else {}),
        **({"notes": "\n".join(masked(report.notes))} if report.notes else {}),
        **({"samples": _samples(session)} if table == "corpus" and report.kept else {}),
        "version": head.seq,
    }


def check_results(
    report: TableReport, severities: Mapping[str, str], key: dg.AssetKey
) -> Iterator[dg.AssetCheckResult]:
    """The library's checks as Dagster's, which wants a result for each that a table can have."""
    for name, severity in severities.items():
        untested = Check(name=name, passed=severity == "warning", message="Not tested in this run.")
        check = report.check(name) or untested
        blocking = check.severity == "blocking"
        yield dg.AssetCheckResult(
            asset_key=key,
            check_name=name,
            passed=check.passed,
            severity=dg.AssetCheckSeverity.ERROR if blocking else dg.AssetCheckSeverity.WARN,
            description=masked([check.message])[0] or None,
            metadata=check.numbers,
        )


def _stored(session: Session, head: Head, table: str) -> int:
    """Rows of the table's content, whatever stands of them; 0 where a table has none."""
    fingerprint = head.fingerprints.get(session.key(table), "bodies")
    return session.lake.content(table, fingerprint, TABLES["filtered"].schema).rows()


def _table(rows: Sequence[Mapping[str, str | float | bool]]) -> dg.TableMetadataValue:
    kinds = {str: "string", int: "int", float: "float", bool: "bool"}
    columns = [dg.TableColumn(name, kinds[type(value)]) for name, value in rows[0].items()]
    return dg.MetadataValue.table([dg.TableRecord(row) for row in rows], dg.TableSchema(columns))


def _samples(session: Session) -> dg.MarkdownMetadataValue:
    samples = corpus_samples(session.lake.place, session.name, _SAMPLES)
    cells = masked([cell for one in samples for cell in (one.place, one.title, one.text)], _LONGEST)
    safe = [cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells]
    lines = [f"| {' | '.join(safe[at : at + 3])} |" for at in range(0, len(safe), 3)]
    return dg.MetadataValue.md("\n".join(["| place | title | text |", "| --- | --- | --- |", *lines]))
