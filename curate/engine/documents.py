"""Makes `pages` and `documents`: asks the sources, reads what is new, and says what stands."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from curate.engine.ask import fetch_sources, note_loaded
from curate.engine.attribution import Attribution
from curate.engine.buckets import found_in_parts
from curate.engine.changes import Changes
from curate.engine.checks import Pinned, records_check, schema_check, table_checks
from curate.engine.fetch import Fetches, standing_pages
from curate.engine.judge import Judge
from curate.engine.plan import PlannedTable
from curate.engine.read import EMPTY, Reader, extract_options, read_loader
from curate.engine.read_files import read_missing
from curate.engine.session import Session
from curate.engine.standing import id_borders, id_ranges, with_kept_columns
from curate.lake.digest import ContentDigest, content_digest, digest_json, digest_rows, narrow, widen
from curate.lake.runs import Head
from curate.lake.state import PART_ROWS, State
from curate.reports.numbers import plural
from curate.sources.files import ONE_DOCUMENT
from curate.sources.readers import kind_of, reader_fingerprint
from curate.sources.record import REPLACED
from schemas.report import Failure, Reason, TableReport

_COLUMNS = ("title", "author", "date", "declared_language", "chars", "digest")


def make_pages(session: Session) -> Head:
    """Ask every source what is there, and publish its answers."""
    base = session.lake.head()
    fetches, report = fetch_sources(session)
    report.checks = [
        schema_check({"fetches": Pinned(State(fetches.folder, fetches.schema), fetches.version)})
    ]
    there = standing_pages(fetches.scan(), session.plan.recipe.sources)
    return session.publish(
        base,
        "pages",
        pins={"fetches": fetches.version},
        fingerprints={},
        digests={"pages": content_digest(there.drop("etag"))},
        reads=[],
        report=report,
    )


def make_documents(session: Session) -> Head:
    """Read what is new, judge what stands, and publish."""
    base = session.lake.head()
    begun, report = time.perf_counter(), TableReport(table="documents")
    fetches, table = Fetches(session), session.plan.tables[0]
    fingerprint = documents_fingerprint(table)
    reader = Reader(session, table, fingerprint, report)
    for name, source in session.plan.recipe.sources.items():
        if source.loader:
            note_loaded(fetches, name, source.loader, read_loader(reader, source))
    pages = standing_pages(fetches.scan(), session.plan.recipe.sources)
    read_missing(reader, pages)
    reader.finish()
    places = _in_order(session, pages)
    found = _records(session, reader, places)
    _tell_replaced(reader, found)
    rows = _with_ids(found.rows, places)
    faults = _faults(session, reader, found, rows)
    rows = rows.select("id", "page", "ordinal", "key").filter(pl.col("key") != 0)
    del found
    report.failures = [
        Failure(**row) for row in faults.select("id", "place", "reason", "message").head(20).to_dicts()
    ]
    state = session.lake.state(session.name, "verdicts/documents")
    pin = base.pins.get(session.key("verdicts/documents"))
    judging = _Judging(session, table, reader, report, Changes(report, state, pin), hashes=faults.is_empty())
    version, written = state.replace_parts(
        judging.parts(rows, places, faults.select(state.schema.names)), pin
    )
    del rows
    judging.finish()
    report.bytes_written += written
    made = Pinned(state, version)
    report.checks = [
        *table_checks(session, base, report, {"verdicts/documents": made}),
        records_check(session, pages, reader.records.scan(), made),
    ]
    report.seconds = time.perf_counter() - begun
    return session.publish(
        base,
        "documents",
        pins={"fetches": fetches.version, "verdicts/documents": version},
        fingerprints={"documents": fingerprint},
        digests={"documents": judging.digest.value},
        reads=[],
        report=report,
    )


def documents_fingerprint(table: PlannedTable) -> str:
    """Of the extractor's options and libraries, under which records and documents are stored."""
    return digest_json(reader_fingerprint("html", extract_options(table)))


