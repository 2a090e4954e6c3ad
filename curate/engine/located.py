"""Rows of parts by id, brought into the order in which their documents lie: texts are read file by file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack

import numpy as np
import polars as pl

from curate.engine.buckets import Buckets, places_in_parts
from curate.engine.session import Session
from curate.engine.standing import home_content
from curate.lake.content import Content
from curate.lake.runs import Head
from curate.lake.state import PART_ROWS

_DOCUMENTS = "documents"


def located_parts(
    session: Session, head: Head, parts: Iterable[pl.DataFrame], made: Mapping[str, Content] | None = None
) -> Iterator[pl.DataFrame]:
    """Rows with where their texts lie (file, row), in order of their documents; what is held is about `PART_ROWS`.

    Rows have document_key, home and home_key; `made` is content that is a home and not published yet.
    """
    with ExitStack() as stack:
        given, count = stack.enter_context(Buckets(session.work)), 0
        homes = {_DOCUMENTS}
        for number, rows in enumerate(parts):
            given.add(rows, number)
            homes.update(rows.get_column("home").unique())
            count = number + 1
        given.settle()

        def places_of(home: str) -> Buckets:
            content = (made or {}).get(home) or home_content(session, head, home)
            keys = (_keys(given.read(number), home) for number in range(count))
            return stack.enter_context(places_in_parts(session.work, content, keys))

        places = {home: places_of(home) for home in sorted(homes)}
        groups = _groups(places[_DOCUMENTS], count)
        placed = stack.enter_context(Buckets(session.work))
        for number in range(count):
            rows = _with_places(
                given.read(number), {home: found.read(number) for home, found in places.items()}
            )
            placed.add(rows, groups[rows.get_column("_file").to_numpy()])
        placed.settle()
        for group in range(groups[-1] + 1 if len(groups) else 0):
            yield placed.read(group).sort("_file", "_row").drop("_file", "_row")


def _keys(rows: pl.DataFrame, home: str) -> pl.Series:
    """Of all documents, and of the texts that lie in another home."""
    if home == _DOCUMENTS:
        return rows.get_column("document_key")
    return rows.filter(home=home).get_column("home_key")


def _groups(places: Buckets, count: int) -> np.ndarray:
    """(files,) number of the group of each file: files that follow each other and hold about `PART_ROWS` together."""
    files = np.concatenate([places.read(number).get_column("number").to_numpy() for number in range(count)])
    rows = np.bincount(files)
    groups: np.ndarray = (np.cumsum(rows) - rows) // PART_ROWS
    return groups


def _with_places(rows: pl.DataFrame, places: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Rows with the place of their text, and of their document (_file: number, _row)."""
    document = places[_DOCUMENTS].select(document_key="key", _file="number", _row="row")
    homes = [found.select("file", "row", home=pl.lit(home), home_key="key") for home, found in places.items()]
    return rows.join(document, on="document_key").join(pl.concat(homes), on=["home", "home_key"])
