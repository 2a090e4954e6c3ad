"""The tables `chunks` and `vectors`: passages of the corpus, and their embeddings.

Chunks are keyed by the text they were cut from, vectors by the text they embed, so an unchanged passage is
never cut or embedded again.
"""

from __future__ import annotations

import time
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from curate.engine.corpus import corpus_rows
from curate.engine.session import Session
from curate.engine.shard import plan_shards, read_texts
from curate.engine.workers import raise_if_stopped
from curate.lake.content import Content, new_file
from curate.lake.digest import content_digest, digest_column, digest_json
from curate.lake.parquet import write_parquet
from curate.lake.runs import Head
from indexing.checks import Seen, chunks_check, covered, sound, vectors_check
from indexing.chunkers import CHUNKER, chunk
from indexing.embedder import Embedder, language_warning, open_embedder
from schemas.errors import IndexingError
from schemas.index import IndexOptions
from schemas.report import TableReport
from schemas.tables import TABLES

_CHUNKS, _VECTORS = TABLES["chunks"].schema, TABLES["vectors"].schema
_EMBED_AT_ONCE = 512  # passages between two commits: about ten seconds on two cores


def recipe_embedder(session: Session) -> tuple[IndexOptions, Embedder]:
    """The options of [index], and the embedder that they name; a folder is relative to the recipe.

    Raises:
        IndexingError: the recipe has no [index], or the model is not here.
    """
    options = session.plan.recipe.index
    if options is None:
        raise IndexingError("The recipe has no [index].", hint="Add the line [index] to the recipe.")
    return options, embedder_of(options, session.plan.recipe.folder)


def embedder_of(options: IndexOptions, folder: Path) -> Embedder:
    """The embedder that [index] names; a path is relative to `folder`, that of the recipe."""
    beside = folder / Path(options.embedder).expanduser()
    return _open(str(beside) if beside.is_dir() else options.embedder, options)


@lru_cache(maxsize=2)  # three tables of a run use the same
def _open(name: str, options: IndexOptions) -> Embedder:
    return open_embedder(
        name, query_prompt=options.query_prompt, passage_prompt=options.passage_prompt, dtype=options.dtype
    )


def forget_embedders() -> None:
    """Let the next run look at the model's files again: they may have changed."""
    _open.cache_clear()


def make_chunks(session: Session) -> Head:
    """Cut texts that were never cut, and publish."""
    begun, base, report = time.perf_counter(), session.lake.head(), TableReport(table="chunks")
    options, embedder = recipe_embedder(session)
    corpus = corpus_rows(session, base)
    fingerprint = chunk_fingerprint(options, embedder)
    content = session.lake.content("chunks", fingerprint)
    session.progress.start("chunks", len(corpus))
    cut = Seen()
    if len(corpus):
        cut = _cut_missing(session, content, corpus, options, embedder, report)
        warning = language_warning(embedder, dict(corpus.get_column("language").value_counts().iter_rows()))
        report.notes += [warning] if warning else []
    else:
        report.notes.append("The corpus is empty: there is nothing to index.")
    passages = _passages(content, corpus)
    report.rows = report.kept = len(passages)
    report.reused = report.rows - report.measured
    digest, key = content_digest(passages), session.key("chunks")
    same = (base.digests.get(key), base.fingerprints.get(key)) == (digest, fingerprint)
    last = session.last_report(base, "chunks").check("chunks_cover")
    report.checks = [chunks_check(cut, content, corpus, last, same=same)]
    report.seconds = time.perf_counter() - begun
    return session.publish(
        base,
        "chunks",
        pins={},
        fingerprints={"chunks": fingerprint},
        digests={"chunks": digest},
        reads=["corpus"],
        report=report,
    )


def _cut_missing(
    session: Session,
    content: Content,
    corpus: pl.DataFrame,
    options: IndexOptions,
    embedder: Embedder,
    report: TableReport,
) -> Seen:
    """Cut texts that have no passages; passages that do not cover their text are not stored."""
    cut = Seen()
    appender = content.append()
    texts = corpus.unique("text_digest", keep="first", maintain_order=True)
    missing = texts.join(content.keys().to_frame("text_digest"), on="text_digest", how="anti").sort(
        "file", "row"
    )
    session.progress.advance("chunks", len(corpus) - len(missing))
    for start, stop in plan_shards(missing):
        raise_if_stopped()
        part = missing.slice(start, stop - start)
        read = read_texts(part)
        passages = chunk(read, options, embedder)
        good = covered(read, passages)
        cut.add(part.get_column("text_digest"), good)
        rows = _chunk_rows(part, passages.filter(pa.array(good[passages.column("row").to_numpy()])))
        if len(rows):
            report.measured += appender.add(_write(content, rows))
        session.progress.advance("chunks", len(part))
    content.compact()
    report.bytes_written = appender.bytes
    return cut


def _passages(content: Content, corpus: pl.DataFrame) -> pl.DataFrame:
    """Document, vector key and position of every standing passage: what an index is made of."""
    if corpus.is_empty():
        return pl.DataFrame(schema={"document_id": pl.String, "embed_key": pl.String, "ordinal": pl.Int32})
    rows = _standing_chunks(content, corpus).select("embed_key", "ordinal", document_id="id")
    return rows.select("document_id", "embed_key", "ordinal").collect()


def chunk_fingerprint(options: IndexOptions, embedder: Embedder) -> str:
    """Digest of all that passages depend on beside the text."""
    tokenizer = digest_json(embedder.tokenizer.to_str())
    cut = {"chunker": options.chunker, "tokens": options.chunk_tokens, "overlap": options.overlap}
    return digest_json([CHUNKER, cut, tokenizer, embedder.passage_prompt])


