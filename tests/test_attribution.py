"""Attribution: which rules fail together, who is dropped, and which steps match nothing."""

import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import html as lxml_html

from curate.engine.attribution import drop_rates, fail_together, wilson
from curate.lake.lake import Lake
from curate.reports.html import render
from schemas.errors import RecipeError
from schemas.report import Reason, RunReport, TableReport
from tests.lakes import RECIPE, make_recipe, run, text, write_jsonl


def rule(name):
    step, reason = name.split(".")
    return Reason(step=step, reason=reason, rule="x > 1", failed=9)


def test_pairs_of_rules_are_counted_over_the_documents_that_failed_both():
    failed = [["a.x", "a.y", "b.z"], ["a.x", "a.y"], ["a.x"], [], ["a.y", "b.z"], ["a.x", "a.y"]]
    verdicts = pl.DataFrame({"failed": failed}, schema={"failed": pl.List(pl.String)})
    found = [
        (pair.one, pair.two, pair.documents)
        for pair in fail_together(verdicts, [rule("a.y"), rule("a.x"), rule("b.z")])
    ]
    assert found == [("a.y", "a.x", 3), ("a.y", "b.z", 2), ("a.x", "b.z", 1)]


@given(st.lists(st.lists(st.sampled_from("abcd"), unique=True), max_size=30))
def test_pairs_agree_with_a_count_by_hand(failed):
    names = [[f"s.{one}" for one in sorted(each)] for each in failed]
    verdicts = pl.DataFrame({"failed": names}, schema={"failed": pl.List(pl.String)})
    reasons = [rule(f"s.{one}") for one in "abcd"]
    found = {(pair.one[2:], pair.two[2:]): pair.documents for pair in fail_together(verdicts, reasons)}
    by_hand = {
        (a, b): sum(a in each and b in each for each in failed) for a in "abcd" for b in "abcd" if a < b
    }
    assert found == {pair: count for pair, count in by_hand.items() if count}


def test_the_interval_is_wilsons():
    # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3.
    for hits, of, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson(hits, of) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(0, 1000), st.integers(1, 1000))
def test_an_interval_holds_its_share_and_stays_between_0_and_1(hits, of):
    hits = min(hits, of)
    low, high = wilson(hits, of)
    assert 0 <= low <= hits / of <= high <= 1


def test_a_group_that_loses_more_than_the_whole_is_flagged():
    rows = pl.DataFrame({"topic": ["sea"] * 100 + ["land"] * 100 + ["air"] * 5})
    kept = pl.Series([False] * 60 + [True] * 40 + [False] * 20 + [True] * 80 + [False] * 2 + [True] * 3)
    found = {rate.value: rate for rate in drop_rates(rows, kept, {"topic": pl.col("topic")})}
    assert {name: (rate.rows, rate.dropped) for name, rate in found.items()} == {
        "land": (100, 20), "sea": (100, 60), "air": (5, 2),
    }  # fmt: skip
    assert [name for name, rate in found.items() if rate.differs] == ["land", "sea"]  # five say nothing
    assert found["sea"].rate == 0.6


def test_many_groups_are_told_as_the_largest_and_the_others():
    rows = pl.DataFrame({"author": [f"author {n}" for n in range(30) for _ in range(n + 1)]})
    rates = drop_rates(rows, pl.Series([True] * len(rows)), {"author": pl.col("author")})
    assert len(rates) == 12
    assert (rates[0].value, rates[-1].value) == ("author 29", "19 others")
    assert sum(rate.rows for rate in rates) == len(rows)


def test_one_group_says_nothing():
    rows = pl.DataFrame({"source": ["a"] * 10})
    assert drop_rates(rows, pl.Series([True] * 10), {"source": pl.col("source")}) == []


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """1,800 documents of which those about the sea are mostly short, with a rule that never matches."""
    folder = tmp_path_factory.mktemp("attribution")
    rows = [
        {
            "text": text(n, 12) if n % 2 and n % 3 else text(n, 30),
            "topic": "sea a@b.example" if n % 2 else "land",
        }
        for n in range(1800)
    ]
    write_jsonl(folder / "docs.jsonl", rows)
    recipe = make_recipe(
        folder,
        f'{RECIPE}\n[filtered.length]\ndrop.too_short = "words < 20"\ndrop.few_chars = "chars < 100"\n'
        '[filtered.gopher_quality]\ndrop.hashes = "hash_ratio > 0.9"\n[report]\nby = ["topic"]\n',
    )
    run(recipe)
    return folder / "lake"


