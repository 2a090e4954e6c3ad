"""Near-duplicates of many documents within a budget of memory, and of a batch against a stored index.

    python benchmarks/dedup_memory.py [--documents 10000000] [--budget 1024]

`bounded`: an index of bands over synthetic sketches of 128 numbers, made batch by batch, and candidates and leaders
through it: one in ten is a near-copy of an earlier document (similarity about 0.9), one in a hundred a page of one
template, which shares a band with all its like and nothing else (one giant bucket). `recall` is the share of planted
copies that are removed; `peak_mb` the most that was resident, mapped files included; pairs are judged by their planted
similarity. `append`, `search` and `lead` are its steps; `disk_mb` is what the index takes.

`index`: a batch of 1 % of the stored documents: its keys are looked up in the index and its pairs stored
(`append_s`, the index opened before in `open_s`, the digests of all looked up in `numbers_s`), and all candidates found
(`search_s`). `built_s` is the same of all that is stored, into an empty index, and `built_ratio` that over the three of the
batch: append, digests, search. `keys_s` derives all keys anew and sorts them, `candidates_s` is a full run in memory, without digests;
the ratios are theirs by that of the append, medians of five rounds.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numba
import numpy as np
from measuring import Figures, arguments, finish, machine

from curate.dedup.bandindex import BandIndex, IndexOptions
from curate.dedup.candidates import all_keys, candidates
from curate.dedup.indexed import indexed_candidates
from curate.dedup.leaders import leaders
from curate.dedup.memory import Plan, plan_memory
from curate.dedup.shingles import mix
from curate.resident import peak_resident

SLOTS, THRESHOLD, BATCH = 128, 0.8, 50_000
_COPIES, _TEMPLATE, _TEMPLATE_SLOTS = 10, 100, 6
_SAME = 0.9  # share of slots that a copy has of its original
_KIND, _ORIGINAL, _CHANGED = np.uint64(1 << 61), np.uint64(1 << 62), np.uint64(3 << 61)


@numba.njit(nogil=True)
def _kind(row: int) -> int:
    """-1: a page of the template; 1: to be a copy; 0: neither."""
    number = mix(np.uint64(row) | _KIND) % np.uint64(_TEMPLATE * _COPIES)
    return -1 if number < np.uint64(_COPIES) else np.int64(number % np.uint64(_COPIES) == np.uint64(1))


@numba.njit(nogil=True)
def original_of(row: int) -> int:
    """Row of which this one is a copy; itself if it is none; -1 for a page of the template."""
    if row == 0 or _kind(row) != 1:
        return row if _kind(row) >= 0 else -1
    source = np.int64(mix(np.uint64(row) | _ORIGINAL) % np.uint64(row))
    return source if _kind(source) == 0 else row


@numba.njit(nogil=True)
def planted_sketches(first: int, slots: np.ndarray) -> None:
    """Sketches of rows `first` and on, a function of the row alone."""
    for i in range(len(slots)):
        row = first + i
        source = original_of(row)
        for k in range(slots.shape[1]):
            base = row
            if source >= 0 and source != row:
                change = mix(np.uint64(row * slots.shape[1] + k) | _CHANGED)
                base = source if change < np.uint64(_SAME * 2.0**64) else row
            shared = source == -1 and k < _TEMPLATE_SLOTS
            number = (
                np.uint64(7 + k) if shared else mix(np.uint64(base * slots.shape[1] + k) | np.uint64(1 << 60))
            )
            slots[i, k] = np.uint32(number >> np.uint64(33))


@numba.njit(nogil=True)
def planted_similarity(pairs: np.ndarray) -> np.ndarray:
    """1 for a copy with its original (or what both are copies of), else 0."""
    out = np.zeros(len(pairs))
    for p in range(len(pairs)):
        a, b = pairs[p]
        out[p] = original_of(b) >= 0 and (original_of(b) == a or original_of(b) == original_of(a))
    return out


@numba.njit(nogil=True)
def _copies(documents: int, keeper: np.ndarray) -> tuple[int, int]:
    planted = removed = 0
    for row in range(documents):
        source = original_of(row)
        if source >= 0 and source != row:
            planted += 1
            removed += keeper[row] != row
    return planted, removed


def sketches(first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Slots and shingle counts of some rows."""
    slots = np.empty((count, SLOTS), np.uint32)
    planted_sketches(first, slots)
    return slots, np.full(count, 500, np.int32)


def main() -> None:
    """Both parts."""
    parser = arguments(__doc__)
    parser.add_argument("--documents", type=int, default=10_000_000)
    parser.add_argument("--stored", type=int, default=1_000_000)
    parser.add_argument("--budget", type=int, default=1024, help="MiB for the search")
    options = parser.parse_args()
    if options.quick:
        options.documents, options.stored, options.budget = 100_000, 20_000, 64
    where = machine("numba", "numpy", "pyarrow")
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as folder:
        bounded(10_000, 64, Path(folder))  # compile
        figures["bounded"] = bounded(options.documents, options.budget, Path(folder))
        index(2_000, Path(folder) / "small")
        figures["index"] = index(options.stored, Path(folder) / "index")
    finish(options, where, figures)


