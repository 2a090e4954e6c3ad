"""How many bytes a row's payload has, and which evaluation files it shares a run of words with: one pass over texts."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.engine.session import Session
from curate.engine.shard import read_rows, take_rows, write_plan
from curate.export.evaluation import grams

_SHARD_CHARS, _SHARD_ROWS = 16_000_000, 50_000
_NUMBER = 8  # bytes
_ESCAPES = r"\\[nrt]"  # of JSON: they stand between words


def measure(
    session: Session, shown: str, rows: pl.DataFrame, columns: list[str], texts: list[str], runs: pl.DataFrame, ngram: int
) -> pl.DataFrame:  # fmt: skip
    """Adds `bytes` (of the strings in `columns`) and `hits` (numbers of evaluation files), in order of file and row.

    `rows` have file, row and chars. `runs` are those of the evaluation files, compared with the columns `texts`.
    `shown` is what the progress is told under.
    """
    rows = rows.sort("file", "row")
    plan, known = session.work / "export-measure.parquet", session.work / "export-runs.parquet"
    write_plan(rows.select(pl.col("file").cast(pl.String), "row"), plan)
    if len(runs):
        pq.write_table(runs.to_arrow(), known)
    common = {
        "plan": str(plan),
        "columns": columns,
        "texts": texts,
        "ngram": ngram,
        "runs": str(known) * bool(len(runs)),
    }
    weights = rows.get_column("chars").cast(pl.Int64).to_numpy()
    tasks = [
        {
            **common,
            "start": start,
            "stop": stop,
            "out": str(session.work / f"export-measured-{start}.parquet"),
        }
        for start, stop in cut(weights, _SHARD_CHARS, _SHARD_ROWS)
    ]
    for result in session.workers.map("curate.export.measure:measure_shard", tasks):
        session.progress.advance(shown, result["rows"], note="looking at texts")
    found = [pl.read_parquet(str(task["out"]), glob=False) for task in tasks]
    for task in tasks:
        Path(str(task["out"])).unlink()
    return pl.concat([rows, pl.concat(found)], how="horizontal") if found else rows


def cut(weights: npt.NDArray[np.int64], most: int, most_rows: int) -> list[tuple[int, int]]:
    """Cut rows into stretches (start, stop) of about `most` weight and at most about `most_rows` rows."""
    share = np.cumsum(weights / most + 1 / most_rows)
    borders = np.flatnonzero(np.diff(np.floor(share))) + 1
    edges = [0, *borders.tolist(), len(weights)]
    return [(start, stop) for start, stop in pairwise(edges) if stop > start]


def measure_shard(task: dict[str, Any]) -> dict[str, Any]:
    """Measure rows `start` to `stop` of a plan file (file, row)."""
    rows = read_rows(task)
    columns, texts = task["columns"], task["texts"] if task["runs"] else []
    table = pl.DataFrame(take_rows(rows, sorted({*columns, *texts})))
    sizes = [_bytes(table.get_column(name)) for name in columns if name in table.columns]
    size = pl.sum_horizontal(sizes) if sizes else pl.lit(0)
    found = (
        table.select(size.cast(pl.Int64).alias("bytes"))
        if sizes
        else pl.DataFrame({"bytes": [0] * len(rows)})
    )
    hits = pl.Series("hits", [[]] * len(rows), dtype=pl.List(pl.UInt32))
    if texts:
        hits = _hits(table.select(texts), pl.read_parquet(task["runs"], glob=False), task["ngram"])
    pq.write_table(found.with_columns(hits).to_arrow(compat_level=pl.CompatLevel.oldest()), task["out"])
    return {"rows": len(rows)}


def _bytes(column: pl.Series) -> pl.Series:
    if column.dtype == pl.String:
        return column.str.len_bytes().fill_null(0)
    if column.dtype == pl.List(pl.String):
        return column.list.eval(pl.element().str.len_bytes()).list.sum().fill_null(0)
    return pl.repeat(_NUMBER, len(column), eager=True, dtype=pl.Int64).alias(column.name)


def _hits(table: pl.DataFrame, runs: pl.DataFrame, ngram: int) -> pl.Series:
    """Of each row the numbers of the evaluation files that it shares a run of words with, sorted."""
    found = []
    for column in table.get_columns():
        strings = pl.DataFrame(
            {"row": pl.int_range(len(table), dtype=pl.UInt32, eager=True), "string": column}
        )
        if column.dtype != pl.String:
            strings = strings.explode("string")
        if column.name == "extra":
            strings = strings.with_columns(pl.col("string").str.replace_all(_ESCAPES, " "))
        texts = strings.get_column("string").fill_null("").to_arrow().cast(pa.large_string())
        shared = grams(texts, ngram).join(runs, on="gram").select("text", "file").unique()
        found.append(shared.select(strings.get_column("row").gather(shared.get_column("text")), "file"))
    by_row = pl.concat(found).unique().sort("row", "file").group_by("row").agg(hits="file")
    every = pl.DataFrame({"row": pl.int_range(len(table), dtype=pl.UInt32, eager=True)})
    joined = every.join(by_row, on="row", how="left", maintain_order="left")
    return joined.with_columns(pl.col("hits").fill_null([])).get_column("hits")
