"""Hard negatives: passages that the index finds for a query and that do not answer it.

Positive-aware mining (NV-Retriever, arXiv 2407.15831): a passage that is nearly as similar to the query as its answer
may answer it too and is left out. So are those that surely do: passages of the same document or of a near-duplicate,
the same text elsewhere, documents that have the same query. Negatives are of the query's split, so that nothing leaks,
and of its language: a translation is no negative, even if an embedder of one language finds it unlike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from indexing.snapshot import Snapshot
from schemas.export import PairsExport

Floats = npt.NDArray[np.float32]

# Passages looked at for a query; the second only where too few of the first may be negatives.
_DEPTHS = (100, 1_000)
_MINED = {"at": pl.UInt32, "row": pl.Int64, "offset": pl.UInt32, "length": pl.UInt32, "score": pl.Float32}


@dataclass(frozen=True)
class Pool:
    """What may be a negative.

    `passages` has all passages of the index, by row: document, cluster, group (of split and language), and the text
    to take of it: offset, length, text_hash; all NULL where nothing is to be taken. `shared` are queries that several
    documents have: query_hash, document.
    """

    snapshot: Snapshot
    passages: pl.DataFrame
    shared: pl.DataFrame

    def texts(self, wanted: pl.DataFrame) -> pl.Series:
        """The text at each row, offset and length."""
        text = self.snapshot.chunks.column("text").take(wanted.get_column("row").to_arrow())
        parts = wanted.select("offset", "length", text=pl.Series(text))
        return parts.select(pl.col("text").str.slice("offset", "length")).to_series()


def mine(pool: Pool, queries: pl.DataFrame, vectors: Floats, options: PairsExport) -> pl.DataFrame:
    """The nearest passages that may be negatives, at most `options.negatives` for a query.

    Args:
        pool: where they are taken from.
        queries: at (0 to n - 1), query_hash, and of the answer row, text_hash and score (cosine to the query).
        vectors: of the queries, float32 (n, d).
        options: negatives and margin.

    Returns:
        at, row, offset, length, score; sorted by at, the nearest first.
    """
    own = pool.passages.select("group", own_document="document", own_cluster="cluster")
    waiting = queries.select("at", "query_hash", "score", own_text="text_hash").hstack(
        own[queries.get_column("row")]
    )
    found = [pl.DataFrame(schema=_MINED)]
    for depth in _DEPTHS if options.negatives else ():
        hits = _judge(pool, _search(pool, waiting, vectors, depth), waiting, options)
        full = hits.filter(pl.len().over("at") == options.negatives) if depth < _DEPTHS[-1] else hits
        waiting = waiting.join(full, on="at", how="anti", maintain_order="left")
        found.append(full)
    return pl.concat(found).sort("at", "score", "row", descending=[False, True, False])


def _search(pool: Pool, queries: pl.DataFrame, vectors: Floats, depth: int) -> pl.DataFrame:
    """at, row and similarity of the nearest passages of each query's group."""
    groups = pool.passages.get_column("group")
    found = [pl.DataFrame(schema={"at": pl.UInt32, "row": pl.Int64, "similarity": pl.Float32})]
    for (group,), part in queries.group_by("group", maintain_order=True):
        at = part.get_column("at").to_numpy()
        mask = (groups == group).fill_null(value=False).to_numpy()
        scores, rows, _ = pool.snapshot.vectors.search(vectors[at], depth, mask)
        found.append(
            pl.DataFrame({"at": at.repeat(rows.shape[1]), "row": rows.ravel(), "similarity": scores.ravel()})
        )
    return pl.concat(found).filter(pl.col("row") >= 0)


def _judge(pool: Pool, hits: pl.DataFrame, queries: pl.DataFrame, options: PairsExport) -> pl.DataFrame:
    """Of the hits of each query those that may be its negatives, the nearest first, as many as are wanted."""
    passages = pool.passages.select("document", "cluster", "offset", "length", "text_hash")
    similarity = pl.col("similarity").round(6)  # the last bits of a float decide nothing
    may_be = (
        hits.hstack(passages[hits.get_column("row")])
        .join(queries, on="at")
        .filter(
            pl.col("document") != pl.col("own_document"),
            pl.col("cluster") != pl.col("own_cluster"),
            pl.col("text_hash") != pl.col("own_text"),
            similarity <= options.margin * pl.col("score"),
            pl.col("score") > 0,  # of an answer unlike its query nothing can be less similar by a share
        )
        .join(pool.shared, on=["query_hash", "document"], how="anti")
        .with_columns(score=similarity)
        .sort("at", "score", "row", descending=[False, True, False])
        .unique(["at", "text_hash"], keep="first", maintain_order=True)
    )
    nearest = may_be.group_by("at", maintain_order=True).head(options.negatives)
    return nearest.select("at", "row", "offset", "length", "score")
