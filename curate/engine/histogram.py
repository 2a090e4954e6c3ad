"""Histograms of measurements, with the limits that rules set."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl

from curate.engine.plan import PlannedStep, PlannedTable
from schemas.report import Histogram, Limit

BINS = 40


class Histograms:
    """One histogram for every measurement that a rule of the table limits; values wait in files until all are known."""

    def __init__(self, table: PlannedTable, folder: Path) -> None:
        self._folder = folder / f"histograms-{table.name}"
        self._limits = {
            (step.name, measure): limits
            for step in table.steps
            if step.stage is not None
            for measure, limits in _limits(step).items()
        }

    def add(self, judged: pl.DataFrame, verdicts: pl.DataFrame) -> None:
        """Measurements of some documents; `verdicts` are in their order."""
        self._folder.mkdir(exist_ok=True)
        for number, ((step, measure), limits) in enumerate(self._limits.items()):
            names = [f"{step}.{limit.reason}" for limit in limits]
            failed = pl.any_horizontal(pl.col("failed").list.contains(name) for name in names)
            frame = verdicts.select(failed=failed, value=judged.get_column(step).struct.field(measure))
            frame = frame.drop_nulls("value")
            for column, kind in (("value", np.float64), ("failed", np.bool_)):
                with (self._folder / f"{number}-{column}").open("ab") as file:
                    file.write(frame.get_column(column).to_numpy().astype(kind).tobytes())

    def made(self) -> list[Histogram]:
        """The histograms of what was added, in the order of the table's steps."""
        found = []
        for number, ((step, measure), limits) in enumerate(
            self._limits.items() if self._folder.exists() else ()
        ):
            values = np.fromfile(self._folder / f"{number}-value", np.float64)
            failed = np.fromfile(self._folder / f"{number}-failed", np.bool_)
            if len(values):
                found.append(_histogram(step, measure, values, failed, limits))
        shutil.rmtree(self._folder, ignore_errors=True)
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
