"""Near-duplicates of many documents within a budget of memory, and of a batch against a stored index.

    python benchmarks/dedup_memory.py [--documents 10000000] [--budget 1024]

`bounded`: candidates and leaders over synthetic sketches of 128 numbers, made batch by batch: one in ten is a
near-copy of an earlier document (similarity about 0.9), one in a hundred a page of one template, which shares
a band with all its like and nothing else (one giant bucket). `recall` is the share of planted copies that are
removed; `peak_mb` the most that was resident, mapped files included; pairs are judged by their planted
similarity. `keys`, `search` and `lead` are its steps.

`index`: a batch of 1 % of the stored documents is probed in the index of bands, opened anew (`probe_s`: pages
are mapped and checked), and again (`warm_s`). `keys_s` derives all keys anew and sorts them, `candidates_s` is
a full run in memory; the ratios are theirs by the probe's, medians of five rounds. `small_s` is the probe of a
hundred documents, `append_s` stores the batch.
"""

from __future__ import annotations

import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numba
import numpy as np
import pyarrow as pa
from measuring import Figures, arguments, finish, machine

from curate.dedup.bandindex import BandIndex, IndexOptions
from curate.dedup.bounded import bounded_candidates
from curate.dedup.candidates import all_keys, candidates
from curate.dedup.lead import lead
from curate.dedup.memory import plan_memory
from curate.dedup.shingles import mix

SLOTS, THRESHOLD, BATCH = 128, 0.8, 50_000
_COPIES, _TEMPLATE, _TEMPLATE_SLOTS = 10, 100, 6
_SAME = 0.9  # share of slots that a copy has of its original
_BATCHES = 9  # of the index: with the ninth all runs become one
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
    ends = [0.0]

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for first in range(0, documents, BATCH):
            count = min(BATCH, documents - first)
            start = time.process_time()
            made = sketches(first, count)
            making[0] += time.process_time() - start
            yield np.arange(first, first + count), *made
        ends[0] = time.process_time()

    started, start = time.perf_counter(), time.process_time()
    with bounded_candidates(batches(), plan, folder) as found:
        searched = time.process_time()
        keeper, best = np.arange(documents, dtype=np.int32), np.zeros(documents)
        pairs = 0
        for some in found.pairs():
            lead(keeper, best, some, planted_similarity(some), THRESHOLD)
            pairs += len(some)
        led = time.process_time()
        planted, removed = _copies(documents, keeper)
        left_over = int((found.unresolved > 0).sum())
    return {
        "documents": documents,
        "keys_cpu_s": ends[0] - start - making[0],
        "search_cpu_s": searched - ends[0],
        "lead_cpu_s": led - searched,
        "seconds": time.perf_counter() - started,
        "planned_s": plan.seconds,
        "partitions": plan.partitions,
        "pairs": pairs,
        "recall": removed / planted,
        "unresolved": left_over,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        "planned_mb": plan.memory / 1e6,
    }


def index(stored: int, folder: Path) -> dict[str, float]:
    """A batch against an index, and the same by deriving and sorting all keys."""
    plan = plan_memory(stored, threshold=THRESHOLD, slots=SLOTS, budget=2**30)
    shape = IndexOptions(SLOTS, plan.bands, plan.rows, THRESHOLD, {"scheme": "planted"})
    opened = BandIndex(folder, shape)
    step = stored // _BATCHES + 1
    for first in range(0, stored, step):
        _append(opened, *sketches(first, min(step, stored - first)))
    size = sum(file.stat().st_size for file in folder.iterdir())
    slots, shingles = sketches(0, stored + stored // 100)
    batch = slots[stored:], shingles[stored:]
    times: dict[str, list[float]] = {}
    for _ in range(5):
        fresh, other = BandIndex(folder, shape), BandIndex(folder, shape)
        for name, call in {
            "open_s": partial(BandIndex, folder, shape),
            "probe_s": partial(fresh.probe, *batch),
            "warm_s": partial(fresh.probe, *batch),
            "small_s": partial(other.probe, batch[0][:100], batch[1][:100]),
            "keys_s": partial(_keys_and_sort, slots, plan.bands, plan.rows),
            "candidates_s": partial(_candidates, slots, shingles, plan.bands, plan.rows),
        }.items():
            times.setdefault(name, []).append(_cpu(call))
    medians = {name: statistics.median(values) for name, values in times.items()}
    probed = opened.probe(*batch)
    return {
        "stored": stored,
        "batch": len(batch[0]),
        "pairs": len(probed.pairs),
        **medians,
        "append_s": _cpu(partial(opened.append, probed, _names(stored, len(batch[0])))),
        "keys_ratio": medians["keys_s"] / medians["probe_s"],
        "keys_ratio_warm": medians["keys_s"] / medians["warm_s"],
        "candidates_ratio": medians["candidates_s"] / medians["probe_s"],
        "bytes_per_document": size / stored,
    }


def _append(opened: BandIndex, slots: np.ndarray, shingles: np.ndarray) -> None:
    opened.append(opened.probe(slots, shingles), _names(opened.documents, len(slots)))


def _names(first: int, count: int) -> pa.StringArray:
    return pa.array([f"{number:032x}" for number in range(first, first + count)])


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
