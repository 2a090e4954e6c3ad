"""Which URL is next: in which order, where a trap begins, whose turn it is."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from curate.sources.crawler.known import Known
from curate.sources.crawler.robots import ALLOW_ALL, Rules
from curate.sources.crawler.scope import Scope, no_page, repeats
from curate.sources.urls import origin, shape

MAX_ALIKE = 2_000  # pages of one shape that are followed from links
MAX_SILENCE = (
    20  # requests in a row without an answer after which a host is given up, if it is silent for long
)


@dataclass(slots=True)
class Place:
    """A URL to fetch. `origin`: whose turn and patience it takes; `hops`: redirects that led to it.

    `offered`: named by the user, a sitemap or the last crawl, not found in a link.
    """

    url: str
    depth: int = 0
    kind: Literal["page", "robots", "sitemap"] = "page"
    origin: str = ""
    hops: int = 0
    tries: int = 0
    offered: bool = False

    def __post_init__(self) -> None:
        self.origin = self.origin or origin(self.url)

    def moved(self, url: str) -> Place:
        """The same errand at the target of a redirect, on the account of the same origin."""
        return replace(self, url=url, hops=self.hops + 1, tries=0)


@dataclass(slots=True)
class Origin:
    """One server: what waits, what is under way, and how it behaved."""

    name: str
    rules: Rules | None = None
    queue: deque[Place] = field(default_factory=deque)
    under_way: int = 0
    not_before: float = 0.0
    silent: int = 0
    heard_at: float = field(default_factory=time.monotonic)
    answered: bool = False
    lost: str = ""


class Frontier:
    """Breadth first within an origin, turn by turn between origins.

    `left_out` counts, per reason, the URLs that were not followed; each is counted once.
    """

    def __init__(
        self,
        scope: Scope,
        known: Known,
        *,
        max_depth: int,
        follow: bool,
        per_origin: int,
        ask_robots: bool,
        patience: float,
    ) -> None:
        self.scope = scope
        self.known = known
        self.max_depth = max_depth
        self.follow = follow
        self.per_origin = per_origin
        self.ask_robots = ask_robots
        self.patience = patience
        self.origins: dict[str, Origin] = {}
        self.left_out: Counter[str] = Counter()
        self.waiting = 0  # places that will come back after a pause
        self.resumed = 0  # pages that were fetched before the crawl was broken off
        self._seen: set[str] = set()
        self._alike: Counter[str] = Counter()
        self._known_offered = False

    def __len__(self) -> int:
        return self.waiting + sum(len(one.queue) + one.under_way for one in self.origins.values())

    @property
    def under_way(self) -> int:
        """Places that were taken and have no answer yet."""
        return sum(one.under_way for one in self.origins.values())

    @property
    def sitemaps_waiting(self) -> int:
        """Sitemaps that were not asked for yet."""
        return sum(place.kind == "sitemap" for one in self.origins.values() for place in one.queue)

    @property
    def exhausted(self) -> bool:
        """Whether nothing waits, nothing is under way, and nothing known is left to visit."""
        return self._known_offered and len(self) == 0

    def origin(self, name: str) -> Origin:
        """The state of an origin; asks for its robots.txt when it is met for the first time."""
        if name not in self.origins:
            one = self.origins[name] = Origin(name, rules=None if self.ask_robots else ALLOW_ALL)
            if self.ask_robots:
                one.queue.append(Place(f"{name}/robots.txt", kind="robots"))
        return self.origins[name]

    def offer(self, url: str) -> None:
        """A start URL, or one of a sitemap or of the last crawl: traps do not apply."""
        self._push(Place(url, offered=True))

    def start(self, url: str) -> None:
        """A URL that the user named: fetched even if `allow` does not match it."""
        self._seen.add(url)
        place = Place(url, offered=True)
        self.origin(place.origin).queue.append(place)

    def sitemap(self, url: str, hops: int = 0) -> None:
        """A sitemap, to be read before the pages that wait."""
        if self.scope.own(url) and url not in self._seen:
            self._seen.add(url)
            place = Place(url, kind="sitemap", hops=hops)
            self.origin(place.origin).queue.insert(1, place)

    def found(self, links: Iterable[str], depth: int) -> None:
        """The links of a page at `depth`."""
        if self.follow:
            for url in links:
                self._push(Place(url, depth + 1))

    def redirected(self, place: Place, target: str) -> None:
        """The target of a redirect: a place of its own, at the same depth."""
        self._push(replace(place, url=target, origin=origin(target), hops=place.hops + 1, tries=0))

    def _push(self, place: Place) -> None:
        url = place.url
        if url in self._seen or url not in self.scope:
            return
        self._seen.add(url)
        reason = self._trap(place)
        if reason:
            self.left_out[reason] += 1
            return
        one = self.origin(place.origin)
        if one.lost:
            self.left_out[one.lost] += 1
        else:
            one.queue.append(place)

    def _trap(self, place: Place) -> str:
        """Why a URL is not followed, or ""."""
        if (reason := no_page(place.url)) or place.offered:
            return reason
        if place.depth > self.max_depth:
            return f"deeper than {self.max_depth} links"
        if repeats(place.url):
            return "repeating path"
        alike = shape(place.url)
        self._alike[alike] += 1
        return f"more than {MAX_ALIKE} alike" if self._alike[alike] > MAX_ALIKE else ""

    def take(self, now: float) -> Place | None:
        """The next place to fetch, or None if nothing may be fetched at this moment."""
        if not self._known_offered and len(self) == 0:
            self._known_offered = True
            for url in self.known:
                self.offer(url)
        for name in list(self.origins):
            one = self.origins[name]
            # To the end of the dictionary: the next turn begins with another origin.
            self.origins[name] = self.origins.pop(name)
            while (place := self._next_of(one, now)) is not None:
                answer = self.known.get(place.url) if place.kind == "page" else None
                if answer is None or not answer.done:
                    one.under_way += 1
                    return place
                self.resumed += answer.page != ""
                self.found(self.known.links(place.url), place.depth)
        return None

    def _next_of(self, one: Origin, now: float) -> Place | None:
        if not one.queue or one.under_way >= self.per_origin or now < one.not_before:
            return None
        if one.rules is None and one.queue[0].kind != "robots":
            return None  # its robots.txt is under way
        return one.queue.popleft()

    def done(self, place: Place) -> None:
        """A place that was taken has its answer, or will come back."""
        self.origins[place.origin].under_way -= 1

    def back(self, place: Place) -> None:
        """A place that was taken is to be fetched (again), before all others."""
        self.origins[place.origin].queue.appendleft(place)

    def heard(self, place: Place, *, answered: bool) -> None:
        """Whether the origin answered; after twenty silences in a row and `patience` seconds it is given up.

        Requests run side by side: a pause of the server ends all of them, and is no reason to leave.
        """
        one = self.origins[place.origin]
        one.answered = one.answered or answered
        if answered:
            one.silent, one.heard_at = 0, time.monotonic()
            return
        one.silent += 1
        if one.silent >= MAX_SILENCE and (
            not one.answered or time.monotonic() - one.heard_at > self.patience
        ):
            self.give_up(one, f"{one.name} stopped answering")

    def give_up(self, one: Origin, why: str) -> None:
        """Fetch nothing more from an origin."""
        one.lost = why
        self.left_out[why] += sum(place.kind == "page" for place in one.queue)
        one.queue.clear()
