"""One URL, one spelling: what names a web page everywhere in the lake."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from urllib.parse import urljoin

_SPLIT = re.compile(r"(https?)://([^/?#]*)([^?#]*)(?:\?([^#]*))?", re.IGNORECASE)
_HOST = re.compile(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?")
_NOISE = re.compile(r"[\t\n\r]")
# RFC 3986: unreserved, sub-delims, ":" and "@" stand as they are; in a query "/" and "?" do too.
_ODD = re.compile(r"(?:%(?![0-9A-Fa-f]{2}))+|%..|[^%A-Za-z0-9\-._~!$&'()*+,;=:@/?]+")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_DEFAULT_PORT = {"http": "80", "https": "443"}
# Parameters that say where a visitor came from or which visit this is, never which page it is.
_TRACKING = re.compile(
    r"(?:utm_\w+|gclid|gclsrc|dclid|gbraid|wbraid|fbclid|msclkid|yclid|twclid|ttclid|li_fat_id|igshid"
    r"|mc_cid|mc_eid|mkt_tok|_hsenc|_hsmi|_ga|_gl|phpsessid|jsessionid)(?:=|$)",
    re.IGNORECASE,
)
_DIGITS = re.compile(r"[0-9]+")


@lru_cache(maxsize=50_000)
def canonical(url: str) -> str:
    """The one spelling of an http(s) URL; `canonical(canonical(url)) == canonical(url)`.

    Scheme and host in lower case (IDNA), no default port, user or fragment, dot segments resolved,
    percent-encoding as in RFC 3986 section 6.2.2, no tracking parameters; an empty path is "/".

    Raises:
        ValueError: not an http(s) URL with a host.
    """
    head, mark, tail = _NOISE.sub("", url.strip()).partition("?")
    match = _SPLIT.match(head.replace("\\", "/") + mark + tail)
    if match is None:
        raise ValueError(f"not an http(s) URL: {url[:200]!r}")
    scheme, authority, path, query = match.groups()
    scheme = scheme.lower()
    name, port = _host_and_port(authority.rpartition("@")[2])
    if port == _DEFAULT_PORT[scheme]:
        port = ""
    path = _without_dots(_ODD.sub(_encoded, path)).replace("?", "%3F")
    kept = "&".join(
        part for part in _ODD.sub(_encoded, query or "").split("&") if part and not _TRACKING.match(part)
    )
    return f"{scheme}://{name}{port and ':' + port}{path}{kept and '?' + kept}"


def join(base: str, reference: str) -> str:
    """The canonical URL of a link found on a page; ValueError if it leads to no http(s) page."""
    return canonical(urljoin(base, reference.strip()))


def host_name(text: str) -> str:
    """A host in lower case and ASCII, without a final dot; IPv6 addresses without brackets.

    Raises:
        ValueError: not a host name or address.
    """
    if ":" in text:
        address = ipaddress.IPv6Address(text.removeprefix("[").removesuffix("]"))
        if address.scope_id:
            raise ValueError(f"an address with a zone: {text[:200]!r}")
        return str(address)
    name = text.lower().rstrip(".")
    if not name.isascii():
        import idna  # only for the few names that need it

        name = idna.encode(name, uts46=True).decode("ascii").rstrip(".")
    if not _HOST.fullmatch(name):
        raise ValueError(f"not a host name: {text[:200]!r}")
    return name


def host_of(url: str) -> str:
    """The host of a canonical URL, without port and brackets."""
    authority = origin(url).partition("://")[2]
    if authority.startswith("["):
        return authority[1 : authority.index("]")]
    return authority.partition(":")[0]


def origin(url: str) -> str:
    """Scheme, host and port of a canonical URL: `http://docs.example:8080`."""
    return url[: url.index("/", 8)]


def shape(url: str) -> str:
    """What the URLs of a trap (a calendar, a faceted search) have in common.

    Host, path with every number as 0, and the sorted names of the query's parameters.

    >>> shape("http://a.example/2024/05?page=7&day=3")
    'http://a.example/0/0?day&page'
    """
    path, _, query = url.partition("?")
    start = url.index("/", 8)
    names = sorted({part.partition("=")[0] for part in query.split("&")})
    return f"{path[:start]}{_DIGITS.sub('0', path[start:])}?{'&'.join(names)}"


def _host_and_port(authority: str) -> tuple[str, str]:
    """Host in its canonical form (IPv6 in brackets) and the port's digits, or ""."""
    bracket = authority.rfind("]")
    text, _, port = (
        (authority[: bracket + 1], "", authority[bracket + 1 :].removeprefix(":"))
        if bracket >= 0
        else authority.partition(":")
    )
    if port and not (port.isascii() and port.isdigit() and int(port) < 65_536):
        raise ValueError(f"not a port: {port[:20]!r}")
    if bracket >= 0 and not text.startswith("["):
        raise ValueError(f"not a host name: {text[:200]!r}")
    name = host_name(text)
    return f"[{name}]" if ":" in name else name, str(int(port)) if port else ""


def _encoded(match: re.Match[str]) -> str:
    """One percent-escape, or a run of characters that must not stand as they are."""
    found = match.group()
    if found[0] == "%" and found[1:2] not in ("", "%"):
        character = chr(int(found[1:], 16))
        return character if character in _UNRESERVED else found.upper()
    return "%" + found.encode("utf-8", "replace").hex("%").upper()


def _without_dots(path: str) -> str:
    """RFC 3986 section 5.2.4; the result begins with "/"."""
    if "/." not in path:
        return path or "/"
    kept: list[str] = []
    parts = path.split("/")[1:]
    for part in parts:
        if part == "..":
            if kept:
                kept.pop()
        elif part != ".":
            kept.append(part)
    if parts[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)
