"""What a page states about itself in its head, JSON-LD and heading. Nothing is guessed from the text:
dates and names in the text of documentation are mostly examples.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from curate.sources.values import iso_date, language_code

Tree = Any  # lxml.html.HtmlElement

_TITLES = ("citation_title", "og:title", "dc.title", "dcterms.title", "twitter:title")
_AUTHORS = (
    "citation_author",
    "author",
    "article:author",
    "dc.creator",
    "dcterms.creator",
    "parsely-author",
    "sailthru.author",
)
_DATES = (
    "article:published_time", "og:published_time", "datepublished", "citation_publication_date", "citation_date", "dc.date", "dc.date.issued",
    "dcterms.date", "dcterms.issued", "dcterms.created", "parsely-pub-date", "sailthru.date", "pubdate", "date",
    "article:modified_time", "og:updated_time", "datemodified", "dcterms.modified", "last-modified",
)  # fmt: skip
_MAX_JSON = 200_000  # characters of one JSON-LD script
_MAX_OBJECTS = 500
_MAX_TITLE = 500


def metadata(tree: Tree) -> dict[str, str]:
    """Title, author, date (ISO 8601) and declared_language (ISO 639-1), "" for what is not stated."""
    metas = _metas(tree)
    linked = list(_linked(tree))
    dates = [metas.get(name) for name in _DATES] + [
        item.get(name) for name in ("datePublished", "dateModified") for item in linked
    ]
    authors = [metas.get(name) for name in _AUTHORS] + [_names(item.get("author")) for item in linked]
    return {
        "title": _title(tree, metas),
        "author": next((_line(author) for author in authors if author and not author.startswith("http")), ""),
        "date": next((date for value in dates if (date := iso_date(value))), ""),
        "declared_language": _language(tree, metas),
    }


def _metas(tree: Tree) -> dict[str, str]:
    """The page's <meta> values by lower-case name; of equal names the first."""
    found: dict[str, str] = {}
    for meta in tree.iter("meta"):
        for attribute in ("name", "property", "itemprop", "http-equiv"):
            if (name := meta.get(attribute)) and (value := (meta.get("content") or "").strip()):
                found.setdefault(name.lower(), value)
    return found


def _title(tree: Tree, metas: dict[str, str]) -> str:
    headings = [
        text for heading in tree.iter("h1") if (text := _line("".join(heading.itertext()).replace("¶", "")))
    ]
    named = [
        _line("".join(title.itertext()))
        for title in tree.iter("title")
        if title.getparent().tag in ("head", "body")
    ]
    stated = [metas.get(name, "") for name in _TITLES] + headings[: len(headings) == 1] + named + headings
    return next((title for text in stated if (title := _line(text))), "")[:_MAX_TITLE]


def _language(tree: Tree, metas: dict[str, str]) -> str:
    stated = (tree.get("lang"), tree.get("xml:lang"), metas.get("content-language"), metas.get("dc.language"))
    return next((code for label in stated if label and (code := language_code(label))), "")


def _linked(tree: Tree) -> Iterator[dict[str, Any]]:
    """Objects of the page's JSON-LD, outer ones first."""
    waiting: list[Any] = []
    for script in tree.iter("script"):
        if (
            script.get("type", "").lower().startswith("application/ld+json")
            and len(script.text or "") <= _MAX_JSON
        ):
            try:
                waiting.append(json.loads(script.text or "null"))
            except (ValueError, RecursionError):
                continue
    for _ in range(_MAX_OBJECTS):
        if not waiting:
            return
        item = waiting.pop(0)
        if isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, dict):
            yield item
            waiting.extend(
                value for key, value in item.items() if key in ("@graph", "mainEntity", "mainEntityOfPage")
            )


def _names(author: Any) -> str:
    """Names out of JSON-LD's author: a string, an object with a name, or a list of these."""
    people = author if isinstance(author, list) else [author]
    names = [person.get("name") if isinstance(person, dict) else person for person in people]
    return ", ".join(name for name in names if isinstance(name, str))


def _line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
