"""Writes rows to files in the format that their name tells; what is not whole is never to be seen."""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic_core import from_json, to_json

from curate.engine.typed import Types, json_of, plain_times
from curate.sources.rows import Rows
from schemas.errors import UsageError

SUFFIXES = (".parquet", ".jsonl", ".jsonl.gz", ".jsonl.zst", ".csv")
STDOUT = "-"
_GROUP_BYTES = 64 * 2**20  # of rows that make a row group
_GROUP_ROWS = 5_000
_PIECE_ROWS = 500  # that are written at once to a shard
_LINES_BYTES = 1 << 20  # of lines that are read at once

_Rows: TypeAlias = pa.RecordBatch | list[bytes]


@dataclass(frozen=True)
class Output:
    """Where rows go: one file, files of about `shard_bytes` beside each other or in a folder, or stdout."""

    path: Path
    suffix: str
    shard_bytes: int = 0
    folder: bool = False
    stdout: bool = False

    @property
    def typed(self) -> bool:
        """Whether all rows have the same columns."""
        return not self.suffix.startswith(".jsonl")

    def shard(self, number: int) -> str:
        """File name of a shard: kept-00000.parquet."""
        return f"{self.stem}-{number:05}{self.suffix}"

    @property
    def stem(self) -> str:
        """The name without what tells the format."""
        return self.path.name if self.folder else self.path.name.removesuffix(self.suffix)

    def is_shard(self, file: Path) -> bool:
        """Whether a file is a shard of this output, of now or of an earlier time."""
        folder = self.path if self.folder else self.path.parent
        name = rf"{re.escape(self.stem)}-\d{{5}}{re.escape(self.suffix)}"
        return file.parent == folder and bool(re.fullmatch(name, file.name))


def check_output(out: str | Path, shard_bytes: int = 0) -> Output:
    """What `-o OUT` means: "-", a folder ("kept/"), or a file whose name tells a known format.

    Raises:
        UsageError: unknown suffix, shards on stdout, or a folder that holds other files.
    """
    if str(out) == STDOUT:
        if shard_bytes:
            raise UsageError("Shards cannot go to stdout.", hint="-o kept/ --shard-size 512MB")
        return Output(Path(STDOUT), ".jsonl", stdout=True)
    path = Path(out).expanduser().absolute()
    suffix = next((suffix for suffix in SUFFIXES if path.name.endswith(suffix)), "")
    folder = not suffix and (str(out).endswith(("/", "\\")) or path.is_dir())
    if not suffix and not folder:
        raise UsageError(
            f"{path.name} tells no format.",
            hint=f"-o NAME ending in {', '.join(SUFFIXES)}; - for stdout; kept/",
        )
    made = Output(path, suffix or ".parquet", shard_bytes, folder)
    if folder:
        _check_folder(made)
    path.parent.mkdir(parents=True, exist_ok=True)
    return made


def _check_folder(output: Output) -> None:
    """Only a folder of shards may be replaced by another."""
    others = [file.name for file in output.path.glob("*") if not output.is_shard(file)]
    if others:
        raise UsageError(
            f"{output.path} holds other files ({others[0]}), and would be replaced as a whole.",
            hint="-o with a folder that is empty, not there, or written by an earlier clean.",
        )


def read_size(size: str, example: str = "--shard-size 512MB") -> int:
    """Bytes of "512MB", "2GiB" or "100000"; 0 for "".

    Raises:
        UsageError: it is no size.
    """
    units = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]i?)?b?\s*", size, re.IGNORECASE)
    if size and (not match or not float(match[1])):
        raise UsageError(f'"{size}" is no size.', hint=example)
    return int(float(match[1]) * units[(match[2] or "").lower()]) if size and match else 0


def write_rows(
    output: Output, types: Callable[[], Types], files: Callable[[Types | None], Iterator[Path]]
) -> int:
    """Write rows to where they go; returns how many. No row makes an empty file.

    `types` is asked where the format has columns, and `files` made by them gives the rows: a stream of record batches
    in each, or, without types, lines of JSON. Files are written under hidden names and moved to their own when all
    are done; a folder is moved as a whole.
    """
    form = types() if output.typed else None
    batches = _read(files(form), typed=output.typed)
    if output.stdout:
        return _to_stdout(batches)
    hidden = output.path.with_name(f".{output.path.name}.{uuid.uuid4().hex[:8]}.tmp")
    hidden.mkdir()
    try:
        rows = _write_files(output, hidden, form.schema if form else None, batches)
        _publish(output, hidden)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    return rows


def _read(files: Iterator[Path], *, typed: bool) -> Iterator[_Rows]:
    """The rows of files, which are deleted when they are read."""
    for file in files:
        if typed:
            with pa.OSFile(str(file)) as source, pa.ipc.open_stream(source) as batches:
                yield from batches
        else:
            with file.open("rb") as lines:
                while some := lines.readlines(_LINES_BYTES):
                    yield some
        file.unlink()


def _to_stdout(batches: Iterator[_Rows]) -> int:
    """Lines on stdout; where nobody reads any more (`| head`) the rest is not written."""
    rows = 0
    try:
        for batch in batches:
            assert isinstance(batch, list)
            sys.stdout.buffer.writelines(batch)
            rows += len(batch)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # Python writes what it still holds when it ends, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return rows


