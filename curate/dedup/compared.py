"""What the comparison of two texts of a band index found, by their numbers: arrays in files beside it, mapped.

The truth is in the lake's tables `pairs` and `signatures`; but there texts are named by digest, and to find the pairs
that stand means to join all of it. Here a pair is `later << 32 | earlier` as in the index, and pairs are sorted. What is
not here is asked there, so a run that dies before it stored its pairs loses nothing.

Runs of arrays are appended and merged as those of the index. Numbers mean something in one numbering alone: that of
another `origin` finds nothing here and replaces what there is.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from curate.dedup.bandrun import merged_from
from curate.dedup.checked import ArrayWriter, CheckedArray, DamagedError, replace_json
from curate.dedup.compare import Flags
from curate.dedup.shingles import U64

F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Found:
    """Of m pairs."""

    similarity: F64
    """(m,) exact."""
    estimate: F64
    """(m,) by the sketches."""
    band: I32
    """(m,) the first in which both are equal, -1 without one."""

    @classmethod
    def empty(cls, count: int) -> Found:
        """Room for so many."""
        return cls(np.zeros(count), np.zeros(count), np.full(count, -1, np.int32))

    def put(self, where: Flags | slice | npt.NDArray[np.int64], found: Found) -> None:
        """Values of some of the pairs."""
        self.similarity[where], self.estimate[where], self.band[where] = (
            found.similarity,
            found.estimate,
            found.band,
        )

    def take(self, where: Flags | npt.NDArray[np.int64]) -> Found:
        """Those of some of the pairs."""
        return Found(self.similarity[where], self.estimate[where], self.band[where])


@dataclass(frozen=True)
class _Run:
    pairs: CheckedArray
    similarity: CheckedArray
    estimate: CheckedArray
    band: CheckedArray

    @classmethod
    def open(cls, folder: Path, name: str, count: int) -> _Run:
        kinds = {"pairs": np.uint64, "similarity": np.float64, "estimate": np.float64, "band": np.int32}
        return cls(**{kind: CheckedArray(folder / f"{name}.{kind}", of, count) for kind, of in kinds.items()})

    def read(self) -> tuple[U64, Found]:
        return self.pairs.read(), Found(self.similarity.read(), self.estimate.read(), self.band.read())


class ComparedPairs:
    """Stored comparisons of one measure (`name`) under one numbering of texts, open.

    The caller holds the lock of the index while it opens or appends; what is open goes on as it was.

    Raises:
        DamagedError: files are missing or damaged, now or when they are read.
    """

    def __init__(self, folder: Path, name: str, origin: str) -> None:
        self.folder, self.name, self.origin = folder, f"compared-{name}", origin
        self._listed = self._list()
        self._runs = [_Run.open(folder, *one) for one in self._listed]

    def find(self, pairs: U64) -> tuple[Flags, Found]:
        """Which of some pairs are stored, (m,), and what was found of them; sorted pairs are found fastest."""
        known, found = np.zeros(len(pairs), np.bool_), Found.empty(len(pairs))
        for run in self._runs:
            stored, values = run.read()
            at = np.minimum(np.searchsorted(stored, pairs), len(stored) - 1)
            here = stored[at] == pairs
            known |= here
            found.put(here, values.take(at[here]))
        return known, found

    def append(self, pairs: U64, found: Found) -> None:
        """Store pairs (m,), each once, and what was found of them."""
        order = np.argsort(pairs)
        if not len(order):
            return
        self._listed = [*self._list(), self._write(pairs[order], found.take(order))]
        start = merged_from([count for _, count in self._listed])
        if start < len(self._listed) - 1:
            self._merge(start)
        replace_json(self.folder / f"{self.name}.json", {"origin": self.origin, "runs": self._listed})
        named = {name for name, _ in self._listed}
        for file in self.folder.glob(f"{self.name}-*"):
            if file.name.split(".")[0] not in named:
                file.unlink(missing_ok=True)
        self._runs = [_Run.open(self.folder, *one) for one in self._listed]

    def _write(self, pairs: U64, found: Found) -> tuple[str, int]:
        name = f"{self.name}-{uuid.uuid4().hex[:8]}"
        for kind, values in {"pairs": pairs, **vars(found)}.items():
            writer = ArrayWriter(self.folder / f"{name}.{kind}")
            writer.write(values)
            writer.close()
        return name, len(pairs)

    def _merge(self, start: int) -> None:
        read = [_Run.open(self.folder, *one).read() for one in self._listed[start:]]
        pairs, first = np.unique(np.concatenate([pairs for pairs, _ in read]), return_index=True)
        values = Found(
            *(np.concatenate([vars(found)[kind] for _, found in read]) for kind in vars(read[0][1]))
        )
        self._listed[start:] = [self._write(pairs, values.take(first))]

    def _list(self) -> list[tuple[str, int]]:
        origin, runs = _read_manifest(self.folder / f"{self.name}.json")
        return runs if origin == self.origin else []


def verify_compared(folder: Path) -> None:
    """Read all stored comparisons beside an index, whose lock the caller holds, to their end.

    Raises:
        DamagedError: a file is missing or damaged.
    """
    for path in folder.glob("compared-*.json"):
        for name, count in _read_manifest(path)[1]:
            _Run.open(folder, name, count).read()


def _read_manifest(path: Path) -> tuple[str, list[tuple[str, int]]]:
    """The numbering, and runs by name with the number of their pairs."""
    if not path.exists():
        return "", []
    try:
        manifest = json.loads(path.read_text("utf-8"))
        return str(manifest["origin"]), [(str(name), int(count)) for name, count in manifest["runs"]]
    except (ValueError, KeyError, TypeError) as error:
        hint = f"Delete the folder {path.parent}: the index is made anew from the stored sketches."
        raise DamagedError(f"{path} cannot be read: {error}", hint=hint) from error
