"""Numbers as people read them: the same in the terminal, in plain lines and in the HTML report."""

from __future__ import annotations

_SIZES = ("bytes", "kB", "MB", "GB", "TB")


def share(part: float, whole: float) -> str:
    """`part` of `whole` in percent; 0 and 100 only where it is none and all.

    >>> share(301, 380), share(1, 20_000), share(19_999, 20_000), share(0, 5)
    ('79 %', '0.01 %', '99.995 %', '0 %')
    """
    if not whole:
        return "0 %"
    percent = 100 * part / whole
    for digits in range(6):
        rounded = round(percent, digits)
        if (rounded > 0 or part == 0) and (rounded < 100 or part >= whole):
            break
    return f"{rounded:.{digits}f} %"


def duration(seconds: float) -> str:
    """Seconds with a fitting unit.

    >>> duration(0.04), duration(3.14), duration(59), duration(200), duration(4800)
    ('0.0 s', '3.1 s', '59 s', '3 min 20 s', '1 h 20 min')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest and minutes < 10 else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def size(count: float) -> str:
    """Bytes with a decimal unit.

    >>> size(0), size(1), size(999), size(1_240_000), size(16_000_000)
    ('0 bytes', '1 byte', '999 bytes', '1.2 MB', '16 MB')
    """
    unit = 0
    while count >= 999.5 and unit < len(_SIZES) - 1:
        count, unit = count / 1000, unit + 1
    if not unit:
        return plural(round(count), "byte")
    return f"{count:.1f} {_SIZES[unit]}" if count < 10 else f"{count:.0f} {_SIZES[unit]}"


def plural(count: int, one: str, many: str = "") -> str:
    """A count with its noun.

    >>> plural(1, "document"), plural(1204, "document"), plural(2, "query", "queries")
    ('1 document', '1,204 documents', '2 queries')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def number(value: float) -> str:
    """A measured value or a limit: as short as it stays true.

    >>> number(50.0), number(0.8), number(100000), number(3.14159), number(0.0004)
    ('50', '0.8', '100,000', '3.142', '0.0004')
    """
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
