"""Dates and languages as records carry them: ISO 8601 and ISO 639-1, "" for what cannot be read."""

from __future__ import annotations

import datetime
import email.utils
import re
from typing import Any

_CLOCK = r"[T ]\d{2}:?\d{2}(?::?\d{2}(?:[.,]\d+)?)?\s*(?:Z|UTC|[+-]\d{2}:?\d{2})?"
_ISO = re.compile(rf"(\d{{4}})([-/.]?)(\d{{2}})\2(\d{{2}})(?:{_CLOCK})?")
_YEAR = re.compile(r"\d{4}(?:-\d{2})?")
_SECONDS, _MILLISECONDS = (1e8, 1e10), (1e11, 1e13)  # years 1973 to 2286


def iso_date(value: Any) -> str:
    """A date or time as ISO 8601, to the day or as precise as it was; "" if it is none.

    Takes dates, ISO forms ("2024-01-05T10:00Z", "2024/01/05", "2024-01"), mail dates (RFC 2822) and Unix
    times in seconds or milliseconds. Other forms ("01/05/24") are ambiguous.

    >>> iso_date("2024/01/05"), iso_date("Fri, 05 Jan 2024 10:00:00 GMT"), iso_date("01/05/24")
    ('2024-01-05', '2024-01-05T10:00:00+00:00', '')
    """
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _unix_time(value)
    if not isinstance(value, str):
        return ""
    text = value.strip()
    if _YEAR.fullmatch(text):
        return text
    if match := _ISO.fullmatch(text):
        return _checked(match, text)
    try:
        return email.utils.parsedate_to_datetime(text).isoformat()
    except (ValueError, OverflowError):
        return ""


def _unix_time(value: float) -> str:
    for (low, high), unit in ((_SECONDS, 1), (_MILLISECONDS, 1000)):
        if low <= value < high:
            return datetime.datetime.fromtimestamp(value / unit, datetime.UTC).isoformat()
    return ""


def _checked(match: re.Match[str], text: str) -> str:
    try:
        day = datetime.date(int(match[1]), int(match[3]), int(match[4])).isoformat()
    except ValueError:
        return ""
    rest = text[match.end(4) :].strip()
    return f"{day}T{rest.lstrip('T')}" if rest else day


def language_code(label: Any) -> str:
    """The ISO 639-1 code of a language tag; "" if it has none.

    >>> language_code("pt_BR"), language_code("x-default")
    ('pt', '')
    """
    code = re.split(r"[-_,; ]", label.strip().lower(), maxsplit=1)[0] if isinstance(label, str) else ""
    return code if len(code) == 2 and code.isalpha() and code.isascii() else ""
