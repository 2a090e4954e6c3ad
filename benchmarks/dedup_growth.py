"""What near-duplicates of a corpus cost that grows by 1 %, beside a full run of the same table.

    python benchmarks/dedup_growth.py [--documents 100000] [--words 60]

Processor seconds of the table `deduplicated` (one `minhash` step with its defaults) in this process, on one core:
`full_s` over all documents from their texts, in an empty lake; `stored_s` the same from stored sketches, without index
and compared pairs, and without measuring the error; `increment_s` with the last 1 % new, all else known;
`full_ratio` and `stored_ratio` are theirs by the increment. `increment_*_s` are parts of it: sketching, comparing and
indexing the `batch`, reading `texts`; and what follows the corpus: its `rows` and their ranks, making and writing
`verdicts`, `lookups` of stored keys and pairs, `candidates`, `checks`. Documents are those of the file, or with
`--words` pieces of that many words, one in ten a near-copy, as in `dedup.py`.
"""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ |= dict.fromkeys(("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")

import polars as pl
import pyarrow as pa
from dedup import documents_of
from measuring import arguments, finish, machine
from texts import add_data, bulk_file, read_texts

from curate.dedup import gathered, shards, warm
from curate.dedup.bandindex import BandIndex
from curate.engine import deduplicate, near, verified
from curate.engine.plan import make_plan
from curate.engine.run import make_table, run_tables
from curate.lake.content import Content
from curate.lake.state import State
from schemas.recipe import load_recipe

RECIPE = """
name = "posts"
order = ["documents", "deduplicated", "corpus"]
[documents.extract]
[deduplicated.minhash]
[sources.posts]
files = "posts"
"""
SHARE = 0.01
PARTS: dict[str, list[tuple[Any, str]]] = {
    "batch": [(shards, "sketch"), (shards, "similarities"), (BandIndex, "append")],
    "texts": [(shards, "read_texts"), (gathered, "gather_shard"), (shards, "read_gathered")],
    "rows": [(deduplicate, "_reaching"), (deduplicate, "_ranks")],
    "verdicts": [(State, "replace_parts")],
    "lookups": [
        (near, "locate"),
        (near, "_not_in"),
        (verified, "locate"),
        (verified, "_keyed"),
        (Content, "append"),
    ],
    "candidates": [(near, "indexed_candidates")],
    "checks": [(deduplicate, "table_checks"), (deduplicate, "duplicate_checks")],
}


def main() -> None:
    """A lake that grows, and two that are made at once."""
    parser = arguments(__doc__)
    add_data(parser)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--words", type=int, default=0, help="of a document; 0: documents as they are")
    options = parser.parse_args()
    count = 400 if options.quick else options.documents
    where = machine("polars", "pyarrow", "deltalake", "numba")
    with tempfile.TemporaryDirectory(prefix="curate-bench-") as folder:
        texts = read_texts(bulk_file(options, Path(folder)), 10**9)
        if options.words or options.quick:
            texts = documents_of(texts, count, options.words or 60)
        figures = {str(count): _growth(Path(folder), texts[:count])}
    finish(options, where, figures, joint="_")


def _growth(folder: Path, texts: pa.LargeStringArray) -> dict[str, float]:
    """Processor seconds of the table in three lakes of the same documents."""
    grown, rows = folder / "grown", pl.DataFrame({"text": pl.from_arrow(texts)})
    old = len(rows) - max(1, int(len(rows) * SHARE))
    (grown / "posts").mkdir(parents=True)
    (grown / "curate.toml").write_text(RECIPE)
    warm()
    rows[:old].write_ndjson(grown / "posts" / "1.jsonl")
    _run(grown, "pages", "documents", "deduplicated")
    rows[old:].write_ndjson(grown / "posts" / "2.jsonl")
    _run(grown, "pages", "documents")
    full, stored = folder / "full", folder / "stored"
    shutil.copytree(grown, full, ignore=shutil.ignore_patterns("lake"))
    shutil.copytree(grown, stored)
    for content in ("bands", "pairs"):
        shutil.rmtree(stored / "lake" / "content" / content)
    _run(full, "pages", "documents")
    times = {"full_s": _run(full, "deduplicated"), "stored_s": _run(stored, "deduplicated")}
    parts: dict[str, float] = {}
    for part, functions in PARTS.items():
        for owner, name in functions:
            setattr(owner, name, _timed(getattr(owner, name), part, parts))
    increment = _run(grown, "deduplicated")
    return {
        **times,
        "increment_s": increment,
        **{f"increment_{part}_s": seconds for part, seconds in parts.items()},
        "full_ratio": times["full_s"] / increment,
        "stored_ratio": times["stored_s"] / increment,
    }


def _run(folder: Path, *tables: str) -> float:
    """Processor seconds of making tables, without those of beginning and ending a run."""
    spent: dict[str, float] = {}
    plan = make_plan(load_recipe(folder / "curate.toml"))
    make = _timed(make_table, "all", spent)
    run_tables(plan, folder / "lake", tables=tables, make=make, workers=1)
    return spent["all"]


def _timed(function: Callable, part: str, spent: dict[str, float]) -> Callable:
    """The function, with its processor seconds added to those of a part."""

    @functools.wraps(function)
    def timed(*given, **named):
        begun = time.process_time()
        try:
            return function(*given, **named)
        finally:
            spent[part] = spent.get(part, 0.0) + time.process_time() - begun

    return timed


if __name__ == "__main__":
    main()
