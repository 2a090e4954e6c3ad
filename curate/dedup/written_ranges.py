"""Ranges of a text as a string, `12-340,900-1200`: so that they can stand in a table and in the key of a row."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

from curate.dedup.units import Ranges


def write_ranges(ranges: Ranges, rows: int) -> pl.Series:
    """Ranges of `rows` rows, numbered from 0, a string for each; "" where there are none."""
    frame = pl.DataFrame({"row": ranges.row, "start": ranges.start, "stop": ranges.stop})
    written = frame.group_by("row", maintain_order=True).agg(
        pl.format("{}-{}", "start", "stop").str.join(",")
    )
    every = pl.DataFrame({"row": np.arange(rows)})
    joined = every.join(written.rename({"start": "ranges"}), on="row", how="left", maintain_order="left")
    return joined.get_column("ranges").fill_null("")


def read_ranges(column: pa.Array) -> Ranges:
    """The other way round."""
    written = pl.Series("ranges", column)
    frame = pl.DataFrame({"row": np.arange(len(written)), "ranges": written}).filter(pl.col("ranges") != "")
    parts = frame.with_columns(pl.col("ranges").str.split(",")).explode("ranges")
    ends = parts.with_columns(pl.col("ranges").str.split_exact("-", 1)).unnest("ranges")
    start, stop = (ends.get_column(f"field_{side}").cast(pl.Int64).to_numpy() for side in (0, 1))
    return Ranges(ends.get_column("row").to_numpy(), start, stop)
