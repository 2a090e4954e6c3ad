"""Rows of the product of a clean, made in the workers: read from the input again, with their final text, redacted.

A part is a slice of a file, or some documents that are files, with the kept rows in it; a task has a large part or
many small ones, and writes one file: record batches where all rows have the same columns, else lines of JSON.
"""

from __future__ import annotations

import base64
import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.engine.inputs import CHANGED, changed, changed_error
from curate.engine.redact import Redact, redact_batch, redact_dicts
from curate.engine.shard import read_rows, take_rows
from curate.engine.typed import Types
from curate.engine.write import json_lines
from curate.sources.record import Ordinals, Slice
from curate.sources.rows import Rows, form_of, rows_at
from curate.sources.tabular import nested_column, with_column
from schemas.errors import UsageError

_BATCH = 1_000  # documents of files that have no columns of their own
_OPEN_BYTES = 80_000_000  # of texts that are held in memory, as they lie in the corpus
_OWN = ("id", "place", "title", "url", "date", "language", "text", "extra")


def types_task(task: dict[str, Any]) -> dict[str, Any]:
    """Columns and types of the rows of each part; JSON is read for it."""
    rows = read_rows(task)
    found = []
    for part in task["parts"]:
        types = Types()
        _see(types, _of_part(rows, part, task), part, task)
        found.append(base64.b64encode(types.to_bytes()).decode())
    return {"number": task["number"], "types": found}


def rows_task(task: dict[str, Any]) -> dict[str, Any]:
    """Write the rows of some parts to one file, in their order."""
    rows, redact = read_rows(task), _redact(task["redact"])

    def batches() -> Iterator[Rows]:
        for part in task["parts"]:
            yield from _batches(_of_part(rows, part, task), part, task, redact)

    if task["types"]:
        types = Types.of_bytes(Path(task["types"]).read_bytes())
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with (
            pa.OSFile(task["out"], "wb") as sink,
            pa.ipc.new_stream(sink, types.schema, options=options) as writer,
        ):
            for batch in batches():
                writer.write_batch(types.batch(batch))
    else:
        with Path(task["out"]).open("wb") as out:
            for batch in batches():
                out.writelines(json_lines(batch))
    return {"number": task["number"], "file": task["out"]}


def _of_part(rows: pl.DataFrame, part: dict[str, Any], task: dict[str, Any]) -> pl.DataFrame:
    return rows[part["start"] - task["start"] : part["stop"] - task["start"]]


def _see(types: Types, rows: pl.DataFrame, part: dict[str, Any], task: dict[str, Any]) -> None:
    if part["slice"] is None:
        for batch in _documents(rows, [*_OWN, *task["add"]], without="text"):
            types.see_rows(batch)
        return
    piece = _opened(part)
    schema, column = form_of(piece, task["columns"])
    if schema is not None:
        types.see_schema(schema)
        return
    for _, batch in rows_at(piece, rows.get_column("ordinal").to_numpy(), column):
        assert isinstance(batch, list)
        for row in batch:
            _put(row, column, "")
        types.see_rows(batch)


def _opened(part: dict[str, Any]) -> Slice:
    """The slice of a file that is still what was read.

    Raises:
        SourceError: it is another.
    """
    piece = Slice(**part["slice"])
    if not piece.url and changed(Path(piece.path), part["etag"]):
        raise changed_error(part["place"], CHANGED)
    return piece


def _batches(
    rows: pl.DataFrame, part: dict[str, Any], task: dict[str, Any], redact: Redact | None
) -> Iterator[Rows]:
    """Rows with their final text: dicts of JSON and of documents that are files, else record batches."""
    if part["slice"] is None:
        yield from _documents(rows, [*_OWN, *task["add"]])
        return
    piece = _opened(part)
    _, column = form_of(piece, task["columns"])
    wanted = rows.get_column("ordinal").to_numpy()
    for ordinals, batch in rows_at(piece, wanted, column):
        first = int(np.searchsorted(wanted, ordinals[0]))
        places = rows[np.searchsorted(wanted[first:], ordinals) + first]
        if isinstance(batch, list):
            made: Rows = _with_texts(batch, column, partial(TEXTS.take, places), redact)
        else:
            made = _with_text_column(batch, column, TEXTS.take(places), redact)
        yield _with_added(made, places.select(task["add"]), piece)


def _redact(steps: Sequence[dict[str, Any]]) -> Redact | None:
    if not steps:
        return None
    from curate.stages.anonymize import AnonymizeOptions, redact_strings

    options = [AnonymizeOptions(**step) for step in steps]

    def redact(values: pa.LargeStringArray) -> pa.LargeStringArray:
        for each in options:
            values = redact_strings(values, each)
        return values

    return redact


