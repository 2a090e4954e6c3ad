"""What stands before a table: the documents that reach it, with all that rules and keys may name."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from curate.engine.plan import Plan, PlannedTable
from curate.engine.session import Session
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
    among: pl.Expr | None = None,
) -> pl.DataFrame:
    """Documents that reach `table`, as the tables before it are pinned in `head`.

    `judged` holds verdicts of tables that stand in for the pinned ones (a preview's); `steps` names the earlier
    steps whose measurements are wanted (all if it is None); `among` is a condition on id and document_key that a part
    of the documents meet, and what is held is that part.

    Columns: those of the document and the user's own; one struct per earlier step; document_key; and of
    the current text its digest (text_digest) and where it lies (home: table, home_key: row).
    """
    read = Verdicts(session, head, judged or {})
    frame = standing_documents(session, head, read("documents"), among)
    for earlier in session.plan.before(table)[1:]:
        verdicts = read(earlier.name)
        if among is not None:  # the ids of the part are known by now
            frame = frame.collect().lazy()
            verdicts = _of(verdicts, frame)
        if earlier.kind == "deduplicated":
            frame = frame.join(verdicts.select("id"), on="id", how="semi")
        else:
            names = [name for name, _ in earlier.measured if steps is None or name in steps]
            frame = _after_measured(session, head, earlier, names, frame, verdicts, whole=among is None)
    return frame.collect()


def _of(verdicts: pl.LazyFrame, frame: pl.LazyFrame) -> pl.LazyFrame:
    ids = frame.select("id").collect().get_column("id")
    within = pl.col("id").is_between(pl.lit(ids.min()), pl.lit(ids.max()))  # by which row groups are left out
    return verdicts.filter(within & pl.col("id").is_in(ids.implode()))


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


def document_parts(session: Session, head: Head) -> Iterator[pl.Expr]:
    """Conditions on document_key, each for some files of documents: texts that lie together are read together."""
    content = session.lake.content("documents", session.fingerprint(session.plan.tables[0], head))
    for files in content.groups(PART_ROWS):
        keys = pl.scan_parquet(files, glob=False).select("key").collect().get_column("key")
        yield pl.col("document_key").is_in(keys.implode())


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


def standing_documents(
    session: Session, head: Head, verdicts: pl.LazyFrame, among: pl.Expr | None = None
) -> pl.LazyFrame:
    """Kept documents with their metadata."""
    plan = session.plan
    content = session.lake.content("documents", session.fingerprint(plan.tables[0], head))
    columns = ["key", *_CONTENT, *(["extra"] if plan.keep else [])]
    places = verdicts.select(*_PLACE, pl.col("key").alias("document_key"))
    if among is None:
        found = content.scan().select(columns)
    else:
        part = places.filter(among).collect()
        places, found = part.lazy(), content.find(part.get_column("document_key"), columns).lazy()
    frame = places.join(found, left_on="document_key", right_on="key", maintain_order="left")
    return with_kept_columns(frame, plan).with_columns(
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
    session: Session,
    head: Head,
    table: PlannedTable,
    names: list[str],
    frame: pl.LazyFrame,
    verdicts: pl.LazyFrame,
    *,
    whole: bool,
) -> pl.LazyFrame:
    content = session.lake.content(table.name, session.fingerprint(table, head), table.schema)
    columns = ["key", *names, "digest_out"]
    keyed = frame.join(verdicts.select("id", pl.col("key").alias("_key")), on="id", maintain_order="left")
    if whole:
        found = content.scan().select(columns)
    else:
        part = keyed.collect()
        keyed, found = part.lazy(), content.find(part.get_column("_key"), columns).lazy()
    joined = keyed.join(found.rename({"key": "_key"}), on="_key", how="left", maintain_order="left")
    # A preview judges documents that were not measured yet: their text is known to be the old one only.
    rewritten = (pl.col("digest_out") != pl.col("text_digest")).fill_null(False)
    return joined.with_columns(
        home=pl.when(rewritten).then(pl.lit(table.name)).otherwise("home"),
        home_key=pl.when(rewritten).then("_key").otherwise("home_key"),
        text_digest=pl.coalesce("digest_out", "text_digest"),
    ).drop("_key", "digest_out")


def locate(session: Session, head: Head, rows: pl.DataFrame) -> pl.DataFrame:
    """Adds where each row's text lies: file and row number, in their order; rows have home and home_key."""
    parts = []
    for home in rows.get_column("home").unique(maintain_order=True):
        group = rows.filter(home=home)
        table = session.plan.table(home)
        schema = None if table.kind == "documents" else table.schema
        content = session.lake.content(table.name, session.fingerprint(table, head), schema)
        parts += [
            group.join(places.rename({"key": "home_key"}), on="home_key").sort("file", "row")
            for places in content.find_parts(group.get_column("home_key"), ["key"], places=True)
            if len(places)
        ]
    if not parts:
        return rows.with_columns(file=pl.lit(""), row=pl.lit(0, pl.Int64)).clear()
    return pl.concat(sorted(parts, key=lambda part: str(part.item(0, "file"))))
