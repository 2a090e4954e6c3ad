"""Canonical URLs: one page, one spelling."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.sources.urls import canonical, host_of, join, origin, shape


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("HTTP://Docs.Example.TEST", "http://docs.example.test/"),
        ("http://docs.example.test:80/a", "http://docs.example.test/a"),
        ("https://docs.example.test:443/a", "https://docs.example.test/a"),
        ("https://docs.example.test:80/a", "https://docs.example.test:80/a"),
        ("http://docs.example.test:0080/", "http://docs.example.test/"),
        ("http://docs.example.test./a", "http://docs.example.test/a"),
        ("http://user:pw@docs.example.test/a", "http://docs.example.test/a"),
        ("http://a@b@docs.example.test/a", "http://docs.example.test/a"),
        ("http://docs.example.test/a#part", "http://docs.example.test/a"),
        ("http://docs.example.test/a/../b/./c", "http://docs.example.test/b/c"),
        ("http://docs.example.test/../../a/..", "http://docs.example.test/"),
        ("http://docs.example.test/a/%2e%2E/b", "http://docs.example.test/b"),
        ("http://docs.example.test/%7euser/%c3%a4", "http://docs.example.test/~user/%C3%A4"),
        ("http://docs.example.test/ä b", "http://docs.example.test/%C3%A4%20b"),
        ("http://docs.example.test/a%2Fb%", "http://docs.example.test/a%2Fb%25"),
        ("http://docs.example.test/?utm_source=x&b=2&fbclid=1&a=1", "http://docs.example.test/?b=2&a=1"),
        ("http://docs.example.test/?gclid=1", "http://docs.example.test/"),
        ("http://docs.example.test/?glide=1&q", "http://docs.example.test/?glide=1&q"),
        ("http://docs.example.test/?", "http://docs.example.test/"),
        ("http://docs.example.test?x=/a/../b?c", "http://docs.example.test/?x=/a/../b?c"),
        ("http://straße.example/", "http://xn--strae-oqa.example/"),
        ("http://①②⑦.0.0.1/", "http://127.0.0.1/"),
        ("http://[::FFFF:127.0.0.1]:8080/", "http://[::ffff:7f00:1]:8080/"),
        ("http:\\\\docs.example.test\\a", "http://docs.example.test/a"),
        ("  http://docs.example.test/a\n b ", "http://docs.example.test/a%20b"),
    ],
)
def test_one_spelling(url, expected):
    assert canonical(url) == expected


@pytest.mark.parametrize(
    "url",
    ["", "/a", "mailto:a@b.example", "file:///etc/passwd", "ftp://a.example/", "data:text/html,x",
     "javascript:alert(1)", "http://", "http:///a", "http://a b/", "http://a.example:99999/",
     "http://a.example:x/", "http://[::1/", "http://x[::1]/", "http://-/", "http://%31.example/"],
)  # fmt: skip
def test_what_is_no_web_page_is_refused(url):
    with pytest.raises(ValueError, match=r"not a|At least|Expected|Invalid|Codepoint|IPv6"):
        canonical(url)


_ODD_TEXT = st.text(st.sampled_from("aZ09/.%2eE3f?&=;#:@[]\\ ä①\t<>\"'{}|^`~+*$!,-_"), max_size=40)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(["http://", "HTTPS://", "http:\\\\"]), _ODD_TEXT | st.text(max_size=30))
def test_canonical_is_idempotent_and_plain_ascii(scheme, rest):
    try:
        once = canonical(scheme + "docs.example/" + rest)
    except ValueError:
        return
    assert canonical(once) == once
    assert once.isascii()
    assert "#" not in once
    assert " " not in once
    assert join(once, "") == once


@settings(max_examples=300, deadline=None)
@given(_ODD_TEXT)
def test_any_authority_gives_a_canonical_url_or_a_value_error(authority):
    try:
        once = canonical(f"http://{authority}/x")
    except ValueError:
        return
    assert canonical(once) == once
    assert "@" not in origin(once)


def test_links_are_resolved_against_their_page():
    page = "http://docs.example.test/a/b.html?x=1"
    assert join(page, "c.html#top") == "http://docs.example.test/a/c.html"
    assert join(page, "../d") == "http://docs.example.test/d"
    assert join(page, "//other.example/e") == "http://other.example/e"
    assert join(page, " ?y=2 ") == "http://docs.example.test/a/b.html?y=2"
    with pytest.raises(ValueError, match="not an http"):
        join(page, "mailto:someone@docs.example.test")


def test_shape_origin_and_host():
    assert shape("http://a.example:8080/2024/05/x-17?b=1&a=2&b=3") == "http://a.example:8080/0/0/x-0?a&b"
    assert origin("https://a.example:8443/x/y") == "https://a.example:8443"
    assert host_of("http://[::1]:80/") == "::1"
    assert host_of("http://a.example:81/") == "a.example"
