"""Every table of the lake, once: columns, types, meanings, keys.

Arrow and Polars schemas and the reference page `docs/reference/tables.md` are derived from this file.
When a column is added here: say its meaning, raise FORMAT if old lakes cannot be read any more, run
`make docs`.

Strings are never NULL unless the meaning says so: "" stands for what is missing, so that a rule never
meets a NULL. Ids, keys and digests are 32 hex digits (128 bits of SHA-256).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

FORMAT = 1  # of the lake; stands in every row of `runs`

_TEXT = pa.large_string()
_STRING = pa.string()
_TIME = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Column:
    """One column: its name, its Arrow type, and what it means in one line."""

    name: str
    type: pa.DataType
    meaning: str


@dataclass(frozen=True)
class Table:
    """One table. `kind`: content (append-only, shared), state (per recipe name, pinned) or log."""

    name: str
    kind: Literal["content", "state", "log"]
    meaning: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema, without metadata."""
        return pa.schema([(column.name, column.type) for column in self.columns])


def _columns(*rows: tuple[str, pa.DataType, str]) -> tuple[Column, ...]:
    return tuple(Column(*row) for row in rows)


KEY = ("key", _STRING, "hash of all that this row was made from")

# What a reader makes of a page, before it has keys: one row per record of a file, or one for a web page.
RECORD_COLUMNS = _columns(
    ("ordinal", pa.int64(), "position in the file, from 0 (a line, a row); 0 for a page of one document"),
    ("title", _STRING, "title as stated"),
    ("author", _STRING, "author as stated"),
    ("date", _STRING, "date of the document itself, ISO 8601, or empty"),
    ("declared_language", _STRING, "language that the page states, ISO 639-1, or empty"),
    ("url", _STRING, "URL that the record itself states, or empty"),
    ("text", _TEXT, "the text as extracted"),
    ("extra", _TEXT, "all other columns of the record as one JSON object, {} if there are none"),
)
RECORD_SCHEMA = pa.schema([(column.name, column.type) for column in RECORD_COLUMNS])

_VERDICT = _columns(
    ("id", _STRING, "the document: hash of its place"),
    ("key", _STRING, "its row in the content of this table"),
    ("kept", pa.bool_(), "whether the next table sees it"),
    ("step", _STRING, "the step that dropped it, or empty"),
    ("reason", _STRING, "the first rule that failed, or error:STAGE, or empty"),
    ("failed", pa.list_(_STRING), "all failing rules of the table, as STEP.REASON, in order"),
    ("message", _STRING, "what broke, for errors"),
    ("duplicate_of", _STRING, "id of the kept document that stands for it, or empty"),
    ("similarity", pa.float64(), "exact similarity to that document; 0 if there is none"),
)

