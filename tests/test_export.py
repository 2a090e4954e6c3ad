"""Training sets: nothing leaks, nothing is lost, the same version has the same bytes, and others can load them."""

import csv
import gzip
import hashlib
import json
import random
import re
import shutil
from collections import Counter

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from curate.cli import main
from curate.engine.plan import make_plan
from curate.engine.run import session_of
from curate.export import shuffle
from curate.export.card import size_category
from curate.export.clusters import components
from curate.export.evaluation import EvaluationFile, evaluation_files, runs_of_words
from curate.export.make import make_export, make_exports
from curate.export.measure import cut, measure_shard
from curate.export.mix import with_copies, with_splits
from curate.lake.care import gc, verify
from curate.lake.lake import Lake
from schemas.errors import LakeError, RecipeError, RuleError, SourceError, UsageError
from schemas.export import TextExport
from schemas.recipe import load_recipe
from tests.lakes import WORDS, run, run_whole, text, write_jsonl

checked = settings(max_examples=60, deadline=None)
FAMILIES = 40
RECIPE = """
name = "harbour"

[sources.sea]
files = "sea.jsonl"
license = "CC0"
keep = { topic = "string", stars = "int" }

[sources.land]
files = "land.jsonl"

[deduplicated.minhash]
threshold = 0.8

[tokens.tokenize]
tokenizer = "tokenizer.json"
"""


def family(number):
    """Three texts: the first and the third are like the second, and not like each other."""
    chance = random.Random(f"family {number}")
    words = [f"{chance.choice(WORDS)}{number}" for _ in range(100)]
    other = [f"{chance.choice(WORDS)}x{number}" for _ in range(16)]
    second = words[:92] + other[:8]
    return [" ".join(words), " ".join(second), " ".join(other[8:] + second[8:])]


def write_sources(folder):
    sea = [
        {"text": member, "title": f"Family {number}", "topic": f"t{number}", "stars": number}
        for number in range(FAMILIES)
        for member in family(number)
    ]
    write_jsonl(folder / "sea.jsonl", sea)
    land = [{"text": text(5_000 + n, 30 + n), "title": f"Land {n}"} for n in range(60)]
    write_jsonl(folder / "land.jsonl", land)
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "[SEP]": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A folder with a recipe, its sources and its lake."""
    folder = tmp_path_factory.mktemp("grown")
    write_sources(folder)
    (folder / "curate.toml").write_text(RECIPE)
    run_whole(folder / "curate.toml")
    return folder


@pytest.fixture
def place(grown, tmp_path):
    """A copy of it that a test may change."""
    shutil.copytree(grown, tmp_path / "place")
    return tmp_path / "place"


def export(folder, name="set", workers=1, pairs=None, seq=0, **options):
    """Make [exports.NAME] of the recipe in a folder."""
    recipe = load_recipe(folder / "curate.toml", {"exports": {name: options}})
    with session_of(make_plan(recipe), folder / "lake", workers=workers) as session:
        return make_export(session, name, pairs=pairs, seq=seq)


def rows_of(made, split="*", ending="parquet"):
    files = sorted((made.folder / "data").glob(f"{split}-*.{ending}"))
    return pl.concat([pl.read_parquet(file) for file in files]) if files else pl.DataFrame()


def corpus(folder):
    return Lake(folder / "lake").read("harbour", "corpus").collect()


def hashes(folder):
    """SHA-256 of every file below a folder."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# What is in an export.


def test_every_document_is_there_once_with_its_metadata(place):
    made = export(place)
    rows, stands = rows_of(made), corpus(place)
    assert rows.columns == [
        "id",
        "text",
        "title",
        "url",
        "date",
        "language",
        "source",
        "license",
        "stands_for",
        "weight",
        "topic",
        "stars",
    ]
    assert rows.sort("id").equals(stands.select(rows.columns).sort("id"))
    assert len(rows) == 2 * FAMILIES + 60
    assert rows.null_count().sum_horizontal().item() == 0


def test_json_lines_say_the_same_as_parquet(place):
    made = export(place, formats=["jsonl", "parquet"])
    for split in ("train", "validation"):
        lines = [
            json.loads(line) for file in made.folder.glob(f"data/{split}-*.jsonl") for line in file.open()
        ]
        assert lines == rows_of(made, split).to_dicts()
    assert [config["config_name"] for config in made.card["configs"]] == ["default"]


