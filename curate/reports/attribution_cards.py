"""Which rules fail together, and which groups lose more or less than the others, for the HTML report."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from curate.reports.numbers import plural, share
from schemas.report import DropRate, TableReport

_PAIRS = 12


def pairs_failed(table: TableReport) -> list[dict[str, Any]]:
    """The most frequent pairs of rules that failed together, with the share of each rule's documents."""
    failed = {f"{reason.step}.{reason.reason}": reason.failed for reason in table.reasons}
    return [
        {
            "one": f"{table.table}.{pair.one}",
            "two": pair.two,
            "documents": pair.documents,
            "of_one": share(pair.documents, failed.get(pair.one, 0)),
            "of_two": share(pair.documents, failed.get(pair.two, 0)),
        }
        for pair in table.fail_together[:_PAIRS]
    ]


def group_cards(table: TableReport) -> list[dict[str, Any]]:
    """A card for each column by whose values drop rates are told, where anything was dropped.

    Bars and intervals are in percent of the largest upper end.
    """
    if table.kept == table.rows:
        return []
    return [
        {
            "title": f"{table.table} by {by}",
            "overall": share(table.rows - table.kept, table.rows),
            "rows": _group_rows(list(rates)),
        }
        for by, rates in groupby(table.drop_rates, key=lambda rate: rate.by)
    ]


def _group_rows(rates: list[DropRate]) -> list[dict[str, Any]]:
    scale = max(rate.high for rate in rates) or 1.0
    whole = sum(rate.dropped for rate in rates) / sum(rate.rows for rate in rates)
    return [
        {
            "name": rate.value or "not known",
            "rate": share(rate.dropped, rate.rows),
            "interval": f"{100 * rate.low:.1f} to {100 * rate.high:.1f} %",
            "documents": plural(rate.rows, "document"),
            "percent": round(100 * rate.rate / scale, 3),
            "low": round(100 * rate.low / scale, 3),
            "wide": round(100 * (rate.high - rate.low) / scale, 3),
            "flag": ("more" if rate.rate > whole else "less") if rate.differs else "",
        }
        for rate in rates
    ]
