"""Finds documents that say the same in other words, for the step `semantic`.

The vector of a document is the mean of those of its passages, each as long as the model reads (at most 512 tokens) and
counted by its tokens: all of the text counts, where its first passage alone would make copies of whatever begins alike.
On pages whose first passage tells their subject both find the same (`benchmarks/semantic.py --labelled`).

Vectors are content, by embedder and text; which documents go is judged anew in every run from those that stand.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.dedup.intervals import wilson
from curate.dedup.leaders import leaders
from curate.dedup.options import SemanticOptions
from curate.dedup.semantic import found_of_sample, semantic_pairs
from curate.engine.alike import Alike, Comparing, by_group
from curate.engine.keepers import is_fixed
from curate.engine.shard import plan_shards, read_texts
from curate.engine.standing import locate
from curate.engine.workers import raise_if_stopped
from curate.lake.content import Content, new_file
from curate.lake.digest import digest_json, digest_rows
from curate.lake.parquet import write_parquet
from indexing.chunkers import CHUNKER, chunk
from indexing.embedder import Embedder, language_warning, open_embedder
from schemas.checks import judged
from schemas.index import IndexOptions
from schemas.tables import TABLES

Floats = npt.NDArray[np.float32]

VERSION = 1  # goes up when the same passages of a text give another vector
_TABLE = "document_vectors"
_SCHEMA = TABLES[_TABLE].schema
_PASSAGE = (
    512  # tokens: attention to more takes memory by their square, and most models saw no more in training
)
_EMBED_AT_ONCE = 200  # documents between two commits, or fewer long ones
_READ_AT_ONCE = 50_000  # vectors
_SAMPLE = 1000  # documents that are compared with all others
_WANTED = 0.99  # share of their pairs that is to be among those found


def find(comparing: Comparing, options: SemanticOptions, rows: pl.DataFrame, rank: np.ndarray) -> Alike:
    """Which row stands for each, and their cosine; groups of `within` are compared each by itself.

    Vectors lie in a file that is mapped, in order of rank; in memory are those that k-means looks at, and a copy of
    all of a group if there are several groups or some vectors are equal: 4 bytes a dimension.

    Raises:
        IndexingError: the model is not here.
        MissingExtraError: the extra `index` is not installed.
    """
    embedder = embedder_of(options, comparing.session.plan.recipe.folder)
    fingerprint = comparing.pin(_TABLE, _fingerprint(embedder))
    content = comparing.session.lake.content(_TABLE, fingerprint)
    if not comparing.dry:
        _embed_missing(comparing, content, rows, embedder)
    told = np.arange(len(rows)), np.zeros(len(rows))
    there = rows.select(key="text_digest", rank=pl.Series(rank), row=pl.int_range(pl.len(), dtype=pl.Int64))
    with_words = content.scan().filter(pl.col("passages") > 0).select("key").collect()
    there = there.join(with_words, on="key", how="semi").sort("rank")
    if len(there):
        with _mapped(comparing, content, there.get_column("key")) as vectors:
            pairs, cosine = _pairs(comparing, options, rows[there.get_column("row")], vectors)
        if not comparing.dry:
            _store_pairs(comparing, fingerprint, there.get_column("key"), pairs, cosine)
        of = there.get_column("row").to_numpy()
        fixed = rows.select(is_fixed(options)).to_series().to_numpy()
        told = leaders(rank, of[pairs], cosine, options.threshold, fixed)
    return Alike(*told, np.zeros(len(rows)), np.full(len(rows), -1, np.int32))


def _store_pairs(
    comparing: Comparing, vectors: str, keys: pl.Series, pairs: np.ndarray, cosine: np.ndarray
) -> None:
    """Keep what was found alike, for the splits of an export; a pair of texts stands once."""
    fingerprint = comparing.pin("pairs", digest_json([vectors, "cosine"]))
    one, two = (keys.gather(pairs[:, side]) for side in (0, 1))
    alike = pl.DataFrame({"one": one, "two": two, "similarity": cosine}).filter(
        pl.col("one") != pl.col("two")
    )
    ends = {"a": pl.min_horizontal("one", "two"), "b": pl.max_horizontal("one", "two")}
    alike = alike.select(**ends, similarity=pl.col("similarity").cast(pl.Float64), estimate=pl.lit(0.0))
    content = comparing.session.lake.content("pairs", fingerprint)
    key = digest_rows([alike.get_column("a"), alike.get_column("b")]).alias("key")
    appender = content.append()
    new = alike.select(key, *alike.columns).filter(~appender.has(key))
    if len(new):
        schema, file = TABLES["pairs"].schema, new_file(content.folder)
        write_parquet(new.to_arrow().cast(schema), schema, file)
        appender.add(file)
        content.compact()
        comparing.report.bytes_written += appender.bytes


def embedder_of(options: SemanticOptions, folder: Path) -> Embedder:
    """The embedder that the step names; a path is relative to `folder`, that of the recipe."""
    beside = folder / Path(options.embedder).expanduser()
    return _open(str(beside) if beside.is_dir() else options.embedder)


@lru_cache(maxsize=2)  # a run asks before it begins, and when it embeds
def _open(name: str) -> Embedder:
    return open_embedder(name)


def forget_embedders() -> None:
    """Let the next run look at the model's files again: they may have changed."""
    _open.cache_clear()


