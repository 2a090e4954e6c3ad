"""A stored index of bands: pairs of alike texts that are found once, at a cost that follows what is new.

Texts are numbers in order of arrival. An append compares what is new with the first 64 entries of each of its
keys, old or new, and stores the pairs that pass; that depends on the two texts alone, so a pair stands whoever
comes or goes and whatever stays. A key with more than 64 entries is a giant: which of its texts are compared
depends on their ranks, so `indexed.py` does that anew, among what stands.

What a pair's count means: the number of keys in which the pair is and its later text is among the first 64
entries. It takes nothing but the order of arrival to tell, so batches do not matter (a test holds it); and who
subtracts the giants among these keys knows whether any other key holds the pair.

The index is a few immutable runs (`bandrun.py`) and `manifest.json`, which is replaced last; what an append
leaves that did not end, the next one deletes. It is made of stored sketches alone: where it is damaged, it is
made anew. `locked` is for who opens or appends; an open index goes on as it was.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.dedup.bandrun import (
    OpenRun,
    Run,
    RunWriter,
    merged_entries,
    merged_from,
    records_at,
    sorted_entries,
)
from curate.dedup.candidates import all_keys, least_slots
from curate.dedup.checked import CheckedArray, DamagedError, replace_json
from curate.dedup.compare import WHOLE, compare, fill_records, record_words
from curate.dedup.compared import verify_compared
from curate.dedup.memory import Plan
from curate.dedup.places import places_of
from curate.dedup.shingles import I64, U32, U64, read_only
from curate.dedup.signatures import ranges
from curate.dedup.sketch import EMPTY
from curate.dedup.spill import Spill
from curate.text.jit import kernel
from schemas.errors import LakeError, MovedError

I32 = npt.NDArray[np.int32]
U16 = npt.NDArray[np.uint16]
Texts = tuple[U64, U32, I32]
"""Digests (m, 2), slots (m, K) and shingle counts (m,) of some texts."""

_FORMAT = 2
_LARGEST = 2**31 - 1
_ENTRY = np.dtype([("key", "<u8"), ("number", "<u4")])
_BATCH_KEYS = 2**20  # keys derived at once
_PART = 2**18  # values copied at once


@dataclass(frozen=True)
class IndexOptions:
    """What the entries of an index depend on; `identity` says how the sketches were made."""

    slots: int
    bands: int
    rows: int
    threshold: float
    identity: Mapping[str, str | int | float]
    """Scheme, seed, n-gram, version of the normalizer, whatever else: JSON values, compared for equality."""


class BandIndex:
    """An index in a folder, open: made if there is none.

    Raises:
        LakeError: it was made with other options.
        DamagedError: its files are missing or damaged, now or when they are read.
    """

    def __init__(self, folder: Path, options: IndexOptions) -> None:
        self.folder, self.options = folder, options
        self.words = record_words(options.slots)
        self.origin, runs = _read_manifest(folder, options)
        self.runs = [OpenRun(folder, run, self.words) for run in runs]

    @property
    def documents(self) -> int:
        """How many texts are in it; the next has this number."""
        return sum(run.run.documents for run in self.runs)

    def numbers(self, digests: U64) -> I64:
        """Number (n,) of each text by digest (n, 2); -1 where it is not in the index. Memory: 40 bytes a text."""
        known = np.concatenate([np.empty(0, np.uint64), *(run.digests.read() for run in self.runs)])
        return places_of(digests, known.reshape(-1, 2))

    def wordless(self) -> I64:
        """Numbers of the texts without a word, which are like nothing."""
        return np.concatenate(
            [np.empty(0, np.int64), *(run.wordless.read().astype(np.int64) for run in self.runs)]
        )

    def pairs(self) -> tuple[U64, U16]:
        """Stored pairs, later << 32 | earlier, each once, and their counts."""
        pairs = [np.empty(0, np.uint64), *(run.pairs.read() for run in self.runs)]
        counts = [np.empty(0, np.uint16), *(run.counts.read() for run in self.runs)]
        return np.concatenate(pairs), np.concatenate(counts)

    def giants(self) -> U64:
        """Keys with more than 64 entries, sorted."""
        return np.sort(np.concatenate([np.empty(0, np.uint64), *(run.giants.read() for run in self.runs)]))

    def entries(self, keys: U64) -> tuple[I64, list[tuple[I64, I64]]]:
        """How many entries each of sorted keys has, (g,), and where they are in each run."""
        places = [run.find(keys) for run in self.runs]
        return sum((high - low for low, high in places), np.zeros(len(keys), np.int64)), places

    def fill_numbers(self, places: list[tuple[I64, I64]], at: I64, out: I64) -> None:
        """Numbers of the texts of entries to `out` from `at[i]` for key i, in order; `at` moves on."""
        for run, (low, high) in zip(self.runs, places, strict=True):
            run.numbers_of(low, high, at, out)

    def records(self, numbers: I64) -> U64:
        """Records (n, words) of texts by number, sorted."""
        borders = np.searchsorted(numbers, [0, *(run.run.first + run.run.documents for run in self.runs)])
        parts = [
            run.records_of(numbers[start:stop])
            for run, start, stop in zip(self.runs, borders, borders[1:], strict=False)
        ]
        return np.concatenate([np.empty((0, self.words), np.uint64), *parts])

    def release(self) -> None:
        """Let go of mapped pages."""
        for run in self.runs:
            run.release()

    def append(self, batches: Iterable[Texts], plan: Plan, scratch: Path, *, keep: bool = True) -> None:
        """Number texts that are not in the index, and find what they are like.

        Memory is `plan.memory`; keys are put aside in `scratch`. Without `keep` nothing is stored: the run lies in
        `scratch`, and only this object knows it.

        Raises:
            MovedError: something else was appended since the index was opened.
        """
        stored = [run.run for run in self.runs]
        if keep and _read_manifest(self.folder, self.options) != (self.origin, stored):
            raise MovedError(
                f"The index in {self.folder} changed since it was opened.", hint="Open it again."
            )
        folder = self.folder if keep else scratch
        folder.mkdir(parents=True, exist_ok=True)
        writer = RunWriter(folder, self.documents, self.words)
        with Spill(scratch, _ENTRY, plan.partitions) as keys:
            if not self._put_aside(batches, writer, keys):
                return
            added = _Added(self, writer.open_records(), plan)
            writer.begin_entries(sum(keys.rows))
            for part in range(plan.partitions):
                writer.entries(*added.search(keys.read(part)))
            writer.found(*added.found())
        run = writer.close()
        self.runs.append(OpenRun(folder, run, self.words))
        if keep:
            self._merge()
            self.origin = self.origin or uuid.uuid4().hex
            _write_manifest(self.folder, self.options, self.origin, [one.run for one in self.runs])
            self._delete_unnamed()

    def _put_aside(self, batches: Iterable[Texts], writer: RunWriter, spill: Spill) -> int:
        """Write records and digests, and the keys of all bands by their first bits; how many texts there were."""
        first, count = self.documents, 0
        step = max(1, _BATCH_KEYS // self.options.bands)
        for digests, slots, shingles in batches:
            if first + count + len(slots) > _LARGEST:
                raise LakeError(
                    f"The index would hold more than {_LARGEST:,} texts.", hint="Split the corpus."
                )
            slots, shingles = read_only(slots, np.uint32), read_only(shingles, np.int32)
            for at in range(0, len(slots), step):
                some = slice(at, at + step)
                numbers = np.arange(first + count, first + count + len(slots[some]))
                records = np.empty((len(numbers), self.words), np.uint64)
                fill_records(
                    slots[some], shingles[some], read_only(np.arange(len(numbers)), np.int64), records
                )
                writer.texts(records, digests[some], numbers[slots[some][:, 0] == EMPTY])
                entries = np.empty(len(numbers) * self.options.bands, _ENTRY)
                keys = all_keys(slots[some], self.options.bands, self.options.rows)
                borders = _by_part(keys, int(numbers[0]), len(spill.rows), entries["key"], entries["number"])
                spill.append_parts(entries, borders)
                count += len(numbers)
        return count

    def _merge(self) -> None:
        """Make one run of the newest, where there are many."""
        start = merged_from([run.run.entries for run in self.runs])
        runs = self.runs[start:]
        if len(runs) == 1:
            return
        writer = RunWriter(self.folder, runs[0].run.first, self.words)
        for run in runs:
            for records, digests in zip(
                run.records.parts(_PART * self.words), run.digests.parts(_PART * 2), strict=True
            ):
                writer.texts(records, digests, np.empty(0, np.uint64))
            writer.texts(np.empty(0, np.uint64), np.empty(0, np.uint64), run.wordless.read())
            writer.found(run.pairs.read(), run.counts.read(), run.giants.read())
        writer.begin_entries(sum(run.run.entries for run in runs))
        for keys, numbers in merged_entries(runs, _PART):
            writer.entries(keys, numbers)
        self.runs[start:] = [OpenRun(self.folder, writer.close(), self.words)]

    def _delete_unnamed(self) -> None:
        """Files of runs that were merged, and of appends that did not end."""
        named = {run.run.name for run in self.runs}
        for file in self.folder.glob("run-*"):
            if file.name.split(".")[0] not in named:
                file.unlink(missing_ok=True)


@dataclass
class _Added:
    """What an append finds, part by part: old runs, the records of the new one, and the pairs so far."""

    index: BandIndex
    own: CheckedArray
    plan: Plan

    def __post_init__(self) -> None:
        self.pairs = np.empty(0, np.uint64)
        self.counts = np.empty(0, np.uint16)
        self.raw: list[U64] = []
        self.giants: list[U64] = [np.empty(0, np.uint64)]

    def search(self, entries: npt.NDArray[np.void]) -> tuple[U64, U32]:
        """Compare what shares a key of this part; returns its entries, sorted."""
        keys, numbers = sorted_entries(entries)
        begins = np.flatnonzero(np.diff(keys, prepend=np.uint64(0)))
        wanted, counts = keys[begins], np.diff(begins, append=len(keys))
        stored = self.index.entries(wanted)[0]
        self.index.release()
        self.giants.append(wanted[(stored + counts > WHOLE) & (stored <= WHOLE)])
        shared = (stored + counts > 1) & (stored < WHOLE)
        begins, stored, wanted = begins[shared], stored[shared], wanted[shared]
        counts = np.minimum(counts[shared], WHOLE - stored)
        borders = np.concatenate([[0], np.cumsum(stored + counts)])
        group = 0
        while group < len(wanted):
            stop = int(np.searchsorted(borders, borders[group] + self.plan.members, "right")) - 1
            some = slice(group, max(stop, group + 1))
            self._compare(
                wanted[some], stored[some], numbers[ranges(begins[some], counts[some])], counts[some]
            )
            group = some.stop
        return keys, numbers

    def _compare(self, wanted: U64, stored: I64, own: U32, counts: I64) -> None:
        """Buckets of at most 64: stored entries, then new ones."""
        borders = np.concatenate([[0], np.cumsum(stored + counts)])
        members, at = np.empty(borders[-1], np.int64), borders[:-1].copy()
        self.index.fill_numbers(self.index.entries(wanted)[1], at, members)
        self.index.release()
        members[ranges(at, counts)] = own
        rows, local = np.unique(members, return_inverse=True)
        first, words = self.index.documents, self.index.words
        old = int(np.searchsorted(rows, first))
        records = np.concatenate(
            [self.index.records(rows[:old]), records_at(self.own, rows[old:] - first, words)]
        )
        options = self.index.options
        found = compare(
            local.astype(np.int32), borders, records, options.slots, options.threshold,
            least_slots(options.threshold, options.slots), old, np.zeros(len(rows), np.int32),
        )  # fmt: skip
        ends = rows.astype(np.uint64)
        self.raw.append(ends[found & np.uint64(0xFFFFFFFF)] << np.uint64(32) | ends[found >> np.uint64(32)])
        if sum(map(len, self.raw)) > max(_BATCH_KEYS, 2 * len(self.pairs)):
            self._tally()

    def _tally(self) -> None:
        """Count what was found again."""
        raw = np.concatenate([np.empty(0, np.uint64), *self.raw])
        self.raw = []
        raw.sort()
        begins = np.flatnonzero(np.diff(raw, prepend=np.uint64(0)))  # no pair is 0: the later is not
        again, counts = raw[begins], np.diff(begins, append=len(raw)).astype(np.uint16)  # once a band
        del raw, begins
        places = np.searchsorted(self.pairs, again)
        known = places < len(self.pairs)
        known[known] = self.pairs[places[known]] == again[known]
        self.counts[places[known]] += counts[known]
        self.pairs = np.insert(self.pairs, places[~known], again[~known])
        self.counts = np.insert(self.counts, places[~known], counts[~known])

    def found(self) -> tuple[U64, U16, U64]:
        """Pairs, counts, and keys that are giants now."""
        self._tally()
        return self.pairs, self.counts, np.concatenate(self.giants)


@kernel
def _by_part(keys: U64, first: int, parts: int, out: U64, numbers: U32) -> I64:
    """Keys other than 0 of rows numbered from `first`, part by part; returns the borders of the parts."""
    bits = 0
    while 1 << bits < parts:
        bits += 1
    shift = np.uint64(63 - bits)  # two steps, for a shift by 64 is not defined
    borders = np.zeros(parts + 1, np.int64)
    for key in keys.flat:
        borders[np.int64(key >> shift >> np.uint64(1)) + 1] += key != np.uint64(0)
    for p in range(parts):
        borders[p + 1] += borders[p]
    free = borders.copy()
    for row in range(len(keys)):
        for band in range(keys.shape[1]):
            key = keys[row, band]
            if key != np.uint64(0):
                part = np.int64(key >> shift >> np.uint64(1))
                out[free[part]] = key
                numbers[free[part]] = np.uint32(first + row)
                free[part] += 1
    return borders


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time opens an index or appends to it; the second waits."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def discard(folder: Path) -> None:
    """Delete an index, to be made anew; the caller holds its lock."""
    for file in folder.iterdir():
        if file.is_dir():
            shutil.rmtree(file)
        elif file.name != ".lock":
            file.unlink()


def verify_index(folder: Path) -> dict[str, float]:
    """Read every file of an index to its end.

    Raises:
        DamagedError: one is missing or damaged.
    """
    with locked(folder):
        path = folder / "manifest.json"
        made, _, runs = _manifest(path) if path.exists() else ({}, "", [])
        size = 0
        for run in runs:
            opened = OpenRun(folder, run, record_words(int(made["slots"])))
            for found in vars(opened).values():
                if isinstance(found, CheckedArray):
                    for _ in found.parts(_PART):
                        pass
                    size += found.path.stat().st_size
        verify_compared(folder)
    return {"rows": sum(run.documents for run in runs), "bytes": size}


def _described(options: IndexOptions) -> dict[str, Any]:
    described = asdict(options)
    return {"format": _FORMAT, **described.pop("identity"), **described}


def _manifest(path: Path) -> tuple[dict[str, Any], str, list[Run]]:
    try:
        manifest = json.loads(path.read_text("utf-8"))
        runs = [Run(**run) for run in manifest["runs"]]
        return dict(manifest["made_with"]), str(manifest.get("origin", "")), runs
    except (ValueError, KeyError, TypeError) as error:
        hint = f"Delete the folder {path.parent}: the index is made anew from the stored sketches."
        raise DamagedError(f"{path} cannot be read: {error}", hint=hint) from error


def _read_manifest(folder: Path, options: IndexOptions) -> tuple[str, list[Run]]:
    """Which numbering this is, "" for none yet, and its runs."""
    path = folder / "manifest.json"
    if not path.exists():
        return "", []
    made, origin, runs = _manifest(path)
    wanted = _described(options)
    differing = [name for name in sorted({*made, *wanted}) if made.get(name) != wanted.get(name)]
    if differing:
        found = ", ".join(f"{name} {made.get(name)} and not {wanted.get(name)}" for name in differing)
        raise LakeError(
            f"The band index in {folder} was made with {found}.",
            hint=f"Delete the folder {folder}: the index is made anew; or set the options back.",
        )
    return origin, runs


def _write_manifest(folder: Path, options: IndexOptions, origin: str, runs: list[Run]) -> None:
    described, listed = _described(options), [asdict(run) for run in runs]
    replace_json(folder / "manifest.json", {"made_with": described, "origin": origin, "runs": listed})