class _Texts:
    """Texts of the corpus by file and row; the files used last stay in memory."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, pa.LargeStringArray] = OrderedDict()

    def take(self, places: pl.DataFrame) -> pa.LargeStringArray:
        """Texts at (file, row), in the order asked."""
        parts, order = [], []
        numbered = places.select("file", "row").with_row_index("at")
        for (file,), group in numbered.group_by(["file"], maintain_order=True):
            parts.append(_taken(self._texts(str(file)), group.get_column("row").to_numpy()))
            order.append(group.get_column("at").to_numpy())
        if len(parts) == 1:
            return parts[0]
        back = np.argsort(np.concatenate(order), kind="stable")
        return pa.concat_arrays(parts).take(pa.array(back))

    def release(self) -> None:
        """Hold none any more."""
        self._open.clear()

    def _texts(self, file: str) -> pa.LargeStringArray:
        if file not in self._open:
            table = pq.read_table(file, columns=["text"])
            self._open[file] = table.column("text").cast(pa.large_string()).combine_chunks()
        self._open.move_to_end(file)
        while len(self._open) > 1 and sum(texts.nbytes for texts in self._open.values()) > _OPEN_BYTES:
            self._open.popitem(last=False)
        return self._open[file]


TEXTS = _Texts()  # of this process: the next task asks for the same files


def _taken(texts: pa.LargeStringArray, places: Ordinals) -> pa.LargeStringArray:
    """Texts at some places; those that follow each other are not copied."""
    if len(places) == places[-1] - places[0] + 1 and (np.diff(places) == 1).all():
        return texts.slice(places[0], len(places))
    return texts.take(pa.array(places))


def _with_added(rows: Rows, added: pl.DataFrame, piece: Slice) -> Rows:
    """Rows with more columns, which the input must not have.

    Raises:
        UsageError: it has one of that name.
    """
    if not added.width:
        return rows
    had = rows.schema.names if isinstance(rows, pa.RecordBatch) else [name for row in rows for name in row]
    if twice := [name for name in added.columns if name in had]:
        raise UsageError(
            f"{piece.shown} has a column {twice[0]} of its own.",
            hint=f"Rename it there, or leave out --add {twice[0]}.",
        )
    if isinstance(rows, pa.RecordBatch):
        for name in added.columns:
            rows = rows.append_column(name, added.get_column(name).to_arrow())
        return rows
    return [{**row, **more} for row, more in zip(rows, added.to_dicts(), strict=True)]


def _documents(
    group: pl.DataFrame, named: Sequence[str], without: str = ""
) -> Iterator[list[dict[str, Any]]]:
    """Documents that are files: what the corpus knows of them, and what their front matter says."""
    columns = [name for name in named if name != without]
    for part in group.iter_slices(_BATCH):
        rows = take_rows(part, columns).to_pylist()
        for row in rows:
            own = json.loads(row.pop("extra"))
            row.update({name: value for name, value in own.items() if name not in row})
            if without:
                row[without] = ""
        yield rows


def _with_texts(
    rows: list[dict[str, Any]], column: str, texts: Callable[[], pa.LargeStringArray], redact: Redact | None
) -> list[dict[str, Any]]:
    """Rows with their texts, which are asked for when the old ones are gone: one may be large."""
    had = [
        _put(row, column, "") is not None for row in rows
    ]  # not the old texts themselves: one may be large
    if redact is not None:
        rows = redact_dicts(rows, redact)
    for row, text, was in zip(rows, texts().to_pylist(), had, strict=True):
        _put(row, column, text if text or was else None)
    return rows


def _put(row: dict[str, Any], column: str, text: str | None) -> Any:
    """Set the text where the row has it; returns what was there. Where there was nothing, nothing is put."""
    path = [column] if column in row or "." not in column else column.split(".")
    place: Any = row
    for name in path[:-1]:
        place = place.get(name) if isinstance(place, dict) else None
    if not isinstance(place, dict) or path[-1] not in place:
        return None
    was = place[path[-1]]
    place[path[-1]] = text
    return was


def _with_text_column(
    batch: pa.RecordBatch, column: str, texts: pa.LargeStringArray, redact: Redact | None
) -> pa.RecordBatch:
    was = nested_column(batch, column)
    if redact is not None:
        batch = redact_batch(with_column(batch, column, pa.nulls(len(batch), was.type)), redact)
    # A text that was NULL is empty to the stages, and stays what it was.
    missing = pc.and_(was.is_null(), pc.equal(texts, ""))
    texts = pc.if_else(missing, pa.scalar(None, pa.large_string()), texts)
    return with_column(batch, column, as_type(texts, was.type))


def as_type(texts: pa.LargeStringArray, kind: pa.DataType) -> pa.Array:
    """Strings as the type of string, or dictionary of strings, that a column has."""
    if not pa.types.is_dictionary(kind):
        return texts.cast(kind)
    encoded = texts.dictionary_encode()
    return pa.DictionaryArray.from_arrays(
        encoded.indices.cast(kind.index_type), encoded.dictionary.cast(kind.value_type)
    )
