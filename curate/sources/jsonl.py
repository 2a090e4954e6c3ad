"""JSON lines, plain or compressed, and JSON files: one record per line, or per element of the array.

Each line is parsed on its own by jiter (pydantic's JSON parser; 2 to 4 times `json.loads`), so a broken
line costs only itself. Columnar JSON readers were measured too: for texts of some kilobytes they gain
nothing, and they fill in the columns that other lines have.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from pydantic_core import from_json

from curate.sources.long_lines import LONG, read_long
from curate.sources.record import (
    MAX_ROWS,
    ROLES,
    Columns,
    Fault,
    Ordinals,
    Read,
    Slice,
    fault,
    from_rows,
    replaced,
    resolve,
)
from curate.sources.streams import is_packed, open_stream

MAX_LINE = 256_000_000  # bytes; a longer line is a fault, and never in memory as a whole
MAX_JSON = 256_000_000  # bytes of a .json file that is one array or object
_BLOCK = 8_000_000
_PIECE = 500_000  # bytes read at once, of which none are got when the stream breaks within them
_HEAD = 1_000_000
_SAMPLE = 100  # lines whose names say what columns a file has
_TOO_LONG = b"too long"  # told by identity: the beginning of a line that is thrown away
_BOM = b"\xef\xbb\xbf"


def split(path: Path, target_bytes: int) -> list[Slice]:
    """Slices of about `target_bytes` that begin and end at line ends; compressed files are one slice."""
    if is_packed(path):
        return [Slice(str(path), "jsonl")]
    slices: list[Slice] = []
    start = first = position = lines = 0
    block = bytearray(min(_BLOCK, max(1, target_bytes // 4)))
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(block):
            if position + size - start >= target_bytes and (end := block.rfind(b"\n", 0, size) + 1):
                head = block.count(b"\n", 0, end)
                slices.append(Slice(str(path), "jsonl", start, position + end, first))
                start, first = position + end, lines + head
            lines += block.count(b"\n", 0, size)
            position += size
    if start < position or not slices:
        slices.append(Slice(str(path), "jsonl", start, position, first))
    return slices


def read(piece: Slice, columns: Columns) -> Iterator[Read]:
    """The records of a slice of JSON lines.

    Ordinals count lines, blank ones too, so that record n is line n + 1. Characters that are not UTF-8
    become U+FFFD; a line that is no JSON object is a fault.

    Raises:
        SourceError: the text column is in none of the file's first 100 records.
    """
    roles = roles_of(piece, columns)
    for first, lines in _blocks(piece):
        rows, ordinals, faults, broken = _parse(lines, first, roles["text"])
        lines.clear()  # a line may be large, and is here twice now
        yield replace(from_rows(rows, ordinals, roles, faults), replaced=broken)


def roles_of(piece: Slice, columns: Columns) -> dict[str, str]:
    """Role → column, as the first records of the file show them: the same for each of its slices.

    Raises:
        SourceError: the text column is in none of them.
    """
    for stop in (_HEAD, -1):
        for first, lines in _blocks(replace(piece, start=0, stop=stop, first=0)):
            rows, *_ = _parse(lines[:_SAMPLE], first)
            if names := list(dict.fromkeys(name for row in rows for name in row)):
                return resolve(columns, names, piece.shown, all_known=False)
    return {"text": "text", **{role: column for role, column in columns.items() if role in ROLES}}


def rows(piece: Slice, wanted: Ordinals, text: str = "") -> Iterator[tuple[Ordinals, list[dict[str, Any]]]]:
    """The objects at some lines (ordinals, ascending) as they are in the file; other lines are not parsed.

    In the column `text` a long string is a `LongText`.
    """
    for first, lines in _blocks(piece):
        here = wanted[np.searchsorted(wanted, first) : np.searchsorted(wanted, first + len(lines))]
        found = [(n, _carefully(lines[n - first], n, text)) for n in here.tolist()]
        lines.clear()
        yield from _objects(found)


def json_rows(piece: Slice, wanted: Ordinals) -> Iterator[tuple[Ordinals, list[dict[str, Any]]]]:
    """The same of a .json file."""
    value = _json_value(piece)
    if value is None:
        yield from rows(piece, wanted)
    elif not isinstance(value, Fault):
        elements = value if isinstance(value, list) else [value]
        yield from _objects([(n, elements[n]) for n in wanted.tolist() if n < len(elements)])


def _objects(found: list[tuple[int, Any]]) -> Iterator[tuple[Ordinals, list[dict[str, Any]]]]:
    objects = [(n, row) for n, row in found if isinstance(row, dict)]
    if objects:
        yield np.array([n for n, _ in objects], np.int64), [row for _, row in objects]


def _parse(
    lines: Sequence[bytes | Fault], first: int, text: str = ""
) -> tuple[list[dict[str, Any]], Sequence[int], list[Fault], tuple[Fault, ...]]:
    """The lines' objects with their ordinals, a fault for each line that is none, and what was replaced in the others."""
    try:
        values = [_value(line, text) for line in lines]  # type: ignore[arg-type]
        if set(map(type, values)) == {dict}:
            return values, range(first, first + len(lines)), [], ()
    except (ValueError, TypeError):  # TypeError: the line is a fault already
        pass
    rows, ordinals, faults, broken = [], [], [], []
    for ordinal, line in enumerate(lines, first):
        value = line if isinstance(line, Fault) else _carefully(line, ordinal) if line.strip() else None
        if isinstance(value, dict):
            rows.append(value)
            ordinals.append(ordinal)
            broken.append(replaced(ordinal, "Line", line))  # type: ignore[arg-type]
        elif isinstance(value, Fault):
            faults.append(value)
        elif isinstance(line, bytes) and line.strip():
            message = f"Line {ordinal + 1}: expected a JSON object, found {_kind(value)}."
            faults.append(Fault(ordinal, "error:read", message))
    return rows, ordinals, faults, tuple(filter(None, broken))


