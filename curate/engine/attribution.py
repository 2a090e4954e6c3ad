"""Who was dropped, and by what: rules that fail together, drop rates of groups, steps that match nothing."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence

import polars as pl

from curate.engine.checks import anonymize_steps
from curate.engine.plan import Plan, PlannedTable
from curate.reports.numbers import plural
from schemas.report import DropRate, FailTogether, Reason, TableReport

_PAIRS, _GROUPS = 100, 12  # told
_Z = 1.959964  # of a two-sided 95 % interval
# None of 1,000 bounds a rate below 0.3 % (rule of three: Hanley and Lippman-Hand 1983, JAMA 249:1743).
_MANY = 1_000


def attribute(
    report: TableReport, plan: Plan, table: PlannedTable, rows: pl.DataFrame, verdicts: pl.DataFrame
) -> None:
    """Fill in `fail_together`, `drop_rates`, and notes on steps that matched nothing.

    `rows` reached the table, with the columns that rules may name; `verdicts` are in their order.
    """
    report.fail_together = fail_together(verdicts, report.reasons)
    report.drop_rates = drop_rates(rows, verdicts.get_column("kept"), grouping(plan, rows))
    report.notes += [
        f"{step} matched none of {plural(report.rows, 'document')}. Is that right? curate check tries it."
        for step in idle_steps(report, table, rows)
    ]


def fail_together(verdicts: pl.DataFrame, reasons: Sequence[Reason]) -> list[FailTogether]:
    """Pairs of rules that the same documents failed, the most frequent first."""
    several = verdicts.lazy().filter(pl.col("failed").list.len() > 1)
    sets = several.group_by("failed").len().collect()
    place = {f"{reason.step}.{reason.reason}": at for at, reason in enumerate(reasons)}
    counts: Counter[tuple[str, str]] = Counter()
    for failed, count in sets.iter_rows():
        names = sorted(set(failed), key=lambda name: place.get(name, len(place)))
        counts.update(dict.fromkeys(itertools.combinations(names, 2), count))
    largest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_PAIRS]
    return [FailTogether(one=one, two=two, documents=count) for (one, two), count in largest]


def grouping(plan: Plan, rows: pl.DataFrame) -> dict[str, pl.Expr]:
    """By what drop rates are told: language, source, and the columns that `[report]` names."""
    found = {"language": language(plan, rows), "source": pl.col("source")}
    return {**found, **{name: pl.col(name).cast(pl.String) for name in plan.recipe.report.by}}


def language(plan: Plan, rows: pl.DataFrame) -> pl.Expr:
    """As measured by the last langid step whose measurements `rows` have, else as declared."""
    steps = [
        name
        for table in plan.tables
        for name in (step.name for step in table.steps if step.stage and step.stage.name == "langid")
        if name in rows.columns
    ]
    declared = pl.col("declared_language")
    if not steps:
        return declared
    measured = pl.col(steps[-1]).struct.field("language")
    return pl.when(measured != "").then(measured).otherwise(declared)


def drop_rates(rows: pl.DataFrame, kept: pl.Series, by: Mapping[str, pl.Expr]) -> list[DropRate]:
    """Rates of the largest groups of each column, and of the others together; nothing where there is one group."""
    if kept.is_empty():
        return []
    overall = 1 - int(kept.sum()) / len(kept)
    found = []
    for name, value in by.items():
        groups = (
            rows.select(value=value.fill_null(""))
            .with_columns(kept=kept)
            .group_by("value")
            .agg(rows=pl.len(), dropped=(~pl.col("kept")).sum())
            .sort("rows", "value", descending=[True, False])
        )
        if len(groups) > 1:
            found += [_rate(name, group, overall) for group in _largest(name, groups)]
    return found


def _largest(by: str, groups: pl.DataFrame) -> list[tuple[str, int, int]]:
    told = groups.rows()
    if len(told) > _GROUPS:
        rest = groups[_GROUPS - 1 :]
        others = (f"{len(rest)} others", rest.get_column("rows").sum(), rest.get_column("dropped").sum())
        told = [*told[: _GROUPS - 1], others]
    if by in {"language", "source"}:
        return told
    from curate.reports.masked import masked

    names = masked([name for name, _, _ in told], 80)  # anybody may have written anything there
    return [(name, rows, dropped) for name, (_, rows, dropped) in zip(names, told, strict=True)]


def _rate(by: str, group: tuple[str, int, int], overall: float) -> DropRate:
    value, rows, dropped = group
    low, high = wilson(dropped, rows)
    differs = not low <= overall <= high
    return DropRate(
        by=by,
        value=value,
        rows=rows,
        dropped=dropped,
        low=round(low, 6),
        high=round(high, 6),
        differs=differs,
    )


def wilson(hits: int, of: int) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson 1927, JASA 22:209).

    >>> wilson(5, 10)
    (0.23659..., 0.76340...)
    """
    share, weight = hits / of, _Z * _Z / of
    middle = (share + weight / 2) / (1 + weight)
    half = _Z / (1 + weight) * math.sqrt(share * (1 - share) / of + weight / (4 * of))
    return min(max(middle - half, 0.0), share), max(min(middle + half, 1.0), share)


def idle_steps(report: TableReport, table: PlannedTable, rows: pl.DataFrame) -> list[str]:
    """Steps of a table that many documents reached and that should have matched some, but matched none.

    They are: steps with rules, duplicates, and personal data.
    """
    if report.rows < _MANY:
        return []
    failed = Counter({step.name: 0 for step in table.steps})
    for reason in report.reasons:
        failed[reason.step] += reason.failed
    names = [step.name for step in table.steps if step.rules or table.kind == "deduplicated"]
    idle = [name for name in names if not failed[name]]
    for step in anonymize_steps([table]):
        counts = rows.get_column(step.name).struct.unnest().sum().row(0)
        idle += [step.name] if not any(counts) else []
    return idle
