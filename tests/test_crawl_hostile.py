"""Servers that break the rules: the crawl goes on, in bounded time and memory."""

import json
import subprocess
import sys
from dataclasses import asdict

import pytest

from curate.sources.crawl import CrawlJob
from tests.hostile import (
    OK,
    PAGES,
    bomb,
    broken_off,
    drip,
    endless_chunks,
    endless_headers,
    lie,
    robots_of_many_rules,
    serve_raw,
    whole,
)  # fmt: skip
from tests.sites import links

pytest.importorskip("scrapy")

# Crawls in a process of its own, so that the peak memory of its crawler is known.
DRIVER = """
import json, resource, sys, time
from curate.sources.crawl import CrawlEnd, CrawlJob, crawl
from tests.sites import rows_of
started = time.monotonic()
events = list(crawl(CrawlJob(**json.loads(sys.argv[1]))))
rows = {row["url"].rpartition("/")[2]: [row["status"], row["error"], bool(row["page"])] for row in rows_of(events, "fetches")}
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(json.dumps([rows, events[-1].reason, time.monotonic() - started, peak]))
"""


def run(folder, site, **options):
    """Rows by the last part of their URL (status, error, stored), reason, seconds, peak memory in MB."""
    options = {"sitemap": False, "robots": False, "allow_private": ["127.0.0.1"], "timeout": 6.0} | options
    job = asdict(CrawlJob(source="hostile", urls=[site.url], folder=str(folder), **options))
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps(job)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


GZIP = OK + b"Content-Encoding: gzip\r\n"


@pytest.mark.slow
def test_limits_of_size_and_time_hold_against_every_server(tmp_path):
    packed = bomb(500_000_000)
    answers = {
        "/bomb": lambda: whole(packed, GZIP),
        "/twice": lambda: whole(bomb(10_000_000), OK + b"Content-Encoding: gzip, gzip\r\n"),
        "/chunks": endless_chunks,
        "/header": endless_headers,
        "/lie": lie,
        "/half": broken_off,
        "/drip": drip,
        "/nonsense": lambda: [b"\0\1\2 no HTTP at all\r\n\r\n"],
        "/nothing": lambda: [b""],
        "/headers": lambda: [
            OK,
            *(b"X-%d: 1\r\n" % n for n in range(20_000)),
            b"Content-Length: 4\r\n\r\n<p>x",
        ],
        "/cookies": lambda: whole(b"<p>cookies", OK + b"Set-Cookie: a=%s\r\n" % (b"x" * 4000) * 1000),
        "/twins": lambda: whole(b"<p>x", OK + b"Content-Type: image/png\r\nContent-Length: 3\r\n"),
        "/after": lambda: whole(b"<p>all is well"),
    }
    answers["/"] = lambda: whole(links(*answers).encode())
    with serve_raw(answers) as site:
        rows, reason, seconds, peak = run(tmp_path, site, max_bytes=1_000_000)
    too_large = [2, "larger than 1,000,000 bytes", False]
    for name in ("bomb", "chunks", "lie"):
        assert rows[name] == too_large, name
    assert rows["drip"] == [0, "no complete answer within 6 s", False]
    assert rows["half"][:2] == [0, "the connection broke off in the middle"]
    for name in ("header", "nonsense", "nothing"):
        assert rows[name][0] == 0, name
    assert rows["after"] == [200, "", True]
    assert rows["headers"] == [200, "", True]
    assert reason == "finished"
    assert seconds < 90
    assert peak < 400


@pytest.mark.slow
def test_pages_that_are_expensive_to_read_do_not_hold_up_the_crawl(tmp_path):
    names = {f"/{name.replace(' ', '-')}": name for name in PAGES}
    answers = {path: (lambda name=name: whole(PAGES[name](4_000_000))) for path, name in names.items()}
    answers["/"] = lambda: whole(links(*answers).encode())
    answers["/after"] = lambda: whole(b"<p>all is well")
    with serve_raw(answers) as site:
        rows, reason, seconds, peak = run(tmp_path, site, timeout=30.0)
    assert rows["after"] == [200, "", True]
    assert {rows[path[1:]][0] for path in names} == {200}
    assert reason == "finished"
    assert seconds < 120
    assert peak < 800


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "stored"),
    [
        (lambda: whole(robots_of_many_rules(9_000_000), OK), True),  # read up to 512 KiB
        (lambda: whole(robots_of_many_rules(90_000_000), OK), False),  # beyond every limit: all is forbidden
        (endless_chunks, False),
        (
            lambda: [
                b"HTTP/1.1 302 x\r\nLocation: /robots.txt\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            ],
            True,
        ),
        (lambda: whole(b"\0\1\2\xff" * 1000), True),
    ],
)
def test_robots_txt_of_all_kinds(tmp_path, answer, stored):
    with serve_raw({"/robots.txt": answer, "/": lambda: whole(b"<p>home")}) as site:
        if not stored:
            with pytest.raises(AssertionError, match=r"robots.txt of .* could not be read: larger than"):
                run(tmp_path, site, robots=True, timeout=60.0)  # making 90 MB takes the server seconds
            assert site.paths == ["/robots.txt"]
            return
        rows, _, seconds, peak = run(tmp_path, site, robots=True)
    assert rows[""] == [200, "", True]
    assert seconds < 40
    assert peak < 300


@pytest.mark.slow
def test_sitemaps_of_all_kinds(tmp_path):
    laughs = (
        b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><urlset><url><loc>/&b;</loc></url></urlset>'
    )
    spy = b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]><urlset><url><loc>/x&a;</loc></url></urlset>'
    many = b"<urlset>" + b"".join(b"<url><loc>/%d</loc></url>" % n for n in range(50_000)) + b"</urlset>"
    again = b"<sitemapindex><sitemap><loc>/again?%d</loc></sitemap></sitemapindex>"
    answers = {
        "/robots.txt": lambda: whole(
            b"Sitemap: /laughs\nSitemap: /spy\nSitemap: /many.gz\nSitemap: /again\nSitemap: /no"
        ),
        "/laughs": lambda: whole(laughs),
        "/spy": lambda: whole(spy),
        "/many.gz": lambda: whole(many),
        "/again": lambda: whole(again % len(site.paths)),
        "/no": lambda: whole(b"<html>nothing"),
        "*": lambda: whole(b"<p>page"),
    }
    with serve_raw(answers) as site:
        rows, reason, seconds, peak = run(tmp_path, site, sitemap=True, robots=True, max_pages=50)
    assert reason == "max_pages"
    assert len(rows) == 50
    assert not any("ha" in url or "host" in url for url in rows)
    assert sum(path.startswith("/again") for path in site.paths) <= 7
    assert seconds < 60
    assert peak < 400