def _value(line: bytes, text: str) -> Any:
    return (len(line) > LONG and read_long(line, text)) or from_json(line)


def _carefully(line: bytes, ordinal: int, text: str = "") -> Any:
    """The line's value, also where jiter refuses: a byte order mark, bytes that are no UTF-8, half a
    surrogate pair; else a fault."""
    with suppress(ValueError):
        return _value(line, text)
    decoded = line.removeprefix(_BOM).decode("utf-8", "replace")
    try:
        row = json.loads(decoded)
        whole = json.dumps(row, ensure_ascii=False).encode("utf-16", "surrogatepass")
        return json.loads(whole.decode("utf-16", "replace"))
    except json.JSONDecodeError as error:
        return Fault(
            ordinal,
            "error:read",
            f"Line {ordinal + 1}: {error.msg.removesuffix(' at')} at column {error.pos + 1}.",
        )
    except (RecursionError, ValueError):  # ValueError: an integer of more than 4,300 digits
        return Fault(ordinal, "error:read", f"Line {ordinal + 1}: nested too deep, or a number too long.")


def _kind(value: Any) -> str:
    kinds = {list: "an array", str: "a string", bool: "a Boolean", type(None): "null"}
    return kinds.get(type(value), "a number")


def _blocks(piece: Slice) -> Iterator[tuple[int, list[bytes | Fault]]]:
    """(ordinal, lines) of at most 5,000 lines; a stream that breaks off ends in a fault."""
    ordinal = piece.first
    try:
        with _open(piece) as stream:
            for lines in _lines(_bytes(stream, piece)):
                for start in range(0, len(lines), MAX_ROWS):
                    part = [
                        _too_long(ordinal + index) if line is None else line
                        for index, line in enumerate(lines[start : start + MAX_ROWS])
                    ]
                    count = len(part)
                    lines[start : start + count] = [b""] * count  # whoever takes the part may let go of it
                    yield ordinal, part
                    ordinal += count
    except (OSError, pa.ArrowInvalid) as error:
        yield ordinal, [Fault(ordinal, "error:read", f"Line {ordinal + 1}: {_cause(error)}")]


def _too_long(ordinal: int) -> Fault:
    return Fault(ordinal, "error:read", f"Line {ordinal + 1} is longer than {MAX_LINE:,} bytes.")


def _cause(error: Exception) -> str:
    text = str(error).split("\n")[0]
    return (
        "the compressed file ends too early (an unfinished download?)." if "Truncated" in text else f"{text}."
    )


