"""Which of several alike documents stays, what counts as equal, and what each kept one stands for."""

import random

import numpy as np
import polars as pl
import pytest

from curate.dedup.components import components
from curate.dedup.normalized import word_digests
from curate.dedup.options import ExactOptions, MinhashOptions
from curate.dedup.weights import read_weights
from curate.engine.plan import make_plan
from curate.engine.run import run_tables
from curate.lake.lake import Lake
from schemas.errors import RecipeError, UsageError
from schemas.recipe import build_recipe
from tests.lakes import run, text, write_jsonl

import pyarrow as pa  # isort: skip

LONG = text(1, 120)
RECIPE = """
name = "alike"
order = ["documents", "filtered", "deduplicated", "corpus"]
[documents.extract]
[filtered.length]
[deduplicated.{step}]
{options}
[sources.old]
files = "old.jsonl"
keep = {{ dump = "string", number = "int" }}
[sources.new]
files = "new.jsonl"
keep = {{ dump = "string", number = "int" }}
"""


def make(folder, step, options, old, new):
    """A recipe of one step over two sources; rows are dicts."""
    folder.mkdir(exist_ok=True)
    write_jsonl(folder / "old.jsonl", old)
    write_jsonl(folder / "new.jsonl", new)
    (folder / "curate.toml").write_text(RECIPE.format(step=step, options=options))
    return folder / "curate.toml"


def verdicts(folder, name="alike"):
    """Verdicts by place, as `old#1`."""
    lake = Lake(folder / "lake")
    rows = lake.read(name, "verdicts/deduplicated").collect()
    places = lake.read(name, "verdicts/documents").select("id", "place").collect()
    named = dict(places.with_columns(pl.col("place").str.replace(".jsonl", "", literal=True)).iter_rows())
    return {
        named[row["id"]]: {**row, "duplicate_of": named.get(row["duplicate_of"], "")}
        for row in rows.to_dicts()
    }


def kept(folder):
    return sorted(place for place, row in verdicts(folder).items() if row["kept"])


def made(folder, step, options, old, new):
    run(make(folder, step, options, old, new))
    return kept(folder)


def row(words, **columns):
    return {"text": words, "dump": "a", "number": 0, **columns}


ALIKE = ([row(LONG, date="2024-01-01")], [row(LONG + " And more.", date="2025-01-01", number=7)])


@pytest.mark.parametrize(
    ("options", "stays"),
    [
        pytest.param(*("", "old#1"), marks=pytest.mark.slow),
        ('keeper = "longest"', "new#1"),
        pytest.param(*('keeper = "newest"', "new#1"), marks=pytest.mark.slow),
        pytest.param(*('keeper = "number DESC"', "new#1"), marks=pytest.mark.slow),
        pytest.param(*('keeper = "number"', "old#1"), marks=pytest.mark.slow),
        pytest.param(*('keeper = "length.words desc"', "new#1"), marks=pytest.mark.slow),
        ('keeper = "LOWER(dump) ASC"', "old#1"),  # equal, so as by first
        ('prefer = ["new"]', "new#1"),
        pytest.param(*('keeper = "newest"\nprefer = ["old"]', "old#1"), marks=pytest.mark.slow),
    ],
)
def test_the_keeper_is_chosen_by_a_rule(tmp_path, options, stays):
    assert made(tmp_path, "minhash", options, *ALIKE) == [stays]
    assert made(tmp_path / "exact", "exact", options, [ALIKE[0][0]], [{**ALIKE[1][0], "text": LONG}]) == (
        [stays] if "words" not in options and "longest" not in options else ["old#1"]
    )


@pytest.mark.slow
def test_stable_keeps_what_the_version_before_kept(tmp_path):
    stable = 'keeper = "stable"'
    assert made(tmp_path, "minhash", stable, [], ALIKE[1]) == ["new#1"]
    assert made(tmp_path, "minhash", stable, *ALIKE) == ["new#1"]  # first would take old#1
    assert made(tmp_path, "minhash", "", *ALIKE) == ["old#1"]


@pytest.mark.slow
def test_when_a_keeper_goes_its_best_duplicate_is_promoted(tmp_path):
    near, nearer = row(LONG + " one two three four"), row(LONG + " one two")
    assert made(tmp_path, "minhash", "", [row(LONG)], [near, nearer]) == ["old#1"]
    assert made(tmp_path, "minhash", "", [], [near, nearer]) == ["new#1"]
    assert verdicts(tmp_path)["new#2"]["duplicate_of"] == "new#1"


