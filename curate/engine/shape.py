"""Kept documents in the shape of their input: its rows, columns and types, with the text that is left.

The input is read again, a bounded batch at a time, and rows are found by their ordinals: so every type
and every value is what it was. Where the recipe redacts, the strings of other columns are redacted too.
"""

from __future__ import annotations

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

from curate.engine.buckets import Buckets
from curate.engine.checks import anonymize_steps
from curate.engine.fetch import Fetches, standing_pages
from curate.engine.inputs import Inputs
from curate.engine.redact import Redact, redact_batch, redact_dicts
from curate.engine.session import Session
from curate.engine.shard import take_rows
from curate.engine.standing import id_ranges, range_of
from curate.engine.typed import Types
from curate.lake.digest import narrow
from curate.lake.runs import Head
from curate.lake.state import PART_ROWS
from curate.sources.readers import kind_of
from curate.sources.record import Ordinals, Slice
from curate.sources.rows import KINDS, Rows, form_of, rows_at
from curate.sources.tabular import nested_column, with_column
from schemas.errors import UsageError

_BATCH = 1_000  # documents of files that have no columns of their own
_OPEN_BYTES = 80_000_000  # of texts that are held in memory, as they lie in the corpus
_NUMBER = r"#(\d+)$"  # of a record; the path may have a # of its own
_OWN = ("id", "place", "title", "url", "date", "language", "text", "extra")


def in_input_order(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with a `place` (path#number) in the order of files and of records in them."""
    return rows.sort(
        pl.col("place").str.replace(_NUMBER, ""), pl.col("place").str.extract(_NUMBER).cast(pl.Int64)
    )


def in_parts(rows: pl.LazyFrame) -> list[pl.Series]:
    """Ids (as numbers) of rows with a `place` in that order, some in each; no more is held of them than is sorted by."""
    number = pl.col("place").str.extract(_NUMBER).cast(pl.Int64)
    path = pl.col("place").str.replace(_NUMBER, "").cast(pl.Categorical)
    parts = [
        rows.filter(ids)
        .select("id", path=path, number=number)
        .collect()
        .with_columns(pl.col("id").map_batches(narrow, pl.UInt128))
        for ids in id_ranges(rows.select(pl.len()).collect().item())
    ]
    ids = pl.concat(parts).sort("path", "number").get_column("id")
    return [ids.slice(start, PART_ROWS) for start in range(0, len(ids), PART_ROWS)]


class Shape:
    """The product of a clean, as it is to be written."""

    def __init__(self, session: Session, head: Head, add: Sequence[str] = ()) -> None:
        self._session, self._head, self._add = session, head, list(add)
        self._columns = next(iter(session.plan.recipe.sources.values())).columns
        self._inputs = Inputs(session)
        pages = standing_pages(Fetches(session).scan(), session.plan.recipe.sources)
        self._etags = dict(pages.select("url", "etag").iter_rows())
        self._redact = _redact(session)
        self._rows = self._kept()

    def _kept(self) -> pl.DataFrame:
        """Kept documents in input order: path, ordinal, where the corpus has them, and the run they belong to.

        A run is a file that has columns, or some files that have none.
        """
        session, head = self._session, self._head
        files = sorted(session.lake.state(session.name, "corpus").files(head.pins[session.key("corpus")]))
        if not files:
            return pl.DataFrame()
        folder = session.lake.root / session.name / "corpus"
        # The place that the corpus has may be redacted.
        places = session.lake.read(session.name, "verdicts/documents", head).select("id", "place")
        number = pl.col("place").str.extract(_NUMBER).cast(pl.Int64)
        ranges = id_ranges(places.select(pl.len()).collect().item())
        with Buckets(session.work) as corpus:
            for file in files:
                rows = pl.read_parquet(
                    folder / file, columns=["id", *self._add], glob=False, row_index_name="row"
                )
                rows = rows.with_columns(file=pl.lit(str(folder / file)))
                corpus.add(rows, range_of(rows.get_column("id"), len(ranges)))
            parts = [
                corpus.read(part)
                .join(places.filter(ids).collect(), on="id")
                .select(
                    pl.col("row").cast(pl.Int64),
                    pl.col("file").cast(pl.Categorical),
                    *self._add,
                    path=pl.col("place").str.replace(_NUMBER, "").cast(pl.Categorical),
                    ordinal=number - 1,
                )
                for part, ids in enumerate(ranges)
            ]
        found = pl.concat(parts).sort("path", "ordinal")
        known = found.get_column("path").unique().cast(pl.String)
        with_columns = [path for path in known if kind_of(Path(path)) in KINDS]
        run = (
            pl.when(pl.col("path").is_in(with_columns))
            .then("path")
            .otherwise(pl.lit("").cast(pl.Categorical))
        )
        return found.with_columns(run=run).with_columns(at=pl.col("run").rle_id())

    def _runs(self) -> Iterator[tuple[str, pl.DataFrame]]:
        for _, group in self._rows.group_by("at", maintain_order=True) if len(self._rows) else ():
            yield group.item(0, "run"), group

    def batches(self) -> Iterator[Rows]:
        """Rows with their final text: dicts of JSON and of documents that are files, else record batches."""
        texts = _Texts()
        for path, group in self._runs():
            if not path:
                yield from _documents(group, [*_OWN, *self._add])
                continue
            with self._inputs.opened(path, self._etags[path]) as piece:
                yield from self._of_file(piece, group, texts)

    def _of_file(self, piece: Slice, group: pl.DataFrame, texts: _Texts) -> Iterator[Rows]:
        schema, column = form_of(piece, self._columns)
        wanted = group.get_column("ordinal").to_numpy()
        for ordinals, rows in rows_at(piece, wanted, column):
            first = int(np.searchsorted(wanted, ordinals[0]))
            places = np.searchsorted(wanted[first:], ordinals) + first
            if schema is None:
                made = _with_texts(rows, column, partial(texts.take, group[places]), self._redact)
            else:
                made = _with_text_column(rows, column, texts.take(group[places]), self._redact)
            yield _with_added(made, group[places].select(self._add), piece)

    def types(self) -> Types:
        """Columns and types of all rows together; JSON is read for it."""
        types = Types()
        for path, group in self._runs():
            if not path:
                for rows in _documents(group, [*_OWN, *self._add], without="text"):
                    types.see_rows(rows)
                continue
            with self._inputs.opened(path, self._etags[path]) as piece:
                schema, column = form_of(piece, self._columns)
                if schema is not None:
                    types.see_schema(schema)
                    types.see_schema(self._rows.select(self._add).to_arrow().schema)
                    continue
                for _, rows in rows_at(piece, group.get_column("ordinal").to_numpy(), column):
                    assert isinstance(rows, list)
                    for row in rows:
                        _put(row, column, "")
                    types.see_rows(rows)
                types.see_schema(self._rows.select(self._add).to_arrow().schema)
        return types


def _redact(session: Session) -> Redact | None:
    steps = anonymize_steps(session.plan.tables)
    if not steps:
        return None
    from curate.stages.anonymize import AnonymizeOptions, redact_strings

    options = [AnonymizeOptions(**step.options.model_dump(mode="json")) for step in steps]

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

    def _texts(self, file: str) -> pa.LargeStringArray:
        if file not in self._open:
            table = pq.read_table(file, columns=["text"])
            self._open[file] = table.column("text").cast(pa.large_string()).combine_chunks()
        self._open.move_to_end(file)
        while len(self._open) > 1 and sum(texts.nbytes for texts in self._open.values()) > _OPEN_BYTES:
            self._open.popitem(last=False)
        return self._open[file]


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
