"""Geometry of a histogram with the limits that rules set, for the HTML report."""

from __future__ import annotations

import bisect
import operator
from typing import Any

from curate.reports.numbers import number, plural
from schemas.report import Histogram, Limit, TableReport

_BEYOND = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "<>": operator.ne,
    "!=": operator.ne,
}


def histogram_card(histogram: Histogram, table: TableReport) -> dict[str, Any]:
    """Bars, limits and labels: x counts bars, y goes from 0 (top) to 100.

    A bar is marked as leaving when its middle is beyond one of the limits.
    """
    edges, counts = histogram.edges, histogram.counts
    tallest = max(counts, default=0) or 1
    rules = {limit.reason: _rule(histogram, limit, table) for limit in histogram.limits}
    middle = len(counts) // 2
    return {
        "title": f"{histogram.step}.{histogram.measure}",
        "rules": list(rules.values()),
        "bars": [_bar(histogram, at, count, tallest) for at, count in enumerate(counts)],
        "limits": [_limit(edges, limit) for limit in histogram.limits],
        "axis": [number(edges[0]), number(edges[middle]), number(edges[-1])],
    }


def _rule(histogram: Histogram, limit: Limit, table: TableReport) -> str:
    for reason in table.reasons:
        if (reason.step, reason.reason) == (histogram.step, limit.reason):
            return f"{reason.rule or reason.reason}: {plural(reason.failed, 'document')}"
    return limit.reason


def _bar(histogram: Histogram, at: int, count: int, tallest: int) -> dict[str, Any]:
    low, high = histogram.edges[at], histogram.edges[at + 1]
    middle = (low + high) / 2
    height = max(100 * count / tallest, 1.5) if count else 0.0
    return {
        "x": round(at + 0.07, 2),
        "y": round(100 - height, 2),
        "height": round(height, 2),
        "out": any(
            _BEYOND[limit.op](middle, limit.value) for limit in histogram.limits if limit.op in _BEYOND
        ),
        "title": f"{number(low)} to {number(high)}: {plural(count, 'document')}",
    }


def _limit(edges: list[float], limit: Limit) -> dict[str, Any]:
    """Where the line stands, in bars; its label turns inwards at the edges of the plot."""
    bars = len(edges) - 1
    at = min(max(bisect.bisect_right(edges, limit.value) - 1, 0), bars - 1)
    low, high = edges[at], edges[at + 1]
    x = at + (min(max(limit.value, low), high) - low) / (high - low) if high > low else float(at)
    percent = 100 * x / bars
    side = "start" if percent < 8 else "end" if percent > 92 else "middle"
    return {
        "x": round(x, 3),
        "percent": round(percent, 2),
        "side": side,
        "label": f"{limit.op} {number(limit.value)}",
    }
