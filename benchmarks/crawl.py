"""Pages a second of the crawler, beside a plain Scrapy spider on the same site: no network, only loopback.

    python benchmarks/crawl.py

The site is answered by a thread of this process, whose processor time is not counted. Both crawlers are
processes of their own that start with importing Scrapy; `first_page_s` is from their start to the first
request for a page. Ours also canonicalises links, obeys noindex, finds traps, hashes bodies and writes
Parquet; the plain one obeys robots.txt and writes JSON lines.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from measuring import Figures, arguments, finish, machine, run
from texts import SITE
from websites import Site, folder_site, make_site, served

from curate.sources.crawl import CrawlEnd, CrawlJob, crawl

HOST = "http://docs.example.test/"
PLAIN = Path(__file__).with_name("plain_scrapy.py")


def main() -> None:
    """Measure both crawlers on both sites, in turn."""
    parser = arguments(__doc__)
    parser.add_argument("--pages", type=int, default=2_000, help="of the generated site")
    options = parser.parse_args()
    where = machine("scrapy", "twisted", "pyarrow")
    sites = {
        f"generated_{options.pages}": lambda: make_site(options.pages),
        "example_site": lambda: folder_site(SITE),
    }
    if options.quick:
        sites = {"generated_30": lambda: make_site(30)}
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="curate-bench-") as folder:
        _ours({"/": b"<p>warm</p>"}, Path(folder) / "warm")  # reads Scrapy from the disk
        for name, make in sites.items():
            pages = make()
            figures[f"curate_{name}"] = _ours(pages, Path(folder) / name)
            figures[f"scrapy_{name}"] = _plain(pages, Path(folder) / f"{name}.jsonl")
    finish(options, where, figures)


def _ours(pages: Mapping[str, bytes], folder: Path) -> dict[str, float]:
    with served(pages) as site:
        begun, before = time.perf_counter(), os.times()
        job = CrawlJob(source="site", urls=[HOST], folder=str(folder), connect=site.address)
        end = list(crawl(job))[-1]
        assert isinstance(end, CrawlEnd)
        assert end.reason == "finished"
        seconds, after = time.perf_counter() - begun, os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        return _figures(site, begun, seconds, cpu, end.statuses[200])


def _plain(pages: Mapping[str, bytes], out: Path) -> dict[str, float]:
    with served(pages) as site:
        begun = time.perf_counter()
        # As a proxy, so that links with the site's own host name lead here.
        cost = run([sys.executable, PLAIN, HOST, out], env={"http_proxy": f"http://{site.address}"})
        fetched = len({json.loads(line)["url"] for line in out.read_text("utf-8").splitlines()})
        return {**_figures(site, begun, cost.seconds, cost.cpu_s, fetched), "peak_mb": cost.peak_mb}


def _figures(site: Site, begun: float, seconds: float, cpu: float, pages: int) -> dict[str, float]:
    return {
        "pages": pages,
        "requests": site.requests,
        "mb": site.sent / 1e6,
        "seconds": seconds,
        "cpu_s": cpu,
        "first_page_s": site.first_page - begun,
        "pages_per_s": pages / seconds,
        "pages_per_cpu_s": pages / cpu,
    }


if __name__ == "__main__":
    main()
