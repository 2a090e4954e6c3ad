"""What the user is told at the end of a crawl: notes, or why the source gave nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from curate.reports.numbers import plural
from curate.sources.crawl import CrawlJob
from curate.sources.urls import canonical, host_of
from schemas.tables import STATUS_BANNED, STATUS_NONE

SITE_REASONS = "look at the site in a browser, and at url under [sources.{source}]"


@dataclass
class Tally:
    """What came of the crawl so far.

    `start`: the last row of each URL that the user named; `moved`: redirects that were met before any good
    page; `sitemap_urls`: URLs of the source that its sitemaps name; `sitemaps_unread`: sitemaps left out by a limit.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    good: int = 0
    bytes: int = 0
    start: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    sitemap_urls: int = 0
    sitemaps_unread: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def fetched(self) -> int:
        """Answers from servers."""
        return sum(count for status, count in self.statuses.items() if status >= 200)

    @property
    def failed(self) -> int:
        """Requests without an answer, and answers that are errors."""
        return sum(count for status, count in self.statuses.items() if status == STATUS_NONE or status >= 400)


def allow_private_line(hosts: list[str]) -> str:
    """The line of a recipe that permits these hosts."""
    return f"allow_private = [{', '.join(f'{chr(34)}{host}{chr(34)}' for host in hosts)}]"


def failure(job: CrawlJob, tally: Tally, turned_away: Mapping[str, list[str]]) -> tuple[str, str] | None:
    """Message and hint if the source gave nothing that can be read; None if it gave something."""
    if tally.good or not tally.statuses:
        return None
    private = [host for url in job.urls if (host := host_of(canonical(url))) in turned_away]
    if private:
        found = ", ".join(f"{host} is {turned_away[host][0]}, a private address" for host in private)
        return (
            f"[sources.{job.source}] is not crawled: {found}.",
            f"if it is meant, add under [sources.{job.source}]: {allow_private_line(private)}",
        )
    statuses = set(tally.statuses)
    url, row = next(iter(tally.start.items()), (job.urls[0], {"error": "", "location": ""}))
    if statuses <= {401, 403}:
        return (
            f"{url} asks for a login: every page answered {' or '.join(str(status) for status in sorted(statuses))}.",
            f'under [sources.{job.source}]: headers.Authorization = "Bearer ${{TOKEN}}"',
        )
    if statuses == {STATUS_BANNED}:
        return (
            f"{url} gave no page: {row['error']}.",
            "ask the owner of the site; robots = false only for a site that is your own",
        )
    if statuses == {STATUS_NONE}:
        return f"{url} cannot be reached: {row['error']}.", "is the site up, and the URL right?"
    if row["location"]:
        return _moved(job, url, tally.moved)
    return f"{url} gave no page: {row['error'] or 'nothing that can be read'}.", SITE_REASONS.format(
        source=job.source
    )


def _moved(job: CrawlJob, url: str, moved: Mapping[str, str]) -> tuple[str, str]:
    """Message and hint for a start that leads elsewhere, or round in a circle."""
    way = [url]
    while (target := moved.get(way[-1], "")) and target not in way:
        way.append(target)
    if target:
        circle = " → ".join([*way, target])
        hint = (
            "such a site often waits for a login or a cookie: if a browser shows a page there, name that page in url "
            f'under [sources.{job.source}], or give what the browser has: cookies.NAME = "..."'
        )
        return f"{url} gave no page, its redirects go in a circle: {circle}.", hint
    return (
        f"{url} leads to {way[-1]}, which gave no page that belongs to the source.",
        f'under [sources.{job.source}]: url = "{way[-1]}"',
    )


def notes(
    job: CrawlJob, tally: Tally, left_out: Mapping[str, int], turned_away: Mapping[str, list[str]]
) -> list[str]:
    """Sentences about what was not fetched and why."""
    said = list(tally.notes)
    for reason, count in sorted(left_out.items()):
        said.append(f"{plural(count, 'URL')} left out: {reason}.")
    for host, addresses in sorted(turned_away.items()):
        line = allow_private_line([host])
        said.append(
            f"{host} is {addresses[0]}, a private address, and was not asked; "
            f"if it is meant, add under [sources.{job.source}]: {line}"
        )
    return said