_TABLES = (
    Table(
        "fetches",
        "log",
        "Every answer about a place, in order of time.",
        ("source", "url", "at"),
        _columns(
            ("source", _STRING, "name of the source in the recipe"),
            ("url", _STRING, "canonical URL, or path of a file relative to its source"),
            ("at", _TIME, "when the answer came"),
            (
                "status",
                pa.int32(),
                "HTTP status; 200, 304 or 404 for files; 0: no answer; 1: banned by robots.txt or noindex; 2: a limit",
            ),
            ("page", _STRING, "key of the body; a 304 repeats the page that it confirms; empty if none"),
            ("etag", _STRING, "validator; for files size-mtime"),
            ("last_modified", _STRING, "validator"),
            ("error", _STRING, "why there is no page, or empty"),
            ("location", _STRING, "where a redirect leads, or empty"),
            ("links", pa.list_(_STRING), "canonical URLs of the links of a fetched page; NULL for a 304"),
            ("depth", pa.int32(), "links followed from the start to here"),
            ("crawl", _STRING, "the crawl it belongs to, by which an unfinished one is resumed"),
        ),
    ),
    Table(
        "pages",
        "content",
        "A fetched body. A local file is never copied: its page is its digest.",
        ("key",),
        _columns(
            ("key", _STRING, "digest of the body"),
            ("media_type", _STRING, "as sniffed from the first bytes, e.g. text/html"),
            ("charset", _STRING, "as stated by the server, or empty"),
            ("headers", _STRING, "content-type, -language, last-modified, etag, link as a JSON object"),
            ("body", pa.large_binary(), "the body, decoded from its transfer encoding"),
        ),
    ),
    Table(
        "records",
        "content",
        "Which documents a reader made of a page, or why it made none.",
        ("key", "ordinal"),
        _columns(
            ("key", _STRING, "hash of the page and of the slice of it that was read at once"),
            ("page", _STRING, "key of the page; for a file the hash of its digest and of how it is read"),
            ("slices", pa.int32(), "slices of the page: it is read when all of them are here"),
            ("ordinal", pa.int64(), "position in the page, from 0"),
            ("document", _STRING, "key of the document, or empty"),
            ("digest", _STRING, "hash of its text, or empty"),
            (
                "reason",
                _STRING,
                "why there is no document (error:read, skipped:not_html), what was replaced, or empty",
            ),
            ("message", _STRING, "place and cause, or empty"),
        ),
    ),
    Table(
        "documents",
        "content",
        "An extracted text with its metadata.",
        ("key",),
        (
            Column(*KEY),
            Column("digest", _STRING, "hash of the text"),
            *RECORD_COLUMNS[1:],
            Column("chars", pa.int32(), "length of the text in characters"),
        ),
    ),
    Table(
        "filtered",
        "content",
        "What the steps measured: one struct per step; `corpus` has the same form.",
        ("key",),
        _columns(
            KEY,
            ("digest_out", _STRING, "hash of the text that the steps left"),
            ("text", _TEXT, "that text where a step rewrote it, else NULL"),
        ),
    ),
    Table(
        "normalized",
        "content",
        "The words of a text as one hash, for `exact` with `by = normalized`.",
        ("key",),
        _columns(
            ("key", _STRING, "digest of the text"),
            ("words", _STRING, "hash of its words, or empty if it has none"),
        ),
    ),
    Table(
        "signatures",
        "content",
        "Sketch of a text.",
        ("key",),
        _columns(
            ("key", _STRING, "digest of the text"),
            ("sketch", pa.large_binary(), "K slots of 32 bits, little endian"),
            ("shingles", pa.int32(), "number of distinct shingles"),
        ),
    ),
    Table(
        "pairs",
        "content",
        "A pair of texts that was compared, also below the threshold; by vectors, those that reached it.",
        ("key",),
        _columns(
            ("key", _STRING, "hash of both digests"),
            ("a", _STRING, "digest of one text, the smaller string"),
            ("b", _STRING, "digest of the other"),
            (
                "similarity",
                pa.float64(),
                "exact Jaccard similarity of the shingle sets, containment, or cosine",
            ),
            ("estimate", pa.float64(), "similarity of the sketches; 0 of vectors"),
        ),
    ),
    Table(
        "tokens",
        "content",
        "Token ids of a text.",
        ("key",),
        _columns(
            KEY,
            ("ids", pa.list_(pa.int32()), "token ids"),
            ("count", pa.int32(), "how many"),
            ("bytes", pa.int64(), "length of the text in bytes of UTF-8"),
        ),
    ),
    Table(
        "chunks",
        "content",
        "A passage of a text.",
        ("key", "ordinal"),
        _columns(
            ("key", _STRING, "hash of the text that it was cut from"),
            ("ordinal", pa.int32(), "position among the chunks of the text"),
            ("start", pa.int64(), "first character in the text"),
            ("end", pa.int64(), "character after the last: text[start:end] is the chunk"),
            ("tokens", pa.int32(), "length in tokens of the embedder"),
            ("text", _TEXT, "the passage"),
            ("embed_key", _STRING, "hash of what the embedder reads: its row in vectors"),
        ),
    ),
    Table(
        "vectors",
        "content",
        "Embedding of a passage.",
        ("key",),
        _columns(KEY, ("vector", pa.large_binary(), "float32, little endian")),
    ),
    Table(
        "document_vectors",
        "content",
        "Embedding of a whole text, for `semantic`.",
        ("key",),
        _columns(
            ("key", _STRING, "digest of the text"),
            ("passages", pa.int32(), "of how many passages it is the mean; 0 where the text has no word"),
            ("vector", pa.large_binary(), "float32, little endian, of length 1; empty without a passage"),
        ),
    ),
    Table(
        "verdicts",
        "state",
        "One row per document that reached a table, and what became of it.",
        ("id",),
        _VERDICT,
    ),
    Table(
        "verdicts/documents",
        "state",
        "What stands: a document at its place.",
        ("id",),
        (
            *_VERDICT,
            *_columns(
                ("digest", _STRING, "hash of the text as extracted"),
                ("source", _STRING, "name of the source in the recipe"),
                ("place", _STRING, "URL, or path and number of the record, from 1 (path#17)"),
                ("url", _STRING, "URL for citations, or empty"),
                ("license", _STRING, "as the recipe states it for the source"),
                ("access", _STRING, "access label that the recipe states for the source"),
            ),
        ),
    ),
    Table(
        "verdicts/deduplicated",
        "state",
        "Verdicts of a table that compares documents with each other, whatever its name.",
        ("id",),
        (
            *_VERDICT,
            *_columns(
                (
                    "estimate",
                    pa.float64(),
                    "what the sketches said of the similarity; 0 if none were compared",
                ),
                (
                    "band",
                    pa.int32(),
                    "first band of the sketches in which both are equal; -1 if there is none",
                ),
                (
                    "stands_for",
                    pa.int32(),
                    "documents that a kept one stands for, itself included; 0 if dropped",
                ),
                (
                    "weight",
                    pa.float64(),
                    "how often to read it in training: `weights` of the step; 0 if dropped",
                ),
            ),
        ),
    ),
    Table(
        "corpus",
        "state",
        "The product: kept documents only.",
        ("id",),
        _columns(
            ("id", _STRING, "the document: hash of its place"),
            KEY,
            ("digest", _STRING, "hash of the text as extracted"),
            ("text_digest", _STRING, "hash of the text below"),
            ("url", _STRING, "URL for citations, or empty"),
            ("title", _STRING, "title"),
            ("text", _TEXT, "the text: clean, without personal data"),
            ("chars", pa.int32(), "length of the text as extracted, in characters"),
            ("date", _STRING, "date of the document itself, ISO 8601, or empty"),
            ("language", _STRING, "ISO 639-1 as measured, else as declared, else empty"),
            ("source", _STRING, "name of the source in the recipe"),
            ("place", _STRING, "URL, or path and number of the record, from 1 (path#17)"),
            ("license", _STRING, "as the recipe states it for the source"),
            ("access", _STRING, "access label that the recipe states for the source"),
            (
                "stands_for",
                pa.int32(),
                "documents that it stands for, itself and what duplicated it; 1 if none did",
            ),
            ("weight", pa.float64(), "how often to read it in training, by `weights`; 1 without them"),
            ("redactions", pa.map_(_STRING, pa.int32()), "how many values of each kind were replaced"),
            ("extra", _TEXT, "all other columns as one JSON object"),
        ),
    ),
    Table(
        "runs",
        "log",
        "One row per table made: what stands, pinned. Committed last.",
        ("seq",),
        _columns(
            ("seq", pa.int64(), "number of the row, from 1 without gaps"),
            ("run", _STRING, "the execution it belongs to"),
            ("at", _TIME, "when"),
            ("name", _STRING, "name of the recipe"),
            ("kind", _STRING, "run, promote, rollback, tag, gc"),
            ("table", _STRING, "the table that was made, or empty"),
            ("pins", pa.map_(_STRING, pa.int64()), "version of every state table, by NAME/TABLE"),
            (
                "fingerprints",
                pa.map_(_STRING, _STRING),
                "content folder of every table, by NAME/TABLE, and of a step, by NAME/TABLE/STEP/CONTENT",
            ),
            ("digests", pa.map_(_STRING, _STRING), "content digest of every table, by NAME/TABLE"),
            ("live", pa.map_(_STRING, _STRING), "live index version, by NAME"),
            ("recipe", _TEXT, "the recipe as resolved, without secrets"),
            ("environment", _STRING, "versions of Python and libraries, as JSON"),
            ("report", _TEXT, "counts, reasons and seconds of the table made, as JSON"),
            ("message", _STRING, "tag name, or why"),
            ("format", pa.int32(), "format of the lake"),
        ),
    ),
)

TABLES = {table.name: table for table in _TABLES}

STATUS_NONE, STATUS_BANNED, STATUS_LIMIT = 0, 1, 2

# Columns of a document that rules and `where` may name, by table they come from.
DOCUMENT_COLUMNS = (
    "id",
    "digest",
    "title",
    "author",
    "date",
    "declared_language",
    "chars",
    "source",
    "place",
    "url",
    "license",
    "access",
)


def content_schema(steps: list[tuple[str, pa.StructType]]) -> pa.Schema:
    """Schema of a measured table: key, one struct per step, digest_out, text."""
    base = TABLES["filtered"].schema
    structs = [pa.field(name, kind) for name, kind in steps]
    return pa.schema([base.field("key"), *structs, base.field("digest_out"), base.field("text")])
