"""Words and the counts of Gopher's quality tests as projects other than datatrove see them.

They are columns of numbers from columns of texts and tokens; the sources are `python/dolma/taggers/gopher.py`
(allenai/dolma), `app/src/core/quality_signals` (togethercomputer/RedPajama-Data),
`baselines/mappers/filters/content_filters.py` (mlfoundations/dclm) and
`nemo_curator/stages/text/filters/heuristic` (NVIDIA-NeMo/Curator).
"""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from curate.text.decompose import decomposed
from curate.text.tokens import Tokens, stretch_tokens
from curate.text.words import find_words

Counts = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]
Dialect = Literal["datatrove", "dolma", "redpajama", "dclm", "nemo"]

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_WHITE = r"[\s\x1c-\x1f]"  # str.isspace; Rust's \s has no separators of ASCII
_WORD = r"[\p{L}\p{N}_]"  # \w of Python
# Line ends and beginnings, white space aside, that are ellipses and bullets.
_DOLMA_BULLET, _DOLMA_ELLIPSIS = r"(?m)^[*-]", r"(?m)…$"
_RED_BULLET = rf"(?m)^{_WHITE}*[•‣▶◀◦■□▪▫–]"
_RED_ELLIPSIS = rf"(?m)(?:\.\.\.|…){_WHITE}*$"
_DCLM_BULLET = rf"(?m)^{_WHITE}*[●•*-]"
_DCLM_ELLIPSIS = rf"(?m)(?:\.\.\.|\. \. \.|…){_WHITE}*$"
_NEMO_BULLET = rf"(?m)^{_WHITE}*[•‣⁃⁌⁍∙○●◘◦⦾⦿]"
_NEMO_MARKS = ("...", "[...]", "…", "(...)", "[…]", "-»", "read more..", "read more")
_NEMO_ELLIPSIS = rf"(?mi)(?:\.\.\.|…|\[\.\.\.\]|\[…\]|\(\.\.\.\)|-»|read more(?:\.\.)?){_WHITE}*$"


def bare_tokens(text: pa.LargeStringArray) -> Tokens:
    """Words between white space of the texts in small letters, decomposed (NFD), without ASCII punctuation.

    As RedPajama-V2 compares texts (`app/src/utilities/text/normalization.py`).
    """
    bare = [decomposed(one.translate(_NO_PUNCTUATION).lower()) for one in text.to_pylist()]
    return stretch_tokens(pa.array(bare, pa.large_string()))


def token_lengths(tokens: Tokens) -> Counts:
    """Characters of each token."""
    begins = np.append(0, np.cumsum(tokens.compact & 0xC0 != 0x80, dtype=np.int64))
    return np.diff(begins[tokens.start])


def sum_by_text(tokens: Tokens, values: npt.NDArray[np.int64 | np.bool_]) -> Counts:
    """Sum over the tokens of each text."""
    return np.diff(np.append(0, np.cumsum(values, dtype=np.int64))[tokens.first])


def quality(
    dialect: Dialect, text: pa.LargeStringArray, stop_words: Sequence[str]
) -> dict[str, Counts | Shares]:
    """The measures of `gopher_quality`, but for `unspaced`, as another project counts them."""
    measure: dict[str, Callable[[pa.LargeStringArray, Sequence[str]], dict[str, Counts | Shares]]] = {
        "dolma": _dolma,
        "redpajama": _redpajama,
        "dclm": _dclm,
        "nemo": _nemo,
    }
    return {"ellipsis_ratio": np.zeros(len(text)), **measure[dialect](text, stop_words)}


def _dolma(text: pa.LargeStringArray, stop_words: Sequence[str]) -> dict[str, Counts | Shares]:
    tokens, lines = stretch_tokens(text), _matches(text, "\n") + 1
    strings = _strings(tokens)
    symbols = sum_by_text(tokens, _flags(pc.match_substring_regex(strings, "[#…]")))
    return {
        "words": tokens.tokens,
        "mean_word_length": _medians(tokens),
        "hash_ratio": _ratio(symbols, tokens.tokens),
        "bullet_line_ratio": _ratio(_matches(text, _DOLMA_BULLET), lines),
        "ellipsis_line_ratio": _ratio(_matches(text, _DOLMA_ELLIPSIS), lines),
        "alpha_word_ratio": _ratio(tokens.lettered, tokens.tokens),
        "stop_words": _occurrences(tokens, strings, stop_words),
    }


