"""A global shuffle in bounded memory: rows in the order of a hash, with payloads that are far larger than memory.

Pass 1 reads the payload files once, part by part, and writes what it read sorted into *cells*: stretches of the
final order of about 16 MB. Pass 2 makes a shard of its cells, one after the other, and hands it to the kind's
writer. A worker holds one part (64 MB) or one shard; the driver holds no payload at all.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.engine.session import Session
from curate.engine.shard import read_rows, take_rows
from curate.export.draws import draw
from curate.export.kinds import KINDS
from curate.export.measure import cut
from schemas.export import EXPORTS, ExportOptions

_CELL, _PART = 16_000_000, 64_000_000  # bytes of payload
_ROW = 64  # bytes that a row counts beside its payload: small rows must not make large cells
_PART_ROWS = 200_000
_META = ("id", "source", "language", "license", "epoch", "tokens")
_AT_ONCE = 100_000  # rows of a plan that are turned into Arrow together
_READ = 2**20


@dataclass(frozen=True)
class Shard:
    """A file of the result (or several, one for each format)."""

    split: str
    number: int
    of: int
    rows: int

    @property
    def name(self) -> str:
        """As Hugging Face names shards."""
        return f"{self.split}-{self.number:05d}-of-{self.of:05d}"


@dataclass(frozen=True)
class ShufflePlan:
    """Where every row goes: a plan file of the first pass, one of the second, and the shards."""

    shards: list[Shard]
    rows: int
    partition: list[dict[str, Any]]
    write: list[dict[str, Any]]


def plan_shuffle(session: Session, rows: pl.DataFrame, options: ExportOptions) -> ShufflePlan:
    """Order rows and cut them into shards; writes the plan files.

    `rows` have id, ordinal, source, language, license, tokens, bytes, split, copies, file, row.
    """
    ordered = _ordered(rows, options.seed)
    ordered, shards = _sharded(ordered, options.shard_mb * 1_000_000)
    by_file = ordered.sort("file", "row", "place")
    plan, cells = session.work / "export-plan.parquet", session.work / "export-cells.parquet"
    parts = cut(by_file.get_column("weight").to_numpy(), _PART, _PART_ROWS)
    _write_frame(by_file.select(*_META, "file", "row", "place", "cell"), plan)
    partition = [
        {
            "plan": str(plan),
            "start": start,
            "stop": stop,
            "out": str(session.work / f"export-part-{number}.arrow"),
        }
        for number, (start, stop) in enumerate(parts)
    ]
    found = _cells(by_file, parts)
    _write_frame(found, cells)
    borders = np.searchsorted(found.get_column("shard").to_numpy(), np.arange(len(shards) + 1)).tolist()
    write = [
        {
            "plan": str(cells),
            "start": start,
            "stop": stop,
            "parts": str(session.work / "export-part-{}.arrow"),
        }
        for start, stop in pairwise(borders)
    ]
    return ShufflePlan(shards, len(ordered), partition, write)


def _ordered(rows: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Every copy of every row that is taken, in the order of the result."""
    taken = rows.filter(pl.col("copies") > 0)
    if taken.get_column("copies").max() == 1:
        copies = taken.with_columns(epoch=pl.lit(0, pl.Int32))
    else:
        epochs = pl.int_ranges(0, pl.col("copies"), dtype=pl.Int32)
        copies = taken.with_columns(epoch=epochs).explode("epoch")
    order = draw(
        seed, "order", copies.get_column("id"), copies.get_column("ordinal"), copies.get_column("epoch")
    )
    ordered = (
        copies.drop("copies")
        .with_columns(_order=pl.Series(order))
        .sort("split", "_order", "id", "ordinal", "epoch")
    )
    return ordered.drop("_order").with_columns(
        place=pl.int_range(pl.len(), dtype=pl.UInt32), weight=pl.col("bytes") + _ROW
    )


