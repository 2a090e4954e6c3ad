"""One shard of a measured table: read texts, run the steps, write one Parquet file.

The work of a table is a function from Parquet files to a Parquet file and knows no lake. A document that
breaks a stage is found by halving the batch, and is told by key; it never reaches the file.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.engine.held import take_held
from curate.engine.stage import Batch, Measured, Stage, find_stage
from curate.lake.digest import digest_column
from curate.lake.parquet import write_parquet
from schemas.errors import StageError, UsageError
from schemas.tables import content_schema

MAX_ROWS, MAX_CHARS = 5_000, 8_000_000  # of a shard
_OFFSET = 8  # bytes of an offset of large strings
_BATCH_BYTES = 4_000_000  # of texts that the steps see at once: their kernels hold many times that


def measure_shard(task: dict[str, Any]) -> dict[str, Any]:
    """Run a table's steps over the rows `start` to `stop` of a plan file.

    The plan has the columns key, home_key, file, row and what the steps read; `task` names it, the
    steps (name, stage, options) and the file to write. Returns rows, errors as (key, step, message), and
    seconds per step.
    """
    rows = read_rows(task)
    texts = read_texts(rows)
    steps = [(step["name"], find_stage(step["stage"]), step["options"]) for step in task["steps"]]
    seconds = dict.fromkeys((name for name, _, _ in steps), 0.0)
    columns = {name: _plain(rows.get_column(name).to_arrow()) for name in task["reads"]}
    keys = rows.get_column("key").to_arrow()
    parts = [
        measure_texts(*_part(part, keys, texts, columns), steps, seconds)
        for part in _batches(texts) or [slice(0)]
    ]
    table, errors = (
        pa.concat_tables(part[0] for part in parts),
        [error for part in parts for error in part[1]],
    )
    written = write_parquet(table, table.schema, Path(task["out"])) if len(table) else 0
    return {
        "file": task["out"] if written else "",
        "rows": written,
        "errors": errors,
        "seconds": seconds,
        "done": len(rows),
    }


def _batches(texts: pa.LargeStringArray) -> list[slice]:
    """Parts of about `_BATCH_BYTES`; a longer text is in one with few others."""
    ends = np.cumsum(pc.binary_length(texts).to_numpy())
    begins = np.flatnonzero(np.diff(ends // _BATCH_BYTES, prepend=-1))
    return [slice(*part) for part in itertools.pairwise([*begins.tolist(), len(texts)])]


def _part(
    part: slice, keys: pa.Array, texts: pa.LargeStringArray, columns: dict[str, pa.Array]
) -> tuple[pa.Array, pa.LargeStringArray, dict[str, pa.Array]]:
    return keys[part], _plain(texts[part]), {name: _plain(column[part]) for name, column in columns.items()}


def write_plan(rows: pl.DataFrame, plan: Path) -> None:
    """Write a plan file, in row groups of the size of a shard.

    By Arrow, whose errors tell a full disk; Polars' say only "transport error".
    """
    oldest = pl.CompatLevel.oldest()
    with pq.ParquetWriter(plan, rows.clear().to_arrow(compat_level=oldest).schema) as writer:
        for part in rows.iter_slices(MAX_ROWS):
            writer.write_table(part.to_arrow(compat_level=oldest))


def read_rows(task: dict[str, Any]) -> pl.DataFrame:
    """The rows of the plan file that make this shard."""
    return (
        pl.scan_parquet(task["plan"], glob=False).slice(task["start"], task["stop"] - task["start"]).collect()
    )


def read_texts(rows: pl.DataFrame) -> pa.LargeStringArray:
    """Texts of rows that say where they lie (file, row), in the order of the rows."""
    return _plain(take_rows(rows, ["text"]).column("text").cast(pa.large_string()))


def take_rows(rows: pl.DataFrame, columns: list[str]) -> pa.Table:
    """Columns of the Parquet rows at (file, row), in the order asked; only the row groups concerned are read."""
    parts, order = [], []
    numbered = rows.select("file", "row").with_row_index("position").sort("file", "row")
    for (file,), group in numbered.group_by(["file"], maintain_order=True):
        parts += _take_from(str(file), group.get_column("row").to_numpy(), columns)
        order.append(group.get_column("position").to_numpy())
    if not parts:
        return pa.table({name: pa.array([], pa.large_string()) for name in columns})
    place = np.empty(len(rows), dtype=np.int64)
    place[np.concatenate(order)] = np.arange(len(rows))
    table = pa.concat_tables(parts, promote_options="permissive")
    return table.take(pa.array(place)) if (np.diff(place) != 1).any() else table


def _take_from(file: str, wanted: np.ndarray, columns: list[str]) -> list[pa.Table]:
    """The rows at sorted row numbers of one file, group by group."""
    parquet = pq.ParquetFile(file)
    parts, first = [], 0
    for group in range(parquet.metadata.num_row_groups):
        last = first + parquet.metadata.row_group(group).num_rows
        inside = wanted[np.searchsorted(wanted, first) : np.searchsorted(wanted, last)] - first
        if len(inside):
            read = partial(_read_group, parquet, group, columns)
            parts.append(take_held((file, str(group), *columns), inside, last - first, read))
        first = last
    return parts


def _read_group(parquet: pq.ParquetFile, group: int, columns: list[str]) -> pa.Table:
    return _large(parquet.read_row_group(group, columns=columns))


def _large(table: pa.Table) -> pa.Table:
    """Strings with 64-bit offsets: many row groups together may hold more than 2 GiB."""
    kinds = [pa.large_string() if pa.types.is_string(field.type) else field.type for field in table.schema]
    return table.cast(
        pa.schema([field.with_type(kind) for field, kind in zip(table.schema, kinds, strict=True)])
    )


def measure_texts(
    keys: pa.Array,
    texts: pa.LargeStringArray,
    columns: dict[str, pa.Array],
    steps: list[tuple[str, Stage, dict[str, Any]]],
    seconds: dict[str, float],
) -> tuple[pa.Table, list[tuple[str, str, str]]]:
    """All steps over a batch; on an exception, over its halves, down to the document that broke it."""
    try:
        return _run_steps(keys, texts, columns, steps, seconds), []
    except _BrokenError as broken:
        if len(keys) <= 1:
            errors = [(keys[0].as_py(), broken.step, broken.message)]
            return content_schema([(name, stage.measures) for name, stage, _ in steps]).empty_table(), errors
    half = len(keys) // 2
    parts = [
        measure_texts(*_part(part, keys, texts, columns), steps, seconds)
        for part in (slice(None, half), slice(half, None))
    ]
    return pa.concat_tables([part[0] for part in parts]), [error for part in parts for error in part[1]]


class _BrokenError(Exception):
    def __init__(self, step: str, message: str) -> None:
        super().__init__(message)
        self.step, self.message = step, message


def _run_steps(
    keys: pa.Array,
    texts: pa.LargeStringArray,
    columns: dict[str, pa.Array],
    steps: list[tuple[str, Stage, dict[str, Any]]],
    seconds: dict[str, float],
) -> pa.Table:
    batch, known, structs = Batch(texts, columns), dict(columns), {}
    for name, stage, options in steps:
        begun = time.perf_counter()
        try:
            measured = stage.run(batch, stage.options.model_validate(options))
        except UsageError:  # a model or list that is none, a package that is missing: no document's fault
            raise
        except Exception as error:
            raise _BrokenError(name, f"{type(error).__name__}: {error}"[:500]) from error
        structs[name] = _struct(name, stage, measured, len(texts))
        known.update(
            {f"{name}.{field.name}": structs[name].field(index) for index, field in enumerate(stage.measures)}
        )
        batch = (
            Batch(measured.text, known, dict(measured.found))
            if measured.text is not None
            else Batch(batch.text, known, batch._found)
        )
        seconds[name] += time.perf_counter() - begun
    rewritten = batch.text is not texts
    digests = digest_column(batch.text)
    text = _where_changed(batch.text, texts) if rewritten else pa.nulls(len(texts), pa.large_string())
    arrays = [keys, *structs.values(), digests, text]
    return pa.Table.from_arrays(
        arrays, schema=content_schema([(name, stage.measures) for name, stage, _ in steps])
    )


def _struct(name: str, stage: Stage, measured: Measured, rows: int) -> pa.StructArray:
    """A step's measurements as one struct column, checked: complete, typed, no NULL, no NaN."""
    arrays = []
    for field in stage.measures:
        array = measured.measures.get(field.name)
        if array is None or len(array) != rows:
            raise StageError(
                f"The stage {stage.name} gave no {field.name}, or not one per document.",
                hint="A stage returns one array per measurement it declares.",
            )
        array = _plain(array).cast(field.type)
        bad = array.null_count or (pa.types.is_floating(field.type) and pc.any(pc.is_nan(array)).as_py())
        if bad:
            raise StageError(
                f"The stage {stage.name} gave NULL or NaN for {field.name}.", hint="Empty text gives 0."
            )
        arrays.append(array)
    return pa.StructArray.from_arrays(arrays, fields=list(stage.measures))


