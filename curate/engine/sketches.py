"""Sketches of a corpus as content, and the stored index of their bands: made, grown, read batch by batch."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from curate.dedup.bandindex import BandIndex, IndexOptions, Texts, discard, locked
from curate.dedup.bandrun import Run
from curate.dedup.checked import DamagedError
from curate.dedup.compared import ComparedPairs, Found
from curate.dedup.memory import Plan, plan_memory
from curate.dedup.options import MinhashOptions
from curate.dedup.places import places_of
from curate.dedup.signatures import Batch, signature_batches
from curate.dedup.sketch import EMPTY
from curate.engine.alike import Comparing
from curate.lake.content import Content
from curate.lake.digest import digest_json, key_lanes

SKETCH_VERSION = 2  # goes up when sketches or shingles of the same text change
INDEX = "bands"
TOLD_SECONDS = 2.0  # a search that is predicted to take longer is told of before it starts


@dataclass(frozen=True)
class Stood:
    """What an index held of n texts when it was looked at."""

    runs: list[Run]
    numbers: np.ndarray
    """(n,) of each text, -1 for one that was not in it."""


@dataclass(frozen=True)
class Grown:
    """An index with all n texts of a run in it."""

    index: BandIndex
    numbers: np.ndarray
    """(n,) of each text, -1 for one that is like nothing."""
    plan: Plan
    """How what was new was to be found."""
    compared: ComparedPairs


@dataclass(frozen=True)
class Sketches:
    """The sketches of a `minhash` step."""

    comparing: Comparing
    options: MinhashOptions

    def fingerprint(self, table: str) -> str:
        """Of the content of `signatures` or `pairs`, or of the index, under these options."""
        options = self.options.shingle_options if table == "pairs" else self.options.sketch_options
        # Folding case and accents follows Python's table of Unicode.
        made_from = [SKETCH_VERSION, unicodedata.unidata_version, options.model_dump()]
        if table == INDEX:
            made_from += [*self.options.band_shape, self.options.floor]
        if table == "pairs" and self.options.similarity != "jaccard":
            made_from.append(self.options.similarity)
        return self.comparing.pin(table, digest_json(made_from))

    def content(self, table: str) -> Content:
        """The content of `signatures` or `pairs` under these options."""
        return self.comparing.session.lake.content(table, self.fingerprint(table))

    def of(self, digests: pl.Series) -> tuple[np.ndarray, np.ndarray]:
        """Slots (n, K) and shingle counts (n,) of texts by digest; a text never sketched has none."""
        slots = np.full((len(digests), self.options.slots), EMPTY, np.uint32)
        shingles = np.zeros(len(digests), np.int32)
        for positions, found, counts in self.batches(digests):
            slots[positions], shingles[positions] = found, counts
        return slots, shingles

    def batches(self, digests: pl.Series) -> Iterator[Batch]:
        """Sketches of texts by digest, with their places in `digests`, some at once in no order."""
        files = self.content("signatures").files() if len(digests) else []
        return signature_batches(files, key_lanes(digests), self.options.slots)

    def stored(self, lanes: np.ndarray) -> Stood:
        """What the index holds of these texts, now; of a damaged one nothing: `grow` tells."""
        nothing = Stood([], np.full(len(lanes), -1, np.int64))
        folder = self._folder()
        if not (folder / "manifest.json").exists():
            return nothing
        try:
            with locked(folder):
                index = BandIndex(folder, self._index_options())
            if self.content("signatures").rows() < index.documents:
                return nothing  # somebody took sketches away
            return Stood([run.run for run in index.runs], index.numbers(lanes))
        except DamagedError:
            return nothing

    def grow(self, digests: pl.Series, lanes: np.ndarray, stood: Stood) -> Grown:
        """The index with these texts in it.

        A dry run stores nothing: what it adds is gone when this object is.

        Raises:
            DamagedError: the index is damaged, which may show as late as it is searched.
        """
        folder, keep = self._folder(), not self.comparing.dry
        with ExitStack() as held:
            work = self.comparing.session.work if keep else Path(held.enter_context(TemporaryDirectory()))
            if not keep and not (folder / "manifest.json").exists():
                folder = work
            held.enter_context(locked(folder))
            index = BandIndex(folder, self._index_options())
            moved = [run.run for run in index.runs] != stood.runs
            numbers = index.numbers(lanes) if moved else stood.numbers.copy()
            new = np.flatnonzero(numbers < 0)
            first = digests.gather(new).is_first_distinct().to_numpy()
            plan = self._plan(int(first.sum()), index.documents)
            if plan.seconds > TOLD_SECONDS:
                self.comparing.session.progress.say("\n".join(["Near-duplicates:", *plan.lines()]))
            added: list[np.ndarray] = [np.empty((0, 2), np.uint64)]
            before = index.documents
            index.append(self._texts(digests, lanes, new[first], added), plan, work, keep=keep)
            here = places_of(lanes[new], np.concatenate(added))
            numbers[new] = np.where(here < 0, -1, before + here)
            compared = ComparedPairs(folder, self.fingerprint("pairs"), index.origin)
        wordless = np.zeros(index.documents + 1, np.bool_)  # the last is that of texts without a number
        wordless[index.wordless()] = True
        numbers[wordless[numbers]] = -1
        return Grown(index, numbers, plan, compared)

    def store(self, compared: ComparedPairs, pairs: np.ndarray, found: Found) -> None:
        """Keep what was found of pairs of numbers; a dry run keeps nothing."""
        if len(pairs) and not self.comparing.dry:
            with locked(compared.folder):
                compared.append(pairs, found)

    def discard(self) -> None:
        """Delete the stored index: it is damaged."""
        with locked(self._folder()):
            discard(self._folder())

    def _folder(self) -> Path:
        return self.comparing.session.lake.root / "content" / INDEX / self.fingerprint(INDEX)

    def _texts(
        self, digests: pl.Series, lanes: np.ndarray, new: np.ndarray, added: list[np.ndarray]
    ) -> Iterator[Texts]:
        """Texts with a sketch; their digests go to `added`, in the order in which they are numbered."""
        for positions, slots, shingles in self.batches(digests.gather(new)):
            added.append(lanes[new[positions]])
            yield added[-1], slots, shingles

    def _index_options(self) -> IndexOptions:
        bands, rows = self.options.band_shape
        identity = {"sketches": self.fingerprint("signatures")}
        return IndexOptions(self.options.slots, bands, rows, self.options.floor, identity)

    def _plan(self, documents: int, stored: int) -> Plan:
        session = self.comparing.session
        return plan_memory(
            documents, threshold=self.options.floor, slots=self.options.slots, budget=session.memory, stored=stored,
            shape=self.options.band_shape,
        )  # fmt: skip
