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
from curate.dedup.memory import Plan, plan_memory
from curate.dedup.options import MinhashOptions
from curate.dedup.signatures import Batch, signature_batches
from curate.dedup.sketch import EMPTY
from curate.engine.alike import Comparing
from curate.lake.content import Content
from curate.lake.digest import digest_json, key_lanes

SKETCH_VERSION = 1  # goes up when sketches or shingles of the same text change
INDEX = "bands"
TOLD_SECONDS = 2.0  # a search that is predicted to take longer is told of before it starts


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
        fingerprint = digest_json(made_from)
        self.comparing.fingerprints[f"{self.comparing.table}/{table}"] = fingerprint
        return fingerprint

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

    def grow(self, digests: pl.Series) -> tuple[BandIndex, np.ndarray, Plan]:
        """The index with these texts in it, the number of each (-1: like nothing), and how they were found.

        A dry run stores nothing: what it adds is gone when this object is.

        Raises:
            DamagedError: the index is damaged, which may show as late as it is searched.
        """
        lanes = key_lanes(digests)
        folder, keep = self._folder(), not self.comparing.dry
        with ExitStack() as held:
            work = self.comparing.session.work if keep else Path(held.enter_context(TemporaryDirectory()))
            if not keep and not (folder / "manifest.json").exists():
                folder = work
            held.enter_context(locked(folder))
            index = BandIndex(folder, self._index_options())
            new = np.flatnonzero(index.numbers(lanes) < 0)
            new = new[digests.gather(new).is_first_distinct().to_numpy()]
            plan = self._plan(len(new), index.documents)
            if plan.seconds > TOLD_SECONDS:
                self.comparing.session.progress.say("\n".join(["Near-duplicates:", *plan.lines()]))
            index.append(self._texts(digests, lanes, new), plan, work, keep=keep)
        numbers = index.numbers(lanes)
        numbers[np.isin(numbers, index.wordless())] = -1
        return index, numbers, plan

    def discard(self) -> None:
        """Delete the stored index: it is damaged."""
        with locked(self._folder()):
            discard(self._folder())

    def _folder(self) -> Path:
        return self.comparing.session.lake.root / "content" / INDEX / self.fingerprint(INDEX)

    def _texts(self, digests: pl.Series, lanes: np.ndarray, new: np.ndarray) -> Iterator[Texts]:
        for positions, slots, shingles in self.batches(digests.gather(new)):
            yield lanes[new[positions]], slots, shingles

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
