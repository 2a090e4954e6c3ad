"""What a reader gives: batches of records (documents without keys), and a fault for what gave none.

Columns of one's own travel in `extra`, one JSON object per record: compact, keys in the order of the
input. A record's row depends on the record alone, never on its neighbours, for it is what keys are made
from. So rows go through `to_json` one by one, and Arrow columns through Polars with the schema of the
file.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic_core import PydanticSerializationError, to_json

from curate.sources.long_lines import LongText
from curate.sources.values import iso_date, language_code
from schemas.errors import SourceError, did_you_mean
from schemas.tables import RECORD_SCHEMA

# Of a recipe's source: role (text, title, url, date, author, language) → column, nested ones with dots.
Columns = Mapping[str, str]
Ordinals = npt.NDArray[np.int64]  # positions of records in their file

MAX_ROWS = 5_000
MAX_BYTES = 32_000_000
ROLES = {
    "text": "text", "title": "title", "author": "author", "date": "date", "language": "declared_language", "url": "url",
}  # fmt: skip
NORMALISED = ("date", "language")  # these stay in `extra` too, as they were
_TEXT_NAMES = ("content", "body", "markdown")


@dataclass(frozen=True)
class Slice:
    """A bounded part of one file: the unit of work.

    `start` and `stop` are bytes of JSONL and row groups of Parquet; -1 is the end. `first` is the ordinal of
    the slice's first record. `url` is where a file came from that was fetched to `path`.
    """

    path: str
    kind: str
    start: int = 0
    stop: int = -1
    first: int = 0
    url: str = ""

    @property
    def shown(self) -> str:
        """The file as its user knows it."""
        return self.url or self.path


@dataclass(frozen=True)
class Fault:
    """An input that gives no document: a row, never an exception.

    Reasons: error:read, error:extract, error:too_deep, error:timeout, error:memory, skipped:not_html,
    skipped:not_text, skipped:no_text, skipped:too_large, skipped:status, empty:javascript.
    """

    ordinal: int
    reason: str
    message: str


REPLACED = "replaced:utf8"


@dataclass(frozen=True)
class Read:
    """Records (RECORD_SCHEMA; at most 5,000 rows and about 32 MB of text) and faults, each in its order.

    `replaced` tells, with the reason REPLACED, which of the records hold U+FFFD for bytes that are not UTF-8.
    """

    records: pa.RecordBatch
    faults: tuple[Fault, ...] = ()
    replaced: tuple[Fault, ...] = ()


# Not of a list, for which Arrow would import pandas.
NO_RECORDS = pa.RecordBatch.from_arrays(
    [pa.nulls(0, field.type) for field in RECORD_SCHEMA], schema=RECORD_SCHEMA
)


def fault(ordinal: int, reason: str, message: str) -> Read:
    """A Read of nothing but one fault."""
    return Read(NO_RECORDS, (Fault(ordinal, reason, message),))


def replaced(ordinal: int, what: str, value: bytes) -> Fault | None:
    """What is told of bytes that are not UTF-8, if they are not; `what` they are, as "Line"."""
    try:
        value.decode("utf-8")
    except UnicodeDecodeError as error:
        place = f"{what} {ordinal + 1}: byte {error.start + 1:,} (0x{value[error.start]:02x})"
        return Fault(ordinal, REPLACED, f"{place} is not UTF-8; U+FFFD is there instead.")
    return None


def one_record(ordinal: int, fields: Mapping[str, str], extra: Mapping[str, Any] | None = None) -> Read:
    """A Read of one record; fields that are not given are empty."""
    return Read(records_of([{"ordinal": ordinal, **fields, "extra": _json(extra or {}).decode()}]))


def records_of(rows: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
    """Records of fields by name; those that are not given are empty."""
    arrays = {
        name: [row.get(name, "{}" if name == "extra" else "") for row in rows] for name in RECORD_SCHEMA.names
    }
    return pa.RecordBatch.from_pydict(arrays, RECORD_SCHEMA)


def resolve(columns: Columns, names: Sequence[str], path: str, *, all_known: bool = True) -> dict[str, str]:
    """Role → column for one input, whose top-level columns are `names`; `columns` may name one's own, too.

    What the recipe does not say is taken from columns of the role's own name; the text also from `content`,
    `body` or `markdown` if only one of them is there.

    Raises:
        SourceError: the text column is missing, or (`all_known`) another one that the recipe names.
    """
    found = {role: role for role in ROLES if role in names}
    if "text" not in found:
        candidates = [name for name in _TEXT_NAMES if name in names]
        if len(candidates) == 1:
            found["text"] = candidates[0]
    found |= columns
    for role in ("text", *(columns if all_known else ())):
        column = found.get(role, "")
        # A header may name a column "": that is none to have been asked for.
        if not column or (column.split(".")[0] not in names and column not in names):
            raise _missing(role, column, names, path)
    return {role: column for role, column in found.items() if role in ROLES}


def _missing(role: str, column: str, names: Sequence[str], path: str) -> SourceError:
    named = [name for name in names if name]
    known = ", ".join(named) or "none"
    near = (difflib.get_close_matches(column, named, 1) or named or ["body"])[0]
    example = (
        f"""in a recipe's source columns = {{ {role} = "{near}" }}, of a command --columns '{role}={near}'"""
    )
    if column:
        message = f'{path} has no column "{column}" for {role}. Its columns: {known}.'
        return SourceError(message, hint=f"{did_you_mean(column, named)} That is, {example}")
    message = f"{path} has no column text. Its columns: {known}."
    return SourceError(message, hint=f"Say which column holds the text: {example}")


