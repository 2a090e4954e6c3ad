"""Answering questions: in process (median and 95th percentile), opening an index, and a cold `curate search`.

    python benchmarks/search.py [--lake LAKE]

Without `--lake` the English and German pages of examples/site are indexed first. A question is the first eight words of a sentence
of the site, asked once, each in every way in turn. `embed` is embedding the question alone, which is part of
every answer but the lexical. `cold` is `curate search` as a process: seconds from start to end.
"""

from __future__ import annotations

import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from measuring import Figures, arguments, curate, finish, machine, run
from texts import SITE
from websites import sentences

from indexing import open_index
from indexing.embedder import open_embedder

QUESTION = "How do I restrict access to a directory by IP address?"
WHERE = "language = 'en'"


def main() -> None:
    """Index, open, ask."""
    parser = arguments(__doc__)
    parser.add_argument("--lake", type=Path, help="a lake with a live index, instead of one of examples/site")
    options = parser.parse_args()
    where = machine("faiss-cpu", "tantivy", "onnxruntime", "tokenizers", "polars")
    asked, cold = (10, 1) if options.quick else (300, 5)
    with tempfile.TemporaryDirectory(prefix="curate-bench-") as folder:
        lake = options.lake or _build(Path(folder), quick=options.quick)
        figures = _in_process(lake, asked)
        figures["cold"] = _cold(lake, cold)
    finish(options, where, figures, ["k = 5"])


def _build(folder: Path, *, quick: bool) -> Path:
    parts = ["manual/en/howto"] if quick else ["manual/en", "manual/de", "postgresql"]
    files = json.dumps([str(SITE / part) for part in parts])
    recipe = folder / "curate.toml"
    recipe.write_text(f'name = "site"\nextends = "docs"\n\n[sources.pages]\nfiles = {files}\n')
    run(curate("run", recipe, "--lake", folder / "lake"))
    return folder / "lake"


def _in_process(lake: Path, count: int) -> Figures:
    first_open = _milliseconds(lambda: open_index(lake))
    opened = [_milliseconds(lambda: open_index(lake)) for _ in range(10)]
    index = open_index(lake)
    first = _milliseconds(lambda: index.search(QUESTION))
    embedder = open_embedder(index.manifest.embedder)
    embedder.embed([QUESTION], kind="query")
    ways: dict[str, Callable[[str], object]] = {
        "hybrid": lambda question: index.search(question),
        "dense": lambda question: index.search(question, mode="dense"),
        "lexical": lambda question: index.search(question, mode="lexical"),
        "hybrid_where": lambda question: index.search(question, where=WHERE),
        "dense_exact": lambda question: index.search(question, mode="dense", exact=True),
        "embed": lambda question: embedder.embed([question], kind="query"),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for question in _questions(count):
        for name, ask in ways.items():
            found[name].append(_milliseconds(partial(ask, question)))
    figures = {name: _percentiles(times) for name, times in found.items()}
    figures["open"] = {**_percentiles(opened), "first_ms": first_open, "passages": len(index)}
    figures["hybrid"]["first_ms"] = first
    return figures


def _questions(count: int) -> list[str]:
    """So many questions, no two alike."""
    starts = list(dict.fromkeys(" ".join(sentence.split()[:8]) for sentence in sentences()))
    return random.Random(0).sample(starts, count)


def _cold(lake: Path, times: int) -> dict[str, float]:
    command = curate("search", QUESTION, "--lake", lake)
    run(command)  # reads files from the disk, and makes bytecode
    costs = [run(command) for _ in range(times)]
    return {
        "seconds": statistics.median(cost.seconds for cost in costs),
        "cpu_s": statistics.median(cost.cpu_s for cost in costs),
        "peak_mb": max(cost.peak_mb for cost in costs),
    }


def _milliseconds(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return (time.perf_counter() - begun) * 1000


def _percentiles(times: list[float]) -> dict[str, float]:
    return {
        "p50_ms": statistics.median(times),
        "p95_ms": statistics.quantiles(times, n=20, method="inclusive")[18],
    }


if __name__ == "__main__":
    main()