def _chunk_rows(texts: pl.DataFrame, cut: pa.Table) -> pa.Table:
    keys = texts.get_column("text_digest").gather(cut.column("row").to_numpy()).to_arrow()
    columns = {"key": keys, "embed_key": digest_column(cut.column("text"))}
    columns.update({name: cut.column(name) for name in ("ordinal", "start", "end", "tokens", "text")})
    return pa.table([columns[field.name].cast(field.type) for field in _CHUNKS], schema=_CHUNKS)


def _standing_chunks(content: Content, corpus: pl.DataFrame) -> pl.LazyFrame:
    """Chunks of every document of the corpus, in its order; a text that stands twice has its chunks twice."""
    scan = content.scan().rename({"key": "text_digest"})
    return corpus.lazy().drop("file", "row", "chars").join(scan, on="text_digest", maintain_order="left")


def make_vectors(session: Session) -> Head:
    """Embed passages that were never embedded, and publish."""
    begun, base, report = time.perf_counter(), session.lake.head(), TableReport(table="vectors")
    options, embedder = recipe_embedder(session)
    corpus = corpus_rows(session, base)
    content = session.lake.content("vectors", embedder.fingerprint)
    chunks = cut_chunks(session, base, options, embedder)
    if len(corpus):
        _embed_missing(session, content, _standing_chunks(chunks, corpus), embedder, report)
    else:
        report.checks = [vectors_check(0, 0, 0.0)]
    report.reused = report.rows - report.measured
    report.seconds = time.perf_counter() - begun
    of_passages = base.digests.get(session.key("chunks"), "")
    return session.publish(
        base,
        "vectors",
        pins={},
        fingerprints={"vectors": embedder.fingerprint},
        digests={"vectors": digest_json([of_passages, embedder.fingerprint])},
        reads=["corpus", "chunks"],
        report=report,
    )


def cut_chunks(session: Session, head: Head, options: IndexOptions, embedder: Embedder) -> Content:
    """The passages as published.

    Raises:
        IndexingError: they were cut by other options than those of the recipe.
    """
    published = head.fingerprints.get(session.key("chunks"), "")
    if published != chunk_fingerprint(options, embedder):
        raise IndexingError(
            "The table chunks was made by other options of [index] than the recipe has now.",
            hint="Make chunks first: curate run makes all tables in order.",
        )
    return session.lake.content("chunks", published)


def _embed_missing(
    session: Session, content: Content, standing: pl.LazyFrame, embedder: Embedder, report: TableReport
) -> None:
    appender = content.append()
    passages = standing.select("embed_key", "text", "tokens").unique(
        "embed_key", keep="first", maintain_order=True
    )
    missing = passages.join(
        content.keys().to_frame("embed_key").lazy(), on="embed_key", how="anti", maintain_order="left"
    ).collect()
    report.rows = report.kept = passages.select(pl.len()).collect().item()
    session.progress.start("vectors", report.rows)
    session.progress.advance("vectors", report.rows - len(missing))
    wrong, worst = 0, 0.0
    # Neighbours in length share batches; the order has no influence on a vector.
    for part in missing.sort("tokens").iter_slices(_EMBED_AT_ONCE):
        raise_if_stopped()
        vectors = embedder.embed(part.get_column("text").to_list())
        good, off = sound(vectors, embedder.dimension)
        wrong, worst = wrong + int((~good).sum()), max(worst, off)
        if good.any():
            rows = vector_rows(part.get_column("embed_key").filter(good), vectors[good])
            report.measured += appender.add(_write(content, rows))
        session.progress.advance("vectors", len(part))
    content.compact()
    report.checks = [vectors_check(len(missing), wrong, worst)]
    report.bytes_written = appender.bytes


def vector_rows(keys: pl.Series, vectors: np.ndarray) -> pa.Table:
    """Rows of the table `vectors`."""
    plain = np.ascontiguousarray(vectors, dtype="<f4")
    offsets = np.arange(len(plain) + 1, dtype=np.int64) * plain.shape[1] * 4
    binary = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(plain), [None, pa.py_buffer(offsets), pa.py_buffer(plain.tobytes())]
    )
    return pa.table([keys.to_arrow().cast(pa.string()), binary], schema=_VECTORS)


def standing_vectors(content: Content, keys: pl.Series, dimension: int) -> np.ndarray:
    """Vectors of passages by their embed_key: float32 (n, dimension)."""
    wanted = keys.to_frame("key").lazy()
    stored = content.scan().join(wanted.unique(), on="key", how="semi").collect()
    joined = (
        keys.to_frame("key").join(stored, on="key", how="left", maintain_order="left").get_column("vector")
    )
    if joined.null_count():
        raise IndexingError(
            f"{joined.null_count()} passages have no vector.",
            hint="curate run again; if it persists, curate lake verify.",
        )
    binary = joined.rechunk().to_arrow().cast(pa.large_binary())
    return np.frombuffer(binary.buffers()[2] or b"", dtype="<f4").reshape(-1, dimension)


def _write(content: Content, rows: pa.Table) -> Path:
    file = new_file(content.folder)
    write_parquet(rows, content.schema, file)
    return file


def chunk_table(content: Content, corpus: pl.DataFrame) -> pl.DataFrame:
    """The chunk table of an index version: one row per passage with all that a hit tells."""
    rows = _standing_chunks(content, corpus).sort("source", "place", "id", "ordinal").collect()
    return rows.rename({"id": "document_id"}).with_columns(
        chunk_id=pl.format("{}-{}", "document_id", pl.col("ordinal").cast(pl.String).str.zfill(6))
    )
