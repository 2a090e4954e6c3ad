"""Who was dropped, and by what: rules that fail together, drop rates of groups, steps that match nothing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from curate.engine.checks import anonymize_steps
from curate.engine.plan import Plan, PlannedTable
from curate.reports.numbers import plural
from schemas.report import DropRate, FailTogether, Reason, TableReport

_PAIRS, _GROUPS = 100, 12  # told
_Z = 1.959964  # of a two-sided 95 % interval
# None of 1,000 bounds a rate below 0.3 % (rule of three: Hanley and Lippman-Hand 1983, JAMA 249:1743).
_MANY = 1_000


class Attribution:
    """Gathers `fail_together`, `drop_rates`, and notes on steps that matched nothing, some documents at a time."""

    def __init__(self, plan: Plan, table: PlannedTable) -> None:
        self._plan, self._table = plan, table
        self._pairs: Counter[tuple[str, str]] = Counter()
        self._groups: dict[str, pl.DataFrame] = {}
        self._replaced: Counter[str] = Counter()

    def add(self, rows: pl.DataFrame, verdicts: pl.DataFrame) -> None:
        """Rows that reached the table, with the columns that rules may name; `verdicts` are in their order."""
        self.add_groups(grouped_by(self._plan, rows), verdicts)
        for step in anonymize_steps([self._table]):
            counts = rows.get_column(step.name).struct.unnest().sum().row(0)
            self._replaced[step.name] += sum(count or 0 for count in counts)

    def add_groups(self, groups: pl.DataFrame, verdicts: pl.DataFrame) -> None:
        """The same with the columns of `grouped_by` alone, for a table that measures nothing."""
        self._pairs.update(_failed_pairs(verdicts))
        for name in groups.columns:
            counted = _groups(groups, verdicts.get_column("kept"), pl.col(name).cast(pl.String))
            known = self._groups.get(name)
            self._groups[name] = counted if known is None else _added([known, counted])

    def tell(self, report: TableReport) -> None:
        """Fill in the report, which has its rows and reasons."""
        report.fail_together = _together(self._pairs, report.reasons)
        report.drop_rates = _rates(self._groups)
        report.notes += [
            f"{step} matched none of {plural(report.rows, 'document')}. Is that right? curate check tries it."
            for step in self._idle_steps(report)
        ]

    def _idle_steps(self, report: TableReport) -> list[str]:
        """Steps of a table that many documents reached and that should have matched some, but matched none.

        They are: steps with rules, duplicates, and personal data.
        """
        if report.rows < _MANY:
            return []
        failed = Counter({step.name: 0 for step in self._table.steps})
        for reason in report.reasons:
            failed[reason.step] += reason.failed
        names = [step.name for step in self._table.steps if step.rules or self._table.kind == "deduplicated"]
        idle = [name for name in names if not failed[name]]
        return idle + [step.name for step in anonymize_steps([self._table]) if not self._replaced[step.name]]


def fail_together(verdicts: pl.DataFrame, reasons: Sequence[Reason]) -> list[FailTogether]:
    """Pairs of rules that the same documents failed, the most frequent first."""
    return _together(_failed_pairs(verdicts), reasons)


def _failed_pairs(verdicts: pl.DataFrame) -> dict[tuple[str, str], int]:
    """How many documents failed both rules of each pair; sets of rules would be nearly as many as documents."""
    failed = verdicts.select("failed").with_row_index("row").explode("failed").drop_nulls()
    if failed.is_empty():
        return {}
    names = failed.get_column("failed").unique().sort().to_list()
    codes = failed.get_column("failed").replace_strict(names, range(len(names)), return_dtype=pl.Int64)
    marks = np.zeros((len(verdicts), len(names)), np.float32)  # exact for some 16 million documents
    marks[failed.get_column("row").to_numpy(), codes.to_numpy()] = 1
    together = marks.T @ marks
    first, second = np.nonzero(np.triu(together, 1))
    counts = together[first, second].astype(np.int64).tolist()
    pairs = ((names[one], names[two]) for one, two in zip(first.tolist(), second.tolist(), strict=True))
    return dict(zip(pairs, counts, strict=True))


def _together(pairs: Mapping[tuple[str, str], int], reasons: Sequence[Reason]) -> list[FailTogether]:
    place = {f"{reason.step}.{reason.reason}": at for at, reason in enumerate(reasons)}
    counts = {
        tuple(sorted(pair, key=lambda name: place.get(name, len(place)))): documents
        for pair, documents in pairs.items()
    }
    largest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_PAIRS]
    return [FailTogether(one=one, two=two, documents=documents) for (one, two), documents in largest]


def grouped_by(plan: Plan, rows: pl.DataFrame) -> pl.DataFrame:
    """By what drop rates are told, one column for each."""
    return rows.select(**grouping(plan, rows))


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
    return _rates({name: _groups(rows, kept, value) for name, value in by.items()})


def _groups(rows: pl.DataFrame, kept: pl.Series, value: pl.Expr) -> pl.DataFrame:
    """How many documents have each value, and how many of them were dropped."""
    values = rows.select(value=value.fill_null("")).with_columns(kept=kept)
    return values.group_by("value").agg(
        rows=pl.len().cast(pl.Int64), dropped=(~pl.col("kept")).sum().cast(pl.Int64)
    )


def _added(groups: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(groups).group_by("value").sum()


def _rates(grouped: Mapping[str, pl.DataFrame]) -> list[DropRate]:
    found = []
    for name, groups in grouped.items():
        if len(groups) > 1:
            overall = int(groups.get_column("dropped").sum()) / int(groups.get_column("rows").sum())
            ordered = groups.sort("rows", "value", descending=[True, False])
            found += [_rate(name, group, overall) for group in _largest(name, ordered)]
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
