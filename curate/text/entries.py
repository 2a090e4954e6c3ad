"""Block lists: read once in a process, looked up for whole columns at a time.

A list is plain text, one entry a line, or the same packed with gzip; lines that begin with `#` are comments.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from curate.text.arrow import texts
from schemas.errors import RecipeError

_GZIP = b"\x1f\x8b"
_SLICE = 200_000  # entries that are spelled at a time: what that takes is a multiple of them
_HINT = (
    "Give the path of a text file with one entry a line, plain or packed with gzip, or leave the option out."
)


@dataclass(frozen=True)
class Entries:
    """The distinct entries of a list, in the order of their hashes (uint64)."""

    hashes: npt.NDArray[np.uint64]
    values: pa.LargeStringArray
    seed: int

    def __len__(self) -> int:
        return len(self.hashes)

    def has(self, keys: pl.Series) -> pl.Series:
        """Whether each key is an entry: a binary search in the hashes, then a comparison of what was found."""
        if not len(self) or not len(keys):
            return pl.Series(np.zeros(len(keys), np.bool_))
        wanted = keys.hash(self.seed).to_numpy()
        place = np.minimum(np.searchsorted(self.hashes, wanted), len(self) - 1)
        found = self.hashes[place] == wanted
        rows = np.flatnonzero(found)
        entries = pl.Series(self.values.take(pa.array(place[rows])))
        found[rows] = (entries == keys.gather(rows)).to_numpy()
        return pl.Series(found)


NONE = Entries(np.empty(0, np.uint64), pa.array([], pa.large_string()), 0)


def make_entries(values: pl.Series) -> Entries:
    """Entries that can be looked up: distinct, without empty ones."""
    distinct = values.filter(values != "").unique()
    for seed in range(8):  # two entries with one hash could hide each other; nobody will see a second round
        hashes = distinct.hash(seed).to_numpy()
        order = np.argsort(hashes)
        hashes = hashes[order]
        if not (hashes[1:] == hashes[:-1]).any():
            break
    return Entries(hashes, distinct.gather(order).to_arrow().cast(pa.large_string()), seed)


def open_entries(path: str | None, normalise: Callable[[pl.Series], pl.Series]) -> Entries:
    """The list in a file, each entry as `normalise` spells it; read once in a process. None is an empty list.

    Raises:
        RecipeError: there is no such file, or it is no text.
    """
    return _entries(path, list_digest(path), normalise) if path else NONE


def open_words(path: str | None, normalise: Callable[[pl.Series], pl.Series]) -> tuple[str, ...]:
    """The distinct entries of a short list, sorted: what is searched for within a text.

    Raises:
        RecipeError: there is no such file, or it is no text.
    """
    return tuple(sorted(open_entries(path, normalise).values.to_pylist()))


def list_digest(path: str) -> str:
    """sha256 of a list's file, as 64 hex digits.

    Raises:
        RecipeError: there is no such file.
    """
    try:
        state = Path(path).stat()
        return _digest(path, state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise RecipeError(f"The list {path} cannot be read: {error.strerror}.", hint=_HINT) from error


@lru_cache(maxsize=32)
def _digest(path: str, size: int, changed: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=16)
def _entries(path: str, digest: str, normalise: Callable[[pl.Series], pl.Series]) -> Entries:
    """`digest` makes a changed file be read again."""
    lines = _lines(path)
    parts = [normalise(_bare(lines.slice(start, _SLICE))) for start in range(0, len(lines), _SLICE)]
    return make_entries(pl.concat(parts)) if parts else NONE


def _bare(lines: pl.Series) -> pl.Series:
    bare = lines.str.strip_chars()
    return bare.filter(~bare.str.starts_with("#") & (bare != ""))


def _lines(path: str) -> pl.Series:
    """The lines of a file with their ends, which are not copied one by one."""
    data = Path(path).read_bytes()
    try:
        data = gzip.decompress(data) if data.startswith(_GZIP) else data
        ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")) + 1
        offsets = np.concatenate([[0], ends, [len(data)]]).astype(np.int64)
        lines = texts(np.frombuffer(data, np.uint8), offsets)
        lines.validate(full=True)
    except (pa.ArrowInvalid, OSError, EOFError, zlib.error) as error:
        raise RecipeError(f"The list {path} is no UTF-8 text: {error}.", hint=_HINT) from error
    return pl.Series(lines).str.strip_prefix("\ufeff")
