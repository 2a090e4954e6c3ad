"""Clusters of near-duplicates: documents that must not lie in two splits.

Two documents belong together if their texts are equal, or joined by a chain of verified pairs at or above the
threshold of deduplication (by shingles, or by the cosine of the step `semantic`), or of documents and those that stand
for them: also through documents that it dropped, and by the texts as they were then. (Which
document is *kept* is decided otherwise, see `curate.dedup.leaders`: a chain is too coarse for that.)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.dedup.options import MinhashOptions, SemanticOptions
from curate.engine.alike import content_key
from curate.engine.plan import Plan, PlannedTable
from curate.engine.session import Session
from curate.lake.runs import Head

I64 = npt.NDArray[np.int64]


def with_clusters(session: Session, head: Head, plan: Plan, documents: pl.DataFrame) -> pl.DataFrame:
    """Adds `cluster` to documents with id and text_digest: the least digest of a text in it.

    `plan` is that of the recipe which made the head.
    """
    edges = [
        edge
        for table in plan.tables
        if table.kind == "deduplicated"
        for edge in _edges(session, head, table, documents)
    ]
    least = components(pl.concat(edges)) if edges else None
    if least is None or least.is_empty():
        return documents.with_columns(cluster="text_digest")
    joined = documents.join(
        least, left_on="text_digest", right_on="digest", how="left", maintain_order="left"
    )
    return joined.with_columns(cluster=pl.coalesce("cluster", "text_digest"))


def _edges(session: Session, head: Head, table: PlannedTable, documents: pl.DataFrame) -> list[pl.DataFrame]:
    """Pairs (a, b) of digests that belong together: alike, dropped and kept, a text and what became of it.

    Only pairs of texts that reached the table as pinned count, not all that were ever compared.
    """
    if session.key(f"verdicts/{table.name}") not in head.pins:
        return []
    verdicts = session.lake.read(session.name, f"verdicts/{table.name}", head)
    then = verdicts.select("id", "key")
    gone = verdicts.filter(pl.col("duplicate_of") != "").select("duplicate_of", a="key")
    stands = gone.join(then.select(duplicate_of="id", b="key"), on="duplicate_of").select("a", "b")
    became = then.join(documents.lazy().select("id", "text_digest"), on="id")
    edges = [became.filter(pl.col("text_digest") != pl.col("key")).select(a="text_digest", b="key").collect()]
    edges.append(stands.collect())
    for step in table.steps:
        fingerprint = head.fingerprints.get(session.key(content_key(table.name, step.name, "pairs")), "")
        if not isinstance(step.options, MinhashOptions | SemanticOptions) or not fingerprint:
            continue
        pairs = session.lake.content("pairs", fingerprint).scan()
        near = pairs.filter(pl.col("similarity") >= step.options.threshold).select("a", "b").collect()
        ends = pl.concat([near.get_column("a"), near.get_column("b")]).unique().to_frame("key")
        reached = then.select("key").join(ends.lazy(), on="key", how="semi").unique().collect()
        for end in ("a", "b"):
            near = near.join(reached, left_on=end, right_on="key", how="semi")
        edges.append(near)
    return edges


def components(edges: pl.DataFrame) -> pl.DataFrame:
    """Connected components of pairs (a, b) of digests: digest, and cluster, the least digest in its component."""
    digests = pl.concat([edges.get_column("a"), edges.get_column("b")]).unique().sort()
    numbered = digests.to_frame("digest").with_row_index("number")
    ends = [
        edges.select(digest=end)
        .join(numbered, on="digest", how="left", maintain_order="left")
        .get_column("number")
        for end in ("a", "b")
    ]
    least = _least(len(digests), *(end.cast(pl.Int64).to_numpy() for end in ends))
    return pl.DataFrame({"digest": digests, "cluster": digests.gather(least)})


def _least(count: int, a: I64, b: I64) -> I64:
    """(count,) the least number in the component of each: numbers sink along edges, and chains are cut short."""
    least = np.arange(count)
    while True:
        low = np.minimum(least[a], least[b])
        if np.array_equal(low, least[a]) and np.array_equal(low, least[b]):
            return least
        # A root learns of the lower one beside it; then every number points at its root.
        np.minimum.at(least, least[a], low)
        np.minimum.at(least, least[b], low)
        while not np.array_equal(below := least[least], least):
            least = below
