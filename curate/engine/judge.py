"""Judging: rules over stored measurements. Reads no text and measures nothing, so it can be done again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import polars as pl
import pyarrow as pa

from curate.engine.plan import PlannedTable
from schemas.report import Reason

_AT_ONCE = 50_000  # documents: a name for each rule is made on the way
_COLUMNS = ["id", "key", "kept", "step", "reason", "failed", "message", "duplicate_of", "similarity"]
_PLAIN = {"message": pl.lit(""), "duplicate_of": pl.lit(""), "similarity": pl.lit(0.0)}


def judge(
    frame: pl.DataFrame, table: PlannedTable, errors: pl.DataFrame | None = None
) -> tuple[pl.DataFrame, list[Reason]]:
    """Verdicts on documents: columns of `verdicts` in the order of `frame`, and what each rule did.

    `frame` has id, key, the columns that rules name and a struct per step (NULL for documents that broke
    a stage, which `errors` names: key, step, message).
    """
    whole = Judge(table, errors)
    parts = [whole.verdicts(part) for part in frame.iter_slices(_AT_ONCE)] or [whole.verdicts(frame)]
    return pl.concat(parts), whole.reasons


class Judge:
    """Judges the documents of a table, some at a time, and counts what each rule did."""

    def __init__(self, table: PlannedTable, errors: pl.DataFrame | None = None) -> None:
        self._table, self._errors = table, errors
        self._unjudged: Counter[str] = Counter()
        self._counts = _no_counts()

    def verdicts(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Verdicts on some documents, in their order."""
        verdicts = _with_errors(_failed(frame, self._table, self._unjudged), self._errors)
        first = pl.col("failed").list.first().fill_null("")
        verdicts = verdicts.with_columns(
            kept=pl.col("failed").list.len() == 0,
            step=first.str.split(".").list.first().fill_null(""),
            reason=first.str.replace(r"^[^.]*\.", ""),
        )
        for name, default in _PLAIN.items():
            if name not in verdicts.columns:
                verdicts = verdicts.with_columns(default.alias(name))
        verdicts = verdicts.select(_COLUMNS)
        self.count(verdicts)
        return verdicts

    def count(self, verdicts: pl.DataFrame) -> None:
        """Count verdicts that were made elsewhere."""
        self._counts = _sums([self._counts, _counts(verdicts)])

    @property
    def reasons(self) -> list[Reason]:
        """What each rule did to the documents so far."""
        return _reasons(self._counts, self._table, self._unjudged)


def _failed(frame: pl.DataFrame, table: PlannedTable, unjudged: Counter[str]) -> pl.DataFrame:
    """id, key, and the names of the rules that each document failed."""
    failed, nulls = _failures(frame, table)
    unjudged.update(nulls)
    both = pl.concat([frame.select("id", "key"), failed], how="horizontal")
    return both.select(
        "id", "key", failed=_listed(failed) if failed.columns else pl.lit([], pl.List(pl.String))
    )


def _listed(failed: pl.DataFrame) -> pl.Series:
    """The names of the columns that are true, as a list for each row: few are, and only those are made."""
    matrix = failed.to_numpy()
    ends = np.cumsum(np.count_nonzero(matrix, axis=1))
    names = pa.array(failed.columns, pa.large_string()).take(pa.array(np.nonzero(matrix)[1]))
    return pl.Series(pa.LargeListArray.from_arrays(np.concatenate([[0], ends]), names))


def _failures(frame: pl.DataFrame, table: PlannedTable) -> tuple[pl.DataFrame, dict[str, int]]:
    """One Boolean column per rule, named STEP.REASON; and for how many documents each was NULL."""
    parts, unjudged = [], {}
    for step in table.steps:
        if not step.rules:
            continue
        seen = frame
        if step.stage:  # by bare name its own measurements, also where a source keeps a column called so
            seen = frame.with_columns(frame.get_column(step.name).struct.unnest())
        judged = seen.select(
            _count_rows(), *[rule.expr.alias(f"{step.name}.{reason}") for reason, rule in step.rules.items()]
        ).drop("_rows")
        unjudged.update({name: judged.get_column(name).null_count() for name in judged.columns})
        parts.append(judged.with_columns(pl.all().fill_null(False)))
    return (pl.concat(parts, how="horizontal") if parts else pl.DataFrame(), unjudged)


def _count_rows() -> pl.Expr:
    # A rule may be a constant (TRUE): a column of full length beside it makes Polars broadcast it.
    return pl.int_range(pl.len()).alias("_rows")


def _with_errors(verdicts: pl.DataFrame, errors: pl.DataFrame | None) -> pl.DataFrame:
    """A document that broke a stage is dropped for that alone: its measurements are not there."""
    if errors is None or errors.is_empty():
        return verdicts
    errors = errors.unique("key", keep="first")
    joined = verdicts.join(errors, on="key", how="left", maintain_order="left")
    broken = pl.col("message").is_not_null()
    return joined.with_columns(
        failed=pl.when(broken)
        .then(pl.concat_list(pl.format("{}.error:{}", "step", "step")))
        .otherwise("failed"),
        message=pl.col("message").fill_null(""),
    ).drop("step")


def reasons_of(verdicts: pl.DataFrame, table: PlannedTable, unjudged: Mapping[str, int]) -> list[Reason]:
    """What each rule did, in the order of the recipe, then errors."""
    parts = [_counts(part) for part in verdicts.iter_slices(_AT_ONCE)]
    return _reasons(_sums([_no_counts(), *parts]), table, unjudged)


def _counts(verdicts: pl.DataFrame) -> pl.DataFrame:
    """For each rule that failed: the documents that it dropped, that failed it, and that failed it alone."""
    only = pl.col("failed").list.len() == 1
    return (
        verdicts.select("failed", first=pl.col("failed").list.first(), only=only)
        .filter(pl.col("failed").list.len() > 0)
        .explode("failed")
        .group_by("failed")
        .agg(dropped=(pl.col("first") == pl.col("failed")).sum(), total=pl.len(), alone=pl.col("only").sum())
    )


def _no_counts() -> pl.DataFrame:
    return _counts(pl.DataFrame(schema={"failed": pl.List(pl.String)}))


def _sums(parts: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(parts).group_by("failed").sum()


def _reasons(counted: pl.DataFrame, table: PlannedTable, unjudged: Mapping[str, int]) -> list[Reason]:
    counts = {row["failed"]: row for row in counted.to_dicts()}
    rules = {f"{step.name}.{reason}": rule.sql for step in table.steps for reason, rule in step.rules.items()}
    names = [*rules, *sorted(set(counts) - set(rules))]
    return [_reason(name, rules.get(name, ""), counts.get(name, {}), unjudged.get(name, 0)) for name in names]


def _reason(name: str, rule: str, counts: dict[str, int], unjudged: int) -> Reason:
    step, reason = name.split(".", 1)
    return Reason(
        step=step,
        reason=reason,
        rule=rule,
        dropped=counts.get("dropped", 0),
        failed=counts.get("total", 0),
        alone=counts.get("alone", 0),
        unjudged=unjudged,
    )
