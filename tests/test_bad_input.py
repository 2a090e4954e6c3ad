"""Files that go wrong, through the command line: a fault of one is a row, and the run ends with 0 and counts it."""

import io
import json
import os
import re
import sys
from pathlib import Path

import pytest

from curate.lake.lake import Lake
from tests.lakes import RECIPE, make_recipe, text, write_jsonl

BARE = 'name = "harbour"\nindex = false\n[sources.files]\nfiles = "*"\n'  # no steps: read, and keep what was read


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
