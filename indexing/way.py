"""The whole way of a recipe: its tables in order, what each is made from, and what makes it.

Every door walks this list: `curate run` from its start to its end, Dagster with an asset for each table.
"""

from __future__ import annotations

import itertools

from curate.engine import run as engine
from curate.engine.plan import Plan
from curate.engine.session import Session
from curate.lake.runs import Head
from indexing.tables import embedder_of, forget_embedders
from schemas.errors import LakeError
from schemas.recipe import Recipe

INDEX_TABLES = ("chunks", "vectors", "index_candidate", "index_live")


def tables_of(recipe: Recipe, *, index: bool = True) -> dict[str, tuple[str, ...]]:
    """Table → tables that it is made from, in the order of making. `finetune` stands for all exports."""
    names = ["pages", *recipe.order]
    found: dict[str, tuple[str, ...]] = {"pages": ()}
    found.update({name: (before,) for before, name in itertools.pairwise(names)})
    if recipe.tokens is not None:
        found["tokens"] = ("corpus",)
    if recipe.index is not None and index:
        found.update(
            zip(INDEX_TABLES, (("corpus",), ("chunks",), ("vectors",), ("index_candidate",)), strict=True)
        )
    if recipe.exports:
        mined = any(export.kind == "pairs" for export in recipe.exports.values())
        more = {"tokens": recipe.tokens is not None, "index_live": mined and "index_live" in found}
        found["finetune"] = ("corpus", *(name for name, needed in more.items() if needed))
    return found


def make_table(session: Session, name: str) -> Head:
    """Make one table from what stands before it, and publish it.

    Raises:
        LakeError: what it is made from is not there yet.
    """
    _require_inputs(session, name)
    if name == "tokens":
        from curate.engine.tokens import make_tokens

        return make_tokens(session)
    if name == "finetune":
        from curate.export.make import make_exports
        from indexing.pairs import pair_files

        return make_exports(session, pairs=pair_files)
    if name in INDEX_TABLES:
        from indexing.candidate import make_candidate, make_live
        from indexing.tables import make_chunks, make_vectors

        makers = dict(zip(INDEX_TABLES, (make_chunks, make_vectors, make_candidate, make_live), strict=True))
        return makers[name](session)
    return engine.make_table(session, name)


def _require_inputs(session: Session, name: str) -> None:
    made = session.lake.head().digests
    for before in tables_of(session.plan.recipe)[name]:
        if session.key(before) not in made and not _nothing_indexed(
            before, made.get(session.key("chunks"), "")
        ):
            raise LakeError(
                f"{name} is made from {before}, which {session.name} does not have yet.",
                hint=f"Make {before} first; curate run makes all tables in order.",
            )


def _nothing_indexed(table: str, chunks: str) -> bool:
    """Of an empty corpus there is no candidate."""
    return table in INDEX_TABLES[2:] and chunks.startswith("0-")


def check_way(plan: Plan) -> None:
    """Find what would stop a run at its end before it begins: models that are not here.

    Raises:
        CurateError: a tokenizer or an embedder that cannot be opened, or does not fit its options.
    """
    recipe = plan.recipe
    if recipe.tokens is not None:
        from curate.engine.tokens import tokenize_options
        from curate.stages.tokenize import open_tokenizer

        open_tokenizer(tokenize_options(recipe))
    _check_semantic(plan)
    if recipe.index is not None:
        from indexing.chunkers import check_options

        forget_embedders()
        check_options(recipe.index, embedder_of(recipe.index, recipe.folder))


def _check_semantic(plan: Plan) -> None:
    from curate.dedup.options import SemanticOptions

    steps = [step.options for table in plan.tables for step in table.steps]
    if named := [options for options in steps if isinstance(options, SemanticOptions)]:
        from indexing import semantic

        semantic.forget_embedders()
        for options in named:
            semantic.embedder_of(options, plan.recipe.folder)
