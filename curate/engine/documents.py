"""Makes `pages` and `documents`: asks the sources, reads what is new, and says what stands."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import polars as pl

from curate.engine.attribution import drop_rates
from curate.engine.changes import note_changes
from curate.engine.checks import Pinned, records_check, schema_check, table_checks
from curate.engine.fetch import Fetches, fetch_sources, note_loaded, standing_pages
from curate.engine.judge import judge, reasons_of
from curate.engine.plan import PlannedTable
from curate.engine.read import Reader, extract_options, read_loader
from curate.engine.read_files import read_missing
from curate.engine.session import Session, verdict_digest
from curate.engine.standing import with_kept_columns
from curate.lake.digest import content_digest, digest_json, digest_rows
from curate.lake.runs import Head
from curate.lake.state import State
from curate.sources.files import ONE_DOCUMENT
from curate.sources.readers import kind_of, reader_fingerprint
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
    verdicts = _verdicts(session, table, reader, pages, report)
    return _publish(session, base, fetches, reader, pages, verdicts, report, begun)


def documents_fingerprint(table: PlannedTable) -> str:
    """Of the extractor's options and libraries, under which records and documents are stored."""
    return digest_json(reader_fingerprint("html", extract_options(table)))


def _verdicts(
    session: Session, table: PlannedTable, reader: Reader, pages: pl.DataFrame, report: TableReport
) -> pl.DataFrame:
    rows = _with_ids(session, _records(session, reader, pages), reader)
    faults = rows.filter(pl.col("key") == "")
    judged = rows.filter(pl.col("key") != "")
    judged, report.reasons = _judged(session, table, judged)
    broken = faults.with_columns(
        kept=pl.lit(False),
        step=pl.lit("extract"),
        failed=pl.concat_list(pl.format("extract.{}", "reason")),
        duplicate_of=pl.lit(""),
        similarity=pl.lit(0.0),
    )
    columns = [field.name for field in session.lake.state(session.name, "verdicts/documents").schema]
    for row in (
        broken.sort("place").select("place", "reason", "message").head(1).to_dicts() if session.strict else []
    ):
        reader.refuse(row["place"], [row])
    verdicts = pl.concat([judged.select(columns), broken.select(columns)])
    about = verdicts.select("id", "kept", "source").join(
        rows.select("id", "declared_language"), on="id", how="left"
    )
    by = {"language": pl.col("declared_language"), "source": pl.col("source")}
    report.drop_rates = drop_rates(about, about.get_column("kept"), by)
    report.reasons += reasons_of(broken.select(columns), PlannedTable("documents", "documents", ()), {})
    report.rows, report.kept = len(verdicts), int(verdicts.get_column("kept").sum())
    report.failures = [
        Failure(**row) for row in broken.select("id", "place", "reason", "message").head(20).to_dicts()
    ]
    return verdicts


def _records(session: Session, reader: Reader, pages: pl.DataFrame) -> pl.DataFrame:
    """What was read of the standing pages: source, url, page, ordinal, key ("" for a fault), reason, message."""
    stored = (
        reader.records.scan()
        .filter(pl.col("reason") != "empty")
        .select("page", "ordinal", "document", "reason", "message")
    )
    again = pl.DataFrame(
        reader.faults,
        schema={"page": pl.String, "ordinal": pl.Int64, "reason": pl.String, "message": pl.String},
    )
    both = pl.concat(
        [
            stored,
            again.lazy()
            .with_columns(document=pl.lit(""))
            .select("page", "ordinal", "document", "reason", "message"),
        ]
    )
    order = {name: number for number, name in enumerate(session.plan.recipe.sources)}
    joined = pages.lazy().join(both, on="page").drop("page", "etag").rename({"document": "key"})
    ranked = joined.with_columns(_order=pl.col("source").replace_strict(order, return_dtype=pl.Int32))
    rows = ranked.sort("_order", "url", "ordinal").drop("_order").collect()
    return _limited(rows, session.limit)


def _limited(rows: pl.DataFrame, limit: int) -> pl.DataFrame:
    return rows.group_by("source", maintain_order=True).head(limit).select(rows.columns) if limit else rows


