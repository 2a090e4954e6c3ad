"""Lines of a Markdown text as the recognition of conversations sees them: headings, speakers' labels, code."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from curate.export.labels import LABELS

MARKS = "?？؟"
QUESTION_END = rf"[{MARKS}][\"'”’»*_¶ \t]*"
BEFORE = r"(?:[-*+•][ \t]+|\d{1,3}[.)][ \t]+)?(?:\[[^\]\n]{1,30}\][ \t]*)?[*_]{0,2}"  # a list's mark, a time
COLON = r"[*_]{0,2}[ \t]*[:：][*_]{0,2}"
_NUMBER = r"(?:[ \t]?#?\d{1,3})?(?:[ \t]*\([^)\n]{1,40}\))?"  # "Question 3", "User (10:32)"
_LONGEST_QUESTION = 300  # characters; a longer heading is no question, and costs the patterns no time


class Line(NamedTuple):
    """A line; `rank` is that of a heading (1 to 6), `label` the speaker's that it begins with, in small letters."""

    text: str
    rank: int = 0
    label: str = ""
    code: bool = False

    @property
    def blank(self) -> bool:
        """Whether nothing stands on it."""
        return not self.text.strip()


def alternatives(names: Iterable[str]) -> str:
    """Pattern of any of these names, the longest first."""
    return "|".join(re.escape(name) for name in sorted(names, key=lambda name: (-len(name), name)))


def labelled(names: Iterable[str]) -> str:
    """Pattern of a line that begins with one of these labels; Python's and Rust's engines both read it."""
    known = list(names)
    single = alternatives(name for name in known if len(name) == 1 and name.isascii())
    colon = rf"[ \t]*(?:#{{1,6}}[ \t]+)?{BEFORE}(?:{alternatives(known)}){_NUMBER}{COLON}"
    stop = rf"[ \t]*(?:#{{1,6}}[ \t]+)?{BEFORE}(?:{single})\d{{0,3}}\.[*_]{{0,2}}[ \t]"
    heading = rf"#{{1,6}}[ \t]+[*_]{{0,2}}(?:{alternatives(known)}){_NUMBER}[*_]{{0,2}}[ \t]*$"
    return rf"(?im)^(?:{colon}|{stop}|{heading})"


_LABELLED = re.compile(labelled(LABELS))
_LABEL = re.compile(rf"(?i)[#\s]*{BEFORE}({alternatives(LABELS)})(?![^\W\d_])")
_FENCE = re.compile(r"\s{0,3}(?:```|~~~)")
_HEADING = re.compile(r"(#{1,6})[ \t]+(?=[^\s#])")
_QUESTION = re.compile(rf"{QUESTION_END}$")
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_]+(?:['’][^\W_]+)*")
_NUMBERING = re.compile(r"(?:\d+(?:\.\d+)*[.)]?|[QFP]\d{0,3}[.:)])[ \t]+", re.IGNORECASE)
_LINK = re.compile(r"\[([^\]]+)\]\([^)\s]*\)")


def read_lines(text: str) -> list[Line]:
    """The lines of a text; in fenced code nothing is a heading or a label."""
    lines, code = [], False
    for line in text.split("\n"):
        fence = _FENCE.match(line) is not None
        if code or fence:
            code = code != fence
            lines.append(Line(line, code=True))
            continue
        heading = _HEADING.match(line)
        spoken = _LABELLED.match(line) and _LABEL.match(line)
        lines.append(Line(line, len(heading[1]) if heading else 0, spoken[1].lower() if spoken else ""))
    return lines


def heading_of(line: Line) -> str:
    """The text of a heading."""
    return line.text.lstrip("#").rstrip(" \t#").strip()


def after_label(line: Line) -> str:
    """What a labelled line says."""
    match = _LABELLED.match(line.text)
    return line.text[match.end() :].strip() if match else ""


def joined(lines: Iterable[Line]) -> str:
    """The text of lines, without white space around it."""
    return "\n".join(line.text for line in lines).strip()


def paragraphs(lines: Iterable[Line]) -> list[list[Line]]:
    """Lines cut where one is blank; code stays whole."""
    parts: list[list[Line]] = [[]]
    for line in lines:
        if line.blank and not line.code:
            parts.append([])
        else:
            parts[-1].append(line)
    return [part for part in parts if part]


def words(text: str) -> int:
    """How many words; a character counts as one in scripts without spaces."""
    return len(_WORD.findall(text))


def is_question(text: str) -> bool:
    """Whether a line ends in a question mark."""
    return len(text) <= _LONGEST_QUESTION and _QUESTION.search(text) is not None


def plain(question: str) -> str:
    """A question without its number, its links and the marks of its type face.

    >>> plain("3.2 **How do I [pay](/pay)?**")
    'How do I pay?'
    """
    bare = _LINK.sub(r"\1", question).replace("¶", "").strip().strip("*_").strip()
    return _NUMBERING.sub("", bare, count=1).strip().strip("*_").strip() if _NUMBERING.match(bare) else bare