def from_rows(
    rows: Sequence[dict[str, Any]],
    ordinals: Sequence[int],
    roles: Mapping[str, str],
    known: Sequence[Fault] = (),
) -> Read:
    """Records of rows as JSON gives them; `known` are faults found before. The rows are used up.

    A text that is no string, and a row nested too deep to be written again, are faults.
    """
    values = {role: [_take(row, column, role) for row in rows] for role, column in roles.items()}
    wrong: dict[int, str] = {}
    for index, text in enumerate(values["text"]):
        if type(text) is not str and type(text) is not LongText:
            if isinstance(text, dict | list):
                kind = "an object" if isinstance(text, dict) else "an array"
                wrong[index] = f'column "{roles["text"]}" is {kind}, not a string'
            values["text"][index] = as_text(text)
    dates = [iso_date(value) for value in values["date"]] if "date" in roles else None
    languages = [language_code(value) for value in values["language"]] if "language" in roles else None
    extras: list[bytes] = []
    for index, row in enumerate(rows):
        try:
            extras.append(_json(row) if row else b"{}")
        except (PydanticSerializationError, RecursionError) as error:
            extras.append(b"{}")
            wrong[index] = str(error).removeprefix("Error serializing to JSON: ").rstrip(".")
    arrays = {
        "ordinal": ordinals, "text": values["text"], "extra": extras, "date": dates, "declared_language": languages,
        **{role: [as_text(value) for value in values[role]] for role in ("title", "author", "url") if role in roles},
    }  # fmt: skip
    records = _batch(arrays, len(rows))
    if wrong:
        records = records.filter(pa.array([index not in wrong for index in range(len(rows))]))
    places = {ordinals[index]: cause for index, cause in wrong.items()}
    found = [
        Fault(ordinal, "error:read", f"Record {ordinal + 1}: {cause}.") for ordinal, cause in places.items()
    ]
    return Read(records, tuple(sorted((*known, *found), key=lambda fault: fault.ordinal)))


def _batch(arrays: Mapping[str, Any], count: int) -> pa.RecordBatch:
    empty = [""] * count
    columns = []
    for field in RECORD_SCHEMA:
        value = arrays.get(field.name)
        columns.append(pa.array(empty if value is None else value, field.type))
    return pa.RecordBatch.from_arrays(columns, schema=RECORD_SCHEMA)


def _json(row: Mapping[str, Any]) -> bytes:
    return to_json(row, inf_nan_mode="null", fallback=_plain)  # NaN and infinity are no JSON


def _plain(value: Any) -> Any:
    """A number or array of NumPy, which a loader may give, as a plain value.

    Raises:
        TypeError: any other object; its text might hold an address in memory, and change with every run.
    """
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _take(row: dict[str, Any], column: str, role: str) -> Any:
    """The value of a column, taken out of the row; of what is nested only the text leaves its object."""
    if column in row or "." not in column:
        return row.get(column) if role in NORMALISED else row.pop(column, None)
    *path, last = column.split(".")
    value: Any = row
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    if not isinstance(value, dict):
        return None
    return value.pop(last, None) if role == "text" else value.get(last)


def as_text(value: Any) -> str:
    """A value as a string: "" for nothing, names in a list joined by commas, anything else as JSON."""
    if type(value) is str:
        return value
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return to_json(value, inf_nan_mode="null", fallback=_plain).decode().strip('"')
