"""How often a kept document is to be read in training, by how many documents it stands for.

A text that the web repeats is worth more than one that stands once, up to a point where it is a template.
FineWeb-2 calls it rehydration: https://github.com/huggingface/fineweb-2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# README of FineWeb-2: 1, 2, 3 for 3 and 4, 5 for 5 to 99, 8 for 100 to 999, and 1 from 1,000 on.
TABLES: dict[str, dict[str, float]] = {"fineweb-2": {"1": 1, "2": 2, "3": 3, "5": 5, "100": 8, "1000": 1}}


@dataclass(frozen=True)
class Weights:
    """`values[i]` from `least[i]` documents on; all are 1 where both are empty."""

    least: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]

    def of(self, sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Weight of documents that stand for so many, themselves included."""
        if len(self.least) == 0:
            return np.ones(len(sizes))
        place = np.searchsorted(self.least, sizes, side="right") - 1
        found: npt.NDArray[np.float64] = np.where(place < 0, 1.0, self.values[np.maximum(place, 0)])
        return found


def read_weights(given: str | Mapping[str, float]) -> Weights:
    """The table of that name, or one of least numbers and weights; none for "".

    Raises:
        ValueError: no such table, a number that is none, or a weight below 0.

    >>> read_weights("fineweb-2").of(np.array([1, 4, 99, 5000])).tolist()
    [1.0, 3.0, 5.0, 1.0]
    """
    if isinstance(given, str):
        if given and given not in TABLES:
            raise ValueError(f"there is no table {given!r}; there is {', '.join(TABLES)}")
        given = TABLES.get(given, {})
    if not all(str(least).isdigit() and int(least) > 0 and weight >= 0 for least, weight in given.items()):
        raise ValueError("weights are numbers of documents, from 1, and weights from 0: { 1 = 1, 2 = 2 }")
    ordered = sorted((int(least), weight) for least, weight in given.items())
    return Weights(
        np.array([least for least, _ in ordered], np.int64), np.array([w for _, w in ordered], np.float64)
    )