def bounded(documents: int, budget: int, folder: Path) -> dict[str, float]:
    """Candidates and leaders of so many documents."""
    plan = plan_memory(documents, threshold=THRESHOLD, slots=SLOTS, budget=budget * 2**20)
    making = [0.0]

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for first in range(0, documents, BATCH):
            start = time.process_time()
            count = min(BATCH, documents - first)
            made = _digests(first, count), *sketches(first, count)
            making[0] += time.process_time() - start
            yield made

    with tempfile.TemporaryDirectory(dir=folder) as place:
        started, start = time.perf_counter(), time.process_time()
        index = BandIndex(Path(place), _shape(plan))
        index.append(batches(), plan, folder)
        appended = time.process_time()
        rank = np.arange(documents)
        found = indexed_candidates(index, rank, rank, np.zeros(documents, np.int64), plan)
        searched = time.process_time()
        keeper, _ = leaders(rank, found.pairs, planted_similarity(found.pairs), THRESHOLD)
        led = time.process_time()
        planted, removed = _copies(documents, keeper)
        disk = sum(file.stat().st_size for file in Path(place).glob("run-*"))
    return {
        "documents": documents,
        "append_cpu_s": appended - start - making[0],
        "search_cpu_s": searched - appended,
        "lead_cpu_s": led - searched,
        "seconds": time.perf_counter() - started,
        "planned_s": plan.seconds,
        "partitions": plan.partitions,
        "pairs": len(found.pairs),
        "recall": removed / planted,
        "unresolved": int((found.unresolved > 0).sum()),
        "disk_mb": disk / 1e6,
        "planned_disk_mb": plan.disk / 1e6,
        "peak_mb": peak_resident() / 1e6,
        "planned_mb": plan.memory / 1e6,
    }


def index(stored: int, folder: Path) -> dict[str, float]:
    """A batch against an index, and the same by deriving and sorting all keys."""
    plan = plan_memory(stored, threshold=THRESHOLD, slots=SLOTS, budget=2**30)
    few = plan_memory(stored // 100, threshold=THRESHOLD, slots=SLOTS, budget=2**30, stored=stored)
    whole, standing = (_digests(0, stored), *sketches(0, stored)), np.arange(stored)
    empty = BandIndex(folder, _shape(plan))
    built = _cpu(partial(empty.append, [whole], plan, folder))
    built += _cpu(partial(indexed_candidates, empty, standing, standing, np.zeros(stored, np.int64), plan))
    size = sum(file.stat().st_size for file in folder.iterdir())
    slots, shingles = sketches(0, stored + stored // 100)
    batch = _digests(stored, stored // 100), slots[stored:], shingles[stored:]
    everything, rank = _digests(0, len(slots)), np.arange(len(slots))
    times: dict[str, list[float]] = {}
    for number in range(5):
        fresh = BandIndex(folder, _shape(plan))
        for name, call in {
            "open_s": partial(BandIndex, folder, _shape(plan)),
            "numbers_s": partial(fresh.numbers, everything),
            "append_s": partial(fresh.append, [batch], few, folder / f"aside-{number}", keep=False),
            "search_s": partial(indexed_candidates, fresh, rank, rank, np.zeros(len(rank), np.int64), few),
            "keys_s": partial(_keys_and_sort, slots, plan.bands, plan.rows),
            "candidates_s": partial(_candidates, slots, shingles, plan.bands, plan.rows),
        }.items():
            times.setdefault(name, []).append(_cpu(call))
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "stored": stored,
        "batch": len(batch[0]),
        **medians,
        "keys_ratio": medians["keys_s"] / medians["append_s"],
        "candidates_ratio": medians["candidates_s"] / medians["append_s"],
        "search_ratio": medians["candidates_s"] / (medians["append_s"] + medians["search_s"]),
        "built_s": built,
        "built_ratio": built / (medians["numbers_s"] + medians["append_s"] + medians["search_s"]),
        "bytes_per_document": size / stored,
    }


def _shape(plan: Plan) -> IndexOptions:
    return IndexOptions(SLOTS, plan.bands, plan.rows, THRESHOLD, {"scheme": "planted"})


def _digests(first: int, count: int) -> np.ndarray:
    numbers = np.arange(first, first + count, dtype=np.uint64)
    return np.stack([numbers * np.uint64(0x9E3779B97F4A7C15), numbers], axis=1)


def _keys_and_sort(slots: np.ndarray, bands: int, rows: int) -> None:
    keys = all_keys(slots, bands, rows)
    for band in range(bands):
        np.argsort(keys[:, band])


def _candidates(slots: np.ndarray, shingles: np.ndarray, bands: int, rows: int) -> None:
    candidates(slots, shingles, np.arange(len(slots)), threshold=THRESHOLD, bands=bands, rows=rows)


def _cpu(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


if __name__ == "__main__":
    main()
