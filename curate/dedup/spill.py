"""Rows put aside in files by number, and read back file by file: how a sort larger than memory is cut."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[Any]


class Spill:
    """Files of rows of one NumPy type, appended to and read back; gone when closed."""

    def __init__(self, folder: Path, dtype: npt.DTypeLike, files: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._temporary = tempfile.TemporaryDirectory(dir=folder, prefix="spill-")
        self.folder = Path(self._temporary.name)
        self._dtype = np.dtype(dtype)
        self._paths = [self.folder / str(number) for number in range(files)]
        self._files = [path.open("wb", buffering=0) for path in self._paths]
        self.rows = [0] * files

    def append(self, number: int, rows: Rows) -> None:
        """Append rows to a file."""
        data = np.ascontiguousarray(rows, self._dtype).view(np.uint8).data
        while len(data):  # an unbuffered write may take a part
            data = data[self._files[number].write(data) :]
        self.rows[number] += len(rows)

    def append_parts(self, rows: Rows, borders: Rows) -> None:
        """Append `rows[borders[i]:borders[i + 1]]` to file i."""
        for number in np.flatnonzero(np.diff(borders)):
            self.append(int(number), rows[borders[number] : borders[number + 1]])

    def read(self, number: int) -> Rows:
        """All rows of a file, in the order in which they came."""
        return np.fromfile(self._paths[number], self._dtype)

    def batches(self, number: int, rows: int) -> Iterator[Rows]:
        """The rows of a file, so many at once."""
        for start in range(0, self.rows[number], rows):
            yield np.fromfile(
                self._paths[number], self._dtype, count=rows, offset=start * self._dtype.itemsize
            )

    def mapped(self, number: int) -> mmap.mmap | None:
        """A file in memory as far as it is touched; None if it is empty, which cannot be mapped."""
        if not self.rows[number]:
            return None
        with self._paths[number].open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def close(self) -> None:
        """Delete the files."""
        for file in self._files:
            file.close()
        self._temporary.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
