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


def signature_batches(
    files: Iterable[str | Path], digests: U64, slots: int, rows: int = 200_000
) -> Iterator[Batch]:
    """Sketches of texts by digest (n, 2), which may repeat, from files of the table `signatures`.

    A batch has positions in `digests` (m,), slots (m, K) and shingle counts (m,) of up to `rows` rows of a file, in no
    order of position. Memory: 4 K + 60 bytes a row of the batch, and 16 a digest.
    """
    order = np.argsort(digests[:, 0])
    sorted_digests = digests[order]
    for file in files:
        with pq.ParquetFile(file, page_checksum_verification=True) as opened:
            for batch in opened.iter_batches(batch_size=rows, columns=["key", "sketch", "shingles"]):
                stored = key_lanes(pl.Series(batch.column("key")))
                low, high = (
                    np.searchsorted(sorted_digests[:, 0], stored[:, 0], side) for side in ("left", "right")
                )
                row = np.repeat(np.arange(len(batch)), high - low)
                at = ranges(low, high - low)
                equal = sorted_digests[at, 1] == stored[row, 1]
                row = row[equal]
                data = batch.column("sketch").cast(pa.large_binary())
                sketches = np.frombuffer(data.buffers()[2] or b"", "<u4")[data.offset * slots :]
                sketches = sketches[: len(batch) * slots].reshape(-1, slots)
                yield order[at[equal]], sketches[row], batch.column("shingles").to_numpy()[row]


def ranges(starts: I64, counts: I64) -> I64:
    """All numbers from `starts[i]`, `counts[i]` of them, one range after the other."""
    return np.repeat(starts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
