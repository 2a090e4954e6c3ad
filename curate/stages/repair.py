"""Broken encoding, stray characters and white space, put right."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

import ftfy
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate.engine.stage import Batch, Measured, Options, stage
from curate.text.decompose import crowded, normal_form
from curate.text.detect import BROKEN, MOST_MARKS, find_suspects
from curate.text.unicode import combining_marks

_LINE_END = re.compile("\r\n?|[\x0b\x0c\x1c-\x1e\u2028\u2029]")
_BLANK_LINES = re.compile("\n{4,}")
_ROUNDS = 10  # a repair can lay bare the next fault; two rounds are the rule


class RepairOptions(Options):
    """What is repaired beyond what every text needs."""

    unescape_html: bool = Field(
        True,
        description="replace HTML entities (`&eacute;`) in a text without `<`; false for pages about HTML",
    )


@stage(
    measures=pa.struct([("changed", pa.bool_()), ("removed", pa.int64())]),
    version=1,
    rewrites=True,
    libraries=("ftfy",),
)
def repair(batch: Batch, options: RepairOptions) -> Measured:
    """Repair mojibake, compose characters (NFC), take out control characters, tidy white space.

    Mojibake, HTML entities, terminal escapes and control characters are left to ftfy, set as in FineWeb-2
    (Penedo et al. 2025, arXiv:2506.20920): quotes, ligatures and full-width characters stay as they are.
    Every line end becomes `\\n`, white space at the end of a line or the text and blank lines at its beginning
    go, three or more blank lines become two, and of more than thirty combining marks in a row (UAX 15,
    Stream-Safe Text Format) the rest goes. Indentation stays. Repairing twice changes nothing more.

    `changed` says whether the text is another one, `removed` how many characters shorter it is (0 if it is
    not). Only texts in which `curate/text/detect.py` sees something suspicious are looked at.
    """
    suspects = find_suspects(batch.text, entities=options.unescape_html)
    rows = np.flatnonzero(suspects)
    before = batch.text.take(pa.array(rows)).to_pylist()
    after = [
        repaired(text, unescape_html=options.unescape_html)
        if must or not unicodedata.is_normalized("NFC", text)
        else text
        for text, must in zip(before, suspects[rows] & BROKEN, strict=True)
    ]
    changed, removed = np.zeros(len(batch), np.bool_), np.zeros(len(batch), np.int64)
    changed[rows] = [old != new for old, new in zip(before, after, strict=True)]
    removed[rows] = [max(len(old) - len(new), 0) for old, new in zip(before, after, strict=True)]
    mask = np.zeros(len(batch), np.bool_)
    mask[rows] = True
    text = pc.replace_with_mask(batch.text, pa.array(mask), pa.array(after, pa.large_string()))
    return Measured({"changed": pa.array(changed), "removed": pa.array(removed)}, text)


def repaired(text: str, *, unescape_html: bool, every_line: bool = False) -> str:
    """One text, repaired: what the stage does, without looking first whether it is needed.

    ftfy works line by line, so it is given only the lines in which something is suspicious; `every_line`
    gives it all of them, with the same result.
    """
    fix = _fix_every_line if every_line else _fix_suspicious_lines
    for _ in range(_ROUNDS):
        fixed = fix(_LINE_END.sub("\n", text), unescape_html)
        if not fixed.isascii():
            fixed = normal_form("NFC", _crowd().sub(r"\1", fixed) if crowded(fixed) else fixed)
        lines = fixed.split("\n")
        tidy = _BLANK_LINES.sub("\n\n\n", "\n".join(line.rstrip() for line in lines)).strip("\n")
        if tidy == text:
            break
        text = tidy
    return text


@cache
def _config(unescape_html: bool) -> ftfy.TextFixerConfig:
    return ftfy.TextFixerConfig(
        unescape_html="auto" if unescape_html else False,
        fix_latin_ligatures=False,
        fix_character_width=False,
        uncurl_quotes=False,
        fix_line_breaks=False,
        normalization=None,
        explain=False,
    )


def _fix_every_line(text: str, unescape_html: bool) -> str:
    fixed: str = ftfy.fix_text(text, _config(unescape_html))
    return fixed


def _fix_suspicious_lines(text: str, unescape_html: bool) -> str:
    lines = text.split("\n")
    suspects = find_suspects(
        pa.array([_seen(line) for line in lines], pa.large_string()), entities=unescape_html
    )
    broken = np.flatnonzero(suspects & BROKEN).tolist()
    if not broken:
        return text
    # From the first "<" on, ftfy takes a text for HTML and leaves entities alone.
    markup = next((number for number, line in enumerate(lines) if "<" in line), len(lines))
    for number in broken:
        lines[number] = ftfy.fix_text(lines[number], _config(unescape_html and number < markup))
    return "\n".join(lines)


def _seen(line: str) -> str:
    """A line as the detector sees it: spaces at its end go later, unless they may be half of mojibake."""
    bare = line.rstrip(" \t")
    return bare if bare[-1:].isascii() else line


@cache
def _crowd() -> re.Pattern[str]:
    # Besides being no text, long rows of marks take NFC quadratic time: 200,000 of them half a minute.
    mark = f"[{re.escape(combining_marks())}]"
    return re.compile(f"({mark}{{{MOST_MARKS}}}){mark}+")
