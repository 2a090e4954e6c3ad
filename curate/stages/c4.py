"""The cleaning of web pages line by line that made C4, and what it would drop as a page, as numbers."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.engine.stage import Batch, Measured, Options, stage
from curate.text.lines import find_lines
from curate.text.sentences import count_sentences
from curate.text.tokens import Splitter, depends_on, find_tokens
from curate.text.webtext import CURLY_BRACKET, FATES, FLAG, LINES, LOREM_IPSUM, SENTENCES, TOKENS, clean_lines

_END_MARKS = {"datatrove": ".?!\"'", "tfds": '.?!"'}

_MEASURES = pa.struct(
    [
        ("lorem_ipsum", pa.bool_()),
        ("curly_bracket", pa.bool_()),
        ("sentences", pa.int64()),
        ("lines", pa.int64()),
        *((f"lines_{fate}", pa.int64()) for fate in FATES),
    ]
)


class C4Options(Options):
    """Which lines stay."""

    dialect: Literal["datatrove", "tfds"] = Field(
        "datatrove",
        description="`tfds`, the code of C4: `'` ends no line, and words are counted without citations",
    )
    splitter: Splitter = Field(
        "plain",
        description="finds the words and sentences: `english-exact` as spaCy's sentencizer; `segmenter` as ICU",
    )
    terminal_punctuation: bool = Field(
        True, description="a line must end in an end mark: `.`, `?`, `!`, `\"` or `'`, but not in `...`"
    )
    min_words_per_line: int = Field(
        3, ge=1, description="words between white space; 3 in the paper, 5 in the code of C4"
    )


@stage(measures=_MEASURES, version=1, rewrites=True, models=lambda options: depends_on(options.splitter))
def c4(batch: Batch, options: C4Options) -> Measured:
    """Take lines that are no text out of web pages, as C4 did.

    The rules are those of Raffel et al. 2020 (arXiv:1910.10683, section 2.2) in the form of datatrove's
    `C4QualityFilter` or of C4's own code (`c4_utils.py` of tensorflow/datasets). White space around a line
    and citations (`[1]`, `[edit]`, `[citation needed]`) go; a line goes if one of these holds, the first of
    which is counted:

    | measure | the line |
    | --- | --- |
    | `lines_long_word` | has a word of over 1,000 characters |
    | `lines_no_punctuation` | ends in no end mark, or in `...` (with `terminal_punctuation`) |
    | `lines_few_words` | has fewer than `min_words_per_line` words |
    | `lines_javascript` | mentions JavaScript |
    | `lines_policy` | speaks of terms of use, privacy policy or cookies |

    `lines` counts all lines, `lines_kept` those that stay, `sentences` the sentences in them: a page was
    dropped with fewer than 5 (3 in the code of C4, whose sentences are those of NLTK's punkt).

    `lorem_ipsum` and `curly_bracket` say that a line that came so far has "lorem ipsum" or `{` in it; a page
    was dropped for the one that came first, so only that one is true. Such a text stays as it is.
    """
    tokens = batch.remember(f"tokens {options.splitter}", partial(find_tokens, batch.text, options.splitter))
    # Only their stretches are asked for: of a large text what they are is not held.
    tokens = replace(
        tokens, id=np.empty(0, np.uint32), start=np.zeros(1, np.int64), compact=np.empty(0, np.uint8)
    )
    lines = batch.remember("lines", lambda: find_lines(batch.text))
    clean = clean_lines(
        batch.text,
        lines,
        tokens,
        min_words=options.min_words_per_line,
        bare=options.dialect == "tfds",
        end_marks=_END_MARKS[options.dialect] if options.terminal_punctuation else "",
    )
    cited = find_tokens(clean.cited, options.splitter)
    np.add.at(clean.counts[:, SENTENCES], clean.cited_in, count_sentences(clean.cited, cited))
    np.add.at(clean.counts[:, TOKENS], clean.cited_in, cited.tokens)
    flags = clean.counts[:, FLAG]
    measures = {
        "lorem_ipsum": pa.array(flags == LOREM_IPSUM),
        "curly_bracket": pa.array(flags == CURLY_BRACKET),
        "sentences": pa.array(clean.counts[:, SENTENCES]),
        "lines": pa.array(clean.counts[:, LINES]),
        **{f"lines_{fate}": pa.array(clean.counts[:, column]) for column, fate in enumerate(FATES)},
    }
    return Measured(
        measures,
        clean.text,
        _known(options.splitter, np.where(flags > 0, tokens.tokens, clean.counts[:, TOKENS])),
    )


def _known(splitter: Splitter, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Tokens of the new texts: exact where a token is never longer than a stretch, and none is left out."""
    return {f"token counts {splitter}": counts} if splitter == "english-exact" else {}