@pytest.mark.slow
def test_equal_can_mean_the_words_a_url_or_a_column(tmp_path):
    shouted = LONG.upper().replace(".", "!")
    assert made(tmp_path, "exact", "", [row(LONG)], [row(shouted)]) == ["new#1", "old#1"]
    assert made(tmp_path, "exact", 'by = "normalized"', [row(LONG)], [row(shouted)]) == ["old#1"]
    digits = [row("Chapter 1 of the book")], [row("Chapter 2 of the book")]
    assert made(tmp_path, "exact", 'by = "normalized"', *digits) == ["new#1", "old#1"]
    signs = [row("?!"), row("...")], [row("?!")]
    assert made(tmp_path, "exact", 'by = "normalized"', *signs) == ["old#1", "old#2"]
    pages = [row("a", url="http://a.example/x"), row("b")], [row("c", url="http://a.example/x"), row("d")]
    assert made(tmp_path, "exact", 'by = "url"', *pages) == ["new#2", "old#1", "old#2"]
    numbers = [row("a", number=1)], [row("b", number=1), row("c", number=2)]
    assert made(tmp_path, "exact", 'by = "number"', *numbers) == ["new#2", "old#1"]


@pytest.mark.parametrize("step", ["exact", pytest.param("minhash", marks=pytest.mark.slow)])
def test_within_compares_only_what_shares_a_value(tmp_path, step):
    rows = [row(LONG, dump="a"), row(LONG, dump="b")], [row(LONG, dump="b"), row(LONG, dump="a")]
    assert made(tmp_path, step, 'within = "dump"', *rows) == ["old#1", "old#2"]
    assert made(tmp_path, step, "", *rows) == ["old#1"]


@pytest.mark.parametrize("step", ["exact", pytest.param("minhash", marks=pytest.mark.slow)])
def test_what_is_only_compared_with_is_never_dropped(tmp_path, step):
    rows = [row(LONG), row(LONG)], [row(LONG), row(text(2, 120)), row(text(2, 120))]
    assert made(tmp_path, step, 'against = ["old"]', *rows) == ["new#2", "old#1", "old#2"]
    assert made(tmp_path, step, 'against = ["new"]', *rows) == ["new#1", "new#2", "new#3"]


def test_a_dropped_document_says_what_found_it_and_a_kept_one_what_it_stands_for(tmp_path):
    made(tmp_path, "minhash", 'weights = "fineweb-2"', [row(LONG)], [ALIKE[1][0], row(text(5, 90))])
    found = verdicts(tmp_path)
    gone, stays, alone = found["new#1"], found["old#1"], found["new#2"]
    assert gone["duplicate_of"] == "old#1"
    assert 0.9 < gone["similarity"] < 1
    assert abs(gone["estimate"] - gone["similarity"]) < 0.2
    assert 0 <= gone["band"] < 20
    assert (gone["stands_for"], gone["weight"]) == (0, 0)
    assert (stays["stands_for"], stays["weight"], stays["band"]) == (2, 2, -1)
    assert (alone["stands_for"], alone["weight"]) == (1, 1)


def test_weights_are_a_published_table_or_ones_own():
    sizes = np.array([1, 2, 3, 4, 5, 99, 100, 999, 1000, 10**6])
    assert read_weights("fineweb-2").of(sizes).tolist() == [1, 2, 3, 3, 5, 5, 8, 8, 1, 1]
    assert read_weights({"3": 0.5}).of(sizes[:4]).tolist() == [1, 1, 0.5, 0.5]
    assert read_weights("").of(sizes[:2]).tolist() == [1, 1]
    for wrong in ("fineweb", {"many": 1}, {"0": 1}, {"2": -1}):
        with pytest.raises(ValueError, match=r"fineweb-2|weights are"):
            read_weights(wrong)


@pytest.mark.slow
def test_without_verification_all_goes_that_hangs_together(tmp_path):
    words = [f"w{n}" for n in range(400)]
    chain = [row(" ".join(words[start : start + 300])) for start in range(0, 100, 10)]
    strict = made(tmp_path, "minhash", "threshold = 0.85", chain, [])
    loose = made(tmp_path, "minhash", "threshold = 0.85\nverify = false", chain, [])
    assert len(loose) == 1  # the last shares half of its words with the first
    assert 1 < len(strict) < len(chain)
    for place, verdict in verdicts(tmp_path).items():
        assert verdict["kept"] or verdict["duplicate_of"] == loose[0], place


