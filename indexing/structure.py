"""Where a text can be cut: ends of sentences, blocks of Markdown, headings. Positions are characters."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.int64]

INSIDE, WORD, SENTENCE, BLOCK, HEADING = range(5)  # ranks of a cut, the higher the better

# A full stop before a small letter is an abbreviation. Scripts with their own stops need no space after them.
_SENTENCE = re.compile(r"[.!?…]+[\"'”’»)\]]*\s+(?![a-z])|[。！？｡।॥؟۔]+[\"'”’」』）]*\s*")
_LINE = re.compile(r"[^\n]*\n?")
_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(\S.*?)[ \t]*#*[ \t]*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ITEM = re.compile(r"\s*(?:[-*+•]|\d{1,3}[.)])\s")


@dataclass(frozen=True)
class Structure:
    """Beginnings of sentences, blocks and sections; `whole` are code blocks and tables (start, end)."""

    sentences: Places
    blocks: Places
    headings: Places
    whole: list[tuple[int, int]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)  # of the sections, as `headings`

    @classmethod
    def none(cls) -> Structure:
        """No structure."""
        nowhere = np.empty(0, np.int64)
        return cls(nowhere, nowhere, nowhere)

    def section(self, place: int) -> str:
        """Headings above a place, outermost first: "Install > Linux"; empty before the first."""
        at = int(np.searchsorted(self.headings, place, "right"))
        return self.paths[at - 1] if at else ""


def find_structure(text: str) -> Structure:
    """Read the lines of a text as Markdown: ATX headings, fenced code, tables with leading bars, lists, blank lines."""
    lines = _Lines(text)
    sentences = [match.end() for match in _SENTENCE.finditer(text)]
    if lines.whole:  # a full stop in code ends no sentence, its lines are what it can be cut at
        edges = np.array(lines.whole).reshape(-1)
        places = np.array(sentences, np.int64)
        sentences = places[np.searchsorted(edges, places, "right") % 2 == 0].tolist()
    return Structure(
        _sorted([*sentences, *lines.items]),
        _sorted(lines.blocks),
        np.array(lines.headings, np.int64),
        lines.whole,
        lines.paths,
    )


class _Lines:
    """One pass over the lines."""

    def __init__(self, text: str) -> None:
        self.items: list[int] = []  # lines of code and tables, items of lists
        self.blocks: list[int] = []
        self.headings: list[int] = []
        self.paths: list[str] = []
        self.whole: list[tuple[int, int]] = []
        self._open: list[tuple[int, str]] = []
        self._kind = ""  # of the line before: "", "text", "table", "code"
        self._fence = ""
        self._since = 0
        end = 0
        for match in _LINE.finditer(text):
            self._line(match.start(), match.end(), match[0])
            end = match.end()
        self._turn("", end)

    def _line(self, start: int, end: int, line: str) -> None:
        if self._fence:
            self.items.append(start)
            if line.strip().startswith(self._fence) and not line.strip().strip(self._fence[0]):
                self._fence = ""
                self._turn("", end)
            return
        if not line.strip():
            self._turn("", start)
        elif fence := _FENCE.match(line):
            self._turn("code", start)
            self._fence = fence[1]
        elif line.lstrip().startswith("|"):
            self._turn("table", start)
            self.items.append(start)
        elif heading := _HEADING.match(line):
            self._turn("", start)
            self._heading(start, len(heading[1]), heading[2])
        else:
            self._turn("text", start)
            if _ITEM.match(line):
                self.items.append(start)

    def _turn(self, kind: str, place: int) -> None:
        """A line of this kind begins here; where the kind changes, so does the block."""
        if kind == self._kind:
            return
        if self._kind in {"table", "code"}:
            self.whole.append((self._since, place))
            self.blocks.append(place)
        self.blocks.append(place)
        self._kind, self._since = kind, place

    def _heading(self, start: int, level: int, title: str) -> None:
        while self._open and self._open[-1][0] >= level:
            self._open.pop()
        self._open.append((level, title))
        self.headings.append(start)
        self.paths.append(" > ".join(title for _, title in self._open))


def _sorted(places: list[int]) -> Places:
    return np.unique(np.array(places, np.int64))
