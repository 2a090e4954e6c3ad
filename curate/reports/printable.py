"""Text of strangers (titles, URLs, reasons, exceptions) made safe for one line of a terminal.

Neither Rich nor a terminal strips escape sequences: a title could set the window's title, clear the
screen, or show its letters in another order than they have.
"""

from __future__ import annotations

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_ELLIPSIS = "…"


def printable(s: str, n: int = 200) -> str:
    """The text as at most `n` printable characters in one line; what is cut off shows as "…".

    White space of any kind becomes a space. Every other character without a printed form becomes U+FFFD:
    C0 and C1 controls (ESC, BEL, CSI), bidi and zero-width controls (U+202E), private use, lone surrogates.

    >>> printable("\\x1b[2Jred\\nline")
    '�[2Jred line'
    """
    shown = s if len(s) <= n else s[: max(n - 1, 0)] + _ELLIPSIS[:n]
    if shown.isprintable():
        return shown
    return "".join(map(_shown, shown))


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else _REPLACEMENT