def _where_changed(new: pa.LargeStringArray, old: pa.LargeStringArray) -> pa.LargeStringArray:
    """The new text where it differs, else NULL: what did not change is not stored again."""
    return pc.if_else(pc.equal(new, old), pa.scalar(None, pa.large_string()), new)


def _plain(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One chunk, no offset, large strings: the form that kernels read."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks() if array.num_chunks != 1 else array.chunk(0)
    if pa.types.is_string(array.type) or pa.types.is_string_view(array.type):
        array = array.cast(pa.large_string())
    # No part of another: it need not be copied. (`nbytes` leaves out the last offset.)
    if array.offset == 0 and array.get_total_buffer_size() - array.nbytes <= _OFFSET:
        return array
    return pa.concat_arrays([array]) if array.offset == 0 else array.take(pa.array(np.arange(len(array))))


def step_tasks(steps: Iterable[Any]) -> list[dict[str, Any]]:
    """Steps as a task carries them."""
    return [
        {"name": step.name, "stage": step.stage.name, "options": step.options.model_dump(mode="json")}
        for step in steps
    ]


def plan_shards(rows: pl.DataFrame, chars: str = "chars", max_rows: int = MAX_ROWS) -> list[tuple[int, int]]:
    """Cut rows (in order of file and row) into shards of at most 5,000 documents and 8 M characters.

    A document longer than that is a shard of its own.
    """
    lengths = rows.get_column(chars).to_numpy() if chars in rows.columns else np.zeros(len(rows))
    shards, start, total = [], 0, 0
    for position, length in enumerate(lengths.tolist()):
        if position > start and (position - start >= max_rows or total + length > MAX_CHARS):
            shards.append((start, position))
            start, total = position, 0
        total += length
    return [*shards, (start, len(lengths))] if len(lengths) else []
