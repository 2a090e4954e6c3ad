"""A run measures what its near-duplicate step misses, on its own documents, and says so in the report."""

import random

import pytest

from curate.engine.checks import recall_check
from curate.engine.dedup_files import dedup
from curate.lake.lake import Lake
from curate.reports.near_error_card import near_error_cards
from schemas.report import TableReport
from tests.lakes import text, write_jsonl

pytestmark = pytest.mark.slow


def corpus(count, alike):
    """Texts, of which some have a copy with one block of words changed."""
    chance, rows = random.Random(3), [text(n, 150) for n in range(count)]
    for row in rows[:alike]:
        words = row.split(" ")
        at = chance.randrange(140)
        words[at : at + 3] = ["changed", "in", "here"]
        rows.append(" ".join(words))
    return [{"text": row} for row in rows]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("error")
    write_jsonl(folder / "in.jsonl", corpus(300, 60))
    return folder


def measured(folder, out, **options) -> TableReport:
    report = dedup([folder / "in.jsonl"], folder / out, options=options, workers=1)
    return report.table("deduplicated")


def test_recall_is_measured_beside_what_the_bands_promise(folder):
    table = measured(folder, "a.jsonl")
    (error,) = table.near_errors
    assert (error.step, error.documents, error.threshold, error.bands, error.rows) == (
        "minhash",
        360,
        0.8,
        20,
        6,
    )
    assert {part.length for part in error.planted} == {"100 to 1,000"}
    assert [part.similarity for part in error.planted] == [0.8, 0.9, 1.0]
    assert all(part.low <= part.found <= part.high for part in (*error.planted, *error.real))
    assert all(part.high >= part.theory - 0.01 for part in error.planted)
    whole = error.real[-1]
    assert whole.pairs == 120  # each end of the 60 pairs is an anchor: all documents are drawn
    assert whole.found == 1
    assert (error.looked_again, error.wrong) == (60, 0)
    check = table.check("dedup_recall")
    assert check.passed
    assert check.numbers["pairs"] == 120


def test_containment_is_measured_by_containment(tmp_path):
    rows = [{"text": text(n, 200)} for n in range(120)]
    for n in range(40):  # half of a text, and a tenth, of which nothing is promised
        words = rows[n]["text"].split(" ")
        rows += [{"text": " ".join(words[20:120])}, {"text": " ".join(words[150:170])}]
    write_jsonl(tmp_path / "in.jsonl", rows)
    table = measured(tmp_path, "a.jsonl", similarity="containment", longer=3)
    (error,) = table.near_errors
    assert (error.longer, error.documents, error.anchors) == (3, 200, 200)
    assert error.bands * error.rows <= 128
    assert {part.similarity for part in error.planted} == {0.8, 0.9, 1.0}
    assert all(part.theory >= 0.995 and part.high >= 0.99 for part in error.planted)
    beyond, whole = error.real[0], error.real[-1]
    assert (beyond.length, beyond.pairs, beyond.theory) == ("over 3 times as long", 80, 0)
    assert (whole.length, whole.pairs, whole.found) == ("", 80, 1)
    assert error.wrong == 0
    assert error.looked_again >= 40
    assert table.check("dedup_recall").passed
    assert "up to 3 times the length" in near_error_cards(table)[0]["about"]
    jaccard = measured(tmp_path, "a.jsonl").near_errors[0]
    assert (jaccard.longer, jaccard.made_from == error.made_from) == (0, False)


def test_it_is_carried_over_while_it_holds_and_measured_again_with_other_options(folder):
    first = measured(folder, "b.jsonl").near_errors[0]
    head = Lake(folder / "b.jsonl.curate" / "lake").head()
    again = measured(folder, "b.jsonl").near_errors[0]
    assert again == first
    assert Lake(folder / "b.jsonl.curate" / "lake").head().seq == head.seq
    other = measured(folder, "b.jsonl", threshold=0.7).near_errors[0]
    assert (other.threshold, other.made_from == first.made_from) == (0.7, False)


def test_bands_that_promise_little_find_little_and_the_report_says_so(folder):
    table = measured(folder, "c.jsonl", bands=1, rows=64)
    error = table.near_errors[0]
    assert error.real[-1].found < 0.5
    assert max(part.found for part in error.planted if part.similarity == 0.8) < 0.1
    assert table.check("dedup_recall").passed  # no less than such bands promise


def test_a_step_that_finds_less_than_its_bands_promise_fails_the_check(folder):
    error = measured(folder, "a.jsonl").near_errors[0]
    missing = error.real[-1].model_copy(update={"found": 0.9, "low": 0.85, "high": 0.94})
    (check,) = recall_check([error.model_copy(update={"real": [missing]})])
    assert not check.passed
    assert "finds 90.0% (85.0% to 94.0%) of pairs of similarity 0.80" in check.message
    (check,) = recall_check([error.model_copy(update={"wrong": 3})])
    assert "3 documents dropped that are less alike" in check.message
    assert recall_check([]) == []


def test_nothing_is_measured_where_nobody_asks(folder):
    assert measured(folder, "d.jsonl", error_sample=0).near_errors == []
