"""Asks every source what is there: appends answers to `fetches` and bodies to `pages`.

Files and crawls share one rule for what stands: of the last answer about a place that says anything, the
ones that say it is there.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import time
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from curate.engine.inputs import file_state
from curate.engine.session import Session
from curate.engine.shard import write_plan
from curate.engine.workers import STOP, raise_if_stopped
from curate.lake.content import new_file
from curate.lake.delta import ConflictError, commit, create_table, local_files, read_table
from curate.lake.digest import digest_json
from curate.lake.parquet import write_parquet
from curate.sources.crawl import CrawlEnd, CrawlEvent, CrawlJob, Shard, crawl
from curate.sources.readers import FILE_KINDS, kind_of, reader_fingerprint
from schemas.errors import RecipeError, SourceError
from schemas.recipe import Source
from schemas.report import Reason, TableReport
from schemas.tables import STATUS_BANNED, STATUS_LIMIT, STATUS_NONE, TABLES

_SAYS = [200, 304, 301, 302, 303, 307, 308, 404, 410, STATUS_BANNED]  # time-outs, 5xx and limits say nothing
_THERE = [200, 304]
_RESUME_WITHIN = timedelta(hours=24)  # an unfinished crawl older than that begins anew


class Fetches:
    """The log of answers of one name. Append-only: the newest version is always true."""

    def __init__(self, session: Session) -> None:
        self.folder = session.lake.root / session.name / "fetches"
        self.schema = TABLES["fetches"].schema
        self.table = create_table(self.folder, self.schema)

    def scan(self, version: int | None = None) -> pl.LazyFrame:
        """All answers, or those that a version holds."""
        table = read_table(self.folder, version)
        files = local_files(table, self.folder) if table else []
        return pl.scan_parquet(files, glob=False) if files else pl.DataFrame(self.schema.empty_table()).lazy()

    def append_file(self, file: Path) -> None:
        """Move a finished file into the log."""
        target = new_file(self.folder)
        file.replace(target)
        while True:
            try:
                commit(self.table, self.folder, {target.name}, set())
                return
            except ConflictError:
                self.table.update_incremental()

    def append_rows(self, rows: list[dict[str, Any]]) -> None:
        """Append rows of files."""
        if rows:
            file = new_file(self.folder)
            write_parquet(pa.Table.from_pylist(rows, schema=self.schema), self.schema, file)
            self.append_file(file)

    @property
    def version(self) -> int:
        """The newest version."""
        self.table.update_incremental()
        return int(self.table.version())


def last_answers(fetches: pl.LazyFrame) -> pl.LazyFrame:
    """Per source and url the last answer that says anything."""
    said = fetches.filter(pl.col("status").is_in(_SAYS))
    columns = ["status", "page", "etag", "last_modified", "error", "at", "crawl"]
    return said.group_by("source", "url").agg(pl.col(columns).sort_by("at").last())


def standing_pages(fetches: pl.LazyFrame, sources: dict[str, Source]) -> pl.DataFrame:
    """What is there, within the scope of the recipe as it is now: source, url, page, etag."""
    there = (
        last_answers(fetches)
        .filter(pl.col("status").is_in(_THERE) & (pl.col("page") != ""))
        .select("source", "url", "page", "etag")
    )
    parts = []
    for name, source in sources.items():
        mine = there.filter(pl.col("source") == name)
        if source.url and source.allow:
            mine = mine.filter(
                pl.any_horizontal(_matches(pattern) for pattern in source.allow)
                | pl.col("url").is_in(source.url)
            )
        for pattern in source.deny if source.url else []:
            mine = mine.filter(~_matches(pattern))
        parts.append(mine.sort("url"))
    return pl.concat(parts).collect()


def _matches(glob: str) -> pl.Expr:
    """As the crawler reads it: over the URL, or over its path if the glob begins with "/"."""
    # Rust's regular expressions write the end of the text as \\z, and know no atomic groups.
    pattern = fnmatch.translate(glob).replace(r"\Z", r"\z").replace("(?>", "(?:")
    return pl.col("url").str.contains(("^[a-z]+://[^/]*" if glob.startswith("/") else "^") + pattern)


def fetch_sources(session: Session) -> tuple[Fetches, TableReport]:
    """Ask every source of the recipe; returns the log and the report of `pages`."""
    begun = time.perf_counter()
    fetches, report = Fetches(session), TableReport(table="pages")
    session.progress.start("pages")
    for name, source in session.plan.recipe.sources.items():
        raise_if_stopped()
        if source.url:
            crawl_site(session, name, source, fetches, report)
        elif source.files:
            look_at_files(session, name, source, fetches, report)
    _count_answers(fetches, session.plan.recipe.sources, report)
    report.seconds = time.perf_counter() - begun
    return fetches, report


def _count_answers(fetches: Fetches, sources: dict[str, Source], report: TableReport) -> None:
    mine = fetches.scan().filter(pl.col("source").is_in(list(sources)))
    latest = (
        mine.group_by("source", "url").agg(pl.col("status", "error", "page").sort_by("at").last()).collect()
    )
    report.rows = len(latest)
    report.kept = len(standing_pages(fetches.scan(), sources))
    named = latest.with_columns(reason=_reason()).filter(pl.col("reason") != "")
    counted = named.group_by("reason").len().sort(["len", "reason"], descending=[True, False])
    for reason, count in counted.iter_rows():
        report.reasons.append(Reason(step="fetch", reason=reason, dropped=count, failed=count, alone=count))


def _reason() -> pl.Expr:
    status, error = pl.col("status"), pl.col("error")
    return (
        pl.when(status == STATUS_BANNED)
        .then(pl.when(error.str.contains("noindex")).then(pl.lit("noindex")).otherwise(pl.lit("robots_txt")))
        .when(status == STATUS_LIMIT)
        .then(pl.lit("limit"))
        .when(status == STATUS_NONE)
        .then(pl.lit("no_answer"))
        .when(status.is_in([301, 302, 303, 307, 308]))
        .then(pl.lit("redirect"))
        .when(status >= 400)
        .then(pl.format("http_{}", status))
        .when(pl.col("page") == "")
        .then(
            pl.when(error.str.starts_with("skipped:"))
            .then(error.str.split(":").list.get(1))
            .otherwise(pl.lit("error"))
        )
        .otherwise(pl.lit(""))
    )


def look_at_files(session: Session, name: str, source: Source, fetches: Fetches, report: TableReport) -> None:
    """One row per file that is new, changed or gone; a file that did not change is not read.

    Raises:
        SourceError: nothing is there; or, in a strict run, a file cannot be read.
    """
    how = digest_json([source.columns, session.limit])[:8]
    known = {
        row["url"]: row
        for row in last_answers(fetches.scan().filter(pl.col("source") == name)).collect().to_dicts()
    }
    rows, seen, unnamed = [], set(), 0
    for path, look in _looks(session, source):
        if path != path.encode(errors="replace").decode():  # no table can hold such a name
            unnamed += 1
            continue
        seen.add(path)
        row = look(name, path, _how(path, how), known.get(path))
        if row:
            rows.append(row)
        session.progress.advance("pages", 1)
    rows += [
        _row(name, path, 404) for path, row in known.items() if path not in seen and row["status"] != 404
    ]
    fetches.append_rows(rows)
    lost = [f"{row['url']}: {row['error']}" for row in rows if row["status"] == STATUS_NONE]
    if lost:
        refuse(session, lost[0])
        report.notes.append(f"Files that cannot be read: {len(lost)}, the first is {lost[0]}.")
    if unnamed:
        report.notes.append(f"Files left out because their names are not UTF-8: {unnamed}.")
    report.measured += sum(row["status"] == 200 for row in rows)
    report.reused += len(seen) - sum(row["status"] in (200, STATUS_NONE) for row in rows)


def refuse(session: Session, what: str) -> None:
    """End a strict run at the first input that cannot be read.

    Raises:
        SourceError: the run is strict.
    """
    if session.strict:
        raise SourceError(
            what, hint="Without --strict it is counted, shown by `curate why`, and the rest is read."
        )


Look = Callable[[str, str, str, dict[str, Any] | None], dict[str, Any] | None]


def _looks(session: Session, source: Source) -> Iterator[tuple[str, Look]]:
    """Every file of a source: its place, and what makes its row."""
    from curate.sources.files import find_files
    from curate.sources.remote import find_objects, is_url

    base = session.plan.recipe.folder.resolve()
    local = [pattern for pattern in source.files if not is_url(pattern)]
    for file in find_files(local, base):
        yield os.path.relpath(file, base), partial(_file_row, file)
    for url, state in find_objects([pattern for pattern in source.files if is_url(pattern)]).items():
        yield url, partial(_object_row, state)


def _how(path: str, how: str) -> str:
    """How a file is read: part of what its page is called, so that another reader reads it anew."""
    kind = kind_of(Path(path)) or ""
    return digest_json([how, reader_fingerprint(kind)])[:8] if kind in FILE_KINDS else how


def _file_row(
    file: Path, source: str, path: str, how: str, last: dict[str, Any] | None
) -> dict[str, Any] | None:
    try:
        etag = f"{file_state(file)}-{how}"
        if last and last["status"] in _THERE and last["etag"] == etag:
            return None
        with file.open("rb") as opened:
            page = digest_json([hashlib.file_digest(opened, "sha256").hexdigest(), file.suffix, how])
    except OSError as error:  # a link that leads nowhere, or not ours to read: says nothing about the file
        return _row(source, path, STATUS_NONE, error=error.strerror or str(error))
    same = last is not None and last["page"] == page and last["status"] in _THERE
    return _row(source, path, 304 if same else 200, page=page, etag=etag)


def _object_row(
    state: str, source: str, url: str, how: str, last: dict[str, Any] | None
) -> dict[str, Any] | None:
    """Of an object of a store: its content is not asked for, its etag says when it is another."""
    etag = f"{state}-{how}"
    if last and last["status"] in _THERE and last["etag"] == etag:
        return None
    return _row(source, url, 200, page=digest_json([url, etag]), etag=etag)


def _row(
    source: str, url: str, status: int, *, page: str = "", etag: str = "", error: str = ""
) -> dict[str, Any]:
    return {
        "source": source,
        "url": url,
        "at": datetime.now(UTC),
        "status": status,
        "page": page,
        "etag": etag,
        "last_modified": "",
        "error": error,
        "location": "",
        "links": None,
        "depth": 0,
        "crawl": "",
    }


def note_loaded(fetches: Fetches, source: str, loader: str, page: str) -> None:
    """One row when a loader gave something else than the last time."""
    last = last_answers(fetches.scan().filter(pl.col("source") == source)).collect().to_dicts()
    if not last or last[0]["page"] != page:
        fetches.append_rows([_row(source, loader, 200, page=page)])


def crawl_site(session: Session, name: str, source: Source, fetches: Fetches, report: TableReport) -> None:
    """Crawl a site, committing what it finds as it goes; an unfinished crawl is taken up again."""
    base = session.lake.head()
    mine = fetches.scan().filter(pl.col("source") == name)
    unfinished = _unfinished(
        mine, fetches.scan(base.pins.get(session.key("fetches"), 0)).filter(pl.col("source") == name)
    )
    folder = session.work / f"crawl-{session.run}-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    known = folder / "known.parquet"
    write_plan(_known(mine, unfinished), known)
    pages = session.lake.content("pages", "bodies")
    appender = pages.append()
    secrets = _from_environment(name, {**source.headers, **source.cookies})
    limit = min(source.max_pages or session.limit, session.limit or source.max_pages)
    job = CrawlJob(
        source=name,
        urls=list(source.url),
        connect=source.connect,
        sitemap=source.sitemap,
        follow=source.follow,
        allow=list(source.allow),
        deny=list(source.deny),
        max_depth=source.max_depth,
        max_pages=limit,
        max_bytes=source.max_page_bytes,
        delay=source.delay,
        timeout=source.timeout,
        headers={key: secrets[value] for key, value in source.headers.items()},
        cookies={key: secrets[value] for key, value in source.cookies.items()},
        allow_private=list(source.allow_private),
        robots=source.robots,
        user_agent=source.user_agent,
        secrets=[value for key, value in secrets.items() if "${" in key],
        crawl=unfinished or f"{session.run}-{name}",
        known=str(known),
        folder=str(folder),
    )
    done = 0
    for event in _stoppable(crawl(job)):
        if isinstance(event, Shard):
            if event.pages:
                body = new_file(pages.folder)
                event.pages.replace(body)
                report.measured += appender.add(body)
            fetches.append_file(event.fetches)
        elif isinstance(event, CrawlEnd):
            report.notes += event.notes
        else:
            session.progress.advance("pages", event.fetched - done, event.fetched + event.queued)
            done = event.fetched
    pages.compact()
    report.bytes_written += appender.bytes


def _stoppable(events: Iterator[CrawlEvent]) -> Iterator[CrawlEvent]:
    """The events of a crawl; a stop reaches it as Ctrl-C, upon which it hands out its last shard."""
    asked = False
    for event in events:
        yield event
        if STOP.is_set() and not asked and isinstance(events, Generator):
            asked = True
            yield events.throw(KeyboardInterrupt())


def _unfinished(mine: pl.LazyFrame, published: pl.LazyFrame) -> str:
    """The crawl that began within the last day and was never published, or ""."""
    finished = published.select("crawl").unique().collect().get_column("crawl")
    recent = mine.filter(
        ~pl.col("crawl").is_in(finished.implode()) & (pl.col("at") > datetime.now(UTC) - _RESUME_WITHIN)
    )
    last = recent.sort("at").select("crawl").tail(1).collect()
    return str(last.item()) if len(last) else ""


def _known(mine: pl.LazyFrame, unfinished: str) -> pl.DataFrame:
    """What the crawler may know: last good answer and links per URL, and whether this crawl has asked."""
    answers = last_answers(mine)
    good = (
        mine.filter(pl.col("status").is_in(_THERE) & (pl.col("page") != ""))
        .group_by("url")
        .agg(pl.col("page", "etag", "last_modified").sort_by("at").last())
    )
    # For a redirect the crawler needs its target in place of links.
    target = pl.when(pl.col("location") != "").then(pl.concat_list("location")).otherwise("links")
    leads = mine.with_columns(links=target).filter(pl.col("links").is_not_null())
    links = leads.group_by("url").agg(pl.col("links").sort_by("at").last())
    asked = (
        mine.filter((pl.col("crawl") == unfinished) & (unfinished != "") & pl.col("status").is_in(_SAYS))
        .select("url")
        .unique()
        .with_columns(done=pl.lit(True))
    )
    return (
        answers.select("url")
        .join(good, on="url", how="left")
        .join(links, on="url", how="left")
        .join(asked, on="url", how="full", coalesce=True)
        .with_columns(
            pl.col("page", "etag", "last_modified").fill_null(""),
            pl.col("links").fill_null([]),
            pl.col("done").fill_null(False),
        )
        .select("url", "page", "etag", "last_modified", "links", "done")
        .collect()
    )


def _from_environment(source: str, values: dict[str, str]) -> dict[str, str]:
    """Each value as written → with ${VAR} replaced; one pass, no nesting."""
    found = {}
    for key, value in values.items():
        for variable in re.findall(r"\$\{(\w+)\}", value):
            if variable not in os.environ:
                raise RecipeError(
                    f"[sources.{source}] {key} needs the environment variable {variable}, which is not set.",
                    hint=f"export {variable}=...",
                )
        found[value] = re.sub(r"\$\{(\w+)\}", lambda match: os.environ[match.group(1)], value)
    return found
