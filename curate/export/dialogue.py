"""Conversations that stand in a Markdown text: speakers' lines, question and answer pages.

What is recognised is meant to be right rather than complete; a document is of one of these forms:

dialogue    lines that begin with two speakers' labels in turn ("User:", "Assistant:"). One conversation for
            each run of them, because a turn builds on those before it
pairs       lines labelled as questions and answers, or as tasks and solutions ("Q:", "A:"): one conversation
            for each pair, because such pairs stand side by side
faq         headings that are questions, each followed by text: one conversation for each question. On a page
            that does not call itself an FAQ, they have to be most of its headings
question    a page whose title is a question: its text is the answer

Not found: speakers with names of their own (interviews, plays), forum threads, mails, questions without a
question mark. Code is part of what is said and never a speaker's line.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import polars as pl

from curate.export.labels import FAQ_NAMES, VOICES, Voices
from curate.export.lines import (
    BEFORE,
    COLON,
    MARKS,
    QUESTION_END,
    Line,
    after_label,
    alternatives,
    joined,
    labelled,
    paragraphs,
    read_lines,
    words,
)
from curate.export.questions import faq, question_page

Role = Literal["system", "user", "assistant"]
Conversation = list[tuple[Role, str]]

# "Manager: …", "Port: 80" in a line that is no label of ours; "B. Lisbon" in a question with choices.
_FOREIGN = re.compile(
    rf"[ \t]*{BEFORE}((?:[^\W\d_][\w.’'/-]{{0,20}})(?:[ \t][\w.’'/-]{{1,20}})?){COLON}[ \t]+\S"
)
_CHOICE = re.compile(r"[ \t]*[-*]?[ \t]*[B-E][.):][ \t]+\S")
_SENTENCE_END = re.compile(rf"[.!{MARKS}。！…:;][\"'”’»)*_\]]*$")


def may_hold() -> pl.Expr:
    """Which rows (title, text) `conversations_in` has to look at: all in which it finds something, and few more."""
    text, title = pl.col("text"), pl.col("title")
    users = {name for voices in VOICES for name in voices.user}
    others = {name for voices in VOICES for name in voices.assistant}
    names = rf"(?i)(?:{alternatives(FAQ_NAMES)})"
    return (
        (text.str.contains(labelled(users)) & text.str.contains(labelled(others)))
        | text.str.contains(rf"(?m)^#{{1,6}}[ \t].*{QUESTION_END}[ \t#]*$")
        | text.str.contains(rf"(?m){QUESTION_END}\n: ")
        | ((title + "\n" + text).str.contains(names) & text.str.contains(rf"(?m){QUESTION_END}$"))
        | title.str.contains(rf"[{MARKS}]")
    )


def conversations_in(title: str, text: str) -> tuple[str, list[Conversation]]:
    """The form of a document (dialogue, pairs, faq, question, or "") and its conversations, as `in_turn` has them."""
    lines = read_lines(text)
    if dialogues := _dialogues(lines):
        return "dialogue", dialogues
    pairs, asked = _labelled_pairs(lines), _talks(faq(title, lines))
    if pairs or asked:
        return ("pairs", pairs) if len(pairs) >= len(asked) else ("faq", asked)
    page = question_page(title, lines)
    found = _talks([page] if page else [])
    return ("question" if found else "", found)


def _talks(pairs: Iterable[tuple[str, str]]) -> list[Conversation]:
    talks = (in_turn([("user", question), ("assistant", answer)]) for question, answer in pairs)
    return [talk for talk in talks if talk]


def in_turn(messages: Iterable[tuple[Role, str]]) -> Conversation:
    """A conversation in the form that chat templates demand, or [].

    A system message stands first or nowhere, then user and assistant alternate, and an answer is last. Empty
    messages go, neighbours of one role are joined, an answer before the first question and a question
    without an answer are left out.
    """
    turns: list[tuple[Role, list[str]]] = []
    for role, text in messages:
        content = text.strip()
        if not content or (role == "assistant" and (not turns or turns[-1][0] == "system")):
            continue
        if turns and turns[-1][0] == role:
            turns[-1][1].append(content)
        elif role == "system" and turns:
            return []
        else:
            turns.append((role, [content]))
    if turns and turns[-1][0] == "user":
        turns.pop()
    talk = [(role, "\n\n".join(parts)) for role, parts in turns]
    return talk if talk and talk[-1][0] == "assistant" else []


@dataclass
class _Turn:
    role: Role
    lines: list[Line] = field(default_factory=list)

    @property
    def content(self) -> str:
        return joined(self.lines)


def _in_turn(turns: Iterable[_Turn]) -> Conversation:
    return in_turn((turn.role, turn.content) for turn in turns)


def _dialogues(lines: Sequence[Line]) -> list[Conversation]:
    voices = _heard(lines, dialogue=True)
    runs, whole = _runs(lines, voices) if voices else ([], False)
    talks = (_in_turn(run) for run in runs if _is_dialogue(run) and _is_asked(run, whole))
    return [talk for talk in talks if talk]


def _labelled_pairs(lines: Sequence[Line]) -> list[Conversation]:
    voices = _heard(lines, dialogue=False)
    runs, whole = _runs(lines, voices) if voices else ([], False)
    pairs = [pair for run in runs if _is_asked(run, whole) for pair in _pairs(run)]
    asked = sum(any(mark in question.content for mark in MARKS) for question, _ in pairs)
    if voices is None or (voices.asks and asked * 2 < len(pairs)):
        return []
    talks = (_in_turn(pair) for pair in pairs)
    return [talk for talk in talks if talk]


def _heard(lines: Sequence[Line], *, dialogue: bool) -> Voices | None:
    """The voices that most lines are labelled with; None unless both of them speak."""
    counts = Counter(line.label for line in lines if line.label)

    def both(voices: Voices) -> int:
        return min(sum(counts[name] for name in names) for names in (voices.user, voices.assistant))

    most = max((voices for voices in VOICES if voices.dialogue == dialogue), key=both)
    return most if both(most) else None


def _runs(lines: Sequence[Line], voices: Voices) -> tuple[list[list[_Turn]], bool]:
    """Turns that follow each other without a heading between them, and whether they are the whole text.

    In a dialogue that is, a heading belongs to what is said unless a label comes next.
    """
    roles: dict[str, Role] = {**dict.fromkeys(voices.user, "user"), **dict.fromkeys(voices.assistant, "assistant")}  # fmt: skip
    if voices.dialogue:
        roles |= dict.fromkeys(voices.system, "system")
    first = next((line for line in lines if line.label in roles or not (line.rank or line.blank)), Line(""))
    whole = first.label in roles
    runs: list[list[_Turn]] = [[]]
    for position, line in enumerate(lines):
        if line.label in roles:
            runs[-1].append(_Turn(roles[line.label], [Line(after_label(line))]))
        elif line.rank and not (voices.dialogue and whole and not _label_next(lines, position, roles)):
            runs.append([])
        elif runs[-1]:
            runs[-1][-1].lines.append(line)
    return [run if whole else _cut_last(run) for run in runs if run], whole


def _label_next(lines: Sequence[Line], position: int, roles: dict[str, Role]) -> bool:
    following = (lines[n] for n in range(position + 1, len(lines)))
    return next((line.label in roles for line in following if not line.blank), False)


def _cut_last(run: list[_Turn]) -> list[_Turn]:
    """Nothing says where the last turn ends and the page goes on: it gets no more paragraphs than the others."""
    most = max((len(paragraphs(turn.lines)) for turn in run[:-1]), default=1)
    kept = paragraphs(run[-1].lines)[:most]
    return [*run[:-1], _Turn(run[-1].role, [line for part in kept for line in [*part, Line("")]])]


def _is_dialogue(run: list[_Turn]) -> bool:
    """Whether two people speak: no form ("Customer: Acme", "Agent: Miller") and no play with more voices."""
    speaking = sum(_speaks(turn.content) for turn in run)
    foreign = [match[1].lower() for turn in run for line in turn.lines if (match := _foreign(line))]
    again = len(foreign) != len(set(foreign))
    return speaking * 2 >= len(run) and not again and not any(map(_in_form, run))


def _is_asked(run: list[_Turn], whole: bool) -> bool:
    """Whether one speaks to the other: "Client: who pays." and "Agent: who acts for him." are definitions.

    Two exchanges are enough, or a question; else nothing but this may stand in the text, and the answer has
    to have several lines.
    """
    asked = any(mark in turn.content for turn in run if turn.role == "user" for mark in MARKS)
    long = any("\n" in turn.content for turn in run if turn.role == "assistant")
    return sum(turn.role == "assistant" for turn in run) > 1 or asked or (whole and long)


def _pairs(run: list[_Turn]) -> Iterator[tuple[_Turn, _Turn]]:
    """Questions and their answers, where neither has a neighbour of its own role."""
    for position, (question, answer) in enumerate(pairwise(run)):
        before, after = run[max(position - 1, 0) : position], run[position + 2 : position + 3]
        if (question.role, answer.role) != ("user", "assistant"):
            continue
        alone = all(turn.role == "assistant" for turn in before) and all(
            turn.role == "user" for turn in after
        )
        choices = any(_CHOICE.match(line.text) for line in (*question.lines, *answer.lines))
        form = _in_form(question) or _in_form(answer)
        if alone and not choices and not form and (_speaks(question.content) or _speaks(answer.content)):
            yield question, answer


def _speaks(content: str) -> bool:
    number = words(content)
    return number >= 6 or (number >= 2 and _SENTENCE_END.search(content[-20:]) is not None)


def _foreign(line: Line) -> re.Match[str] | None:
    return None if line.code else _FOREIGN.match(line.text)


def _in_form(turn: _Turn) -> bool:
    """Whether the line after the label's is labelled as well, by a word that is no speaker of ours."""
    return len(turn.lines) > 1 and bool(turn.lines[0].text) and _foreign(turn.lines[1]) is not None