def test_hugging_face_loads_it_as_it_lies(place, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    for formats in (["parquet"], ["jsonl"], ["parquet", "jsonl"]):
        made = export(place, formats=formats, splits={"validation": 0.1, "test": 0.1})
        loaded = datasets.load_dataset(str(made.folder), cache_dir=str(tmp_path / "cache"))
        assert set(loaded) == {"train", "validation", "test"}
        for split in made.card["splits"]:
            assert loaded[split["split"]].num_rows == split["rows"] > 0
        texts = {row for split in loaded.values() for row in split["text"]}
        assert texts == set(corpus(place)["text"])


def test_where_chooses_documents_by_any_column_of_the_corpus(place):
    made = export(place, where="source = 'sea' AND stars >= 30 AND topic <> 't31'")
    assert {row["stars"] for row in rows_of(made).to_dicts()} == {30, *range(32, 40)}
    with pytest.raises(RuleError, match="names 'toppic'"):
        export(place, where="toppic = 'x'")
    with pytest.raises(RuleError, match="names 'text'"):
        export(place, where="text = 'x'")
    with pytest.raises(RuleError, match="No document satisfies"):
        export(place, where="stars > 1000")


def test_the_order_is_shuffled_and_another_seed_gives_another(place):
    first, second = rows_of(export(place, splits={})), rows_of(export(place, splits={}, seed=1))
    assert first["id"].to_list() != second["id"].to_list()
    assert sorted(first["id"]) == sorted(second["id"])
    halves = first.with_row_index().with_columns(half=pl.col("index") < len(first) // 2)
    in_first = halves.filter("half").group_by("source").len().sort("source")["len"].to_list()
    assert all(0.25 < count / total < 0.75 for count, total in zip(in_first, (60, 80), strict=True))


# Splits.


def test_a_near_duplicate_of_a_dropped_document_is_in_the_same_split(place):
    made = export(place, splits={"a": 0.25, "b": 0.25, "c": 0.25})
    found = {split: set(rows_of(made, split)["stars"]) - {0} for split in ("train", "a", "b", "c")}
    kept = Counter(corpus(place).filter(source="sea")["stars"].to_list())
    assert set(kept.values()) == {2}  # the first and the third of each family, which are not alike
    for split, stars in found.items():
        others = set.union(*(other for name, other in found.items() if name != split))
        assert stars
        assert not stars & others


def test_without_a_minhash_step_equal_texts_stay_together(tmp_path):
    write_sources(tmp_path)
    rows = [{"text": text(n // 3)} for n in range(90)]
    write_jsonl(tmp_path / "sea.jsonl", rows)
    (tmp_path / "curate.toml").write_text(RECIPE.split("[deduplicated")[0])
    run(tmp_path / "curate.toml")
    made = export(tmp_path, splits={"validation": 0.5}, where="source = 'sea'")
    train, validation = (set(rows_of(made, split)["text"]) for split in ("train", "validation"))
    assert len(train) + len(validation) == 30
    assert train
    assert validation
    assert any("no step minhash" in miss for miss in made.card["known_misses"])


@checked
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=40))
def test_components_are_those_of_a_slow_search(edges):
    names = [f"{number:032x}" for number in range(31)]
    frame = pl.DataFrame(
        {"a": [names[a] for a, _ in edges], "b": [names[b] for _, b in edges]},
        schema={"a": pl.String, "b": pl.String},
    )
    group = {number: {number} for pair in edges for number in pair}
    for a, b in edges:
        both = group[a] | group[b]
        for number in both:
            group[number] = both
    expected = {names[number]: names[min(members)] for number, members in group.items()}
    assert dict(components(frame).iter_rows()) == expected


def test_splits_have_about_their_shares_and_do_not_move_when_documents_come():
    rows = pl.DataFrame({"cluster": [hashlib.md5(str(n).encode()).hexdigest() for n in range(20_000)]})
    options = TextExport(splits={"test": 0.05, "validation": 0.1})
    split = with_splits(rows, options)["split"].cast(pl.String)
    counts = dict(split.value_counts().iter_rows())
    assert abs(counts["test"] / len(rows) - 0.05) < 0.01
    assert abs(counts["validation"] / len(rows) - 0.1) < 0.01
    assert with_splits(rows[5_000:], options)["split"].cast(pl.String).equals(split[5_000:])


# The same version has the same bytes.


@pytest.mark.slow
def test_the_number_of_workers_changes_no_byte(place, tmp_path):
    shutil.copytree(place, tmp_path / "other")
    options = {
        "formats": ["parquet", "jsonl"],
        "decontaminate": ["land.jsonl"],
        "mix": {"sea": 1.0},
        "budget": 20_000,
    }
    one, two = export(place, workers=1, **options), export(tmp_path / "other", workers=2, **options)
    assert one.version == two.version
    assert hashes(one.folder) == hashes(two.folder)
    assert len(hashes(one.folder)) == 6


@pytest.mark.slow
def test_the_history_of_a_lake_changes_no_byte(place, tmp_path):
    """Documents that come in another order, some that go again, another recipe beside it: all the same."""
    other = tmp_path / "other"
    other.mkdir()
    write_sources(other)
    every = [json.loads(line) for line in (other / "sea.jsonl").open()]
    recipe = other / "curate.toml"
    beside = RECIPE.replace("harbour", "other").replace("0.8", "0.5")
    for rows, written in (
        (every[60:], RECIPE),
        ([*every, {"text": text(9)}], beside),
        (every[:90][::-1], RECIPE),
        (every, RECIPE),
    ):
        write_jsonl(other / "sea.jsonl", rows)
        recipe.write_text(written)
        run_whole(recipe)
    options = {"splits": {"validation": 0.3}, "mix": {"sea": 1.0, "land": 1.0}}
    first, second = export(place, **options), export(other, **options)
    assert hashes(first.folder) == hashes(second.folder)


def test_how_texts_are_read_changes_no_byte(place, monkeypatch, tmp_path):
    shutil.copytree(place, tmp_path / "other")
    first = export(place)
    monkeypatch.setattr(shuffle, "_PART", 5_000)  # more than ten parts
    assert hashes(export(tmp_path / "other").folder) == hashes(first.folder)


@pytest.mark.slow
def test_large_exports_are_many_shards_and_cells_with_all_rows_in_order(tmp_path, monkeypatch):
    write_jsonl(
        tmp_path / "docs.jsonl",
        [{"text": f"{n} " + "x" * (40_000 if n % 7 else 700_000)} for n in range(100)],
    )
    (tmp_path / "curate.toml").write_text('name = "harbour"\n[sources.files]\nfiles = "docs.jsonl"\n')
    run(tmp_path / "curate.toml")
    whole = export(tmp_path, "whole", splits={})
    monkeypatch.setattr(shuffle, "_CELL", 100_000)
    monkeypatch.setattr(shuffle, "_PART", 200_000)
    parts = export(tmp_path, "parts", splits={}, shard_mb=1)
    names = [file["path"] for file in parts.card["files"]]
    assert names == [f"data/train-{n:05d}-of-{len(names):05d}.parquet" for n in range(len(names))]
    assert len(names) >= 10
    assert rows_of(parts).equals(rows_of(whole))


def test_an_export_that_is_there_is_not_made_again(place):
    made = export(place)
    before = {path: path.stat().st_mtime_ns for path in made.folder.rglob("*")}
    runs = Lake(place / "lake").head().seq
    again = export(place)
    assert (again.reused, again.version, again.card) == (True, made.version, made.card)
    assert {path: path.stat().st_mtime_ns for path in made.folder.rglob("*")} == before
    assert Lake(place / "lake").head().seq == runs
    assert export(place, seed=3).version != made.version


@pytest.mark.slow
def test_an_older_version_is_exported_as_it_stood(place):
    first, seq = export(place), Lake(place / "lake").head().seq
    write_jsonl(place / "land.jsonl", [{"text": text(77)}])
    run_whole(place / "curate.toml")
    assert len(rows_of(export(place))) == 2 * FAMILIES + 1
    then = export(place, seq=seq)
    assert (then.version, then.reused) == (first.version, True)
    with pytest.raises(LakeError, match="no corpus"):
        export(place, seq=1)
    (place / "curate.toml").write_text(RECIPE.replace("0.8", "0.99"))
    run_whole(place / "curate.toml")
    later = export(place, seq=seq)  # by the threshold of that version
    assert (later.version, later.reused) == (first.version, True)
    shutil.rmtree(first.folder)
    gc(place / "lake", keep=1)
    with pytest.raises(LakeError, match="is gone"):
        export(place, seq=seq)


# The mixture.


def slow_mix(rows, weights, budget):
    """(id, copies) as the documentation says it: whole epochs, or documents until there are enough."""
    train = {
        name: [row for row in rows if row["split"] == "train" and row["source"] == name] for name in weights
    }
    have = {name: sum(row["tokens"] for row in found) for name, found in train.items()}
    total = sum(weights.values())
    budget = budget or min(have[name] / (weight / total) for name, weight in weights.items())
    copies = {row["id"]: 1 for row in rows if row["split"] != "train" and row["source"] in weights}
    taken = {}
    for name, weight in weights.items():
        wanted = budget * weight / total
        if wanted > have[name]:
            taken[name] = (max(1, int(wanted / have[name] + 0.5)), wanted, have[name])
            copies.update({row["id"]: taken[name][0] for row in train[name]})
        else:
            taken[name] = (0, wanted, have[name])
    return copies, taken


@checked
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50), st.booleans()), min_size=4, max_size=40),
    st.dictionaries(st.sampled_from("abc"), st.floats(0.1, 10), min_size=1),
    st.integers(0, 3_000),
)
def test_a_mixture_is_whole_epochs_or_as_many_documents_as_are_needed(documents, weights, budget):
    rows = [
        {
            "id": f"{n:032x}",
            "ordinal": 0,
            "source": source,
            "tokens": tokens,
            "split": "train" if train else "validation",
        }
        for n, (source, tokens, train) in enumerate(documents)
    ]
    frame = pl.DataFrame(rows).sample(fraction=1, shuffle=True)
    options = TextExport(mix=weights, budget=budget)
    if any(
        not sum(row["tokens"] for row in rows if row["source"] == name and row["split"] == "train")
        for name in weights
    ):
        with pytest.raises(RecipeError, match="none in the train split"):
            with_copies(frame, options, "[exports.x]")
        return
    found, portions = with_copies(frame, options, "[exports.x]")
    copies = dict(found.select("id", "copies").iter_rows())
    expected, taken = slow_mix(rows, weights, budget)
    for row in rows:
        if row["source"] not in weights:
            assert copies[row["id"]] == 0
        elif row["split"] != "train" or taken[row["source"]][0]:
            assert copies[row["id"]] == expected[row["id"]]
    largest = max(row["tokens"] for row in rows)
    for portion in portions:
        epochs, wanted, have = taken[portion.source]
        got = sum(
            row["tokens"] * copies[row["id"]]
            for row in rows
            if row["source"] == portion.source and row["split"] == "train"
        )
        assert got == portion.tokens
        assert abs(got - wanted) <= (have / 2 + 1 if epochs > 1 else have if epochs else largest + 1)