class _Judging:
    """Judges documents part by part, and gathers what the report tells of them."""

    def __init__(
        self,
        session: Session,
        table: PlannedTable,
        reader: Reader,
        report: TableReport,
        changes: Changes,
        *,
        hashes: bool,
    ) -> None:
        self._session, self._table, self._content = session, table, reader.documents
        self._report, self._changes = report, changes
        self._judge, self._faults = Judge(table), Judge(PlannedTable("documents", "documents", ()))
        self._attribution = Attribution(session.plan, PlannedTable("documents", "documents", ()))
        self.digest = ContentDigest(("id", "key") if hashes else ("id",))  # a fault has no key

    def parts(self, rows: pl.DataFrame, pages: pl.DataFrame, faults: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Verdicts on all documents (id, page, ordinal, key), and those on what could not be read, in order of ids."""
        upper = rows.select((pl.col("id") // 2**96).cast(pl.UInt32)).to_series()
        borders = list(itertools.pairwise(id_borders(len(rows))))

        def part(first: int, end: int) -> pl.DataFrame:
            return rows.filter(upper.is_between(first, end - 1))

        columns = ["key", "url", *_COLUMNS, *_extra(self._session)]
        keys = (widen(part(*between).get_column("key")) for between in borders)
        with found_in_parts(self._session.work, self._content, columns, keys) as found:
            for number, ids in enumerate(id_ranges(len(rows))):
                placed = _with_place(part(*borders[number]), pages)
                placed = placed.with_columns(pl.col("id").map_batches(widen, pl.String))
                known = _with_content(self._session, placed, found.read(number))
                yield self._verdicts(known, faults.filter(ids), ids)

    def _verdicts(self, rows: pl.DataFrame, faults: pl.DataFrame, ids: pl.Expr) -> pl.DataFrame:
        judged = _judged(self._session, self._judge, rows).select(faults.columns)
        self._faults.count(faults)
        both = pl.concat([judged, faults]).sort("id")
        about = both.select("id", "source").join(
            rows.select("id", "declared_language"), on="id", how="left", maintain_order="left"
        )
        by = about.select(language="declared_language", source="source")
        self._report.rows += len(both)
        self._report.kept += int(both.get_column("kept").sum())
        self._attribution.add_groups(by, both)
        self._changes.add(both, ids)
        self.digest.add(both.select("id", "key", "kept"))
        return both

    def finish(self) -> None:
        """Fill in the report."""
        self._report.reasons = self._judge.reasons + self._faults.reasons
        told = TableReport(table="documents")
        self._attribution.tell(told)
        self._report.drop_rates = told.drop_rates


def _faults(session: Session, reader: Reader, found: _Records, rows: pl.DataFrame) -> pl.DataFrame:
    """Verdicts on what could not be read, with the reason; a strict run ends at the first in order of places."""
    rows = rows.filter(pl.col("fault") > 0)
    told = found.faults[rows.get_column("fault") - 1]
    placed = _with_place(rows.drop("fault", "digest").hstack(told), found.pages)
    faults = _with_source_columns(session, placed).with_columns(
        pl.col("id").map_batches(widen, pl.String),
        url=pl.when(pl.col("kind") == "site").then("path").otherwise(pl.lit("")),
        kept=pl.lit(False),
        digest=pl.lit(""),
        step=pl.lit("extract"),
        failed=pl.concat_list(pl.format("extract.{}", "reason")),
        duplicate_of=pl.lit(""),
        similarity=pl.lit(0.0),
    )
    first = faults.sort("place").select("place", "reason", "message").head(1)
    for row in first.to_dicts() if session.strict else []:
        reader.refuse(row["place"], [row])
    return faults


def _tell_replaced(reader: Reader, found: _Records) -> None:
    """Count the documents that had bytes which are not UTF-8, and tell of the first; a strict run ends there."""
    if found.replaced.is_empty():
        return
    (first,) = _with_place(found.replaced.sort("page", "ordinal").head(1), found.pages).to_dicts()
    reader.refuse(first["place"], [{**first, "reason": REPLACED}])
    count = reader.report.counts["not_utf8"] = len(found.replaced)
    reader.report.notes.append(
        f"{plural(count, 'document')} had bytes that are not UTF-8, which are U+FFFD now. The first: {first['place']}"
    )


@dataclass(frozen=True)
class _Records:
    """What was read of the standing pages.

    There are as many rows as records, so none holds a digest or a path as text: page (row of `pages`), ordinal, key
    and digest as numbers (0: a fault), fault (0, or the number of its row in `faults`, from 1).
    """

    pages: pl.DataFrame
    rows: pl.DataFrame
    faults: pl.DataFrame  # reason, message
    replaced: pl.DataFrame  # page, ordinal, key, message


def _records(session: Session, reader: Reader, pages: pl.DataFrame) -> _Records:
    """The records of the pages, in their order."""
    numbered = pages.lazy().select("page", number=pl.int_range(pl.len(), dtype=pl.UInt32))
    columns = ["page", "ordinal", "document", "digest", "reason", "message"]
    again = pl.DataFrame(
        reader.faults,
        schema={"page": pl.String, "ordinal": pl.Int64, "reason": pl.String, "message": pl.String},
    ).with_columns(document=pl.lit(""), digest=pl.lit(""))
    rows, faults, replaced, count = [], [], [], 0
    for part in itertools.chain(reader.records.batches(columns), [again.select(columns)]):
        read = part.lazy().filter(pl.col("reason") != EMPTY).join(numbered, on="page")
        found = read.select(
            pl.col("number").alias("page"),
            pl.col("ordinal").cast(pl.UInt32),
            pl.col("document").map_batches(narrow, return_dtype=pl.UInt128).alias("key"),
            pl.col("digest").map_batches(narrow, return_dtype=pl.UInt128),
            "reason",
            "message",
        ).collect()
        replaced.append(found.filter(reason=REPLACED).select("page", "ordinal", "key", "message"))
        found = found.filter(pl.col("reason") != REPLACED)
        is_fault = pl.col("key") == 0
        faults.append(found.filter(is_fault).select("reason", "message"))
        number = pl.when(is_fault).then(count + is_fault.cum_sum()).otherwise(0).cast(pl.UInt32)
        rows.append(found.select("page", "ordinal", "key", "digest", fault=number))
        count += len(faults[-1])
    ordered = _limited(_sorted(pl.concat(rows, rechunk=False)), pages, session.limit)
    return _Records(pages, ordered, pl.concat(faults), pl.concat(replaced))


def _sorted(rows: pl.DataFrame) -> pl.DataFrame:
    """In order of pages and ordinals, column by column: a second copy is one of a column."""
    place = rows.select(pl.col("page").cast(pl.UInt64) * 2**32 + pl.col("ordinal")).to_series()
    order = pl.Series(np.argsort(place.to_numpy(), kind="stable").astype(np.uint32))
    for name in rows.columns:
        rows = rows.with_columns(rows.get_column(name).gather(order))
    return rows


def _limited(rows: pl.DataFrame, pages: pl.DataFrame, limit: int) -> pl.DataFrame:
    """The first so many rows of each source; all without a limit."""
    if not limit:
        return rows
    sourced = rows.with_columns(source=pages.get_column("source").gather(rows.get_column("page")))
    return sourced.group_by("source", maintain_order=True).head(limit).select(rows.columns)


def _in_order(session: Session, pages: pl.DataFrame) -> pl.DataFrame:
    """Standing pages in order of sources and paths: source, path, page, kind."""
    order = {name: number for number, name in enumerate(session.plan.recipe.sources)}
    ranked = pages.with_columns(_order=pl.col("source").replace_strict(order, return_dtype=pl.Int32))
    ranked = ranked.sort("_order", "url").select("source", "page", path="url")
    return ranked.with_columns(kind=_kinds(session, ranked))


def _with_ids(rows: pl.DataFrame, pages: pl.DataFrame) -> pl.DataFrame:
    """Adds id (UInt128), from what the place is made of; each id once, the first source wins."""
    equal, parts = _equal_before(rows, pages), []
    for start in range(0, max(len(rows), 1), PART_ROWS):
        part = _with_place(rows.slice(start, PART_ROWS), pages).with_columns(
            _equal=pl.Series(equal[start : start + PART_ROWS]),
            digest=pl.col("digest").map_batches(widen, pl.String),
        )
        site, many = pl.col("kind") == "site", pl.col("kind") == "many"
        identity = part.select(
            "kind",
            source=pl.when(site).then(pl.lit("")).otherwise("source"),
            what=pl.when(many & (pl.col("key") != "")).then("digest").otherwise("place"),
            equal=pl.when(many).then("_equal").otherwise(0),
        )
        parts.append(narrow(digest_rows(identity.get_columns()).cast(pl.String)).alias("id"))
    rows = rows.with_columns(pl.concat(parts))
    if _perhaps_twice(rows.get_column("id")).any():
        rows = rows.unique("id", keep="first", maintain_order=True)
    return rows


def _with_place(rows: pl.DataFrame, pages: pl.DataFrame) -> pl.DataFrame:
    """Rows with their page's columns, their key as text, and place: the path, with the number of the record where a file has many."""
    of_page = pages.select("source", "path", "kind")[rows.get_column("page")]
    key = widen(rows.get_column("key"))
    numbered = pl.format("{}#{}", "path", pl.col("ordinal") + 1)
    return (
        rows.drop("page")
        .with_columns(key)
        .hstack(of_page)
        .with_columns(place=pl.when(pl.col("kind") == "many").then(numbered).otherwise("path"))
    )


def _with_content(session: Session, rows: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Rows with the columns of the document, which are among those `found`."""
    rows = rows.join(found.rename({"url": "own_url"}), on="key", how="left", maintain_order="left")
    site = pl.col("kind") == "site"
    rows = rows.with_columns(url=pl.when(site).then("path").otherwise(pl.col("own_url").fill_null("")))
    return _with_source_columns(session, rows.drop("own_url", "path", "kind"))


def _equal_before(rows: pl.DataFrame, pages: pl.DataFrame) -> np.ndarray:
    """(n,) how many equal records come before each row; few are looked at, for most texts are there once.

    Faults are equal at the same place, documents where their texts are.
    """
    twice = _perhaps_twice(rows.get_column("digest"))
    found = rows.filter(twice).select("page", "ordinal", "digest")
    of_page = pages.select("source", "kind")[found.get_column("page")]
    place = pl.when(digest=0).then(pl.struct("page", "ordinal"))
    count = pl.int_range(pl.len()).over("source", "kind", "digest", place)
    equal = np.zeros(len(rows), dtype=np.int64)
    equal[twice] = found.hstack(of_page).select(count).to_series().to_numpy()
    return equal


def _perhaps_twice(numbers: pl.Series) -> np.ndarray:
    """(n,) which of some digests others may be equal to: all that are, for halves of them are compared."""
    halves = pl.select(pl.lit(numbers) % 2**64).to_series().cast(pl.UInt64).to_numpy()
    order = np.argsort(halves)
    halves = halves[order]
    equal = halves[1:] == halves[:-1]
    twice = np.zeros(len(order), np.bool_)
    twice[order[1:][equal]] = twice[order[:-1][equal]] = True
    return twice


def _extra(session: Session) -> list[str]:
    """The column that rules see the user's own columns in: only where there are any, for it is large."""
    return ["extra"] if session.plan.keep else []


def _kinds(session: Session, rows: pl.DataFrame) -> pl.Series:
    """site: a URL is the place; one: a file is one document; many: a file or function holds many."""
    sites = [name for name, source in session.plan.recipe.sources.items() if source.url]
    paths = rows.get_column("path").unique()
    one = [path for path in paths if kind_of(Path(path)) in ONE_DOCUMENT]
    return rows.select(
        kind=pl.when(pl.col("source").is_in(sites))
        .then(pl.lit("site"))
        .when(pl.col("path").is_in(one))
        .then(pl.lit("one"))
        .otherwise(pl.lit("many"))
    ).to_series()


def _with_source_columns(session: Session, rows: pl.DataFrame) -> pl.DataFrame:
    sources = session.plan.recipe.sources
    licenses = {name: source.license for name, source in sources.items()}
    accesses = {name: source.access for name, source in sources.items()}
    return rows.with_columns(
        license=pl.col("source").replace_strict(licenses, return_dtype=pl.String),
        access=pl.col("source").replace_strict(accesses, return_dtype=pl.String),
    )


def _judged(session: Session, judging: Judge, rows: pl.DataFrame) -> pl.DataFrame:
    """Verdicts on documents that could be read; rows hold all that rules may name."""
    typed = with_kept_columns(rows.lazy(), session.plan).collect()
    places = rows.select("digest", "source", "place", "url", "license", "access")
    return judging.verdicts(typed).hstack(places)


def judge_documents(
    session: Session, table: PlannedTable, verdicts: pl.DataFrame, head: Head
) -> tuple[pl.DataFrame, list[Reason]]:
    """Stored verdicts of `documents` judged again by the rules of `table`; faults stay faults."""
    content = session.lake.content("documents", session.fingerprint(table, head))
    columns = [*(name for name in _COLUMNS if name != "digest"), *_extra(session)]
    rows = verdicts.filter(pl.col("key") != "").join(
        content.scan().select("key", *columns).collect(), on="key"
    )
    judging = Judge(table)
    judged = _judged(session, judging, rows)
    faults = verdicts.filter(pl.col("key") == "")
    return pl.concat([judged.select(verdicts.columns), faults]), judging.reasons
