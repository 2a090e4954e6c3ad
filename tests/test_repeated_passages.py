"""The step `repeated_passages` in a recipe: menus and copied paragraphs go, their first copy stays."""

import polars as pl
import pytest

from curate.engine.plan import make_plan
from curate.lake.lake import Lake
from schemas.errors import RecipeError
from schemas.recipe import build_recipe, load_recipe
from tests.lakes import digests, run, text, write_jsonl

FOOTER = "Copyright of the harbour office. All rights reserved."
COPIED = (
    " ".join(f"{word} word number {n}" for n, word in enumerate(["A", "copied", "sentence", "of"] * 6)) + "."
)
RECIPE = """
name = "pages"
order = ["documents", "passages", "corpus"]
[documents.extract]
[passages.repeated]
use = "repeated_passages"
{options}
[sources.files]
files = "docs.jsonl"
"""


def make(folder, texts, options):
    write_jsonl(folder / "docs.jsonl", [{"text": one} for one in texts])
    (folder / "curate.toml").write_text(RECIPE.format(options=options))
    return folder / "curate.toml"


def corpus(folder):
    rows = Lake(folder / "lake").read("pages", "corpus").collect()
    number = pl.col("place").str.extract(r"#(\d+)$").cast(pl.Int64)
    return rows.sort(number).get_column("text").to_list()


def with_footer(count):
    return [f"{text(n, 30)}\n{FOOTER}" for n in range(count)]


def test_a_line_that_stands_in_many_documents_stays_in_the_first_one(tmp_path):
    run(make(tmp_path, with_footer(10), ""))
    first, *others = corpus(tmp_path)
    assert first.endswith(FOOTER)
    assert [FOOTER in one for one in others] == [False] * 9
    assert others == [text(n, 30) for n in range(1, 10)]


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ('keep = "none"', 0),
        pytest.param(*("documents = 11", 10), marks=pytest.mark.slow),
        ('edit = "mark"', 10),
        pytest.param(*("shortest = 100", 10), marks=pytest.mark.slow),
        pytest.param(*('find = "paragraphs"', 10), marks=pytest.mark.slow),
    ],
)
def test_options_say_what_counts_and_what_becomes_of_it(tmp_path, options, left):
    run(make(tmp_path, with_footer(10), options))
    assert sum(FOOTER in one for one in corpus(tmp_path)) == left


def test_a_copied_span_stays_where_it_stands_first(tmp_path):
    texts = [f"{text(1, 40)} {COPIED} {text(2, 40)}", text(3, 80), f"{text(4, 40)} {COPIED} {text(5, 40)}"]
    run(make(tmp_path, texts, 'find = "spans"\nleast = 100'))
    first, other, cut = corpus(tmp_path)
    assert COPIED in first
    assert other == texts[1]
    assert cut.split() == f"{text(4, 40)} {text(5, 40)}".split()


def test_what_was_found_is_measured_and_can_be_judged(tmp_path):
    rule = 'edit = "mark"\ndrop.mostly_repeated = "repeated_share > 0.5"'
    recipe = make(tmp_path, [*with_footer(9), f"Short.\n{FOOTER}"], rule)
    run(recipe)
    assert len(corpus(tmp_path)) == 9
    lake = Lake(tmp_path / "lake")
    table = make_plan(load_recipe(recipe)).table("passages")
    measured = lake.content("passages", table.fingerprint, table.schema).scan()
    places = (
        measured.select(pl.col("repeated").struct.field("places")).collect().get_column("places").to_list()
    )
    assert f"6-{7 + len(FOOTER)}" in places  # with the end of the line before it


@pytest.mark.slow
def test_a_second_run_measures_nothing_and_a_new_document_only_itself(tmp_path):
    recipe = make(tmp_path, with_footer(10), "")
    run(recipe)
    before = digests(tmp_path / "lake")
    assert run(recipe).table("passages").measured == 0
    assert digests(tmp_path / "lake") == before
    make(tmp_path, with_footer(11), "")
    assert run(recipe).table("passages").measured == 1
    assert sum(FOOTER in one for one in corpus(tmp_path)) == 1


def test_the_step_is_alone_in_its_table():
    recipe = {
        "name": "pages", "order": ["documents", "filtered", "corpus"], "sources": {"a": {"files": "a.jsonl"}},
        "filtered": {"length": {}, "repeated_passages": {}},
    }  # fmt: skip
    with pytest.raises(RecipeError, match="mixes repeated_passages") as told:
        make_plan(build_recipe(recipe))
    assert "order = " in told.value.hint
