"""The repetition tests of Gopher, as numbers: the thresholds stand in the recipe."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, model_validator

from curate.engine.stage import Batch, Measured, Options, stage
from curate.text.dialects import Dialect, bare_tokens, sum_by_text, token_lengths
from curate.text.gramsums import sum_grams
from curate.text.lines import Lines
from curate.text.ngrams import DUPLICATED, TOP, TopGrams, duplicated_grams, top_grams
from curate.text.repeats import count_characters, count_repeated, drop_blank, split_pieces
from curate.text.sums import sum_texts
from curate.text.tokens import Splitter, Tokens, depends_on, find_tokens, stretch_tokens

Counts = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]

_PIECES = ("dup_para_frac", "dup_para_char_frac", "dup_line_frac", "dup_line_char_frac")
_TOP = tuple(f"top_{n}_gram" for n in TOP)
_DUPLICATED = tuple(f"duplicated_{n}_n_grams" for n in DUPLICATED)
_MEASURES = pa.struct(
    [("characters", pa.int64()), *((name, pa.float64()) for name in (*_PIECES, *_TOP, *_DUPLICATED))]
)


class GopherRepetitionOptions(Options):
    """Whose repetition it is: five projects have five functions of this name."""

    dialect: Dialect = Field("datatrove", description="the project whose function it is")
    splitter: Splitter = Field(
        "plain",
        description="what a token is, for the dialect datatrove: `english-exact`, as spaCy's blank English, "
        "makes the numbers those of datatrove for English; `segmenter` finds words of every script by ICU",
    )

    @model_validator(mode="after")
    def _has_own_words(self) -> GopherRepetitionOptions:
        if self.dialect != "datatrove" and self.splitter != "plain":
            raise ValueError(f"the dialect {self.dialect} has words of its own: leave out splitter")
        return self


@stage(measures=_MEASURES, version=1, models=lambda options: depends_on(options.splitter))
def gopher_repetition(batch: Batch, options: GopherRepetitionOptions) -> Measured:
    """Measure how much of a text repeats itself.

    The tests are those of Rae et al. 2021 (Gopher, arXiv:2112.11446, table A1). Every project computes them
    in its own way, so a threshold belongs to a dialect. In the dialect datatrove (`GopherRepetitionFilter`)
    a document was kept with

    | measure | kept with | meaning: share of all characters, if not said otherwise |
    | --- | --- | --- |
    | `characters` | from 1 | their number |
    | `dup_para_frac` | up to 0.3 | share of paragraphs that repeat an earlier one |
    | `dup_para_char_frac` | up to 0.2 | characters in them |
    | `dup_line_frac` | up to 0.3 | share of lines that repeat an earlier one |
    | `dup_line_char_frac` | up to 0.2 | characters in them |
    | `top_2_gram` ... `top_4_gram` | up to 0.2, 0.18, 0.16 | length of the most frequent n-gram of tokens, with the spaces in it, times its count (which may be 1) |
    | `duplicated_5_n_grams` ... `duplicated_10_n_grams` | up to 0.15, 0.14 ... 0.1 | n-grams met before, from the left, without overlap |

    Blank lines divide paragraphs. A measure that needs more tokens than the text has is 0.

    | dialect | words | shares of | `top_` | `duplicated_` | paragraphs, lines |
    | --- | --- | --- | --- | --- | --- |
    | `dolma` (`gopher_v1`) | between white space | characters in words | as above, without the spaces | all occurrences, of all n-grams, overlaps counted again | lines: all copies, empty ones too; no paragraphs |
    | `redpajama` (V2) | the same, in small letters, decomposed, without ASCII punctuation | characters in words | 0 if nothing repeats | words in n-grams that repeat, each once | none |
    | `dclm` | those of `plain` (in DCLM: Unicode words) | characters in words, in pieces | the longest of the most frequent; 0 if nothing repeats | as `redpajama` | all copies, blank ones left out |
    | `nemo` (NeMo Curator) | between white space | all characters; of pieces: their characters | the n-gram's occurrences as a string | n-grams met before, each word once, with spaces; 1 if there are too few words | as above; lines not blank, paragraphs between two line ends |
    """
    characters = batch.remember("sums", lambda: sum_texts(batch.text)).characters
    tokens = _tokens(batch, options).alone()
    measures = {"characters": characters, **_pieces(batch, options.dialect, tokens, characters)}
    top = top_grams(tokens, longest=options.dialect == "dclm")
    top_shares = _top_shares(batch, options.dialect, tokens, top, characters)
    if options.dialect == "datatrove":  # whose longer n-grams are compared as strings
        tokens = replace(tokens, id=np.empty(0, np.uint32))
    duplicated = _duplicated_shares(options.dialect, tokens, characters)
    for names, shares in ((_TOP, top_shares), (_DUPLICATED, duplicated)):
        measures |= {name: shares[:, column] for column, name in enumerate(names)}
    return Measured({name: pa.array(values) for name, values in measures.items()})


def _tokens(batch: Batch, options: GopherRepetitionOptions) -> Tokens:
    if options.dialect in ("datatrove", "dclm"):
        name = f"tokens {options.splitter}"
        return batch.remember(name, partial(find_tokens, batch.text, options.splitter))
    if options.dialect == "redpajama":
        return bare_tokens(batch.text)
    return batch.remember("tokens of stretches", lambda: stretch_tokens(batch.text))


def _top_shares(batch: Batch, dialect: str, tokens: Tokens, top: TopGrams, characters: Counts) -> Shares:
    if dialect == "datatrove":
        return _ratio((top.length + np.array(TOP) - 1) * top.times, characters[:, None])
    if dialect == "nemo":
        return _ratio(_as_strings(batch, tokens, top), characters[:, None])
    times = top.times if dialect == "dolma" else np.where(top.times > 1, top.times, 0)
    return _ratio(top.length * times, _word_characters(tokens)[:, None])


def _as_strings(batch: Batch, tokens: Tokens, top: TopGrams) -> Counts:
    """Characters that go if the most frequent n-gram, joined by spaces, is taken out of the text."""
    found = np.zeros_like(top.times)
    for row, text in enumerate(batch.text.to_pylist()):
        for column, n in enumerate(TOP):
            if top.times[row, column]:
                begin = int(tokens.first[row] + top.place[row, column])
                bounds = tokens.start[begin : begin + n + 1].tolist()
                words = [bytes(tokens.compact[a:b]).decode() for a, b in pairwise(bounds)]
                found[row, column] = text.count(" ".join(words)) * len(" ".join(words))
            else:
                found[row, column] = len(text)
    return found


def _duplicated_shares(dialect: str, tokens: Tokens, characters: Counts) -> Shares:
    if dialect == "datatrove":
        return _ratio(duplicated_grams(tokens), characters[:, None])
    sums = sum_grams(tokens)
    if dialect == "dolma":
        return _ratio(sums.copies, sums.all)
    if dialect == "nemo":
        few = tokens.tokens[:, None] < np.array(DUPLICATED)
        return np.where(few & (characters[:, None] > 0), 1.0, _ratio(sums.added, characters[:, None]))
    return _ratio(sums.covered, sums.characters[:, None])


def _pieces(batch: Batch, dialect: str, tokens: Tokens, characters: Counts) -> dict[str, Shares]:
    """Shares of repeated paragraphs and lines."""
    found = dict.fromkeys(_PIECES, np.zeros(len(batch)))
    for name, pieces in _split(batch.text, dialect).items():
        repeated, within = count_repeated(batch.text, pieces, copies=dialect in ("dolma", "dclm"))
        whole = characters
        if dialect == "dolma":
            whole = _word_characters(tokens)
        elif dialect != "datatrove":
            whole = count_characters(batch.text, pieces)
        found[f"dup_{name}_frac"] = _ratio(repeated, pieces.lines)
        found[f"dup_{name}_char_frac"] = _ratio(within, whole)
    return found


def _split(text: pa.LargeStringArray, dialect: str) -> dict[str, Lines]:
    """The paragraphs and lines that a dialect looks at."""
    if dialect == "redpajama":
        return {}
    if dialect == "datatrove":
        return {"para": split_pieces(text, 2, strip=True), "line": split_pieces(text, 1)}
    lines = split_pieces(text, 1, runs=False)
    if dialect == "dolma":
        return {"line": lines}
    paragraphs, strip = split_pieces(text, 2, runs=False), dialect == "dclm"
    if strip:
        paragraphs = drop_blank(text, paragraphs, strip=True)
    return {"para": paragraphs, "line": drop_blank(text, lines, strip=strip)}


def _word_characters(tokens: Tokens) -> Counts:
    """Characters in the tokens of each text, symbols too."""
    return sum_by_text(tokens, token_lengths(tokens))


def _ratio(part: Counts, whole: Counts) -> Shares:
    return part / np.maximum(whole, 1)
