"""Sites on loopback: one that is generated, any folder, and a server that remembers when it was asked."""

from __future__ import annotations

import hashlib
import html
import mimetypes
import random
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from texts import site_texts

_SENTENCE = re.compile(r"[A-Z][^.!?\n]{40,200}[.!?](?=\s)")
_LINKS = 10  # of a page to pages below it


def sentences() -> list[str]:
    """English sentences of examples/site, each once."""
    return list(dict.fromkeys(" ".join(found.split()) for text in site_texts("manual/en") + site_texts("postgresql")
                              for found in _SENTENCE.findall(text)))  # fmt: skip


def make_site(count: int, *, words: int = 250) -> dict[str, bytes]:
    """A site of so many pages: path -> HTML. Page n links to pages 10 n + 1 … 10 n + 10, above each stands a menu."""
    stock = sentences()
    return {_path(number): _page(number, count, stock, words) for number in range(count)}


def change_pages(pages: Mapping[str, bytes], share: float) -> dict[str, bytes]:
    """The same site with a new paragraph on so many of its pages, spread evenly."""
    paths = sorted(pages)
    changed = paths[:: round(1 / share)]
    new = b"<p>This paragraph was added by an editor on the day after the first crawl of the site.</p></article>"
    return {**pages, **{path: pages[path].replace(b"</article>", new) for path in changed}}


def _path(number: int) -> str:
    return f"/topic-{number % 17}/page-{number}.html" if number else "/"


def _page(number: int, count: int, stock: list[str], words: int) -> bytes:
    chance = random.Random(number)
    title = f"{' '.join(chance.choice(stock).split()[:5])} ({number})"
    parts, written = [], 0
    while written < words:
        paragraph = " ".join(chance.choice(stock) for _ in range(4))
        written += len(paragraph.split())
        parts.append(
            f"<h2>{html.escape(' '.join(chance.choice(stock).split()[:4]))}</h2><p>{html.escape(paragraph)}</p>"
        )
    below = range(_LINKS * number + 1, min(_LINKS * number + _LINKS + 1, count))
    links = "".join(f'<li><a href="{_path(n)}">page {n}</a></li>' for n in below)
    menu = (
        f'<nav><a href="/">Home</a> <a href="{_path((number - 1) // _LINKS) if number else "/"}">Up</a></nav>'
    )
    return (
        f'<!doctype html><html lang="en"><head><title>{html.escape(title)}</title></head><body>{menu}'
        f"<article><h1>{html.escape(title)}</h1>{''.join(parts)}</article><ul>{links}</ul></body></html>"
    ).encode()


def folder_site(folder: Path) -> dict[str, bytes]:
    """Every file of a folder; `index.html` also stands for its folder."""
    pages = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            path = "/" + file.relative_to(folder).as_posix()
            pages[path] = file.read_bytes()
            if file.name == "index.html":
                pages[path.removesuffix("index.html")] = pages[path]
    return pages


@dataclass
class Site:
    """A running site; `pages` may be changed while it is up."""

    pages: Mapping[str, bytes]
    address: str = ""
    requests: int = 0
    sent: int = 0
    first_page: float = 0.0  # time.perf_counter() when the first page was asked for
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, path: str, size: int) -> None:
        """One answer."""
        with self._lock:
            self.requests += 1
            self.sent += size
            if not self.first_page and not path.endswith((".txt", ".xml", ".gz")):
                self.first_page = time.perf_counter()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        body = self.site.pages.get(path)
        etag = f'"{hashlib.blake2b(body or b"", digest_size=8).hexdigest()}"'
        known = body is not None and self.headers.get("If-None-Match") == etag
        kind = mimetypes.guess_type(path)[0] or "text/html"
        status, sent = (404, b"not here") if body is None else (304, b"") if known else (200, body)
        head = f"HTTP/1.1 {status} x\r\nContent-Type: {kind}\r\nETag: {etag}\r\n"
        length = "" if known else f"Content-Length: {len(sent)}\r\n"
        self.wfile.write(f"{head}{length}\r\n".encode() + sent)
        self.site.note(path, len(sent))

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


@contextmanager
def served(pages: Mapping[str, bytes]) -> Iterator[Site]:
    """The site on a free port of loopback, up inside the block."""
    site = Site(pages)
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"site": site}))
    site.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
