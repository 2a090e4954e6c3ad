"""Queries that documents answer themselves: titles and Markdown headings, each with the passage under it.

Of a passage the text under one heading is taken, without the heading: else the words of the query would give the
answer away. A heading that says nothing is skipped; one that says little gets those above it put before it.
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl
import pyarrow as pa

from curate.text.words import find_words

_ANSWER = 20  # words; a passage with fewer answers nothing
# Words of a query: fewer say nothing, more are a paragraph that was made a heading.
_SHORTEST, _LONGEST = 2, 32
_LITTLE = 3  # a heading with fewer words ("Notes", "On Windows") says little
# A heading of more documents than this says nothing ("See also"): 1 % of them, but 2 at least and 100 at most.
_SHARE, _LEAST, _MOST = 0.01, 2, 100

_HEADING = r"^ {0,3}(#{1,6})[ \t]+(\S.*?)(?:[ \t]+#+)?[ \t]*$"
_FENCE = r"^ {0,3}(?:```|~~~)"
_LINK = r"!?\[([^\]]*)\]\([^)]*\)"
_NUMBER = r"^(?:(?:Chapter|Section|Part|Appendix)\s+)?(?:\d+[.):]|(?:\d+|[A-Z])(?:\.\d+)+[.):]?)\s+"


class Found(NamedTuple):
    """What a batch of whole documents holds."""

    # document, order (in it; 0 is the title), heading, parent, title, and the answer: row, offset, length, text_hash.
    # A title comes after the headings, so that of equal ones the heading is taken.
    queries: pl.DataFrame
    # Of each passage the longest text under one heading: row, offset, length, text_hash.
    answers: pl.DataFrame
    names: pl.DataFrame  # name_hash, count: documents with this heading or title


def find_queries(passages: pl.DataFrame, *, torn: bool) -> Found:
    """Titles and headings, and the passage that each stands over.

    `row` is that of the passage; an answer is `length` characters of it from `offset`.

    Args:
        passages: row, document, title, text, start, end; whole documents, in order.
        torn: whether a passage may end inside of a line. A heading at such an edge is not trusted.
    """
    lines = _lines(passages, torn)
    headings = _headings(lines)
    answers = _answers(lines)
    titles = passages.select("document", title=_plain("title")).unique("document", maintain_order=True)
    of_section, of_document = ["document", "section"], ["document"]
    under = headings.join(_first(answers, of_section), on=of_section)
    named = titles.filter(pl.col("title") != "")
    titled = named.select("document", heading="title", parent=pl.lit("")).join(
        _first(answers, of_document).with_columns(section=pl.lit(0, pl.UInt32)), on=of_document
    )
    queries = pl.concat([under, titled.select(under.columns)]).join(titles, on="document")
    every = pl.concat([headings.select("document", "heading"), named.rename({"title": "heading"})])
    names = every.select("document", name_hash=_hash("heading")).unique().group_by("name_hash").len("count")
    longest = answers.sort("row", -pl.col("length").cast(pl.Int64), "offset").pipe(_first, ["row"])
    return Found(
        queries.rename({"section": "order"}).sort("row", pl.col("order") == 0, "order"),
        longest.select("row", "offset", "length", "text_hash"),
        names,
    )


def ask(queries: pl.DataFrame, names: pl.DataFrame, documents: int) -> tuple[pl.DataFrame, dict[str, int]]:
    """Put headings as queries.

    One of fewer than three words, or of several documents, says little: the heading above it is put before it, and
    the title before that if that one too says little.

    Args:
        queries: as found.
        names: name_hash, count, over all documents.
        documents: number of all.

    Returns:
        `queries` with query and query_hash, without those that say nothing; and how many do, by reason.
    """
    most = min(max(int(_SHARE * documents), _LEAST), _MOST)
    count = _counted(queries.get_column("heading"), names)
    little = [_says_little(queries.get_column(name), names) for name in ("heading", "parent")]
    heading, title = pl.col("heading"), pl.col("title")
    above = pl.when(pl.col("parent") == "").then(title).otherwise("parent")
    above = pl.when(little[1]).then(_under(title, above)).otherwise(above)
    rows = queries.with_columns(query=pl.when(little[0]).then(_under(above, heading)).otherwise(heading))
    words = _words(rows.get_column("query"))
    reason = (
        pl.when(count > most)
        .then(pl.lit("of many documents"))
        .when((words < _SHORTEST) | ~pl.col("query").str.contains(r"\p{L}"))
        .then(pl.lit("too short"))
        .when(words > _LONGEST)
        .then(pl.lit("too long"))
        .otherwise(pl.lit(""))
    )
    rows = rows.with_columns(reason=reason, query_hash=_hash("query"))
    skipped = rows.filter(pl.col("reason") != "").group_by("reason").len().sort("reason")
    return rows.filter(pl.col("reason") == "").drop("reason"), dict(skipped.iter_rows())


def _lines(passages: pl.DataFrame, torn: bool) -> pl.DataFrame:
    """Every line once, with heading and level if it is one, and the number of its section in the document."""
    before = pl.col("end").shift(1).over("document").fill_null(0)
    # With overlap, a passage begins with the end of the one before.
    repeated = (before - pl.col("start")).clip(0)
    lines = (
        passages.lazy()
        .select("row", "document", cut=repeated, line=pl.col("text").str.slice(repeated).str.split("\n"))
        .explode("line")
        .with_columns(length=pl.col("line").str.len_chars())
        .with_columns(
            offset=pl.col("cut") + (pl.col("length") + 1).cum_sum().over("row") - pl.col("length") - 1,
            code=pl.col("line").str.contains(_FENCE).cast(pl.Int32).cum_sum().over("document") % 2 == 1,
        )
    )
    trusted = pl.lit(value=True)
    if torn:
        row = pl.col("row")
        trusted = (row == row.shift(1).over("document")) & (row == row.shift(-1).over("document"))
    match = pl.when(trusted & ~pl.col("code")).then(pl.col("line").str.extract_groups(_HEADING))
    return (
        lines.with_columns(
            level=match.struct.field("1").str.len_chars().cast(pl.UInt32), heading=match.struct.field("2")
        )
        .with_columns(section=pl.col("level").is_not_null().cum_sum().over("document"))
        .drop("cut", "code")
        .collect()
    )


def _headings(lines: pl.DataFrame) -> pl.DataFrame:
    """document, section, heading, and parent: the heading above it, or ""."""
    headings = lines.filter(pl.col("level").is_not_null()).select(
        "document", "section", "level", heading=_plain("heading")
    )
    headings = headings.with_row_index("at")
    last = [pl.when(pl.col("level") == n).then("at").forward_fill().over("document") for n in range(1, 6)]
    above = pl.coalesce(
        pl.when(pl.col("level") == level).then(pl.max_horizontal(last[: level - 1])) for level in range(2, 7)
    )
    parents = headings.select(above.alias("above")).get_column("above")
    return headings.select(
        "document", "section", "heading", parent=headings.get_column("heading").gather(parents).fill_null("")
    )


def _answers(lines: pl.DataFrame) -> pl.DataFrame:
    """document, section, row, offset, length, text_hash: the text of a section in a passage, if it is long enough."""
    place = ["document", "section", "row"]
    texts = (
        lines.lazy()
        .filter(pl.col("level").is_null())
        .group_by(place, maintain_order=True)
        .agg(pl.col("offset").first(), text=pl.col("line").str.join("\n"))
        .with_columns(
            offset=pl.col("offset")
            + pl.col("text").str.len_chars()
            - pl.col("text").str.strip_chars_start().str.len_chars(),
            text=pl.col("text").str.strip_chars(),
        )
        .collect()
    )
    long = texts.filter(_words(texts.get_column("text")) >= _ANSWER)
    return long.select(
        "document",
        pl.col("section").cast(pl.UInt32),
        "row",
        pl.col("offset").cast(pl.UInt32),
        length=pl.col("text").str.len_chars(),
        text_hash=pl.col("text").hash(),
    )


def _first(rows: pl.DataFrame, of: list[str]) -> pl.DataFrame:
    return rows.unique(of, keep="first", maintain_order=True)


def _plain(name: str) -> pl.Expr:
    """A heading without marks of Markdown, numbers of chapters, and what stands around words."""
    text = (
        pl.col(name).str.replace_all(_LINK, "$1").str.replace_all(r"[`*\\]", "").str.replace_all(r"\s+", " ")
    )
    return text.str.strip_chars(" ").str.replace(_NUMBER, "").str.strip_chars(" ¶:")


def _hash(name: str) -> pl.Expr:
    """Equal for names that differ in capital letters only."""
    return pl.col(name).str.to_lowercase().hash()


def _says_little(column: pl.Series, names: pl.DataFrame) -> pl.Series:
    return (_words(column) < _LITTLE) | (_counted(column, names) > 1)


def _under(above: pl.Expr, below: pl.Expr) -> pl.Expr:
    """Two headings as one, "above: below"; the longer one where it holds the other."""
    high, low = above.str.to_lowercase(), below.str.to_lowercase()
    return (
        pl.when(low.str.contains(high, literal=True))
        .then(below)
        .when(high.str.contains(low, literal=True))
        .then(above)
        .otherwise(pl.format("{}: {}", above, below))
    )


def _counted(column: pl.Series, names: pl.DataFrame) -> pl.Series:
    """Documents with each name."""
    hashes = column.to_frame("name").select(name_hash=_hash("name"))
    return (
        hashes.join(names, on="name_hash", how="left", maintain_order="left").get_column("count").fill_null(0)
    )


def _words(column: pl.Series) -> pl.Series:
    """Words of each text; two Chinese or Japanese characters count as one."""
    return pl.Series(find_words(column.to_arrow().cast(pa.large_string())).words)
