"""Why a document is in the corpus or not, from what is stored: `curate why`."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import polars as pl

from curate.engine.plan import Plan, PlannedStep, PlannedTable, make_plan
from curate.engine.rules import Limit
from curate.engine.standing import with_kept_columns
from curate.lake.disk import disk_errors
from curate.lake.lake import Lake
from curate.lake.runs import Head
from schemas.errors import UsageError, did_you_mean
from schemas.recipe import build_recipe
from schemas.report import Explanation, LimitOutcome, RuleOutcome, StepOutcome, TableOutcome
from schemas.tables import DOCUMENT_COLUMNS


def explain(lake: str | Path, name: str, what: str) -> Explanation:
    """The verdicts on one document, named by id, URL or place.

    Raises:
        LakeError: no such lake or name.
        UsageError: no place in the lake is called so.
    """
    home = Lake(lake)
    with disk_errors(home.root):
        return _explained(home, home.require(name), what)


def _explained(home: Lake, name: str, what: str) -> Explanation:
    head = home.head()
    plan = make_plan(build_recipe(tomllib.loads(_recipe(home, head, name))))
    found = _find(home, head, name, what)
    answer = Explanation(name=name, **found)
    _add_fetch(home, head, answer)
    if not answer.id:
        return answer
    document = _document(home, head, plan, name, answer.id)
    answer.title = document.get("title", "")
    for table in plan.tables:
        if home.state(name, f"verdicts/{table.name}").files(head.pins.get(f"{name}/verdicts/{table.name}")):
            outcome = _table_outcome(home, head, name, table, answer, document)
            if outcome is None:
                break
            answer.tables.append(outcome)
    answer.kept = (
        bool(answer.tables)
        and all(table.kept for table in answer.tables)
        and len(answer.tables) == len(plan.tables)
    )
    _add_advice(answer, plan)
    return answer


def _recipe(lake: Lake, head: Head, name: str) -> str:
    """The recipe of the newest run of a name."""
    seq = head.seq
    while seq:
        row = lake.runs.at(seq)
        if row.name == name and row.recipe:
            return row.recipe
        seq -= 1
    return ""


def _find(lake: Lake, head: Head, name: str, what: str) -> dict[str, Any]:
    """Columns of the document that is meant, or of its place if there is no document."""
    verdicts = lake.read(name, "verdicts/documents", head)
    names = [what, what.rstrip("/"), what + "/", what.removeprefix("./")]
    match = pl.col("id").is_in(names) | pl.col("url").is_in(names) | pl.col("place").is_in(names)
    rows = verdicts.filter(match | pl.col("place").str.starts_with(what + "#")).select(
        "id", "place", "url", "source", "license"
    )
    found = rows.sort("place").head(1).collect().to_dicts()
    if found:
        return found[0]
    answers = _fetches(lake, head, name).select("source", "url").unique().collect()
    asked = answers.filter(pl.col("url").is_in(names)).to_dicts()
    if asked:
        return {"place": asked[0]["url"], "url": asked[0]["url"], "source": asked[0]["source"]}
    known = verdicts.select("place").collect().get_column("place").to_list()
    hint = did_you_mean(what, known) if len(known) < 20_000 else "Name an id, a URL or a path#number."
    raise UsageError(
        f'{name} knows no document or page "{what}".',
        hint=hint if "Known:" not in hint else "curate show documents lists what it knows.",
    )


def _fetches(lake: Lake, head: Head, name: str) -> pl.LazyFrame:
    return lake.state(name, "fetches").scan(head.pins.get(f"{name}/fetches"))


def _add_fetch(lake: Lake, head: Head, answer: Explanation) -> None:
    place = re.sub(r"#\d+$", "", answer.place)
    mine = _fetches(lake, head, answer.name).filter(
        pl.col("url").is_in([answer.url, place]) & (pl.col("source") == answer.source)
    )
    last = mine.sort("at").tail(1).collect().to_dicts()
    if last:
        answer.status, answer.fetched_at = last[0]["status"], last[0]["at"].isoformat(timespec="seconds")
        answer.fetch_error = last[0]["error"] or (
            f"redirects to {last[0]['location']}" if last[0]["location"] else ""
        )


def _document(lake: Lake, head: Head, plan: Plan, name: str, document: str) -> dict[str, Any]:
    """Columns of the document that rules may name."""
    verdicts = lake.read(name, "verdicts/documents", head).filter(pl.col("id") == document)
    content = (
        lake.content("documents", head.fingerprints.get(f"{name}/documents", ""))
        .scan()
        .select("key", "title", "author", "date", "declared_language", "chars", "extra")
    )
    rows = verdicts.select("id", "key", "digest", "source", "place", "url", "license", "access").join(
        content, on="key"
    )
    found = with_kept_columns(rows, plan).collect().to_dicts()
    return found[0] if found else {}


def _table_outcome(
    lake: Lake, head: Head, name: str, table: PlannedTable, answer: Explanation, document: dict[str, Any]
) -> TableOutcome | None:
    """What a table measured and decided; fills the verdict of `answer` where it dropped the document."""
    rows = (
        lake.read(name, f"verdicts/{table.name}", head).filter(pl.col("id") == answer.id).collect().to_dicts()
    )
    if not rows:
        return None
    verdict = rows[0]
    outcome = TableOutcome(
        table=table.name, kept=verdict["kept"], failed=verdict["failed"], message=verdict["message"]
    )
    measured = _measured(lake, head, name, table, verdict["key"])
    document.update(measured)
    for step in table.steps:
        outcome.steps.append(_step_outcome(step, document, set(verdict["failed"])))
    if not verdict["kept"]:
        answer.table = table.name
        answer.step, answer.reason, answer.message = verdict["step"], verdict["reason"], verdict["message"]
        answer.duplicate_of, answer.similarity = verdict["duplicate_of"], verdict["similarity"]
        _add_twin(lake, head, answer)
    return outcome


def _measured(lake: Lake, head: Head, name: str, table: PlannedTable, key: str) -> dict[str, Any]:
    """One struct per step, as stored under the key."""
    if table.kind != "measured":
        return {}
    fingerprint = head.fingerprints.get(f"{name}/{table.name}", table.fingerprint)
    scan = lake.content(table.name, fingerprint, table.schema).scan()
    rows = scan.filter(pl.col("key") == key).select([step for step, _ in table.measured]).collect().to_dicts()
    return rows[0] if rows else {}


def _step_outcome(step: PlannedStep, document: dict[str, Any], failed: set[str]) -> StepOutcome:
    own = document.get(step.name) if step.stage else None
    measures = {
        key: value for key, value in (own or {}).items() if isinstance(value, str | int | float | bool)
    }
    names = {
        **{
            key: value
            for key, value in document.items()
            if key in DOCUMENT_COLUMNS or not isinstance(value, dict)
        },
        **measures,
    }
    for other, value in document.items():
        if isinstance(value, dict):
            names.update({f"{other}.{key}": inner for key, inner in value.items()})
    rules = [
        RuleOutcome(
            reason=reason,
            rule=rule.sql,
            failed=f"{step.name}.{reason}" in failed,
            limits=_limits(rule.limits, names),
        )
        for reason, rule in step.rules.items()
    ]
    return StepOutcome(step=step.name, measures=measures, rules=rules)


def _limits(limits: tuple[Limit, ...], names: dict[str, Any]) -> list[LimitOutcome]:
    found = []
    for limit in limits:
        value = names.get(limit.column)
        if isinstance(value, int | float):
            margin = round(float(value) - limit.value, 6)
            found.append(
                LimitOutcome(
                    column=limit.column, op=limit.op, limit=limit.value, value=float(value), margin=margin
                )
            )
    return found


def _add_twin(lake: Lake, head: Head, answer: Explanation) -> None:
    """URL or place and title of the document that stands for this one."""
    if not answer.duplicate_of:
        return
    rows = lake.read(answer.name, "verdicts/documents", head).filter(pl.col("id") == answer.duplicate_of)
    content = (
        lake.content("documents", head.fingerprints[f"{answer.name}/documents"]).scan().select("key", "title")
    )
    twin = rows.select("key", "url", "place").join(content, on="key").collect().to_dicts()
    if twin:
        answer.duplicate_url = twin[0]["url"] or twin[0]["place"]
        answer.duplicate_title = twin[0]["title"]


def _add_advice(answer: Explanation, plan: Plan) -> None:
    """The lines that would keep the document, and the command that shows what else they do."""
    if answer.kept or not answer.table:
        return
    step = next((step for step in plan.table(answer.table).steps if step.name == answer.step), None)
    header = f"[{answer.table}.{answer.step}]"
    if step and answer.reason in step.rules:
        answer.to_keep = f"{header}\ndrop.{answer.reason} = false"
        answer.to_preview = f"curate plan --set {answer.table}.{answer.step}.drop.{answer.reason}=false"
    elif answer.reason == "near_duplicate":
        higher = min(1.0, round(answer.similarity + 0.01, 2))
        answer.to_keep = f"{header}\nthreshold = {json.dumps(higher)}"
        answer.to_preview = f"curate plan --set {answer.table}.{answer.step}.threshold={higher}"
