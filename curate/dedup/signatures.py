"""Stored sketches, read batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.dedup.bounded import Batch


def signature_batches(
    files: Iterable[str | Path], positions: pl.DataFrame, slots: int, rows: int = 200_000
) -> Iterator[Batch]:
    """Sketches of the texts that stand in `positions` (key, position), from files of the table `signatures`.

    A batch has the positions (m,), slots (m, K) and shingle counts (m,) of up to `rows` rows of a file, in no
    order of position. Memory: 4 K + 60 bytes a row of the batch, beside the positions.
    """
    for file in files:
        with pq.ParquetFile(file, page_checksum_verification=True) as opened:
            for batch in opened.iter_batches(batch_size=rows, columns=["key", "sketch", "shingles"]):
                wanted = pl.DataFrame(pa.Table.from_batches([batch])).join(positions, on="key", how="inner")
                data = wanted.get_column("sketch").to_arrow().cast(pa.large_binary())
                stored = np.frombuffer(data.buffers()[2] or b"", "<u4")
                start = data.offset * slots
                yield (
                    wanted.get_column("position").to_numpy().astype(np.int64),
                    stored[start : start + len(wanted) * slots].reshape(-1, slots),
                    wanted.get_column("shingles").to_numpy(),
                )
