"""What a site holds: twenty pages of it are fetched into a folder that goes away again."""

from __future__ import annotations

import socket
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import polars as pl

from curate.cli.found import Found, languages_of, name_from, quartiles
from curate.cli.options import quoted
from curate.engine.progress import Progress
from curate.reports.numbers import duration, plural
from schemas.errors import SourceError

_PAGES, _SITEMAPS = 20, 5
_DELAY = 0.25  # seconds between requests, as the crawler keeps them
_LOGIN = (401, 403)


@dataclass
class _Probe:
    """What came back."""

    statuses: Counter[int] = field(default_factory=Counter)
    known: set[str] = field(default_factory=set)  # URLs that were fetched or linked to
    queued: int = 0
    named: int = 0  # by its sitemaps
    unread: int = 0  # sitemaps
    notes: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    javascript: int = 0


def look_at_site(url: str, progress: Progress, pages: int = _PAGES) -> Found:
    """Look at a site: how large, in which languages, whether it asks for a login or for JavaScript.

    Raises:
        SourceError: the site cannot be reached, or forbids it.
    """
    host = urlsplit(url).hostname or ""
    private = [host] if _is_private(host) else []
    progress.say(f"looking at {pages} pages of {host}")
    probe = _Probe()
    with tempfile.TemporaryDirectory() as folder:
        try:
            _crawl(url, private, folder, pages, probe)
        except SourceError:
            if not set(probe.statuses) & set(_LOGIN):
                raise
    first, median, third = quartiles(probe.texts)
    found = Found(
        name_from(host), "docs", "gentle: keeps short pages, tables, code", "site", _lines(url, private, probe),
        short=first, languages=languages_of(probe.texts),
    )  # fmt: skip
    size = max(len(probe.known), probe.queued, probe.named)
    unread = f"; {plural(probe.unread, 'more sitemap')} not read" if probe.unread else ""
    login = sum(probe.statuses[status] for status in _LOGIN)
    found.facts = [
        ("pages", f"at least {size:,}; {duration(size * _DELAY)} at four requests a second"),
        ("sitemap", f"names {plural(probe.named, 'page')}{unread}" if probe.named else ""),
        ("login", f"{plural(login, 'page')} asked for one: see headers in the recipe" if login else ""),
        (
            "JavaScript",
            f"{plural(probe.javascript, 'page')} {'holds' if probe.javascript == 1 else 'hold'} no text without it"
            if probe.javascript
            else "",
        ),
        ("words", f"{first:,}, {median:,} and {third:,} (quartiles of {plural(len(probe.texts), 'page')})"),
        (
            "languages",
            ", ".join(f"{code or 'unknown'} {share:.0%}" for code, share in found.languages.items()),
        ),
        *[("note", note) for note in probe.notes],
    ]
    found.facts = [(fact, value) for fact, value in found.facts if value]
    return found


def _is_private(host: str) -> bool:
    """Whether the name leads into a private network: who types it means it."""
    try:
        addresses = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return any(not ip_address(str(address).split("%")[0]).is_global for address in addresses)


def _crawl(url: str, private: list[str], folder: str, pages: int, probe: _Probe) -> None:
    from curate.sources import crawl

    job = crawl.CrawlJob(
        source="site",
        urls=[url],
        folder=folder,
        max_pages=pages,
        max_sitemaps=_SITEMAPS,
        allow_private=private,
    )
    for event in crawl.crawl(job):
        if isinstance(event, crawl.Shard):
            _add(probe, event.fetches, event.pages)
        elif isinstance(event, crawl.Progress):
            probe.queued = max(probe.queued, event.fetched + event.queued)
        else:
            probe.notes = event.notes
            probe.named, probe.unread = event.sitemap_urls, event.sitemaps_unread


def _add(probe: _Probe, fetches: Path, pages: Path | None) -> None:
    rows = pl.read_parquet(fetches)
    probe.statuses.update(rows.get_column("status").to_list())
    probe.known.update(rows.get_column("url"), rows.get_column("links").explode().drop_nulls())
    if pages is None:
        return
    from curate.sources.readers import ExtractOptions, extract_pages

    bodies = pl.read_parquet(pages).select("key", "body", "media_type", "charset").iter_rows()
    for _, read in extract_pages(bodies, ExtractOptions.model_validate({}), workers=1):
        probe.texts += read.records.column("text").to_pylist()
        probe.javascript += sum(fault.reason == "empty:javascript" for fault in read.faults)


def _lines(url: str, private: list[str], probe: _Probe) -> list[str]:
    lines = [f"url = {quoted(url)}"]
    if private:
        lines.append(f"allow_private = {quoted(private[0])}".ljust(30) + "  # it lies in a private network")
    if any(probe.statuses[status] for status in _LOGIN):
        lines.append('# headers.Authorization = "Bearer ${TOKEN}"   # from the environment, never stored')
    return [*lines, '# deny = ["*/archive/*"]         # URLs to leave out; allow = [...] the other way round']
