"""FineWeb's four filters beside datatrove's: every verdict and first reason, and megabytes a second of one core.

`cold` begins with an empty table of words, `warm` with one that was filled from as many other texts and frozen: every
byte that is timed was never seen. All measurements of every document are made, as a run makes them; datatrove ends at the
first filter that drops a document. `ready` is datatrove with all words and sentences looked up in a dictionary: what is
left without its tokenizer. A ratio is that of the medians of processor time over rounds that take turns.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
from curating.chains import measured, megabytes_of, parts_of, plan_of, reasons
from measuring import Figures, interleaved
from peers import ask

from curate.text import english
from curate.text.english.table import FULL, Table

SCRIPT = "plain_datatrove.py"
FILTERS = {"repetition": "gopher_repetition", "quality": "gopher_quality", "c4": "c4", "fineweb": "fineweb"}
# Reasons of a document that came as far as the last filter.
_LAST = ["", "empty", "line_punct_ratio", "short_line_ratio", "char_dup_ratio", "list_ratio"]


def parity(texts: pl.Series, folder: Path) -> tuple[Figures, list[str]]:
    """Compare what both say of each text: the chain, and each filter alone."""
    asked, out = _given(texts, folder), folder / "said.parquet"
    ask("datatrove", SCRIPT, asked, out)
    said = pl.read_parquet(out)
    figures: Figures = {}
    notes = []
    for name, steps in {
        "chain": list(FILTERS.values()),
        **{key: [step] for key, step in FILTERS.items()},
    }.items():
        ours, text = reasons(plan_of("fineweb", steps), texts)
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
    figures["parity"] = {
        "documents": len(texts),
        "differences": sum(int(found["differences"]) for found in figures.values()),
        "reached_fineweb": len(said.filter(pl.col("chain").is_in(_LAST))),
    }
    return figures, notes


def speed(texts: pl.Series, folder: Path, megabytes: float, rounds: int) -> Figures:
    """Time both on texts of so many megabytes."""
    timed, others = parts_of(texts, megabytes, 2)
    asked = _given(timed, folder)
    plan = plan_of("fineweb", list(FILTERS.values()))
    measured(plan, others.head(10))  # compiles
    filled = _use(Table())
    measured(plan, others)
    filled.facts[FULL] = 1
    peer: list[dict[str, Any]] = []

    def ours(table: Callable[[], object]) -> Callable[[], None]:
        def one() -> None:
            table()
            measured(plan, timed)

        return one

    candidates = {
        "warm": ours(lambda: _use(filled)),
        "cold": ours(lambda: _use(Table())),
        "datatrove": lambda: peer.append(ask("datatrove", SCRIPT, asked, "--ready")),
    }
    found = interleaved(candidates, rounds)
    size = megabytes_of(timed)
    theirs = {name: statistics.median(one[name] for one in peer) for name in ("cpu_s", "ready_cpu_s")}
    figures: Figures = {
        "datatrove": {
            "mb": size,
            "mb_per_cpu_s": size / theirs["cpu_s"],
            "ready_mb_per_cpu_s": size / theirs["ready_cpu_s"],
        }
    }
    for name in ("warm", "cold"):
        cpu = found[name].median.cpu_s
        figures[f"fineweb_{name}"] = {
            "mb": size, "mb_per_cpu_s": size / cpu, "ratio": theirs["cpu_s"] / cpu, "ready_ratio": theirs["ready_cpu_s"] / cpu,
        }  # fmt: skip
    return figures


def _given(texts: pl.Series, folder: Path) -> Path:
    file = folder / "asked.parquet"
    pl.DataFrame({"text": texts}).write_parquet(file)
    return file


def _use(table: Table) -> Table:
    """The table of words that this thread goes on with."""
    english._own.table = table
    return table
