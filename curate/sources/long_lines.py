"""A long line of JSON, without making its text a Python string: one emoji in it takes four bytes for each character."""

from __future__ import annotations

import io
import re
import uuid
from typing import Any

from pydantic_core import from_json

LONG = 16_000_000  # bytes of a line
_PIECE = 1_000_000
# A piece may end behind a space, and before a character beyond ASCII: no escape sequence goes on there.
_UNBROKEN = re.compile(rb".*(?: |(?=[\xc0-\xff]))", re.DOTALL)


class LongText(bytes):
    """A text as UTF-8."""


def read_long(line: bytes, column: str) -> dict[str, Any] | None:
    """The object of a line as `from_json` gives it, but for the string in `column`, a `LongText`.

    None where the longest string is not that one, or where the line is no JSON.
    """
    begin, end = _longest(line)
    stand_in = uuid.uuid4().hex
    try:
        row = from_json(b"".join([line[:begin], stand_in.encode(), line[end:]]))
        if isinstance(row, dict) and row.get(column) == stand_in:
            row[column] = _decoded(memoryview(line)[begin:end])
            return row
    except ValueError:  # whoever reads it as a whole says what is wrong
        pass
    return None


def _longest(line: bytes) -> tuple[int, int]:
    """Where the longest string begins and ends, without its quotes."""
    longest, begin = (0, 0), line.find(b'"') + 1
    while begin and longest[1] - longest[0] < len(line) - begin:
        end = line.find(b'"', begin)
        while end >= 0 and _escaped(line, end):
            end = line.find(b'"', end + 1)
        if end < 0:
            break
        longest = max(longest, (begin, end), key=lambda span: span[1] - span[0])
        begin = line.find(b'"', end + 1) + 1
    return longest


def _escaped(line: bytes, at: int) -> bool:
    before = at
    while before and line[before - 1] == 0x5C:
        before -= 1
    return (at - before) % 2 == 1


def _decoded(string: memoryview) -> LongText:
    """A JSON string piece by piece.

    Raises:
        ValueError: it is none.
    """
    out, at = io.BytesIO(), 0
    while at < len(string):
        piece = bytes(string[at : at + _PIECE])
        if at + len(piece) < len(string):
            unbroken = _UNBROKEN.match(piece)
            piece = piece[: unbroken.end()] if unbroken and unbroken.end() else bytes(string[at:])
        out.write(from_json(b'"%b"' % piece).encode())
        at += len(piece)
    return LongText(out.getbuffer())
