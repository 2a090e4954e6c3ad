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
_LETTER = 3.0  # percent of the narrowest plot that a letter takes


def histogram_card(histogram: Histogram, table: TableReport) -> dict[str, Any]:
    """Bars, limits and labels: x counts bars, y goes from 0 (top) to 100.

    Of a bar, `left` is the height of what failed a rule; an older report does not know that, and there a bar
    leaves when its middle is beyond one of the limits. Labels of limits that are near each other stand in rows.
    """
    edges, counts = histogram.edges, histogram.counts
    tallest = max(counts, default=0) or 1
    rules = {limit.reason: _rule(histogram, limit, table) for limit in histogram.limits}
    middle = len(counts) // 2
    return {
        "title": f"{histogram.step}.{histogram.measure}",
        "rules": list(rules.values()),
        "bars": [_bar(histogram, at, count, tallest) for at, count in enumerate(counts)],
        "limits": _in_rows([_limit(edges, limit) for limit in histogram.limits]),
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
    beyond = any(_BEYOND[limit.op](middle, limit.value) for limit in histogram.limits if limit.op in _BEYOND)
    failed = histogram.failed[at] if histogram.failed else count if beyond else 0
    height = max(100 * count / tallest, 1.5) if count else 0.0
    left = max(height * failed / count, 1.5) if failed else 0.0
    return {
        "x": round(at + 0.07, 2),
        "y": round(100 - height, 2),
        "height": round(height, 2),
        "left": round(left, 2),
        "out": failed > 0,
        "title": f"{number(low)} to {number(high)}: {plural(count, 'document')}, {failed:,} of them failed",
    }


def _in_rows(limits: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each with the row of its label, 0 the lowest; equal labels at one place are one."""
    ends: list[float] = []
    found: list[dict[str, Any]] = []
    for limit in sorted(limits, key=lambda limit: limit["percent"]):
        if found and (found[-1]["percent"], found[-1]["label"]) == (limit["percent"], limit["label"]):
            continue
        wide = _LETTER * len(limit["label"])
        start = limit["percent"] - {"start": 0.0, "middle": 0.5, "end": 1.0}[limit["side"]] * wide
        row = next((row for row, end in enumerate(ends) if end <= start), len(ends))
        ends[row : row + 1] = [start + wide]
        found.append({**limit, "row": row})
    return found


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
