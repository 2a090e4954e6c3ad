"""Crawls a site in a process of its own and hands out finished Parquet shards.

    for event in crawl(CrawlJob(source="site", urls=["https://docs.example/"], folder="shards")):
        if isinstance(event, Shard):
            ...  # event.pages and event.fetches have the schemas of schemas/tables.py

The process ends when this one does: it stops as soon as its stdin closes.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from curate.sources.urls import canonical
from schemas.errors import SourceError, missing_extra

# -P: the user's folder must not shadow modules.
COMMAND = (sys.executable, "-P", "-m", "curate.sources.crawler")
PATIENCE = 12.0  # seconds that the process has to stop; it gives itself ten
_LAST_WORDS = 2_000  # characters of its stderr that an error quotes


@dataclass(frozen=True)
class CrawlJob:
    """What to fetch, plain enough to travel as one line of JSON.

    `connect`: "HOST:PORT" to which every request to the source's own hosts goes, while URLs and Host
    headers stay. `allow`, `deny`: glob patterns over the URL, or over its path if they begin with "/".
    `delay`: seconds between requests to a host; None: 0.25 and more if the site is slow, 0 on loopback.
    `max_sitemaps`: files of sitemaps that are asked for, within ten seconds together; 0: all there are.
    `known`: Parquet file with url, page, etag, last_modified, links, done (answered in this unfinished
    crawl; for a redirect `links` holds its target), or "". `secrets`: values to mask in every message.
    """

    source: str
    urls: list[str]
    folder: str
    crawl: str = ""
    known: str = ""
    connect: str = ""
    sitemap: bool = True
    follow: bool = True
    robots: bool = True
    allow: list[str] = field(default_factory=list)
    deny: list[str] = field(default_factory=list)
    allow_private: list[str] = field(default_factory=list)
    max_depth: int = 20
    max_pages: int = 0
    max_sitemaps: int = 0
    max_bytes: int = 10_000_000
    delay: float | None = None
    timeout: float = 30.0
    headers: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)
    user_agent: str = "curate"
    secrets: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Shard:
    """Finished files; `pages` is None if no body of the shard is new."""

    pages: Path | None
    fetches: Path
    pages_rows: int
    fetches_rows: int


@dataclass(frozen=True)
class Progress:
    """How far the crawl is: answers, URLs that wait, failures (no answer, 4xx, 5xx), bytes of bodies."""

    fetched: int
    queued: int
    failed: int
    bytes: int


@dataclass(frozen=True)
class CrawlEnd:
    """The last event. `reason`: finished, stopped, max_pages, memory, or lost (the site stopped answering).

    `statuses`: rows per status; `left_out`: URLs not fetched, per trap or limit; `refused`: hosts with no
    permitted address, with their addresses; `notes`: sentences for the user; `sitemap_urls`: URLs of the
    source that its sitemaps name; `sitemaps_unread`: sitemaps that a limit left out.
    """

    reason: str
    statuses: Mapping[int, int]
    left_out: Mapping[str, int]
    refused: Mapping[str, list[str]]
    notes: list[str]
    sitemap_urls: int
    sitemaps_unread: int


CrawlEvent = Shard | Progress | CrawlEnd


def crawl(job: CrawlJob) -> Iterator[CrawlEvent]:
    """Crawl a source; finished shards, progress (at most four a second, and once at the end) and one CrawlEnd.

    Ctrl-C stops the process, hands out its last shard and its end, and is raised then; closing the
    generator stops it without. Failed pages are rows; only a source that gives nothing is an error.

    Raises:
        MissingExtraError: Scrapy is not installed.
        SourceError: a URL is none; the site is down, private, forbids robots or asks for a login.
    """
    if importlib.util.find_spec("scrapy") is None:
        raise missing_extra("crawl", "Crawling a site", "scrapy")
    for url in job.urls:
        _check_url(url, job.source)
    if not job.urls:
        raise SourceError(f"[sources.{job.source}] names no URL.", hint='url = "https://docs.example/"')
    if job.connect and not job.connect.rpartition(":")[2].isdigit():
        raise SourceError(f'connect = "{job.connect}" is not HOST:PORT.', hint='connect = "127.0.0.1:8080"')
    Path(job.folder).mkdir(parents=True, exist_ok=True)
    return _events(job)


def _check_url(url: str, source: str) -> None:
    try:
        canonical(url)
    except ValueError as error:
        raise SourceError(
            f"[sources.{source}] cannot be crawled: {error}.", hint='url = "https://docs.example/"'
        ) from None


def _events(job: CrawlJob) -> Iterator[CrawlEvent]:
    """Run the process; its lines as events."""
    interrupted = False
    with tempfile.TemporaryFile() as errors, _start(errors) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stop = _Stop(process)
        try:
            _tell(process.stdin, job)
            ended = False
            while not ended:
                try:
                    line = process.stdout.readline()
                    if not line:
                        break
                    event = _event(json.loads(line))
                    ended = isinstance(event, CrawlEnd)
                    yield event
                except KeyboardInterrupt:  # from the keyboard, or thrown in by who reads the events
                    if interrupted:
                        process.kill()
                        raise
                    interrupted = True
                    stop()
        finally:
            stop()
            process.stdout.close()
            code = process.wait()
            stop.timer.cancel()
        if interrupted:
            raise KeyboardInterrupt
        if not ended:
            raise _broken(job, code, errors)


class _Stop:
    """Closes the process's stdin, which stops it, and kills it if it does not."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.timer = threading.Timer(PATIENCE, process.kill)
        self.timer.daemon = True
        self.done = False

    def __call__(self) -> None:
        if self.done:
            return
        self.done = True
        self.timer.start()
        try:
            if self.process.stdin is not None:
                self.process.stdin.close()
        except OSError:
            pass  # it is gone already


def _start(errors: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        # It imports what this process imports.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


def _tell(stdin: IO[bytes], job: CrawlJob) -> None:
    try:
        stdin.write(json.dumps(asdict(job)).encode() + b"\n")
        stdin.flush()
    except BrokenPipeError:
        pass  # it died at once: the end of stdout says so, and its stderr why


def _event(line: dict[str, Any]) -> CrawlEvent:
    """One line of the process as an event, or as the error that it tells of."""
    kind = line.pop("event")
    if kind == "failed":
        raise SourceError(line["message"], hint=line["hint"])
    if kind == "progress":
        return Progress(**line)
    if kind == "shard":
        pages, fetches = line.pop("pages"), line.pop("fetches")
        return Shard(pages=Path(pages) if pages else None, fetches=Path(fetches), **line)
    line["statuses"] = {int(status): count for status, count in line["statuses"].items()}
    return CrawlEnd(**line)


def _broken(job: CrawlJob, code: int, errors: IO[bytes]) -> SourceError:
    """The error for a process that ended without saying so."""
    errors.seek(0)
    words = errors.read().decode("utf-8", "replace")[-_LAST_WORDS:].strip()
    return SourceError(
        f"The crawler of [sources.{job.source}] broke off (exit code {code})."
        + (f" Its last words:\n{words}" if words else ""),
        hint="run again: it goes on with what is missing",
    )
