"""The crawler's parts, one by one: pages, robots.txt, order and scope, traps, secrets."""

import subprocess
import sys
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hostile import PAGES, robots_of_many_names, robots_of_many_rules

pytest.importorskip("scrapy")

from curate.sources.crawler import robots
from curate.sources.crawler.frontier import MAX_ALIKE, MAX_SILENCE, Frontier
from curate.sources.crawler.known import Known
from curate.sources.crawler.page import media_type, read_page
from curate.sources.crawler.report import masker
from curate.sources.crawler.scope import Scope

URL = "http://docs.example.test/a/page.html"


def read(body, *tags):
    return read_page(body if isinstance(body, bytes) else body.encode(), "text/html", URL, "curate/1.0", tags)


# --- pages


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('<a href="b">', ["/a/b"]),
        ("<A\nclass=x\nHREF = '/b#c' >", ["/b"]),
        ("<a href=/b>x</a><a href=/b>y</a>", ["/b"]),
        ("<a title='>' href=/b>", ["/b"]),
        ("<a href=/b href=/c>", ["/b"]),
        ("<a href='/s?a=1&amp;b=2'>", ["/s?a=1&b=2"]),
        ("<area href=/b><iframe src=/c></iframe><frame src=/d>", ["/b", "/c", "/d"]),
        ("<a href=b><base href='/other/'>", ["/other/b"]),
        ("<!-- <a href=/no> --><a href=/b>", ["/b"]),
        ("<script>'<a href=/no>'</script><a href=/b>", ["/b"]),
        ("<title><a href=/no></title><textarea><a href=/no></textarea><a href=/b>", ["/b"]),
        ("<abbr href=/no><article href=/no><a name=x><a href=/b>", ["/b"]),
        ("<noscript><a href=/b></a></noscript>", ["/b"]),
        ("<a href=mailto:x@y.example><a href='javascript:x()'><a href='http://['><a href=''>", []),
        ("<a href=/b>x</a><a href='/c", ["/b"]),
        ("<a rel=nofollow href=/b>", ["/b"]),  # about ranking, not about reading
        ("\ufeff<a href=/b>", ["/b"]),
    ],
)
def test_links(body, expected):
    assert read(body).links == tuple("http://docs.example.test" + path for path in expected)


def test_links_of_a_page_in_utf_16_and_of_one_with_broken_bytes():
    assert read("<a href=/ä>".encode("utf-16")).links == ("http://docs.example.test/%C3%A4",)
    assert read(b"<a href=/\xe4>").links == ("http://docs.example.test/%C3%A4",)


@pytest.mark.parametrize(
    ("body", "tags", "noindex", "followed"),
    [
        ("", (), False, True),
        ('<meta name="ROBOTS" content="NoIndex, nofollow">', (), True, False),
        ('<meta name="robots" content="none">', (), True, False),
        ('<meta name="curate" content="noindex">', (), True, True),
        ('<meta name="otherbot" content="noindex">', (), False, True),
        ("", ("noindex",), True, True),
        ("", ("otherbot: noindex, nofollow",), False, True),
        ("", ("curate: nofollow",), False, False),
        ("", ("max-snippet: 5, noindex",), True, True),
        ("", ("unavailable_after: 1 Jan 2020, noindex", "otherbot: none"), True, True),
    ],
)
def test_words_to_robots(body, tags, noindex, followed):
    found = read(body + "<a href=/b>", *tags)
    assert (found.noindex, bool(found.links)) == (noindex, followed)


@pytest.mark.parametrize(
    ("content", "target"),
    [
        ("0; url=/b", "/b"),
        ("0;URL='/b'", "/b"),
        ("5, /b", "/b"),
        ("30; url=/b", ""),
        ("300", ""),
        ("0; url=javascript:x()", ""),
        ("9" * 400 + "; url=/b", ""),
    ],
)
def test_meta_refresh(content, target):
    markup = f'<meta http-equiv="Refresh" content="{content}">'
    assert read(markup).refresh == (target and "http://docs.example.test" + target)
    assert read(f"<noscript>{markup}</noscript>").refresh == ""


