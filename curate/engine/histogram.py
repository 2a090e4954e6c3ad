"""Histograms of measurements, with the limits that rules set."""

from __future__ import annotations

import numpy as np
import polars as pl

from curate.engine.plan import PlannedStep, PlannedTable
from schemas.report import Histogram, Limit

BINS = 40


def histograms(judged: pl.DataFrame, table: PlannedTable, verdicts: pl.DataFrame) -> list[Histogram]:
    """One histogram for every measurement that a rule of the table limits; `verdicts` are in the order of `judged`."""
    found = []
    for step in table.steps:
        if step.stage is None or step.name not in judged.columns:
            continue
        for measure, limits in _limits(step).items():
            names = [f"{step.name}.{limit.reason}" for limit in limits]
            failed = pl.any_horizontal(pl.col("failed").list.contains(name) for name in names)
            frame = verdicts.select(failed=failed, value=judged.get_column(step.name).struct.field(measure))
            frame = frame.drop_nulls("value")
            if len(frame):
                values = frame.get_column("value").to_numpy().astype(np.float64)
                found.append(
                    _histogram(step.name, measure, values, frame.get_column("failed").to_numpy(), limits)
                )
    return found


def _limits(step: PlannedStep) -> dict[str, list[Limit]]:
    found: dict[str, list[Limit]] = {}
    own = {field.name for field in step.stage.measures} if step.stage else set()
    for reason, rule in step.rules.items():
        for limit in rule.limits:
            measure = limit.column.removeprefix(f"{step.name}.")
            if measure in own:
                found.setdefault(measure, []).append(Limit(reason=reason, op=limit.op, value=limit.value))
    return found


def _histogram(
    step: str, measure: str, values: np.ndarray, failed: np.ndarray, limits: list[Limit]
) -> Histogram:
    low, high = float(values.min()), float(values.max())
    marks = [limit.value for limit in limits if np.isfinite(limit.value)]
    low, high = min([low, *marks]), max([high, *marks])
    if high > 100 * max(1.0, low):  # counts and lengths span decades
        edges = np.concatenate([[low], np.geomspace(max(low, 1.0), high, BINS + 1)[1:]])
    else:
        edges = np.linspace(low, high if high > low else low + 1.0, BINS + 1)
    counts, _ = np.histogram(values, edges)
    return Histogram(
        step=step,
        measure=measure,
        edges=[round(float(edge), 6) for edge in edges],
        counts=counts.tolist(),
        failed=np.histogram(values[failed], edges)[0].tolist(),
        limits=limits,
    )