def _passages(embedder: Embedder) -> IndexOptions:
    """How a text is cut: as long as the model reads, at words."""
    cut = {"chunker": "tokens", "chunk_tokens": min(embedder.max_tokens, _PASSAGE)}
    return IndexOptions.model_validate(cut)


def _fingerprint(embedder: Embedder) -> str:
    cut = _passages(embedder).chunk_tokens
    return digest_json([VERSION, CHUNKER, cut, embedder.fingerprint])


def document_vectors(texts: pa.LargeStringArray, embedder: Embedder) -> tuple[np.ndarray, Floats]:
    """How many passages each text has (n,), and the vectors of those that have one: float32 (m, d) of length 1."""
    cut = chunk(texts, _passages(embedder), embedder)
    row = cut.column("row").to_numpy().astype(np.int64)
    passages = np.bincount(row, minlength=len(texts))
    if not len(cut):
        return passages, np.empty((0, embedder.dimension), np.float32)
    starts = np.flatnonzero(np.diff(row, prepend=-1))
    weighted = embedder.embed(cut.column("text").to_pylist()) * cut.column("tokens").to_numpy()[:, None]
    sums = np.add.reduceat(weighted, starts, axis=0)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return passages, (sums / np.maximum(lengths, 1e-12)).astype(np.float32)


def _embed_missing(comparing: Comparing, content: Content, rows: pl.DataFrame, embedder: Embedder) -> None:
    """Embed texts that have no vector, committing every few of them."""
    session, report = comparing.session, comparing.report
    _warn_of_languages(comparing, rows, embedder)
    appender = content.append()
    keyed = rows.select("home", "home_key", "chars", key="text_digest")
    unknown = keyed.filter(~appender.has(keyed.get_column("key")))
    # In the order in which they lie.
    missing = locate(session, comparing.base, unknown.unique("key", keep="first", maintain_order=True))
    report.measured += len(missing)
    report.reused = max(len(rows) - report.measured, 0)
    session.progress.start(comparing.table, len(missing))
    for start, stop in plan_shards(missing, max_rows=_EMBED_AT_ONCE):
        raise_if_stopped()
        part = missing.slice(start, stop - start)
        file = new_file(content.folder)
        write_parquet(
            _rows(part.get_column("key"), *document_vectors(read_texts(part), embedder)), _SCHEMA, file
        )
        appender.add(file)
        session.progress.advance(comparing.table, len(part), note="embedding")
    content.compact()
    report.bytes_written += appender.bytes


