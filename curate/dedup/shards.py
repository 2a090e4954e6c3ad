"""Shards of dedup as workers run them: texts to sketches, pairs to similarities, Parquet to Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from curate.dedup.anchors import anchors, neighbours
from curate.dedup.gathered import read_gathered
from curate.dedup.normalized import word_digests
from curate.dedup.shingles import ShingleOptions
from curate.dedup.sketch import SketchOptions, sketch
from curate.dedup.verify import similarities
from curate.engine.shard import read_rows, read_texts
from curate.lake.parquet import write_parquet
from schemas.tables import TABLES


def sketch_shard(task: dict[str, Any]) -> dict[str, Any]:
    """Sketch the texts of rows `start` to `stop` of a plan file (key, file, row)."""
    rows = read_rows(task)
    made = sketch(read_texts(rows), SketchOptions(**task["options"]))
    slots = np.ascontiguousarray(made.slots, dtype="<u4")
    offsets = np.arange(len(rows) + 1, dtype=np.int64) * slots.shape[1] * 4
    sketches = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(rows), [None, pa.py_buffer(offsets), pa.py_buffer(slots.tobytes())]
    )
    schema = TABLES["signatures"].schema
    table = pa.table(
        [rows.get_column("key").to_arrow().cast(pa.string()), sketches, pa.array(made.shingles)],
        schema=schema,
    )
    return {"file": task["out"], "rows": write_parquet(table, schema, Path(task["out"]))}


def words_shard(task: dict[str, Any]) -> dict[str, Any]:
    """Digest the words of the texts of rows `start` to `stop` of a plan file."""
    rows = read_rows(task)
    schema = TABLES["normalized"].schema
    table = pa.table(
        [rows.get_column("key").to_arrow().cast(pa.string()), word_digests(read_texts(rows))], schema=schema
    )
    return {"file": task["out"], "rows": write_parquet(table, schema, Path(task["out"]))}


def neighbours_shard(task: dict[str, Any]) -> dict[str, Any]:
    """Compare the texts of rows `start` to `stop` of a plan file exactly with the texts of another, small one.

    Of each of those at most `most` neighbours are told.
    """
    rows, few = read_rows(task), pl.read_parquet(task["anchors"])
    texts = few.get_column("text").to_arrow().cast(pa.large_string())
    drawn = anchors(texts, ShingleOptions(**task["options"]))
    met = neighbours(drawn, read_texts(rows), task["threshold"], task["similarity"])
    # By digest, so by chance, and the same however the texts lie in shards.
    met = met.with_columns(place=rows.get_column("text_digest").rank("ordinal").gather(met.get_column("row")))
    met = met.filter(pl.col("place").rank("ordinal").over("anchor") <= task["most"])
    one = few.get_column("text_digest").gather(met.get_column("anchor"))
    two = rows.get_column("text_digest").gather(met.get_column("row"))
    met.select("anchor", "similarity", "times").with_columns(one=one, two=two).write_parquet(task["out"])
    return {"file": task["out"], "rows": len(met)}


def verify_shard(task: dict[str, Any]) -> dict[str, Any]:
    """Compare the pairs of rows `start` to `stop` of a plan file; `texts` are the record batches that hold their texts."""
    pairs = read_rows(task)
    numbers, texts = read_gathered(task["texts"])
    ends = np.searchsorted(numbers, pairs.select("one", "two").to_numpy())
    similarity = similarities(texts, ends, ShingleOptions(**task["options"]), task["similarity"])
    schema = TABLES["pairs"].schema
    table = (
        pairs.select("key", "a", "b", pl.Series("similarity", similarity), "estimate").to_arrow().cast(schema)
    )
    return {"file": task["out"], "rows": write_parquet(table, schema, Path(task["out"]))}
