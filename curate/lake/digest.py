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

_AT_ONCE = 50_000  # rows: what is made on the way stays small, however many there are


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
        values += [sha(data[start:end]).digest()[:16] for start, end in itertools.pairwise(offsets)]
    return _hex_strings(b"".join(values)).cast(pa.string())


def _hex_strings(data: bytes) -> pa.LargeStringArray:
    """32 hex digits of each 16 bytes."""
    hexes = data.hex().encode()
    places = pa.py_buffer(np.arange(0, len(hexes) + 1, 32, dtype=np.int64))
    return pa.Array.from_buffers(pa.large_string(), len(data) // 16, [None, places, pa.py_buffer(hexes)])


def digest_rows(columns: Iterable[pl.Series]) -> pl.Series:
    """Digest of several columns taken together, row by row; the order of columns counts."""
    frame = pl.DataFrame([column.alias(str(number)) for number, column in enumerate(columns)])
    if frame.is_empty():
        return pl.Series(dtype=pl.String)
    return pl.concat([_digest_rows(part) for part in frame.iter_slices(_AT_ONCE)])


def _digest_rows(rows: pl.DataFrame) -> pl.Series:
    parts = [column.cast(pl.String).fill_null("") for column in rows.get_columns()]
    lengths = [part.str.len_bytes().cast(pl.String) for part in parts]
    # Lengths before values: ("ab", "c") and ("a", "bc") must differ.
    joined = pl.select(pl.concat_str([*lengths, *parts], separator="\x1f")).to_series()
    return pl.Series(digest_column(joined.to_arrow()))


def content_digest(rows: pl.DataFrame) -> str:
    """Order-free digest of the rows that stand: of their ids, keys and verdicts, never times or versions."""
    whole = ContentDigest(
        name for name in rows.columns if rows.schema[name] == pl.String and _are_hashes(rows[name])
    )
    whole.add(rows)
    return whole.value


class ContentDigest:
    """The content digest of rows that come in parts; `hashes` are the columns that hold nothing but digests.

    Two lanes of splitmix64 over the 128-bit columns, summed; Polars' own hash does not promise to stay.
    """

    def __init__(self, hashes: Iterable[str]) -> None:
        self._hashes = set(hashes)
        self._rows, self._total = 0, np.zeros(2, dtype=np.uint64)

    def add(self, rows: pl.DataFrame) -> None:
        """More rows, with the same columns in the same order."""
        self._rows += len(rows)
        for part in rows.iter_slices(_AT_ONCE):
            state = np.zeros((len(part), 2), dtype=np.uint64)
            for name in rows.columns:
                state = _mix(state + _lanes(part.get_column(name), is_hash=name in self._hashes))
            self._total += state.sum(axis=0, dtype=np.uint64)

    @property
    def value(self) -> str:
        """The digest of what was added."""
        return f"{self._rows:x}-{int(self._total[0]):016x}{int(self._total[1]):016x}"


def _are_hashes(column: pl.Series) -> bool:
    return bool((column.fill_null("").str.len_bytes() == 32).all())


def key_lanes(keys: pl.Series) -> np.ndarray:
    """(n, 2) both halves of keys of 32 hex digits, as numbers."""
    hexes = keys.to_arrow().cast(pa.large_string())
    digits = (hexes.buffers()[2] or b"")[32 * hexes.offset : 32 * (hexes.offset + len(hexes))]
    return np.frombuffer(bytes.fromhex(str(digits, "ascii")), dtype=np.uint64).reshape(-1, 2)


def narrow(keys: pl.Series) -> pl.Series:
    """Keys of 32 hex digits as UInt128 in the same order, 16 bytes each where a string takes 48; "" is 0."""
    keys = keys.replace_strict({"": "0" * 32}, default=keys) if (keys == "").any() else keys
    halves = key_lanes(keys).view(">u8").astype(np.uint64)
    frame = pl.DataFrame({"upper": halves[:, 0], "lower": halves[:, 1]})
    number = pl.col("upper").cast(pl.UInt128) * 2**64 + pl.col("lower").cast(pl.UInt128)
    return frame.select(number.alias(keys.name)).to_series()


def widen(numbers: pl.Series) -> pl.Series:
    """The keys that `narrow` made numbers of."""
    whole, upper = pl.lit(numbers), pl.lit(numbers) // 2**64
    halves = pl.select(upper.cast(pl.UInt64).alias("0"), (whole - upper * 2**64).cast(pl.UInt64).alias("1"))
    lanes = np.stack([half.to_numpy() for half in halves], axis=1)
    keys = pl.Series(numbers.name, _hex_strings(lanes.astype(">u8").tobytes()), dtype=pl.String)
    return keys.set(numbers == 0, "") if (numbers == 0).any() else keys


def _lanes(column: pl.Series, *, is_hash: bool) -> np.ndarray:
    if column.dtype == pl.String:
        column = column.fill_null("")
        return key_lanes(column if is_hash else pl.Series(digest_column(column.to_arrow())))
    values = column.cast(pl.UInt64).to_numpy()
    return np.stack([values, values], axis=1)


def _mix(values: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014), with a constant of its own per lane."""
    x = values + np.array([0x9E3779B97F4A7C15, 0xD1B54A32D192ED03], dtype=np.uint64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = x ^ (x >> np.uint64(31))
    return mixed
