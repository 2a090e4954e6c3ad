"""Seconds of what `make demo` does after the installation: crawl, clean, index and ask a site in 13 languages.

    python benchmarks/demo.py

The two commands of examples/demo.py, on the same site, with a report to read the parts from. `first` is a
machine that never ran curate: kernels are compiled, Python makes its bytecode. `second` is the same again with
another, empty lake.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from measuring import Figures, arguments, curate, finish, machine, run
from texts import SITE
from websites import folder_site, served

RECIPE = SITE.with_name("curate.toml")
QUESTION = "How do I restrict access to a directory by IP address?"


def main() -> None:
    """Run the demo twice, in processes of their own."""
    options = arguments(__doc__).parse_args()
    where = machine("scrapy", "trafilatura", "polars", "deltalake", "onnxruntime", "faiss-cpu")
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="curate-bench-") as folder, served(folder_site(SITE)) as site:
        words = ["--set", f"sources.site.connect={site.address}", "--json"]
        words += ["--limit", "20"] if options.quick else []
        for name in ["limit_20"] if options.quick else ["first", "second"]:
            figures[name] = _demo(Path(folder), name, words)
    finish(options, where, figures)


def _demo(folder: Path, name: str, words: list[str]) -> dict[str, float]:
    caches = {"CURATE_CACHE": f"{folder}/cache", "PYTHONPYCACHEPREFIX": f"{folder}/bytecode"}
    ran = run(curate("run", RECIPE, "--lake", folder / name, *words), env=caches)
    asked = run(curate("search", QUESTION, "--lake", folder / name), env=caches)
    report = json.loads(ran.output)
    tables = {f"{table['table']}.seconds": table["seconds"] for table in report["tables"]}
    return {
        "seconds": ran.seconds + asked.seconds,
        "cpu_s": ran.cpu_s + asked.cpu_s,
        "peak_mb": max(ran.peak_mb, asked.peak_mb),
        "start.seconds": ran.seconds - sum(tables.values()),
        **tables,
        "search.seconds": asked.seconds,
        **{f"{table['table']}.kept": table["kept"] for table in report["tables"]},
    }


if __name__ == "__main__":
    main()