def _open(piece: Slice) -> Any:
    if is_packed(piece.path):
        return open_stream(piece.path)
    file = Path(piece.path).open("rb")  # noqa: SIM115 - the caller closes it
    file.seek(piece.start, os.SEEK_SET)
    return file


def _lines(blocks: Iterator[bytes]) -> Iterator[list[bytes | None]]:
    """The lines of each block without their ends; None for a line that is too long."""
    rest: list[bytes] = []  # parts of the line that goes on in the next block
    for block in blocks:
        lines: list[bytes | None] = list(block.split(b"\n"))
        rest.append(lines[0] or b"")
        if len(lines) > 1:
            lines[0], rest = _whole(rest), []
            rest = [lines.pop() or b""]
            yield lines
        elif sum(map(len, rest)) > MAX_LINE:
            rest = [_TOO_LONG]
    if any(rest):
        yield [_whole(rest)]


def _bytes(stream: BinaryIO, piece: Slice) -> Iterator[bytes]:
    """Blocks of the slice; what a broken stream gives before it breaks comes before the error."""
    left = piece.stop - piece.start if piece.stop >= 0 else sys.maxsize
    parts: list[bytes] = []
    try:
        while part := stream.read(min(_PIECE, left)):
            parts.append(part)
            left -= len(part)
            if len(parts) * _PIECE >= _BLOCK:
                yield b"".join(parts)
                parts = []
    except OSError:
        if parts:
            yield b"".join(parts)
        raise
    if parts:
        yield b"".join(parts)


def _whole(parts: list[bytes]) -> bytes | None:
    return None if parts[0] is _TOO_LONG else b"".join(parts)


def read_json(piece: Slice, columns: Columns) -> Iterator[Read]:
    """The records of a .json file: of its array, its lines, or the one object that it is.

    Raises:
        SourceError: the text column is missing.
    """
    value = _json_value(piece)
    if value is None:
        yield from read(piece, columns)
        return
    if isinstance(value, Fault):
        yield fault(0, value.reason, value.message)
        return
    elements = value if isinstance(value, list) else [value]
    roles = _json_roles(piece, columns, elements)
    for start in range(0, len(elements), MAX_ROWS):
        part = list(enumerate(elements[start : start + MAX_ROWS], start))
        faults = [
            Fault(ordinal, "error:read", f"Element {ordinal + 1}: expected an object, found {_kind(row)}.")
            for ordinal, row in part
            if not isinstance(row, dict)
        ]
        good = [(ordinal, row) for ordinal, row in part if isinstance(row, dict)]
        yield from_rows([row for _, row in good], [ordinal for ordinal, _ in good], roles, faults)


def json_roles(piece: Slice, columns: Columns) -> dict[str, str]:
    """Role → column of a .json file."""
    value = _json_value(piece)
    if value is None or isinstance(value, Fault):
        return roles_of(piece, columns)
    return _json_roles(piece, columns, value if isinstance(value, list) else [value])


def _json_roles(piece: Slice, columns: Columns, elements: list[Any]) -> dict[str, str]:
    names = {name: None for row in elements[:_SAMPLE] if isinstance(row, dict) for name in row}
    return resolve(columns, list(names), piece.shown, all_known=False)


def _json_value(piece: Slice) -> Any:
    """The array or object that a .json file is, a fault, or None: it holds JSON lines."""
    try:
        with _open(piece) as stream:
            data = stream.read(MAX_JSON + 1)
    except (OSError, pa.ArrowInvalid) as error:
        return Fault(0, "error:read", _cause(error).capitalize())
    start = data.removeprefix(_BOM).lstrip()
    if start[:1] != b"[" and isinstance(_carefully(start.split(b"\n", 1)[0], 0), dict):
        return None
    if len(data) > MAX_JSON:
        message = (
            f"A JSON file that is one value may have {MAX_JSON:,} bytes; make it JSON lines: jq -c '.[]'"
        )
        return Fault(0, "error:read", message)
    value = _carefully(data, 0)
    if isinstance(value, Fault):
        return replace(value, message=value.message.replace("Line 1: ", ""))
    return value if isinstance(value, list | dict) else [value]
