"""Hashes: of texts, of what a row is made from, and of what stands in a table."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa


def digest(data: bytes | str) -> str:
    """The first 128 bits of SHA-256 as 32 hex digits; collisions cannot be crafted."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()[:32]


def digest_json(value: Any) -> str:
    """Digest of a value's canonical JSON."""
    return digest(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str))


def digest_column(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Digest of each value of a string column (~400 MB/s: SHA-256 has its own instructions)."""
    sha, values = hashlib.sha256, []
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    for chunk in chunks:
        binary = chunk.cast(pa.large_string()).cast(pa.large_binary())
        offsets = np.frombuffer(binary.buffers()[1], dtype=np.int64)[
            binary.offset : binary.offset + len(binary) + 1
        ].tolist()
        data = memoryview(binary.buffers()[2] or b"")
        values += [sha(data[start:end]).hexdigest()[:32] for start, end in itertools.pairwise(offsets)]
    return pa.array(values, pa.string())


def digest_rows(columns: Iterable[pl.Series]) -> pl.Series:
    """Digest of several columns taken together, row by row; the order of columns counts."""
    parts = [column.cast(pl.String).fill_null("") for column in columns]
    lengths = [part.str.len_bytes().cast(pl.String) for part in parts]
    # Lengths before values: ("ab", "c") and ("a", "bc") must differ.
    joined = pl.select(pl.concat_str([*lengths, *parts], separator="\x1f")).to_series()
    return pl.Series(digest_column(joined.to_arrow()))


def content_digest(rows: pl.DataFrame) -> str:
    """Order-free digest of the rows that stand: of their ids, keys and verdicts, never times or versions.

    Two lanes of splitmix64 over the 128-bit columns, summed; Polars' own hash does not promise to stay.
    """
    total = np.zeros(2, dtype=np.uint64)
    if len(rows):
        state = np.zeros((len(rows), 2), dtype=np.uint64)
        for name in rows.columns:
            state = _mix(state + _lanes(rows.get_column(name)))
        total = state.sum(axis=0, dtype=np.uint64)
    return f"{len(rows):x}-{int(total[0]):016x}{int(total[1]):016x}"


def _lanes(column: pl.Series) -> np.ndarray:
    if column.dtype == pl.String:
        column = column.fill_null("")
        is_hash = (column.str.len_bytes() == 32).all()
        hexes = column if is_hash else pl.Series(digest_column(column.to_arrow()))
        return np.frombuffer(bytes.fromhex("".join(hexes.to_list())), dtype=np.uint64).reshape(-1, 2)
    values = column.cast(pl.UInt64).to_numpy()
    return np.stack([values, values], axis=1)


def _mix(values: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014), with a constant of its own per lane."""
    x = values + np.array([0x9E3779B97F4A7C15, 0xD1B54A32D192ED03], dtype=np.uint64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = x ^ (x >> np.uint64(31))
    return mixed
