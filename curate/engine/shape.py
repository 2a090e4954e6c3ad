"""Kept documents in the shape of their input: its rows, columns and types, with the text that is left.

The input is read again, a bounded batch at a time, and rows are found by their ordinals: so every type
and every value is what it was. Where the recipe redacts, the strings of other columns are redacted too.
The workers make the rows (`curate.engine.shaped`); here they are shared out, and put into their order.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from curate.engine.buckets import Buckets
from curate.engine.checks import anonymize_steps
from curate.engine.fetch import Fetches, standing_pages
from curate.engine.inputs import Inputs, groups
from curate.engine.session import Session
from curate.engine.shaped import TEXTS
from curate.engine.shard import write_plan
from curate.engine.standing import id_ranges, range_of
from curate.engine.typed import Types
from curate.lake.digest import narrow
from curate.lake.runs import Head
from curate.lake.state import PART_ROWS
from curate.sources.files import SLICE_BYTES, split
from curate.sources.readers import kind_of
from curate.sources.rows import KINDS

_NUMBER = r"#(\d+)$"  # of a record; the path may have a # of its own
_TASK_PARTS = 200  # small files that are read at once
_TASK_ROWS = 5_000  # documents that are files


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
        self._inputs = Inputs(session)
        pages = standing_pages(Fetches(session).scan(), session.plan.recipe.sources)
        self._etags = dict(pages.select("url", "etag").iter_rows())
        self._plan = session.work / "shape.parquet"
        rows = self._kept()
        write_plan(rows.select("ordinal", pl.col("file").cast(pl.String), "row", *self._add), self._plan)
        self._added = rows.select(self._add).clear().to_arrow().schema
        self._ordinals, runs = rows.get_column("ordinal"), list(_runs(rows))
        following = iter(runs)
        self._groups = [
            [next(following) for _ in group]
            for group in groups((path, self._etags.get(path, "")) for path, _, _ in runs)
        ]
        self._made: dict[int, list[dict[str, Any]]] = {}

    def _kept(self) -> pl.DataFrame:
        """Kept documents in input order: path, ordinal, where the corpus has them, and the run they belong to.

        A run is a file that has columns, or some files that have none.
        """
        session, head = self._session, self._head
        files = sorted(session.lake.state(session.name, "corpus").files(head.pins[session.key("corpus")]))
        if not files:
            return pl.DataFrame(schema=["run", "ordinal", "file", "row", *self._add])
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
        return found.with_columns(run=run)

    def types(self) -> Types:
        """Columns and types of all rows together; JSON is read for it."""
        types = Types()
        for task, result in self._mapped("curate.engine.shaped:types_task", {}):
            for part, found in zip(task["parts"], result["types"], strict=True):
                types.see(Types.of_bytes(base64.b64decode(found)))
                if part["last"]:
                    types.see_schema(self._added)
        return types

    def files(self, types: Types | None) -> Iterator[Path]:
        """All rows in their order, in files that who takes them may delete: of record batches, or of JSON lines."""
        form = self._session.work / "types.arrow"
        if types is not None:
            form.write_bytes(types.to_bytes())
        typed = {"types": "" if types is None else str(form)}
        for _, result in self._mapped("curate.engine.shaped:rows_task", typed):
            yield Path(result["file"])
        TEXTS.release()  # which this process has if it is its own worker

    def _mapped(self, function: str, more: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """(task, result) of all parts, in their order; objects of a store are here while it is their turn."""
        for group in range(len(self._groups)):
            tasks, done, number = self._tasks(group), dict[int, dict[str, Any]](), 0
            for result in self._session.workers.map(function, [{**task, **more} for task in tasks]):
                done[result["number"]] = result
                while number in done:
                    yield tasks[number], done.pop(number)
                    number += 1

    def _tasks(self, group: int) -> list[dict[str, Any]]:
        """The tasks of a group of runs whose files may lie here at once."""
        session, runs = self._session, self._groups[group]
        self._inputs.fetch((path, self._etags.get(path, "")) for path, _, _ in runs)
        common = {
            "plan": str(self._plan),
            "columns": next(iter(session.plan.recipe.sources.values())).columns,
            "add": self._add,
            "redact": [step.options.model_dump(mode="json") for step in anonymize_steps(session.plan.tables)],
        }
        if group not in self._made:
            parts = [part for run in runs for part in self._parts(*run)]
            self._made[group] = [
                {
                    **common,
                    "number": number,
                    "parts": some,
                    "start": some[0]["start"],
                    "stop": some[-1]["stop"],
                    "out": str(session.work / f"rows-{group}-{number}"),
                }
                for number, some in enumerate(_together(parts))
            ]
        return self._made[group]

    def _parts(self, path: str, start: int, stop: int) -> Iterator[dict[str, Any]]:
        """The rows of a run, in slices of its file, or some documents at a time.

        Raises:
            SourceError: the file is another than the one that was read.
        """
        if not path:
            for first in range(start, stop, _TASK_ROWS):
                last = min(first + _TASK_ROWS, stop)
                yield {"slice": None, "start": first, "stop": last, "last": False, "bytes": SLICE_BYTES}
            return
        etag = self._etags[path]
        piece = self._inputs.opened(path, etag)
        slices, size = split(Path(piece.path)), Path(piece.path).stat().st_size
        ordinals = self._ordinals[start:stop].to_numpy()
        bounds = np.searchsorted(ordinals, [each.first for each in slices[1:]]).tolist()
        with_rows = [
            (each, first, last)
            for each, (first, last) in zip(
                slices, itertools.pairwise([0, *bounds, stop - start]), strict=True
            )
            if first < last
        ]
        for each, first, last in with_rows:
            yield {
                "slice": vars(replace(each, url=piece.url)), "place": path, "etag": etag, "start": start + first, "stop": start + last,
                "last": last == stop - start, "bytes": size // len(slices),
            }  # fmt: skip


def _runs(rows: pl.DataFrame) -> Iterator[tuple[str, int, int]]:
    """Path ("" of documents that are files) and rows, from and to, of each run."""
    start = 0
    for run in rows.get_column("run").rle().to_list():
        yield run["value"], start, start + run["len"]
        start += run["len"]


def _together(parts: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """One large part, or many small ones, at a time."""
    some: list[dict[str, Any]] = []
    total = 0
    for part in parts:
        if some and (total + part["bytes"] > SLICE_BYTES or len(some) >= _TASK_PARTS):
            yield some
            some, total = [], 0
        some.append(part)
        total += part["bytes"]
    if some:
        yield some
