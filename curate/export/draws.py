"""Numbers that look random and are a function of what they are drawn for: of splits, of order, of what is taken."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from curate.lake.digest import digest

U64 = npt.NDArray[np.uint64]


def draw(seed: int, what: str, digests: pl.Series, *numbers: pl.Series) -> U64:
    """A number of 64 bits, (n,), for each row: of the seed, of what it is for, and of the row's columns.

    `digests` are hex digits, as ids and digests of texts are; `numbers` are integers.
    """
    state = np.full(len(digests), np.uint64(int(digest(f"{seed} {what}")[:16], 16)))
    for lane in _lanes(digests).T:
        state = _mix(state ^ lane)
    for column in numbers:
        state = _mix(state ^ column.cast(pl.UInt64).to_numpy())
    return state


def _lanes(digests: pl.Series) -> U64:
    """The 128 bits of each digest as two numbers, (n, 2)."""
    binary = digests.str.decode("hex").rechunk().to_arrow().cast(pa.large_binary())
    data = np.frombuffer(binary.buffers()[2] or b"", dtype="<u8")
    return data[binary.offset * 2 :].reshape(-1, 2)[: len(digests)].astype(np.uint64)


def _mix(x: U64) -> U64:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014): a bijection in which every bit depends on every bit."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: U64 = x ^ (x >> np.uint64(31))
    return mixed
