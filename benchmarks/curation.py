"""The FineWeb chain beside datatrove: verdicts, first reasons, and megabytes a second of one core.

    python benchmarks/curation.py            # speed, datatrove in an environment of its own
    python benchmarks/curation.py --parity   # 26,000 documents: every verdict and first reason, and each filter alone

Texts are English documents drawn by seed from data/bulk.py. `cold` begins with an empty table of words, `warm` with
one that was filled from as many other texts and frozen: every byte that is timed was never seen. All measurements
of every document are made, as a run makes them; datatrove ends at the first filter that drops a document. `ready` is
datatrove with all words and sentences looked up in a dictionary: what is left without its tokenizer. A ratio is that of
the medians of processor time over rounds that take turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
from measuring import CACHE, Figures, arguments, finish, interleaved, machine
from texts import add_data, bulk_file

from curate.engine.judge import judge
from curate.engine.plan import Plan, make_plan
from curate.engine.shard import MAX_CHARS, MAX_ROWS, measure_texts
from curate.engine.stage import Batch
from curate.stages.langid import LangidOptions, langid
from curate.text import english
from curate.text.english.table import FULL, Table
from schemas.recipe import build_recipe

PEER = Path(__file__).with_name("plain_datatrove.py")
PACKAGES = (
    "datatrove==0.10.1",
    "xxhash<4",
    "spacy>=3.8,<3.9",
    "numpy",
    "pyarrow",
    "regex",
    "nltk",
    "tldextract",
)
FILTERS = {"repetition": "gopher_repetition", "quality": "gopher_quality", "c4": "c4", "fineweb": "fineweb"}
SEED, PARITY = 1, 26_000


def main() -> None:
    """Compare verdicts, or time both."""
    parser = arguments(__doc__)
    add_data(parser)
    parser.add_argument("--parity", action="store_true", help="compare what both say, and time nothing")
    parser.add_argument("--megabytes", type=float, default=8, help="of texts that are timed")
    options = parser.parse_args()
    where = machine("numba", "polars", "pyarrow")
    with tempfile.TemporaryDirectory(prefix="curate-bench-") as folder:
        texts = _english(bulk_file(options, Path(folder)))
        python = _environment(options)
        if options.parity:
            figures, notes = _parity(texts.head(200 if options.quick else PARITY), python, Path(folder))
        else:
            figures, notes = _speed(texts, python, Path(folder), options), []
    finish(options, where, figures, notes, joint="_")
    if options.parity and figures["parity"]["differences"]:
        sys.exit(1)


def _english(file: Path) -> pl.Series:
    """The English documents of the file, in an order drawn by seed."""
    texts = pl.scan_ndjson(file, schema={"text": pl.String}).collect().get_column("text")
    found = langid(Batch(texts.to_arrow().cast(pa.large_string())), LangidOptions()).measures
    sure = (pl.Series(found["language"]) == "en") & (pl.Series(found["score"]) > 0.65)
    return texts.filter(sure).sample(fraction=1, shuffle=True, seed=SEED)


def _environment(options: argparse.Namespace) -> Path:
    """Python with datatrove, made once and kept in the cache."""
    folder = CACHE / "peers" / "datatrove"
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
    return python


def _plan(steps: list[str]) -> Plan:
    """The plan of the packaged recipe with these of its steps."""
    off = {name: False for name in ("langid", *FILTERS.values()) if name not in steps}
    source = {"name": "bench", "extends": "fineweb", "sources": {"files": {"files": "none.jsonl"}}}
    return make_plan(build_recipe({**source, "filtered": off}))


def _measured(plan: Plan, texts: pl.Series) -> pl.DataFrame:
    """All measurements of the texts, by batches as the engine makes them."""
    steps = [(step.name, step.stage, step.options.model_dump()) for step in plan.table("filtered").steps]
    parts, seconds = [], {step[0]: 0.0 for step in steps}
    for start, stop in _batches(texts):
        part = texts[start:stop].to_arrow().cast(pa.large_string())
        keys = pa.array([str(number) for number in range(start, stop)])
        table, errors = measure_texts(keys, part, {}, steps, seconds)
        if errors:
            raise SystemExit(f"A document broke a stage: {errors[0]}")
        parts.append(table)
    return pl.DataFrame(pl.from_arrow(pa.concat_tables(parts)))


def _batches(texts: pl.Series) -> list[tuple[int, int]]:
    sizes, found, start, size = texts.str.len_chars(), [], 0, 0
    for at, chars in enumerate(sizes):
        if at > start and (size + chars > MAX_CHARS or at - start == MAX_ROWS):
            found.append((start, at))
            start, size = at, 0
        size += chars
    return [*found, (start, len(texts))]


def _reasons(plan: Plan, texts: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The first reason of each text ("" is kept), and the text that is left."""
    measured = _measured(plan, texts)
    judged, _ = judge(measured.with_columns(id="key"), plan.table("filtered"))
    return judged.get_column("reason"), measured.get_column("text").fill_null(texts)


