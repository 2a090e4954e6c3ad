"""Exact similarity of pairs of texts: as stored, or found now and stored."""

from __future__ import annotations

import itertools
from collections import defaultdict
from pathlib import Path

import numpy as np
import polars as pl

from curate.dedup.components import components
from curate.dedup.gathered import cut_pairs
from curate.dedup.options import MinhashOptions
from curate.engine.alike import Comparing
from curate.engine.buckets import found_in_parts
from curate.engine.shard import plan_shards, write_plan
from curate.engine.standing import locate
from curate.lake.content import Content, new_file
from curate.lake.digest import digest_rows

_PAIRS_AT_ONCE = 200_000


def verified(
    comparing: Comparing,
    options: MinhashOptions,
    content: Content,
    rows: pl.DataFrame,
    pairs: np.ndarray,
    estimate: np.ndarray,
) -> np.ndarray:
    """Exact similarity (m,) of pairs (m, 2) of rows with their `estimate`; what was never compared is compared.

    `content` are the pairs that are stored. Pairs that hang together follow each other, so that a text is read for
    many of them at once. Memory: 100 MB beside 24 bytes a pair.
    """
    similarity = np.zeros(len(pairs))
    digests = rows.get_column("text_digest")
    order = np.argsort(components(np.arange(len(rows)), pairs)[pairs[:, 0]], kind="stable")
    parts = [order[start : start + _PAIRS_AT_ONCE] for start in range(0, len(order), _PAIRS_AT_ONCE)]
    asked = (_keyed(digests, pairs[part]).get_column("key") for part in parts)
    compared = 0
    with found_in_parts(comparing.session.work, content, ["key", "similarity"], asked) as stored:
        for number, part in enumerate(parts):
            keyed = _keyed(digests, pairs[part]).with_columns(estimate=estimate[part])
            known = stored.read(number).unique("key")
            missing = keyed.join(known, on="key", how="anti").unique("key", keep="first", maintain_order=True)
            compared += len(missing)
            if not comparing.dry and len(missing):
                known = pl.concat([known, _compare(comparing, options, content, rows, missing)])
            found = keyed.join(known, on="key", how="left", maintain_order="left").get_column("similarity")
            similarity[part] = found.fill_null(0.0).to_numpy()
    counts = comparing.report.counts
    counts["compared"] = counts.get("compared", 0) + compared
    if compared and not comparing.dry:
        content.compact()
    return similarity


def _keyed(digests: pl.Series, pairs: np.ndarray) -> pl.DataFrame:
    """Pairs (m, 2) of rows as they are stored: key, a, b, row_a, row_b; a is the smaller digest."""
    ends = pl.DataFrame({"one": digests.gather(pairs[:, 0]), "two": digests.gather(pairs[:, 1])})
    ends = ends.select(a=pl.min_horizontal("one", "two"), b=pl.max_horizontal("one", "two"))
    return ends.with_columns(key=digest_rows(ends.get_columns()), row_a=pairs[:, 0], row_b=pairs[:, 1])


def _compare(
    comparing: Comparing, options: MinhashOptions, content: Content, rows: pl.DataFrame, pairs: pl.DataFrame
) -> pl.DataFrame:
    """Compare pairs (key, a, b, row_a, row_b, estimate) and store what was found: key, similarity."""
    session = comparing.session
    concerned, ends = np.unique(pairs.select("row_a", "row_b").to_numpy(), return_inverse=True)
    ends = ends.reshape(-1, 2)
    texts = rows[concerned].select("home", "home_key", "chars", text_number=pl.int_range(pl.len()))
    order, shards = cut_pairs(ends, texts.get_column("chars").to_numpy().astype(np.int64))
    ends = ends[order]
    gathered = _gather(comparing, texts, ends, shards)
    plan = session.work / f"{comparing.table}-pairs-{session.run}.parquet"
    planned = pairs[order].select("key", "a", "b", "estimate", one=ends[:, 0], two=ends[:, 1])
    write_plan(planned, plan)
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
    appender, made = content.append(), []
    try:
        for result in session.workers.map("curate.dedup.shards:verify_shard", tasks):
            made.append(pl.read_parquet(result["file"], columns=["key", "similarity"], glob=False))
            appender.add(Path(result["file"]))
    finally:
        for file in {file for parts in gathered.values() for file, _ in parts}:
            Path(file).unlink(missing_ok=True)
    comparing.report.bytes_written += appender.bytes
    return pl.concat(made)


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
