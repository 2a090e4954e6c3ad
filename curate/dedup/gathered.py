"""Texts of pairs brought together: each is read once, wherever the texts that it is compared with lie.

Pairs are cut into shards along the groups that they connect. Workers read the texts in the order in which they
lie, and write each for every shard that compares it; so a shard holds its own texts, and no file is read twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from curate.dedup.components import components
from curate.dedup.shingles import I64
from curate.engine.shard import read_rows, read_texts

SHARD_CHARS = 8_000_000  # of the texts of a shard, about: twice as many at most, or one pair
SHARD_PAIRS = 200_000
_SCHEMA = pa.schema([("text_number", pa.int64()), ("text", pa.large_string())])


def cut_pairs(pairs: I64, chars: I64) -> tuple[I64, I64]:
    """The order (m,) in which pairs (m, 2) of texts of so many characters (n,) are compared, and their shards (m,).

    Pairs that hang together stand together. Shards are numbered from 0 in that order.
    """
    group = components(np.arange(len(chars)), pairs)
    ends = np.sort(pairs, axis=1)
    order = np.lexsort((ends[:, 1], ends[:, 0], group[ends[:, 0]]))
    ends = ends[order]
    first = np.zeros(ends.size, np.bool_)
    first[np.unique(ends, return_index=True)[1]] = True
    once = (chars[ends] * first.reshape(-1, 2)).sum(axis=1)
    # A group that fits into no shard is cut, and its texts stand in several.
    each = chars[ends[:, 1]] + chars[ends[:, 0]] * (np.diff(ends[:, 0], prepend=-1) != 0)
    size = np.bincount(group, chars, len(chars))[group[ends[:, 0]]]
    weight = np.where(size <= SHARD_CHARS, once, each)
    filled = np.cumsum(np.maximum(weight, SHARD_CHARS // SHARD_PAIRS)) // SHARD_CHARS
    return order, np.cumsum(np.diff(filled, prepend=filled[:1]) != 0)


def gather_shard(task: dict[str, Any]) -> dict[str, Any]:
    """Read the texts of rows `start` to `stop` of a plan file (file, row, text_number, shard), each once.

    The file written has a record batch for each of the shards, in their order; returns it and their numbers.
    """
    rows = read_rows(task)
    places = rows.select("file", "row").unique(maintain_order=True)
    texts = read_texts(places)
    at = rows.join(
        places.with_row_index("at"), on=["file", "row"], how="left", maintain_order="left"
    ).with_columns(pl.col("at").cast(pl.Int64))
    shards = at.sort("shard", maintain_order=True).partition_by("shard", maintain_order=True)
    with pa.OSFile(task["out"], "wb") as out, pa.ipc.new_file(out, _SCHEMA) as writer:
        for shard in shards:
            numbers = shard.get_column("text_number").to_arrow()
            taken = texts.take(shard.get_column("at").to_arrow())
            writer.write_batch(pa.record_batch([numbers, taken], schema=_SCHEMA))
    return {"file": task["out"], "shards": [shard.item(0, "shard") for shard in shards]}


def read_gathered(parts: Iterable[tuple[str, int]]) -> tuple[I64, pa.LargeStringArray]:
    """Numbers of texts, ascending, and the texts of record batches (file, number of the batch)."""
    batches = [pa.ipc.open_file(pa.memory_map(file)).get_batch(number) for file, number in parts]
    table = pa.Table.from_batches(batches, _SCHEMA).sort_by("text_number").combine_chunks()
    numbers: I64 = table.column("text_number").to_numpy()
    return numbers, table.column("text").chunk(0)
