"""Hostile input: pages that are expensive to read, and servers that do not play by the rules.

`PAGES[name](size)` is a page of about `size` bytes. `serve_raw` answers each path with the bytes of a
generator, exactly as given: broken, endless or slow.

Run as a program it is the crawler with made-up names: `HOSTILE_NAMES` is a JSON object of host name →
list of answers, each a list of addresses, given one after the other (the last one again and again).
"""

from __future__ import annotations

import gzip
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def _filled(start: bytes, piece: bytes, end: bytes = b"") -> Callable[[int], bytes]:
    return lambda size: start + piece * max(1, size // len(piece)) + end


_END = b'<a href="/after">after</a>'

PAGES: dict[str, Callable[[int], bytes]] = {
    "nested div": _filled(b"<html><body>", b"<div>", _END),
    "nested b": _filled(b"<html><body>", b"<b>", _END),
    "nested list": _filled(b"<html><body>", b"<ul><li>", _END),
    "nested table": _filled(b"<html><body>", b"<table><tr><td>", _END),
    "bold words": _filled(b"<html><body><p>", b"<b>word</b> ", b"</p>" + _END),
    "unclosed p": _filled(b"<html><body>", b"<p>word", _END),
    "line breaks": _filled(b"<html><body><p>", b"<br>", _END),
    "links": _filled(b"<html><body>", b'<a href="/x">x</a>', _END),
    "open quotes": _filled(b"<html><body>", b"<a href='", b"'>x</a>" + _END),
    "open tags": _filled(b"<html><body>", b"<a "),
    "open comments": _filled(b"<html><body>", b"<!--"),
    "empty comments": _filled(b"<html><body>", b"<!---->", _END),
    "open noscript": _filled(b"<html><body>", b"<noscript>", _END),
    "half script ends": _filled(b"<html><body><script>", b"</scrip"),
    "angle brackets": _filled(b"<html><body>", b"<", _END),
    "entities": _filled(b"<html><body><p>", b"&amp;&#1;&nope;", _END),
    "spaces in a link": lambda size: b'<a href="/' + b" " * size + b'x">x</a>' + _END,
    "attributes": lambda size: b"<p " + b" ".join(b"a%d=1" % n for n in range(size // 8)) + b">" + _END,
    "attributes of a link": lambda size: (
        b"<a " + b" ".join(b"a%d" % n for n in range(size // 8)) + b">" + _END
    ),
    "NUL": lambda size: b"<html><body>" + b"\0" * size,
    "UTF-16": lambda size: ("<html><body>" + "ä" * (size // 2) + _END.decode()).encode("utf-16"),
    "no such charset": _filled(b"<meta charset=klingon><p>", b"\xe4\xf6", _END),
    "one long word": lambda size: b"<p>" + b"a" * size + b"</p>" + _END,
    "nested JSON-LD": lambda size: b'<script type="application/ld+json">' + b"[" * size + b"</script>" + _END,
}


def robots_of_many_names(size: int) -> bytes:
    """A robots.txt whose names times rules is large."""
    half = size // 2
    return b"".join(b"User-agent: a%d\n" % n for n in range(half // 18)) + b"Disallow: /x\n" * (half // 13)


def robots_of_many_rules(size: int) -> bytes:
    """A robots.txt of rules with wildcards."""
    return b"User-agent: *\n" + b"".join(b"Disallow: /*a*%d*b\n" % n for n in range(size // 22))


def bomb(size: int) -> bytes:
    """A gzip body that is `size` bytes of zeros when unpacked."""
    return gzip.compress(bytes(size), 9)


OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"


def whole(body: bytes, head: bytes = OK) -> Iterable[bytes]:
    """One complete answer."""
    return [head + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body), body]


def endless_chunks() -> Iterator[bytes]:
    """A body without end."""
    yield OK + b"Transfer-Encoding: chunked\r\n\r\n"
    while True:
        yield b"10000\r\n" + b"x" * 0x10000 + b"\r\n"


def endless_headers() -> Iterator[bytes]:
    """A header line without end."""
    yield b"HTTP/1.1 200 OK\r\nX-Long: "
    while True:
        yield b"x" * 0x10000


def drip(every: float = 0.2) -> Iterator[bytes]:
    """A byte now and then, for ever."""
    yield OK + b"\r\n"
    while True:
        time.sleep(every)
        yield b"x"


def broken_off() -> Iterable[bytes]:
    """Less than was announced."""
    return [OK + b"Content-Length: 1000\r\n\r\n", b"<p>half"]


def lie() -> Iterable[bytes]:
    """An announcement of two gigabytes."""
    return [OK + b"Content-Length: 2000000000\r\n\r\n", b"<p>small"]


@dataclass
class RawSite:
    """A raw server: its address and the paths it was asked for."""

    address: str
    paths: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.address}/"


@contextmanager
def serve_raw(
    answers: Mapping[str, Callable[[], Iterable[bytes]]], host: str = "127.0.0.1"
) -> Iterator[RawSite]:
    """Answer each path (without query; "*" for all others, else 404) and hang up."""
    listener = socket.create_server((host, 0), backlog=64)
    site = RawSite(f"{host}:{listener.getsockname()[1]}")
    closed = threading.Event()

    def answer(client: socket.socket) -> None:
        with client:
            head = b""
            while b"\r\n\r\n" not in head and (data := client.recv(65536)):
                head += data
            if not head:
                return
            path = head.split(b" ", 2)[1].decode("latin-1")
            site.paths.append(path)
            make = answers.get(path.partition("?")[0]) or answers.get("*")
            for piece in (
                make() if make else [b"HTTP/1.1 404 x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"]
            ):
                if closed.is_set():
                    return
                client.sendall(piece)

    def quietly(client: socket.socket) -> None:
        with suppress(OSError):  # the crawler hung up, as it should
            answer(client)

    def accept() -> None:
        while not closed.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=quietly, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield site
    finally:
        closed.set()
        listener.close()


def pretend_names(names: dict[str, list[list[str]]]) -> None:
    """Let `socket` resolve these names to these addresses, in this process."""
    real_info = socket.getaddrinfo
    asked: dict[str, int] = {}

    def addresses(name: str) -> list[str]:
        answers = names[name]
        asked[name] = asked.get(name, -1) + 1
        return answers[min(asked[name], len(answers) - 1)]

    def getaddrinfo(host, port, *args, **options):
        if host not in names:
            return real_info(host, port, *args, **options)
        return [found for address in addresses(host) for found in real_info(address, port, *args, **options)]

    socket.getaddrinfo = getaddrinfo
    socket.gethostbyname = lambda name: addresses(name)[0] if name in names else real_info(name, 0)[0][4][0]


def made_up_names(monkeypatch: pytest.MonkeyPatch, **answers: list[list[str]]) -> None:
    """Let every crawl of a test resolve these names (`_` for `.`) so, one answer after the other."""
    monkeypatch.setattr("curate.sources.crawl.COMMAND", (sys.executable, __file__))
    names = {name.replace("_", "."): found for name, found in answers.items()}
    monkeypatch.setenv("HOSTILE_NAMES", json.dumps(names))


if __name__ == "__main__":
    pretend_names(json.loads(os.environ["HOSTILE_NAMES"]))  # before Twisted takes hold of the functions
    sys.path[:] = [path for path in sys.path if path != str(Path(__file__).parent)]
    from curate.sources.crawler.__main__ import main

    main()
