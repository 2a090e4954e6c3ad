"""What a text is made of: shares of its characters, words, lines and paragraphs."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from curate.engine.stage import Batch, Measured, Options, stage

_URL = r"https?://(?:[a-zA-Z]|[0-9]|[$-_@.&+]|[!*\(\),]|(?:%[0-9a-fA-F][0-9a-fA-F]))+"
_POLICIES = (
    "terms of use", "privacy policy", "cookie policy", "uses cookies", "privacy overview", "use of cookies", "use cookies",
    "privacy & cookies policy",
)  # fmt: skip
_END_MARK = r"[.?!\"']$"

_MEASURES = pa.struct(
    [
        ("non_alphanumeric", pa.float64()),
        ("digits", pa.float64()),
        ("urls", pa.float64()),
        ("white_space", pa.float64()),
        ("brackets", pa.float64()),
        ("longest_word", pa.int64()),
        ("boilerplate", pa.float64()),
        ("no_end_mark", pa.float64()),
        ("pornographic_url", pa.bool_()),
    ]
)


class CharacterSharesOptions(Options):
    """Nothing to choose."""


@stage(measures=_MEASURES, version=1)
def character_shares(batch: Batch, options: CharacterSharesOptions) -> Measured:
    """Measure shares of characters, as the heuristic filters of NeMo Curator do.

    A document is kept there with

    | measure | kept with | meaning |
    | --- | --- | --- |
    | `non_alphanumeric` | up to 0.25 | characters that are none of a-z, A-Z, 0-9, line ends and `?!,.`: spaces too |
    | `digits` | up to 0.15 | characters 0 to 9 |
    | `urls` | up to 0.2 | characters in URLs |
    | `white_space` | up to 0.25 | spaces, tabs and line ends |
    | `brackets` | up to 0.1 | round, square, curly and pointed brackets |
    | `longest_word` | up to 1,000 | characters of the longest word between white space |
    | `boilerplate` | up to 0.4 | share of paragraphs with a phrase such as `privacy policy`; 1 for `lorem ipsum` |
    | `no_end_mark` | up to 0.85 | share of lines that end in none of `.?!"'` |
    | `pornographic_url` | false | a URL in the text has the word `porn` in it |

    They are made for English: of a text in another script nearly all characters are non-alphanumeric. The
    source is `nemo_curator/stages/text/filters/heuristic` (NVIDIA-NeMo/Curator).
    """
    text = pl.col("text")
    lower = text.str.to_lowercase()
    size = text.str.len_chars().clip(lower_bound=1)
    lines = text.str.split("\n").list.eval(pl.element().str.strip_chars())
    paragraphs = lower.str.split("\n\n").list.eval(pl.element().str.strip_chars())
    urls = text.str.extract_all(_URL)
    found = pl.select(text=pl.Series(batch.text)).select(
        non_alphanumeric=text.str.count_matches(r"[^a-zA-Z0-9\n?!,.]") / size,
        digits=text.str.count_matches("[0-9]") / size,
        urls=urls.list.eval(pl.element().str.len_chars()).list.sum() / size,
        white_space=text.str.count_matches(r"[\t\n\r\x08 ]") / size,
        brackets=text.str.count_matches(r"[{}⟨⟩\[\]()]") / size,
        longest_word=text.str.extract_all(r"\S+")
        .list.eval(pl.element().str.len_chars())
        .list.max()
        .fill_null(0)
        .cast(pl.Int64),
        boilerplate=pl.when(lower.str.contains("lorem ipsum", literal=True))
        .then(1.0)
        .otherwise(_share(paragraphs, pl.element().str.contains_any(list(_POLICIES)))),
        no_end_mark=_share(lines, ~pl.element().str.contains(_END_MARK)),
        pornographic_url=urls.list.eval(pl.element().str.contains("porn", literal=True)).list.any(),
    )
    return Measured({field.name: found.get_column(field.name).to_arrow() for field in _MEASURES})


def _share(pieces: pl.Expr, holds: pl.Expr) -> pl.Expr:
    """Of the pieces that are not empty, those for which something holds."""
    filled = pieces.list.eval(pl.element().filter(pl.element() != ""))
    return filled.list.eval(holds).list.sum() / filled.list.len().clip(lower_bound=1)
