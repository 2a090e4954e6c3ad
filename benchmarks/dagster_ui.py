"""Dagster's page on the site of examples/site: seconds from "Materialize all" to success, and memory.

    python benchmarks/dagster_ui.py

`materialize_all` begins with the click, in real Chromium, and ends when the page of the run says Success;
`curate_run` is a process of `curate run` on another, empty lake, with kernels compiled alike. `again` is the same
click when nothing is new: every table is reused, and `TABLE.seconds` is what each asset then takes. Memory is
that of all processes of `curate ui`, as a sum of resident sets, which counts shared pages once a process.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import Request, urlopen

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from measuring import Figures, Memory, arguments, curate, family, finish, machine, run
from texts import SITE
from websites import folder_site, served

from tests.browser import browse, curate_ui, materialize_all, open_graph

RECIPE = SITE.with_name("curate.toml")


def main() -> None:
    """One run by the command, then two by the page."""
    options = arguments(__doc__).parse_args()
    where = machine("dagster", "dagster-webserver", "scrapy", "polars", "deltalake", "onnxruntime")
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="curate-bench-") as folder, served(folder_site(SITE)) as site:
        home = Path(folder)
        limit = "sources.site.max_pages = 20\n" if options.quick else ""
        text = f"extends = '{RECIPE}'\nsources.site.connect = '{site.address}'\n{limit}"
        (home / "curate.toml").write_text(text)
        figures["curate_run"] = run(curate("run", "--lake", home / "other"), folder=home).figures()
        with curate_ui(home) as url:
            memory = Memory(_pid_of_ui())
            memory.start()
            figures["materialize_all"] = {"seconds": _click(url)}
            figures["again"] = {"seconds": _click(url), **_table_seconds(url)}
            figures["curate_ui"] = {"peak_mb": memory.peak / 1e6}
    finish(options, where, figures)


def _pid_of_ui() -> int:
    """The process of `curate ui` that this one started."""
    words = b"\0curate\0ui\0"
    return min(pid for pid in family(os.getpid()) if words in Path(f"/proc/{pid}/cmdline").read_bytes())


def _click(url: str) -> float:
    with browse() as page:
        open_graph(page, url)
        begun = time.perf_counter()
        ended = materialize_all(page, url)
    if ended != "Success":
        raise SystemExit(f"The run ended with {ended}.")
    return time.perf_counter() - begun


def _table_seconds(url: str) -> dict[str, float]:
    """Seconds of each asset in the last run, as Dagster counts them."""
    query = "{runsOrError(limit: 1) {... on Runs {results {stepStats {stepKey startTime endTime}}}}}"
    request = Request(
        f"{url}/graphql", json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
    )
    with urlopen(request) as answer:
        (last,) = json.load(answer)["data"]["runsOrError"]["results"]
    return {
        f"{step['stepKey'].rpartition('__')[2]}.seconds": step["endTime"] - step["startTime"]
        for step in last["stepStats"]
    }


if __name__ == "__main__":
    main()
