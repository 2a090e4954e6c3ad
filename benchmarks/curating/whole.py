"""`curate clean` from Parquet to Parquet with everything included: beside datatrove's pipeline, and of every recipe.

What is counted is the processor time of the process and its children, from its start to its end: reading, measuring,
comparing, the ledger of what was dropped, the report. Both sides of `clean` get the same file and use one process; both
name the language, filter, find near-duplicates and replace personal data, as the packaged recipe `fineweb` says (it has
no lists of URLs, so neither filters by them). We also verify each pair of near-duplicates; datatrove does not.
`clean_large` is the same command on more of the file, beside datatrove's speed on the part, which does not depend on how
many documents there are: there our start counts less.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl
from curating.chains import megabytes_of
from measuring import Cost, Figures, curate, run
from peers import HERE, environment

from curate.models.opening import LID_176
from schemas.recipe import packaged_recipes

RECIPES = tuple(packaged_recipes())


def warm_up() -> None:
    """Compile kernels and bytecode, as happens once for each version."""
    run([sys.executable, "-m", "curate.engine.warm"])
    run(curate("--help"))


def clean(documents: pl.DataFrame, folder: Path, megabytes: float, large: float) -> Figures:
    """FineWeb by us and by datatrove on so many megabytes, and by us on `large` of them."""
    given, more = folder / "given" / "texts.parquet", folder / "large.parquet"
    given.parent.mkdir()
    part = _write_part(documents, megabytes, given)
    ours, report = _clean(given, folder / "ours" / "kept.parquet", "fineweb", workers=1)
    script, work = HERE / "whole_datatrove.py", folder / "theirs"
    theirs = run([environment("datatrove"), script, given.parent, work, LID_176])
    said = json.loads(theirs.output.splitlines()[-1])
    speed = megabytes_of(part.get_column("text")) / theirs.cpu_s
    found: Figures = {
        "clean": {
            **_figures(ours, report, part),
            "peer_cpu_s": theirs.cpu_s,
            "peer_mb_per_cpu_s": speed,
            "peer_kept": said["kept"],
            "filtered": _kept(report, "filtered"),
            "peer_filtered": said["filtered"],
            "ratio": theirs.cpu_s / ours.cpu_s,
        }
    }
    part = _write_part(documents, large, more)
    ours, report = _clean(more, folder / "large" / "kept.parquet", "fineweb", workers=1)
    found["clean_large"] = _figures(ours, report, part)
    found["clean_large"]["ratio"] = found["clean_large"]["mb_per_cpu_s"] / speed
    return found


def recipes(documents: pl.DataFrame, folder: Path, names: Iterable[str]) -> Figures:
    """Packaged recipes on the documents, with a worker for each core."""
    given = folder / "recipes.parquet"
    documents.write_parquet(given)
    found: Figures = {}
    for name in names:
        cost, report = _clean(given, folder / name / "kept.parquet", name)
        found[f"recipe_{name}"] = _figures(cost, report, documents)
    return found


def _write_part(documents: pl.DataFrame, megabytes: float, file: Path) -> pl.DataFrame:
    """Write the first documents of so many megabytes, and return them."""
    ends = documents.get_column("text").str.len_bytes().cum_sum()
    part = documents.filter(ends <= megabytes * 1e6)
    part.write_parquet(file)
    return part


def _clean(given: Path, out: Path, recipe: str, workers: int | None = None) -> tuple[Cost, dict[str, Any]]:
    words = ["clean", given, "-o", out, "--recipe", recipe, "--json"]
    cost = run(curate(*words, *(["--workers", str(workers)] if workers else [])))
    return cost, json.loads(cost.output)


def _kept(report: dict[str, Any], table: str) -> int:
    return int(next(one["kept"] for one in report["tables"] if one["table"] == table))


def _figures(cost: Cost, report: dict[str, Any], given: pl.DataFrame) -> dict[str, float]:
    documents, megabytes = len(given), megabytes_of(given.get_column("text"))
    return {
        "documents": documents,
        "mb": megabytes,
        "kept": _kept(report, "corpus"),
        **cost.figures(),
        "docs_per_s": documents / cost.seconds,
        "docs_per_cpu_s": documents / cost.cpu_s,
        "mb_per_cpu_s": megabytes / cost.cpu_s,
    }
