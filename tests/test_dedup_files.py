"""`curate dedup`: files or lakes in, what is new out."""

import json

import polars as pl
import pytest

from curate.cli import main
from curate.engine.dedup_files import dedup
from schemas.errors import CurateError, RecipeError, UsageError
from tests.lakes import make_recipe, run, text, write_jsonl

OLD = [{"body": text(n, 90), "n": n} for n in range(6)]
# Like 4 and 5 of OLD, three of their own, and one that is like the last of these.
NEW = [{"body": text(n, 90) + " More words.", "n": 100 + n} for n in range(4, 9)]
NEW.append({"body": text(8, 90), "n": 200})
BODY = {"text": "body"}


@pytest.fixture
def sides(tmp_path):
    write_jsonl(tmp_path / "old.jsonl", OLD)
    write_jsonl(tmp_path / "new.jsonl", NEW)
    return tmp_path


def rows(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def numbers(file):
    return [row["n"] for row in rows(file)]


@pytest.mark.parametrize(
    ("drop", "left"),
    [
        ("new", [106, 107, 108]),
        pytest.param("old", [0, 1, 2, 3], marks=pytest.mark.slow),
        pytest.param("both", [106, 107, 108, 0, 1, 2, 3, 4, 5], marks=pytest.mark.slow),
    ],
)
def test_a_side_is_compared_with_another_and_dropped_from(sides, drop, left):
    report = dedup(
        [sides / "new.jsonl"], sides / "out.jsonl", against=[sides / "old.jsonl"], drop=drop, columns=BODY, workers=1
    )  # fmt: skip
    assert numbers(sides / "out.jsonl") == left
    assert report.table("corpus").kept == len(left)
    assert all(check.passed for table in report.tables for check in table.checks)
    originals = {row["n"]: row for row in OLD + NEW}
    assert rows(sides / "out.jsonl") == [originals[n] for n in left]


def test_what_was_dropped_names_what_stands_for_it(sides):
    dedup([sides / "new.jsonl"], sides / "out.jsonl", against=[sides / "old.jsonl"], columns=BODY, workers=1)
    dropped = pl.read_parquet(sides / "out.jsonl.curate" / "dropped.parquet")
    assert [place.rpartition("/")[2] for place in dropped.get_column("place")] == [
        "new.jsonl#1", "new.jsonl#2", "new.jsonl#6",
    ]  # fmt: skip
    assert set(dropped.get_column("reason")) == {"near_duplicate"}
    assert dropped.get_column("similarity").min() > 0.9
    assert "" not in set(dropped.get_column("duplicate_of"))


@pytest.mark.slow
def test_one_side_alone_keeps_the_first_of_what_is_alike(sides):
    dedup([sides / "old.jsonl", sides / "new.jsonl"], sides / "out.jsonl", columns=BODY, workers=1)
    assert sorted(numbers(sides / "out.jsonl")) == [
        0,
        1,
        2,
        3,
        104,
        105,
        106,
        107,
        108,
    ]  # new.jsonl comes first
    longest = {"keeper": "longest"}
    dedup([sides / "new.jsonl"], sides / "long.jsonl", options=longest, columns=BODY, workers=1)
    assert 108 in numbers(sides / "long.jsonl")


@pytest.mark.slow
def test_lakes_are_compared_like_files(sides):
    run(make_recipe(sides / "made", count=8))
    lake = sides / "made" / "lake"
    texts = pl.read_delta(str(lake / "harbour" / "corpus")).get_column("text").to_list()
    copies = [{"body": one, "n": n} for n, one in enumerate(texts)]
    write_jsonl(sides / "copies.jsonl", [*copies, {"body": text(77, 90), "n": 77}])
    old = [lake, sides / "old.jsonl"]
    dedup(
        [sides / "copies.jsonl", sides / "new.jsonl"], sides / "a.jsonl", against=old, columns=BODY, workers=1
    )
    assert sorted(numbers(sides / "a.jsonl")) == [77, 106, 107, 108]
    dedup([lake], sides / "none.parquet", against=[lake / "harbour"], workers=1)
    assert pl.read_parquet(sides / "none.parquet").is_empty()
    dedup([lake], sides / "whole.parquet", workers=1)
    assert sorted(pl.read_parquet(sides / "whole.parquet").get_column("text")) == sorted(texts)
    with pytest.raises(UsageError, match="one result"):
        dedup([lake, sides / "new.jsonl"], sides / "b.jsonl", workers=1)


@pytest.mark.slow
@pytest.mark.parametrize(("given", "left"), [([], 0), ([1] * 50, 1), (list(range(50)), 50)])
def test_an_empty_an_equal_and_a_distinct_corpus(tmp_path, given, left):
    write_jsonl(tmp_path / "in.jsonl", [{"text": text(seed)} for seed in given])
    dedup([tmp_path / "in.jsonl"], tmp_path / "out.jsonl", workers=1)
    assert len(rows(tmp_path / "out.jsonl")) == left


@pytest.mark.slow
def test_pages_without_text_are_copies_of_each_other_and_of_nothing_else(tmp_path):
    given = ["", text(1), "", " ", "", text(2), "\n"]
    write_jsonl(tmp_path / "in.jsonl", [{"text": one, "n": n} for n, one in enumerate(given)])
    dedup([tmp_path / "in.jsonl"], tmp_path / "out.jsonl", workers=1)
    assert numbers(tmp_path / "out.jsonl")[:3] == [0, 1, 3]


@pytest.mark.parametrize(
    ("wrong", "error", "kind"),
    [
        ({"options": {"threshold": 1.5}}, "threshold = 1.5", RecipeError),
        ({"options": {"threshold": -0.1}}, "threshold = -0.1", RecipeError),
        ({"options": {"bands": 40, "rows": 8}}, "320 slots", RecipeError),
        ({"options": {"within": "dump"}}, "dump", RecipeError),
        ({"drop": "old"}, "one side", UsageError),
        ({"columns": {"text": "txt"}}, "txt", CurateError),
        ({"against": ["nowhere.jsonl"]}, "nowhere.jsonl", CurateError),
    ],
)
def test_wrong_use_is_told_before_anything_is_written(sides, wrong, error, kind):
    with pytest.raises(kind, match=error) as told:
        dedup([sides / "new.jsonl"], sides / "out.jsonl", workers=1, **{"columns": BODY, **wrong})
    assert told.value.hint
    assert not (sides / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("given", "found", "todo"),
    [
        ("--threshold 1.5", "threshold = 1.5: Input should be less than or equal to 1", "similarity"),
        ("--threshold nan", "threshold = nan", "similarity"),
        ("--threshold high", 'convert "high"', "--help"),
        ("--ngram 0", "ngram = 0: Input should be greater than or equal to 1", "shingle"),
        ("--preset fineweb2", "no preset 'fineweb2'", 'Did you mean "fineweb-2"'),
        ("--similarity cosine", '"jaccard", "containment"', "--help"),
        ("--similarity containment --preset fineweb", "give verify = true", "stages.md"),
        ("--longer 3", "jaccard does not look for", "--similarity containment"),
        ("--similarity containment --longer 100", "Jaccard similarity of 0.008", "lower longer"),
        ("--keeper nonsense", "names 'nonsense', which is no column", "longest"),
        ("--within dump", "names 'dump', which is no column", "Known: "),
        ("--weights much --add weight", "no table 'much'", "fineweb-2"),
        ("--weights fineweb-2", "of which nothing is written", "--add weight"),
        ("--against nowhere.jsonl", "no file ", "Did you mean"),
        ("--drop old", "one side", "--against OLD"),
        ("--columns text=txt", 'no column "txt" for text', 'Did you mean "text"'),
        ("--memory 3", "--memory 3 is less", "64MB"),
        ("--limit -3", '"-3" for --limit', "--help"),
        ("--workers 0", '"0" for --workers', "--help"),
    ],
)
def test_wrong_use_is_told_on_the_command_line_with_what_to_do(
    tmp_path, monkeypatch, capsys, given, found, todo
):
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "new.jsonl", [{"text": text(1)}])
    assert main(["dedup", "new.jsonl", "-o", "out.jsonl", *given.split()]) in (1, 2)
    told = " ".join(capsys.readouterr().err.split())
    message, hint = told[told.index("error: ") :].split(" hint: ")
    assert found in message
    assert "{" not in message  # no dump of all options
    assert todo in hint
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.slow
def test_a_lake_of_other_parameters_is_compared_with_by_its_texts_and_a_batch_that_is_there_leaves_nothing(
    sides,
):
    options = "[deduplicated.minhash]\nthreshold = 0.6\nngram = 3\nslots = 256\n"
    recipe = sides / "other.toml"
    recipe.write_text(
        f'name = "other"\nextends = "dedup"\n[sources.files]\nfiles = "old.jsonl"\ncolumns = {{ text = "body" }}\n{options}'
    )
    run(recipe)
    dedup([sides / "old.jsonl"], sides / "out.jsonl", against=[sides / "lake"], columns=BODY, workers=1)
    assert rows(sides / "out.jsonl") == []
    report = dedup(
        [sides / "new.jsonl"], sides / "new-out.jsonl", against=[sides / "lake"], columns=BODY, workers=1
    )
    assert numbers(sides / "new-out.jsonl") == [106, 107, 108]
    assert all(check.passed for table in report.tables for check in table.checks)


