"""The quality tests of Gopher, as numbers: the thresholds stand in the recipe."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, ValidationInfo, field_validator, model_validator

from curate.engine.stage import Batch, Measured, Options, stage
from curate.text.dialects import Dialect, quality
from curate.text.lines import count_line_marks, count_marks, find_lines
from curate.text.sums import sum_texts
from curate.text.tokens import Splitter, count_vocabulary, depends_on, find_tokens
from curate.text.words import Words, count_distinct, find_words

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")

Counts = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]

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
    """Whose tests they are, how words are found, and which of them tell that a text is language."""

    dialect: Dialect = Field("datatrove", description="the project whose functions they are")
    splitter: Splitter = Field(
        "plain",
        description="what a word is: split at white space, punctuation cut off at the edges; "
        "or `english-exact`, the tokens of spaCy's blank English, for the values of datatrove; or `segmenter`, words of "
        "every script by ICU, those without spaces too",
    )
    stop_words: tuple[str, ...] = Field(
        STOP_WORDS, description="common words that a text should have, in the case in which they are written"
    )

    @field_validator("stop_words")
    @classmethod
    def _are_words(cls, words: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if info.data.get("splitter") != "plain" or info.data.get("dialect") != "datatrove":
            for word in words:
                if word.split() != [word]:
                    raise ValueError(f'"{word}" is not one token, so no text could have it')
            return words
        found = find_words(pa.array(words, pa.large_string()))
        sizes = [len(word.encode()) for word in words]
        for row, word in enumerate(words):
            one = found.first[row + 1] - found.first[row] == 1
            at = found.first[row]
            if not one or found.end[at] - found.start[at] != sizes[row]:
                raise ValueError(f'"{word}" is not one word to this splitter, so no text could have it')
        return words

    @model_validator(mode="after")
    def _has_own_words(self) -> GopherQualityOptions:
        if self.dialect != "datatrove" and self.splitter != "plain":
            raise ValueError(f"the dialect {self.dialect} has words of its own: leave out splitter")
        return self


@stage(measures=_MEASURES, version=1, models=lambda options: depends_on(options.splitter))
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

    With the splitter `plain` the ratios divide by all stretches of text between white space, those without a
    word too. Its words (`curate/text/words.py`) are not spaCy's: punctuation beside a word is no word of its
    own, so `alpha_word_ratio` is higher (1.0 for plain English sentences, in datatrove about 0.9). With
    `english-exact` all numbers are those of datatrove: ratios divide by all tokens, punctuation included, and
    `words` counts the others.

    Scripts without spaces (Chinese, Japanese, Thai, Khmer ...; `unspaced` is their share of the characters)
    are measured by `plain` so that the thresholds, which were made for English, drop no text for its script:
    two characters, or four, count as one word, and such a word as five characters long, as the mean of
    English. Only `stop_words` needs more: a list of the language, or the language in the rule.

    With `segmenter` they are cut into words (ICU: by dictionary in Chinese, Japanese, Thai, Lao, Khmer and Burmese),
    all counts are of these as those of `english-exact` are of its tokens, and limits must be those of the language: a
    Chinese word has one to two characters, a Thai one four, so limits of `mean_word_length` made for English (3 to 10)
    drop all of Chinese; FineWeb-2's (`limits = "fineweb-2"`) are made for words found so.

    Other projects count otherwise. All of them have one ratio of symbols, which is `hash_ratio` (`ellipsis_ratio`
    is 0), and count stop words again and again.

    | dialect | words | `hash_ratio` | lines begin with | end in |
    | --- | --- | --- | --- | --- |
    | `dolma` (`gopher_v1`) | between white space; `mean_word_length` is the median | words with `#` or `…` | `*`, `-` | `…` |
    | `redpajama` (V2) | the same, in small letters, decomposed, without ASCII punctuation; ratios by runs of letters and digits, and of others; a letter is A to Z | `#`, `...`, `…` | ten bullets, `–` | `...`, `…` |
    | `dclm` | those of `plain` (in DCLM: Unicode words), ratios and length between white space; `The` is `the` | `#`, `...`, `. . .`, `…` | `●`, `•`, `*`, `-` | `...`, `. . .`, `…` |
    | `nemo` (NeMo Curator) | between white space | words that are `#` or an ellipsis | twelve bullets, no `-` | ellipses, `read more` |
    """
    measures: dict[str, npt.NDArray[Any]]
    if options.dialect == "datatrove":
        measures = _datatrove(batch, options)
    else:
        measures = dict(quality(options.dialect, batch.text, options.stop_words))
    measures["unspaced"] = _unspaced(batch, plain=options.splitter == "plain")
    return Measured({name: pa.array(values) for name, values in measures.items()})


def _unspaced(batch: Batch, *, plain: bool) -> Shares:
    """Share of characters of scripts without spaces: most texts hold no byte that begins one."""
    if plain:
        words = batch.remember("words", lambda: find_words(batch.text))
        return _ratio(words.halves + words.quarters, words.visible)
    rows = np.flatnonzero(batch.remember("sums", lambda: sum_texts(batch.text)).unspaced)
    shares = np.zeros(len(batch))
    words = find_words(batch.text.take(pa.array(rows)))
    shares[rows] = _ratio(words.halves + words.quarters, words.visible)
    return shares


def _datatrove(batch: Batch, options: GopherQualityOptions) -> dict[str, npt.NDArray[Any]]:
    lines = batch.remember("lines", lambda: find_lines(batch.text))
    hashes, ellipses = count_marks(batch.text)
    bullets, trailing = count_line_marks(batch.text, lines)
    if options.splitter == "plain":
        words = batch.remember("words", lambda: find_words(batch.text))
        counts = _of_words(batch.text, words, options)
    else:
        counts = _of_tokens(batch, options)
    return {
        "words": counts["words"],
        "mean_word_length": _ratio(counts["length"], counts["words"]),
        "hash_ratio": _ratio(hashes, counts["tokens"]),
        "ellipsis_ratio": _ratio(ellipses, counts["tokens"]),
        "bullet_line_ratio": _ratio(bullets, lines.lines),
        "ellipsis_line_ratio": _ratio(trailing, lines.lines),
        "alpha_word_ratio": _ratio(counts["lettered"], counts["tokens"]),
        "stop_words": counts["stop_words"],
    }


def _of_words(text: pa.LargeStringArray, words: Words, options: GopherQualityOptions) -> Mapping[str, Counts]:
    return {
        "words": words.words,
        "length": words.length + _NEUTRAL_LENGTH * words.unspaced,
        "tokens": words.words + words.symbols,
        "lettered": words.lettered + words.unspaced,
        "stop_words": count_distinct(text, words, options.stop_words),
    }


def _of_tokens(batch: Batch, options: GopherQualityOptions) -> Mapping[str, Counts]:
    tokens = batch.remember(f"tokens {options.splitter}", partial(find_tokens, batch.text, options.splitter))
    return {
        "words": tokens.tokens - tokens.symbols,
        "length": tokens.length,
        "tokens": tokens.tokens,
        "lettered": tokens.lettered,
        "stop_words": count_vocabulary(tokens, options.stop_words),
    }


def _ratio(part: Counts, whole: Counts) -> Shares:
    return part / np.maximum(whole, 1)