def test_a_source_that_is_too_small_is_repeated_and_stays_out_of_other_splits_as_often(place):
    made = export(place, mix={"sea": 1, "land": 3}, budget=20_000, splits={"validation": 0.2})
    train, validation = rows_of(made, "train"), rows_of(made, "validation")
    portions = {portion["source"]: portion for portion in made.card["mixture"]}
    copies = {source: Counter(train.filter(source=source)["id"].to_list()) for source in ("sea", "land")}
    assert set(copies["land"].values()) == {portions["land"]["epochs"]}
    assert portions["land"]["epochs"] >= 5
    assert portions["sea"]["epochs"] == 1
    assert validation["id"].is_unique().all()
    assert not set(train["text"]) & set(validation["text"])
    assert abs(portions["sea"]["tokens"] - 5_000) <= 100
    assert abs(portions["land"]["tokens"] - 15_000) <= portions["land"]["available"] / 2
    report = json.loads(Lake(place / "lake").head().report)
    assert report["kept"] == train["id"].n_unique() + len(validation) <= report["rows"]
    # Epochs are shuffled together, not one after the other.
    first = train.head(len(train) // portions["land"]["epochs"]).filter(source="land")["id"]
    assert first.is_duplicated().any()


def test_a_budget_alone_draws_from_all_sources(place):
    made = export(place, budget=3_000, splits={})
    assert 3_000 <= made.card["splits"][0]["tokens"] <= 3_100
    assert set(rows_of(made)["source"]) == {"sea", "land"}
    assert made.card["left_out"]["not drawn for the mixture"] == 140 - made.card["splits"][0]["rows"]


# Evaluation data.


def words_of(string):
    return re.findall(r"\w+", string.lower())


def slow_hits(texts, strings, ngram):
    """Numbers of the texts that share a run of words with one of the strings."""

    def runs(words):
        return {tuple(words[at : at + ngram]) for at in range(len(words) - ngram + 1)} or (
            {tuple(words)} if words else set()
        )

    known = set().union(*(runs(words_of(string)) for string in strings)) if strings else set()
    return {number for number, one in enumerate(texts) if runs(words_of(one)) & known}


PROSE = st.lists(st.sampled_from(["Sea", "sea,", "land!", "boat", "(gull)", "1999", "É"]), max_size=25).map(
    " ".join
)


@settings(max_examples=25, deadline=None)
@given(st.lists(PROSE, min_size=1, max_size=12), st.lists(PROSE, min_size=1, max_size=4), st.integers(3, 6))
def test_evaluation_data_is_found_as_a_slow_search_finds_it(tmp_path_factory, texts, strings, ngram):
    if not any(words_of(string) for string in strings):
        return
    folder = tmp_path_factory.mktemp("slow")
    write_jsonl(folder / "eval.jsonl", [{"question": string, "n": 3} for string in strings])
    pq.write_table(pa.table({"text": pa.array(texts, pa.large_string())}), folder / "corpus.parquet")
    runs_of_words(evaluation_files(["eval.jsonl"], folder), ngram).write_parquet(folder / "runs.parquet")
    rows = pl.DataFrame({"file": [str(folder / "corpus.parquet")] * len(texts), "row": range(len(texts))})
    rows.write_parquet(folder / "plan.parquet")
    paths = {name: str(folder / f"{name}.parquet") for name in ("plan", "runs", "out")}
    task = {**paths, "columns": ["text"], "texts": ["text"], "ngram": ngram, "start": 0, "stop": len(texts)}
    measure_shard(task)
    found = pl.read_parquet(paths["out"])
    assert {row for row, hits in enumerate(found["hits"]) if len(hits)} == slow_hits(texts, strings, ngram)
    assert found["bytes"].to_list() == [len(one.encode()) for one in texts]


def test_documents_that_hold_evaluation_data_are_left_out_and_counted(place):
    lands = corpus(place).filter(source="land").sort("id")["text"].to_list()
    quoted = " ".join(words_of(lands[0])[5:18]).upper()
    almost = " ".join(words_of(lands[1])[5:17])
    write_jsonl(
        place / "quiz.jsonl",
        [{"q": f"What... {quoted.replace(' ', ', ')}?", "choices": ["Yes", "No"]}, {"q": almost}],
    )
    write_jsonl(place / "more.jsonl", [{"passage": {"body": lands[0]}}, {"passage": {"body": lands[2]}}])
    made = export(place, decontaminate=["quiz.jsonl", "more.jsonl"])
    assert set(lands) - set(rows_of(made)["text"]) == {lands[0], lands[2]}
    told = made.card["decontamination"]
    assert told["documents"] == 2
    assert {file["file"]: file["documents"] for file in told["files"]} == {"quiz.jsonl": 1, "more.jsonl": 2}
    assert made.card["left_out"] == {"evaluation data": 2}
    short = export(place, decontaminate="quiz.jsonl", ngram=12)
    assert set(lands) - set(rows_of(short)["text"]) == {lands[0], lands[1]}
    write_jsonl(place / "quiz.jsonl", [{"q": "something else"}])
    assert export(place, decontaminate=["quiz.jsonl", "more.jsonl"]).version != made.version


def test_evaluation_files_may_have_any_form(tmp_path):
    question = "Which of the boats that left the harbour before dawn came back to the old pier at noon?"
    record = {
        "id": 7,
        "question": question,
        "choices": ["none", "all"],
        "nested": {"deep": [{"hint": text(1)}]},
    }
    write_jsonl(tmp_path / "a.jsonl", [record])
    with gzip.open(tmp_path / "b.jsonl.gz", "wt") as file:
        file.write(json.dumps(record) + "\n\n")
    (tmp_path / "c.json").write_text(json.dumps([record]))
    pq.write_table(pa.Table.from_pylist([record]), tmp_path / "d.parquet")
    for name, delimiter in (("e.csv", ","), ("f.tsv", "\t"), ("g.csv", ";")):
        with (tmp_path / name).open("w", newline="") as file:
            writer = csv.writer(file, delimiter=delimiter)
            writer.writerows([["id", "question", "hint"], [7, question, text(1)]])
    (tmp_path / "h.txt").write_text(f"{question}\n")
    (tmp_path / "i.md").write_text(f"# Question\n\n{question}\n")
    files = evaluation_files(["*"], tmp_path)
    assert [file.name for file in files] == sorted(path.name for path in tmp_path.iterdir())
    wanted = set(runs_of_words([EvaluationFile("x", str(tmp_path / "h.txt"), "")], 8)["gram"])
    assert len(wanted) == len(words_of(question)) - 7
    for number, grams in runs_of_words(files, 8).group_by("file"):
        assert wanted <= set(grams["gram"]), files[number[0]].name


@pytest.mark.parametrize(
    ("name", "content", "message", "hint"),
    [
        ("quizz.jsonl", None, "There is no file .*quizz.jsonl", 'Did you mean "quiz.jsonl"'),
        ("numbers.jsonl", '{"a": 1}\n', "numbers.jsonl holds no text", "column of strings"),
        ("empty.csv", "", "empty.csv holds no text", "column of strings"),
        ("broken.jsonl", '{"a": "x"}\n{"a": ', "broken.jsonl cannot be read", "Mend it"),
        ("broken.parquet", "PAR1", "broken.parquet cannot be read", "Mend it"),
        ("latin.csv", b"a\n\xff\xfe\xff", "latin.csv cannot be read", "Mend it"),
        ("what.xyz", "x", "no reader knows the suffix .xyz", "Known"),
    ],
)
def test_an_evaluation_file_that_protects_nothing_is_refused(place, name, content, message, hint):
    write_jsonl(place / "quiz.jsonl", [{"q": "x"}])
    if content is not None:
        (place / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SourceError, match=message) as found:
        export(place, decontaminate=[name])
    assert hint in found.value.hint
    assert not list((place / "lake" / "harbour").glob("exports/*/*"))


# The card.


@pytest.mark.slow
def test_a_split_whose_documents_hold_no_conversation_is_told(place):
    write_jsonl(place / "land.jsonl", [{"text": text(77), "q": "Where?", "a": "There."}])
    run_whole(place / "curate.toml")
    made = export(place, kind="chat", question="q", answer="a", splits={"validation": 0.5})
    (check,) = [check for check in made.card["checks"] if check["name"] == "splits_filled"]
    (filled,) = [split["split"] for split in made.card["splits"] if split["rows"]]
    assert not check["passed"]
    assert filled not in check["message"]


def test_the_card_says_what_is_in_the_files(place):
    made = export(place, splits={"validation": 0.2}, formats=["parquet", "jsonl"])
    card, stands = made.card, corpus(place)
    assert json.loads((made.folder / "card.json").read_text()) == card
    for file in card["files"]:
        data = (made.folder / file["path"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file["bytes"], file["sha256"])
    assert {file["path"] for file in card["files"]} | {"card.json", "README.md"} == set(hashes(made.folder))
    for split in card["splits"]:
        rows = rows_of(made, split["split"])
        assert (split["rows"], split["documents"]) == (len(rows), len(rows))
        assert split["tokens"] == sum(len(one.split()) for one in rows["text"])
    assert [(row["source"], row["license"], row["rows"], row["from"]) for row in card["sources"]] == [
        ("land", "", 60, "land.jsonl"),
        ("sea", "CC0", 2 * FAMILIES, "sea.jsonl"),
    ]
    assert card["languages"] == dict(stands["language"].value_counts().iter_rows())
    assert card["recipe"].startswith('name = "harbour"')
    assert all(check["passed"] for check in card["checks"])
    assert any("no licence for 60" in miss for miss in card["known_misses"])


def test_the_readme_has_the_front_matter_of_the_hub(place):
    made = export(place)
    _, matter, page = (made.folder / "README.md").read_text().split("---\n", 2)
    found = yaml.safe_load(matter)
    assert found["license"] == ["cc0-1.0", "unknown"]
    assert found["size_categories"] == ["n<1K"]
    assert found["configs"][0]["data_files"][0] == {"split": "train", "path": "data/train-*.parquet"}
    for words in (
        "## Splits",
        "## Sources and licences",
        "## Checks",
        "## Known misses",
        "| sea | CC0 | sea.jsonl | 80 |",
    ):
        assert words in page


def test_a_card_names_no_time_and_no_run(place):
    made = export(place)
    head = Lake(place / "lake").head()
    for name in ("README.md", "card.json"):
        words = (made.folder / name).read_text()
        assert head.run not in words
        assert str(place) not in words


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(0, "n<1K"), (999, "n<1K"), (1_000, "1K<n<10K"), (10**9, "1B<n<10B"), (10**13, "n>1T")],
)
def test_size_categories(rows, expected):
    assert size_category(rows) == expected


