"""E-mail addresses around an "@".

The local part is read to the left of the sign and the domain to the right, each within the lengths that
RFC 5321 allows (64 and 255), so the cost of a sign does not depend on the text. Where scripts that write
without spaces (Chinese, Japanese, Korean, Thai) touch an address, it ends at the last letter of a script
that writes with them; only when such letters stand directly at the sign do they belong to it.

Counted as e-mail too: `user:password@host.tld` in a URL, and "name [at] domain [dot] org" with brackets.
Not an e-mail: a host without a dot (`root@localhost`), versions (`react@18.2.0`), file names
(`icon@2x.png`) and systemd units (`getty@tty1.service`).
"""

from __future__ import annotations

import re

from curate.text.pii.spans import Found

# Letters of scripts that put spaces between words: Latin to Sinhala, and Latin and Greek extended.
_SPACED = "0-9A-Za-z\u00aa\u00b5\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u0dff\u1e00-\u1fff"
_AT = re.compile(r"@|%40|&#64;|&#[xX]40;|&commat;|[\[({] {0,2}at {0,2}[\])}] ?", re.IGNORECASE)

# Local parts are matched on the reversed text to the left of the sign.
_LOCAL = re.compile(rf"[{_SPACED}.+%'’_-]{{1,64}}")
_UNSPACED_LOCAL = re.compile(r"[\w.+-]{1,64}")
_QUOTED_LOCAL = re.compile(r'"[^"\n<>]{1,64}"')
_USERINFO = re.compile(r"[^\s/?#@<>\"'`]{0,120}(?=//:[A-Za-z])")
_EARLIER_SIGN = re.compile(rf"@[{_SPACED}.+-]{{1,64}}")

_DOTS = r"(?:\.| ?[\[({] ?(?:dot|\.) ?[\])}] ?)"
_LABEL, _WIDE_LABEL = rf"[{_SPACED}][{_SPACED}_-]{{0,62}}", r"\w[\w-]{0,62}"
_LETTER = rf"(?:(?![0-9])[{_SPACED}])"
_DOMAIN = re.compile(
    rf"(?:{_LABEL}{_DOTS}){{1,8}}(?:xn--[a-z0-9-]{{2,59}}|{_LETTER}[{_SPACED}]{{1,62}})"
    rf"|\[(?:IPv6:)?[0-9A-Fa-f:.]{{3,45}}\]|[0-9]{{1,3}}(?:\.[0-9]{{1,3}}){{3}}(?![0-9.]*[0-9])",
    re.IGNORECASE,
)
_WIDE_DOMAIN = re.compile(rf"(?:{_WIDE_LABEL}\.){{1,8}}[^\W\d_]{{2,63}}")
_VERSION = re.compile(r"[0-9]+\.[0-9]")
_NO_DOMAIN = re.compile(
    r"[0-9]x\.[a-z]+$|.*\.(?:png|jpe?g|gif|webp|svg|css|html?|service|socket|timer|mount|automount|slice|swap)$",
    re.IGNORECASE,
)


def find(text: str, at: int) -> Found | None:
    """The address whose sign, in any of its forms, starts at `at`."""
    sign = _AT.match(text, at)
    if sign is None:
        return None
    spelled = sign.group()[0] in "[({"
    left = at - 1 if spelled and text[at - 1 : at] == " " else at
    domain = _domain(text, sign.end())
    if domain is None:
        return None
    start = _local_start(text, left)
    if start is None:
        return None
    end = sign.end() + len(domain)
    value = f"{text[start:left]}@{re.sub(_DOTS, '.', domain, flags=re.IGNORECASE)}".lower()
    if text[start - 1 : start] == "<" and text[end : end + 1] == ">":  # Name <a@b.org>
        return Found(start - 1, end + 1, value)
    if text[start] == "_" and text[end : end + 1] == "_" and start + 1 < left:  # emphasis in Markdown
        return Found(start + 1, end, value[1:])
    return Found(start, end, value)


def _domain(text: str, start: int) -> str | None:
    """The domain or address literal at `start`, if it can be one of an e-mail."""
    match = _DOMAIN.match(text, start) or _WIDE_DOMAIN.match(text, start)
    if match is None:
        return None
    domain = match.group()
    literal = domain[0] == "[" or (domain[-1].isdigit() and domain.count(".") == 3)
    if not literal and (_VERSION.match(domain) or _NO_DOMAIN.match(domain)):
        return None
    return domain


def _local_start(text: str, at: int) -> int | None:
    """Where the local part starts that ends before `at`, or the userinfo of a URL."""
    before = text[max(0, at - 128) : at][::-1]
    match = _USERINFO.match(before) or _QUOTED_LOCAL.match(before)
    if match is None:
        match = _LOCAL.match(before) or _UNSPACED_LOCAL.match(before)
        if match is None:
            return None
        # Dots, hyphens and quotes in front are not part of it: ...'anna@b.org'
        local = match.group().rstrip(".-'’%")
        if not local:
            return None
        length = len(local)
        earlier = _EARLIER_SIGN.match(before, length)  # a@b@c.org: nothing that reads as an address stays
        return at - (earlier.end() if earlier else length)
    return at - match.end() if match.end() else None
