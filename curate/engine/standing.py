"""What stands before a table: the documents that reach it, with all that rules and keys may name."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import polars as pl

from curate.engine.buckets import found_in_parts
from curate.engine.plan import Plan, PlannedTable
from curate.engine.session import Session
from curate.lake.content import Content
from curate.lake.runs import Head
from curate.lake.state import PART_ROWS

_CONTENT = ("title", "author", "date", "declared_language", "chars")
_PLACE = ("id", "digest", "source", "place", "url", "license", "access")


def standing(
    session: Session,
    head: Head,
    table: str,
    judged: Mapping[str, pl.DataFrame] | None = None,
    steps: Collection[str] | None = None,
) -> pl.DataFrame:
    """Documents that reach `table`, as the tables before it are pinned in `head`.

    `judged` holds verdicts of tables that stand in for the pinned ones (a preview's); `steps` names the earlier
    steps whose measurements are wanted (all if it is None).

    Columns: those of the document and the user's own; one struct per earlier step; document_key; and of
    the current text its digest (text_digest) and where it lies (home: table, home_key: row).
    """
    before = [_Earlier.of(session, head, table, steps) for table in session.plan.before(table)]
    read = Verdicts(session, head, judged or {})
    found = {
        earlier.name: earlier.content.scan().select(earlier.columns) for earlier in before if earlier.columns
    }
    return _standing(session, before, read, found).collect()


def standing_parts(
    session: Session, head: Head, table: str, steps: Collection[str] | None = None
) -> Iterator[pl.DataFrame]:
    """`standing` in parts, one for each of `id_ranges`, in order of ids; what is held is one part."""
    ranges = id_ranges(reaching(session, head, table))
    before = [_Earlier.of(session, head, table, steps) for table in session.plan.before(table)]
    verdicts = Verdicts(session, head, {})

    def reading(ids: pl.Expr) -> Callable[[str], pl.LazyFrame]:
        reach = verdicts(before[-1].name).filter(ids).select("id").collect().to_series()
        # By id, which the reader of Parquet is told: of the many others nothing else is read.
        among = ids & pl.col("id").is_in(reach.implode())
        return lambda name: verdicts(name).filter(among)

    def keys_of(name: str) -> Iterator[pl.Series]:
        return (reading(ids)(name).select("key").collect().to_series() for ids in ranges)

    with ExitStack() as stack:
        buckets = {
            earlier.name: stack.enter_context(
                found_in_parts(session.work, earlier.content, earlier.columns, keys_of(earlier.name))
            )
            for earlier in before
            if earlier.columns
        }
        for number, ids in enumerate(ranges):
            found = {name: rows.read(number).lazy() for name, rows in buckets.items()}
            yield _standing(session, before, reading(ids), found).collect().sort("id")


@dataclass(frozen=True)
class _Earlier:
    """A table before another, and which columns of its content are wanted: none of one that compares documents."""

    name: str
    content: Content
    columns: list[str]

    @classmethod
    def of(cls, session: Session, head: Head, table: PlannedTable, steps: Collection[str] | None) -> _Earlier:
        fingerprint = session.fingerprint(table, head)
        if table.kind == "documents":
            content = session.lake.content(table.name, fingerprint)
            return cls(table.name, content, ["key", *_CONTENT, *(["extra"] if session.plan.keep else [])])
        content = session.lake.content(table.name, fingerprint, table.schema)
        if table.kind == "deduplicated":
            return cls(table.name, content, [])
        names = [name for name, _ in table.measured if steps is None or name in steps]
        return cls(table.name, content, ["key", *names, "digest_out"])


def _standing(
    session: Session,
    before: Sequence[_Earlier],
    read: Callable[[str], pl.LazyFrame],
    found: Mapping[str, pl.LazyFrame],
) -> pl.LazyFrame:
    """Verdicts of each table, joined with what was `found` of their keys in its content."""
    frame = _standing_documents(session, read("documents"), found["documents"])
    for earlier in before[1:]:
        if earlier.columns:
            frame = _after_measured(earlier.name, frame, read(earlier.name), found[earlier.name])
        else:
            frame = frame.join(read(earlier.name).select("id"), on="id", how="semi")
    return frame


def id_borders(rows: int) -> list[int]:
    """First 32 bits of ids between which about `PART_ROWS` of so many documents lie, from 0 to 2**32; ids are hashes."""
    count = max(1, math.ceil(rows / PART_ROWS))
    return [(number << 32) // count for number in range(count + 1)]


def id_ranges(rows: int) -> list[pl.Expr]:
    """Conditions on ids, in their order, each for the documents between two of `id_borders`."""
    borders = [pl.lit(f"{border:08x}") for border in id_borders(rows)[1:-1]]
    if not borders:
        return [pl.col("id").is_not_null()]
    between = [(pl.col("id") >= low) & (pl.col("id") < high) for low, high in itertools.pairwise(borders)]
    return [pl.col("id") < borders[0], *between, pl.col("id") >= borders[-1]]


def range_of(ids: pl.Series, ranges: int) -> np.ndarray:
    """(n,) number of the range in which each id lies, where there are so many."""
    borders = [(number << 32) // ranges for number in range(1, ranges)]
    upper = ids.str.slice(0, 8).str.to_integer(base=16, dtype=pl.Int64).to_numpy()
    return np.searchsorted(np.array(borders, dtype=np.int64), upper, side="right")


def reaching(session: Session, head: Head, table: str) -> int:
    """How many documents reach a table."""
    before = session.plan.before(table)[-1].name
    return int(Verdicts(session, head, {})(before).select(pl.len()).collect().item())


@dataclass(frozen=True)
class Verdicts:
    """Reads the kept rows of a table's verdicts, as judged just now or as pinned."""

    session: Session
    head: Head
    judged: Mapping[str, pl.DataFrame]

    def __call__(self, table: str) -> pl.LazyFrame:
        """Kept rows of one table."""
        if table in self.judged:
            return self.judged[table].lazy().filter("kept")
        return self.session.lake.read(self.session.name, f"verdicts/{table}", self.head).filter("kept")


def _standing_documents(session: Session, verdicts: pl.LazyFrame, found: pl.LazyFrame) -> pl.LazyFrame:
    """Kept documents with their metadata."""
    places = verdicts.select(*_PLACE, pl.col("key").alias("document_key"))
    frame = places.join(found, left_on="document_key", right_on="key", how="left", maintain_order="left")
    return with_kept_columns(frame, session.plan).with_columns(
        text_digest=pl.col("digest"), home=pl.lit("documents"), home_key=pl.col("document_key")
    )


def with_kept_columns(frame: pl.LazyFrame, plan: Plan) -> pl.LazyFrame:
    """The user's own columns, typed, from the JSON of `extra`; a missing value is "", 0 or false."""
    if not plan.keep:
        return frame
    empty = {pl.String: "", pl.Boolean: False}
    columns = []
    for name, kind in plan.keep.items():
        value = pl.coalesce(own_column(column) for column in plan.columns_of(name))
        typed = value.eq("true") if kind == pl.Boolean else value.cast(kind, strict=False)
        columns.append(typed.fill_null(empty.get(type(kind), 0)).alias(name))
    return frame.with_columns(columns).drop("extra")


def own_column(name: str) -> pl.Expr:
    """A column of the user's own as a string, from the JSON of `extra`; NULL where it is missing."""
    return pl.coalesce(pl.col("extra").str.json_path_match(path) for path in _json_paths(name))


def _json_paths(column: str) -> list[str]:
    """Where a column stands in `extra`: under its name, else, if it has dots, nested."""
    paths = [[column], column.split(".")] if "." in column else [[column]]
    return ["$" + "".join(f"[{json.dumps(part, ensure_ascii=False)}]" for part in parts) for parts in paths]


def _after_measured(
    table: str, frame: pl.LazyFrame, verdicts: pl.LazyFrame, found: pl.LazyFrame
) -> pl.LazyFrame:
    keyed = frame.join(verdicts.select("id", pl.col("key").alias("_key")), on="id", maintain_order="left")
    joined = keyed.join(found.rename({"key": "_key"}), on="_key", how="left", maintain_order="left")
    # A preview judges documents that were not measured yet: their text is known to be the old one only.
    rewritten = (pl.col("digest_out") != pl.col("text_digest")).fill_null(False)
    return joined.with_columns(
        home=pl.when(rewritten).then(pl.lit(table)).otherwise("home"),
        home_key=pl.when(rewritten).then("_key").otherwise("home_key"),
        text_digest=pl.coalesce("digest_out", "text_digest"),
    ).drop("_key", "digest_out")


def locate(session: Session, head: Head, rows: pl.DataFrame) -> pl.DataFrame:
    """Adds where each row's text lies: file and row number, in their order; rows have home and home_key."""
    parts = []
    for home in rows.get_column("home").unique(maintain_order=True):
        group = rows.filter(home=home)
        content = home_content(session, head, home)
        parts += [
            group.join(places.rename({"key": "home_key"}), on="home_key").sort("file", "row")
            for places in content.find_parts(group.get_column("home_key"), ["key"], places=True)
            if len(places)
        ]
    if not parts:
        return rows.with_columns(file=pl.lit(""), row=pl.lit(0, pl.Int64)).clear()
    return pl.concat(sorted(parts, key=lambda part: str(part.item(0, "file"))))


def home_content(session: Session, head: Head, home: str) -> Content:
    """The content in which texts of a home lie."""
    table = session.plan.table(home)
    schema = None if table.kind == "documents" else table.schema
    return session.lake.content(table.name, session.fingerprint(table, head), schema)
