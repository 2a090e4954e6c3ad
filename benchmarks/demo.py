"""Seconds of what `make demo` runs after the installation: crawl, clean, index and ask a site in 13 languages.

    python benchmarks/demo.py

`first` is a machine that never ran curate: kernels are compiled, Python makes its bytecode. `second` is the
same again in an empty folder. The parts are the tables' own seconds; `rest` is starting, serving, asking.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from measuring import Cost, Figures, arguments, curate, finish, machine, run
from texts import SITE
from websites import folder_site, served

from curate.lake.lake import open_lake

DEMO = Path(__file__).resolve().parents[1] / "examples" / "demo.py"


def main() -> None:
    """Run the demo twice, in processes of their own."""
    parser = arguments(__doc__)
    options = parser.parse_args()
    where = machine("scrapy", "trafilatura", "polars", "deltalake", "onnxruntime", "faiss-cpu")
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="curate-bench-") as folder:
        caches = {"CURATE_CACHE": f"{folder}/cache", "PYTHONPYCACHEPREFIX": f"{folder}/bytecode"}
        if options.quick:
            cost = _limited(Path(folder))
            figures["limit_20"] = {**cost.figures(), **_parts(Path(folder) / "demo-lake", cost.seconds)}
        for name in () if options.quick else ("first", "second"):
            work = Path(folder) / name
            work.mkdir()
            cost = run([sys.executable, DEMO], folder=work, env=caches)
            figures[name] = {**cost.figures(), **_parts(work / "demo-lake", cost.seconds)}
    finish(options, where, figures)


def _limited(folder: Path) -> Cost:
    """The demo's recipe on twenty pages."""
    with served(folder_site(SITE)) as site:
        connect = f"sources.site.connect={site.address}"
        recipe, lake = DEMO.with_name("curate.toml"), folder / "demo-lake"
        return run(curate("run", recipe, "--lake", lake, "--set", connect, "--limit", "20"))


def _parts(lake: Path, seconds: float) -> dict[str, float]:
    """Seconds and sizes of the tables, from the reports that the lake keeps."""
    reports = [json.loads(report) for report in open_lake(lake).runs.log().get_column("report") if report]
    parts = {f"{report['table']}.seconds": report["seconds"] for report in reports}
    parts["rest.seconds"] = seconds - sum(parts.values())
    sizes = {report["table"]: report["kept"] for report in reports}
    return {**parts, **{f"{table}.kept": kept for table, kept in sizes.items()}}


if __name__ == "__main__":
    main()
