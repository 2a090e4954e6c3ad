"""Turns answers into rows: the one Scrapy spider, and the scheduler that hands out the frontier."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from scrapy import Request, Spider, signals
from scrapy.exceptions import StopDownload
from scrapy.extensions.throttle import AutoThrottle
from twisted.internet import reactor

from curate.sources.crawl import CrawlJob
from curate.sources.crawler import robots, sitemaps
from curate.sources.crawler.failures import MAX_TRIES, explain, pause_before_retry
from curate.sources.crawler.frontier import MAX_SILENCE, Frontier, Place
from curate.sources.crawler.guard import Guard
from curate.sources.crawler.known import Answer
from curate.sources.crawler.outcome import Tally
from curate.sources.crawler.page import Found, is_kept, joined, media_type, read_page
from curate.sources.crawler.report import Reporter, masker
from curate.sources.crawler.sitemaps import read_sitemap
from curate.sources.crawler.writer import ShardWriter
from curate.sources.urls import canonical, host_of, origin
from schemas.tables import STATUS_BANNED, STATUS_LIMIT, STATUS_NONE

MAX_HOPS = 5  # redirects in a row, and sitemaps within sitemaps
SITEMAP_SECONDS = 10.0  # for all sitemaps of a crawl that reads only some

_REDIRECTS = (301, 302, 303, 307, 308)
_MEDIA = re.compile(rb"(?:image|audio|video|font)/")
_KEPT_HEADERS = ("Content-Type", "Content-Language", "Last-Modified", "ETag", "Link")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_ACCEPT = "text/html,application/xhtml+xml,application/pdf;q=0.9,text/plain;q=0.9,*/*;q=0.5"


class SiteSpider(Spider):  # type: ignore[misc]
    """Fetches what the frontier gives and writes a row for every answer."""

    name = "curate"

    def __init__(
        self, job: CrawlJob, frontier: Frontier, writer: ShardWriter, reporter: Reporter, guard: Guard
    ) -> None:
        super().__init__()
        self.job = job
        self.frontier = frontier
        self.writer = writer
        self.reporter = reporter
        self.guard = guard
        self.mask = masker(job.secrets)
        self.tally = Tally()
        self.stopping = False
        self.full = False
        self._sitemaps, self._sitemaps_until = 0, 0.0
        self.starts = dict.fromkeys(canonical(url) for url in job.urls)
        self._own_origins = {origin(url) for url in self.starts}
        self._common = {"User-Agent": job.user_agent, "Accept": _ACCEPT}
        self._own = {**self._common, **job.headers}
        if job.cookies:
            self._own["Cookie"] = "; ".join(f"{name}={value}" for name, value in job.cookies.items())

    @classmethod
    def from_crawler(cls, crawler: Any, *args: Any, **options: Any) -> SiteSpider:
        """Made by Scrapy, which hands on what `crawl` was called with."""
        spider = super().from_crawler(crawler, *args, **options)
        crawler.signals.connect(spider.look_at_headers, signals.headers_received)
        for url in spider.starts:
            spider.frontier.start(url)
        return spider  # type: ignore[no-any-return]

    async def start(self) -> AsyncIterator[Any]:
        """Nothing: the scheduler gives the first request, too."""
        return
        yield

    # --- requests

    def next_request(self) -> Any:
        """The next request, or None if nothing may be asked now."""
        while not self.stopping and not self.full:
            if self.job.max_pages and self._pages + self.frontier.under_way >= self.job.max_pages:
                self.full = self._pages >= self.job.max_pages
                return None
            place = self.frontier.take(time.monotonic())
            if place is None:
                return None
            if place.kind == "sitemap" and self._enough_sitemaps():
                self.tally.sitemaps_unread += 1
                self.frontier.done(place)
                continue
            rules = self.frontier.origins[place.origin].rules
            if place.kind == "page" and self.job.robots and rules and not rules.allows(place.url):
                self._row(place, STATUS_BANNED, error="robots.txt forbids it")
                self.frontier.done(place)
                continue
            return self._request(place)
        return None

    def _enough_sitemaps(self) -> bool:
        """Whether one more sitemap is beyond the limit of the job; counts it."""
        now = time.monotonic()
        self._sitemaps += 1
        self._sitemaps_until = self._sitemaps_until or now + SITEMAP_SECONDS
        beyond = self._sitemaps > self.job.max_sitemaps or now > self._sitemaps_until
        return bool(self.job.max_sitemaps) and beyond

    @property
    def _pages(self) -> int:
        return self.tally.good + self.frontier.resumed

    @property
    def has_pending(self) -> bool:
        """Whether there may be another request, now or later."""
        return not (self.stopping or self.full or self.frontier.exhausted)

    def _request(self, place: Place) -> Any:
        """A request with the source's headers and cookies only if it goes to the source's own origin."""
        headers = dict(self._own if origin(place.url) in self._own_origins else self._common)
        known = self._known(place)
        if known and known.page:
            headers |= {"If-None-Match": known.etag} if known.etag else {}
            headers |= {"If-Modified-Since": known.last_modified} if known.last_modified else {}
        meta: dict[str, Any] = {"place": place, "download_timeout": self.job.timeout}
        if place.kind == "sitemap":
            meta["download_maxsize"] = sitemaps.MAX_BYTES
            if self.job.max_sitemaps:
                left = max(0.1, self._sitemaps_until - time.monotonic())
                meta["download_timeout"] = min(left, self.job.timeout)
        return Request(
            place.url,
            callback=self.answer,
            errback=self.no_answer,
            headers=headers,
            meta=meta,
            dont_filter=True,
        )

    def _known(self, place: Place) -> Answer | None:
        return self.frontier.known.get(place.url) if place.kind == "page" else None

    def look_at_headers(self, headers: Any, request: Any, **_: Any) -> None:
        """Signal: a body that is an image, sound or film by its header is not downloaded."""
        if request.meta["place"].kind == "page" and _MEDIA.match(headers.get("Content-Type") or b""):
            raise StopDownload(fail=False)

    # --- answers

    def answer(self, response: Any) -> None:
        """Callback: a server answered."""
        place: Place = response.meta["place"]
        self.frontier.heard(place, answered=True)
        self.tally.bytes += len(response.body)
        retry = pause_before_retry(response.status, response.headers.get("Retry-After"), place.tries)
        if retry is not None and not self._hurried(place):
            self._again(place, retry)
        else:
            handle = {"page": self._page, "robots": self._robots, "sitemap": self._sitemap}[place.kind]
            handle(place, response)
            self.frontier.done(place)
        self.reporter.progress(**self.progress)

    def no_answer(self, failure: Any) -> None:
        """Errback: no answer, or one that was cut off by a limit."""
        place: Place = failure.request.meta["place"]
        host = host_of(place.url)
        private = self.guard.turned_away.get(host)
        status, error = explain(failure.value, self.job.timeout, self.job.max_bytes)
        if private:
            status, error = STATUS_NONE, f"{host} is {private[0]}, a private address"
        self.frontier.heard(place, answered=status == STATUS_LIMIT)
        one = self.frontier.origins[place.origin]
        # A server that never answered is not asked again: whoever waits is told at once.
        if (
            status == STATUS_NONE
            and not private
            and one.answered
            and not one.lost
            and not self._hurried(place)
            and (place.tries < MAX_TRIES or one.silent >= MAX_SILENCE)
        ):
            self._again(place, float(4 ** min(place.tries, MAX_TRIES)))
        else:
            if place.kind == "page":
                self._row(place, status, error=error)
            elif place.kind == "robots":
                self._no_robots(place, error)
            elif self._hurried(place):
                self.tally.sitemaps_unread += 1
            self.frontier.done(place)
        self.reporter.progress(**self.progress)

    def _hurried(self, place: Place) -> bool:
        """Whether a place is not worth waiting for."""
        return place.kind == "sitemap" and bool(self.job.max_sitemaps)

    def _again(self, place: Place, seconds: float) -> None:
        """Ask again later; until then the origin has peace."""
        place.tries += 1
        self.frontier.done(place)
        self.frontier.waiting += 1
        one = self.frontier.origins[place.origin]
        one.not_before = time.monotonic() + seconds
        # The request only wakes the engine; the scheduler puts its place back.
        wake = Request(place.url, meta={"place": place}, dont_filter=True)
        reactor.callLater(seconds, self.crawler.engine.crawl, wake)

    def _page(self, place: Place, response: Any) -> None:
        status, location = response.status, _location(response)
        known = self._known(place)
        if status in _REDIRECTS and location:
            self._redirect(place, status, location)
        elif status == 304 and known and known.page:
            self._row(
                place, 304, page=known.page, etag=known.etag, last_modified=known.last_modified, links=None
            )
            self.frontier.found(self.frontier.known.links(place.url), place.depth)
        elif status == 200:
            self._body(place, response)
        else:
            self._row(place, status, error=f"HTTP {status}")

    def _redirect(self, place: Place, status: int, location: str, error: str = "") -> None:
        target = joined(place.url, location)
        if not target:
            error = f"redirects to {location[:200]!r}, which is no web page"
        elif target == place.url:
            error = "redirects to itself"
        elif place.hops >= MAX_HOPS:
            error = f"more than {MAX_HOPS} redirects in a row"
            self.frontier.left_out[error] += 1
        else:
            self.frontier.redirected(place, target)
        self._row(place, status, error=error, location=target)

    def _body(self, place: Place, response: Any) -> None:
        stated = (response.headers.get("Content-Type") or b"").decode("latin-1")
        kind = media_type(response.body, stated.partition(";")[0].strip().lower())
        tags = [value.decode("latin-1") for value in response.headers.getlist("X-Robots-Tag")]
        validators: dict[str, Any] = {
            "etag": (response.headers.get("ETag") or b"").decode("latin-1")[:1000],
            "last_modified": (response.headers.get("Last-Modified") or b"").decode("latin-1")[:100],
        }
        encoding = response.headers.get("Content-Encoding")
        if encoding or not is_kept(kind):
            what = f"content-encoding {encoding.decode('latin-1')[:40]}" if encoding else kind
            self._row(place, 200, error=f"skipped:{what}", **validators)
            return
        found = read_page(
            response.body, kind, place.url, self.job.user_agent, tags if self.job.robots else ()
        )
        if found.refresh and found.refresh != place.url:
            # As good as a redirect, so it is stored as one: the page itself says "you will be redirected".
            self._redirect(place, 302, found.refresh, error="meta refresh")
            return
        if found.noindex and self.job.robots:
            self._row(place, STATUS_BANNED, error="noindex", links=found.links)
        else:
            self._store(place, response, kind, stated, found, validators)
        self.frontier.found(found.links, place.depth)

    def _store(
        self, place: Place, response: Any, kind: str, stated: str, found: Found, validators: dict[str, Any]
    ) -> None:
        key = hashlib.sha256(response.body).hexdigest()[:32]
        kept = {name.lower(): response.headers.get(name) for name in _KEPT_HEADERS}
        charset = _CHARSET.search(stated)
        page = {
            "key": key,
            "media_type": kind,
            "charset": charset[1].lower() if charset else "",
            "headers": json.dumps(
                {name: value.decode("latin-1")[:2000] for name, value in kept.items() if value}
            ),
            "body": response.body,
        }
        self._row(place, 200, page=key, links=found.links, body=page, **validators)

    def _row(self, place: Place, status: int, *, body: dict[str, Any] | None = None, **columns: Any) -> None:
        """One row of `fetches`, and the page that came with it."""
        row: dict[str, Any] = {
            "source": self.job.source,
            "url": place.url,
            "at": datetime.now(UTC),
            "status": status,
            "page": "",
            "etag": "",
            "last_modified": "",
            "error": "",
            "location": "",
            "links": (),
            "depth": place.depth,
            "crawl": self.job.crawl,
        } | columns
        row["error"] = self.mask(row["error"])
        self.tally.statuses[status] += 1
        self.tally.good += bool(row["page"])
        if row["location"] and not self.tally.good:
            self.tally.moved[place.url] = row["location"]
        if place.url in self.starts:
            self.tally.start[place.url] = row
        self.writer.add(row, body)

    # --- robots.txt and sitemaps

    def _robots(self, place: Place, response: Any) -> None:
        if response.status in _REDIRECTS and (location := _location(response)):
            self._robots_moved(place, location)
            return
        rules = robots.read(response.status, response.body, self.job.user_agent, place.url)
        if rules.unreadable and self.job.robots:
            self._no_robots(place, rules.unreadable)
            return
        self.frontier.origins[place.origin].rules = rules
        if rules.delay and (throttle := self.crawler.get_extension(AutoThrottle)) and self.job.delay is None:
            throttle.mindelay = max(throttle.mindelay, rules.delay)
        if self.job.sitemap and place.origin in self._own_origins:
            for url in (*rules.sitemaps, f"{place.origin}/sitemap.xml"):
                self._offer_sitemap(place, url, hops=0)

    def _robots_moved(self, place: Place, location: str) -> None:
        target = joined(place.url, location)
        if target and place.hops < robots.MAX_HOPS:
            self.frontier.back(place.moved(target))
        else:  # RFC 9309, section 2.3.1.2: then it may be taken as unavailable, which allows all
            self.frontier.origins[place.origin].rules = robots.ALLOW_ALL

    def _no_robots(self, place: Place, why: str) -> None:
        """Nobody knows what is allowed: nothing of the origin is fetched."""
        one = self.frontier.origins[place.origin]
        error = f"robots.txt of {one.name} could not be read: {why}"
        for waiting in one.queue:
            if waiting.url in self.starts:
                self._row(waiting, STATUS_NONE, error=error)
        self.frontier.give_up(one, error)

    def _sitemap(self, place: Place, response: Any) -> None:
        if response.status in _REDIRECTS and (location := _location(response)):
            self._offer_sitemap(place, location, place.hops + 1)
        elif response.status == 200:
            try:
                nested, addresses = read_sitemap(response.body)
            except ValueError as error:
                self.tally.notes.append(f"The sitemap {place.url} was not read: {error}.")
                return
            if nested:
                for address in addresses:
                    self._offer_sitemap(place, address, place.hops + 1)
                return
            for url in dict.fromkeys(joined(place.url, address) for address in addresses):
                if url and url in self.frontier.scope:
                    self.tally.sitemap_urls += 1
                    self.frontier.offer(url)

    def _offer_sitemap(self, place: Place, reference: str, hops: int) -> None:
        url = joined(place.url, reference)
        if url and hops <= MAX_HOPS:
            self.frontier.sitemap(url, hops)

    @property
    def progress(self) -> dict[str, int]:
        """How far the crawl is: the columns of the event."""
        tally = self.tally
        return {
            "fetched": tally.fetched,
            "queued": len(self.frontier),
            "failed": tally.failed,
            "bytes": tally.bytes,
        }


def _location(response: Any) -> str:
    return str((response.headers.get("Location") or b"").decode("utf-8", "replace"))
