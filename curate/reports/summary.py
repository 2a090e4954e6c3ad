"""What a run report says: the rows of its funnel, and one sentence. Shown by the terminal and the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from curate.reports.numbers import duration, plural
from schemas.report import Reason, RunReport, TableReport

_INDEXING = {
    "tokens",
    "chunks",
    "vectors",
    "index_candidate",
    "index_live",
    "finetune",
}  # made of documents, but a row is none
_REASONS_SHOWN = 6


@dataclass(frozen=True)
class FunnelRow:
    """A table with what stands after it, or a reason with what it dropped."""

    kind: Literal["table", "reason"]
    name: str
    count: int


def document_tables(report: RunReport) -> list[TableReport]:
    """The tables whose rows are pages or documents, in order."""
    return [table for table in report.tables if table.table not in _INDEXING]


def funnel_rows(report: RunReport) -> list[FunnelRow]:
    """From what was asked to what is kept: each table after the reasons that led to it.

    A file may hold many documents: then `records` is what the reasons below take from.
    """
    rows: list[FunnelRow] = []
    standing = 0
    for table in document_tables(report):
        if table.table == "pages":
            rows += _pages(table)
            standing = table.kept
            continue
        if table.rows > standing:
            rows.append(FunnelRow("table", "records" if rows else "documents read", table.rows))
            standing = table.rows
        reasons = [reason for reason in table.reasons if reason.dropped]
        rows += _reasons(reasons)
        missing = standing - table.kept - sum(reason.dropped for reason in reasons)
        if missing > 0:  # empty files, or --limit
            rows.append(FunnelRow("reason", "(not taken)", missing))
        rows.append(FunnelRow("table", table.table, table.kept))
        standing = table.kept
    return rows


def _pages(pages: TableReport) -> list[FunnelRow]:
    lost = [reason for reason in pages.reasons if reason.dropped]
    asked = [FunnelRow("table", "asked", pages.rows), *_reasons(lost)] if lost else []
    return [*asked, FunnelRow("table", "pages", pages.kept)]


def _reasons(reasons: list[Reason]) -> list[FunnelRow]:
    """At most six lines: all, or the five largest and how many others."""
    shown = reasons
    if len(reasons) > _REASONS_SHOWN:
        largest = sorted(reasons, key=lambda reason: -reason.dropped)[: _REASONS_SHOWN - 1]
        shown = [reason for reason in reasons if reason in largest]
    rows = [FunnelRow("reason", f"{reason.step}.{reason.reason}", reason.dropped) for reason in shown]
    others = [reason for reason in reasons if reason not in shown]
    if others:
        rows.append(FunnelRow("reason", f"{len(others)} others", sum(reason.dropped for reason in others)))
    return rows


def nothing_changed(report: RunReport) -> bool:
    """Whether a run found everything as the run before it had left it."""
    return not any(
        table.measured
        or table.bytes_written
        or table.arrived
        or table.came_back
        or table.changed
        or table.gone
        for table in report.tables
    )


def sentence(report: RunReport) -> str:
    """What a run did: which version it made, what changed, what was done and what was reused, how long."""
    product = report.table("corpus")
    took = duration(report.seconds)
    if report.version and nothing_changed(report):
        kept = plural(product.kept, "document")
        return f"{report.name}: nothing changed since version {report.version}, {kept}, {took}"
    version = f" version {report.version}" if report.version else ""
    done = [*_documents(report, product), *_work(report), took]
    return f"{report.name}{version}: {', '.join(done)}"


def _documents(report: RunReport, product: TableReport) -> list[str]:
    """What became of the documents of the product."""
    # Who was dropped in an earlier table never reached the product: there it arrives, here it came back.
    appeared = product.arrived + product.came_back
    back = min(appeared, sum(table.came_back for table in document_tables(report)))
    new = appeared - back
    if new == product.kept:
        return [plural(product.kept, "document")]
    counts = {"new": new, "came back": back, "changed": product.changed, "gone": product.gone}
    parts = [(what, count) for what, count in counts.items() if count]
    if not parts:
        return [f"{plural(product.kept, 'document')} as before"]
    (what, count), *rest = parts
    return [f"{plural(count, 'document')} {what}", *[f"{count:,} {what}" for what, count in rest]]


def _work(report: RunReport) -> list[str]:
    vectors = report.table("vectors")
    if vectors.measured or vectors.reused:
        parts = [f"{plural(vectors.measured, 'chunk')} embedded" if vectors.measured else ""]
        return [*filter(None, parts), *([f"{vectors.reused:,} reused"] if vectors.reused else [])]
    reused = max((table.reused for table in document_tables(report)), default=0)
    return [f"{reused:,} reused"] if reused else []
