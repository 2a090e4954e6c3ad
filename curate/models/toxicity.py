"""How a text is cut into passages for the toxicity model, and how a passage is spelled: alike in training and use."""

from __future__ import annotations

import polars as pl

LABEL = "toxic"
_LONG = 200  # characters of a passage: the model was trained on tweets and comments


def find_passages(texts: pl.Series) -> pl.DataFrame:
    """The passages of each text: row, passage (small letters, words with one space between them), size in words.

    Lines, and the sentences of long lines, of about 200 characters together are a passage: a single word or a short
    line alone tells little. Addresses of web pages, names that begin with @ and the "RT" of tweets are left out: they
    tell where a text comes from.
    """
    line, size = pl.col("text"), pl.col("text").str.len_chars()
    sentences = line.str.replace_all(r"([.!?])\s+", "${1}\n").str.split("\n")
    cut = pl.when(size > _LONG).then(sentences).otherwise(pl.concat_list(line))
    lines = (
        pl.DataFrame({"text": texts}).with_row_index("row").with_columns(line.str.split("\n")).explode("text")
    )
    pieces = lines.with_columns(cut).explode("text").with_columns(spelled(line)).filter(line != "")
    passage = ((size + 1).cum_sum() - size - 1).over("row") // _LONG
    passages = pieces.group_by("row", passage.alias("passage"), maintain_order=True).agg(line.str.join(" "))
    return passages.select(
        "row", passage="text", size=pl.col("text").str.count_matches(" ", literal=True) + 1
    )


def spelled(text: pl.Expr) -> pl.Expr:
    """A passage as the model reads it."""
    bare = text.str.to_lowercase().str.replace_all(r"https?://\S+|www\.\S+|@\w+|\brt\b", " ")
    return bare.str.replace_all(r"[^\w']+", " ").str.strip_chars(" ")