def _use(table: Table) -> Table:
    """The table of words that this thread goes on with."""
    english._own.table = table
    return table


def _parity(texts: pl.Series, python: Path, folder: Path) -> tuple[Figures, list[str]]:
    said = _asked(texts, python, folder)
    figures, notes = {}, []
    for name, steps in {
        "chain": list(FILTERS.values()),
        **{key: [step] for key, step in FILTERS.items()},
    }.items():
        ours, text = _reasons(_plan(steps), texts)
        rows = pl.DataFrame({"ours": ours, "theirs": said.get_column(name), "text": text})
        differ = rows.filter(pl.col("ours") != pl.col("theirs"))
        if name == "c4":  # the text too, where neither drops the document
            kept = rows.with_columns(wanted=said.get_column("c4_text")).filter(ours="", theirs="")
            differ = pl.concat([differ, kept.filter(pl.col("text") != pl.col("wanted")).drop("wanted")])
        figures[f"parity_{name}"] = {
            "documents": len(rows),
            "differences": len(differ),
            "kept": int((ours == "").sum()),
        }
        for ours_, theirs, _ in differ.head(20).iter_rows():
            notes.append(f"{name}: {ours_ or 'kept'} here, {theirs or 'kept'} in datatrove")
    reached = said.filter(
        pl.col("chain").is_in(
            ["", "empty", "line_punct_ratio", "short_line_ratio", "char_dup_ratio", "list_ratio"]
        )
    )
    figures["parity"] = {
        "documents": len(texts),
        "differences": sum(int(found["differences"]) for found in figures.values()),
        "reached_fineweb": len(reached),
    }
    return figures, notes


def _asked(texts: pl.Series, python: Path, folder: Path) -> pl.DataFrame:
    """What datatrove says of the texts."""
    asked, out = folder / "asked.parquet", folder / "said.parquet"
    pl.DataFrame({"text": texts}).write_parquet(asked)
    subprocess.run([python, PEER, asked, out], check=True, stdout=subprocess.DEVNULL)
    return pl.read_parquet(out)


def _speed(texts: pl.Series, python: Path, folder: Path, options: argparse.Namespace) -> Figures:
    wanted = 0.2 if options.quick else options.megabytes
    ends = (texts.str.len_bytes().cum_sum() / (wanted * 1e6)).ceil()
    timed, others = texts.filter(ends == 1), texts.filter(ends == 2)
    asked = folder / "asked.parquet"
    pl.DataFrame({"text": timed}).write_parquet(asked)
    plan = _plan(list(FILTERS.values()))
    _measured(plan, others.head(10))  # compiles
    filled = _use(Table())
    _measured(plan, others)
    filled.facts[FULL] = 1
    peer: list[dict[str, float]] = []

    def datatrove() -> None:
        command = [python, PEER, asked, "--ready"]
        peer.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))

    def ours(table: Callable[[], object]) -> Callable[[], None]:
        def one() -> None:
            table()
            _measured(plan, timed)

        return one

    candidates = {
        "warm": ours(lambda: _use(filled)),
        "cold": ours(lambda: _use(Table())),
        "datatrove": datatrove,
    }
    rounds = interleaved(candidates, 1 if options.quick else 3)
    size = timed.str.len_bytes().sum() / 1e6
    theirs = {name: statistics.median(one[name] for one in peer) for name in ("cpu_s", "ready_cpu_s")}
    figures: Figures = {
        "datatrove": {
            "mb": size,
            "mb_per_cpu_s": size / theirs["cpu_s"],
            "ready_mb_per_cpu_s": size / theirs["ready_cpu_s"],
        }
    }
    for name in ("warm", "cold"):
        cpu = rounds[name].median.cpu_s
        figures[f"fineweb_{name}"] = {
            "mb": size, "mb_per_cpu_s": size / cpu, "ratio": theirs["cpu_s"] / cpu, "ready_ratio": theirs["ready_cpu_s"] / cpu,
        }  # fmt: skip
    return figures


if __name__ == "__main__":
    main()
