"""Whether `curate clean` stays as fast and as small when its input grows, and what a second process brings.

    python benchmarks/scaling.py                    # 10,000, 100,000 and 1,000,000 documents
    python benchmarks/scaling.py --part processes   # one process and two, five times each: on a quiet machine only

The part `sizes` has documents of about 80 words, put together from runs of words of data/bulk.py, every twentieth word a
made-up one, so that nearly all are kept and the vocabulary grows as that of new text does. A rate between two sizes
leaves out what every start costs. `growth` is the processor time of a megabyte between the two larger sizes over that
between the two smaller ones: 1 is a time that is linear. Bytes of memory a document are those between the largest
sizes too.

The part `processes` cleans the documents of data/bulk.py themselves, which takes one process about a minute, and
quotes wall clock, which any other load of the machine spoils.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from measuring import Cost, Figures, arguments, curate, finish, machine, run
from texts import add_data, bulk_file, read_texts

LARGEST, QUICK_LARGEST = 1_000_000, 1_000  # documents; a tenth and a hundredth of them come before
_RUNS, _RUN = 4, 20  # runs of a document, words of each
_POOL = 40_000_000  # bytes of text that runs are taken from
_CHUNK = 50_000  # documents made at a time
_SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]


def main() -> None:
    """Measure one of the parts; with `--quick` both."""
    parser = arguments(__doc__)
    add_data(parser)
    parser.add_argument("--part", choices=("sizes", "processes"), default="sizes")
    parser.add_argument("--recipe", default="web")
    parser.add_argument("--documents", type=int, default=LARGEST, help="of the largest size")
    options = parser.parse_args()
    where = machine("polars", "pyarrow", "numba")
    notes = []
    if os.getloadavg()[0] > 0.5:
        notes.append(
            f"The machine is not quiet (load {os.getloadavg()[0]:.1f}): trust processor time, not seconds."
        )
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="curate-bench-") as name:
        folder = Path(name)
        data = bulk_file(options, folder)
        run([sys.executable, "-m", "curate.engine.warm"])
        run(curate("--help"))
        if options.quick or options.part == "sizes":
            largest = QUICK_LARGEST if options.quick else options.documents
            sizes = [largest // 100, largest // 10, largest]
            figures |= _sizes(data, folder, sizes, options.recipe)
        if options.quick or options.part == "processes":
            figures |= _processes(data, folder, options.recipe, 1 if options.quick else 5)
    finish(options, where, figures, notes, joint="_")


def _sizes(data: Path, folder: Path, sizes: list[int], recipe: str) -> Figures:
    pool = words_of(data)
    figures: Figures = {}
    costs, megabytes = [], []
    for count in sizes:
        file, out = folder / f"{count}.parquet", folder / str(count) / "kept.parquet"
        megabytes.append(write_documents(pool, count, file))
        cost = run(curate("clean", file, "-o", out, "--recipe", recipe, "--json"))
        costs.append(cost)
        report = json.loads(cost.output)
        written = sum(one.stat().st_size for one in out.parent.rglob("*") if one.is_file()) / 1e6
        figures[f"documents_{count}"] = {
            "mb": megabytes[-1],
            "kept": next(table["kept"] for table in report["tables"] if table["table"] == "corpus"),
            **cost.figures(),
            "driver_mb": cost.driver_mb,
            "cpu_s_per_mb": cost.cpu_s / megabytes[-1],
            "docs_per_s": count / cost.seconds,
            "docs_per_cpu_s": count / cost.cpu_s,
            "input_mb": file.stat().st_size / 1e6,
            "written_mb": written,
        }
        file.unlink()
    figures["scaling"] = _slopes(sizes, costs, megabytes)
    return figures


def _slopes(sizes: list[int], costs: list[Cost], megabytes: list[float]) -> dict[str, float]:
    """What grows with the input, without what every start costs."""

    def a_megabyte(small: int, large: int) -> float:
        return (costs[large].cpu_s - costs[small].cpu_s) / (megabytes[large] - megabytes[small])

    more = sizes[2] - sizes[1]
    return {
        "growth": a_megabyte(1, 2) / a_megabyte(0, 1),
        "growth_with_start": (costs[2].cpu_s / megabytes[2]) / (costs[0].cpu_s / megabytes[0]),
        "cpu_s_per_mb": a_megabyte(1, 2),
        "docs_per_cpu_s": more / (costs[2].cpu_s - costs[1].cpu_s),
        "driver_bytes_per_document": (costs[2].driver_mb - costs[1].driver_mb) * 1e6 / more,
        "all_bytes_per_document": (costs[2].peak_mb - costs[1].peak_mb) * 1e6 / more,
    }


def words_of(data: Path) -> list[str]:
    """The words that documents are put together from."""
    return " ".join(read_texts(data, _POOL).to_pylist()).split()


def write_documents(pool: list[str], count: int, file: Path) -> float:
    """Write so many documents. Returns megabytes of UTF-8."""
    size, writer = 0, pq.ParquetWriter(file, pa.schema([("id", pa.string()), ("text", pa.string())]))
    with writer:
        for start in range(0, count, _CHUNK):
            stop = min(start + _CHUNK, count)
            texts = pa.array(_documents(pool, start, stop))
            size += texts.nbytes - 4 * (len(texts) + 1)  # less offsets
            writer.write_table(
                pa.table({"id": [str(number) for number in range(start, stop)], "text": texts})
            )
    return size / 1e6


def _documents(pool: list[str], start: int, stop: int) -> Iterator[str]:
    """The documents with these numbers: always the same ones."""
    chance = np.random.default_rng(start)
    places = chance.integers(0, max(len(pool) - _RUN, 1), (stop - start, _RUNS))
    changed = chance.integers(0, _RUN, (stop - start, _RUNS))
    for number, (at, word) in enumerate(zip(places.tolist(), changed.tolist(), strict=True), start):
        runs = [pool[place : place + _RUN] for place in at]
        for run_, (one, where) in enumerate(zip(runs, word, strict=True)):
            one[where % len(one)] = _made_up(_RUNS * number + run_)
        yield ".\n".join(map(" ".join, runs)) + "."


def _made_up(number: int) -> str:
    """A word for each number."""
    word = ""
    while number or len(word) < 6:
        number, syllable = divmod(number, len(_SYLLABLES))
        word += _SYLLABLES[syllable]
    return word


def _processes(data: Path, folder: Path, recipe: str, rounds: int) -> Figures:
    """Seconds with one worker and with two, in turn."""
    found: dict[int, list[Cost]] = {1: [], 2: []}
    for number in range(rounds):
        for workers, costs in found.items():
            out = folder / f"{number}-{workers}" / "kept.parquet"
            command = curate(
                "clean", data, "-o", out, "--recipe", recipe, "--workers", str(workers), "--json"
            )
            costs.append(run(command))
    seconds = {workers: statistics.median(one.seconds for one in costs) for workers, costs in found.items()}
    return {
        "processes": {
            "one_seconds": seconds[1],
            "two_seconds": seconds[2],
            "two_ratio": seconds[1] / seconds[2],
            "one_cpu_s": statistics.median(one.cpu_s for one in found[1]),
            "two_cpu_s": statistics.median(one.cpu_s for one in found[2]),
        }
    }


if __name__ == "__main__":
    main()