def _redpajama(text: pa.LargeStringArray, stop_words: Sequence[str]) -> dict[str, Counts | Shares]:
    tokens = bare_tokens(text)
    whole = pc.and_(pc.not_equal(text, ""), pc.invert(pc.ends_with(text, "\n")))
    lines = _matches(text, "\n") + _flags(whole)
    raw = _matches(text, rf"{_WORD}+|[^\p{{L}}\p{{N}}_\s\x1c-\x1f]+")  # NLTK's WordPunct tokens
    return {
        "words": tokens.tokens,
        "mean_word_length": _ratio(sum_by_text(tokens, token_lengths(tokens)), tokens.tokens),
        "hash_ratio": _ratio(_matches(text, r"#|\.\.\.|…"), raw),
        "bullet_line_ratio": _ratio(_matches(text, _RED_BULLET), lines),
        "ellipsis_line_ratio": _ratio(_matches(text, _RED_ELLIPSIS), lines),
        "alpha_word_ratio": _ratio(_matches(text, rf"{_WORD}*[a-zA-Z]{_WORD}*"), raw),
        "stop_words": _occurrences(tokens, _strings(tokens), stop_words),
    }


def _dclm(text: pa.LargeStringArray, stop_words: Sequence[str]) -> dict[str, Counts | Shares]:
    tokens, lines = stretch_tokens(text), _written_lines(text)
    symbols = _matches(text, r"#|\.\.\.|…") + _matches(text, r"\. \. \.")
    return {
        "words": find_words(text).words,
        "mean_word_length": _ratio(sum_by_text(tokens, token_lengths(tokens)), tokens.tokens),
        "hash_ratio": _ratio(symbols, tokens.tokens),
        "bullet_line_ratio": _ratio(_matches(text, _DCLM_BULLET), lines),
        "ellipsis_line_ratio": _ratio(_matches(text, _DCLM_ELLIPSIS), lines),
        "alpha_word_ratio": _ratio(tokens.lettered, tokens.tokens),
        "stop_words": _occurrences(tokens, pc.utf8_lower(_strings(tokens)), stop_words),
    }


def _nemo(text: pa.LargeStringArray, stop_words: Sequence[str]) -> dict[str, Counts | Shares]:
    tokens, lines = stretch_tokens(text), _written_lines(text)
    strings, lengths = _strings(tokens), token_lengths(tokens)
    runs = pc.count_substring_regex(strings, "#+").to_numpy()
    symbols = (runs / np.maximum(lengths, 1) > 0.5) | _flags(
        pc.is_in(strings, pa.array(_NEMO_MARKS, strings.type))
    )
    return {
        "words": tokens.tokens,
        "mean_word_length": _ratio(sum_by_text(tokens, lengths), tokens.tokens),
        "hash_ratio": _ratio(sum_by_text(tokens, symbols), tokens.tokens),
        "bullet_line_ratio": _ratio(_matches(text, _NEMO_BULLET), lines),
        "ellipsis_line_ratio": _ratio(_matches(text, _NEMO_ELLIPSIS), lines),
        "alpha_word_ratio": _ratio(tokens.lettered, tokens.tokens),
        "stop_words": _occurrences(tokens, strings, stop_words),
    }


def _strings(tokens: Tokens) -> pa.LargeStringArray:
    """All tokens as one column, without a copy."""
    array: pa.LargeStringArray = pa.LargeStringArray.from_buffers(
        len(tokens.id), pa.py_buffer(tokens.start), pa.py_buffer(tokens.compact)
    )
    return array


def _flags(column: pa.BooleanArray) -> npt.NDArray[np.bool_]:
    flags: npt.NDArray[np.bool_] = column.to_numpy(zero_copy_only=False)
    return flags


def _occurrences(tokens: Tokens, strings: pa.LargeStringArray, stop_words: Sequence[str]) -> Counts:
    return sum_by_text(tokens, _flags(pc.is_in(strings, pa.array(stop_words, strings.type))))


def _matches(text: pa.LargeStringArray, pattern: str) -> Counts:
    """How often a regular expression (of Rust) matches, without overlap."""
    return pl.Series(text).str.count_matches(pattern).cast(pl.Int64).to_numpy()


def _written_lines(text: pa.LargeStringArray) -> Counts:
    """Lines that are not blank."""
    return _matches(text, r"(?m)^[^\n]*[^\s\x1c-\x1f]")


def _medians(tokens: Tokens) -> Shares:
    """Median of the lengths of each text's tokens; 0 without one."""
    texts = np.repeat(np.arange(len(tokens.symbols)), tokens.tokens)
    lengths = token_lengths(tokens)
    ordered = np.append(lengths[np.lexsort((lengths, texts))], 0)
    low, high = (tokens.first[:-1] + (tokens.tokens - 1) // 2, tokens.first[:-1] + tokens.tokens // 2)
    return np.where(tokens.tokens > 0, (ordered[np.maximum(low, 0)] + ordered[high]) / 2, 0.0)


def _ratio(part: Counts, whole: Counts) -> Shares:
    return part / np.maximum(whole, 1)
