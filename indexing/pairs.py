"""Rows of the training sets of kind `pairs`: a query, a passage that answers it, and some that are near but do not.

Queries are titles and headings (`indexing.queries`); negatives are mined by the live index (`indexing.negatives`).
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from curate.engine.session import Session
from curate.engine.workers import raise_if_stopped
from curate.lake.digest import digest_column
from curate.lake.parquet import write_parquet
from curate.lake.runs import Head
from indexing.embedder import Embedder
from indexing.negatives import Pool, mine
from indexing.queries import ask, find_queries
from indexing.search import check_embedder
from indexing.snapshot import Snapshot
from indexing.tables import chunk_fingerprint, embedder_of
from schemas.errors import IndexingError
from schemas.export import PairsExport
from schemas.report import TableReport

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("ordinal", pa.int64()),
        ("query", pa.large_string()),
        ("positive", pa.large_string()),
        ("negatives", pa.large_list(pa.large_string())),
        ("scores", pa.large_list(pa.float32())),
    ]
)

_PASSAGES = 10_000  # read at once, and the rest of the last document
_QUERIES = 1_024  # embedded and searched at once


def pair_files(
    session: Session, head: Head, options: PairsExport, documents: pl.DataFrame, folder: Path
) -> list[Path]:
    """Write the rows: every query with its answer, and the negatives that were found for it.

    A query stands once, and so does an answer: with the first document that has it. Memory holds one batch, and some
    60 bytes for each passage of the index.

    Args:
        session: of the recipe, beside which the embedder may lie.
        head: what stands; its live index is used.
        options: negatives and margin.
        documents: id, text_digest, split, cluster. Only their passages ask, answer, or are negatives.
        folder: for the files; it exists.

    Returns:
        Parquet files as `SCHEMA`: id of the document, ordinal of the query in it, query, positive, negatives (the
        nearest first; at most `options.negatives`), scores (cosines to the query: of the positive, then of those).

    Raises:
        IndexingError: no index is live, it holds none of the documents, or its embedder is not here.
    """
    begun = time.perf_counter()
    snapshot = _open_live(session, head)
    embedder = embedder_of(snapshot.manifest.options, session.plan.recipe.folder)
    check_embedder(embedder, snapshot.manifest)
    documents = documents.with_row_index("document")
    passages = _standing(session, head, snapshot, embedder, documents)
    found, answers, names = _find(snapshot, passages, folder)
    asked, once = _ask(session, found, names, documents)
    pool = _pool(snapshot, documents, passages, answers, asked)
    session.progress.start("pairs", len(once))
    files = []
    for number, file in enumerate(found):
        queries = pl.read_parquet(file, glob=False)[once.filter(pl.col("file") == number).get_column("place")]
        if len(queries):
            files.append(folder / f"pairs-{number:05d}.parquet")
            write_parquet(_rows(session, pool, embedder, options, queries), SCHEMA, files[-1])
    seconds = time.perf_counter() - begun
    session.progress.finish(TableReport(table="pairs", rows=len(asked), kept=len(once), seconds=seconds))
    return files


def _open_live(session: Session, head: Head) -> Snapshot:
    live = head.live.get(session.name, "")
    if not live:
        raise IndexingError(
            f"{session.name} has no live index, by which the negatives of pairs are mined.",
            hint="curate run builds one, if the recipe has [index].",
        )
    return Snapshot.open(session.lake.bring(session.lake.root / session.name / "indexes" / live), "size")


def _standing(
    session: Session, head: Head, snapshot: Snapshot, embedder: Embedder, documents: pl.DataFrame
) -> pl.DataFrame:
    """row and document of the passages of these documents, in order; those that the index has of older texts are not."""
    manifest, chunks = snapshot.manifest, snapshot.chunks
    every = pl.DataFrame(pl.from_arrow(chunks.select(["document_id", "ordinal"]))).with_row_index("row")
    rows = every.join(documents, left_on="document_id", right_on="id", maintain_order="left")
    if manifest.corpus_version != head.corpus_version(session.name):
        cut = session.lake.content("chunks", chunk_fingerprint(manifest.options, embedder)).scan()
        now = cut.select("ordinal", "embed_key", text_digest="key").join(
            documents.lazy().select("text_digest", "document"), on="text_digest"
        )
        keys = pl.Series(
            "embed_key", digest_column(chunks.column("text").take(pa.array(rows["row"].to_numpy())))
        )
        rows = rows.with_columns(keys).join(
            now.collect(), on=["document", "ordinal", "embed_key"], how="semi", maintain_order="left"
        )
        session.progress.say(
            f"The live index is older than the corpus: {len(rows):,} of its {len(every):,} passages still stand."
        )
    if rows.is_empty():
        raise IndexingError(
            f"The live index {manifest.version} has no passage of these {len(documents):,} documents.",
            hint="curate run builds one of the corpus as it stands.",
        )
    return rows.select("row", "document")


def _batches(snapshot: Snapshot, passages: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Passages of whole documents with what `find_queries` reads."""
    document = passages.get_column("document").to_numpy()
    ends = [*np.flatnonzero(np.diff(document)) + 1, len(document)]
    start = 0
    while start < len(document):
        stop = int(ends[min(bisect_left(ends, start + _PASSAGES), len(ends) - 1)])
        part = passages.slice(start, stop - start)
        rows = pa.array(part.get_column("row").to_numpy())
        columns = snapshot.chunks.select(["title", "text", "start", "end"]).take(rows)
        yield part.hstack(pl.DataFrame(pl.from_arrow(columns)))
        start = stop


