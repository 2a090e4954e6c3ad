"""Markdown and plain text: one document per file, the text as it is."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curate.sources.record import Read, Slice, fault, one_record
from curate.sources.values import iso_date, language_code

MAX_BYTES = 64_000_000
_NUL_SHARE = 0.01
_FRONT = re.compile(r"---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_PAIR = re.compile(r"([A-Za-z][\w .-]*?)\s*:(?:\s+(.*))?")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ATX = re.compile(r" {0,3}#{1,6}[ \t]+(.*?)[ \t]*#*[ \t]*")
_UNDERLINE = re.compile(r" {0,3}(?:=+|-{2,})[ \t]*")


def read(piece: Slice) -> Iterator[Read]:
    """The document of a file, or a fault if it is too large or no text."""
    path = Path(piece.path)
    try:
        with path.open("rb") as file:
            body = file.read(MAX_BYTES + 1)
    except OSError as error:
        yield fault(0, "error:read", f"{error.strerror or error}.")
        return
    yield document(body, piece.kind, name=path.stem)


def document(body: bytes, kind: str, name: str = "") -> Read:
    """The record of some bytes of "markdown" or "text"; without a title of its own it is called `name`."""
    if len(body) > MAX_BYTES:
        return fault(0, "skipped:too_large", f"More than {MAX_BYTES:,} bytes in one document: split it.")
    text = _decode(body)
    if text.count("\x00") > _NUL_SHARE * len(text):
        return fault(0, "skipped:not_text", "The file holds binary data.")
    text = text.replace("\r\n", "\n")
    if kind != "markdown":
        return one_record(0, {"title": name, "text": text})
    front, text = _front_matter(text)
    title = _plain(front.pop("title", "")) or _heading(text) or name
    author = _plain(front.pop("author", front.pop("authors", "")))
    language = language_code(front.get("language") or front.get("lang"))
    fields = {"title": title, "author": author, "date": iso_date(front.get("date")), "text": text}
    return one_record(0, {**fields, "declared_language": language}, front)


def _decode(body: bytes) -> str:
    """By the byte order mark, else as UTF-8, else as Windows-1252."""
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return body.decode("utf-16", "replace")
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return body.decode("cp1252", "replace")


def _front_matter(text: str) -> tuple[dict[str, Any], str]:
    """The simple pairs and lists of a block of `key: value` lines between `---`, and the text after it.

    Nested values are left out: this is no YAML parser, which would run on whatever a file says.
    """
    match = _FRONT.match(text)
    if match is None:
        return {}, text
    front: dict[str, Any] = {}
    key = ""
    for line in match[1].split("\n"):
        if pair := _PAIR.fullmatch(line.rstrip()):
            key = pair[1].lower()
            front[key] = _value(pair[2] or "")
        elif key and (item := re.fullmatch(r"\s*- (.+)", line)):
            earlier = front[key] if isinstance(front[key], list) else []
            front[key] = [*earlier, _value(item[1])]
    return (front, text[match.end() :].lstrip("\n")) if front else ({}, text)


def _value(text: str) -> str | list[str]:
    text = text.strip()
    if text.startswith("[") and text.endswith("]"):
        return [str(_value(part)) for part in text[1:-1].split(",") if part.strip()]
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text


def _plain(value: str | list[str]) -> str:
    return ", ".join(value) if isinstance(value, list) else value


def _heading(text: str) -> str:
    """The first heading of a Markdown text, outside of code."""
    fence = ""
    before = ""
    for line in text.split("\n"):
        mark = _FENCE.match(line)
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        elif not fence:
            if (heading := _ATX.fullmatch(line)) and heading[1]:
                return heading[1]
            if before and _UNDERLINE.fullmatch(line):
                return before
        before = line.strip() if not fence else ""
    return ""