def _write_files(output: Output, folder: Path, schema: pa.Schema | None, batches: Iterator[_Rows]) -> int:
    rows = number = 0
    file = _open(output, folder / output.shard(0), schema)
    try:
        for batch in _pieces(batches) if output.shard_bytes else batches:
            if output.shard_bytes and file.bytes() >= output.shard_bytes:
                file.close()
                number += 1
                file = _open(output, folder / output.shard(number), schema)
            file.write(batch)
            rows += len(batch)
    finally:
        file.close()
    return rows


def _pieces(batches: Iterator[_Rows]) -> Iterator[_Rows]:
    """Batches of so few rows that a shard ends near its size."""
    for batch in batches:
        for start in range(0, len(batch), _PIECE_ROWS):
            end = min(start + _PIECE_ROWS, len(batch))
            yield batch.slice(start, end - start) if isinstance(batch, pa.RecordBatch) else batch[start:end]


def _publish(output: Output, hidden: Path) -> None:
    """Move what is written to its place."""
    if output.folder:
        before = hidden.with_name(f"{hidden.name}.before")
        with suppress(FileNotFoundError):
            output.path.rename(before)
        hidden.rename(output.path)
        shutil.rmtree(before, ignore_errors=True)
    elif not output.shard_bytes:
        (hidden / output.shard(0)).replace(output.path)
    else:
        made = {file.name for file in hidden.iterdir()}
        for name in sorted(made):
            (hidden / name).replace(output.path.with_name(name))
        for file in output.path.parent.glob(f"*{output.suffix}"):
            if output.is_shard(file) and file.name not in made:
                file.unlink()


class _TextFile:
    """Lines or (with columns) CSV, compressed as the name says."""

    def __init__(self, path: Path, schema: pa.Schema | None, compression: str | None) -> None:
        self._schema, self._first = schema, True
        self._raw = path.open("wb")
        self._out: Any = pa.CompressedOutputStream(self._raw, compression) if compression else self._raw

    def write(self, rows: _Rows) -> None:
        if isinstance(rows, pa.RecordBatch):
            self._out.write(_csv(rows, header=self._first))
        else:
            for line in rows:
                self._out.write(line)
        self._first = False

    def bytes(self) -> int:
        self._out.flush()  # what the compressor holds
        return self._raw.tell()

    def close(self) -> None:
        if self._schema is not None and self._first:
            self._out.write(_csv(pa.RecordBatch.from_pylist([], self._schema), header=True))
        self._out.close()
        self._raw.close()


class _ParquetFile:
    """Row groups of a few thousand rows or 64 MB."""

    def __init__(self, path: Path, schema: pa.Schema, group_bytes: int) -> None:
        self._raw, self._group_bytes = path.open("wb"), group_bytes
        if not len(schema):
            schema = pa.schema([("id", pa.string()), ("text", pa.string())])
        self._writer = pq.ParquetWriter(self._raw, schema, compression="zstd", compression_level=3)
        self._waiting: list[pa.RecordBatch] = []

    def write(self, rows: _Rows) -> None:
        self._waiting.append(rows)
        size = sum(batch.nbytes for batch in self._waiting)
        if size >= self._group_bytes or sum(map(len, self._waiting)) >= _GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.Table.from_batches(self._waiting))
        self._waiting = []

    def bytes(self) -> int:
        return self._raw.tell()

    def close(self) -> None:
        self._flush()
        self._writer.close()
        self._raw.close()


def _open(output: Output, path: Path, schema: pa.Schema | None) -> _TextFile | _ParquetFile:
    if output.suffix == ".parquet":
        return _ParquetFile(path, schema, min(_GROUP_BYTES, output.shard_bytes or _GROUP_BYTES))
    return _TextFile(path, schema, {"gz": "gzip", "zst": "zstd"}.get(output.suffix.rsplit(".", 1)[-1]))


def json_lines(rows: Rows) -> Iterator[bytes]:
    """Rows as JSON lines, piece by piece: binary as base64, times as ISO 8601, decimals as strings."""
    if isinstance(rows, pa.RecordBatch):
        rows = plain_times(rows).to_pylist(maps_as_pydicts="lossy")
    for row in rows:
        yield to_json(row, inf_nan_mode="null", bytes_mode="base64")
        yield b"\n"


def _csv(batch: pa.RecordBatch, *, header: bool) -> bytes:
    """CSV knows no lists and structs, which become JSON, and no bytes and durations, written as in JSON."""
    for position, field in enumerate(batch.schema):
        if _has_no_csv(field.type):
            column = plain_times(batch.select([position])).column(0)
            values = [None if value is None else _unquoted(json_of(value)) for value in column.to_pylist()]
            batch = batch.set_column(position, field.name, pa.array(values, pa.large_string()))
    out = io.BytesIO()
    pl.DataFrame(pa.Table.from_batches([batch])).write_csv(out, include_header=header)
    return out.getvalue()


def _has_no_csv(kind: pa.DataType) -> bool:
    types = pa.types
    tests = (
        types.is_nested,
        types.is_binary,
        types.is_large_binary,
        types.is_fixed_size_binary,
        types.is_duration,
    )
    return any(test(kind) for test in tests)


def _unquoted(json: str) -> str:
    return str(from_json(json)) if json.startswith('"') else json
