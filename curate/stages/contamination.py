"""Documents that hold evaluation data: what a model has read, it cannot be tested on.

An export leaves such documents out by itself (`decontaminate`); here every document has its numbers, and a recipe says
which of them go. Two different runs of words are taken for the same with a probability of one in 2^64: among 10^12 words
of a corpus and a million of the files, one such pair in twenty times.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate.dedup.contamination import ItemGrams, item_grams, overlaps
from curate.dedup.shingles import I64
from curate.engine.stage import BESIDE_RECIPE, Batch, Measured, Options, stage
from curate.export.evaluation import records_of, strings_of
from curate.sources.readers import find_files, kind_of
from curate.text.entries import list_digest
from schemas.errors import RecipeError, did_you_mean

_RECORDS = 10_000  # at once
_MOST_PLACES = 100  # spans written out of one text


class ContaminationOptions(Options):
    """What to look for, and what becomes of it."""

    files: Annotated[str, BESIDE_RECIPE] = Field(
        description="evaluation files: a path, a folder or a glob (`eval/*.jsonl`); JSON lines, JSON, Parquet, CSV, or "
        "text with an item a line"
    )
    columns: tuple[str, ...] = Field(
        (), description="columns that are looked for; without it all strings of a record, nested ones too"
    )
    ngram: int = Field(13, ge=3, le=100, description="words in a row that a text shares with an item")
    min_words: int = Field(
        8,
        ge=1,
        description="a string of fewer words than `ngram` is looked for as a whole, one of fewer than this not at all",
    )
    edit: Literal["mark", "cut"] = Field("mark", description="`cut` takes what is found out of the text")


@dataclass(frozen=True)
class _Items:
    """What to look for: file, by its number, and row, from 1, of each item."""

    grams: ItemGrams
    names: tuple[str, ...]
    files: I64
    rows: I64

    def name(self, item: int) -> str:
        """An item as it is told."""
        return f"{self.names[self.files[item]]}:{self.rows[item]}"


def _names(paths: tuple[str, ...]) -> tuple[str, ...]:
    """The files as they are told: below the folder that holds them all."""
    folder = os.path.commonpath([str(Path(path).parent) for path in paths])
    return tuple(Path(path).relative_to(folder).as_posix() for path in paths)


def _open(options: ContaminationOptions) -> tuple[_Items, tuple[str, ...]]:
    """The items, read once in a process, and the digests of their files."""
    paths = tuple(map(str, find_files([options.files], Path())))
    digests = tuple(list_digest(path) for path in paths)
    return _items(paths, digests, options.columns, options.ngram, options.min_words), digests


def _needs(options: ContaminationOptions) -> tuple[str, ...]:
    """The digests of the files and of their names, which are measured too; what is wrong with them is told here."""
    items, digests = _open(options)
    return (*digests, hashlib.sha256("\n".join(items.names).encode()).hexdigest())


@stage(
    measures=pa.struct(
        [
            ("spans", pa.int32()),
            ("covered", pa.float64()),
            ("item_covered", pa.float64()),
            ("item", pa.string()),
            ("places", pa.string()),
        ]
    ),
    version=1,
    rewrites=True,
    models=_needs,
)
def contamination(batch: Batch, options: ContaminationOptions) -> Measured:
    """Find passages of evaluation files in a text, by words in a row.

    A string of the files is looked for by its runs of `ngram` words (13 as in GPT-3, Brown et al. 2020,
    arXiv:2005.14165, appendix C). Words are compared without case, accents and punctuation; each character of Chinese,
    Japanese or Thai is a word. What was paraphrased or translated is not found.

    | measure | |
    | --- | --- |
    | `spans` | passages that are in the files; those that adjoin are one |
    | `covered` | share of the text's words in them |
    | `item_covered` | share of an item's words that are in the text, of the item of which it is largest |
    | `item` | that item: `file.jsonl:17`, the file and its record (of a text: its line), from 1 |
    | `places` | the passages as characters of the text, `12-340,900-1200`; the first 100, then `…` |

    An item is a record; its words are those of its strings that are looked for, and no run goes from one string to the
    next. A rule says what is a copy and what a quotation: `item_covered > 0.5`, or `spans > 0`, for which any `ngram`
    words in a row are enough. With `edit = "cut"` the passages go from the text, from their first word to the end of
    their last, and what stood on both sides then stands together.
    """
    items, _ = _open(options)
    found = overlaps(batch.text, items.grams)
    spans = _spans(found.spans)
    named = {row: items.name(found.item[row]) for row in spans}
    shown = {row: _shown(places) for row, places in spans.items()}
    measures = {
        "spans": pa.array(np.bincount(found.spans[:, 0], minlength=len(batch)), pa.int32()),
        "covered": pa.array(found.covered / np.maximum(found.words, 1)),
        "item_covered": pa.array(found.item_covered),
        "item": pa.array([named.get(row, "") for row in range(len(batch))], pa.string()),
        "places": pa.array([shown.get(row, "") for row in range(len(batch))], pa.string()),
    }
    return Measured(measures, _cut(batch.text, spans) if options.edit == "cut" else None)


def _spans(spans: I64) -> dict[int, list[tuple[int, int]]]:
    """The characters of the spans of each text that has some."""
    found: dict[int, list[tuple[int, int]]] = {}
    for row, start, stop in spans[:, [0, 3, 4]].tolist():
        found.setdefault(row, []).append((start, stop))
    return found


def _shown(spans: list[tuple[int, int]]) -> str:
    shown = [f"{start}-{stop}" for start, stop in spans[:_MOST_PLACES]]
    return ",".join([*shown, "…"] if len(spans) > _MOST_PLACES else shown)


def _cut(texts: pa.LargeStringArray, spans: dict[int, list[tuple[int, int]]]) -> pa.LargeStringArray:
    """The texts without their spans."""
    if not spans:
        return texts
    left = []
    for row, cuts in spans.items():
        text, at, parts = texts[row].as_py(), 0, []
        for start, stop in cuts:
            parts.append(text[at:start])
            at = stop
        left.append("".join([*parts, text[at:]]))
    mask = np.zeros(len(texts), np.bool_)
    mask[list(spans)] = True
    return pc.replace_with_mask(texts, pa.array(mask), pa.array(left, pa.large_string()))


@lru_cache(maxsize=4)
def _items(
    paths: tuple[str, ...], digests: tuple[str, ...], columns: tuple[str, ...], ngram: int, min_words: int
) -> _Items:
    """The items of the files; `digests` makes a changed file be read again.

    Raises:
        RecipeError: a file cannot be read, has none of the columns, or nothing that is long enough.
    """
    files: list[int] = []
    rows: list[int] = []

    def parts() -> Iterator[tuple[pa.LargeStringArray, I64]]:
        for number, path in enumerate(paths):
            records = _read(path, columns)
            while part := list(islice(records, _RECORDS)):
                first = len(files)
                files.extend([number] * len(part))
                rows.extend(row for row, _ in part)
                strings = [string for _, strings in part for string in strings]
                owners = np.repeat(np.arange(first, len(files)), [len(strings) for _, strings in part])
                yield pa.array(strings, pa.large_string()), owners

    grams = item_grams(parts(), ngram, min_words)
    words = np.bincount(np.array(files[: len(grams.words)], np.int64), grams.words, len(paths))
    empty = next((path for path, count in zip(paths, words, strict=True) if not count), None)
    if empty is not None:
        raise RecipeError(
            f"The evaluation file {empty} holds no string of at least {min_words} words.",
            hint="Take it out of files, name other columns, or give a lower min_words.",
        )
    return _Items(grams, _names(paths), np.array(files, np.int64), np.array(rows, np.int64))


def _read(path: str, columns: tuple[str, ...]) -> Iterator[tuple[int, list[str]]]:
    """The records of a file: number, from 1, and strings.

    Raises:
        RecipeError: it cannot be read to its end, or no record has one of the columns.
    """
    known: dict[str, None] = {}
    found = not columns
    try:
        for row, record in enumerate(_rows(path), 1):
            if columns and isinstance(record, dict):
                known |= dict.fromkeys(record)
                record = {name: record[name] for name in columns if name in record}
                found = found or bool(record)
            elif columns and isinstance(record, str):
                found = True  # a text has no columns
            yield row, list(strings_of(record))
    except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RecipeError(
            f"The evaluation file {path} cannot be read: {cause}", hint="Mend it, or take it out of files."
        ) from None
    if not found:
        missing = ", ".join(f'"{name}"' for name in columns)
        raise RecipeError(
            f"The evaluation file {path} has no column {missing}.", hint=did_you_mean(columns[0], known)
        )


def _rows(path: str) -> Iterator[Any]:
    """Records of a file: lines of a text, elements of an array."""
    kind = kind_of(Path(path))
    if kind == "text":
        with Path(path).open(encoding="utf-8-sig") as lines:
            yield from lines
        return
    for record in records_of(Path(path)):
        if kind == "json" and isinstance(record, list):
            yield from record
        else:
            yield record
