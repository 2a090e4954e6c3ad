"""Arrays in files, written once, with a checksum for every 4 KB: mapped, and checked where they are first touched."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.dedup.compare import Flags
from curate.dedup.shingles import U64, mix
from curate.text.jit import kernel
from schemas.errors import LakeError

Values = npt.NDArray[Any]

_BLOCK = 512  # words with a checksum of their own: a page of memory
_BYTES = 8 * _BLOCK
_ODD = np.uint64(0x9FB21C651E98DF25)


class DamagedError(LakeError):
    """A file is missing, cut off, or has another checksum than when it was written."""


@kernel
def _checksum(words: U64, start: int, block: int) -> np.uint64:
    """Four lanes, each a chain of bijections: a change of one word always shows."""
    a = b = c = d = np.uint64(block)
    for i in range(start, start + _BLOCK, 4):
        a = (a ^ words[i]) * _ODD
        b = (b ^ words[i + 1]) * _ODD
        c = (c ^ words[i + 2]) * _ODD
        d = (d ^ words[i + 3]) * _ODD
    return mix(a) ^ mix(b + np.uint64(1)) * _ODD ^ mix(c + np.uint64(2)) ^ d


@kernel
def _checksums(words: U64, first: int) -> U64:
    """Of whole blocks, which are the file's from `first` on."""
    sums = np.empty(len(words) // _BLOCK, np.uint64)
    for block in range(len(sums)):
        sums[block] = _checksum(words, block * _BLOCK, first + block)
    return sums


@kernel
def is_sound(words: U64, sums: U64, seen: Flags, first: int | np.int64, last: int | np.int64) -> bool:
    """Whether words `first` to `last` are as they were written; each block is looked at once."""
    for block in range(first // _BLOCK, last // _BLOCK + 1):
        if not seen[block]:
            if _checksum(words, block * _BLOCK, block) != sums[block]:
                return False
            seen[block] = True
    return True


class ArrayWriter:
    """Writes values one after the other; the last block is filled with zeros, the checksums follow it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._rest = np.empty(0, np.uint8)
        self._sums: list[U64] = []
        self._blocks = 0

    def write(self, values: Values) -> None:
        """Append values, of whatever type."""
        data = np.concatenate([self._rest, np.ascontiguousarray(values).reshape(-1).view(np.uint8)])
        whole = len(data) // _BYTES * _BYTES
        self._blocks_of(data[:whole])
        self._rest = data[whole:].copy()

    def close(self) -> None:
        """End the file; what was not closed is no array."""
        if len(self._rest):
            self._blocks_of(np.append(self._rest, np.zeros(_BYTES - len(self._rest), np.uint8)))
        self._file.write(np.concatenate([np.empty(0, np.uint64), *self._sums]).tobytes())
        self._file.close()

    def _blocks_of(self, data: Values) -> None:
        if len(data):
            self._sums.append(_checksums(data.view(np.uint64), self._blocks))
            self._blocks += len(data) // _BYTES
            self._file.write(data.data)


class CheckedArray:
    """`count` values of a type in a file that `ArrayWriter` made, mapped.

    Raises:
        DamagedError: the file is missing or has another length; later, what is read is damaged.
    """

    def __init__(self, path: Path, dtype: npt.DTypeLike, count: int) -> None:
        self.path, self.count = path, count
        self._per_word = 8 // np.dtype(dtype).itemsize
        blocks = -(-count // (self._per_word * _BLOCK))
        size = path.stat().st_size if path.exists() else -1
        if size != blocks * (_BYTES + 8):
            raise _damaged(path, "is missing" if size < 0 else f"has {size:,} bytes")
        self._mapping: mmap.mmap | None = None
        if blocks:
            with path.open("rb") as file:
                self._mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        words = np.frombuffer(self._mapping or b"", np.uint64)
        self.words, self.sums = words[: blocks * _BLOCK], words[blocks * _BLOCK :]
        self.seen = np.zeros(blocks, np.bool_)
        self._values = self.words.view(dtype)

    def read(self, start: int = 0, stop: int | None = None) -> Values:
        """Values from `start` to `stop` (the end if None), copied."""
        stop = self.count if stop is None else stop
        if start < stop:
            first, last = start // self._per_word, (stop - 1) // self._per_word
            self.require(is_sound(self.words, self.sums, self.seen, first, last))
        return self._values[start:stop].copy()

    def parts(self, size: int) -> Iterator[Values]:
        """All values in order, so many at once."""
        for start in range(0, self.count, size):
            yield self.read(start, min(start + size, self.count))
            self.release()

    def require(self, sound: bool) -> None:
        """Raise what damage raises."""
        if not sound:
            raise _damaged(self.path, "has another checksum than when it was written")

    def release(self) -> None:
        """Let go of pages that were read: they count as memory of the process as long as they are mapped."""
        if self._mapping is not None:
            self._mapping.madvise(mmap.MADV_DONTNEED)


def replace_json(path: Path, value: Any) -> None:
    """Write a small file that is the old one or the new one, whenever the process dies."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(value, indent=1), "utf-8")
    temporary.replace(path)


def _damaged(path: Path, what: str) -> DamagedError:
    hint = f"Delete the folder {path.parent}: the index is made anew from the stored sketches."
    return DamagedError(f"{path} {what}.", hint=hint)
