"""The tests that FineWeb added to those of Gopher and C4, as numbers."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, field_validator

from curate.engine.stage import Batch, Measured, Options, stage
from curate.text.punctuation import LIMIT, TERMINAL
from curate.text.repeats import count_line_ends, count_repeated, drop_blank, split_pieces
from curate.text.sums import sum_texts
from curate.text.tokens import Splitter, depends_on, find_tokens
from curate.text.words import find_words

_MEASURES = pa.struct(
    [
        ("lines", pa.int64()),
        ("line_punct_ratio", pa.float64()),
        ("short_line_ratio", pa.float64()),
        ("char_dup_ratio", pa.float64()),
        ("list_ratio", pa.float64()),
    ]
)


class FinewebOptions(Options):
    """What a token, the end of a sentence and a short line are."""

    splitter: Splitter = Field(
        "plain", description="what a token is: `english-exact` as spaCy's blank English; `segmenter` as ICU"
    )
    terminal_marks: str = Field(
        TERMINAL, description="characters that end a sentence; by default 159 marks of many scripts"
    )
    short_line_length: int = Field(30, ge=0, description="characters of a short line, at most")

    @field_validator("terminal_marks")
    @classmethod
    def _are_known(cls, marks: str) -> str:
        for mark in marks:
            if ord(mark) >= LIMIT:
                raise ValueError(f"U+{ord(mark):X} is no mark of any script")
        return marks


@stage(measures=_MEASURES, version=1, models=lambda options: depends_on(options.splitter))
def fineweb(batch: Batch, options: FinewebOptions) -> Measured:
    """Measure what tells running text from lists and menus.

    The tests are those of FineWeb (Penedo et al. 2024, arXiv:2406.17557, section 3.6) in the form of
    datatrove's `FineWebQualityFilter`; a document was kept there with

    | measure | kept with | meaning |
    | --- | --- | --- |
    | `lines` | from 1 | lines that are not blank |
    | `line_punct_ratio` | from 0.12 | share of them that end in a mark that ends sentences |
    | `short_line_ratio` | up to 0.67 | share of them that have at most `short_line_length` characters |
    | `char_dup_ratio` | up to 0.01 | characters in lines that repeat an earlier one, of all but the line ends |
    | `list_ratio` | up to 0.3 | line ends a token |

    Only `\\n` ends a line, and white space at its end counts: a line that ends in a space ends in no mark.
    FineWeb's tokens are spaCy's (`english-exact`), punctuation included.
    """
    lines = drop_blank(batch.text, split_pieces(batch.text, 1))
    ended, short = count_line_ends(batch.text, lines, options.short_line_length, options.terminal_marks)
    _, repeated = count_repeated(batch.text, lines)
    sums = batch.remember("sums", lambda: sum_texts(batch.text))
    counts = batch.remember(
        f"token counts {options.splitter}", partial(_count_tokens, batch, options.splitter)
    )
    measures = {
        "lines": lines.lines,
        "line_punct_ratio": _ratio(ended, lines.lines),
        "short_line_ratio": _ratio(short, lines.lines),
        "char_dup_ratio": _ratio(repeated, sums.characters - sums.newlines),
        "list_ratio": _ratio(sums.newlines, counts),
    }
    return Measured({name: pa.array(values) for name, values in measures.items()})


def _count_tokens(batch: Batch, splitter: Splitter) -> npt.NDArray[np.int64]:
    if splitter == "plain":
        return np.diff(batch.remember("words", lambda: find_words(batch.text)).first)
    return batch.remember(f"tokens {splitter}", partial(find_tokens, batch.text, splitter)).tokens


def _ratio(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return part / np.maximum(whole, 1)