def report_of(lake, table):
    home = Lake(lake)
    return TableReport.model_validate_json(home.runs.standing(home.head(), "harbour", [table])[table].report)


def test_a_run_tells_which_rules_fail_together_and_who_is_dropped(lake):
    report = report_of(lake, "filtered")
    (pair,) = report.fail_together
    short, few = (
        next(one for one in report.reasons if one.reason == name) for name in ("too_short", "few_chars")
    )
    assert (pair.one, pair.two) == ("length.too_short", "length.few_chars")
    assert pair.documents == short.failed + few.failed - (report.rows - report.kept)
    topics = {rate.value: rate for rate in report.drop_rates if rate.by == "topic"}
    assert set(topics) == {"land", "sea <EMAIL_1>"}  # what stands in a column of one's own is masked
    assert topics["land"].dropped == 0
    assert topics["sea <EMAIL_1>"].dropped == 600
    assert topics["land"].differs
    assert {rate.by for rate in report.drop_rates} <= {"topic", "language"}  # there is one source


def test_a_histogram_counts_what_failed_its_rules(lake):
    report = report_of(lake, "filtered")
    failed = {(one.step, one.reason): one.failed for one in report.reasons}
    for histogram in report.histograms:
        (name,) = {limit.reason for limit in histogram.limits}
        assert sum(histogram.counts) == 1800
        assert sum(histogram.failed) == failed[histogram.step, name]


def test_a_step_that_matches_none_of_many_is_a_warning(lake):
    notes = {table: report_of(lake, table).notes for table in ("filtered", "deduplicated", "corpus")}
    assert [note.split(" matched none of ")[0] for note in notes["filtered"]] == ["gopher_quality"]
    assert "1,800 documents" in notes["filtered"][0]
    assert [note.split()[0] for note in notes["corpus"]] == ["anonymize"]


def test_a_step_that_matches_none_of_a_few_is_none(tmp_path):
    recipe = make_recipe(tmp_path, RECIPE.replace("docs.jsonl", "few.jsonl"))
    write_jsonl(tmp_path / "few.jsonl", [{"text": text(n)} for n in range(20)])
    assert [table.notes for table in run(recipe).tables] == [[]] * 5


def test_a_group_that_no_document_has_is_an_error(tmp_path):
    recipe = make_recipe(tmp_path, f'{RECIPE}\n[report]\nby = ["topik"]\n')
    with pytest.raises(RecipeError, match=r'\[report\] by names "topik"') as error:
        run(recipe)
    assert 'Did you mean "topic"?' in error.value.hint


def test_the_page_shows_pairs_and_groups(lake):
    page = render(RunReport(name="harbour", run="r", tables=[report_of(lake, "filtered")]))
    words = " ".join(" ".join(lxml_html.document_fromstring(page).itertext()).split())
    assert "What fails together" in words
    assert "filtered by topic" in words
    assert "sea <EMAIL_1> 900 documents 67 % more" in words
    assert "land 900 documents 0 % less" in words


def test_dagster_stores_the_same_numbers(lake):
    pytest.importorskip("dagster")
    from curate.engine.plan import make_plan
    from curate.engine.progress import Progress
    from curate.engine.session import Session
    from curate.engine.workers import Workers
    from dagster_defs.metadata import metadata_of
    from schemas.recipe import load_recipe

    report, home = report_of(lake, "filtered"), Lake(lake)
    plan = make_plan(load_recipe(lake.parent / "curate.toml"))
    stored = metadata_of(Session(home, plan, Workers(1), Progress()), home.head(), "filtered", report)
    assert stored["fail together"].records[0].data == report.fail_together[0].model_dump()
    assert [record.data["rows"] for record in stored["drop rates"].records] == [
        rate.rows for rate in report.drop_rates
    ]
    assert json.loads(json.dumps(stored["histograms"].data)) == [
        one.model_dump() for one in report.histograms
    ]