def _warn_of_languages(comparing: Comparing, rows: pl.DataFrame, embedder: Embedder) -> None:
    measured = [
        step.name
        for table in comparing.session.plan.before(comparing.table)
        for step in table.steps
        if step.stage and step.stage.name == "langid"
    ]
    language = pl.col(measured[-1]).struct.field("language") if measured else pl.col("declared_language")
    counted = rows.select(language=language.fill_null("")).to_series().value_counts()
    warning = language_warning(embedder, dict(counted.iter_rows()))
    comparing.report.notes += [warning] if warning else []


def _rows(keys: pl.Series, passages: np.ndarray, vectors: Floats) -> pa.Table:
    plain = np.ascontiguousarray(vectors, dtype="<f4")
    offsets = np.cumsum(passages > 0, dtype=np.int64) * plain.shape[1] * 4
    buffers = [None, pa.py_buffer(np.concatenate([[0], offsets])), pa.py_buffer(plain.tobytes())]
    binary = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(keys), buffers)
    counts = pa.array(passages.astype(np.int32))
    return pa.table([keys.to_arrow().cast(pa.string()), counts, binary], schema=_SCHEMA)


@contextmanager
def _mapped(comparing: Comparing, content: Content, keys: pl.Series) -> Iterator[Floats]:
    """The stored vectors of texts, float32 (n, d), in the order of `keys`; a file that is gone when the block ends."""
    path = comparing.session.work / f"{comparing.table}-vectors-{comparing.session.run}.f32"
    positions = keys.to_frame("key").with_row_index("at")
    vectors: np.memmap | None = None
    for file in content.files():
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches(batch_size=_READ_AT_ONCE, columns=["key", "vector"]):
                found = pl.DataFrame(pa.Table.from_batches([batch])).join(positions, on="key", how="inner")
                if not len(found):
                    continue
                stored = _as_vectors(found.get_column("vector"))
                if vectors is None:
                    vectors = np.memmap(path, np.float32, "w+", shape=(len(keys), stored.shape[1]))
                vectors[found.get_column("at").to_numpy()] = stored
    assert vectors is not None  # each of the keys is stored
    try:
        yield vectors
    finally:
        path.unlink()


def _as_vectors(stored: pl.Series) -> Floats:
    """float32 (n, d) of a column of bytes."""
    values = stored.rechunk().to_arrow().cast(pa.large_binary())
    return np.frombuffer(b"".join(values.to_pylist()), "<f4").reshape(len(values), -1)


def _pairs(
    comparing: Comparing, options: SemanticOptions, rows: pl.DataFrame, vectors: Floats
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows, which stand in order of rank, and their cosines; the report tells what a sample has beside them."""
    found, cosines = [np.empty((0, 2), np.int64)], [np.empty(0)]
    hits = trials = 0
    groups = by_group(rows, options.within)
    for group in groups:
        own = vectors if len(groups) == 1 else vectors[group]
        pairs, cosine = semantic_pairs(own, options.threshold)
        if not comparing.dry:
            share = max(1, _SAMPLE * len(group) // len(rows))
            hit, there = found_of_sample(own, pairs, options.threshold, share)
            hits, trials = hits + hit, trials + there
        found.append(group[pairs])
        cosines.append(cosine)
    pairs = np.concatenate(found)
    if not comparing.dry:
        _report(comparing, options, len(pairs), hits, trials)
    return pairs, np.concatenate(cosines)


def _report(comparing: Comparing, options: SemanticOptions, count: int, hits: int, trials: int) -> None:
    comparing.report.counts["semantic_pairs"] = count
    low, high = wilson(hits, trials)
    numbers = {"pairs": trials, "found": hits, "low": low, "high": high, "threshold": options.threshold}
    told = f"Of {trials:,} pairs that exact comparison finds for {_SAMPLE:,} documents, {hits:,} were found."
    comparing.report.checks.append(judged("semantic_recall", high >= _WANTED, numbers, told))
