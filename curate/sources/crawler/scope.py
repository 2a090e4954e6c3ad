"""Which URLs belong to a source, and which are no pages by their name alone. Loads nothing of the crawler."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from fnmatch import translate
from urllib.parse import urlsplit

from curate.sources.urls import origin

MAX_REPEATS = 3  # of one segment in a path
MAX_LENGTH = 2_000  # characters of a URL

# Files that no reader understands, by the end of their path: not asked for at all.
_FILES = re.compile(
    r"\.(?:7z|apk|avi|bin|bmp|bz2|css|deb|dmg|doc|docx|eot|epub|exe|flac|flv|gif|gz|ico|img|iso|jar|jpe?g|js|m4a"
    r"|m4v|mjs|mkv|mov|mp3|mp4|mpe?g|msi|odp|ods|odt|ogg|otf|pkg|png|ppt|pptx|ps|rar|rpm|svg|swf|tar|tgz|tiff?|ttf"
    r"|wav|webm|webp|whl|wmv|woff2?|xls|xlsx|xz|zip|zst)$",
    re.IGNORECASE,
)


class Scope:
    """What belongs to a source: its own hosts, or what `allow` names; never what `deny` names."""

    def __init__(self, urls: Iterable[str], allow: Sequence[str], deny: Sequence[str]) -> None:
        self._own = {alias for url in urls for alias in _authorities(origin(url))}
        self._allow = _patterns(allow)
        self._deny = _patterns(deny)

    def own(self, url: str) -> bool:
        """Whether the URL lies on a host of the source (the port may change between 80 and 443)."""
        return origin(url) in self._own

    def left_out(self, url: str) -> str:
        """What keeps a URL out: "deny", "allow", "host", or "" if it belongs to the source."""
        if self._deny and self._deny.match(url):
            return "deny"
        if self._allow:
            return "" if self._allow.match(url) else "allow"
        return "" if self.own(url) else "host"

    def __contains__(self, url: str) -> bool:
        return not self.left_out(url)


def _authorities(name: str) -> set[str]:
    """An origin, and its twin under the other scheme if it has no port of its own."""
    scheme, _, rest = name.partition("://")
    has_port = rest.rpartition("]")[2].count(":") > 0
    return {name, name if has_port else f"{'http' if scheme == 'https' else 'https'}://{rest}"}


def _patterns(globs: Sequence[str]) -> re.Pattern[str] | None:
    """One expression for all globs; one that begins with "/" is over path and query."""
    parts = [r"https?://[^/]+" * glob.startswith("/") + f"(?:{translate(glob)})" for glob in globs]
    return re.compile("|".join(parts)) if parts else None


def no_page(url: str) -> str:
    """Why a URL is never asked for, whoever names it, or ""."""
    if len(url) > MAX_LENGTH:
        return "too long"
    return "no text by its file name" if _FILES.search(urlsplit(url).path) else ""


def repeats(url: str) -> bool:
    """Whether a path goes in a circle, as relative links do that lead to themselves."""
    counts = Counter(part for part in urlsplit(url).path.split("/") if part)
    return max(counts.values(), default=0) > MAX_REPEATS