def test_components_equal_a_slow_search():
    chance = random.Random(5)
    for size in (1, 2, 30, 200):
        pairs = [(chance.randrange(size), chance.randrange(size)) for _ in range(size // 2)]
        rank = np.array(chance.sample(range(size), size))
        found = components(rank, np.array(pairs, np.int64).reshape(-1, 2))
        groups = {n: {n} for n in range(size)}
        for a, b in pairs:
            whole = groups[a] | groups[b]
            groups.update(dict.fromkeys(whole, whole))
        assert found.tolist() == [min(groups[n], key=lambda one: rank[one]) for n in range(size)]


def test_equal_words_have_equal_digests():
    texts = pa.array(["Café Noël", "cafe, NOEL!", "cafe noel 2", "", "...", "noel cafe"], pa.large_string())
    found = word_digests(texts).to_pylist()
    assert found[0] == found[1] != ""
    assert found[3] == found[4] == ""
    assert len(set(found)) == 4
    assert all(len(one) in (0, 32) for one in found)


@pytest.mark.parametrize(
    ("step", "options", "error"),
    [
        ("minhash", {"keeper": "best"}, "best"),
        ("minhash", {"keeper": "gopher_quality.words DESC"}, "gopher_quality"),
        ("minhash", {"within": "dumb"}, "dumb"),
        ("exact", {"by": "urls"}, "urls"),
        ("exact", {"prefer": ["site"]}, 'names "site"'),
        ("exact", {"against": ["site"]}, 'names "site"'),
        ("minhash", {"weights": "fineweb"}, "no table 'fineweb'"),
        ("minhash", {"bands": 20}, "both"),
        ("minhash", {"bands": 20, "rows": 13}, "260"),
        ("minhash", {"threshold": 1.2}, "less than or equal to 1"),
    ],
)
def test_options_that_name_nothing_are_found_before_the_first_document(step, options, error):
    recipe = {
        "name": "alike",
        "order": ["documents", "deduplicated", "corpus"],
        "sources": {"a": {"files": "a.jsonl"}},
    }
    with pytest.raises((RecipeError, UsageError), match=error) as told:
        make_plan(build_recipe({**recipe, "deduplicated": {step: options}}))
    assert told.value.hint


def test_bands_are_chosen_from_threshold_and_recall_or_given():
    assert MinhashOptions().band_shape == (20, 6)
    assert MinhashOptions(bands=14, rows=8).band_shape == (14, 8)
    assert ExactOptions().by == "text"


def test_the_product_tells_what_each_document_stands_for_and_its_weight(tmp_path):
    rows = [row(LONG), row(text(5, 90))], [row(LONG), row(LONG + " And more.")]
    made(tmp_path, "minhash", 'weights = "fineweb-2"', *rows)
    lake = Lake(tmp_path / "lake")
    product = lake.read("alike", "corpus").select("place", "stands_for", "weight").collect().sort("place")
    assert product.get_column("stands_for").to_list() == [3, 1]
    assert product.get_column("weight").to_list() == [3, 1]
    # A document that stood for another is written again when that is gone.
    made(tmp_path, "minhash", "", rows[0], [])
    product = lake.read("alike", "corpus").select("place", "stands_for", "weight").collect()
    assert set(product.get_column("stands_for")) == {1}
    assert set(product.get_column("weight")) == {1}


def test_through_two_tables_a_document_stands_for_all_that_went_for_it(tmp_path):
    write_jsonl(
        tmp_path / "a.jsonl", [row(LONG), row(LONG), row(LONG + " And more."), row(LONG + " And more.")]
    )
    recipe = {
        "name": "alike",
        "order": ["documents", "copies", "near", "corpus"],
        "copies": {"exact": {}},
        "near": {"minhash": {"weights": {"4": 2}}},
        "sources": {"a": {"files": str(tmp_path / "a.jsonl")}},
    }
    run_tables(make_plan(build_recipe(recipe)), tmp_path / "lake", workers=1)
    product = Lake(tmp_path / "lake").read("alike", "corpus").collect()
    assert product.select("stands_for", "weight").rows() == [(4, 2.0)]
