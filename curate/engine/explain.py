"""Why a document is in the corpus or not, from what is stored: `curate why`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import polars as pl

from curate.dedup.options import MinhashOptions, SemanticOptions
from curate.engine.advice import higher_threshold, looser_rules
from curate.engine.plan import Plan, PlannedStep, PlannedTable, make_plan
from curate.engine.rewritten import unified_diff
from curate.engine.rules import Limit
from curate.engine.standing import with_kept_columns
from curate.engine.stored_recipe import stored_recipe
from curate.engine.unasked import left_out, why_unasked
from curate.lake.disk import disk_errors
from curate.lake.lake import Lake
from curate.lake.runs import Head
from curate.sources.urls import canonical
from schemas.answers import Explanation, LimitOutcome, Rewrite, RuleOutcome, StepOutcome, TableOutcome
from schemas.errors import LakeError, UsageError, did_you_mean
from schemas.recipe import Recipe

_LISTED = 5  # places that fit, in a hint
_COMPARED = 20_000  # places among which a similar one is looked for


def explain(lake: str | Path, name: str, what: str) -> Explanation:
    """The verdicts on one document, named by id, URL or place.

    Raises:
        LakeError: no such lake or name.
        UsageError: no place in the lake is called so, or several are.
    """
    home = Lake(lake)
    with disk_errors(home.root):
        return _explained(home, home.require(name), what)


def _explained(home: Lake, name: str, what: str) -> Explanation:
    head = home.head()
    recipe = stored_recipe(home, head, name)
    if recipe is None:
        raise LakeError(
            f"The lake has no recipe of {name}.", hint="curate log shows what ran; curate run stores it."
        )
    plan = make_plan(recipe)
    answer = Explanation(name=name, **_find(home, head, plan.recipe, name, what))
    _add_fetch(home, head, plan.recipe, answer)
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
    return answer


def _find(lake: Lake, head: Head, recipe: Recipe, name: str, what: str) -> dict[str, Any]:
    """Columns of the document that is meant, or of its place if there is no document.

    Raises:
        UsageError: nothing is called so, or several are.
    """
    file = pl.col("place").str.replace(r"#\d+$", "").alias("file")
    documents = lake.read(name, "verdicts/documents", head).select(
        "id", "place", "url", "source", "license", file
    )
    asked = _fetches(lake, head, name).select("source", "url", place="url", file="url").unique()
    pages = asked.join(documents, on=["source", "file"], how="anti")
    spelt = [what, what.rstrip("/"), what + "/", what.removeprefix("./"), _canonical(what) or what]
    end = f"/{what.strip('/')}"
    called = (
        pl.any_horizontal(pl.col("id", "place").is_in(spelt)),
        pl.col("url").is_in(spelt),
        pl.col("file").is_in(spelt),
        pl.any_horizontal(pl.col("place", "url", "file").str.ends_with(end)),
    )
    known = pl.concat([documents, pages], how="diagonal").with_columns(pl.col("id", "license").fill_null(""))
    fits = known.filter(pl.any_horizontal(called)).collect()
    for one in called:
        found = fits.filter(one).sort(pl.col("place").str.len_chars(), "place", "id")
        if len(found) == 1:
            return found.drop("file").to_dicts()[0]
        if len(found):
            raise _several(found, name, what)
    raise _unknown(known, _fetches(lake, head, name), recipe, name, what)


def _canonical(what: str) -> str:
    """The one spelling of a URL; "" for what is none."""
    try:
        return canonical(what)
    except ValueError:
        return ""


def _several(found: pl.DataFrame, name: str, what: str) -> UsageError:
    column = "place" if found.get_column("place").is_unique().all() else "id"
    listed = found.get_column(column).head(_LISTED).to_list() + ["..."] * (len(found) > _LISTED)
    return UsageError(
        f'"{what}" fits {len(found):,} places of {name}.', hint=f"Name one of them: {', '.join(listed)}"
    )


def _unknown(known: pl.LazyFrame, fetches: pl.LazyFrame, recipe: Recipe, name: str, what: str) -> UsageError:
    places = known.select("place").head(_COMPARED + 1).collect().get_column("place").to_list()
    near = did_you_mean(what, places) if len(places) <= _COMPARED else ""
    near = near if near.startswith("Did you mean") else ""
    url = _canonical(what)
    if url and any(source.url for source in recipe.sources.values()):
        why, way = why_unasked(recipe, fetches, url, near)
        return UsageError(f"{name} never asked for {url}: {why}.", hint=way)
    return UsageError(
        f'{name} knows no document or page "{what}".',
        hint=near or "curate show documents lists what it knows.",
    )


def _fetches(lake: Lake, head: Head, name: str) -> pl.LazyFrame:
    return lake.state(name, "fetches").scan(head.pins.get(f"{name}/fetches"))


def _add_fetch(lake: Lake, head: Head, recipe: Recipe, answer: Explanation) -> None:
    """The last answer about the place, and why no document came of it."""
    place = re.sub(r"#\d+$", "", answer.place)
    mine = _fetches(lake, head, answer.name).filter(
        pl.col("url").is_in([answer.url, place]) & (pl.col("source") == answer.source)
    )
    last = mine.sort("at").tail(1).collect().to_dicts()
    if not last:
        return
    answer.status, answer.fetched_at = last[0]["status"], last[0]["at"].isoformat(timespec="seconds")
    moved = f"redirects to {last[0]['location']}" if last[0]["location"] else ""
    answer.fetch_error = last[0]["error"] or moved
    if not answer.id and not answer.fetch_error and answer.status in (200, 304):
        source = recipe.sources.get(answer.source)
        by = left_out(source, place) if source and source.url else ""
        answer.fetch_error = (
            f"{by} of the recipe leaves it out now" if by else "it holds no document, or --limit left it out"
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
    _add_rewrite(lake, head, table, answer, document, measured.pop("text", None))
    document.update(measured)
    named = {step.name: _names(step, document) for step in table.steps}
    outcome.steps = [
        _step_outcome(step, document, named[step.name], verdict["failed"]) for step in table.steps
    ]
    answer.stands_for = verdict.get("stands_for", answer.stands_for)
    if not verdict["kept"]:
        answer.table = table.name
        answer.step, answer.reason, answer.message = verdict["step"], verdict["reason"], verdict["message"]
        for told in ("duplicate_of", "similarity", "estimate", "band"):
            setattr(answer, told, verdict.get(told, getattr(answer, told)))
        _add_twin(lake, head, answer)
        answer.measure = next((_measure(step) for step in table.steps if step.name == answer.step), "")
        answer.to_keep, answer.to_preview = (
            higher_threshold(table.name, answer.step, answer.similarity)
            if table.kind == "deduplicated" and answer.reason in ("near_duplicate", "semantic_duplicate")
            else looser_rules(table, verdict["failed"], named)
        )
    return outcome


def _measure(step: PlannedStep) -> str:
    """What the similarity to a keeper is, in the words of its step."""
    if isinstance(step.options, SemanticOptions):
        return "cosine"
    contained = isinstance(step.options, MinhashOptions) and step.options.similarity == "containment"
    return "containment" if contained else ""


def _measured(lake: Lake, head: Head, name: str, table: PlannedTable, key: str) -> dict[str, Any]:
    """One struct per step, as stored under the key, and the text where the steps rewrote it."""
    if table.kind != "measured":
        return {}
    fingerprint = head.fingerprints.get(f"{name}/{table.name}", table.fingerprint)
    scan = lake.content(table.name, fingerprint, table.schema).scan()
    columns = [*(step for step, _ in table.measured), "text"]
    rows = scan.filter(pl.col("key") == key).select(columns).collect().to_dicts()
    return rows[0] if rows else {}


def _add_rewrite(
    lake: Lake,
    head: Head,
    table: PlannedTable,
    answer: Explanation,
    document: dict[str, Any],
    text: str | None,
) -> None:
    """The difference between the text that reached the table and what its steps made of it."""
    if text is None:
        return
    before = document.get("text")
    if before is None:
        content = lake.content("documents", head.fingerprints[f"{answer.name}/documents"]).scan()
        before = content.filter(pl.col("key") == document["key"]).select("text").collect().item()
    document["text"] = text
    steps = [step.name for step in table.steps if step.stage and step.stage.rewrites]
    diff, left_out = unified_diff(before, text)
    if diff:
        answer.rewritten.append(Rewrite(table=table.name, steps=steps, diff=diff, left_out=left_out))


def _names(step: PlannedStep, document: dict[str, Any]) -> dict[str, Any]:
    """What the rules of a step may name of a document."""
    names = {key: value for key, value in document.items() if not isinstance(value, dict)}
    for other, value in document.items():
        if isinstance(value, dict):
            names.update({f"{other}.{key}": inner for key, inner in value.items()})
    return {**names, **(document.get(step.name) or {} if step.stage else {})}


def _step_outcome(
    step: PlannedStep, document: dict[str, Any], names: dict[str, Any], failed: list[str]
) -> StepOutcome:
    own = document.get(step.name) if step.stage else None
    rules = []
    for reason, rule in step.rules.items():
        limits = _limits(rule.limits, names)
        others = rule.columns - {limit.column for limit in limits}
        rules.append(
            RuleOutcome(
                reason=reason,
                rule=rule.sql,
                failed=f"{step.name}.{reason}" in failed,
                limits=limits,
                values=_plain({name: names[name] for name in sorted(others) if name in names}),
            )
        )
    return StepOutcome(step=step.name, measures=_plain(own or {}), rules=rules)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if isinstance(value, str | int | float | bool)}


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
