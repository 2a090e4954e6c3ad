"""Stored sketches, read batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.dedup.shingles import I64, U32, U64
from curate.lake.digest import key_lanes

Batch = tuple[I64, U32, npt.NDArray[np.int32]]
"""Positions (m,), slots (m, K) and shingle counts (m,) of some sketches."""


def signature_batches(files: Iterable[str | Path], digests: U64, slots: int) -> Iterator[Batch]:
    """Sketches of texts by digest (n, 2), which may repeat, from files of the table `signatures`.

    A batch has positions in `digests` (m,), slots (m, K) and shingle counts (m,) of a row group, in no order of
    position; sketches are read of row groups concerned only. Memory: 4 K + 60 bytes a row of a group, 24 a digest.
    """
    order = np.argsort(digests[:, 0])
    first, second = digests[order, 0], digests[order, 1]
    for file in files:
        with pq.ParquetFile(file, page_checksum_verification=True) as opened:
            for group in range(opened.num_row_groups):
                stored = key_lanes(pl.Series(opened.read_row_group(group, ["key"]).column("key")))
                low, high = (np.searchsorted(first, stored[:, 0], side) for side in ("left", "right"))
                row, at = np.repeat(np.arange(len(stored)), high - low), ranges(low, high - low)
                equal = second[at] == stored[row, 1]
                row, at = row[equal], at[equal]
                if len(row):
                    table = opened.read_row_group(group, ["sketch", "shingles"]).combine_chunks()
                    data = table.column("sketch").chunk(0).cast(pa.large_binary()).buffers()[2]
                    sketches = np.frombuffer(data, "<u4").reshape(-1, slots)
                    # Not by Arrow, which would import pandas where it is installed.
                    shingles = pl.Series(table.column("shingles")).to_numpy()
                    yield order[at], sketches[row], shingles[row]


def ranges(starts: I64, counts: I64) -> I64:
    """All numbers from `starts[i]`, `counts[i]` of them, one range after the other."""
    return np.repeat(starts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
