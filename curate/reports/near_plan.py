"""Rows of the HTML report: what each search for near-duplicates was to take, beside what it took."""

from __future__ import annotations

from typing import Any

from curate.reports.numbers import duration, size
from schemas.report import TableReport


def near_plan_rows(table: TableReport) -> list[dict[str, Any]]:
    """A row for each `minhash` step that verifies, in their order."""
    return [
        {
            "table": table.table,
            "texts": f"{plan.documents + plan.stored:,}",
            "new": f"{plan.documents:,}",
            "memory": size(plan.memory),
            "held": size(plan.took_memory),
            "time": duration(plan.seconds),
            "took": duration(plan.took_seconds),
            "disk": size(plan.disk),
        }
        for plan in table.near_plans
    ]
