"""The heuristic filters of NeMo Curator and of Data-Juicer beside ours on the same texts, one core.

Ours are the steps of the packaged recipe `nemo`, which measures the same things as NeMo's chain, for every document;
NeMo ends at the first filter that drops one. Data-Juicer has other rules (see `plain_juicer.py`): fewer, and simpler.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

import polars as pl
from curating.chains import measured, megabytes_of, plan_of, reasons
from measuring import Figures, interleaved
from peers import ask, environment, is_made

STEPS = ["character_shares", "gopher_quality", "gopher_repetition"]
PEERS = {"nemo": "NeMo Curator 1.4.0", "juicer": "Data-Juicer 1.6.1"}


def compare(texts: pl.Series, folder: Path, quick: bool) -> tuple[Figures, list[str]]:
    """Time ours and those of each peer that can be installed. A note says which cannot."""
    asked, plan = folder / "heuristics.parquet", plan_of("nemo", STEPS)
    pl.DataFrame({"text": texts}).write_parquet(asked)
    measured(plan, texts.head(10))  # compiles
    there, notes = [], []
    for name, title in PEERS.items():
        if reason := _missing(name, quick):
            notes.append(f"{title} is left out: {reason}.")
        else:
            there.append(name)
    said: dict[str, list[dict[str, Any]]] = {name: [] for name in there}
    candidates: dict[str, Callable[[], object]] = {"ours": partial(measured, plan, texts)}
    for name in there:
        candidates[name] = partial(_ask, name, asked, said[name])
    cpu = interleaved(candidates, 1 if quick else 3)["ours"].median.cpu_s
    size, kept = megabytes_of(texts), int((reasons(plan, texts)[0] == "").sum())
    figures: Figures = {
        "heuristics": {"documents": len(texts), "mb": size, "mb_per_cpu_s": size / cpu, "kept": kept}
    }
    for name in there:
        theirs = statistics.median(one["cpu_s"] for one in said[name])
        figures[name] = {
            "documents": len(texts),
            "mb": size,
            "mb_per_cpu_s": size / theirs,
            "kept": said[name][0]["kept"],
            "ratio": theirs / cpu,
        }
    return figures, notes


def _ask(name: str, asked: Path, said: list[dict[str, Any]]) -> None:
    said.append(ask(name, f"plain_{name}.py", asked))


def _missing(name: str, quick: bool) -> str:
    """Why a peer cannot be asked, or ""."""
    if quick and not is_made(name):
        return "--quick makes no environment for it"
    try:
        environment(name)
    except (OSError, CalledProcessError) as error:  # a peer that does not install stops nothing
        return f"it does not install here ({error})"
    return ""
