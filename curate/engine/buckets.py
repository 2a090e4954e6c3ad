"""Rows put into buckets on disk, and read back bucket by bucket.

Ids and keys are hashes: the rows that some documents ask for lie anywhere in what is stored. So what many parts ask
for is found in one pass that puts each row where its part will look for it, as a hash join of two inputs that are
larger than memory does (Kitsuregawa, Tanaka and Moto-oka 1983).
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from curate.lake.content import Content
from curate.lake.keyset import key_halves

_RUN_ROWS, _RUN_BYTES = 50_000, 32 * 2**20  # that wait in memory before they are written
_Numbers = npt.NDArray[np.integer]


class Buckets:
    """Rows of one schema by the number of a bucket; gone when closed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._temporary = tempfile.TemporaryDirectory(dir=folder, prefix="buckets-")
        self._waiting: list[tuple[pl.DataFrame, _Numbers]] = []
        self._runs: list[tuple[Path, _Numbers]] = []  # a file, and the bucket of each of its record batches
        self._rows = self._bytes = 0
        self.count = 0  # rows in all

    def add(self, rows: pl.DataFrame, numbers: int | _Numbers) -> None:
        """Put rows into a bucket, or each into one of its own."""
        if isinstance(numbers, int):
            numbers = np.full(len(rows), numbers)
        if self._waiting and not len(rows):
            return
        self._waiting.append((rows, numbers))
        self._rows += len(rows)
        self.count += len(rows)
        self._bytes += int(rows.estimated_size())
        if self._rows > _RUN_ROWS or self._bytes > _RUN_BYTES:
            self._write()

    def _write(self) -> None:
        """Those that wait, as one file with a record batch for each bucket; one without rows stays, for the schema."""
        numbers = np.concatenate([numbers for _, numbers in self._waiting])
        order = np.argsort(numbers, kind="stable")
        rows = pl.concat([rows for rows, _ in self._waiting])[order].rechunk()
        self._waiting = [(rows.clear(), numbers[:0])]
        self._rows = self._bytes = 0
        found, first = np.unique(numbers[order], return_index=True)
        path = Path(self._temporary.name) / str(len(self._runs))
        table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with (
            pa.OSFile(str(path), "wb") as sink,
            pa.ipc.new_file(sink, table.schema, options=options) as writer,
        ):
            for start, end in itertools.pairwise([*first.tolist(), len(rows)]):
                writer.write_batch(table.slice(start, end - start).combine_chunks().to_batches()[0])
        self._runs.append((path, found))

    def settle(self) -> None:
        """Nothing waits in memory beside what is on disk: many rows are read back later."""
        if self._runs and self._rows:
            self._write()

    def read(self, number: int) -> pl.DataFrame:
        """The rows of a bucket, in the order in which they came."""
        parts: list[pl.DataFrame] = []
        for path, found in self._runs:
            at = int(np.searchsorted(found, number))
            if at < len(found) and found[at] == number:
                with pa.OSFile(str(path)) as source:
                    parts.append(pl.DataFrame(pa.ipc.open_file(source).get_batch(at)))
        waiting = [
            rows if (numbers == number).all() else rows.filter(numbers == number)
            for rows, numbers in self._waiting
        ]
        return pl.concat([*parts, *waiting])

    def close(self) -> None:
        """Delete the files."""
        self._temporary.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Wanted:
    """Keys that parts ask for, in 12 bytes each: half of a key, which is enough to leave nearly all others out."""

    def __init__(self) -> None:
        self._halves: list[npt.NDArray[np.uint64]] = []
        self._parts: list[npt.NDArray[np.uint32]] = []

    def add(self, part: int, keys: pl.Series) -> None:
        """A part asks for some keys."""
        halves = np.unique(key_halves(keys))
        self._halves.append(halves)
        self._parts.append(np.full(len(halves), part, dtype=np.uint32))

    def scatter(self, batches: Iterable[pl.DataFrame], into: Buckets, on: str = "key") -> None:
        """Put the rows whose key a part asks for (and few others) into the bucket of its number, of each that does."""
        halves = np.concatenate([np.empty(0, np.uint64), *self._halves])
        parts = np.concatenate([np.empty(0, np.uint32), *self._parts])
        order = np.argsort(halves, kind="stable")
        halves, parts = halves[order], parts[order]
        self._halves, self._parts = [halves], [parts]
        del order
        for batch in batches:
            asked = key_halves(batch.get_column(on))
            first = np.searchsorted(halves, asked)
            counts = np.searchsorted(halves, asked, side="right") - first
            rows = np.repeat(np.arange(len(batch)), counts)
            nth = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
            into.add(batch if (counts == 1).all() else batch[rows], parts[np.repeat(first, counts) + nth])


@contextmanager
def in_buckets(
    folder: Path,
    none: pl.DataFrame,
    batches: Iterable[pl.DataFrame],
    keys: Iterable[pl.Series],
    on: str = "key",
) -> Iterator[Buckets]:
    """The rows that some parts ask for by their keys, with few others, in a bucket for each part; `none` are no rows."""
    wanted = Wanted()
    for part, asked in enumerate(keys):
        wanted.add(part, asked)
    with Buckets(folder) as found:
        found.add(none, 0)
        wanted.scatter(batches, found, on)
        del wanted
        found.settle()
        yield found


def found_in_parts(
    folder: Path, content: Content, columns: Sequence[str], keys: Iterable[pl.Series]
) -> AbstractContextManager[Buckets]:
    """What `content.find` finds for the keys of each part, with few other rows, found in one pass."""
    return in_buckets(folder, content.none(columns), content.batches(columns), keys)


def places_in_parts(
    folder: Path, content: Content, keys: Iterable[pl.Series]
) -> AbstractContextManager[Buckets]:
    """Where the rows for the keys of each part lie: key, file, row, and the number of the file."""
    none = content.none(["key"], places=True).with_columns(number=pl.lit(0, pl.UInt32))
    return in_buckets(folder, none, content.place_batches(), keys)