def _sharded(ordered: pl.DataFrame, size: int) -> tuple[pl.DataFrame, list[Shard]]:
    """Adds shard and cell, numbered through all splits: shards of a split are about equally large."""
    before = (pl.col("weight").cum_sum() - pl.col("weight")).over("split")
    whole = pl.col("weight").sum().over("split")
    wanted = (whole + size - 1) // size
    # A row that is larger than a shard leaves numbers out: they are counted again.
    cut_at = pl.struct("split", before // ((whole + wanted - 1) // wanted)).rle_id().alias("shard")
    ordered = ordered.with_columns(cut_at)
    inside = (pl.col("weight").cum_sum() - pl.col("weight")).over("shard")
    ordered = ordered.with_columns(cell=pl.struct("shard", inside // _CELL).rle_id())
    counted = ordered.group_by("shard", "split", maintain_order=True).agg(rows=pl.len())
    of = dict(counted.group_by("split").len().iter_rows())
    numbers: dict[str, int] = defaultdict(int)
    shards = []
    for _, split, count in counted.iter_rows():
        shards.append(Shard(split, numbers[split], of[split], count))
        numbers[split] += 1
    return ordered, shards


def _cells(by_file: pl.DataFrame, parts: list[tuple[int, int]]) -> pl.DataFrame:
    """Which batch of which part holds rows of a cell: shard, part, cell, batch; in order of shard and part."""
    numbers = np.repeat(np.arange(len(parts), dtype=np.uint32), [stop - start for start, stop in parts])
    found = by_file.select("shard", "cell", part=pl.Series(numbers)).unique().sort("part", "cell")
    return found.with_columns(batch=pl.int_range(pl.len(), dtype=pl.UInt32).over("part")).sort(
        "shard", "part", "cell"
    )


def _write_frame(frame: pl.DataFrame, path: Path) -> None:
    """A plan file, some rows at a time: labels become strings on the way."""
    labels = [name for name, kind in frame.schema.items() if kind in (pl.Categorical, pl.Enum)]
    with pq.ParquetWriter(path, _plain(frame.head(0), labels).schema, compression="zstd") as writer:
        for part in frame.iter_slices(_AT_ONCE):
            writer.write_table(_plain(part, labels), row_group_size=_AT_ONCE)


def _plain(frame: pl.DataFrame, labels: list[str]) -> pa.Table:
    return frame.with_columns(pl.col(labels).cast(pl.String)).to_arrow(compat_level=pl.CompatLevel.oldest())


def partition_part(task: dict[str, Any]) -> dict[str, Any]:
    """Pass 1: read the payloads of rows `start` to `stop` of a plan, and write a batch for each cell."""
    rows = read_rows(task)
    first = rows.select(pl.struct("file", "row").rle_id().alias("at"), "cell", "place")
    order = first.with_row_index("number").sort("cell", "place")
    payload = take_rows(rows.select("file", "row").unique(maintain_order=True), task["columns"] + task["own"])
    payload = payload.combine_chunks().take(order.get_column("at").to_arrow())
    table = rows.select(*_META, "cell", "place")[order.get_column("number")].to_arrow(
        compat_level=pl.CompatLevel.oldest()
    )
    for name in task["columns"] + task["own"]:
        column = (
            payload.column(name) if name in payload.column_names else pa.nulls(len(rows), pa.large_string())
        )
        table = table.append_column(name if name in task["columns"] else f"own.{name}", column)
    borders = np.flatnonzero(np.diff(order.get_column("cell").to_numpy(), prepend=-1, append=-1)).tolist()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.OSFile(task["out"], "wb") as sink, pa.ipc.new_file(sink, table.schema, options=options) as writer:
        for start, stop in pairwise(borders):
            writer.write_batch(table.slice(start, stop - start).combine_chunks().to_batches()[0])
    return {"rows": len(rows)}


def write_shard(task: dict[str, Any]) -> dict[str, Any]:
    """Pass 2: gather the cells of a shard, and write it; returns what was written, and the files."""
    rows = pa.concat_tables(_gathered(task)).drop_columns(["cell", "place"])
    out = Path(task["out"])
    options = EXPORTS[task["kind"]].model_validate(task["options"])
    written = KINDS[task["kind"]].writer.write(rows, options, out, task["context"])
    files = [_kept(file) for file in sorted(out.parent.glob(f"{out.name}.*"))]
    return {"shard": task["shard"], "rows": len(rows), "written": written.to_json(), "files": files}


def _gathered(task: dict[str, Any]) -> Iterator[pa.Table]:
    """The cells of a shard in their order, each sorted."""
    cells: dict[int, list[pa.RecordBatch]] = defaultdict(list)
    for (part,), group in read_rows(task).group_by("part", maintain_order=True):
        with pa.OSFile(task["parts"].format(part)) as source, pa.ipc.open_file(source) as reader:
            for cell, batch in group.select("cell", "batch").iter_rows():
                cells[cell].append(reader.get_batch(batch))
    for cell in sorted(cells):
        table = pa.Table.from_batches(cells.pop(cell)).combine_chunks()
        yield table.take(pa.array(np.argsort(table.column("place").to_numpy(), kind="stable")))


def _kept(path: Path) -> dict[str, Any]:
    """Name, size and hash of a file, which is on the disk for good then."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(_READ):
            digest.update(data)
        os.fsync(file.fileno())
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": digest.hexdigest()}
