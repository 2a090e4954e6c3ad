"""What rules that changed do to documents, beside what stands: counts, documents at the edge, languages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from curate.engine.attribution import language
from curate.engine.plan import PlannedStep, PlannedTable
from curate.engine.rules import Limit
from schemas.answers import AtTheEdge, LanguageEffect, RuleEffect
from schemas.recipe import Recipe

if TYPE_CHECKING:
    from curate.engine.preview import JudgedAgain

_SAMPLE = 5  # of what comes back, and of what goes
_EDGE = 20  # documents shown at the limits of changed rules


def compare(again: JudgedAgain, table: PlannedTable, stood: Recipe | None) -> None:
    """Count and sample what would change in a table against the verdicts that stand."""
    session, found = again.session, again.tables[table.name]
    if table.name not in again.verdicts or session.key(f"verdicts/{table.name}") not in again.head.pins:
        return
    was = session.lake.read(session.name, f"verdicts/{table.name}", again.head)
    before = was.select("id", was="kept", old=_reason()).collect()
    after = again.verdicts[table.name].select("id", "kept", new=_reason())
    both = after.join(before, on="id", how="full", coalesce=True)
    back = both.filter(pl.col("kept") & ~pl.col("was").fill_null(False))
    gone = both.filter(pl.col("was") & ~pl.col("kept").fill_null(False))
    found.comes_back, found.goes = len(back), len(gone)
    found.rules = _rules(table, stood, _counts(before.filter(~pl.col("was")), "old"), _counts(after.filter(~pl.col("kept")), "new"),
                         _counts(gone.filter(pl.col("new") != ""), "new"), _counts(back.filter(pl.col("old") != ""), "old"))  # fmt: skip
    places = session.lake.read(session.name, "verdicts/documents", again.head).select("id", "place").collect()
    for rows, word, why in ((back, "comes back", "old"), (gone, "goes", "new")):
        named = rows.join(places, on="id", how="left").sort("place", "id").head(_SAMPLE)
        found.sample += [
            (row["place"], f"{word}: {(row[why] or '').split('.', 1)[-1]}".rstrip(": "))
            for row in named.to_dicts()
        ]


def _reason() -> pl.Expr:
    return pl.when("kept").then(pl.lit("")).otherwise(pl.format("{}.{}", "step", "reason"))


def _counts(rows: pl.DataFrame, column: str) -> dict[str, int]:
    return dict(rows.group_by(column).len().iter_rows())


def _rules(
    table: PlannedTable,
    stood: Recipe | None,
    dropped_before: dict[str, int],
    dropped: dict[str, int],
    goes: dict[str, int],
    comes_back: dict[str, int],
) -> list[RuleEffect]:
    """Rules that are changed, or by which a document goes or comes back; in the order of the recipe."""
    rules = {f"{step.name}.{reason}": rule.sql for step in table.steps for reason, rule in step.rules.items()}
    old = _rules_of(stood, table.name)
    names = dict.fromkeys([*rules, *old, *sorted({*goes, *comes_back})])
    effects = []
    for name in names:
        rule, was = rules.get(name, ""), old.get(name, "")
        if rule != was or name in goes or name in comes_back:
            step, reason = name.split(".", 1)
            effects.append(
                RuleEffect(
                    step=step, reason=reason, rule=rule, was=was, dropped_before=dropped_before.get(name, 0),
                    dropped=dropped.get(name, 0), goes=goes.get(name, 0), comes_back=comes_back.get(name, 0),
                )
            )  # fmt: skip
    return effects


def _rules_of(recipe: Recipe | None, table: str) -> dict[str, str]:
    steps = recipe.tables.get(table, ()) if recipe else ()
    return {f"{step.name}.{reason}": sql for step in steps for reason, sql in step.drop.items()}


def at_the_edge(again: JudgedAgain, stood: Recipe | None) -> list[AtTheEdge]:
    """Documents nearest to the limits of the rules that are changed, as many on either side.

    Distances are in standard deviations of the measurement, so that several limits can be compared.
    """
    changed = [
        (table, step, reason)
        for table in again.session.plan.tables
        if table.name in again.rows
        for step in table.steps
        for reason, rule in step.rules.items()
        if rule.limits and rule.sql != _rules_of(stood, table.name).get(f"{step.name}.{reason}")
    ][: _EDGE // 2]
    each = _EDGE // (2 * len(changed)) if changed else 0
    return [found for table, step, reason in changed for found in _nearest(again, table, step, reason, each)]


def _nearest(
    again: JudgedAgain, table: PlannedTable, step: PlannedStep, reason: str, each: int
) -> list[AtTheEdge]:
    session, rows, name = again.session, again.rows[table.name], f"{step.name}.{reason}"
    limits = [limit for limit in step.rules[reason].limits if _is_there(rows, step, limit)]
    if not limits:
        return []
    verdicts = again.verdicts[table.name].select(
        "kept",
        fails=pl.col("failed").list.contains(name),
        others=pl.col("failed").list.len() - pl.col("failed").list.contains(name),
    )
    near = pl.concat([_distances(rows, step, limit) for limit in limits])
    near = pl.concat([near, pl.concat([verdicts] * len(limits))], how="horizontal").filter(
        pl.col("value").is_not_null()
    )
    ranked = near.sort("distance", "place").unique("id", keep="first", maintain_order=True)
    sides = [ranked.filter(pl.col("fails") == fails).head(each) for fails in (True, False)]
    key, shown = session.key(f"verdicts/{table.name}"), pl.concat(sides)
    if key in again.head.pins:
        was = session.lake.read(session.name, f"verdicts/{table.name}", again.head).select(
            "id", was_kept="kept"
        )
        shown = shown.lazy().join(was, on="id", how="left", maintain_order="left").collect()
    else:
        shown = shown.with_columns(was_kept=pl.lit(False))
    shown = shown.with_columns(pl.col("was_kept").fill_null(False)).drop("id", "distance", "others")
    return [AtTheEdge(table=table.name, rule=name, **row) for row in shown.to_dicts()]


def _is_there(rows: pl.DataFrame, step: PlannedStep, limit: Limit) -> bool:
    return _own(step, limit) or limit.column.split(".")[0] in rows.columns


def _own(step: PlannedStep, limit: Limit) -> bool:
    return step.stage is not None and limit.column in {field.name for field in step.stage.measures}


def _distances(rows: pl.DataFrame, step: PlannedStep, limit: Limit) -> pl.DataFrame:
    path = [step.name, limit.column] if _own(step, limit) else limit.column.split(".", 1)
    value = pl.col(path[0]) if len(path) == 1 else pl.col(path[0]).struct.field(path[1])
    spread = pl.col("value").std().fill_null(0.0)
    return rows.select("id", "place", value=value.cast(pl.Float64)).with_columns(
        column=pl.lit(limit.column),
        op=pl.lit(limit.op),
        limit=pl.lit(limit.value),
        distance=(pl.col("value") - limit.value).abs() / pl.when(spread > 0).then(spread).otherwise(1.0),
    )


def languages(again: JudgedAgain) -> tuple[str, list[LanguageEffect]]:
    """Unit, and documents and amount of each language before and after, the largest first.

    Tokens that were not made yet are reckoned from the characters, at the rate of the language.
    """
    session, head = again.session, again.head
    if "corpus" not in again.rows or session.key("corpus") not in head.pins:
        return "characters", []
    rows = again.rows["corpus"].filter(again.verdicts["corpus"].get_column("kept"))
    after = rows.select(
        pl.coalesce("digest_out", "text_digest").alias("text_digest"),
        "chars",
        language=language(session.plan, rows).fill_null(""),
    )
    before = (
        session.lake.read(session.name, "corpus", head).select("text_digest", "chars", "language").collect()
    )
    fingerprint = (
        head.fingerprints.get(session.key("tokens"), "") if session.plan.recipe.tokens is not None else ""
    )
    unit = "tokens" if fingerprint else "characters"
    if fingerprint:
        counts = (
            session.lake.content("tokens", fingerprint)
            .scan()
            .select(text_digest="key", count="count")
            .collect()
        )
        before, after = _in_tokens(before, after, counts)
    sums = [
        frame.group_by("language").agg(documents=pl.len(), amount=pl.col("chars").sum())
        for frame in (before, after)
    ]
    both = sums[0].join(sums[1], on="language", how="full", coalesce=True, suffix="_after").fill_null(0)
    ordered = both.sort("amount_after", "amount", "language", descending=[True, True, False])
    return unit, [
        LanguageEffect(
            language=name, documents_before=documents, amount_before=amount, documents=now, amount=much
        )
        for name, documents, amount, now, much in ordered.iter_rows()
    ]


def _in_tokens(
    before: pl.DataFrame, after: pl.DataFrame, counts: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Both frames with `chars` in tokens."""
    known = before.join(counts, on="text_digest")
    whole = known.select(pl.col("count").sum() / pl.col("chars").sum().clip(1)).item() if len(known) else 0.0
    rates = known.group_by("language").agg(rate=pl.col("count").sum() / pl.col("chars").sum().clip(1))
    made = []
    for frame in (before, after):
        joined = frame.join(counts, on="text_digest", how="left").join(rates, on="language", how="left")
        reckoned = (pl.col("chars") * pl.col("rate").fill_null(whole)).round()
        made.append(
            joined.with_columns(chars=pl.coalesce(pl.col("count").cast(pl.Float64), reckoned).cast(pl.Int64))
        )
    return made[0], made[1]
