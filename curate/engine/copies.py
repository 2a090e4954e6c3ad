"""Exact duplicates: documents that are equal in their text, their words, or a column."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import polars as pl

from curate.dedup.options import NORMALIZED, TEXT, ExactOptions
from curate.engine.alike import Alike, Comparing
from curate.engine.keepers import is_fixed
from curate.engine.shard import plan_shards, write_plan
from curate.engine.standing import locate
from curate.lake.content import new_file
from curate.lake.digest import digest_json

WORDS_VERSION = 2  # goes up when the words of the same text change


def find(comparing: Comparing, options: ExactOptions, rows: pl.DataFrame, rank: np.ndarray) -> Alike:
    """Of rows that are equal the first in rank stands for the others."""
    frame = rows.select(
        value=_compared(comparing, options, rows),
        within=pl.sql_expr(options.within) if options.within else pl.lit(0),
        fixed=is_fixed(options),
        row=pl.int_range(pl.len()),
    ).with_columns(rank=pl.Series(rank))
    first = pl.col("row").sort_by("rank").first().over("value", "within")
    stays = pl.col("value").is_null() | pl.col("fixed")
    return Alike.copies(frame.select(pl.when(stays).then("row").otherwise(first)).to_series().to_numpy())


def _compared(comparing: Comparing, options: ExactOptions, rows: pl.DataFrame) -> pl.Series:
    """What is compared of each document; NULL where there is nothing."""
    if options.by == TEXT:
        return rows.get_column("text_digest")
    if options.by == NORMALIZED:
        return _words(comparing, rows)
    value = rows.select(value=pl.sql_expr(options.by)).get_column("value")
    return value.set(value == "", None) if value.dtype == pl.String else value


def _words(comparing: Comparing, rows: pl.DataFrame) -> pl.Series:
    """Digest of the words of each text; what is not stored is made."""
    session = comparing.session
    fingerprint = comparing.pin("normalized", digest_json([WORDS_VERSION, unicodedata.unidata_version]))
    content = session.lake.content("normalized", fingerprint)
    keyed = rows.with_columns(key="text_digest").unique("key", keep="first", maintain_order=True)
    missing = keyed.join(content.keys().to_frame("key"), on="key", how="anti", maintain_order="left")
    if len(missing) and not comparing.dry:
        located = locate(session, comparing.base, missing)
        plan = session.work / f"{comparing.table}-words-{session.run}.parquet"
        write_plan(located.select("key", "file", "row"), plan)
        appender = content.append()
        tasks = [
            {"plan": str(plan), "start": start, "stop": stop, "out": str(new_file(content.folder))}
            for start, stop in plan_shards(located)
        ]
        for result in session.workers.map("curate.dedup.shards:words_shard", tasks):
            appender.add(Path(result["file"]))
        content.compact()
        comparing.report.bytes_written += appender.bytes
    stored = content.scan().join(keyed.lazy().select("key"), on="key", how="semi").collect()
    found = rows.select(key="text_digest").join(stored, on="key", how="left", maintain_order="left")
    # Without a word, or not looked at yet: the text itself.
    return found.select(
        pl.when(pl.col("words").fill_null("") == "").then("key").otherwise("words")
    ).to_series()
