"""What a fetched body is, and what it links to.

Links are found by a scan for the few tags that carry them, not by libxml2: its time grows with the square
of an element's attributes (0.9 MB of them stop the crawler for 16 s), and it drops what lies deeper than
256 elements. The scan is linear and about as fast on real pages.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from curate.sources.urls import join

MAX_LINKS = 50_000  # of one page
_MAX_VALUE = 4096  # bytes of an attribute; longer ones hold data, not addresses
_MAX_REFRESH = 5.0  # seconds; a slower refresh is a page that renews itself
_SNIFFED = 1024  # bytes

_MAGIC = (
    (b"%PDF-", "application/pdf"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"PK\x03\x04", "application/zip"),
    (b"PK\x05\x06", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
    (b"BZh", "application/x-bzip2"),
    (b"\xfd7zXZ\x00", "application/x-xz"),
    (b"\x28\xb5\x2f\xfd", "application/zstd"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (b"\x7fELF", "application/x-executable"),
)
_KEPT = frozenset(
    (
        "text/html", "application/xhtml+xml", "application/pdf", "text/plain", "text/markdown",
        "text/x-markdown", "application/json", "application/ld+json",
    )
)  # fmt: skip
_WITH_VALUE = ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview")
_WITH_LINKS = frozenset(("text/html", "application/xhtml+xml"))
_LOOKS_HTML = re.compile(
    rb"(?:<\?xml[^>]*+>|(?><!--.*?-->)|\s)*+<(?:!doctype html|html|head|body|title|meta|script|div|p|h1|table|a)\b",
    re.IGNORECASE | re.DOTALL,
)
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\f\r\x1b"))
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def media_type(body: bytes, stated: str) -> str:
    """The media type, from the first bytes where they tell, else as the server states it.

    `stated` is the value of Content-Type without parameters, in lower case, or "".
    """
    start = body[:_SNIFFED]
    head = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    controls = len(start) - len(start.translate(None, _CONTROLS))
    if controls * 20 > len(start) and not start.startswith(_UTF16):
        return "application/octet-stream"
    textual = stated.startswith("text/") or stated in _KEPT - {"application/pdf"}
    if textual or (stated and not body):
        return stated
    if _LOOKS_HTML.match(start):
        return "application/xhtml+xml" if "xml" in stated else "text/html"
    return stated if stated not in ("", "application/pdf") else "application/octet-stream"


def is_kept(kind: str) -> bool:
    """Whether pages of this media type are stored: HTML, PDF, plain text, Markdown, JSON."""
    return kind in _KEPT


@dataclass(frozen=True)
class Found:
    """What a page's markup says: its links (canonical, in order, once each) and words to robots."""

    links: tuple[str, ...] = ()
    refresh: str = ""
    noindex: bool = False


def read_page(body: bytes, kind: str, url: str, agent: str, robots_tags: Iterable[str]) -> Found:
    """Links, meta refresh and robots directives of a page; `robots_tags` are its X-Robots-Tag headers."""
    product = re.split(r"[/\s]", agent.lower(), maxsplit=1)[0]
    said = {word for value in robots_tags for word in _words(_for_us(value, product))}
    base, refresh, hrefs = "", "", dict[str, None]()
    for tag, attributes in _tags(_as_ascii(body)) if kind in _WITH_LINKS else ():
        if tag == "meta":
            if attributes.get("name", "").lower() in ("robots", product):
                said.update(_words(attributes.get("content", "")))
            elif attributes.get("http-equiv", "").lower() == "refresh":
                refresh = refresh or _refresh_target(attributes.get("content", ""))
        elif tag == "base":
            base = base or attributes.get("href", "")
        elif len(hrefs) < MAX_LINKS:
            hrefs[attributes.get("href" if tag in ("a", "area") else "src", "")] = None
    start = joined(url, base) or url
    return Found(
        links=() if said & {"nofollow", "none"} else _resolved(start, hrefs),
        refresh=joined(start, refresh),
        noindex=bool(said & {"noindex", "none"}),
    )


def joined(base: str, href: str) -> str:
    """The canonical URL, or "" for what leads to no page (mailto:, javascript:, nonsense)."""
    try:
        return join(base, href) if href else ""
    except ValueError:
        return ""


