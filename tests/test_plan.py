"""What if: `curate plan` foretells what a run with other rules makes, from what is stored."""

import json

import polars as pl
import pytest

from curate.cli import main
from curate.engine.effects import _in_tokens
from curate.engine.plan import make_plan
from curate.engine.preview import preview
from curate.lake.lake import Lake
from schemas.recipe import load_recipe
from tests.lakes import RECIPE, documents, make_recipe, run, text, write_jsonl

SHORT = "filtered.length.drop.too_short"


def rules(sql):
    return {"filtered": {"length": {"drop": {"too_short": sql}}}}


def foretold(recipe, overrides=None, lake=None):
    return preview(make_plan(load_recipe(recipe, overrides or {})), lake or recipe.parent / "lake")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """A lake of 60 documents of 30 to 89 words, with copies of a few."""
    folder = tmp_path_factory.mktemp("plan")
    rows = [{"text": text(n, 30 + n), "title": f"Page {n}", "topic": "sea"} for n in range(60)]
    rows += [{"text": rows[n]["text"], "title": f"Copy of {n}", "topic": "land"} for n in (3, 40)]
    write_jsonl(folder / "docs.jsonl", rows)
    made = make_recipe(folder)
    run(made)
    return made


def test_each_rule_tells_what_it_would_take_and_give_back(recipe):
    found = foretold(recipe, rules("words < 40"))
    filtered = found.tables[1]
    (rule,) = filtered.rules
    assert (rule.step, rule.reason, rule.was, rule.rule) == (
        "length",
        "too_short",
        "words < 10",
        "words < 40",
    )
    assert (rule.dropped_before, rule.dropped, rule.goes, rule.comes_back) == (
        0,
        11,
        11,
        0,
    )  # 30 to 39 words, and a copy
    assert (filtered.goes, found.tables[-1].goes) == (11, 10)


def test_a_rule_that_is_taken_away_gives_back_what_it_took(tmp_path):
    recipe = make_recipe(tmp_path)
    run(recipe)
    found = foretold(recipe, {"filtered": {"length": False}})
    (rule,) = found.tables[1].rules
    assert (rule.was, rule.rule, rule.comes_back) == ("words < 10", "", 3)


def test_at_the_edge_are_the_nearest_on_both_sides(recipe):
    edge = foretold(recipe, rules("words < 60")).edge
    assert len(edge) == 20
    assert [one.value for one in edge if one.fails] == list(range(59, 49, -1))
    assert [one.value for one in edge if not one.fails] == [60, 61, 62, 63, 64, 65, 66, 67, 68, 69]
    assert {(one.rule, one.column, one.op, one.limit) for one in edge} == {
        ("length.too_short", "words", "<", 60.0)
    }
    assert all(one.was_kept and one.kept != one.fails for one in edge)
    assert foretold(recipe).edge == []


@pytest.mark.slow
def test_what_is_foretold_is_what_a_run_makes(recipe, tmp_path):
    from shutil import copytree

    copytree(recipe.parent / "lake", tmp_path / "lake")
    found = foretold(recipe, rules("words < 50"), tmp_path / "lake")
    report = run(recipe, tmp_path / "lake", overrides=rules("words < 50"))
    assert {table.table: (table.rows, table.kept) for table in found.tables} == {
        table.table: (table.rows, table.kept) for table in report.tables[1:]
    }
    assert report.table("corpus").gone == found.tables[-1].goes == 20
    corpus = Lake(tmp_path / "lake").read("harbour", "corpus").collect()
    amounts = dict(
        corpus.group_by("language").agg(pl.len(), pl.col("chars").sum()).rows_by_key("language", unique=True)
    )
    assert {one.language: (one.documents, one.amount) for one in found.languages if one.documents} == amounts
    assert foretold(recipe, rules("words < 50"), tmp_path / "lake").tables[-1].goes == 0


def test_dropping_a_keeper_brings_its_twin_back(recipe, tmp_path):
    from shutil import copytree

    copytree(recipe.parent / "lake", tmp_path / "lake")
    away = {"filtered": {"length": {"drop": {"not_this": "title = 'Page 40'"}}}}
    found = {table.table: table for table in foretold(recipe, away, tmp_path / "lake").tables}
    assert (found["filtered"].goes, found["deduplicated"].comes_back, found["corpus"].comes_back) == (1, 1, 1)
    assert ("docs.jsonl#62", "comes back: duplicate") in found["deduplicated"].sample
    report = run(recipe, tmp_path / "lake", overrides=away)
    assert report.table("deduplicated").came_back == 1
    places = Lake(tmp_path / "lake").read("harbour", "corpus").collect().get_column("place").to_list()
    assert "docs.jsonl#62" in places
    assert "docs.jsonl#41" not in places