@pytest.mark.parametrize(
    ("body", "stated", "kind"),
    [
        (b"<!doctype html><p>x", "text/html", "text/html"),
        (b"<p>x", "", "text/html"),
        (b"\n <!-- a --><!-- b --><html>", "application/pdf", "text/html"),
        (b"<?xml version='1.0'?><html>", "application/xml", "application/xhtml+xml"),
        (b"<?xml version='1.0'?><rss>", "application/rss+xml", "application/rss+xml"),
        (b"\n%PDF-1.7 x", "text/html", "application/pdf"),
        (b"no book", "application/pdf", "application/octet-stream"),
        (b"\xff\xd8\xff\xe0", "text/html", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n", "text/plain", "image/png"),
        (b"GIF89a", "text/html", "image/gif"),
        (b"PK\x03\x04", "text/html", "application/zip"),
        (b"\x1f\x8b\x08", "text/html", "application/gzip"),
        (b"text\0\0\0\0 and more", "text/plain", "application/octet-stream"),
        (b"one NUL \0" + b"x" * 100, "text/plain", "text/plain"),
        ("ä".encode("utf-16"), "text/plain", "text/plain"),
        (b"<html> as an example", "text/plain", "text/plain"),
        (b"", "image/png", "image/png"),
        (b"", "", "application/octet-stream"),
        (b"<!---->" * 200, "", "application/octet-stream"),
    ],
)
def test_media_types(body, stated, kind):
    assert media_type(body, stated) == kind


@pytest.mark.parametrize("name", PAGES)
def test_no_page_takes_more_than_linear_time(name):
    def seconds(size):
        started = time.process_time()
        body = PAGES[name](size)
        media_type(body, "text/html")
        read(body)
        return time.process_time() - started

    assert seconds(400_000) < 10  # tens of milliseconds; a quadratic step takes minutes


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("<>a /='\"!-&;hrefbs \n\0"), max_size=200))
def test_any_markup_gives_canonical_links(markup):
    assert all(link.startswith("http://docs.example.test/") for link in read("<a href=/x>" + markup).links)


# --- robots.txt


def test_robots_txt_speaks_to_us_by_name_or_to_all():
    text = b"User-agent: badbot\nDisallow: /\n\nUser-agent: *\nDisallow: /private/\nCrawl-delay: 2\nSitemap: /map.xml"
    rules = robots.read(200, text, "curate/1.0", "http://a.example/robots.txt")
    assert rules.allows("http://a.example/b")
    assert not rules.allows("http://a.example/private/b")
    assert (rules.delay, rules.sitemaps) == (2.0, ("http://a.example/map.xml",))
    assert not robots.read(200, text, "badbot/2", "http://a.example/").allows("http://a.example/b")


@pytest.mark.parametrize(
    ("status", "unreadable"),
    [(200, False), (404, False), (403, False), (429, True), (500, True), (503, True)],
)
def test_a_robots_txt_that_fails_forbids_all_and_a_missing_one_allows_all(status, unreadable):
    assert bool(robots.read(status, b"", "curate", "http://a.example/").unreadable) is unreadable


def test_robots_txt_is_read_up_to_512_kib_in_short_time():
    started = time.process_time()
    for body in (robots_of_many_names(5_000_000), robots_of_many_rules(5_000_000)):
        rules = robots.read(200, body, "curate", "http://a.example/robots.txt")
        assert rules.allows("http://a.example/" + "b" * 1500)
    late = b"User-agent: *\n" + b"#" * robots.LIMIT + b"\nDisallow: /"
    assert robots.read(200, late, "curate", "http://a.example/").allows("http://a.example/x")
    assert time.process_time() - started < 30


# --- scope, order, traps


def frontier(*starts, allow=(), deny=(), robots=False, follow=True, max_depth=20, patience=0.0):
    made = Frontier(
        Scope(starts, allow, deny), Known(""),
        max_depth=max_depth, follow=follow, per_origin=2, ask_robots=robots, patience=patience,
    )  # fmt: skip
    for url in starts:
        made.start(url)
    return made


def taken(made):
    """All places in the order in which they are handed out."""
    urls = []
    while (place := made.take(0.0)) is not None:
        made.done(place)
        urls.append(place.url)
    return urls


@pytest.mark.parametrize("answered_before", [True, False])
def test_a_server_that_pauses_is_not_given_up_and_one_that_never_spoke_is(answered_before):
    made = frontier("http://a.example/", patience=60.0)
    place = made.take(0.0)
    if answered_before:
        made.heard(place, answered=True)
    for _ in range(MAX_SILENCE):
        made.heard(place, answered=False)
    assert bool(made.origins[place.origin].lost) is not answered_before


def test_a_server_that_is_silent_beyond_patience_is_given_up():
    made = frontier("http://a.example/", patience=0.01)
    place = made.take(0.0)
    made.heard(place, answered=True)
    time.sleep(0.02)
    for _ in range(MAX_SILENCE - 1):
        made.heard(place, answered=False)
    assert not made.origins[place.origin].lost
    made.heard(place, answered=False)
    assert made.origins[place.origin].lost == "http://a.example stopped answering"


