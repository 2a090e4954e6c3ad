"""What was fetched: the log of answers, and what of it stands.

Files and crawls share one rule for what stands: of the last answer about a place that says anything, the
ones that say it is there.
"""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from curate.engine.session import Session
from curate.lake.content import new_file
from curate.lake.delta import ConflictError, commit, create_table, local_files, read_table
from curate.lake.parquet import write_parquet
from schemas.source import Source
from schemas.tables import STATUS_BANNED, TABLES

SAYS = [200, 304, 301, 302, 303, 307, 308, 404, 410, STATUS_BANNED]  # time-outs, 5xx and limits say nothing
THERE = [200, 304]


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
    said = fetches.filter(pl.col("status").is_in(SAYS))
    columns = ["status", "page", "etag", "last_modified", "error", "at", "crawl"]
    return said.group_by("source", "url").agg(pl.col(columns).sort_by("at").last())


def standing_pages(fetches: pl.LazyFrame, sources: dict[str, Source]) -> pl.DataFrame:
    """What is there, within the scope of the recipe as it is now: source, url, page, etag."""
    there = (
        last_answers(fetches)
        .filter(pl.col("status").is_in(THERE) & (pl.col("page") != ""))
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
