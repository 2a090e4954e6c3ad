"""Evaluation data that a training set must not hold: its files, and the runs of words in them.

A record may be a question, its choices and its answer in columns of any name: all strings count, nested ones too,
each for itself. A file that cannot be read to its end is an error: half of it would be half a protection.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic_core import from_json

from curate.dedup.shingles import ShingleOptions, shingle_sets
from curate.sources.readers import ExtractOptions, digest, find_files, kind_of, read_slice, split
from schemas.errors import SourceError

_RECORDS = 10_000  # at once
_LONGEST_VALUE = 2**31 - 1  # of CSV


@dataclass(frozen=True)
class EvaluationFile:
    """A file, as the recipe names it, and the digest of its bytes."""

    name: str
    path: str
    digest: str


def evaluation_files(patterns: list[str], folder: Path) -> list[EvaluationFile]:
    """The files that the recipe names, relative to its folder.

    Raises:
        SourceError: one that is not there, or that no reader knows.
    """
    files = find_files(patterns, folder)
    return [EvaluationFile(_name(path, folder), str(path), digest(path)) for path in files]


def _name(path: Path, folder: Path) -> str:
    base = folder.resolve()
    return str(path.relative_to(base)) if path.is_relative_to(base) else str(path)


def runs_of_words(files: list[EvaluationFile], ngram: int) -> pl.DataFrame:
    """Hashes of all runs of `ngram` words in the files: gram (u64), file (number in the list); each pair once.

    A string of fewer words is one run, and is found only where it is a whole text.

    Raises:
        SourceError: a file cannot be read, or holds no string.
    """
    found = [pl.DataFrame(schema={"gram": pl.UInt64, "file": pl.UInt32})]
    for number, file in enumerate(files):
        parts = [
            grams(pa.array(part, pa.large_string()), ngram).select("gram") for part in _texts(Path(file.path))
        ]
        if not sum(map(len, parts)):
            raise SourceError(
                f"The evaluation file {file.name} holds no text.",
                hint="decontaminate needs a column of strings.",
            )
        found.append(pl.concat(parts).unique().with_columns(file=pl.lit(number, pl.UInt32)))
    return pl.concat(found)


def grams(texts: pa.LargeStringArray, ngram: int) -> pl.DataFrame:
    """The runs of words of texts as hashes of 64 bits: gram, text (its number)."""
    sets = shingle_sets(texts, ShingleOptions(ngram=ngram))
    numbers = np.repeat(np.arange(len(texts), dtype=np.uint32), np.diff(sets.offsets))
    return pl.DataFrame({"gram": sets.values, "text": numbers})


def _texts(path: Path) -> Iterator[list[str]]:
    """All strings of a file, some thousand records at a time."""
    try:
        records = records_of(path)
        while part := list(islice(records, _RECORDS)):
            yield [text for record in part for text in strings_of(record)]
    except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SourceError(
            f"The evaluation file {path} cannot be read: {cause}",
            hint="Mend it, or take it out of decontaminate.",
        ) from None


def strings_of(value: Any) -> Iterator[str]:
    """Every string in a value of JSON, in order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from strings_of(part)


def records_of(path: Path) -> Iterator[Any]:
    """Rows, lines or the text of a file."""
    kind = kind_of(path)
    if kind == "parquet":
        with pq.ParquetFile(path) as parquet:
            for batch in parquet.iter_batches(batch_size=1000):
                yield from batch.to_pylist()
    elif kind == "csv":
        csv.field_size_limit(_LONGEST_VALUE)
        with _open(path) as stream:
            header = stream.readline()
            yield from csv.DictReader(chain([header], stream), delimiter=max(",;\t", key=header.count))
    elif kind == "jsonl":
        with _open(path) as stream:
            yield from (from_json(line) for line in stream if line.strip())
    elif kind == "json":
        with _open(path) as stream:
            yield from_json(stream.read())
    else:
        for piece in split(path):
            for read in read_slice(piece, {}, ExtractOptions.model_validate({})):
                if read.faults:
                    raise ValueError(read.faults[0].message)
                yield read.records.column("text").to_pylist()


def _open(path: Path) -> io.TextIOWrapper:
    """A text file, also a compressed one."""
    return io.TextIOWrapper(pa.input_stream(str(path), compression="detect"), "utf-8-sig", newline="")
