"""What steps made of a text: a unified diff that is short, and in which nothing is invisible."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

_LINES = 40  # of a diff, context and all
_LONG_LINE = 160  # a longer one is taken apart at the ends of its sentences
_AROUND = 60  # characters left on both sides of the change in a long piece
_LONGEST = 240
_COMPARED = 2_000  # pieces on each side: the comparison takes their square in the worst case
_SENTENCE_END = re.compile(r"(?<=[.!?。！？])\s+")

Piece = tuple[int, str]  # number of the line, from 1, and what stands there


def unified_diff(old: str, new: str, lines: int = _LINES) -> tuple[list[str], int]:
    """At most `lines` lines of a unified diff, and how many were left out; [] for equal texts.

    A line begins with "@@" (and names the first line shown), " ", "-" or "+". Control and format characters
    are escaped, white space at the end of a line is shown as "·", and of a long line only the neighbourhood of
    the change is there. White space at the end of the text is no difference: nearly every file ends with a line.
    """
    old, new = old.rstrip(), new.rstrip()
    before, after = _pieces(old), _pieces(new)
    start = _equal(before, after)
    end = _equal(before[start:][::-1], after[start:][::-1])
    first = max(start - 1, 0)  # a line of context
    one, two = before[first : len(before) - end + 1], after[first : len(after) - end + 1]
    left_out = max(len(one), len(two), _COMPARED) - _COMPARED
    drawn = list(_hunks(one[:_COMPARED], two[:_COMPARED])) if old != new else []
    return drawn[:lines], max(len(drawn) - lines, 0) + left_out


def _pieces(text: str) -> list[Piece]:
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        parts = _SENTENCE_END.split(line) if len(line) > _LONG_LINE else [line]
        found += [(number, part) for part in parts]
    return found


def _equal(one: Sequence[Piece], two: Sequence[Piece]) -> int:
    """How many pieces are equal from the start on."""
    count = 0
    for (_, left), (_, right) in zip(one, two, strict=False):
        if left != right:
            break
        count += 1
    return count


def _hunks(before: list[Piece], after: list[Piece]) -> Iterator[str]:
    one, two = [piece for _, piece in before], [piece for _, piece in after]
    for group in SequenceMatcher(None, one, two, autojunk=False).get_grouped_opcodes(1):
        near = (
            before[min(group[0][1], len(before) - 1)] if before else (1, "")
        )  # past the end where text was added
        yield f"@@ line {near[0]} @@"
        for tag, low, high, from_, to in group:
            if tag == "equal":
                yield from (f" {_shown(piece)}" for piece in one[low:high])
            else:
                yield from _replaced(one[low:high], two[from_:to])


def _replaced(gone: list[str], come: list[str]) -> Iterator[str]:
    if len(gone) == len(come):
        pairs = [_narrowed(*pair) for pair in zip(gone, come, strict=True)]
        gone, come = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    else:
        gone, come = [_shown(piece) for piece in gone], [_shown(piece) for piece in come]
    yield from (f"-{piece}" for piece in gone)
    yield from (f"+{piece}" for piece in come)


def _narrowed(old: str, new: str) -> tuple[str, str]:
    """Both pieces as shown, cut to the neighbourhood of what differs where they are long."""
    if max(len(old), len(new)) > _LONGEST:
        shorter = min(len(old), len(new))
        start = next((at for at in range(shorter) if old[at] != new[at]), shorter)
        end = next((at for at in range(shorter - start) if old[-1 - at] != new[-1 - at]), shorter - start)
        low = max(start - _AROUND, 0)
        old, new = (_cut(piece, low, len(piece) - end + _AROUND) for piece in (old, new))
    return _shown(old), _shown(new)


def _cut(piece: str, low: int, high: int) -> str:
    return ("…" if low else "") + piece[low:high] + ("…" if high < len(piece) else "")


def _shown(piece: str) -> str:
    """A piece in one line of printable characters; what only composing (NFC) tells apart is escaped, too."""
    if len(piece) > _LONGEST:
        piece = piece[:_LONGEST] + "…"
    bare = piece.rstrip(" ")
    composed = unicodedata.is_normalized("NFC", bare)
    plain = "".join(
        character
        if character.isprintable() and (composed or not _decomposed(character))
        else character.encode("unicode_escape").decode("ascii")
        for character in bare
    )
    return plain + "·" * (len(piece) - len(bare))


def _decomposed(character: str) -> bool:
    return bool(unicodedata.combining(character)) or not unicodedata.is_normalized("NFC", character)