def _words(directives: str) -> list[str]:
    return [word.strip() for word in directives.lower().split(",")]


def _for_us(header: str, product: str) -> str:
    """An X-Robots-Tag without the name of the robot it speaks to; "" if that is another one."""
    match = re.match(r"\s*([a-z0-9_*-]+)\s*:(.*)", header, re.IGNORECASE | re.DOTALL)
    if match is None or match[1].lower() in _WITH_VALUE:
        return header
    return match[2] if match[1].lower() in ("robots", "*", product) else ""


def _resolved(base: str, hrefs: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(target for href in hrefs if (target := joined(base, href))))


def _refresh_target(content: str) -> str:
    match = re.match(
        r"\s*(\d{0,9}(?:\.\d*)?)\s*[;,]\s*(?:url\s*=\s*)?['\"]?([^'\"]+)", content, re.IGNORECASE
    )
    if match is None or float(match[1].strip(".") or 0) > _MAX_REFRESH:
        return ""
    return match[2].strip()


def _as_ascii(body: bytes) -> bytes:
    """The body in an encoding in which markup is ASCII."""
    return body.decode("utf-16", "replace").encode() if body.startswith(_UTF16) else body


# What the scan stops at: tags with links, and what may hold text that only looks like tags.
_START = re.compile(
    rb"<(?:(?P<link>a|area|iframe|frame|base|meta)(?=[\s/>])"
    rb"|(?P<raw>script|style|textarea|title|xmp|noscript)(?=[\s/>])"
    rb"|(?P<comment>!--))",
    re.IGNORECASE,
)
_END = {
    name: re.compile(b"</" + name + rb"(?=[\s/>])", re.IGNORECASE)
    for name in (b"script", b"style", b"textarea", b"title", b"xmp", b"noscript")
}
_ATTRIBUTE = re.compile(rb"[\s/]*+(?:(?P<end>>)|(?P<name>[^\s/>=][^\s/>=]*+)(?P<equals>\s*+=\s*+)?)")
_BARE = re.compile(rb"[^\s>]*+")
_WANTED = frozenset((b"href", b"src", b"name", b"content", b"http-equiv"))


def _tags(body: bytes) -> Iterator[tuple[str, dict[str, str]]]:
    """The tags that carry links or directives, with the attributes that matter, in order.

    A meta tag inside <noscript> is left out: it speaks to browsers without scripts ("enable JavaScript").
    """
    position, noscript_end = 0, 0
    while (match := _START.search(body, position)) is not None:
        position = match.end()
        if match["comment"]:
            end = body.find(b"-->", position)
            if end < 0:
                return
            position = end + 3
        elif match["raw"]:
            name = match["raw"].lower()
            if name == b"noscript" and position < noscript_end:
                continue
            closing = _END[name].search(body, position)
            if name == b"noscript":
                noscript_end = closing.start() if closing else len(body)
            elif closing is None:
                return
            else:
                position = closing.end()
        else:
            tag = match["link"].decode("ascii").lower()
            attributes, position = _attributes(body, position)
            if not (tag == "meta" and match.start() < noscript_end):
                yield tag, attributes


def _attributes(body: bytes, position: int) -> tuple[dict[str, str], int]:
    """The wanted attributes of the tag whose name ends at `position`, and where the tag ends."""
    found: dict[str, str] = {}
    while (match := _ATTRIBUTE.match(body, position)) is not None:
        position = match.end()
        if match["end"]:
            break
        value = b""
        if match["equals"]:
            quote = body[position : position + 1]
            if quote in (b'"', b"'"):
                end = body.find(quote, position + 1)
                if end < 0:  # the rest of the page is the value: browsers drop such a tag, too
                    return {}, len(body)
                value, position = body[position + 1 : end], end + 1
            elif (bare := _BARE.match(body, position)) is not None:
                value, position = bare.group(), bare.end()
        name = match["name"].lower()
        if name in _WANTED and len(value) <= _MAX_VALUE:
            found.setdefault(name.decode("ascii"), html.unescape(_text(value)).strip())
    return found, position


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("cp1252", "replace")
