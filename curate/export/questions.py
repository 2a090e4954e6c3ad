"""Questions that a page answers: under headings, in definition lists, on a page called FAQ, in its title."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from curate.export.labels import ASKING, ASKING_ANYWHERE, FAQ_NAMES
from curate.export.lines import (
    MARKS,
    Line,
    alternatives,
    heading_of,
    is_question,
    joined,
    paragraphs,
    plain,
    words,
)

Pair = tuple[str, str]  # a question and its answer

_FAQ = re.compile(rf"(?i)(?<![^\W_])(?:{alternatives(FAQ_NAMES)})(?![a-z])")
_ASKS = re.compile(rf"(?i)^[\W_]*(?:{alternatives(ASKING)})(?![^\W_])|{alternatives(ASKING_ANYWHERE)}")
_SITE = re.compile(rf"[{MARKS}][ \t]*[|–—·»-][ \t]")  # between a question and the name of the site
_LEAST_WORDS = 20  # of a page that answers its title


@dataclass
class _Section:
    """A heading with the text up to the next one; `up` are the positions of the headings above it."""

    heading: str
    rank: int
    up: tuple[int, ...]
    lines: list[Line] = field(default_factory=list)

    @property
    def asks(self) -> bool:
        return is_question(self.heading)

    @property
    def filled(self) -> bool:
        return not all(line.blank for line in self.lines)


def _sections(lines: Sequence[Line]) -> list[_Section]:
    """The sections in order; first the text before the first heading, under no heading."""
    sections = [_Section("", 0, ())]
    above: list[int] = []
    for line in lines:
        if not line.rank:
            sections[-1].lines.append(line)
            continue
        while above and sections[above[-1]].rank >= line.rank:
            above.pop()
        sections.append(_Section(heading_of(line), line.rank, tuple(above)))
        above.append(len(sections) - 1)
    return sections


def faq(title: str, lines: Sequence[Line]) -> list[Pair]:
    """Questions with their answers, if they make the page or a section an FAQ."""
    sections = _sections(lines)
    named = [_is_faq(section.heading) for section in sections]
    page = _is_faq(title)
    inside = [page or named[n] or any(named[up] for up in one.up) for n, one in enumerate(sections)]
    answers = {n: _answer(sections, n) for n, section in enumerate(sections) if section.asks}
    asking = [n for n, answer in answers.items() if answer]
    found = [n for n in asking if inside[n]] or (asking if _mostly_questions(sections, asking) else [])
    pairs = [(plain(sections[n].heading), answers[n]) for n in found]
    for section, called in zip(sections, inside, strict=True):
        if not section.asks:
            pairs += _defined(section.lines)
            pairs += _asked_in_paragraphs(section.lines) if called else []
    return pairs


def _is_faq(name: str) -> bool:
    """Whether a title or heading says that questions follow; "What is an FAQ?" does not."""
    return _FAQ.search(name) is not None and not is_question(name)


def _answer(sections: list[_Section], position: int) -> str:
    """The text under a heading, with the sections below it up to the next question."""
    lines = list(sections[position].lines)
    for section in (sections[n] for n in range(position + 1, len(sections))):
        if position not in section.up or section.asks:
            break
        lines += [Line("#" * section.rank + " " + section.heading), *section.lines]
    return joined(lines)


def _mostly_questions(sections: list[_Section], asking: list[int]) -> bool:
    """Whether a page that does not say so is an FAQ: three questions or more, and four fifths of its sections.

    Rhetorical headings ("So what?") are short, or no question that somebody would look up: so each has three
    words, and half of them begin as questions do.
    """
    asked = [plain(sections[n].heading) for n in asking]
    if len(asked) < 3 or any(words(question) < 3 for question in asked):
        return False
    known = set(asking)
    others = sum(
        section.filled and section.rank > 1 and n not in known and known.isdisjoint(section.up)
        for n, section in enumerate(sections)
    )
    starts = sum(_ASKS.search(question) is not None for question in asked)
    return len(asked) >= 4 * others and starts * 2 >= len(asked)


def _defined(lines: list[Line]) -> Iterator[Pair]:
    """Questions in a definition list, as the extraction writes it: a line, then ": " and the answer."""
    for part in paragraphs(lines):
        starts = [
            n for n, (one, two) in enumerate(pairwise(part)) if two.text.startswith(": ") and not one.code
        ]
        if len(starts) < 2 or not all(is_question(part[n].text) for n in starts):
            continue
        for start, stop in pairwise([*starts, len(part)]):
            answer = re.sub(r"(?m)^(?:: |  )", "", joined(part[start + 1 : stop]))
            yield plain(part[start].text), answer


def _asked_in_paragraphs(lines: list[Line]) -> Iterator[Pair]:
    """Paragraphs that are one question, and the text up to the next; there have to be two."""
    parts = paragraphs(lines)
    starts = [n for n, part in enumerate(parts) if _one_question(part)]
    for start, stop in pairwise([*starts, len(parts)] if len(starts) > 1 else []):
        answer = "\n\n".join(joined(part) for part in parts[start + 1 : stop])
        if answer:
            yield plain(joined(parts[start])), answer


def _one_question(part: list[Line]) -> bool:
    text = joined(part)
    one = len(part) == 1 and is_question(text) and sum(map(text.count, MARKS)) == 1
    return one and 3 <= words(plain(text)) <= 40


def question_page(title: str, lines: Sequence[Line]) -> Pair | None:
    """The title and the text; None if nobody would look the title up, or if the text goes on asking."""
    start = next((n for n, line in enumerate(lines) if not line.blank), 0)
    own = start < len(lines) and lines[start].rank == 1
    asked = heading_of(lines[start]) if own else _without_site(title).strip()
    question = plain(asked) if is_question(asked) else ""
    body = lines[start + 1 :] if own else lines
    parts = [joined(part) for part in paragraphs(body) if not part[0].rank]
    wanted = words(question) >= 3 and _ASKS.search(question) is not None
    if not wanted or not parts or any(mark in parts[0] for mark in MARKS):
        return None
    return (question, joined(body)) if sum(map(words, parts)) >= _LEAST_WORDS else None


def _without_site(title: str) -> str:
    """A title without what follows its question: "How do I pay? | Acme"."""
    match = _SITE.search(title)
    return title[: match.start() + 1] if match else title
