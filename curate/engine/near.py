"""Near-duplicates of a corpus: sketches, candidates, exact verification, leaders.

Sketches and verified pairs are content. Candidates are found anew in every run from the sketches of what
stands, so the result does not depend on what was there before.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from curate.dedup.bands import probability
from curate.dedup.candidates import candidates, least_slots
from curate.dedup.components import collisions, components
from curate.dedup.containment import may_contain
from curate.dedup.leaders import leaders
from curate.dedup.nearest import nearest
from curate.dedup.options import MinhashOptions
from curate.dedup.sketch import EMPTY, estimates
from curate.engine.alike import Alike, Comparing, by_group
from curate.engine.keepers import is_fixed
from curate.engine.shard import MAX_ROWS, plan_shards, write_plan
from curate.engine.standing import locate
from curate.lake.content import Appender, Content, new_file
from curate.lake.digest import digest_json, digest_rows

_PAIRS_AT_ONCE = 1_000_000  # few shards: the second texts of pairs lie anywhere, and each shard reads its own
_COMPARED_AT_ONCE = 100_000
SKETCH_VERSION = 1  # goes up when sketches or shingles of the same text change


def find(comparing: Comparing, options: MinhashOptions, rows: pl.DataFrame, rank: np.ndarray) -> Alike:
    """Which row stands for each, and how alike they are; groups of `within` are compared each by itself."""
    return NearDuplicates(comparing, options).find(rows, rank)


@dataclass(frozen=True)
class NearDuplicates:
    """One `minhash` step of one run; what was never sketched or compared is left out of a dry one."""

    comparing: Comparing
    options: MinhashOptions

    def find(self, rows: pl.DataFrame, rank: np.ndarray) -> Alike:
        """Which row stands for each, and how alike they are."""
        slots, shingles = self._sketches(rows)
        fixed = rows.select(is_fixed(self.options)).to_series().to_numpy()
        keeper, similarity = np.arange(len(rows)), np.zeros(len(rows))
        found, unresolved = [np.empty((0, 2), np.int64)], np.zeros(len(rows), np.int32)
        for group in by_group(rows, self.options.within):
            pairs, left = self._candidates(slots[group], shingles[group], rank[group])
            found.append(group[pairs])
            unresolved[group] = left
        pairs = np.concatenate(found)
        self._report_candidates(len(pairs), unresolved)
        if self.options.verify:
            similarity = self._verified(rows, pairs, slots)
            keeper, alike = leaders(rank, pairs, similarity, self.options.threshold, fixed)
        else:
            keeper = np.where(fixed, np.arange(len(rows)), components(rank, pairs))
            alike = estimates(slots, np.stack([np.arange(len(rows)), keeper], axis=1))
        return self._told(slots, keeper, alike)

    def _candidates(
        self, slots: np.ndarray, shingles: np.ndarray, rank: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Pairs to compare, and bands in which each row is left over in a giant bucket."""
        b, r = self.options.band_shape
        if not self.options.verify:
            return collisions(slots, rank, bands=b, rows=r), np.zeros(len(slots), np.int32)
        found = candidates(slots, shingles, rank, threshold=self.options.floor, bands=b, rows=r)
        return self._likely(found.pairs, slots, shingles), found.unresolved

    def _likely(self, pairs: np.ndarray, slots: np.ndarray, shingles: np.ndarray) -> np.ndarray:
        """Those that texts of their sizes can be at the threshold."""
        if self.options.similarity == "jaccard":
            return pairs
        told = estimates(slots, pairs)
        return pairs[may_contain(told, shingles, pairs, self.options.threshold, self.options.slots)]

    def _report_candidates(self, count: int, left: np.ndarray) -> None:
        b, r = self.options.band_shape
        # A document that was left over in a few bands is found by the others.
        looked_for = 1 - (1 - probability(self.options.floor, 1, r)) ** (b - left)
        unresolved = int((looked_for < self.options.recall).sum()) if left.any() else 0
        self.comparing.report.counts.update(bands=b, rows_per_band=r, candidates=count, unresolved=unresolved)
        if unresolved:
            stand = "document stands" if unresolved == 1 else "documents stand"
            self.comparing.report.notes.append(
                f"{unresolved:,} {stand} in buckets too large to compare fully."
            )

    def _told(self, slots: np.ndarray, keeper: np.ndarray, alike: np.ndarray) -> Alike:
        """With what the sketches say of each document that goes and the one that stands for it."""
        b, r = self.options.band_shape
        gone = np.flatnonzero(keeper != np.arange(len(keeper)))
        pairs = np.stack([gone, keeper[gone]], axis=1)
        estimate, band = np.zeros(len(keeper)), np.full(len(keeper), -1, np.int32)
        estimate[gone] = estimates(slots, pairs)
        for start in range(0, len(gone), _COMPARED_AT_ONCE):
            part = pairs[start : start + _COMPARED_AT_ONCE]
            same = (
                (slots[part[:, 0], : b * r] == slots[part[:, 1], : b * r])
                .reshape(len(part), b, r)
                .all(axis=2)
            )
            band[part[:, 0]] = np.where(same.any(axis=1), same.argmax(axis=1), -1)
        similarity = np.zeros(len(keeper))
        similarity[gone] = alike[gone]
        return Alike(keeper, similarity, estimate, band)

    def of_sample(self, rows: pl.DataFrame, count: int) -> np.ndarray:
        """Exact similarity of up to `count` rows, drawn by hash, to the row that each is nearest to; (m,).

        Every row is looked at, where `find` looks at those with an equal band. A row that nothing is like is left out,
        and so is one that the step would never drop or compare with that other.
        """
        content = self.content("signatures")
        slots, shingles = self._stored(content, rows)
        free = np.flatnonzero(~rows.select(is_fixed(self.options)).to_series().to_numpy())
        drawn = free[rows.get_column("text_digest").gather(free).arg_sort().head(count).to_numpy()]
        pairs = nearest(slots, shingles, drawn.astype(np.int64), self.options.floor)
        group = np.zeros(len(rows), np.int64)
        for number, members in enumerate(by_group(rows, self.options.within)):
            group[members] = number
        pairs = pairs[group[pairs[:, 0]] == group[pairs[:, 1]]]
        least = least_slots(self.options.floor, self.options.slots) / self.options.slots
        return self._verified(rows, pairs[estimates(slots, pairs) >= least], slots)

    def _sketches(self, rows: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Slots (n, K) and shingle counts (n,) of the rows' texts; what is missing is made."""
        content = self.content("signatures")
        have = content.keys()
        keyed = rows.select("home", "home_key", "chars", key="text_digest")
        unknown = keyed.join(have.to_frame("key"), on="key", how="anti", maintain_order="left")
        missing = unknown.unique("key", keep="first", maintain_order=True)
        self.comparing.report.measured, self.comparing.report.reused = len(missing), len(rows) - len(unknown)
        if not self.comparing.dry:
            self.comparing.session.progress.advance(self.comparing.table, len(rows) - len(missing))
            self._make(
                "sketch_shard",
                content,
                locate(self.comparing.session, self.comparing.base, missing),
                "sketch",
                ["key", "file", "row"],
            )
        return self._stored(content, rows)

    def _stored(self, content: Content, rows: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Slots and shingle counts as stored; a text that was never sketched has none."""
        wanted = rows.lazy().select(key="text_digest").unique()
        stored = content.scan().join(wanted, on="key", how="semi").collect()
        empty = np.full(self.options.slots, EMPTY, dtype="<u4").tobytes()
        joined = rows.select(key="text_digest").join(stored, on="key", how="left", maintain_order="left")
        sketches = joined.get_column("sketch").fill_null(empty).to_arrow().cast(pa.large_binary())
        slots = np.frombuffer(sketches.buffers()[2] or b"", dtype="<u4").reshape(-1, self.options.slots)
        return slots, joined.get_column("shingles").fill_null(0).to_numpy().astype(np.int32)

    def _verified(self, rows: pl.DataFrame, pairs: np.ndarray, slots: np.ndarray) -> np.ndarray:
        """Exact similarity (m,) of pairs of rows; what was never compared is compared."""
        content = self.content("pairs")
        digests = rows.get_column("text_digest")
        ends = {"one": digests.gather(pairs[:, 0]), "two": digests.gather(pairs[:, 1])}
        frame = pl.DataFrame(
            {**ends, "row_a": pairs[:, 0], "row_b": pairs[:, 1], "estimate": estimates(slots, pairs)}
        )
        frame = frame.with_columns(a=pl.min_horizontal("one", "two"), b=pl.max_horizontal("one", "two"))
        frame = frame.with_columns(key=digest_rows([frame.get_column("a"), frame.get_column("b")]))
        missing = frame.unique("key", keep="first", maintain_order=True)
        missing = missing.join(content.keys().to_frame("key"), on="key", how="anti", maintain_order="left")
        self.comparing.report.counts["compared"] = len(missing)
        if not self.comparing.dry and len(missing):
            self._make("verify_shard", content, self._located_pairs(rows, missing), "pairs", None)
        stored = (
            content.scan().select("key", "similarity").join(frame.lazy().select("key"), on="key", how="semi")
        )
        joined = frame.select("key").join(stored.collect(), on="key", how="left", maintain_order="left")
        return joined.get_column("similarity").fill_null(0.0).to_numpy()

    def _located_pairs(self, rows: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
        """Pairs with the places of both texts, those that lie near each other together."""
        index = pl.int_range(pl.len()).alias("index")
        concerned = pl.concat([pairs.select(index="row_a"), pairs.select(index="row_b")]).unique()
        places = locate(
            self.comparing.session,
            self.comparing.base,
            rows.select("home", "home_key", "chars", index).join(concerned, on="index", how="semi"),
        )
        first = places.select(row_a="index", file_a="file", at_a="row", chars="chars")
        second = places.select(row_b="index", file_b="file", at_b="row")
        located = pairs.join(first, on="row_a").join(second, on="row_b").sort("file_a", "at_a")
        # A text that stands in many pairs is read once.
        return located.with_columns(
            chars=pl.when(pl.col("row_a").is_first_distinct()).then("chars").otherwise(0)
        )

    def content(self, table: str) -> Content:
        """The content of `signatures` or `pairs` under these options."""
        options = (
            self.options.sketch_options if table == "signatures" else self.options.shingle_options
        ).model_dump()
        # Folding case and accents follows Python's table of Unicode.
        made_from = [SKETCH_VERSION, unicodedata.unidata_version, options]
        if table == "pairs" and self.options.similarity != "jaccard":
            made_from.append(self.options.similarity)
        fingerprint = digest_json(made_from)
        self.comparing.fingerprints[f"{self.comparing.table}/{table}"] = fingerprint
        return self.comparing.session.lake.content(table, fingerprint)

    def _make(
        self, function: str, content: Content, rows: pl.DataFrame, what: str, columns: list[str] | None
    ) -> None:
        """Run a function of curate.dedup.shards over planned rows, committing each shard."""
        if rows.is_empty():
            return
        appender: Appender = content.append()
        plan = (
            self.comparing.session.work
            / f"{self.comparing.table}-{what}-{self.comparing.session.run}.parquet"
        )
        write_plan(rows.select(columns) if columns else rows, plan)
        options = self.options.sketch_options if what == "sketch" else self.options.shingle_options
        tasks = [
            {
                "plan": str(plan),
                "options": options.model_dump(),
                "similarity": self.options.similarity,
                "start": start,
                "stop": stop,
                "out": str(new_file(content.folder)),
            }
            for start, stop in plan_shards(rows, max_rows=MAX_ROWS if columns else _PAIRS_AT_ONCE)
        ]
        for result in self.comparing.session.workers.map(f"curate.dedup.shards:{function}", tasks):
            appender.add(Path(result["file"]))
            if what == "sketch":
                self.comparing.session.progress.advance(self.comparing.table, result["rows"])
        content.compact()
        self.comparing.report.bytes_written += appender.bytes
