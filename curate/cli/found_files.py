"""What files hold: how many documents, which column is the text, how long, in which languages."""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import polars as pl
from pydantic_core import from_json

from curate.cli.found import (
    Found,
    choose_recipe,
    cleaning_seconds,
    languages_of,
    name_from,
    quartiles,
)
from curate.cli.options import quoted
from curate.cli.outcome import near
from curate.reports.numbers import duration, plural, size
from curate.sources.files import find_files, kind_of
from curate.sources.readers import ExtractOptions, read_slice
from curate.sources.record import Slice
from curate.sources.streams import open_stream
from schemas.errors import SourceError

_RECORDS = {"jsonl", "json", "csv", "parquet"}  # kinds that have columns
_FILES, _DOCUMENTS, _SECONDS = 40, 500, 10.0  # of the sample
_ROWS = 100
_HEAD = 16_000_000  # bytes that are read for them
_TEXT_CHARS = 40.0  # a column whose values are longer on average may be the text


def look_at_files(patterns: list[str], out: str) -> Found:
    """Look at files as a source of the recipe `out`.

    Raises:
        SourceError: nothing there, or nothing that a reader knows.
    """
    files = find_files(patterns, Path.cwd())
    kinds = Counter(kind_of(file) or "" for file in files)
    columns, candidates = _columns(files)
    texts = _sample(files, columns)
    first, median, third = quartiles(texts)
    records = any(kind in _RECORDS for kind in kinds)
    extends, why = choose_recipe(median) if records else ("docs", "gentle: keeps short pages, tables, code")
    found = Found(
        name_from(Path(patterns[0]).name.split(".")[0].strip("*") or Path.cwd().name),
        extends, why, "files", _lines(patterns, out, columns), short=first, languages=languages_of(texts),
    )  # fmt: skip
    others = f" (or {', '.join(candidates)})" if candidates else ""
    found.facts = [
        ("files", f"{', '.join(f'{count:,} {kind}' for kind, count in kinds.most_common())}, {size(_bytes(files))}"),
        ("text", f"column {columns['text']}{others}" if columns else ""),
        ("words", f"{first:,}, {median:,} and {third:,} (quartiles of {plural(len(texts), 'document')})" if texts else ""),
        ("languages", ", ".join(f"{code or 'unknown'} {share:.0%}" for code, share in found.languages.items())),
        ("time", _time(_bytes(files))),
    ]  # fmt: skip
    found.facts = [(fact, value) for fact, value in found.facts if value]
    return found


def _bytes(files: list[Path]) -> int:
    return sum(file.stat().st_size for file in files)


def _time(size: int) -> str:
    seconds = cleaning_seconds(size, os.cpu_count() or 1)
    took = f"about {duration(seconds)}" if seconds > 60 else "less than a minute"
    return f"{took} to clean, without the index"


def _lines(patterns: list[str], out: str, columns: dict[str, str]) -> list[str]:
    """`files` and `columns` of the source; paths are relative to the recipe."""
    folder = Path(out).resolve().parent
    relative = [
        pattern
        if Path(pattern).is_absolute() or pattern.startswith("~")
        else os.path.relpath(pattern, folder)
        for pattern in patterns
    ]
    written = quoted(relative[0]) if len(relative) == 1 else f"[{', '.join(map(quoted, relative))}]"
    lines = [f"files = {written}"]
    if columns and columns["text"] != "text":
        lines.append(f"columns = {{ text = {quoted(columns['text'])} }}")
    return lines


def _columns(files: list[Path]) -> tuple[dict[str, str], list[str]]:
    """The column that holds the text, where files have columns, and others that might.

    Raises:
        SourceError: no column holds text.
    """
    tabular = [file for file in files if kind_of(file) in _RECORDS]
    if not tabular:
        return {}, []
    # A file that is damaged or empty is named by the run.
    first = next((file for file in _spread(tabular) if _first_rows(file).width), tabular[0])
    rows = _first_rows(first)
    lengths = {
        column.name: float(column.drop_nulls().str.len_chars().mean() or 0)  # type: ignore[arg-type]
        for column in rows.iter_columns()
        if column.dtype == pl.String
    }
    usual = [name for name in ("text", "content", "body", "markdown") if name in lengths]
    long = sorted((name for name in lengths if lengths[name] >= _TEXT_CHARS), key=lambda name: -lengths[name])
    names = list(dict.fromkeys([*usual[:1], *long, *usual]))
    if not names:
        raise SourceError(
            f"{first} has no column of texts. Its columns: {', '.join(rows.columns) or 'none'}.",
            hint='Write the recipe by hand: columns = { text = "NAME" } under its source.',
        )
    _check_alike(first, _spread(tabular), names[0])
    return {"text": names[0]}, names[1:4]


def _check_alike(first: Path, files: list[Path], column: str) -> None:
    """Look whether all files have the column that the first one has.

    Raises:
        SourceError: one has not.
    """
    for file in files:
        columns = _first_rows(file).columns
        if columns and column not in columns:
            example = near(str(first))
            raise SourceError(
                f'{example} has its text in the column "{column}", which {near(str(file))} does not have. '
                f"Its columns: {', '.join(columns)}.",
                hint=f"Files with other columns are a source of their own. Start with one: curate init {example}; "
                "add another [sources.NAME] to the recipe by hand.",
            )


def _spread(files: list[Path]) -> list[Path]:
    """At most forty files that lie evenly among all."""
    return files[:: max(1, len(files) // _FILES)][:_FILES]


def _first_rows(file: Path) -> pl.DataFrame:
    """The first hundred records of a file that has columns."""
    kind = kind_of(file)
    if kind == "parquet":
        with suppress(pl.exceptions.PolarsError):
            return pl.scan_parquet(file, glob=False).head(_ROWS).collect()
        return pl.DataFrame()
    if kind == "csv":
        return pl.read_csv(
            file, n_rows=_ROWS, infer_schema=False, separator="\t" if ".tsv" in file.name else ",",
            truncate_ragged_lines=True, encoding="utf8-lossy",
        )  # fmt: skip
    rows = []
    for line in _first_lines(file) if kind == "jsonl" else [file.read_bytes()]:
        with suppress(ValueError):
            value = from_json(line)
            rows += value[:_ROWS] if isinstance(value, list) else [value]
    objects = [row for row in rows if isinstance(row, dict)]
    return pl.DataFrame(objects, infer_schema_length=None, strict=False) if objects else pl.DataFrame()


def _first_lines(file: Path) -> list[bytes]:
    data = b""
    with suppress(OSError), open_stream(file) as stream:
        while data.count(b"\n") < _ROWS and len(data) < _HEAD and (block := stream.read(1 << 16)):
            data += block
    return data.split(b"\n")[:_ROWS]


def _sample(files: list[Path], columns: dict[str, str]) -> list[str]:
    """Texts of up to 500 documents from up to 40 files that lie evenly among all."""
    texts: list[str] = []
    until = time.monotonic() + _SECONDS
    chosen = _spread(files)
    each = -(-_DOCUMENTS // len(chosen))
    for file in chosen:
        kind = kind_of(file) or ""
        roles = columns if kind in _RECORDS else {}
        for read in read_slice(Slice(str(file), kind), roles, ExtractOptions.model_validate({})):
            texts += read.records.column("text").slice(0, each).to_pylist()
            if read.records.num_rows:
                break
        if time.monotonic() > until:
            break
    return texts[:_DOCUMENTS]
