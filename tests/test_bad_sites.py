"""Sites that go wrong, through the command line: what is said, and what stays whole.

A site that gives nothing ends the run with 1, an error and a hint; a fault of one page is a row, and the run counts it.
"""

import json
import os
import re
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from curate.lake.lake import Lake
from tests.hostile import OK, bomb, broken_off, endless_chunks, lie, serve_raw, whole
from tests.lakes import text
from tests.sites import Page, links, redirect, serve

HOST = "http://docs.example.test/"


def site_recipe(url=HOST, **source):
    lines = [f"{key} = {json.dumps(value)}" for key, value in source.items()]
    return "\n".join(['name = "harbour"', 'extends = "docs"', "[sources.web]", f'url = "{url}"', *lines])


# Sources that give nothing: the run cannot go on.


@contextmanager
def nobody():
    """HOST:PORT where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        address = f"127.0.0.1:{held.getsockname()[1]}"
    yield address


@contextmanager
def answering(pages):
    with serve(pages) as site:
        yield site.address


SILENT_SITES = {
    "down": (nobody, "cannot be reached: .*connection refused", "is the site up"),
    "login": (
        lambda: answering({"/": Page("who are you?", status=401)}),
        "asks for a login: every page answered 401",
        r'headers\.Authorization = "Bearer',
    ),
    "forbidden": (
        lambda: answering({"/robots.txt": Page("User-agent: *\nDisallow: /", "text/plain")}),
        "gave no page: robots.txt forbids it",
        "ask the owner",
    ),
    "circle": (lambda: answering({"/": redirect("/a"), "/a": redirect("/")}), "its redirects go in a circle", "cookies"),
    "error": (lambda: answering({"/": Page("sorry", status=500, headers={"Retry-After": "0"})}), "HTTP 500", "look at the site"),
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "login" else pytest.mark.slow) for name in SILENT_SITES]
)
def test_a_site_that_gives_nothing_ends_the_run_and_shows_nothing(name, curate, curate_run):
    pytest.importorskip("scrapy")
    open_site, message, hint = SILENT_SITES[name]
    with open_site() as address:
        said = curate_run(site_recipe(connect=address))
    assert (said.code, said.out) == (1, "")
    assert re.search(message, said.error)
    assert re.search(hint, said.hint)
    assert "holds no lake" in curate("show").error  # nothing was published


@pytest.mark.slow
def test_a_site_that_is_up_again_is_crawled_as_if_nothing_had_been(curate_run, tmp_path):
    pytest.importorskip("scrapy")
    with nobody() as address:
        assert curate_run(site_recipe(connect=address)).code == 1
    with answering({"/": f"<h1>Harbour</h1><p>{text(1)}</p>"}) as address:
        said = curate_run(site_recipe(connect=address))
    assert said.code == 0
    with nobody() as address:  # down once more: what stands, stands
        assert curate_run(site_recipe(connect=address)).code == 1
    assert Lake(tmp_path / "lake").read("harbour", "corpus").collect().height == 1


@pytest.mark.slow
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_private_address_is_refused_with_the_line_that_permits_it(host, curate_run):
    pytest.importorskip("scrapy")
    with serve({"/": "<p>the inside"}) as inside:
        said = curate_run(site_recipe(f"http://{host}:{inside.port}/"))
        assert said.code == 1
        assert f"{host} is 127.0.0.1, a private address" in said.error
        assert f'allow_private = ["{host}"]' in said.hint
        assert inside.paths == []


# A site where every page is a trap: each is a row, and the run ends well.

PROSE = f"<h1>Harbour</h1><p>{text(2)}</p>"
ANSWERS = {
    "bomb": lambda: whole(bomb(500_000_000), OK + b"Content-Encoding: gzip\r\n"),
    "huge": lambda: whole(bytes(200_000_000)),
    "endless": endless_chunks,
    "lie": lie,
    "half": broken_off,
    "circle": lambda: [b"HTTP/1.1 302 x\r\nLocation: /circle-2\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"],
    "circle-2": lambda: [b"HTTP/1.1 302 x\r\nLocation: /circle\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"],
    "login": lambda: [b"HTTP/1.1 401 x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"],
    "pdf": lambda: whole(b"%PDF-1.7 " + bytes(range(256)) * 40),
    "script": lambda: whole(b"<html><body><div id=root></div><script>" + b"x = 1;" * 500 + b"</script></body></html>"),
    "deep": lambda: whole(b"<html><body>" + b"<div>" * 100_000 + PROSE.encode()),
    "hang": lambda: whole(b"<html><body><p>" + b'<a href="x">word</a> ' * 20_000),
    "utf8": lambda: whole(("<meta charset=utf-8><h1>Grüße</h1>" + "<p>über Köln</p>" * 20).encode() + b"<p>\xff broken"),
    "good": lambda: whole(PROSE.encode()),
}  # fmt: skip
EXPECTED = {
    # what the last answer was, the reason that no document is kept for, and the cause that `why` tells
    "bomb": (2, "", "larger than 1,000,000 bytes"),
    "huge": (2, "", "larger than 1,000,000 bytes"),
    "endless": (2, "", "larger than 1,000,000 bytes"),
    "lie": (2, "", "larger than 1,000,000 bytes"),
    "half": (0, "", "the connection broke off in the middle"),
    "circle": (302, "", f"redirects to {HOST}circle-2"),
    "login": (401, "", "HTTP 401"),
    "inside": (302, "", "redirects to http://127.0.0.1"),
    "pdf": (200, "skipped:not_html", "application/pdf"),
    "script": (200, "empty:javascript", "seems to be written by JavaScript"),
    "deep": (200, "error:too_deep", "nested more than 2,000 deep"),
    "hang": (200, "error:timeout", "not done after 0.5 seconds"),
    "utf8": (200, "", ""),
    "good": (200, "", ""),
}


@pytest.fixture(scope="module")
def trapped(tmp_path_factory):
    """A folder with the lake of that site, its report, and what was asked of a server on the inside."""
    pytest.importorskip("scrapy")
    folder = tmp_path_factory.mktemp("trapped")
    with serve({"/": "<p>the inside"}) as inside:
        away = f"HTTP/1.1 302 x\r\nLocation: {inside.url}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        answers = {f"/{name}": answer for name, answer in ANSWERS.items()} | {
            "/inside": lambda: [away.encode()]
        }
        home = f"<p>{text(3)}</p>{links(*answers)}"
        with serve_raw({"/": lambda: whole(home.encode()), **answers}) as site:
            recipe = site_recipe(connect=site.address, max_page_bytes=1_000_000, timeout=30)
            (folder / "curate.toml").write_text(recipe + "\n[documents.extract]\nseconds = 0.5\n")
            command = [sys.executable, "-m", "curate", "run", "--workers", "1", "--no-index", "--json"]
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, check=False, env=environment()
            )
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout), inside.paths


def environment():
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_a_trap_is_one_row_and_why_says_which(name, trapped, curate):
    status, reason, problem = EXPECTED[name]
    said = curate("why", HOST + name, "--lake", trapped[0] / "lake", "--json")
    found = json.loads(said.out)
    assert (found["status"], found["reason"], found["kept"]) == (status, reason, not problem)
    assert problem in (found["fetch_error"] or found["message"])


@pytest.mark.slow
def test_the_run_among_traps_counts_them_and_nobody_was_led_inside(trapped):
    folder, report, inside = trapped
    tables = {table["table"]: table for table in report["tables"]}
    fetched = {reason["reason"]: reason["dropped"] for reason in tables["pages"]["reasons"]}
    assert fetched == {"limit": 4, "redirect": 3, "http_401": 1, "http_404": 1, "no_answer": 1}
    assert tables["documents"]["rows"] - tables["documents"]["kept"] == 4
    assert len(tables["documents"]["failures"]) == 4
    texts = Lake(folder / "lake").read("harbour", "corpus").collect()["text"]
    assert sum("über Köln" in words and "\ufffd broken" in words for words in texts) == 1
    assert inside == []
