"""Takes lines out of a text that are no part of what it says: counters, shouting, buttons, symbols."""

from __future__ import annotations

from typing import Literal

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator, model_validator

from curate.engine.stage import Batch, Measured, Options, stage

Edit = Literal["uppercase", "digits", "counters", "short", "phrases", "symbols"]
_COUNTS = {edit: f"{edit.removesuffix('s')}_lines" for edit in ("uppercase", "digits", "counters", "short")}
_COUNTS |= {"phrases": "phrase_lines", "symbols": "symbol_lines"}
_COUNTER = (
    r"^\W*\d[,.\d]*[kmb]?\s+(?:likes|shares|comments|retweets|reposts|quotes|bookmarks|upvotes|downvotes"
    r"|downloads|views|followers)\W*$"
)
_PHRASES = (r"(?i)\s?items in cart", r"(?i)\s?read more\.\.\.$", r"(?i)^sign-in\s?")
_PHRASE_WORDS = 10  # a line of more words is a sentence that happens to have the phrase
_WORD = r"(?:^|\s)[\p{L}\p{N}]"


class LineEditsOptions(Options):
    """Which lines go."""

    edits: tuple[Edit, ...] = Field(
        ("uppercase", "digits", "counters", "short", "phrases"), description="what is taken out"
    )
    max_uppercase: float = Field(
        0.5, ge=0, le=1, description="largest share of capital letters among the characters of a line"
    )
    min_words: int = Field(2, ge=0, description="fewest words of a line that is not empty")
    symbols: tuple[str, ...] = Field(
        (), description="characters; a line of these and spaces alone is a symbol line"
    )
    replace: str = Field(
        "", description="what stands for symbol lines that follow each other; nothing if empty"
    )

    @field_validator("symbols")
    @classmethod
    def _are_characters(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        for symbol in symbols:
            if len(symbol) != 1 or symbol.isspace():
                raise ValueError(f"{symbol!r} is not one visible character")
        return symbols

    @model_validator(mode="after")
    def _have_symbols(self) -> LineEditsOptions:
        if "symbols" in self.edits and not self.symbols:
            raise ValueError('edits has "symbols", and symbols names none')
        return self


@stage(
    measures=pa.struct(
        [*((name, pa.int32()) for name in _COUNTS.values()), ("words_removed_share", pa.float64())]
    ),
    version=1,
    rewrites=True,
)
def line_edits(batch: Batch, options: LineEditsOptions) -> Measured:
    r"""Take lines out as RefinedWeb does, and lines of symbols as FineWeb-2 does.

    | edit | a line goes if | measure |
    | --- | --- | --- |
    | `uppercase` | more than half of its characters are capital letters | `uppercase_lines` |
    | `digits` | it is digits and nothing else | `digit_lines` |
    | `counters` | it is a number and what is counted: `3 likes`, `1.2K views` | `counter_lines` |
    | `short` | it has fewer than two words and is not empty | `short_lines` |
    | `phrases` | nothing is left without `items in cart`, `Read more...` at its end and `Sign-in` at its beginning | `phrase_lines` |
    | `symbols` | it has `symbols` and spaces alone; lines in a row become one `replace` | `symbol_lines` |

    The first five are the corrections of RefinedWeb (Penedo et al. 2023, arXiv:2306.01116) in the form of
    DCLM's `refinedweb.yaml` (Li et al. 2024, arXiv:2406.11794), which drops a document that lost more than a twentieth
    of its words: `words_removed_share > 0.05`. A word stands between white space and begins with a letter or number.
    The phrases are taken out of lines of up to ten words; DCLM reads the dots of `Read more...` as any character,
    this stage as dots. A line that goes counts for the first of the edits, in the order of the table. FineWeb-2 (Penedo
    et al. 2025, arXiv:2506.20920) has `edits = ["symbols"]`, `symbols = ["|"]` and `replace = "\n"`.

    The tests on capital letters and words are about scripts that have them: in Chinese, Japanese or Thai nearly every
    line has one word. Leave `short` out of `edits` there. Lines end with `\n`. A text of which nothing goes stays as it
    is; of one that is edited (but for symbol lines alone) white space at its ends goes too.
    """
    frame = pl.DataFrame({"text": pl.Series(batch.text)}).with_row_index("row")
    judged = _judged(
        frame.with_columns(line=pl.col("text").str.split("\n")).drop("text").explode("line"), options
    )
    counts = judged.group_by("row").agg(
        [pl.col("edit").eq(edit).sum().cast(pl.Int32).alias(name) for edit, name in _COUNTS.items()]
        + [pl.col("before").sum(), pl.col("after").sum(), pl.col("changed").any()]
    )
    counts = frame.select("row").join(counts, on="row", how="left", maintain_order="left")
    share = (pl.col("before") - pl.col("after")) / pl.col("before").clip(lower_bound=1)
    counts = counts.with_columns(words_removed_share=share.cast(pl.Float64))
    measures = {
        name: counts.get_column(name).to_arrow() for name in (*_COUNTS.values(), "words_removed_share")
    }
    return Measured(measures, _rewritten(batch.text, judged, counts.get_column("changed"), options))


def _judged(split: pl.DataFrame, options: LineEditsOptions) -> pl.DataFrame:
    """Each line with what becomes of it: edit ("" for none), left (NULL: the line goes), words before and after."""
    tests = _tests(options)
    edit = pl.lit("")
    for name in reversed([edit for edit in _COUNTS if edit in tests and edit in options.edits]):
        edit = pl.when(tests[name]).then(pl.lit(name)).otherwise(edit)
    has_phrase = pl.col("line").str.contains(r"(?i)items in cart|read more\.\.\.$|^sign-in")
    short = pl.col("line").str.count_matches(r"\S+") <= _PHRASE_WORDS
    candidate = has_phrase & short & (pl.col("edit") == "") & ("phrases" in options.edits)
    left: pl.Expr = pl.when(candidate).then(pl.col("line"))  # NULL elsewhere, which costs nothing
    for phrase in _PHRASES:
        left = left.str.replace_all(phrase, "")
    judged = split.with_columns(edit=edit).with_columns(left=pl.coalesce(left, pl.col("line")))
    emptied = (pl.col("left") != pl.col("line")) & (pl.col("left").str.strip_chars() == "")
    judged = judged.with_columns(edit=pl.when(emptied).then(pl.lit("phrases")).otherwise(pl.col("edit")))
    goes = pl.col("edit") != ""
    changed = pl.col("left") != pl.col("line")
    before = pl.col("line").str.count_matches(_WORD)
    after = (
        pl.when(goes)
        .then(0)
        .when(changed)
        .then(pl.col("left").str.count_matches(_WORD))
        .otherwise(pl.col("before"))
    )
    return judged.with_columns(before=before.cast(pl.Int64), changed=goes | changed).with_columns(
        after=after.cast(pl.Int64), left=pl.when(goes).then(None).otherwise(pl.col("left"))
    )


def _tests(options: LineEditsOptions) -> dict[str, pl.Expr]:
    """Which lines an edit takes out, but for phrases."""
    line = pl.col("line")
    size = line.str.len_chars()
    capitals = line.str.count_matches(r"\p{Uppercase}")
    symbols = "".join(rf"\x{{{ord(symbol):x}}}" for symbol in options.symbols)
    visible = line.str.strip_chars() != ""
    return {
        "uppercase": capitals > options.max_uppercase * size,
        "digits": line.str.contains(r"^\p{Nd}+$"),
        "counters": line.str.contains(rf"(?i){_COUNTER}"),
        "short": (line != "") & (line.str.count_matches(r"\S+") < options.min_words),
        "symbols": visible & line.str.contains(rf"^[{symbols} ]+$") if symbols else pl.lit(value=False),
    }


def _rewritten(
    text: pa.LargeStringArray, judged: pl.DataFrame, changed: pl.Series, options: LineEditsOptions
) -> pa.LargeStringArray:
    """The texts without the lines that go."""
    rows = judged.filter(pl.col("row").is_in(pl.Series(changed.arg_true())))
    first = (pl.col("edit") == "symbols") & (pl.col("edit").shift(1, fill_value="").over("row") != "symbols")
    if options.replace:
        rows = rows.with_columns(left=pl.when(first).then(pl.lit(options.replace)).otherwise(pl.col("left")))
    whole = rows.group_by("row", maintain_order=True).agg(pl.col("left").drop_nulls().str.join("\n"))
    joined = whole.get_column("left")
    if set(options.edits) - {"symbols"}:
        joined = joined.str.strip_chars()
    return pc.replace_with_mask(text, changed.to_arrow(), joined.to_arrow().cast(pa.large_string()))
