"""Geometry of what a near-duplicate step misses, for the HTML report: the curve of its bands and the measured shares."""

from __future__ import annotations

from typing import Any

from curate.reports.numbers import plural
from schemas.report import NearError, Recall, TableReport

_RADIUS = 0.9  # of a point, in hundredths of the width


def near_error_cards(table: TableReport) -> list[dict[str, Any]]:
    """A card for each `minhash` step that was measured: x and y go from 0 to 100, y from the top."""
    return [_card(table, error) for error in table.near_errors]


def _card(table: TableReport, error: NearError) -> dict[str, Any]:
    least, most = error.curve[0][0], error.curve[-1][0]

    def across(similarity: float) -> float:
        return round(100 * (similarity - least) / (most - least), 2)

    parts = [*error.planted, *error.real]
    return {
        "title": f"{table.table}.{error.step}",
        "about": _about(error),
        "curve": " ".join(f"{across(x)},{round(100 - 100 * y, 2)}" for x, y in error.curve),
        "threshold": across(error.threshold),
        "points": [_point(one, across(one.similarity)) for one in parts],
        "axis": [f"{least:g}", f"{(least + most) / 2:g}", f"{most:g}"],
        "rows": [_row(one) for one in parts],
    }


def _about(error: NearError) -> str:
    told = [
        f"{error.bands} bands of {error.rows} slots; threshold {error.threshold:g}, wanted there {100 * error.wanted:g} %."
    ]
    if error.looked_again:
        right = f"{error.looked_again - error.wrong:,} of {plural(error.looked_again, 'dropped document')}"
        told.append(f"{right} looked at again are as like their keeper as that.")
    if error.longer:
        told.append(f"By containment, promised up to {error.longer:g} times the length.")
    return " ".join(told)


def _point(one: Recall, x: float) -> dict[str, Any]:
    return {
        "x": x,
        "y": round(100 - 100 * one.found, 2),
        "low": round(100 - 100 * one.low, 2),
        "high": round(100 - 100 * one.high, 2),
        "left": round(x - _RADIUS, 2),
        "wide": 2 * _RADIUS,
    }


def _row(one: Recall) -> dict[str, str]:
    planted = one.similarity == one.to
    real = f"of the corpus itself, {one.length}" if one.length else "of the corpus itself"
    return {
        "pairs": f"planted, {one.length} words" if planted else real,
        "similarity": f"{one.similarity:g}" if planted else f"{one.similarity:g} to {one.to:g}",
        "count": f"{one.pairs:,}",
        "found": f"{100 * one.found:.1f} %",
        "interval": f"{100 * one.low:.1f} to {100 * one.high:.1f} %",
        "promised": f"{100 * one.theory:.1f} %",
    }
