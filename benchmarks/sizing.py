"""The rates behind docs/sizing.md, and its tables: what 1 GB, 100 GB and 10 TB of documents take.

    python benchmarks/sizing.py

`curate clean` on 25,000 and on 100,000 documents of data/bulk.py, with two workers. Rates are those between the two, which
leaves out what every start costs (`start`). Memory is that of documents of `scaling.py`, short ones that are nearly all
kept, and between 125,000 and 500,000 of them, for small runs show what libraries hold rather than what documents take.
Then passages are cut from English ones of data/bulk.py and embedded. The tables are worked out from these rates with
nothing added: processor time divided by cores is the least wall clock, and memory is that of the driver for each
document, and of each worker. That rates stay the same beyond 100,000 documents is what `scaling.py` shows up to
1,000,000; beyond that it is an extrapolation.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from curating.chains import documents_of, english_of, megabytes_of
from measuring import Cost, Figures, arguments, curate, finish, machine, run
from scaling import words_of, write_documents
from texts import add_data, bulk_file

RECIPES = ("web", "fineweb")
# Of the larger run; the smaller one has a quarter.
DOCUMENTS, QUICK_DOCUMENTS = 100_000, 16
HELD, QUICK_HELD = 500_000, 400
WORKERS = 2
SIZES = {"1 GB": 1e3, "100 GB": 1e5, "10 TB": 1e7}  # megabytes
MACHINES = {"2 cores, 8 GB": (2, 8), "16 cores, 64 GB": (16, 64), "64 cores, 512 GB": (64, 512)}
_USED = 0.8  # of a machine's memory; the rest is the system's and its cache of files
_DIMENSIONS = 384  # all-MiniLM-L6-v2, float32


def main() -> None:
    """Measure the rates, then work out the tables."""
    parser = arguments(__doc__)
    add_data(parser)
    parser.add_argument("--recipe", action="append", choices=RECIPES, help="only this one")
    options = parser.parse_args()
    where = machine("polars", "pyarrow", "numba", "onnxruntime")
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="curate-bench-") as name:
        data = bulk_file(options, Path(name))
        run([sys.executable, "-m", "curate.engine.warm"])
        run(curate("--help"))
        for recipe in options.recipe or RECIPES:
            documents = documents_of(data).head(QUICK_DOCUMENTS if options.quick else DOCUMENTS)
            held = _held(data, Path(name), recipe, QUICK_HELD if options.quick else HELD)
            figures[recipe] = {**_rates(documents, Path(name), recipe), **held}
        figures["passages"] = _passages(english_of(data), 5 if options.quick else 200)
    finish(options, where, figures, [] if options.quick else _tables(figures), joint="_")


def _rates(documents: pl.DataFrame, folder: Path, recipe: str) -> dict[str, float]:
    counts = (len(documents) // 4, len(documents))
    found = [_clean(documents.head(count), folder / f"{recipe}-{count}", recipe) for count in counts]
    (small, small_mb, small_written, _), (large, large_mb, written, report) = found
    more, more_mb = counts[1] - counts[0], large_mb - small_mb
    kept = next(table["kept"] for table in report["tables"] if table["table"] == "corpus")
    cpu = large.cpu_s - small.cpu_s
    return {
        "mb": large_mb,
        "bytes_per_document": large_mb * 1e6 / len(documents),
        "kept_share": kept / len(documents),
        "seconds": large.seconds,
        "docs_per_cpu_s": more / cpu,
        "cpu_s_per_mb": cpu / more_mb,
        "start_cpu_s": small.cpu_s - cpu / more_mb * small_mb,
        "written_per_mb": (written - small_written) / more_mb,
    }


def _held(data: Path, folder: Path, recipe: str, documents: int) -> dict[str, float]:
    """Memory of the driver at so many documents and for each, and that of a worker."""
    pool, costs = words_of(data), []
    for count in (documents // 4, documents):
        given, out = folder / f"held-{count}.parquet", folder / f"held-{recipe}-{count}" / "kept.parquet"
        write_documents(pool, count, given)
        costs.append(run(curate("clean", given, "-o", out, "--recipe", recipe, "--workers", str(WORKERS))))
    small, large = costs
    return {
        "held_documents": documents,
        "driver_mb": large.driver_mb,
        "driver_bytes_per_document": (large.driver_mb - small.driver_mb) * 1e6 / (documents - documents // 4),
        "worker_mb": (large.peak_mb - large.driver_mb) / WORKERS,
    }


def _clean(documents: pl.DataFrame, folder: Path, recipe: str) -> tuple[Cost, float, float, dict[str, Any]]:
    """Its cost, megabytes of text, megabytes written, and the report."""
    folder.mkdir()
    given, out = folder / "given.parquet", folder / "out" / "kept.parquet"
    documents.write_parquet(given)
    cost = run(curate("clean", given, "-o", out, "--recipe", recipe, "--workers", str(WORKERS), "--json"))
    written = sum(file.stat().st_size for file in out.parent.rglob("*") if file.is_file()) / 1e6
    return cost, megabytes_of(documents.get_column("text")), written, json.loads(cost.output)


def _passages(texts: pl.Series, documents: int) -> dict[str, float]:
    """How many passages a megabyte has, and how many are embedded in a second of processor time."""
    from indexing.chunkers import chunk
    from indexing.embedder import open_embedder
    from schemas.index import IndexOptions

    options, part = IndexOptions(), texts.head(documents)
    embedder = open_embedder(options.embedder)
    found = chunk(part.to_arrow().cast(pa.large_string()), options, embedder).column("text").to_pylist()
    some = found[:: max(len(found) // 100, 1)]
    embedder.embed(some[:2])
    begun = time.process_time()
    embedder.embed(some)
    return {
        "passages_per_mb": len(found) / megabytes_of(part),
        "passages_per_cpu_s": len(some) / (time.process_time() - begun),
    }


def _tables(figures: Figures) -> list[str]:
    """The tables of docs/sizing.md."""
    lines = []
    passages = figures["passages"]
    for recipe in [name for name in figures if name in RECIPES]:
        rates = figures[recipe]
        lines += [
            "",
            f"| recipe `{recipe}` | documents | CPU | written | memory of the driver |",
            "| --- " * 5 + "|",
        ]
        for size, megabytes in SIZES.items():
            count = megabytes * 1e6 / rates["bytes_per_document"]
            memory = _driver_mb(rates, count)
            cpu = _hours(megabytes * rates["cpu_s_per_mb"] + rates["start_cpu_s"])
            lines.append(
                f"| {size} | {count:,.0f} | {cpu} | {_bytes(megabytes * rates['written_per_mb'])} | {_bytes(memory)} |"
            )
        lines += ["", "| machine | largest run | documents | its least wall clock |", "| --- " * 4 + "|"]
        for title, (cores, memory_gb) in MACHINES.items():
            count = _most(rates, cores, memory_gb)
            megabytes = count * rates["bytes_per_document"] / 1e6
            hours = _hours(megabytes * rates["cpu_s_per_mb"] / cores)
            lines.append(f"| {title} | {_bytes(megabytes)} | {count:,.0f} | {hours} |")
    lines += ["", "| kept text | passages | CPU for embedding | vectors |", "| --- " * 4 + "|"]
    for size, megabytes in SIZES.items():
        count = megabytes * passages["passages_per_mb"]
        vectors = _bytes(count * _DIMENSIONS * 4 / 1e6)
        lines.append(
            f"| {size} | {count:,.0f} | {_hours(count / passages['passages_per_cpu_s'])} | {vectors} |"
        )
    return lines


def _driver_mb(rates: Mapping[str, float], documents: float) -> float:
    return (
        rates["driver_mb"] + (documents - rates["held_documents"]) * rates["driver_bytes_per_document"] / 1e6
    )


def _most(rates: Mapping[str, float], cores: int, memory_gb: float) -> float:
    """Documents of the largest run that fits: a worker for each core, and the driver."""
    room = memory_gb * 1e3 * _USED - cores * rates["worker_mb"] - _driver_mb(rates, 0)
    return max(room, 0) * 1e6 / rates["driver_bytes_per_document"]


def _hours(seconds: float) -> str:
    if seconds < 3600:
        return f"{seconds / 60:,.1f} min"
    return f"{seconds / 3600:,.1f} h" if seconds < 200 * 3600 else f"{seconds / 86400:,.0f} days"


def _bytes(megabytes: float) -> str:
    for unit, size in (("TB", 1e6), ("GB", 1e3)):
        if megabytes >= size:
            return f"{megabytes / size:,.1f} {unit}"
    return f"{megabytes:,.0f} MB"


if __name__ == "__main__":
    main()