def test_what_a_run_would_measure_and_write_is_reckoned_from_the_last_one(recipe):
    same = foretold(recipe)
    assert (same.work, same.bytes) == ([], 0)
    stricter = foretold(recipe, rules("words < 40"))
    assert stricter.work == []
    assert stricter.bytes > 1000
    option = {"filtered": {"repair": {"unescape_html": False}}}
    (work, *_) = foretold(recipe, option).work
    assert (work.table, work.rows) == ("filtered", 62)
    assert work.seconds > 0
    assert work.bytes > 1000
    assert 10_000_000 < stricter.memory_bytes < 10_000_000_000


def test_tokens_that_were_not_made_yet_are_reckoned_at_the_rate_of_their_language():
    before = pl.DataFrame({"text_digest": ["a", "b"], "chars": [100, 90], "language": ["en", "de"]})
    after = pl.DataFrame(
        {"text_digest": ["a", "x", "y"], "chars": [100, 50, 19], "language": ["en", "en", "fr"]}
    )
    counts = pl.DataFrame(
        {"text_digest": ["a", "b"], "count": [20, 18]}, schema_overrides={"count": pl.Int32}
    )
    one, two = _in_tokens(before, after, counts)
    assert one.get_column("chars").to_list() == [20, 18]
    assert two.get_column("chars").to_list() == [20, 10, 4]


# The command.


def answer(capsys, *arguments, code=0):
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == code
    return capsys.readouterr().out


def test_the_command_shows_rules_edge_languages_and_work(recipe, capsys):
    shown = answer(capsys, "plan", recipe, "--lake", recipe.parent / "lake", "--set", f"{SHORT}=words < 40")
    assert "filtered.length.too_short" in shown
    assert "docs.jsonl#10  words 39      -1  goes" in shown
    assert "docs.jsonl#11  words 40       0  kept" in shown
    assert "A run would write about " in shown
    assert shown.splitlines()[-1].startswith("index: ")
    found = json.loads(answer(
        capsys, "plan", recipe, "--lake", recipe.parent / "lake", "--set", f"{SHORT}=words < 40", "--json",
    ))  # fmt: skip
    assert {
        "recipe",
        "runs_code",
        "tables",
        "edge",
        "unit",
        "languages",
        "work",
        "seconds",
        "memory_bytes",
        "bytes",
        "index",
    } <= set(found)


def test_another_recipe_is_judged_over_what_stands_of_the_first(recipe, capsys):
    other = recipe.parent / "other.toml"
    other.write_text(
        RECIPE.replace('"harbour"', '"other"') + '[filtered.length]\ndrop.too_short = "words < 40"\n'
    )
    found = json.loads(
        answer(capsys, "plan", recipe, "--recipe", other, "--lake", recipe.parent / "lake", "--json")
    )
    assert found["recipe"]["name"] == "harbour"
    assert found["tables"][1]["rules"][0]["goes"] == 11
    packaged = json.loads(
        answer(capsys, "plan", recipe, "--recipe", "web", "--lake", recipe.parent / "lake", "--json")
    )
    assert [table["would_measure"] for table in packaged["tables"]] == [62]  # it extracts in another way
    assert packaged["recipe"]["sources"]["files"]["files"] == "docs.jsonl"


@pytest.mark.slow
def test_where_there_is_no_recipe_the_stored_one_is_taken(tmp_path, capsys, monkeypatch):
    write_jsonl(tmp_path / "posts.jsonl", documents(20))
    monkeypatch.chdir(tmp_path)
    answer(capsys, "clean", "posts.jsonl", "-o", "kept.jsonl", "--recipe", "docs", "--workers", 1)
    home = "kept.jsonl.curate/lake"
    shown = answer(capsys, "plan", "--lake", home, "--set", f"{SHORT}=words < 1")
    assert "comes back: too_short" in shown
    why = answer(capsys, "why", "posts.jsonl#4", "--lake", home)
    assert f"curate plan --set 'filtered.length.drop.too_short=words < 2' --lake {home}\n" in why
    assert answer(capsys, "plan", "--lake", "nowhere", code=2) == ""


def test_a_source_that_is_gone_takes_its_documents_and_a_new_one_is_named(recipe, capsys):
    moved = RECIPE.replace("[sources.files]", "[sources.others]")
    recipe.with_name("moved.toml").write_text(moved)
    shown = answer(capsys, "plan", recipe.with_name("moved.toml"), "--lake", recipe.parent / "lake")
    assert "The source others was never asked" in shown
    assert "The source files is gone, and so are its documents." in shown
    assert "0 would come back; 60 would go" in shown
