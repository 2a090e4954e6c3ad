"""A web site on loopback for tests: pages from a dict or a folder, and what was asked of it.

    with serve({"/": "<a href=/b>b</a>", "/b": Page("gone", status=410)}) as site:
        ...
        assert site.count("/b") == 1

Every page has an ETag and a Last-Modified and answers 304 to those who have it already. `site.pages` may
be changed while the site is up.
"""

from __future__ import annotations

import hashlib
import mimetypes
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import pyarrow.parquet as pq

from curate.sources.crawl import CrawlEvent, Shard

LAST_MODIFIED = "Mon, 05 Jan 2026 10:00:00 GMT"


@dataclass(frozen=True)
class Page:
    """One answer. `delay`: seconds before it comes; `validators`: send ETag and Last-Modified."""

    body: str | bytes = ""
    type: str = "text/html; charset=utf-8"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    validators: bool = True

    @property
    def data(self) -> bytes:
        return self.body.encode() if isinstance(self.body, str) else self.body


@dataclass
class Site:
    """A running site: its address, its pages, and the requests that it saw, in order."""

    host: str
    port: int
    pages: dict[str, Page]
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    connections: int = 0
    said: list[bytes] = field(default_factory=list)  # the first line of whatever came

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}/"

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]

    def count(self, path: str) -> int:
        return self.paths.count(path)

    def headers(self, path: str) -> dict[str, str]:
        """Headers of the last request for `path`, names in lower case."""
        return next(headers for seen, headers in reversed(self.requests) if seen == path)


def redirect(target: str, status: int = 301) -> Page:
    """A page that leads elsewhere."""
    return Page(status=status, headers={"Location": target}, validators=False)


def links(*targets: str) -> str:
    """A page of links with a sentence of its own."""
    return f"<p>A page with {len(targets)} links.</p>" + "".join(
        f'<a href="{to}">{to}</a> ' for to in targets
    )


def pages_of(folder: Path) -> dict[str, Page]:
    """Every file of a folder; `index.html` also stands for its folder."""
    pages = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
            path = "/" + file.relative_to(folder).as_posix()
            pages[path] = Page(file.read_bytes(), kind)
            if file.name == "index.html":
                pages[path.removesuffix("index.html")] = pages[path]
    return pages


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def setup(self) -> None:
        super().setup()
        self.site.connections += 1

    def parse_request(self) -> bool:
        self.site.said.append(self.raw_requestline[:100])
        return super().parse_request()

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.site.requests.append((self.path, headers))
        path = unquote(urlsplit(self.path).path)
        page = self.site.pages.get(self.path) or self.site.pages.get(path) or Page("not here", status=404)
        if page.delay:
            time.sleep(page.delay)
        self._answer(page, headers)

    def _answer(self, page: Page, asked: dict[str, str]) -> None:
        body = page.data
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        fresh = page.status == 200 and page.validators
        known = fresh and (
            asked.get("if-none-match") == etag
            or ("if-none-match" not in asked and asked.get("if-modified-since") == LAST_MODIFIED)
        )
        head = [f"HTTP/1.1 {304 if known else page.status} x", f"Content-Type: {page.type}"]
        if fresh:
            head += [f"ETag: {etag}", f"Last-Modified: {LAST_MODIFIED}"]
        head += [f"{name}: {value}" for name, value in page.headers.items()]
        if not known:
            head.append(f"Content-Length: {len(body)}")
        raw = "\r\n".join(head).encode("latin-1") + b"\r\n\r\n"
        self.wfile.write(raw if known else raw + body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a crawler that hangs up is no news


@contextmanager
def serve(
    pages: Mapping[str, Page | str | bytes] | Path, host: str = "127.0.0.1", port: int = 0
) -> Iterator[Site]:
    """A site on `host`, on a free port unless one is given, up inside the block."""
    found = pages_of(pages) if isinstance(pages, Path) else pages
    site = Site(
        host, 0, {path: page if isinstance(page, Page) else Page(page) for path, page in found.items()}
    )
    server = _Server((host, port), type("Handler", (_Handler,), {"site": site}))
    site.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def rows_of(events: Iterable[CrawlEvent], table: Literal["pages", "fetches"]) -> list[dict[str, Any]]:
    """All rows of one table in the shards of a crawl."""
    files = [getattr(event, table) for event in events if isinstance(event, Shard)]
    return [row for file in files if file for row in pq.read_table(file).to_pylist()]
