"""What lies between two versions of a corpus, and which rule or input moved each document: `curate diff`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

import polars as pl

from curate.engine.plan import CORPUS_STAGES, make_plan
from curate.engine.preview import judge_again
from curate.engine.progress import Progress
from curate.engine.session import Session
from curate.engine.stage import find_stage
from curate.engine.stored_recipe import in_place_of, stored_recipe
from curate.engine.workers import Workers
from curate.lake.delta import file_names, open_table
from curate.lake.disk import disk_errors
from curate.lake.lake import Lake
from curate.lake.runs import Head
from schemas.answers import Difference, Moved, MovedDocument
from schemas.errors import LakeError, RecipeError, UsageError
from schemas.recipe import Recipe, Step, packaged_recipes

_SAMPLE = 5
_KIND = "how", "cause", "by"


@dataclass
class Side:
    """A corpus with the verdicts that made it."""

    label: str
    recipe: Recipe
    verdicts: dict[str, pl.DataFrame]  # by table: id, kept, step, reason, duplicate_of
    documents: pl.DataFrame  # all that stand: id, place, digest
    product: pl.DataFrame  # id, and text_digest: NULL where it is not known
    unmeasured: set[str] = field(default_factory=set)


def difference(lake: str | Path, name: str, a: str, b: str = "") -> Difference:
    """Documents added, removed and rewritten from `a` to `b`: numbers of versions, tags, or recipes.

    Without `b` it is what stands. A recipe, a file or a packaged one, is judged over what the lake has measured.

    Raises:
        LakeError: no such lake or name, or `curate lake gc` took what the version needs.
        UsageError: neither a version that is there nor a recipe.
    """
    home = Lake(lake)
    with disk_errors(home.root):
        name = home.require(name)
        one, two = _side(home, name, a), _side(home, name, b)
        found = Difference(
            name=name, a=one.label, b=two.label, documents_a=len(one.product), documents_b=len(two.product),
            unmeasured=len(one.unmeasured | two.unmeasured),
        )  # fmt: skip
        moves = pl.concat([_moved(one, two, "added"), _moved(two, one, "removed"), _rewritten(one, two)])
        for how in ("added", "removed", "rewritten"):
            setattr(found, how, int((moves.get_column("how") == how).sum()))
        found.moved = _grouped(moves, pl.concat([one.documents, two.documents]).unique("id", keep="last"))
        return found


def _side(home: Lake, name: str, what: str) -> Side:
    head = home.head()
    if not what or what.isdecimal():
        return _version(home, name, int(what) if what else head.seq)
    for seq in range(head.seq, 0, -1):
        row = home.runs.at(seq)
        if (row.name, row.kind, row.message) == (name, "tag", what):
            return _version(home, name, seq, what)
    if what in packaged_recipes() or Path(what).is_file():
        return _judged(home, head, name, what)
    raise UsageError(
        f'"{what}" is no version, tag or recipe of {name}.',
        hint="curate log shows the versions and tags; a recipe is a file, or one of curate init --list.",
    )


def _version(home: Lake, name: str, seq: int, tag: str = "") -> Side:
    head = home.runs.at(seq)
    recipe = stored_recipe(home, head, name)
    if recipe is None or f"{name}/corpus" not in head.pins:
        raise UsageError(f"Version {seq} holds no corpus of {name}.", hint="curate log shows the versions.")
    tables = [table for table in recipe.order if f"{name}/verdicts/{table}" in head.pins]
    for key in ("corpus", *(f"verdicts/{table}" for table in tables)):
        _require(home, head, f"{name}/{key}", seq)
    verdicts = {
        table: home.read(name, f"verdicts/{table}", head)
        .select("id", "kept", "step", "reason", "duplicate_of")
        .collect()
        for table in tables
    }
    documents = home.read(name, "verdicts/documents", head).select("id", "place", "digest").collect()
    product = home.read(name, "corpus", head).select("id", "text_digest").collect()
    return Side(tag or f"version {seq}", recipe, verdicts, documents, product)


def _require(home: Lake, head: Head, key: str, seq: int) -> None:
    """All files of a state table as pinned are still there."""
    table = open_table(home.root / key, head.pins[key])
    if table is not None and not file_names(table) <= home.file_names(home.root / key):
        raise LakeError(
            f"Version {seq} of {key} is gone.", hint="curate lake gc took it; choose a newer one."
        )


def _judged(home: Lake, head: Head, name: str, what: str) -> Side:
    stood = stored_recipe(home, head, name)
    if stood is None:
        raise LakeError(f"The lake has no recipe of {name}.", hint="curate run makes its tables first.")
    plan = make_plan(in_place_of(stood, what, {}))
    again = judge_again(Session(home, plan, Workers(1), Progress()))
    if again is None or "corpus" not in again.rows:
        raise RecipeError(
            f"{what} reads the sources in another way than they were read: nothing can be judged.",
            hint=f"curate plan --recipe {what} shows what a run would read again.",
        )
    rows = again.rows["corpus"].filter(again.verdicts["corpus"].get_column("kept"))
    product = rows.select("id", text_digest=pl.coalesce("digest_out", "text_digest"))
    known = ~pl.col("id").is_in(list(again.unmeasured))
    product = product.with_columns(text_digest=pl.when(known).then("text_digest"))
    verdicts = {
        table: frame.select("id", "kept", "step", "reason", "duplicate_of")
        for table, frame in again.verdicts.items()
    }
    documents = again.verdicts["documents"].select("id", "place", "digest")
    return Side(what, plan.recipe, verdicts, documents, product, again.unmeasured)


def _moved(without: Side, having: Side, how: Literal["added", "removed"]) -> pl.DataFrame:
    """Documents that only `having` holds: how, id, and why the other one does not."""
    there = having.product.select("id").join(without.product, on="id", how="anti")
    there = there.join(having.documents, on="id", how="left")
    known = without.documents.select("id", was="digest")
    places = without.documents.select("place").unique().with_columns(place_known=pl.lit(True))
    rows = there.join(known, on="id", how="left").join(places, on="place", how="left")
    rows = rows.join(_drops(without), on="id", how="left")
    page = pl.lit("new page" if how == "added" else "gone page")
    cause = (
        pl.when(pl.col("was").is_null() & pl.col("place_known").is_null())
        .then(page)
        .when(pl.col("was").is_null() | (pl.col("was") != pl.col("digest")))
        .then(pl.lit("changed page"))
        .otherwise(pl.col("cause").fill_null("unknown"))
    )
    return rows.select(
        "id",
        how=pl.lit(how),
        cause=cause,
        by=pl.when(pl.col("was").is_null()).then(pl.lit("")).otherwise(pl.col("by").fill_null("")),
        twin=pl.col("duplicate_of").fill_null(""),
    )


def _drops(side: Side) -> pl.DataFrame:
    """What dropped each document: id, by (TABLE.STEP.REASON), cause, duplicate_of."""
    parts = [
        frame.filter(~pl.col("kept")).select(
            "id",
            "duplicate_of",
            by=pl.format("{}.{}.{}", pl.lit(table), "step", "reason"),
            cause=pl.lit("duplicate" if _is_deduplicated(side.recipe, table) else "rule"),
        )
        for table, frame in side.verdicts.items()
    ]
    return pl.concat(parts).unique("id", keep="first", maintain_order=True)


def _is_deduplicated(recipe: Recipe, table: str) -> bool:
    return any(step.stage in CORPUS_STAGES for step in recipe.tables[table])


def _rewritten(one: Side, two: Side) -> pl.DataFrame:
    """Documents of both with another text."""
    both = one.product.join(two.product, on="id", suffix="_two")
    both = both.filter(pl.col("text_digest") != pl.col("text_digest_two"))
    digests = one.documents.join(two.documents, on="id", suffix="_two").select(
        "id", page_changed=pl.col("digest") != pl.col("digest_two")
    )
    step = _other_rewriting(one.recipe, two.recipe)
    changed = pl.col("page_changed").fill_null(False)
    return both.join(digests, on="id", how="left").select(
        "id",
        how=pl.lit("rewritten"),
        cause=pl.when(changed).then(pl.lit("changed page")).otherwise(pl.lit("step")),
        by=pl.when(changed).then(pl.lit("")).otherwise(pl.lit(step)),
        twin=pl.lit(""),
    )


def _other_rewriting(one: Recipe, two: Recipe) -> str:
    """The steps that rewrite and are not the same in both recipes, as TABLE.STEP."""
    own, other = _rewriting(one), _rewriting(two)
    names = [name for name in dict.fromkeys([*own, *other]) if own.get(name) != other.get(name)]
    return ", ".join(names) or "another version of " + ", ".join(other)


def _rewriting(recipe: Recipe) -> dict[str, tuple[str, dict[str, object]]]:
    def rewrites(table: str, step: Step) -> bool:
        return table != "documents" and step.stage not in CORPUS_STAGES and find_stage(step.stage).rewrites

    return {
        f"{table}.{step.name}": (step.stage, step.options)
        for table, steps in recipe.tables.items()
        for step in steps
        if rewrites(table, step)
    }


def _grouped(moves: pl.DataFrame, documents: pl.DataFrame) -> list[Moved]:
    """Moves by how, cause and by, the most frequent first, each with a sample."""
    places = documents.select("id", "place")
    twins = places.rename({"id": "twin", "place": "twin_place"})
    named = moves.join(places, on="id", how="left").join(twins, on="twin", how="left").sort("place", "id")
    order = {"added": 0, "removed": 1, "rewritten": 2}
    found = []
    for key, group in named.group_by(*_KIND, maintain_order=True):
        sample = [
            MovedDocument(id=row["id"], place=row["place"] or "", twin=row["twin_place"] or "")
            for row in group.head(_SAMPLE).to_dicts()
        ]
        how, cause, by = cast("tuple[str, str, str]", key)
        found.append(
            Moved.model_validate(
                {"how": how, "cause": cause, "by": by, "documents": len(group), "sample": sample}
            )
        )
    return sorted(found, key=lambda moved: (order[moved.how], -moved.documents, moved.cause, moved.by))