def test_the_sources_own_hosts_belong_to_it():
    scope = Scope(["http://a.example/docs/", "https://b.example:8443/"], (), ())
    inside = ["http://a.example/x", "https://a.example/x", "https://b.example:8443/"]
    outside = [
        "http://www.a.example/",
        "http://a.example:8080/",
        "https://b.example/",
        "http://b.example:8443/",
    ]
    assert [url in scope for url in inside + outside] == [True] * 3 + [False] * 4


def test_allow_and_deny_are_globs_over_url_or_path():
    scope = Scope(["http://a.example/"], ["/docs/*", "https://b.example/*"], ["*/print/*", "*?*page=*"])
    allowed = ["http://a.example/docs/x", "https://b.example/y"]
    denied = [
        "http://a.example/blog/docs/",
        "http://a.example/docs/print/x",
        "https://b.example/y?a=1&page=2",
    ]
    assert [url in scope for url in allowed + denied] == [True] * 2 + [False] * 3


def test_breadth_first_and_robots_txt_before_all():
    made = frontier("http://a.example/", robots=True)
    place = made.take(0.0)
    assert (place.kind, place.url) == ("robots", "http://a.example/robots.txt")
    assert made.take(0.0) is None  # nothing before its rules are known
    made.origins["http://a.example"].rules = robots.ALLOW_ALL
    made.done(place)
    made.found(["http://a.example/1", "http://a.example/2"], 0)
    made.found(["http://a.example/1/1", "http://a.example/1"], 1)
    made.sitemap("http://a.example/sitemap.xml")
    assert [url.removeprefix("http://a.example") for url in taken(made)] == [
        "/",
        "/sitemap.xml",
        "/1",
        "/2",
        "/1/1",
    ]
    assert made.exhausted


def test_hosts_take_turns_and_a_slow_one_does_not_hold_up_the_others():
    made = frontier("http://a.example/", "http://b.example/")
    made.found([f"http://a.example/{n}" for n in range(5)] + [f"http://b.example/{n}" for n in range(5)], 0)
    first = [made.take(0.0).origin for _ in range(4)]
    assert all(one != other for one, other in pairwise(first))
    assert made.take(0.0) is None  # two under way at each, and that is the limit
    made.origins["http://a.example"].under_way = made.origins["http://b.example"].under_way = 0
    made.origins["http://a.example"].not_before = 10.0
    assert {made.take(5.0).origin, made.take(5.0).origin} == {"http://b.example"}


def test_traps_are_counted_once_and_not_entered():
    made = frontier("http://a.example/")
    trap = "http://a.example/" + "x/" * 4
    made.found([trap, trap, "http://a.example/" + "long" * 600, "http://a.example/film.mp4"], 3)
    made.found([trap, "http://a.example/deep"], 20)
    assert made.left_out == {
        "repeating path": 1, "too long": 1, "no text by its file name": 1, "deeper than 20 links": 1,
    }  # fmt: skip


def test_so_many_pages_alike_are_enough_unless_the_site_names_them_itself():
    made = frontier("http://a.example/")
    made.found([f"http://a.example/calendar/{n // 12}/{n % 12}?view={n}" for n in range(MAX_ALIKE + 5)], 0)
    assert made.left_out == {f"more than {MAX_ALIKE} alike": 5}
    for n in range(10):
        made.offer(f"http://a.example/calendar/{5000 + n}/1?view=1")
    made.found(["http://a.example/calendar/today"], 0)
    assert len(taken(made)) == 1 + MAX_ALIKE + 10 + 1


# --- secrets


def test_messages_carry_no_secrets():
    mask = masker(["s3cret-token", "abc"])
    said = mask(
        "GET http://user:pw@a.example/x?api_key=12345&page=2&sessionid=99#top failed: s3cret-token; "
        "https://a.example/?X-Amz-Signature=ff, abc"
    )
    assert said == (
        "GET http://***@a.example/x?api_key=***&page=2&sessionid=***#top failed: ***; "
        "https://a.example/?X-Amz-Signature=*** abc"
    )


# --- memory

LARGE = """
import subprocess, sys
large = bytearray(b"x") * 500_000_000
del large
own = "from curate.resident import peak_resident; print(peak_resident())"
subprocess.run([sys.executable, "-c", own], check=True)
"""


def test_a_crawler_that_a_large_process_starts_counts_its_own_memory_alone():
    said = subprocess.run([sys.executable, "-c", LARGE], check=True, capture_output=True, text=True).stdout
    assert 1_000_000 < int(said) < 100_000_000
