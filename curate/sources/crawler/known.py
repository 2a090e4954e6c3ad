"""What the last crawl of a source knew: the last good answer per URL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow.parquet as pq


class Answer(NamedTuple):
    """The last good answer about a URL. `done`: it was given in this crawl, before it was broken off."""

    page: str
    etag: str
    last_modified: str
    done: bool


class Known:
    """Answers by URL, read from a Parquet file (see CrawlJob.known); "" for none.

    Links stay in Arrow, where each URL is stored once, and become Python strings page by page.
    """

    def __init__(self, path: str) -> None:
        self._rows: dict[str, int] = {}
        self._columns: dict[str, Any] = {}
        if path:
            table = pq.read_table(path, read_dictionary=["links.list.element"])
            self._rows = {url: row for row, url in enumerate(table["url"].to_pylist())}
            self._columns = {name: table[name] for name in table.column_names}
        self.pages = set(self._columns["page"].to_pylist()) - {"", None} if path else set()

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def get(self, url: str) -> Answer | None:
        """The last good answer, or None."""
        row = self._rows.get(url)
        if row is None:
            return None
        page, etag, last_modified = (
            self._columns[name][row].as_py() or "" for name in ("page", "etag", "last_modified")
        )
        return Answer(page, etag, last_modified, bool(self._columns["done"][row].as_py()))

    def links(self, url: str) -> list[str]:
        """The links that the page had, canonical; none for an unknown URL."""
        row = self._rows.get(url)
        return (self._columns["links"][row].as_py() or []) if row is not None else []
