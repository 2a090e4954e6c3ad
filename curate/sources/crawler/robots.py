"""What robots.txt says (RFC 9309)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urljoin

from protego import Protego

LIMIT = 512 * 1024  # bytes that are read; RFC 9309 asks for at least 500 KiB
MAX_HOPS = 5  # redirects followed, RFC 9309 section 2.3.1.2
_MAX_DELAY = 30.0  # seconds; a longer Crawl-delay would stand for "never"
_MAX_SITEMAPS = 100
# With and without colon and hyphen: a superset of what Protego takes for the name of a group.
_AGENT = re.compile(r"\A\s*user(?:-|\s+)?agent(?:\s*:|\s)(?P<name>[^#]*).*", re.IGNORECASE)
_OTHER_AGENT = "User-agent: -"


@dataclass(frozen=True)
class Rules:
    """The rules of one origin for our user agent. `unreadable`: why nothing may be fetched, or ""."""

    allows: Callable[[str], bool] = lambda url: True
    delay: float = 0.0
    sitemaps: tuple[str, ...] = ()
    unreadable: str = ""


ALLOW_ALL = Rules()


def read(status: int, body: bytes, agent: str, url: str) -> Rules:
    """Rules from the final answer to robots.txt: 2xx is parsed, 4xx allows all, all else forbids all."""
    if 400 <= status < 500 and status != 429:
        return ALLOW_ALL
    if not 200 <= status < 300:
        return Rules(unreadable=f"it answered HTTP {status}")
    text = body[:LIMIT].decode("utf-8-sig", "replace")
    parsed = Protego.parse(_groups_for(text, agent))
    return Rules(
        allows=lambda page: bool(parsed.can_fetch(page, agent)),
        delay=min(parsed.crawl_delay(agent) or 0.0, _MAX_DELAY),
        sitemaps=tuple(urljoin(url, sitemap) for sitemap in list(parsed.sitemaps)[:_MAX_SITEMAPS]),
    )


def _groups_for(text: str, agent: str) -> str:
    """The text with every group that is not for `agent` under one name.

    Protego gives each name of a group each of its rules: 20,000 names with 20,000 rules would be 4e8.
    """
    ours = agent.lower()

    def renamed(match: re.Match[str]) -> str:
        name = match["name"].strip().lower()
        return match.group() if name == "*" or (name.strip("*") and name.strip("*") in ours) else _OTHER_AGENT

    return "\n".join(_AGENT.sub(renamed, line) for line in text.splitlines())
