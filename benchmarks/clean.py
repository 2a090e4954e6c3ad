"""`curate clean` on 100,000 documents: documents and megabytes a second, seconds per table and step, memory.

    python benchmarks/clean.py [--data FILE] [--recipe web] [--workers 1]

Every configuration is a process of its own that starts from nothing, as a user's does; kernels are compiled
before (compiling them happens once per version). Wall clock depends on what else the machine does; cpu_s does
hardly. Seconds of a step are summed over workers.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from measuring import Cost, Figures, arguments, curate, finish, machine, run
from texts import add_data, bulk_file

RECIPES = ("web", "docs")
WORKERS = (1, 2)


def main() -> None:
    """Measure every recipe with every number of workers."""
    parser = arguments(__doc__)
    add_data(parser)
    parser.add_argument("--recipe", choices=RECIPES, help="only this one")
    parser.add_argument("--workers", type=int, help="only with so many")
    options = parser.parse_args()
    where = machine("polars", "pyarrow", "numba", "deltalake", "fasttext-community", "ftfy")
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="curate-bench-") as folder:
        data = bulk_file(options, Path(folder))
        run([sys.executable, "-m", "curate.engine.warm"])
        run(curate("--help"))
        for recipe in [options.recipe] if options.recipe else RECIPES:
            for workers in [options.workers] if options.workers else WORKERS:
                out = Path(folder) / f"{recipe}-{workers}" / "kept.parquet"
                command = curate(
                    "clean", data, "-o", out, "--recipe", recipe, "--workers", str(workers), "--json"
                )
                cost = run(command)
                figures[f"{recipe}_{workers}"] = _figures(cost, json.loads(cost.output), data, out)
    finish(options, where, figures, ["Columns: recipe_workers. MB: 10^6 bytes of the input file."])


def _figures(cost: Cost, report: dict[str, Any], data: Path, out: Path) -> dict[str, float]:
    documents = next(table["rows"] for table in report["tables"] if table["table"] == "documents")
    kept = next(table["kept"] for table in report["tables"] if table["table"] == "corpus")
    megabytes = data.stat().st_size / 1e6
    found: dict[str, float] = {
        "documents": documents,
        "kept": kept,
        "docs_per_s": documents / cost.seconds,
        "mb_per_s": megabytes / cost.seconds,
        "mb_per_cpu_s": megabytes / cost.cpu_s,
        **cost.figures(),
        "written_mb": sum(file.stat().st_size for file in out.parent.rglob("*") if file.is_file()) / 1e6,
    }
    tables = 0.0
    for table in report["tables"]:
        found[f"{table['table']}.seconds"] = table["seconds"]
        tables += table["seconds"]
        for step, seconds in table["step_seconds"].items():
            found[f"{table['table']}.{step}.seconds"] = seconds
    # What follows the tables: the result, dropped.parquet and measurements.parquet; then start and end.
    found["output.seconds"] = report["seconds"] - tables
    found["start.seconds"] = cost.seconds - report["seconds"]
    return found


if __name__ == "__main__":
    main()