def _find(
    snapshot: Snapshot, passages: pl.DataFrame, folder: Path
) -> tuple[list[Path], pl.DataFrame, pl.DataFrame]:
    """What could be a query, a file a batch; the text to take of each passage; in how many documents each name is."""
    torn = snapshot.manifest.options.chunker != "markdown"
    files, answers, names = [], [], []
    for number, batch in enumerate(_batches(snapshot, passages)):
        raise_if_stopped()
        found = find_queries(batch, torn=torn)
        files.append(folder / f"headings-{number:05d}.parquet")
        _save(found.queries, files[-1])
        answers.append(found.answers)
        names.append(found.names)
    return files, pl.concat(answers), pl.concat(names).group_by("name_hash").agg(pl.col("count").sum())


def _ask(
    session: Session, found: list[Path], names: pl.DataFrame, documents: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Put the queries into the files.

    Returns:
        file (its number), place (row in it), document, query_hash, text_hash of all; and of those that are the first
        with their query and with their answer.
    """
    parts, skipped = [], Counter[str]()
    for number, file in enumerate(found):
        queries, silent = ask(pl.read_parquet(file, glob=False), names, len(documents))
        _save(
            queries.with_columns(id=documents.get_column("id").gather(queries.get_column("document"))), file
        )
        skipped.update(silent)
        hashes = queries.select("document", "query_hash", "text_hash").with_row_index("place")
        parts.append(hashes.with_columns(file=pl.lit(number)))
    asked = pl.concat(parts)
    once = asked.unique("query_hash", keep="first", maintain_order=True)
    once = once.unique("text_hash", keep="first", maintain_order=True)
    skipped["repeated"] = len(asked) - len(once)
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(skipped.items()) if count)
    if reasons:
        session.progress.say(f"Titles and headings that are no queries: {reasons}.")
    return asked, once


def _pool(
    snapshot: Snapshot,
    documents: pl.DataFrame,
    passages: pl.DataFrame,
    answers: pl.DataFrame,
    asked: pl.DataFrame,
) -> Pool:
    language = pl.Series("language", snapshot.chunks.column("language"))
    rows = pl.DataFrame(
        {"row": pl.int_range(len(snapshot), dtype=pl.UInt32, eager=True), "language": language}
    )
    of_documents = documents.select("document", "split", cluster=pl.col("cluster").rank("dense"))
    standing = passages.join(answers, on="row").join(of_documents, on="document")
    rows = rows.join(standing, on="row", how="left", maintain_order="left")
    several = asked.select("query_hash", "document").unique().filter(pl.len().over("query_hash") > 1)
    groups = pl.concat_str("split", pl.lit("/"), "language").rank("dense")
    return Pool(
        snapshot, rows.select("document", "cluster", "offset", "length", "text_hash", group=groups), several
    )


def _rows(
    session: Session, pool: Pool, embedder: Embedder, options: PairsExport, queries: pl.DataFrame
) -> Iterator[pa.RecordBatch]:
    """The rows of these queries, in their order."""
    for part in queries.iter_slices(_QUERIES):
        raise_if_stopped()
        part = part.with_row_index("at").with_columns(positive=pool.texts(part))
        asked = embedder.embed(part.get_column("query").to_list(), "query")
        answers = embedder.embed(part.get_column("positive").to_list())
        part = part.with_columns(score=pl.Series((asked * answers).sum(axis=1)).round(6))
        mined = mine(pool, part, asked, options)
        mined = mined.select("at", scores="score", negatives=pool.texts(mined))
        rows = part.join(
            mined.group_by("at", maintain_order=True).all(), on="at", how="left", maintain_order="left"
        ).with_columns(
            pl.col("negatives").fill_null([]), scores=pl.concat_list("score", pl.col("scores").fill_null([]))
        )
        table = rows.rename({"order": "ordinal"}).select(SCHEMA.names)
        yield from table.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(SCHEMA).to_batches()
        session.progress.advance("pairs", len(part))


def _save(rows: pl.DataFrame, file: Path) -> None:
    table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
    write_parquet(table, table.schema, file)
