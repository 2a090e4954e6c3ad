"""What a second run costs: a first run of a site, one with nothing new, and one with 1 % of the pages changed.

    python benchmarks/rerun.py [--pages 1000] [--indexed 200]

The generated site is served on loopback with ETags. Twice: `--pages` pages up to the corpus, and `--indexed`
pages with an index, since embedding everything once is most of a first run. Every run is a process of
`curate run` with the packaged recipe `docs`.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from measuring import Cost, Figures, arguments, curate, finish, machine, run
from websites import Site, change_pages, make_site, served

SHARE = 0.01
RECIPE = """
name = "site"
extends = "docs"

[sources.site]
url = "http://docs.example.test/"
"""


def main() -> None:
    """Three runs of each site."""
    parser = arguments(__doc__)
    parser.add_argument("--pages", type=int, default=1_000, help="of the site without an index")
    parser.add_argument("--indexed", type=int, default=200, help="of the site with one; 0: leave it out")
    options = parser.parse_args()
    where = machine("polars", "pyarrow", "deltalake", "scrapy", "trafilatura", "onnxruntime", "faiss-cpu")
    pages, indexed = (30, 20) if options.quick else (options.pages, options.indexed)
    figures = _runs(pages, "", ["--no-index"])
    if indexed:
        figures |= _runs(indexed, "index_", [])
    notes = ["new_mb: bytes of the files in the lake that were not there before the run."]
    finish(options, where, figures, notes)


def _runs(count: int, prefix: str, flags: list[str]) -> Figures:
    pages = make_site(count)
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="curate-bench-") as folder, served(pages) as site:
        recipe, lake = Path(folder) / "curate.toml", Path(folder) / "lake"
        recipe.write_text(RECIPE)
        for name in ("first", "unchanged", "changed"):
            if name == "changed":
                site.pages = change_pages(pages, max(SHARE, 1 / count))
            before, sent = _files(lake), site.sent
            connect = f"sources.site.connect={site.address}"
            cost = run(curate("run", recipe, "--lake", lake, "--set", connect, "--json", *flags))
            figures[prefix + name] = _figures(cost, site, sent, _files(lake) - before)
    return figures


def _files(lake: Path) -> set[tuple[str, int]]:
    """Every file of a lake, with its size."""
    return {(str(file), file.stat().st_size) for file in lake.rglob("*") if file.is_file()}


def _figures(cost: Cost, site: Site, sent_before: int, new: set[tuple[str, int]]) -> dict[str, float]:
    report = json.loads(cost.output)
    tables: dict[str, Any] = {table["table"]: table for table in report["tables"]}
    found = {
        "pages": tables["pages"]["kept"],
        "documents": tables["corpus"]["kept"],
        **cost.figures(),
        "transferred_mb": (site.sent - sent_before) / 1e6,
        "new_mb": sum(size for _, size in new) / 1e6,
    }
    for table in tables.values():
        found |= {f"{table['table']}.{key}": table[key] for key in ("seconds", "measured", "reused")}
    return found


if __name__ == "__main__":
    main()
