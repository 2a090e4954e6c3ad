"""`curate why` on what was rewritten, and on what a one-off clean left behind."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.cli import main
from curate.engine.rewritten import unified_diff
from tests.lakes import documents, text, write_jsonl

MESSY = f"{text(901)}\n\n\n\n\n\nThe cafe\u0301 is open.   \nWrite to anna.berg@harbour.example or call.\u0007\n{text(902)}"


@pytest.fixture(scope="module")
def cleaned(tmp_path_factory):
    """What `curate clean` made of thirty posts, one that needs repair, and a line that is no JSON."""
    folder = tmp_path_factory.mktemp("why")
    write_jsonl(folder / "posts.jsonl", [*documents(30), {"text": MESSY, "title": "Messy"}])
    with (folder / "posts.jsonl").open("a") as file:
        file.write('{"text": "cut o\n')
    code = main([
        "clean", str(folder / "posts.jsonl"), "-o", str(folder / "kept.jsonl"), "--recipe", "docs", "--workers", "1",
    ])  # fmt: skip
    assert code == 0
    return folder / "kept.jsonl.curate" / "lake"


def why(capsys, lake, place, *more):
    capsys.readouterr()
    assert main(["why", place, "--lake", str(lake), *more]) == 0
    return capsys.readouterr().out


def test_what_was_rewritten_is_shown_as_a_diff_of_each_table(cleaned, capsys):
    shown = why(capsys, cleaned, "posts.jsonl#31")
    assert shown.startswith("kept  Messy")
    repaired, masked = shown.split("rewritten by filtered: repair\n")[1].split(
        "rewritten by corpus: anonymize\n"
    )
    assert "  -The cafe\\u0301 is open.···\n" in repaired
    assert "  +The café is open.\n" in repaired
    assert "  -Write to anna.berg@harbour.example or call.\\x07\n" in repaired
    assert "  -Write to anna.berg@harbour.example or call.\n  +Write to <EMAIL_1> or call.\n" in masked
    assert re.search(r"@@ line \d+ @@", masked)


def test_the_diff_is_a_list_of_lines_in_json(cleaned, capsys):
    found = json.loads(why(capsys, cleaned, "posts.jsonl#31", "--json"))
    assert [(one["table"], one["steps"], one["left_out"]) for one in found["rewritten"]] == [
        ("filtered", ["repair"], 0),
        ("corpus", ["anonymize"], 0),
    ]
    assert "+Write to <EMAIL_1> or call." in found["rewritten"][1]["diff"]
    assert json.loads(why(capsys, cleaned, "posts.jsonl#1", "--json"))["rewritten"] == []


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("posts.jsonl#4", r"^dropped by filtered.length: too_short(.|\n)*too_short: words < 10 +words 2 +-8"),
        (
            "posts.jsonl#6",
            r"^dropped by deduplicated.exact: duplicate(.|\n)*duplicate of .*posts.jsonl#5 .*1.000",
        ),
        ("posts.jsonl#8", r"^dropped by deduplicated.minhash: near_duplicate(.|\n)*similarity 0\.\d+"),
        ("posts.jsonl#32", r"^dropped by documents.extract: error:(.|\n)*problem +"),
    ],
    ids=["rule", "copy", "near copy", "unreadable"],
)
def test_why_explains_every_row_that_a_clean_dropped(cleaned, place, said, capsys):
    shown = why(capsys, cleaned, place)
    assert re.search(said, shown), shown


def test_a_diff_of_equal_texts_is_empty():
    assert unified_diff("a\nb", "a\nb") == ([], 0)
    assert unified_diff("", "") == ([], 0)


def test_of_a_long_line_only_the_neighbourhood_of_the_change_is_shown():
    old = f"{'word ' * 5000}mail a@b.example {'tail ' * 5000}"
    diff, left_out = unified_diff(old, old.replace("a@b.example", "<EMAIL_1>"))
    assert left_out == 0
    assert [line[0] for line in diff] == ["@", "-", "+"]
    assert "a@b.example" in diff[1]
    assert "<EMAIL_1>" in diff[2]
    assert max(map(len, diff)) < 250


def test_a_diff_is_bounded_and_tells_what_it_left_out():
    old = "\n".join(f"line {n}" for n in range(10_000))
    diff, left_out = unified_diff(old, old.replace("line", "row"))
    assert len(diff) == 40
    assert left_out > 10_000


def test_texts_that_differ_in_what_nobody_sees_differ_in_their_diff():
    for old, new in (
        ("a\u200bb", "ab"),
        ("caf\u00e9", "cafe\u0301"),
        ("a \nb", "a\nb"),
        ("a\tb", "a b"),
        ("\u00a0a", " a"),
    ):
        _, gone, come = unified_diff(old, new)[0][:3]
        assert gone[1:] != come[1:]
        assert (gone + come).isprintable()


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_diff_is_there_exactly_where_texts_differ(old, new):
    diff, _ = unified_diff(old, new)
    assert bool(diff) == (old.rstrip() != new.rstrip())
    assert all(line[0] in "@ -+" and line.isprintable() for line in diff)
