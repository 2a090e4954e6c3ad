"""The quality tests of Gopher, as numbers: the thresholds stand in the recipe."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, field_validator

from curate.engine.stage import Batch, Measured, Options, stage
from curate.text.lines import count_line_marks, count_marks, find_lines
from curate.text.words import count_distinct, find_words

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")

_NEUTRAL_LENGTH = 5  # of a word in a script without spaces, whose words nobody has counted

_MEASURES = pa.struct(
    [
        ("words", pa.int64()),
        ("mean_word_length", pa.float64()),
        ("hash_ratio", pa.float64()),
        ("ellipsis_ratio", pa.float64()),
        ("bullet_line_ratio", pa.float64()),
        ("ellipsis_line_ratio", pa.float64()),
        ("alpha_word_ratio", pa.float64()),
        ("stop_words", pa.int64()),
        ("unspaced", pa.float64()),
    ]
)


class GopherQualityOptions(Options):
    """How words are found, and which of them tell that a text is language."""

    splitter: Literal["plain"] = Field(
        "plain", description="what a word is: split at white space, punctuation cut off at the edges"
    )
    stop_words: tuple[str, ...] = Field(
        STOP_WORDS, description="common words that a text should have, in the case in which they are written"
    )

    @field_validator("stop_words")
    @classmethod
    def _are_words(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        found = find_words(pa.array(words, pa.large_string()))
        sizes = [len(word.encode()) for word in words]
        for row, word in enumerate(words):
            one = found.first[row + 1] - found.first[row] == 1
            at = found.first[row]
            if not one or found.end[at] - found.start[at] != sizes[row]:
                raise ValueError(f'"{word}" is not one word to this splitter, so no text could have it')
        return words


@stage(measures=_MEASURES, version=1)
def gopher_quality(batch: Batch, options: GopherQualityOptions) -> Measured:
    """Measure what tells running text from lists, code and debris.

    The ten tests are those of Rae et al. 2021 (Gopher, arXiv:2112.11446, table A1) in the form of
    datatrove's `GopherQualityFilter`; a document was kept there with

    | measure | kept with | meaning |
    | --- | --- | --- |
    | `words` | 50 to 100,000 | words |
    | `mean_word_length` | 3 to 10 | characters a word |
    | `hash_ratio` | up to 0.1 | `#` a word |
    | `ellipsis_ratio` | up to 0.1 | `...` and `…` a word |
    | `bullet_line_ratio` | up to 0.9 | share of lines that begin with `•` or `-` |
    | `ellipsis_line_ratio` | up to 0.3 | share of lines that end in `...` or `…` |
    | `alpha_word_ratio` | from 0.8 | share of words with a letter |
    | `stop_words` | from 2 | different words of the list `stop_words`; `The` is not `the` |

    The ratios divide by all stretches of text between white space, those without a word too. Words are those
    of the splitter `plain` (`curate/text/words.py`), not spaCy's: punctuation beside a word is no word of its
    own, so `alpha_word_ratio` is higher (1.0 for plain English sentences, in datatrove about 0.9).

    Scripts without spaces (Chinese, Japanese, Thai, Khmer ...; `unspaced` is their share of the characters)
    are measured so that the thresholds, which were made for English, drop no text for its script: two
    characters, or four, count as one word, and such a word as five characters long, as the mean of English.
    Only `stop_words` needs more: a list of the language, or the language in the rule.
    """
    words = batch.remember("words", lambda: find_words(batch.text))
    lines = batch.remember("lines", lambda: find_lines(batch.text))
    hashes, ellipses = count_marks(batch.text)
    bullets, trailing = count_line_marks(batch.text, lines)
    tokens = words.words + words.symbols
    measures = {
        "words": words.words,
        "mean_word_length": _ratio(words.length + _NEUTRAL_LENGTH * words.unspaced, words.words),
        "hash_ratio": _ratio(hashes, tokens),
        "ellipsis_ratio": _ratio(ellipses, tokens),
        "bullet_line_ratio": _ratio(bullets, lines.lines),
        "ellipsis_line_ratio": _ratio(trailing, lines.lines),
        "alpha_word_ratio": _ratio(words.lettered + words.unspaced, tokens),
        "stop_words": count_distinct(batch.text, words, options.stop_words),
        "unspaced": _ratio(words.halves + words.quarters, words.visible),
    }
    return Measured({name: pa.array(values) for name, values in measures.items()})


def _ratio(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return part / np.maximum(whole, 1)