# In the lake.


def test_an_export_is_a_row_of_the_log_and_gc_keeps_what_a_row_names(place):
    made = export(place)
    row = Lake(place / "lake").head()
    assert (row.table, row.fingerprints["harbour/exports/set"]) == ("exports/set", made.version)
    assert json.loads(row.report)["counts"]["tokens"] == sum(split["tokens"] for split in made.card["splits"])
    second = export(place, seed=1)
    (made.folder.parent / ".tmp-dead").mkdir()
    gc(place / "lake")
    assert {path.name for path in made.folder.parent.iterdir()} == {made.version, second.version}
    gc(place / "lake", keep=1)
    assert {path.name for path in made.folder.parent.iterdir()} == {second.version}
    assert all(check.passed for check in verify(place / "lake"))
    file = next(second.folder.glob("data/train-*"))
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert [check.name for check in verify(place / "lake") if not check.passed] == ["harbour/exports/set"]


def test_all_exports_of_a_recipe_are_made_one_after_the_other(place):
    exports = {
        "one": {},
        "two": {"kind": "packed", "length": 64, "end": "[SEP]"},
        "three": {"kind": "chat", "user": "Write {title}."},
    }
    recipe = load_recipe(place / "curate.toml", {"exports": exports})
    with session_of(make_plan(recipe), place / "lake", workers=1) as session:
        head = make_exports(session)
    made = [head.fingerprints[f"harbour/exports/{name}"] for name in exports]
    cards = [
        json.loads((place / "lake" / "harbour" / "exports" / name / version / "card.json").read_text())
        for name, version in zip(exports, made, strict=True)
    ]
    assert "harbour/finetune" in head.digests
    assert [card["kind"] for card in cards] == ["text", "packed", "chat"]
    assert all(card["splits"][0]["documents"] > 100 for card in cards)
    splits = [{split["split"]: split["documents"] for split in card["splits"]} for card in cards]
    assert splits[0] == splits[1] == splits[2]  # one seed, one way of splitting


