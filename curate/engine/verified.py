"""Exact similarity of pairs of texts: as stored, or found now and stored."""

from __future__ import annotations

import itertools
from collections import defaultdict
from pathlib import Path

import numpy as np
import polars as pl

from curate.dedup.gathered import cut_pairs
from curate.dedup.options import MinhashOptions
from curate.engine.alike import Comparing
from curate.engine.shard import plan_shards, write_plan
from curate.engine.standing import locate
from curate.lake.content import Content, new_file
from curate.lake.digest import digest_rows

_PAIRS_AT_ONCE = 1_000_000


def verified(
    comparing: Comparing,
    options: MinhashOptions,
    content: Content,
    rows: pl.DataFrame,
    pairs: np.ndarray,
    estimate: np.ndarray,
) -> np.ndarray:
    """Exact similarity (m,) of pairs (m, 2) of rows with their `estimate`; what was never compared is compared.

    `content` are the pairs that are stored. Memory: 200 MB beside 16 bytes a pair.
    """
    similarity = np.zeros(len(pairs))
    comparing.report.counts["compared"] = 0
    digests = rows.get_column("text_digest")
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        part = slice(start, start + _PAIRS_AT_ONCE)
        one, two = pairs[part, 0], pairs[part, 1]
        ends = pl.DataFrame({"one": digests.gather(one), "two": digests.gather(two)})
        frame = ends.select(a=pl.min_horizontal("one", "two"), b=pl.max_horizontal("one", "two"))
        del ends
        known = _stored(content, frame)
        asked = frame.with_columns(row_a=one, row_b=two, estimate=estimate[part]).filter(known.is_null())
        missing = asked.unique(["a", "b"], keep="first", maintain_order=True)
        comparing.report.counts["compared"] += len(missing)
        if not comparing.dry and len(missing):
            _compare(comparing, options, content, rows, missing)
            known = _stored(content, frame)
        similarity[part] = known.fill_null(0.0).to_numpy()
    return similarity


def _stored(content: Content, pairs: pl.DataFrame) -> pl.Series:
    """Similarity of pairs (a, b) as stored; NULL of one that was never compared."""
    stored = content.scan().select("a", "b", "similarity")
    found = stored.join(pairs.lazy().unique(), on=["a", "b"], how="semi").collect()
    return pairs.join(found, on=["a", "b"], how="left", maintain_order="left").get_column("similarity")


def _compare(
    comparing: Comparing, options: MinhashOptions, content: Content, rows: pl.DataFrame, pairs: pl.DataFrame
) -> None:
    """Compare pairs (a, b, row_a, row_b, estimate) and store what was found."""
    session = comparing.session
    concerned, ends = np.unique(pairs.select("row_a", "row_b").to_numpy(), return_inverse=True)
    ends = ends.reshape(-1, 2)
    texts = rows[concerned].select("home", "home_key", "chars", text_number=pl.int_range(pl.len()))
    order, shards = cut_pairs(ends, texts.get_column("chars").to_numpy().astype(np.int64))
    ends = ends[order]
    gathered = _gather(comparing, texts, ends, shards)
    plan = session.work / f"{comparing.table}-pairs-{session.run}.parquet"
    planned = pairs[order].select(
        "a", "b", "estimate", key=digest_rows([pairs.get_column(name).gather(order) for name in "ab"])
    )
    write_plan(planned.with_columns(one=ends[:, 0], two=ends[:, 1]), plan)
    del planned
    borders = np.flatnonzero(np.diff(shards, prepend=-1, append=len(shards))).tolist()
    tasks = [
        {
            "plan": str(plan),
            "options": options.shingle_options.model_dump(),
            "similarity": options.similarity,
            "start": start,
            "stop": stop,
            "texts": gathered[shard],
            "out": str(new_file(content.folder)),
        }
        for shard, (start, stop) in enumerate(itertools.pairwise(borders))
    ]
    appender = content.append()
    try:
        for result in session.workers.map("curate.dedup.shards:verify_shard", tasks):
            appender.add(Path(result["file"]))
    finally:
        for file in {file for parts in gathered.values() for file, _ in parts}:
            Path(file).unlink(missing_ok=True)
    content.compact()
    comparing.report.bytes_written += appender.bytes


def _gather(
    comparing: Comparing, texts: pl.DataFrame, ends: np.ndarray, shards: np.ndarray
) -> dict[int, list[tuple[str, int]]]:
    """For each shard of pairs the record batches (file, number) that hold its texts (home, home_key, chars, text_number)."""
    session = comparing.session
    wanted = pl.DataFrame({"text_number": ends.ravel(), "shard": np.repeat(shards, 2)}).unique()
    places = locate(session, comparing.base, texts).select("text_number", "file", "row", "chars")
    rows = places.join(wanted, on="text_number").sort("file", "row", "shard")
    # A text that stands in several shards is read once.
    chars = pl.when(pl.col("text_number").is_first_distinct()).then("chars").otherwise(0)
    rows = rows.with_columns(chars=chars)
    plan = session.work / f"{comparing.table}-texts-{session.run}.parquet"
    write_plan(rows, plan)
    tasks = [
        {"plan": str(plan), "start": start, "stop": stop, "out": str(session.work / f"texts-{start}.arrow")}
        for start, stop in plan_shards(rows)
    ]
    gathered = defaultdict(list)
    for result in session.workers.map("curate.dedup.gathered:gather_shard", tasks):
        for number, shard in enumerate(result["shards"]):
            gathered[shard].append((result["file"], number))
    return gathered
