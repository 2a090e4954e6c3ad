"""Near-duplicates of a corpus: sketches, candidates, exact verification, leaders.

Sketches, verified pairs and the index of bands are content: what is new is compared with what is stored. The
candidates are a function of what stands, so the result does not depend on what was there before.

Of rows with the same text the first in rank of each group stands for the others: they go with it, or to it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from curate.dedup.bands import probability
from curate.dedup.candidates import least_slots
from curate.dedup.checked import DamagedError
from curate.dedup.compared import Found
from curate.dedup.components import collisions, components
from curate.dedup.containment import may_contain
from curate.dedup.indexed import first_of, indexed_agreement, indexed_candidates
from curate.dedup.leaders import leaders
from curate.dedup.memory import Plan
from curate.dedup.nearest import nearest
from curate.dedup.options import MinhashOptions
from curate.dedup.sketch import estimates
from curate.engine.alike import Alike, Comparing, by_group
from curate.engine.keepers import is_fixed
from curate.engine.shard import plan_shards, write_plan
from curate.engine.sketches import TOLD_SECONDS, Grown, Sketches
from curate.engine.standing import locate
from curate.engine.verified import verified
from curate.lake.content import Content, new_file
from curate.lake.digest import key_lanes
from curate.lake.keyset import KeySet
from curate.lake.state import PART_ROWS
from curate.resident import peak_resident
from schemas.report import NearPlan


def find(comparing: Comparing, options: MinhashOptions, rows: pl.DataFrame, rank: np.ndarray) -> Alike:
    """Which row stands for each, and how alike they are; groups of `within` are compared each by itself."""
    return NearDuplicates(comparing, options).find(rows, rank)


@dataclass(frozen=True)
class NearDuplicates:
    """One `minhash` step of one run; what was never sketched or compared is left out of a dry one."""

    comparing: Comparing
    options: MinhashOptions

    @property
    def sketches(self) -> Sketches:
        """The sketches of this step."""
        return Sketches(self.comparing, self.options)

    def content(self, table: str) -> Content:
        """The content of `signatures` or `pairs` under these options."""
        return self.sketches.content(table)

    def find(self, rows: pl.DataFrame, rank: np.ndarray) -> Alike:
        """Which row stands for each, and how alike they are."""
        digests = rows.get_column("text_digest")
        lanes = key_lanes(digests)
        stood = self.sketches.stored(lanes)
        self._sketch(rows, stood.numbers < 0)
        fixed = rows.select(is_fixed(self.options)).to_series().to_numpy()
        if not self.options.verify:
            return self._unverified(rows, rank, fixed)
        group = _group_of(rows, self.options.within)
        try:
            search = self._searched(rows, self.sketches.grow(digests, lanes, stood), group, rank)
        except DamagedError as error:
            self.sketches.discard()
            self.comparing.report.notes.append(f"The index of near-duplicates was made anew: {error.message}")
            search = self._searched(rows, self.sketches.grow(digests, lanes, stood), group, rank)
        first, pairs, found = search
        keeper, alike = leaders(rank, pairs, found.similarity, self.options.threshold, fixed)
        others = np.flatnonzero((first != np.arange(len(rows))) & ~fixed)
        stays = keeper[first[others]] == first[others]
        alike[others] = np.where(stays, 1.0, alike[first[others]])
        keeper[others] = keeper[first[others]]
        return _told(first, keeper, alike, pairs, found)

    def _searched(
        self, rows: pl.DataFrame, grown: Grown, group: np.ndarray, rank: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, Found]:
        """The row that stands for each of its text, pairs of such rows, and what their comparison found."""
        began = time.perf_counter()
        index, numbers = grown.index, grown.numbers
        first = first_of(numbers, group, rank, index.documents)
        stands = np.flatnonzero(first == np.arange(len(first)))
        found = indexed_candidates(index, numbers[stands], rank[stands], group[stands], grown.plan)
        self._report_candidates(len(found.pairs), found.unresolved)
        self._report_plan(grown.plan, time.perf_counter() - began)
        return first, *self._compared_pairs(rows, grown, stands[found.pairs])

    def _compared_pairs(
        self, rows: pl.DataFrame, grown: Grown, pairs: np.ndarray
    ) -> tuple[np.ndarray, Found]:
        """Pairs of rows that may be alike, and what exact comparison says of them: stored, or found and stored now."""
        packed = _packed(grown.numbers[pairs])
        order = np.argsort(packed)
        pairs, packed = pairs[order], packed[order]
        known, found = grown.compared.find(packed)
        new = np.flatnonzero(~known)
        found.estimate[new], found.band[new] = indexed_agreement(grown.index, packed[new], grown.plan)
        likely = self._likely(grown, packed, found.estimate)
        pairs, packed, found, known = pairs[likely], packed[likely], found.take(likely), known[likely]
        new = np.flatnonzero(~known)
        found.similarity[new] = self._verified(rows, pairs[new], found.estimate[new])
        self.sketches.store(grown.compared, packed[new], found.take(new))
        return pairs, found

    def _likely(self, grown: Grown, packed: np.ndarray, estimate: np.ndarray) -> np.ndarray:
        """Which pairs of numbers texts of their sizes can be at the threshold, (m,)."""
        if self.options.similarity == "jaccard":
            return np.ones(len(packed), np.bool_)
        ends = np.stack([packed >> np.uint64(32), packed & np.uint64(0xFFFFFFFF)], axis=1).astype(np.int64)
        texts, at = np.unique(ends, return_inverse=True)
        shingles = grown.index.records(texts)[:, 0].astype(np.int32)
        likely: np.ndarray = may_contain(
            estimate, shingles, at.reshape(-1, 2), self.options.threshold, self.options.slots
        )
        return likely

    def _unverified(self, rows: pl.DataFrame, rank: np.ndarray, fixed: np.ndarray) -> Alike:
        """All that hangs together through equal bands. Memory: all sketches, 4 K bytes a row."""
        b, r = self.options.band_shape
        digests = rows.get_column("text_digest")
        slots, _ = self.sketches.of(digests)
        pairs = [np.empty((0, 2), np.int64)]
        pairs += [
            group[collisions(slots[group], rank[group], bands=b, rows=r)]
            for group in by_group(rows, self.options.within)
        ]
        found = np.concatenate(pairs)
        self._report_candidates(len(found), np.zeros(len(rows), np.int32))
        keeper = np.where(fixed, np.arange(len(rows)), components(rank, found))
        gone = np.flatnonzero(keeper != np.arange(len(keeper)))
        estimate, band = np.zeros(len(keeper)), np.full(len(keeper), -1, np.int32)
        estimate[gone], band[gone] = self._by_sketch(digests, np.stack([gone, keeper[gone]], axis=1))
        return Alike(keeper, estimate, estimate, band)

    def _report_candidates(self, count: int, left: np.ndarray) -> None:
        b, r = self.options.band_shape
        # A document that was left over in a few bands is found by the others.
        looked_for = 1 - (1 - probability(self.options.floor, 1, r)) ** (b - left)
        unresolved = int((looked_for < self.options.recall).sum()) if left.any() else 0
        counts = self.comparing.report.counts
        counts.update(bands=b, rows_per_band=r)
        for name, more in {"candidates": count, "unresolved": unresolved}.items():
            counts[name] = counts.get(name, 0) + more  # of all steps of the table that compare
        if unresolved:
            stand = "document stands" if unresolved == 1 else "documents stand"
            self.comparing.report.notes.append(
                f"{unresolved:,} {stand} in buckets too large to compare fully."
            )

    def _report_plan(self, plan: Plan, seconds: float) -> None:
        """What the search was to take, beside what it took."""
        peak = peak_resident()
        self.comparing.report.near_plans.append(
            NearPlan(
                documents=plan.documents,
                stored=plan.stored,
                bands=plan.bands,
                rows=plan.rows,
                partitions=plan.partitions,
                memory=plan.memory,
                disk=plan.disk,
                seconds=plan.seconds,
                took_memory=peak,
                took_seconds=seconds,
            )
        )

        if plan.seconds > TOLD_SECONDS:
            self.comparing.report.notes.append(
                f"Candidates among {plan.documents + plan.stored:,} texts, {plan.documents:,} of them new: planned "
                f"{plan.memory / 2**30:.1f} GiB and {plan.seconds:.0f} s, held {peak / 2**30:.1f} GiB and took {seconds:.0f} s."
            )

    def _by_sketch(self, digests: pl.Series, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Estimated similarity (m,) of pairs of rows, and the first band in which both are equal, -1 without one."""
        b, r = self.options.band_shape
        estimate, band = np.zeros(len(pairs)), np.full(len(pairs), -1, np.int32)
        step = max(1_000, self.comparing.session.memory // (32 * self.options.slots))
        for start in range(0, len(pairs), step):
            rows, at = np.unique(pairs[start : start + step], return_inverse=True)
            slots, _ = self.sketches.of(digests.gather(rows))
            at = at.reshape(-1, 2)
            estimate[start : start + step] = estimates(slots, at)
            for number in range(b - 1, -1, -1):
                one, two = (slots[at[:, side], number * r : (number + 1) * r] for side in (0, 1))
                band[start : start + step][(one == two).all(axis=1)] = number
        return estimate, band

    def of_sample(self, rows: pl.DataFrame, count: int) -> np.ndarray:
        """Exact similarity of up to `count` rows, drawn by hash, to the row that each is nearest to; (m,).

        Every row is looked at, where `find` looks at those with an equal band. A row that nothing is like is left out,
        and so is one that the step would never drop or compare with that other.
        """
        digests = rows.get_column("text_digest")
        free = np.flatnonzero(~rows.select(is_fixed(self.options)).to_series().to_numpy())
        drawn = free[digests.gather(free).arg_sort().head(count).to_numpy()]
        own = digests.gather(drawn)
        slots, shingles = self.sketches.of(own)
        pairs, same = nearest(
            self.sketches.batches(digests), drawn.astype(np.int64), slots, shingles, self.options.floor
        )
        group = _group_of(rows, self.options.within)
        like = same >= least_slots(self.options.floor, self.options.slots)
        pairs = pairs[like & (group[pairs[:, 0]] == group[pairs[:, 1]])]
        return self._verified(rows, pairs, self._by_sketch(digests, pairs)[0])

    def _sketch(self, rows: pl.DataFrame, unknown: np.ndarray) -> None:
        """Sketch what has no sketch, of rows that the index does not know."""
        content = self.content("signatures")
        keyed = rows.select("home", "home_key", "chars", key="text_digest").filter(unknown)
        if len(keyed):
            keyed = keyed.filter(_not_in(content, keyed.get_column("key")))
        missing = keyed.unique("key", keep="first", maintain_order=True)
        self.comparing.report.measured += len(missing)
        self.comparing.report.reused += len(rows) - len(keyed)
        if not self.comparing.dry:
            self.comparing.session.progress.advance(self.comparing.table, len(rows) - len(missing))
            self._sketch_texts(locate(self.comparing.session, self.comparing.base, missing))

    def _verified(self, rows: pl.DataFrame, pairs: np.ndarray, estimate: np.ndarray) -> np.ndarray:
        """Exact similarity (m,) of pairs of rows with their `estimate`."""
        return verified(self.comparing, self.options, self.content("pairs"), rows, pairs, estimate)

    def _sketch_texts(self, rows: pl.DataFrame) -> None:
        """Sketch texts (key, file, row, chars) in the workers, committing each shard."""
        if rows.is_empty():
            return
        session, content = self.comparing.session, self.content("signatures")
        appender = content.append()
        plan = session.work / f"{self.comparing.table}-sketch-{session.run}.parquet"
        write_plan(rows.select("key", "file", "row"), plan)
        options = self.options.sketch_options.model_dump()
        tasks = [
            {"plan": str(plan), "options": options, "start": start, "stop": stop, "out": str(new_file(content.folder))}
            for start, stop in plan_shards(rows)
        ]  # fmt: skip
        for result in session.workers.map("curate.dedup.shards:sketch_shard", tasks):
            appender.add(Path(result["file"]))
            session.progress.advance(self.comparing.table, result["rows"])
        content.compact()
        self.comparing.report.bytes_written += appender.bytes


def _group_of(rows: pl.DataFrame, within: str) -> np.ndarray:
    """(n,) number of the group that each row is compared in."""
    group = np.zeros(len(rows), np.int64)
    if within:
        for number, members in enumerate(by_group(rows, within)):
            group[members] = number
    return group


def _packed(numbers: np.ndarray) -> np.ndarray:
    """Pairs of numbers (m, 2) as later << 32 | earlier, (m,)."""
    ends = numbers.astype(np.uint64)
    packed: np.ndarray = ends.max(axis=1, initial=0) << np.uint64(32) | ends.min(axis=1, initial=2**32)
    return packed


def _told(first: np.ndarray, keeper: np.ndarray, alike: np.ndarray, pairs: np.ndarray, found: Found) -> Alike:
    """With what the sketches said of each row that goes and the one that stands for it."""
    estimate, band = np.zeros(len(keeper)), np.full(len(keeper), -1, np.int32)
    similarity = np.zeros(len(keeper))
    gone = np.flatnonzero(keeper != np.arange(len(keeper)))
    similarity[gone] = alike[gone]
    same = first[gone] == keeper[gone]
    estimate[gone[same]], band[gone[same]] = 1.0, 0
    gone = gone[~same]
    by_rows = _packed(pairs)
    order = np.argsort(by_rows)
    wanted = _packed(np.stack([first[gone], keeper[gone]], axis=1))
    at = order[np.searchsorted(by_rows[order], wanted)]
    estimate[gone], band[gone] = found.estimate[at], found.band[at]
    return Alike(keeper, similarity, estimate, band)


def _not_in(content: Content, keys: pl.Series) -> pl.Series:
    """Whether the content has no row of each key."""
    have = KeySet()
    for part in content.batches(["key"]):
        have.add(part.get_column("key"))
    parts = [have.has(keys.slice(start, PART_ROWS)) for start in range(0, len(keys), PART_ROWS)]
    return pl.Series(~np.concatenate(parts) if parts else [], dtype=pl.Boolean)