@pytest.mark.slow
def test_a_text_that_stands_in_a_longer_one_goes_where_containment_is_asked_for(tmp_path, capsys):
    short, long = text(1, 150), f"{text(1, 150)} {text(2, 120)}"
    write_jsonl(tmp_path / "in.jsonl", [{"text": short}, {"text": long}, {"text": text(3, 150)}])
    asked = ["--similarity", "containment", "--workers", "1"]
    assert main(["dedup", str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "out.jsonl"), *asked]) == 0
    assert [row["text"] for row in rows(tmp_path / "out.jsonl")] == [long, text(3, 150)]


def test_explain_shows_the_curves_and_needs_no_files(capsys):
    assert main(["dedup", "--explain", "--threshold", "0.7", "--json"]) == 0
    curves = json.loads(capsys.readouterr().out)
    assert curves["fineweb"]["probability"][-5] == 0.9235
    mine = dict(
        zip(curves["these options"]["similarity"], curves["these options"]["probability"], strict=True)
    )
    assert mine[0.7] >= 0.995
    assert main(["dedup", "--explain", "--preset", "fineweb"]) == 0
    assert "14 x 8" in capsys.readouterr().out
    assert main(["dedup", "--explain", "--similarity", "containment", "--longer", "1.5", "--json"]) == 0
    curves = json.loads(capsys.readouterr().out)
    contained = dict(zip(curves["fineweb"]["similarity"], curves["containment"]["1.5"], strict=True))
    assert contained[0.8] >= 0.995
    assert main(["dedup", "--explain", "--preset", "fine"]) == 2
    assert "fineweb" in capsys.readouterr().err
    assert main(["dedup"]) == 2


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_the_result_tells_on_request_what_each_row_stands_for(sides, suffix):
    new, out = sides / f"new.{suffix}", sides / f"out.{suffix}"
    pl.DataFrame(NEW).write_parquet(new) if suffix == "parquet" else write_jsonl(new, NEW)
    dedup([new], out, columns=BODY, add=["stands_for", "weight"], options={"weights": "fineweb-2"}, workers=1)
    found = pl.read_parquet(out) if suffix == "parquet" else pl.read_ndjson(out)
    assert found.columns == ["body", "n", "stands_for", "weight"]
    assert found.get_column("stands_for").to_list() == [1, 1, 1, 1, 2]
    assert found.get_column("weight").to_list() == [1, 1, 1, 1, 2]


@pytest.mark.parametrize(
    ("rows", "add", "error"),
    [
        ([{"body": text(1, 90), "weight": 3}], "weight", "weight of its own"),
        ([{"body": text(1, 90)}], "wieght", "no such column"),
    ],
)
def test_a_column_that_is_there_or_that_there_is_not_cannot_be_added(tmp_path, rows, add, error):
    write_jsonl(tmp_path / "new.jsonl", rows)
    with pytest.raises(UsageError, match=error) as told:
        dedup([tmp_path / "new.jsonl"], tmp_path / "out.jsonl", columns=BODY, add=[add], workers=1)
    assert told.value.hint
    assert not (tmp_path / "out.jsonl").exists()
