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

from curate.dedup.bands import bands, probability
from curate.dedup.candidates import candidates, least_slots
from curate.dedup.leaders import leaders
from curate.dedup.nearest import nearest
from curate.dedup.options import MinhashOptions
from curate.dedup.sketch import EMPTY, estimates
from curate.engine.session import Session
from curate.engine.shard import MAX_ROWS, plan_shards, write_plan
from curate.engine.standing import locate
from curate.lake.content import Appender, Content, new_file
from curate.lake.digest import digest_json, digest_rows
from curate.lake.runs import Head
from schemas.report import TableReport

_PAIRS_AT_ONCE = 1_000_000  # few shards: the second texts of pairs lie anywhere, and each shard reads its own
SKETCH_VERSION = 1  # goes up when sketches or shingles of the same text change


@dataclass
class NearDuplicates:
    """One `minhash` step of one run. With `dry`, what was never sketched or compared is left out."""

    session: Session
    base: Head
    table: str
    options: MinhashOptions
    report: TableReport
    fingerprints: dict[str, str]
    dry: bool

    def find(self, rows: pl.DataFrame, rank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row that stands for each row (itself if kept), and exact similarity to it."""
        threshold, slots_count = self.options.threshold, self.options.slots
        slots, shingles = self._sketches(rows)
        b, r = bands(threshold, slots_count, self.options.recall)
        found = candidates(slots, shingles, rank, threshold=threshold, bands=b, rows=r)
        similarity = self._verified(rows, found.pairs, slots)
        # A document that was left over in a few bands is found by the others.
        likely = probability(threshold, 1, r)
        looked_for = 1 - (1 - likely) ** (b - found.unresolved)
        unresolved = int((looked_for < self.options.recall).sum()) if found.unresolved.any() else 0
        self.report.counts.update(
            bands=b, rows_per_band=r, candidates=len(found.pairs), unresolved=unresolved
        )
        if unresolved:
            stand = "document stands" if unresolved == 1 else "documents stand"
            self.report.notes.append(f"{unresolved:,} {stand} in buckets too large to compare fully.")
        return leaders(rank, found.pairs, similarity, threshold)

    def of_sample(self, rows: pl.DataFrame, count: int) -> np.ndarray:
        """Exact similarity of up to `count` rows, drawn by hash, to the row that each is nearest to; (m,).

        Every row is looked at, where `find` looks at those with an equal band. A row that nothing is like is left out.
        """
        content = self._content("signatures", self.options.sketch_options.model_dump())
        slots, shingles = self._stored(content, rows)
        drawn = rows.get_column("text_digest").arg_sort().head(count).to_numpy().astype(np.int64)
        pairs = nearest(slots, shingles, drawn, self.options.threshold)
        least = least_slots(self.options.threshold, self.options.slots) / self.options.slots
        return self._verified(rows, pairs[estimates(slots, pairs) >= least], slots)

    def _sketches(self, rows: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Slots (n, K) and shingle counts (n,) of the rows' texts; what is missing is made."""
        content = self._content("signatures", self.options.sketch_options.model_dump())
        have = content.keys()
        keyed = rows.with_columns(key="text_digest")
        unknown = keyed.join(have.to_frame("key"), on="key", how="anti", maintain_order="left")
        missing = unknown.unique("key", keep="first", maintain_order=True)
        self.report.measured, self.report.reused = len(missing), len(rows) - len(unknown)
        if not self.dry:
            self.session.progress.advance(self.table, len(rows) - len(missing))
            self._make(
                "sketch_shard",
                content,
                locate(self.session, self.base, missing),
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
        content = self._content("pairs", self.options.shingle_options.model_dump())
        digests = rows.get_column("text_digest")
        ends = {"one": digests.gather(pairs[:, 0]), "two": digests.gather(pairs[:, 1])}
        frame = pl.DataFrame(
            {**ends, "row_a": pairs[:, 0], "row_b": pairs[:, 1], "estimate": estimates(slots, pairs)}
        )
        frame = frame.with_columns(a=pl.min_horizontal("one", "two"), b=pl.max_horizontal("one", "two"))
        frame = frame.with_columns(key=digest_rows([frame.get_column("a"), frame.get_column("b")]))
        missing = frame.unique("key", keep="first", maintain_order=True)
        missing = missing.join(content.keys().to_frame("key"), on="key", how="anti", maintain_order="left")
        self.report.counts["compared"] = len(missing)
        if not self.dry and len(missing):
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
            self.session, self.base, rows.with_columns(index).join(concerned, on="index", how="semi")
        )
        first = places.select(row_a="index", file_a="file", at_a="row", chars="chars")
        second = places.select(row_b="index", file_b="file", at_b="row")
        located = pairs.join(first, on="row_a").join(second, on="row_b").sort("file_a", "at_a")
        # A text that stands in many pairs is read once.
        return located.with_columns(
            chars=pl.when(pl.col("row_a").is_first_distinct()).then("chars").otherwise(0)
        )

    def _content(self, table: str, options: dict[str, object]) -> Content:
        # Folding case and accents follows Python's table of Unicode.
        fingerprint = digest_json([SKETCH_VERSION, unicodedata.unidata_version, options])
        self.fingerprints[f"{self.table}/{table}"] = fingerprint
        return self.session.lake.content(table, fingerprint)

    def _make(
        self, function: str, content: Content, rows: pl.DataFrame, what: str, columns: list[str] | None
    ) -> None:
        """Run a function of curate.dedup.shards over planned rows, committing each shard."""
        if rows.is_empty():
            return
        appender: Appender = content.append()
        plan = self.session.work / f"{self.table}-{what}-{self.session.run}.parquet"
        write_plan(rows.select(columns) if columns else rows, plan)
        options = self.options.sketch_options if what == "sketch" else self.options.shingle_options
        tasks = [
            {
                "plan": str(plan),
                "options": options.model_dump(),
                "start": start,
                "stop": stop,
                "out": str(new_file(content.folder)),
            }
            for start, stop in plan_shards(rows, max_rows=MAX_ROWS if columns else _PAIRS_AT_ONCE)
        ]
        for result in self.session.workers.map(f"curate.dedup.shards:{function}", tasks):
            appender.add(Path(result["file"]))
            if what == "sketch":
                self.session.progress.advance(self.table, result["rows"])
        content.compact()
        self.report.bytes_written += appender.bytes
