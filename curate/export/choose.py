"""Which rows an export has: the documents that stand, then one step after the other, down to the plan of a shuffle.

    documents → where → clusters → evaluation data out → splits → mixture → order

Each arrow is a function of what stands and of the options alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from curate.engine.plan import Plan
from curate.engine.session import Session
from curate.export.checks import check_rows
from curate.export.clusters import with_clusters
from curate.export.evaluation import EvaluationFile, runs_of_words
from curate.export.kinds import KINDS, Kind
from curate.export.measure import measure
from curate.export.mix import Portion, with_copies, with_splits
from curate.export.rows import at_tokens, corpus_documents, with_tokens
from curate.export.shuffle import ShufflePlan, plan_shuffle
from curate.lake.runs import Head
from schemas.checks import Check
from schemas.errors import LakeError, UsageError
from schemas.export import Export

PairFiles = Callable[[Session, Head, Any, pl.DataFrame, Path], list[Path]]
"""Rows of the kind `pairs`, made by the live index: see `indexing.pairs.pair_files`."""


@dataclass(frozen=True)
class Making:
    """One export while it is made."""

    session: Session
    head: Head  # what stands, or stood
    plan: Plan  # of the recipe that made it
    name: str
    options: Export
    context: dict[str, Any]  # as `prepare` of the kind gave it

    @property
    def table(self) -> str:
        """What `runs` and the progress call it."""
        return table_name(self.name)

    @property
    def place(self) -> str:
        """Where its options stand in the recipe."""
        return f"[exports.{self.name}]"

    @property
    def kind(self) -> Kind:
        """Its kind."""
        return KINDS[self.options.kind]


@dataclass(frozen=True)
class Chosen:
    """What goes in, and what did not."""

    plan: ShufflePlan
    documents: int  # different ones
    labels: list[dict[str, Any]]  # source, license, rows
    portions: list[Portion]
    evaluation: dict[str, Any] | None
    left_out: dict[str, int]  # reason → documents
    checks: list[Check]


def table_name(name: str) -> str:
    """How `runs` calls an export."""
    return f"exports/{name}"


def standing_documents(making: Making) -> pl.DataFrame:
    """The documents that `where` is true for, with all that decides where they go: tokens and cluster."""
    session, head, options = making.session, making.head, making.options
    documents = corpus_documents(session, head, options.where)
    counted = f"{making.place} {'mix' if options.mix else 'budget'}" if options.mix or options.budget else ""
    return with_clusters(session, head, making.plan, with_tokens(session, head, documents, needed=counted))


def choose(
    making: Making, documents: pl.DataFrame, files: list[EvaluationFile], pairs: PairFiles | None
) -> Chosen:
    """Choose rows and plan the shuffle.

    Raises:
        CurateError: nothing is left, or the options do not fit what stands.
    """
    options = making.options
    clean, evaluation = _without_evaluation_data(making, documents, files)
    rows, portions = with_copies(_payload(making, with_splits(clean, options), pairs), options, making.place)
    left_out = {
        "evaluation data": len(documents) - len(clean),
        "not drawn for the mixture": int((rows.get_column("copies") == 0).sum()),
    }
    rows = rows.filter(pl.col("copies") > 0)
    if rows.is_empty():
        hint = "See what where, decontaminate and mix leave."
        raise LakeError(f"Nothing is left for {making.place}.", hint=hint)
    checks, labels = check_rows(rows, portions), _labels(rows)
    plan = plan_shuffle(making.session, rows.drop("text_digest", "cluster", "chars"), options)
    told = {reason: count for reason, count in left_out.items() if count}
    return Chosen(plan, rows.get_column("id").n_unique(), labels, portions, evaluation, told, checks)


def _without_evaluation_data(
    making: Making, documents: pl.DataFrame, files: list[EvaluationFile]
) -> tuple[pl.DataFrame, dict[str, Any] | None]:
    """The documents, with `bytes` of their payload in the corpus, without those that hold evaluation data."""
    kind, options = making.kind, making.options
    columns = [*kind.writer.COLUMNS, *making.context.get("columns", [])] if kind.payload == "corpus" else []
    if not files and not columns:
        return documents, None
    runs = runs_of_words(files, options.ngram)
    making.session.progress.start(making.table, len(documents))
    measured = measure(
        making.session, making.table, documents, columns, list(kind.texts), runs, options.ngram
    )
    if not files:
        return measured.drop("hits"), None
    found = measured.select(pl.col("hits").explode()).drop_nulls().to_series().value_counts()
    taken = dict(found.iter_rows())
    clean = measured.filter(pl.col("hits").list.len() == 0).drop("hits")
    named = [
        {"file": file.name, "digest": file.digest, "documents": taken.get(number, 0)}
        for number, file in enumerate(files)
    ]
    return clean, {"ngram": options.ngram, "documents": len(documents) - len(clean), "files": named}


def _payload(making: Making, documents: pl.DataFrame, pairs: PairFiles | None) -> pl.DataFrame:
    """Rows with `ordinal`, and with the size and place of the payload."""
    session, head = making.session, making.head
    zero = pl.lit(0, pl.Int64)
    if making.kind.payload == "corpus":
        return documents.with_columns(ordinal=zero)
    if making.kind.payload == "tokens":
        return at_tokens(session, head, documents).with_columns(ordinal=zero, bytes=pl.col("tokens") * 4)
    if pairs is None:
        raise UsageError(f"{making.place} needs the index.", hint="curate export makes it.")
    folder = session.work / "export-pairs"
    folder.mkdir(exist_ok=True)
    known = documents.select("id", "text_digest", "split", "cluster").sort("id")
    files = pairs(session, head, making.options, known.with_columns(pl.col("split").cast(pl.String)), folder)
    if not files:
        raise LakeError(
            f"No query was found for {making.place}.", hint="Queries are titles and Markdown headings."
        )
    names = pl.Enum([str(file) for file in files])
    texts = pl.col("query").str.len_bytes() + pl.col("positive").str.len_bytes()
    texts = texts + pl.col("negatives").list.eval(pl.element().str.len_bytes()).list.sum()
    parts = [
        pl.scan_parquet(file, glob=False)
        .with_row_index("row")
        .select(
            "id",
            "ordinal",
            pl.lit(str(file)).cast(names).alias("file"),
            "row",
            texts.cast(pl.Int64).alias("bytes"),
        )
        .collect()
        for file in files
    ]
    return pl.concat(parts).join(
        documents.drop("file", "row", "bytes", strict=False), on="id", maintain_order="left"
    )


def _labels(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows of each source and licence, repetitions counted."""
    names = [pl.col(name).cast(pl.String) for name in ("source", "license")]
    return rows.group_by(names).agg(rows=pl.col("copies").sum()).sort("source", "license").to_dicts()
