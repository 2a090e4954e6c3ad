"""The documents that an export begins with: who they are and where they lie, without their texts.

About 150 bytes a document are held in memory, whatever its length.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from curate.engine.corpus import corpus_schema
from curate.engine.plan import polars_type
from curate.engine.rules import parse_rule
from curate.engine.session import Session
from curate.lake.content import Content
from curate.lake.runs import Head
from schemas.errors import LakeError, RuleError

_LABELS = ("source", "language", "license")  # few different values
_UNSEEN = ("text", "extra", "redactions", "key")  # columns of corpus that a `where` may not name


def corpus_documents(session: Session, head: Head, where: str) -> pl.DataFrame:
    """Documents of the corpus as pinned for which `where` is true.

    Columns: id, text_digest, chars, source, language, license, file, row (in the file).

    Raises:
        LakeError: there is no corpus, or it is empty.
        RuleError: `where` cannot be judged, or is true for no document.
    """
    files = _corpus_files(session, head)
    kinds = own_columns(session, head)
    schema = {field.name: polars_type(field.type) for field in corpus_schema(session) if field.name in kinds}
    kept = parse_where(where, schema)
    names = pl.Enum(files)
    parts = []
    for file in files:
        scan = pl.scan_parquet(
            file, glob=False, schema=schema, missing_columns="insert", extra_columns="ignore"
        )
        rows = scan.with_row_index("row").filter(kept)
        labels = pl.col(*_LABELS).cast(pl.Categorical)
        parts.append(
            rows.select(
                "id", "text_digest", "chars", labels, pl.lit(file).cast(names).alias("file"), "row"
            ).collect()
        )
    documents = pl.concat(parts) if parts else pl.DataFrame()
    if documents.is_empty():
        if where and files:
            raise RuleError(
                f"No document satisfies {where!r}.", hint="curate show corpus tells what there is."
            )
        raise LakeError(
            f"The corpus of {session.name} holds no document.", hint="curate show tells what dropped them."
        )
    return documents


def own_columns(session: Session, head: Head) -> list[str]:
    """Columns of the corpus as pinned that the recipe knows, without those that no condition may name."""
    state = session.lake.state(session.name, "corpus", corpus_schema(session))
    stored = state.scan(head.pins.get(session.key("corpus"))).collect_schema().names()
    return [name for name in corpus_schema(session).names if name in stored and name not in _UNSEEN]


def parse_where(where: str, schema: dict[str, pl.DataType]) -> pl.Expr:
    """The condition as an expression; no condition is true for every document.

    Raises:
        RuleError: it cannot be judged.
    """
    if not where:
        return pl.lit(value=True)
    return parse_rule(where, schema)


def _corpus_files(session: Session, head: Head) -> list[str]:
    pin = head.pins.get(session.key("corpus"))
    if pin is None:
        raise LakeError(f"{session.name} has no corpus in this lake.", hint="curate run makes it.")
    state = session.lake.state(session.name, "corpus", corpus_schema(session))
    files = sorted(str(state.folder / name) for name in state.files(pin))
    if not all(Path(file).exists() for file in files):
        raise LakeError(
            f"Version {head.seq} of {session.name} is gone.",
            hint="curate lake gc took it; choose a newer one.",
        )
    return files


def with_tokens(session: Session, head: Head, documents: pl.DataFrame, *, needed: str) -> pl.DataFrame:
    """Adds `tokens`, the number of token ids of each text; 0 where there is no table of them.

    Raises:
        LakeError: `needed` (what they are needed for) and there is none, or not of this corpus.
    """
    content = token_content(session, head)
    if content is None:
        if needed:
            raise LakeError(
                f"{needed} counts tokens, and {session.name} has no table tokens in this lake.",
                hint="Add [tokens.tokenize] to the recipe if it has none; curate run makes the table.",
            )
        return documents.with_columns(tokens=pl.lit(0, pl.Int64))
    counts = content.scan().select(text_digest="key", tokens="count").collect()
    counted = documents.join(counts, on="text_digest", how="left", maintain_order="left")
    missing = counted.get_column("tokens").null_count()
    if missing and needed:
        raise _stale(session, missing)
    return counted.with_columns(pl.col("tokens").fill_null(0).cast(pl.Int64))


def at_tokens(session: Session, head: Head, documents: pl.DataFrame) -> pl.DataFrame:
    """The documents with `file` and `row` of their token ids in place of their text.

    Raises:
        LakeError: there is no table of tokens, or not of this corpus.
    """
    content = token_content(session, head)
    places = pl.concat(_places(content)) if content is not None and content.files() else None
    located = (
        documents.drop("file", "row").join(places, on="text_digest", maintain_order="left")
        if places is not None
        else documents.clear()
    )
    if len(located) < len(documents):
        raise _stale(session, len(documents) - len(located))
    return located


def _places(content: Content) -> Iterator[pl.DataFrame]:
    """Where each text's token ids lie. Like `Content.places`, in a third of the memory."""
    files = content.files()
    names = pl.Enum(files)
    for file in files:
        keys = pl.scan_parquet(file, glob=False).select(text_digest="key").with_row_index("row")
        yield keys.select("text_digest", pl.lit(file).cast(names).alias("file"), "row").collect()


def token_content(session: Session, head: Head) -> Content | None:
    """The table of tokens as published; None where there is none."""
    fingerprint = head.fingerprints.get(session.key("tokens"), "")
    return session.lake.content("tokens", fingerprint) if fingerprint else None


def _stale(session: Session, missing: int) -> LakeError:
    return LakeError(
        f"{missing:,} texts of the corpus of {session.name} are not in its table tokens.",
        hint="curate run makes the tables that are missing.",
    )
