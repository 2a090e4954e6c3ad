"""Documents at the edge of a rule for people to label, and what their labels say about the rule."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from curate.engine.plan import PlannedStep, PlannedTable, make_plan
from curate.engine.preview import JudgedAgain, judge_again
from curate.engine.progress import Progress
from curate.engine.rules import Limit
from curate.engine.session import Session
from curate.engine.shard import read_texts
from curate.engine.standing import locate
from curate.engine.stored_recipe import stored_recipe
from curate.engine.workers import Workers
from curate.lake.disk import disk_errors
from curate.lake.lake import Lake
from schemas.errors import LakeError, UsageError, did_you_mean

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
LABELS = ("keep", "drop")
_LEAST = 10  # labels of a rule without which no other limit is suggested


@dataclass(frozen=True)
class Case:
    """A document near a limit of a rule: `measure` has `value`, and the rule drops what is `op limit`."""

    id: str
    text: str
    rule: str  # TABLE.STEP.REASON
    measure: str
    op: str
    limit: float
    value: float

    @property
    def dropped(self) -> bool:
        """Whether this limit drops it."""
        return OPERATORS[self.op](self.value, self.limit)


@dataclass(frozen=True)
class Labelled(Case):
    """A case with what a person says: keep or drop."""

    label: str

    def row(self) -> dict[str, str | float]:
        """As a line of labels.jsonl: id, text, label, rule and value first."""
        row = asdict(self)
        return {key: row[key] for key in ("id", "text", "label", "rule", "value", "measure", "op", "limit")}


@dataclass(frozen=True)
class RuleLabels:
    """What labels say about one limit of a rule."""

    rule: str
    measure: str
    op: str
    limit: float
    labelled: int
    dropped: int  # of the labelled, those that this limit drops
    precision: float  # of these, the share that people drop too; 0 if there is none
    kept_right: float  # of the others, the share that people keep too; 0 if there is none
    suggested: float | None  # the limit with fewest labels against it, if it is another one
    errors: int  # labels against the limit
    errors_suggested: int  # labels against the suggested one


def find_cases(
    lake: str | Path, name: str, near: str, *, count: int, known: Collection[tuple[str, str]] = ()
) -> list[Case]:
    """Documents nearest to the limits of the rules of TABLE.STEP or TABLE.STEP.REASON, as many on either side.

    `known` are (id, rule) that are labelled already. The text is that which the step's table was given.

    Raises:
        LakeError: there is no such lake or name, or nothing was measured.
        UsageError: there is no such step, or it has no rule that compares a number.
    """
    home = Lake(lake)
    with disk_errors(home.root):
        name = home.require(name)
        recipe = stored_recipe(home, home.head(), name)
        if recipe is None:
            raise LakeError(f"The lake has no recipe of {name}.", hint="curate run stores it.")
        session = Session(home, make_plan(recipe), Workers(1), Progress())
        table, limits = _limits(session, near)
        again = judge_again(session)
        if again is None or table.name not in again.rows:
            raise LakeError(f"{name} has nothing measured in {table.name}.", hint="curate run measures it.")
        return _with_texts(session, again, table.name, _nearest(again, table, limits, count, known))


def _limits(session: Session, near: str) -> tuple[PlannedTable, list[tuple[PlannedStep, str, Limit]]]:
    """The table, and step, reason and limit of each comparison that is meant."""
    found: dict[str, list[tuple[PlannedTable, PlannedStep, str, Limit]]] = {}
    for table in session.plan.tables:
        for step in table.steps if table.kind == "measured" else ():
            for reason, rule in step.rules.items():
                for limit in rule.limits:
                    for key in (f"{table.name}.{step.name}", f"{table.name}.{step.name}.{reason}"):
                        found.setdefault(key, []).append((table, step, reason, limit))
    if near not in found:
        raise UsageError(
            f'"{near}" is no step or rule that compares a measurement with a number.',
            hint=did_you_mean(near, found),
        )
    return found[near][0][0], [(step, reason, limit) for _, step, reason, limit in found[near]]


def _nearest(
    again: JudgedAgain,
    table: PlannedTable,
    limits: Sequence[tuple[PlannedStep, str, Limit]],
    count: int,
    known: Collection[tuple[str, str]],
) -> pl.DataFrame:
    """id, rule, measure, op, limit, value of the nearest rows: the nearest of every limit first, side by side."""
    rows, parts = again.rows[table.name], []
    for order, (step, reason, limit) in enumerate(limits):
        rule = f"{table.name}.{step.name}.{reason}"
        value = _value(rows, step, limit.column)
        if value is None:
            continue
        seen = [id_ for id_, labelled in known if labelled == rule]
        side = {
            "<": value < limit.value,
            "<=": value <= limit.value,
            ">": value > limit.value,
            ">=": value >= limit.value,
        }
        parts.append(
            rows.select(
                "id", rule=pl.lit(rule), measure=pl.lit(limit.column), op=pl.lit(limit.op),
                limit=pl.lit(limit.value, pl.Float64), value=value, dropped=side[limit.op], order=pl.lit(order),
            )
            .drop_nulls("value")
            .filter(~pl.col("id").is_in(seen))
            .sort((pl.col("value") - limit.value).abs(), "id")
            .with_columns(rank=pl.int_range(pl.len()).over("dropped"))
        )  # fmt: skip
    near = pl.concat(parts) if parts else pl.DataFrame(schema={"id": pl.String, "rank": pl.Int64})
    return near.sort("rank", "order", "dropped").head(count) if len(near) else near


def _value(rows: pl.DataFrame, step: PlannedStep, column: str) -> pl.Series | None:
    """The measurement that a limit is about: of the step itself, of an earlier one, or a column of the document."""
    owner, _, field = column.rpartition(".")
    own = step.stage is not None and any(measure.name == column for measure in step.stage.measures)
    owner, field = (step.name, column) if own else (owner, field)
    if owner:
        return rows.get_column(owner).struct.field(field).cast(pl.Float64) if owner in rows.columns else None
    return rows.get_column(field).cast(pl.Float64) if field in rows.columns else None


def _with_texts(session: Session, again: JudgedAgain, table: str, near: pl.DataFrame) -> list[Case]:
    if near.is_empty():
        return []
    rows = (
        again.rows[table]
        .select("id", "home", "home_key")
        .join(near.select("id").unique(), on="id", how="semi")
    )
    places = locate(session, again.known, rows)
    texts = dict(zip(places.get_column("id").to_list(), read_texts(places).to_pylist(), strict=True))
    columns = ("id", "rule", "measure", "op", "limit", "value")
    return [Case(text=texts[row["id"]], **row) for row in near.select(columns).to_dicts()]


def judge_labels(labels: Sequence[Labelled]) -> list[RuleLabels]:
    """For each limit: how often people agree with what it drops and keeps, and the limit that they agree with most."""
    groups: dict[tuple[str, str, str], list[Labelled]] = {}
    for one in labels:
        groups.setdefault((one.rule, one.measure, one.op), []).append(one)
    return [_judged(list({one.id: one for one in group}.values())) for group in groups.values()]


def _judged(group: list[Labelled]) -> RuleLabels:
    last = group[-1]
    compare = OPERATORS[last.op]

    def against(limit: float) -> int:
        return sum(compare(one.value, limit) != (one.label == "drop") for one in group)

    dropped = [one for one in group if compare(one.value, last.limit)]
    kept = [one for one in group if not compare(one.value, last.limit)]
    values = {one.value for one in group}
    # Beyond the outermost value, so that a limit may drop or keep them all.
    step = max(1.0, max(values) - min(values)) / 10
    candidates = {*values, last.limit, min(values) - step, max(values) + step}
    best = min(candidates, key=lambda limit: (against(limit), abs(limit - last.limit), limit))
    enough = len(group) >= _LEAST and len({one.label for one in group}) > 1
    better = enough and against(best) < against(last.limit)
    return RuleLabels(
        rule=last.rule,
        measure=last.measure,
        op=last.op,
        limit=last.limit,
        labelled=len(group),
        dropped=len(dropped),
        precision=sum(one.label == "drop" for one in dropped) / max(len(dropped), 1),
        kept_right=sum(one.label == "keep" for one in kept) / max(len(kept), 1),
        suggested=best if better else None,
        errors=against(last.limit),
        errors_suggested=against(best) if better else against(last.limit),
    )
