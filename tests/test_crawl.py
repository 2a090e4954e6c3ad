"""Crawling a site: what is asked, with which headers, and which rows come of it."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from curate.sources.crawl import CrawlEnd, CrawlJob, Progress, Shard, crawl
from schemas.errors import MissingExtraError, SourceError
from schemas.tables import TABLES
from tests.hostile import made_up_names
from tests.sites import LAST_MODIFIED, Page, links, redirect, rows_of, serve

pytest.importorskip("scrapy")

HOST = "http://docs.example.test"
PDF = b"%PDF-1.4 a small book"
SECRET = "Bearer very-secret-value"
EXAMPLE = Path(__file__).parents[1] / "examples" / "site"


def run(job):
    """Rows by URL, bodies by key, and the end."""
    return read(list(crawl(job)))


def read(events):
    assert isinstance(events[-1], CrawlEnd)
    rows = {row["url"].removeprefix(HOST): row for row in rows_of(events, "fetches")}
    return rows, {page["key"]: page for page in rows_of(events, "pages")}, events[-1]


def job(folder, site, **options):
    return CrawlJob(source="docs", urls=[HOST + "/"], connect=site.address, folder=str(folder), **options)


def a_site(other):
    """A site with one of everything; `other` is the URL of another host."""
    return {
        "/": Page(
            links(
                "/a?utm_source=home#top", "guide/", "/loop/1", "/old", "/self", "/refresh", "/hidden", "/quiet",
                "/private/staff", "/gone", "/book.pdf", "/book", "/photo", "/photo.jpg", "/notes.md", "/data.json",
                "/twin", "/latin", "/big", "/moody", "/leak", "/cookie", "/a/b/a/c/a/d/a/e", f"{other}page", "/away",
                "http://elsewhere.example/", "mailto:x@docs.example.test", "javascript:void(0)",
            )
        ),
        "/robots.txt": Page("User-agent: *\nDisallow: /private/\nSitemap: /maps/index.xml\n", "text/plain"),
        "/maps/index.xml": Page(
            f"<sitemapindex><sitemap><loc>{HOST}/maps/pages.xml</loc></sitemap></sitemapindex>", "text/xml"
        ),
        "/maps/pages.xml": Page(f"<urlset><url><loc>{HOST}/unlinked</loc></url></urlset>", "text/xml"),
        "/unlinked": "<p>only in the sitemap",
        "/a": Page("<p>page a", headers={"Content-Language": "en", "Set-Cookie": "session=1", "Link": "</b>"}),
        "/guide/": links("part/1", "../a"),
        "/guide/part/1": "<p>part 1",
        "/old": redirect("/new", 302),
        "/new": "<p>new",
        "/self": redirect("/self#again"),
        **{f"/loop/{n}": redirect(f"/loop/{n + 1}") for n in range(1, 12)},
        "/refresh": '<meta http-equiv="refresh" content="0; url=/refreshed"><p>You will be redirected.',
        "/refreshed": "<p>refreshed",
        "/hidden": '<meta name="robots" content="noindex"><a href="/from-hidden">x</a>',
        "/from-hidden": Page("<p>seen", headers={"X-Robots-Tag": "otherbot: noindex"}),
        "/quiet": Page(links("/from-quiet"), headers={"X-Robots-Tag": "nofollow"}),
        "/private/staff": "<p>staff only",
        "/book.pdf": Page(PDF, "text/html"),
        "/book": Page("<html><p>no book", "application/pdf"),
        "/photo": Page(b"\xff\xd8\xff\xe0 a photo", "text/html"),
        "/photo.jpg": Page(b"\xff\xd8\xff\xe0 a photo", "image/jpeg"),
        "/notes.md": Page("# Notes", "text/markdown"),
        "/data.json": Page('{"a": 1}', "application/json"),
        "/twin": Page("<p>page a"),
        "/latin": Page("<p>süß".encode("latin-1"), 'text/html; charset="ISO-8859-1"'),
        "/big": Page("<p>" + "x" * 50_000),
        "/moody": Page("<p>later", status=503, headers={"Retry-After": "0"}),
        "/leak": redirect("ftp://user:pw@files.example/?token=abcdef123"),
        "/cookie": Page("<p>cookie"),
        "/away": redirect(f"{other}landing"),
    }  # fmt: skip


class Crawled:
    """A site with one of everything, crawled once."""

    def __init__(self, folder):
        with serve({}, host="127.0.0.2") as other, serve({}) as site:
            self.other, self.site = other, site
            site.pages |= {
                path: page if isinstance(page, Page) else Page(page)
                for path, page in a_site(other.url).items()
            }
            other.pages |= {"/page": Page("<p>allowed elsewhere"), "/landing": Page("<p>landed")}
            asked = job(
                folder, site, crawl="c1", allow=["/*", f"{other.url}*"], deny=["*elsewhere*"],
                allow_private=["127.0.0.0/8"], max_bytes=20_000, delay=0,
                headers={"Authorization": SECRET, "X-Key": "k-12345"}, cookies={"visit": "v-12345"},
                secrets=[SECRET, "k-12345"],
            )  # fmt: skip
            self.events = list(crawl(asked))
        self.folder = folder
        self.rows, self.bodies, self.end = read(self.events)

    def body(self, path):
        return self.bodies[self.rows[path]["page"]]["body"]


@pytest.fixture(scope="module")
def crawled(tmp_path_factory):
    return Crawled(tmp_path_factory.mktemp("crawled"))


def test_pages_are_stored_by_the_digest_of_their_body(crawled):
    body = b"<p>page a"
    row = crawled.rows["/a"]
    assert row["page"] == hashlib.sha256(body).hexdigest()[:32]
    assert crawled.body("/a") == body
    assert (row["source"], row["status"], row["depth"], row["crawl"]) == ("docs", 200, 1, "c1")
    assert row["etag"]
    assert row["last_modified"] == LAST_MODIFIED
    assert crawled.rows["/twin"]["page"] == row["page"]  # one body, two places
    assert len([page for page in crawled.bodies.values() if page["body"] == body]) == 1


def test_only_harmless_headers_are_kept(crawled):
    page = crawled.bodies[crawled.rows["/a"]["page"]]
    assert set(json.loads(page["headers"])) == {
        "content-type",
        "content-language",
        "last-modified",
        "etag",
        "link",
    }
    assert page["charset"] == "utf-8"
    assert crawled.bodies[crawled.rows["/latin"]["page"]]["charset"] == "iso-8859-1"


def test_media_types_are_sniffed_and_only_readable_ones_stored(crawled):
    kinds = {
        path: crawled.bodies[row["page"]]["media_type"] for path, row in crawled.rows.items() if row["page"]
    }
    assert kinds["/book.pdf"] == "application/pdf"
    assert kinds["/book"] == "text/html"
    assert kinds["/notes.md"] == "text/markdown"
    assert kinds["/data.json"] == "application/json"
    assert crawled.rows["/photo"]["error"] == "skipped:image/jpeg"
    assert (crawled.rows["/photo"]["status"], crawled.rows["/photo"]["page"]) == (200, "")
    assert "/photo.jpg" not in crawled.rows  # not even asked for
    assert crawled.end.left_out["no text by its file name"] == 1


def test_links_are_stored_canonical_and_followed_once(crawled):
    found = crawled.rows["/"]["links"]
    assert f"{HOST}/a" in found  # without fragment and tracking parameters
    assert "http://elsewhere.example/" in found
    assert not any("mailto" in link or "javascript" in link for link in found)
    assert crawled.rows["/guide/part/1"]["depth"] == 2
    assert crawled.site.count("/a") == 1
    assert not any("elsewhere" in url for url in crawled.rows)


def test_sitemaps_are_read(crawled):
    assert crawled.rows["/unlinked"]["page"]
    assert crawled.site.count("/sitemap.xml") == 1
    assert "/sitemap.xml" not in crawled.rows


def test_redirects_are_rows_of_their_own(crawled):
    assert (crawled.rows["/old"]["status"], crawled.rows["/old"]["location"]) == (302, f"{HOST}/new")
    assert crawled.body("/new") == b"<p>new"
    assert crawled.rows["/self"]["error"] == "redirects to itself"
    assert crawled.rows["/loop/6"]["error"] == "more than 5 redirects in a row"
    assert "/loop/7" not in crawled.rows
    assert (crawled.rows["/refresh"]["location"], crawled.rows["/refresh"]["page"]) == (
        f"{HOST}/refreshed",
        "",
    )
    assert crawled.rows["/refresh"]["error"] == "meta refresh"
    assert crawled.rows["/refreshed"]["page"]


def test_robots_are_obeyed(crawled):
    staff, hidden = crawled.rows["/private/staff"], crawled.rows["/hidden"]
    assert (staff["status"], staff["error"]) == (1, "robots.txt forbids it")
    assert crawled.site.count("/private/staff") == 0
    assert (hidden["status"], hidden["error"], hidden["page"]) == (1, "noindex", "")
    assert crawled.rows["/from-hidden"]["page"]  # its links count, and another robot's noindex does not
    assert crawled.rows["/quiet"]["page"]
    assert "/from-quiet" not in crawled.rows


def test_failures_are_rows(crawled):
    assert (crawled.rows["/gone"]["status"], crawled.rows["/gone"]["error"]) == (404, "HTTP 404")
    assert (crawled.rows["/big"]["status"], crawled.rows["/big"]["error"]) == (2, "larger than 20,000 bytes")
    assert crawled.rows["/moody"]["status"] == 503
    assert crawled.site.count("/moody") == 3
    assert crawled.end.left_out["repeating path"] == 1
    assert crawled.end.statuses[404] == 1
    assert crawled.end.reason == "finished"
    assert any("repeating path" in note for note in crawled.end.notes)


def test_headers_and_cookies_go_to_the_sources_own_origin_only(crawled):
    for path in ("/", "/robots.txt", "/a", "/maps/pages.xml"):
        sent = crawled.site.headers(path)
        assert (sent["authorization"], sent["x-key"], sent["cookie"]) == (SECRET, "k-12345", "visit=v-12345")
        assert sent["host"] == "docs.example.test"
    assert {"/page", "/landing", "/robots.txt"} <= set(crawled.other.paths)
    for path in crawled.other.paths:
        assert not {"authorization", "x-key", "cookie", "referer"} & set(crawled.other.headers(path))
    assert crawled.rows["/away"]["location"] == f"{crawled.other.url}landing"
    assert "session" not in str([headers for _, headers in crawled.site.requests])  # no cookie comes back


def test_rows_and_messages_hold_no_secrets(crawled):
    leak = crawled.rows["/leak"]
    assert leak["error"] == "redirects to 'ftp://***@files.example/?token=***', which is no web page"
    said = f"{crawled.rows} {crawled.bodies} {crawled.end}"
    for secret in (SECRET, "k-12345", "v-12345", "abcdef123", "user:pw"):
        assert secret not in said


def test_files_have_the_schemas_of_the_lake_and_no_statistics(crawled):
    (shard,) = [event for event in crawled.events if isinstance(event, Shard)]
    assert (shard.pages_rows, shard.fetches_rows) == (len(crawled.bodies), len(crawled.rows))
    for table in ("pages", "fetches"):
        file = pq.ParquetFile(getattr(shard, table))
        assert file.schema_arrow.equals(TABLES[table].schema)
        columns = file.metadata.row_group(0)
        assert not any(columns.column(n).is_stats_set for n in range(columns.num_columns))
    assert {path.name for path in crawled.folder.iterdir()} == {shard.pages.name, shard.fetches.name}
    # The last word of progress counts every answer.
    last = crawled.events[-2]
    assert isinstance(last, Progress)
    assert (last.fetched, last.queued) == (sum(row["status"] >= 200 for row in crawled.rows.values()), 0)


@pytest.mark.slow
def test_a_crawl_may_read_some_sitemaps_only_and_tells_what_they_name(tmp_path):
    maps = {
        f"/map{n}.xml": f"<urlset>{''.join(f'<url><loc>{HOST}/{n}/{m}</loc></url>' for m in range(10))}</urlset>"
        for n in range(4)
    }
    index = "".join(f"<sitemap><loc>{HOST}{path}</loc></sitemap>" for path in maps)
    pages = {"/": "<p>start", "/sitemap.xml": f"<sitemapindex>{index}</sitemapindex>", **maps}
    pages |= {f"/{n}/{m}": "<p>named" for n in range(4) for m in range(10)}
    with serve(pages) as site:
        _, _, end = run(job(tmp_path / "some", site, max_pages=3, max_sitemaps=3))
        assert (end.sitemap_urls, end.sitemaps_unread) == (20, 2)
        _, _, end = run(job(tmp_path / "all", site))
        assert (end.sitemap_urls, end.sitemaps_unread, end.statuses) == (40, 0, {200: 41})


def known_file(path, rows):
    columns = {"page": "", "etag": "", "last_modified": "", "links": [], "done": False}
    schema = {
        "url": pl.String,
        **dict.fromkeys(columns, pl.String),
        "links": pl.List(pl.String),
        "done": pl.Boolean,
    }
    pl.DataFrame([columns | row for row in rows], schema=schema).write_parquet(path)
    return str(path)


def test_a_second_crawl_asks_only_what_changed_and_goes_on_where_it_stopped(tmp_path):
    pages = {
        "/": links("/same", "/changed", "/touched"),
        "/same": links("/below"),
        "/below": "<p>below",
        "/changed": "<p>before",
        "/touched": Page("<p>touched", validators=False),
        "/answered": "<p>answered",
        "/behind": "<p>behind",
        "/orphan": "<p>was linked once",
    }
    with serve(pages) as site:
        first, _, _ = run(job(tmp_path / "1", site, sitemap=False))
        site.pages["/changed"] = Page("<p>after")
        del site.pages["/below"]
        rows = [
            {"url": HOST + path, "page": row["page"], "etag": row["etag"], "last_modified": row["last_modified"],
             "links": row["links"]}
            for path, row in first.items()
        ]  # fmt: skip
        rows += [
            {"url": f"{HOST}/answered", "page": "a" * 32, "links": [f"{HOST}/behind"], "done": True},
            {"url": f"{HOST}/orphan", "page": "b" * 32, "etag": '"old"'},
            {"url": f"{HOST}/vanished", "page": "c" * 32},
        ]
        site.requests.clear()
        known = known_file(tmp_path / "known.parquet", rows)
        second, bodies, end = run(job(tmp_path / "2", site, sitemap=False, known=known))

    assert (second["/"]["status"], second["/"]["page"], second["/"]["links"]) == (
        304,
        first["/"]["page"],
        None,
    )
    assert second["/"]["etag"] == first["/"]["etag"]
    assert second["/same"]["status"] == 304
    assert second["/below"]["status"] == 404  # found by the links that were stored with /same
    assert second["/changed"]["page"] != first["/changed"]["page"]
    assert (second["/touched"]["status"], second["/touched"]["page"]) == (200, first["/touched"]["page"])
    assert site.headers("/orphan")["if-none-match"] == '"old"'
    assert second["/vanished"]["status"] == 404
    assert site.count("/answered") == 0
    assert "/answered" not in second
    assert second["/behind"]["page"]
    assert sorted(page["body"] for page in bodies.values()) == [
        b"<p>after",
        b"<p>behind",
        b"<p>was linked once",
    ]
    assert end.statuses == {304: 2, 404: 2, 200: 4}


@pytest.mark.slow
def test_the_end_comes_soon_after_stdin_closes_and_nothing_is_lost(tmp_path):
    slow = {f"/{n}": Page(links(*(f"/{m}" for m in range(n, n + 20))), delay=0.15) for n in range(1, 400)}
    with serve({"/": links("/1"), **slow}) as site:
        events = crawl(job(tmp_path, site, sitemap=False))
        for event in events:
            if isinstance(event, Progress) and event.fetched >= 10:
                break
        events.close()
        asked = len(site.requests)
        assert asked < 300  # of 400
        time.sleep(0.5)
        assert len(site.requests) == asked
    files = list(tmp_path.glob("*-fetches.parquet"))
    assert sum(pq.read_metadata(file).num_rows for file in files) >= 10
    assert not list(tmp_path.glob("*.tmp"))


def test_what_cannot_be_crawled_is_said_before_anything_starts(tmp_path, monkeypatch):
    with pytest.raises(SourceError, match="not an http"):
        crawl(CrawlJob(source="docs", urls=["docs.example.test"], folder=str(tmp_path)))
    with pytest.raises(SourceError, match="names no URL"):
        crawl(CrawlJob(source="docs", urls=[], folder=str(tmp_path)))
    with pytest.raises(SourceError, match="HOST:PORT"):
        crawl(CrawlJob(source="docs", urls=[HOST], connect="localhost", folder=str(tmp_path)))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="Crawling a site needs the package scrapy"):
        crawl(CrawlJob(source="docs", urls=[HOST], folder=str(tmp_path)))


@pytest.mark.slow
def test_a_site_that_is_down_is_an_error(tmp_path):
    with serve({}) as site:
        address = site.address
    with pytest.raises(SourceError, match=r"docs\.example\.test/ cannot be reached: .*connection refused"):
        list(crawl(CrawlJob(source="docs", urls=[HOST], connect=address, folder=str(tmp_path))))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pages", "message", "hint"),
    [
        ({"*": Page(status=401)}, r"asks for a login: every page answered 401", "headers.Authorization"),
        ({"/robots.txt": Page("User-agent: *\nDisallow: /")}, "robots.txt forbids it", "ask the owner"),
        (
            {"/robots.txt": Page(status=500)},
            "robots.txt of .* could not be read: it answered HTTP 500",
            "site up",
        ),
        ({"/": redirect("http://www.example.test/")}, "leads to http://www.example.test/", "url = "),
        (
            {"/": redirect("/a"), "/a": redirect("http://www.example.test/")},
            "leads to http://www",
            'url = "http://www',
        ),
        (
            {"/": redirect("/a"), "/a": redirect("/b"), "/b": redirect("/a")},
            r"redirects go in a circle: \S+/ → \S+/a → \S+/b → \S+/a\.",
            "cookies.NAME",
        ),
        ({"/": redirect("/")}, r"redirects go in a circle: \S+/ → \S+/\.", "cookies.NAME"),
        ({"/": Page(status=404)}, "gave no page: HTTP 404", "look at the site"),
    ],
)
def test_a_site_that_gives_nothing_is_an_error_with_a_way_out(tmp_path, pages, message, hint):
    everything = (
        {f"/{path}": pages["*"] for path in ("", "robots.txt", "sitemap.xml")} if "*" in pages else pages
    )
    with serve(everything) as site, pytest.raises(SourceError, match=message) as error:
        list(crawl(job(tmp_path, site)))
    assert hint in error.value.hint


@pytest.mark.slow
def test_limits_of_pages_and_depth(tmp_path):
    pages = {f"/{n}": links(f"/{n + 1}", f"/x{n}") for n in range(50)} | {
        f"/x{n}": f"<p>{n}" for n in range(50)
    }
    with serve({"/": links("/0"), **pages}) as site:
        rows, _, end = run(job(tmp_path / "pages", site, max_pages=10))
        assert (len(rows), end.reason) == (10, "max_pages")
        rows, _, end = run(job(tmp_path / "depth", site, max_depth=3))
        assert max(row["depth"] for row in rows.values()) == 3
        assert end.left_out == {"deeper than 3 links": 2}
        rows, _, _ = run(job(tmp_path / "alone", site, follow=False))
        assert set(rows) == {"/"}


@pytest.mark.slow
def test_one_host_is_asked_politely(tmp_path):
    with serve({"/": links(*(f"/{n}" for n in range(6))), **{f"/{n}": "<p>x" for n in range(6)}}) as site:
        started = time.monotonic()
        rows, _, _ = run(job(tmp_path, site, sitemap=False, delay=0.3))
        assert len(rows) == 7
        assert time.monotonic() - started > 1.2


@pytest.mark.slow
def test_the_crawl_delay_of_robots_txt_is_kept_away_from_home(tmp_path, monkeypatch):
    made_up_names(monkeypatch, docs_example=[["127.0.0.2"]])
    pages = {"/": links("/1", "/2"), "/1": "<p>1", "/2": "<p>2"}
    with serve({**pages, "/robots.txt": "User-agent: *\nCrawl-delay: 2"}, host="127.0.0.2") as site:
        url = f"http://docs.example:{site.port}/"
        started = time.monotonic()
        rows, _, _ = run(
            CrawlJob(
                source="docs", urls=[url], folder=str(tmp_path), allow_private=["127.0.0.2"], sitemap=False
            )
        )
    assert len(rows) == 3
    assert time.monotonic() - started > 2.8  # 2 s apart, give or take half


@pytest.mark.slow
def test_a_full_disk_ends_the_crawl_with_its_reason(tmp_path):
    with serve({"/": "<p>x"}) as site:
        events = crawl(job(tmp_path / "gone", site))
        (tmp_path / "gone").rmdir()
        with pytest.raises(SourceError, match=r"broke off \(exit code 1\)(.|\n)*No such file"):
            list(events)


@pytest.mark.slow
def test_a_site_that_stops_answering_is_given_up(tmp_path):
    pages = {"/": links(*(f"/{n}" for n in range(100)))} | {f"/{n}": Page("x", delay=60) for n in range(100)}
    with serve(pages) as site:
        rows, _, end = run(job(tmp_path, site, sitemap=False, timeout=0.5))
    assert end.reason == "lost"
    assert rows["/"]["page"]
    assert sum("stopped answering" in reason and count > 50 for reason, count in end.left_out.items()) == 1


DRIVER = """
import signal
from curate.sources.crawl import CrawlJob, crawl
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell started the tests in the background
try:
    for event in crawl(CrawlJob(**{job})):
        print(type(event).__name__, flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.slow
def test_ctrl_c_hands_out_the_last_shard_and_a_killed_driver_leaves_no_orphan(tmp_path):
    endless = {f"/{n}": Page(links(f"/{n + 1}", f"/{n + 2}"), delay=0.05) for n in range(5000)}
    with serve({"/": links("/0"), **endless}) as site:
        options = {"source": "docs", "urls": [HOST], "connect": site.address, "folder": str(tmp_path)}

        def started():
            driver = subprocess.Popen(
                [sys.executable, "-c", DRIVER.format(job=options)], stdout=subprocess.PIPE, text=True,
                process_group=0,
            )  # fmt: skip
            assert driver.stdout is not None
            while driver.stdout.readline().strip() != "Progress":
                pass
            time.sleep(0.5)
            return driver

        driver = started()
        os.killpg(driver.pid, signal.SIGINT)  # as the terminal does: to the crawler, too
        said = driver.communicate(timeout=60)[0].split()
        assert said[-4:] == ["Shard", "Progress", "CrawlEnd", "interrupted"]

        driver = started()
        driver.kill()
        time.sleep(7)
        asked = len(site.requests)
        time.sleep(1)
        assert len(site.requests) == asked


@pytest.mark.slow
def test_two_crawls_at_once_do_not_meet(tmp_path):
    with serve({"/": links("/b"), "/b": "<p>b"}) as site:
        results = []
        threads = [
            threading.Thread(target=lambda: results.append(run(job(tmp_path, site)))) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [len(rows) for rows, _, _ in results] == [2, 2]
    assert len(list(tmp_path.glob("*-fetches.parquet"))) == 2


@pytest.mark.slow
def test_the_example_site_comes_whole(tmp_path):
    with serve(EXAMPLE) as site:
        rows, _, end = run(job(tmp_path, site))
    stored = {path for path, row in rows.items() if row["page"]}
    written = {"/" + file.relative_to(EXAMPLE).as_posix() for file in EXAMPLE.rglob("*.html")}
    assert stored - {"/"} == written - {"/private/staff.html", "/drafts/draft.html", "/start.html"}
    assert rows["/start.html"]["error"] == "meta refresh"
    assert end.statuses[1] == 2  # the private page, and the draft with noindex