# By the command.


@pytest.fixture
def curate(place, monkeypatch, capsys):
    """Run a command beside the recipe: (exit code, stdout, stderr)."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("COLUMNS", "160")

    def call(*arguments):
        return main([str(argument) for argument in arguments]), *capsys.readouterr()

    return call


EXPORTS = """
[exports.pretrain]
splits = { validation = 0.1 }
[exports.packed]
kind = "packed"
length = 64
end = "[SEP]"
formats = ["npy", "megatron"]
"""


def test_the_command_lists_makes_copies_and_reuses(curate, place):
    (place / "curate.toml").write_text(RECIPE + EXPORTS)
    code, out, _ = curate("export")
    assert code == 0
    assert re.search(r"pretrain +text +parquet +not made yet", out)
    code, out, err = curate("export", "pretrain", "--workers", 1, "-o", "out/set")
    assert code == 0, err
    assert re.search(r"train +\d+ +\d+ +[\d,]+ +\d+ kB +1\n", out)
    assert 'open    datasets.load_dataset("out/set", split="train")' in out
    version = re.search(r"version (\w{12})", out)[1]
    kept = place / "lake" / "harbour" / "exports" / "pretrain" / version
    assert hashes(place / "out" / "set") == hashes(kept)
    assert (place / "out/set/README.md").stat().st_nlink == 1  # may be edited
    assert version in curate("export")[1]
    code, out, _ = curate("export", "pretrain", "--json")
    found = json.loads(out)
    assert (found["reused"], found["version"], found["folder"]) == (True, version, str(kept))
    _, out, _ = curate("export", "packed", "--workers", 1)
    assert re.search(r"--data-path lake/harbour/exports/packed/\w+/data/train-00000-of-00001 ", out)
    listed = json.loads(curate("export", "--json")[1])
    assert [(one["name"], one["kind"], len(one["version"])) for one in listed] == [
        ("pretrain", "text", 12),
        ("packed", "packed", 12),
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "message", "hint"),
    [
        (["pretrian"], 2, 'The recipe has no export "pretrian"', 'Did you mean "pretrain"'),
        (["pretrain", "-o", "full"], 2, "full is there already and is not empty", "new or empty"),
        (["pretrain", "-o", "curate.toml"], 2, "curate.toml is there already and is a file", "new or empty"),
        (["pretrain", "--set", "exports.pretrain.splits.validation=1.5"], 2, "share of validation is 1.5", ""),
        (["pretrain", "--set", "exports.pretrain.mix={see=1}"], 2, 'mix names the source "see"', 'Did you mean "sea"'),
        (["pretrain", "--set", "tokens=false", "--set", "exports.pretrain.mix={sea=1}"], 2, "mix counts tokens", "Add [tokens.tokenize]"),
        (["pretrain", "--set", "tokens=false", "--set", "exports.pretrain.budget=9"], 2, "budget counts tokens", "Add [tokens.tokenize]"),
        (["pretrain", "--set", "exports.pretrain.decontaminate=gone.jsonl"], 1, "There is no file", ""),
        (["pretrain", "--version", "99"], 2, "no version 99", "curate log"),
        (["pretrain", "--lake", "nowhere"], 1, "holds no lake", "curate run"),
        (["pretrain", "nowhere.toml"], 2, "There is no recipe nowhere.toml", "curate init"),
    ],
)  # fmt: skip
def test_what_cannot_be_exported_is_said_and_leaves_nothing(curate, place, arguments, code, message, hint):
    (place / "curate.toml").write_text(RECIPE + EXPORTS)
    (place / "full").mkdir()
    (place / "full" / "x").write_text("mine")
    found, out, err = curate("export", "--workers", 1, *arguments)
    assert (found, out) == (code, "")
    assert message in err
    assert hint in err.partition("hint: ")[2]
    assert not list((place / "lake" / "harbour").glob("exports/*/*"))
    assert not (place / "nowhere").exists()
    assert (place / "full" / "x").read_text() == "mine"


def test_tokens_that_are_not_of_this_corpus_are_said(place):
    write_jsonl(place / "land.jsonl", [{"text": text(78)}])
    run(place / "curate.toml")  # without tokens
    with pytest.raises(LakeError, match="1 texts of the corpus") as found:
        export(place, budget=100)
    assert "curate run" in found.value.hint
    assert export(place).card["splits"][0]["tokens"] > 0


def test_an_empty_corpus_is_said(tmp_path):
    write_sources(tmp_path)
    (tmp_path / "curate.toml").write_text(RECIPE + '[corpus.length]\ndrop.all = "words >= 0"\n')
    run(tmp_path / "curate.toml")
    with pytest.raises(LakeError, match="holds no document"):
        export(tmp_path)


def test_pairs_need_an_index(place):
    with pytest.raises(UsageError, match="needs the index"):
        export(place, kind="pairs")


def test_a_killed_export_leaves_nothing_that_the_next_one_meets(place, monkeypatch):
    monkeypatch.setattr("curate.export.make.readme", lambda card: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(place)
    exports = place / "lake" / "harbour" / "exports" / "set"
    assert list(exports.iterdir()) == []
    (exports / ".tmp-000000000000").mkdir()  # of one that had no time to tidy up
    monkeypatch.undo()
    made = export(place)
    assert [path.name for path in exports.iterdir()] == [made.version]


@checked
@given(st.lists(st.integers(0, 100), max_size=50), st.integers(1, 300), st.integers(1, 20))
def test_cut_covers_every_row_once(weights, most, most_rows):
    import numpy as np

    parts = cut(np.array(weights, np.int64), most, most_rows)
    assert [row for start, stop in parts for row in range(start, stop)] == list(range(len(weights)))
    for start, stop in parts:
        assert stop - start <= most_rows + 1
        assert sum(weights[start + 1 : stop]) <= most