def _with_ids(session: Session, rows: pl.DataFrame, reader: Reader) -> pl.DataFrame:
    """Adds id, place, url, and the columns of the document; each id once, the first source wins."""
    content = (
        reader.documents.scan()
        .select("key", pl.col("url").alias("own_url"), *_COLUMNS, *_extra(session))
        .collect()
    )
    rows = rows.join(content, on="key", how="left", maintain_order="left")
    rows = rows.with_columns(path="url", kind=_kinds(session, rows)).with_columns(
        pl.col("digest").fill_null("")
    )
    site, many = pl.col("kind") == "site", pl.col("kind") == "many"
    rows = rows.with_columns(
        place=pl.when(many).then(pl.format("{}#{}", "path", pl.col("ordinal") + 1)).otherwise("path"),
        url=pl.when(site).then("path").otherwise(pl.col("own_url").fill_null("")),
        _equal=pl.when(many).then(_equal_before(rows)).otherwise(0),
    )
    identity = rows.select(
        "kind",
        source=pl.when(site).then(pl.lit("")).otherwise("source"),
        what=pl.when(many & (pl.col("key") != "")).then("digest").otherwise("place"),
        equal="_equal",
    )
    rows = rows.drop("own_url", "path", "kind", "_equal").with_columns(id=digest_rows(identity.get_columns()))
    if rows.get_column("id").n_unique() < len(rows):
        rows = rows.unique("id", keep="first", maintain_order=True)
    return _with_source_columns(session, rows)


def _equal_before(rows: pl.DataFrame) -> pl.Series:
    """How many equal records come before each row; few are looked at, for most texts are there once."""
    twice = rows.get_column("digest").is_duplicated()
    count = pl.int_range(pl.len()).over("source", "kind", "digest", "reason")
    equal = np.zeros(len(rows), dtype=np.int64)
    equal[twice.to_numpy()] = rows.filter(twice).select(count).to_series().to_numpy()
    return pl.Series(equal)


def _extra(session: Session) -> list[str]:
    """The column that rules see the user's own columns in: only where there are any, for it is large."""
    return ["extra"] if session.plan.keep else []


def _kinds(session: Session, rows: pl.DataFrame) -> pl.Series:
    """site: a URL is the place; one: a file is one document; many: a file or function holds many."""
    sites = [name for name, source in session.plan.recipe.sources.items() if source.url]
    paths = rows.get_column("url").unique()
    one = [path for path in paths if kind_of(Path(path)) in ONE_DOCUMENT]
    return rows.select(
        kind=pl.when(pl.col("source").is_in(sites))
        .then(pl.lit("site"))
        .when(pl.col("url").is_in(one))
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


def _judged(session: Session, table: PlannedTable, rows: pl.DataFrame) -> tuple[pl.DataFrame, list[Reason]]:
    """Verdicts on documents that could be read; rows hold all that rules may name."""
    typed = with_kept_columns(rows.lazy(), session.plan).collect()
    verdicts, reasons = judge(typed, table)
    places = rows.select("digest", "source", "place", "url", "license", "access")
    return verdicts.hstack(places), reasons


def judge_documents(
    session: Session, table: PlannedTable, verdicts: pl.DataFrame, head: Head
) -> tuple[pl.DataFrame, list[Reason]]:
    """Stored verdicts of `documents` judged again by the rules of `table`; faults stay faults."""
    content = session.lake.content("documents", session.fingerprint(table, head))
    columns = [*(name for name in _COLUMNS if name != "digest"), *_extra(session)]
    rows = verdicts.filter(pl.col("key") != "").join(
        content.scan().select("key", *columns).collect(), on="key"
    )
    judged, reasons = _judged(session, table, rows)
    return pl.concat([judged.select(verdicts.columns), verdicts.filter(pl.col("key") == "")]), reasons


def _publish(
    session: Session,
    base: Head,
    fetches: Fetches,
    reader: Reader,
    pages: pl.DataFrame,
    verdicts: pl.DataFrame,
    report: TableReport,
    begun: float,
) -> Head:
    state = session.lake.state(session.name, "verdicts/documents")
    pin = base.pins.get(session.key("verdicts/documents"))
    note_changes(report, state, pin, verdicts)
    version, written = state.replace_rows(verdicts, pin, "id")
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
        fingerprints={"documents": documents_fingerprint(session.plan.tables[0])},
        digests={"documents": verdict_digest(verdicts)},
        reads=[],
        report=report,
    )
