"""Contamination: passages of evaluation files in texts, held to slow, obvious Python."""

import csv
import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup import contamination as kernels
from curate.dedup.contamination import item_grams, overlaps
from curate.dedup.normalize import ALONE, DROPPED, SEPARATOR, fold_table
from curate.dedup.shingles import ShingleOptions, shingle_sets
from curate.engine.stage import Batch, find_stage
from curate.lake.lake import Lake
from curate.stages import contamination as module
from schemas.errors import CurateError
from tests.lakes import make_recipe, run, text

checked = settings(deadline=None, max_examples=60)
QUESTION = "Which of the boats that left the harbour before dawn came back to the old pier at noon?"
PASSAGE = " ".join(QUESTION.split()[-13:]).replace("?", "!")
ANSWER = "The grey one, because its rudder broke on the rocks near the second lighthouse."


def write(file, *records):
    file.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return str(file)


def measured(files, *texts, **options):
    stage = find_stage("contamination")
    result = stage.run(Batch(pa.array(texts, pa.large_string())), stage.options(files=str(files), **options))
    for field in stage.measures:
        assert result.measures[field.name].type == field.type
        assert result.measures[field.name].null_count == 0
    rows = zip(*(result.measures[field.name].to_pylist() for field in stage.measures), strict=True)
    left = list(texts) if result.text is None else result.text.to_pylist()
    return [dict(zip(result.measures, row, strict=True)) for row in rows], left


# The oracle.


def slow_words(text):
    """(word, start, stop) of each word, by characters."""
    table, words, inside = fold_table("keep"), [], False
    for at, char in enumerate(text):
        code = ord(char)
        symbol = int(table[code]) if code < len(table) else (code | ALONE if code < 0x40000 else SEPARATOR)
        symbol = DROPPED if code >> 16 == 0xE else symbol
        if symbol == DROPPED:
            if words and words[-1][2] == at:
                words[-1][2] = at + 1
        elif symbol == SEPARATOR:
            inside = False
        elif symbol & ALONE or not inside:
            words.append([chr(symbol & ~ALONE), at, at + 1])
            inside = not symbol & ALONE
        else:
            words[-1][0] += chr(symbol)
            words[-1][2] = at + 1
    return [tuple(word) for word in words]


def slow_overlaps(text, items, ngram, min_words):
    """Share covered of each item, and the words of the text that are covered."""
    mine = slow_words(text)
    plain = [word for word, _, _ in mine]
    covered, shares = set(), []
    for strings in items:
        total = common = 0
        for string in strings:
            words = [word for word, _, _ in slow_words(string)]
            if len(words) < min_words:
                continue
            size = min(len(words), ngram)
            total += len(words)
            there = set()
            for at in range(len(words) - size + 1):
                for place in range(len(plain) - size + 1):
                    if plain[place : place + size] == words[at : at + size]:
                        covered |= set(range(place, place + size))
                        there |= set(range(at, at + size))
            common += len(there)
        shares.append(common / total if total else 0.0)
    return mine, covered, shares


def joined_spans(words, covered):
    spans = []
    for at in sorted(covered):
        if at - 1 in covered:
            spans[-1][1] = words[at][2]
        else:
            spans.append([words[at][1], words[at][2]])
    return spans


letters = st.sampled_from(["a", "b", "A", "é", "e\u0301", "b\u200b", "漢", "ก็", "7", "٣", "𝔞"])
pieces = st.lists(st.tuples(letters, st.sampled_from([" ", "", ", ", "\n", "\u00ad", "😀"])), max_size=25)
phrases = pieces.map(lambda parts: "".join(letter + gap for letter, gap in parts))


@checked
@given(st.lists(phrases, min_size=1, max_size=4), st.lists(st.lists(phrases, max_size=3), min_size=1, max_size=4),
       st.integers(3, 6), st.integers(1, 5))  # fmt: skip
def test_what_is_found_is_what_slow_python_finds(texts, items, ngram, min_words):
    strings = pa.array([string for item in items for string in item], pa.large_string())
    owners = np.repeat(np.arange(len(items)), [len(item) for item in items])
    grams = item_grams([(strings, owners)], ngram, min_words)
    assert len(grams.words) <= len(items)
    if not len(grams.words):
        return
    found = overlaps(pa.array(texts, pa.large_string()), grams)
    for row, one in enumerate(texts):
        words, covered, shares = slow_overlaps(one, items, ngram, min_words)
        assert found.words[row] == len(words)
        assert found.covered[row] == len(covered)
        spans = found.spans[found.spans[:, 0] == row]
        assert spans[:, 3:].tolist() == joined_spans(words, covered)
        for _, first, last, start, stop in spans:
            assert one.encode()[first:last].decode() == one[start:stop]
        best = int(np.argmax(shares)) if max(shares) else -1
        assert found.item[row] == best
        assert found.item_covered[row] == pytest.approx(max(shares))


@checked
@given(st.lists(st.text(max_size=60), min_size=1, max_size=5))
def test_any_text_has_the_words_that_its_shingles_have(texts):
    column = pa.array(texts, pa.large_string())
    data, offsets = kernels._buffers(column)
    seed = kernels.hash_seed(ShingleOptions())
    longest = int(np.diff(offsets).max())
    words, counts = kernels._strings_words(data, offsets, fold_table("keep"), seed, longest)
    assert counts.tolist() == [len(slow_words(text)) for text in texts]
    sets = shingle_sets(column, ShingleOptions(ngram=1))
    for row, part in enumerate(np.split(words, np.cumsum(counts)[:-1])):
        hashes = {int(kernels.mix(word)) or 1 for word in part}
        assert hashes == set(sets.values[sets.offsets[row] : sets.offsets[row + 1]].tolist())


def test_a_slice_of_a_column_is_measured_as_it_stands_alone(tmp_path):
    file = write(tmp_path / "a.jsonl", {"q": QUESTION})
    whole = pa.array(["x" * 50, QUESTION, "y", f"é {QUESTION}"], pa.large_string())
    items, _ = module._open(module.ContaminationOptions(files=file))
    all_found, part = overlaps(whole, items.grams), overlaps(whole[1:3], items.grams)
    assert part.covered.tolist() == all_found.covered[1:3].tolist()
    assert part.spans.tolist() == [[0, 0, 86, 0, 86]]
    assert overlaps(whole[:0], items.grams).spans.shape == (0, 5)


# The stage.


def test_a_copy_a_quotation_and_a_text_of_its_own(tmp_path):
    file = write(tmp_path / "quiz.jsonl", {"q": "short"}, {"q": QUESTION, "a": [ANSWER, "No"]})
    quoted = "WHICH of the boats, that left the harbour: before dawn came back to the"
    (copy, quotation, own, empty), texts = measured(
        file, f"{QUESTION}\n{ANSWER}", f"He asked: {quoted} sea?", "Which of the boats?", ""
    )
    assert copy == {
        "spans": 1, "covered": 1.0, "item_covered": 1.0, "item": "quiz.jsonl:2", "places": "0-166"
    }  # fmt: skip
    assert quotation["spans"] == 1
    assert quotation["item_covered"] == 14 / 32
    assert quotation["covered"] == 14 / 17
    assert quotation["places"] == f"10-{10 + len(quoted)}"
    assert own == empty == {"spans": 0, "covered": 0.0, "item_covered": 0.0, "item": "", "places": ""}
    assert texts[1] == f"He asked: {quoted} sea?"


def test_a_string_of_few_words_is_looked_for_as_a_whole_and_one_of_fewer_not_at_all(tmp_path):
    eight, seven = "one two three four five six seven eight", "a b c d e f g"
    file = write(tmp_path / "a.jsonl", {"q": eight}, {"q": seven}, {"q": QUESTION})
    found, _ = measured(file, f"zero {eight} nine", eight.replace("five", "5"), f"x {seven} y")
    assert [row["item"] for row in found] == ["a.jsonl:1", "", ""]
    lower, _ = measured(file, f"x {seven} y", min_words=7)
    assert lower[0]["item"] == "a.jsonl:2"
    assert lower[0]["places"] == "2-15"
    longer, _ = measured(file, " ".join(QUESTION.split()[:13]), ngram=14)
    assert longer[0]["spans"] == 0


def test_no_passage_goes_from_one_string_to_the_next(tmp_path):
    words = [f"w{n}" for n in range(24)]
    file = write(tmp_path / "a.jsonl", {"q": " ".join(words[:12]), "a": " ".join(words[12:])})
    (across, both), _ = measured(file, " ".join(words[1:14]), " ".join(words))
    assert across["spans"] == 0
    assert both == {"spans": 1, "covered": 1.0, "item_covered": 1.0, "item": "a.jsonl:1", "places": "0-85"}


def test_of_items_covered_alike_the_first_is_named(tmp_path):
    file = write(tmp_path / "a.jsonl", {"q": f"{QUESTION} {ANSWER}"}, {"q": QUESTION}, {"q": QUESTION})
    (found,), _ = measured(file, f"Before. {QUESTION} After.")
    assert found["item"] == "a.jsonl:2"
    assert found["item_covered"] == 1.0


def test_cut_takes_the_passages_and_nothing_else(tmp_path):
    file = write(tmp_path / "a.jsonl", {"q": QUESTION}, {"q": ANSWER})
    text = f"Ünï 😀. {QUESTION.upper()} Between it. {ANSWER} End"
    found, cut = measured(file, "Untouched ", text, "", QUESTION, edit="cut")
    assert cut == ["Untouched ", "Ünï 😀. ? Between it. . End", "", "?"]
    assert found[1]["spans"] == 2
    for start, stop in (map(int, place.split("-")) for place in found[1]["places"].split(",")):
        assert text[start:stop].casefold() in f"{QUESTION} {ANSWER}".casefold()


def test_a_cut_never_leaves_half_a_character(tmp_path):
    han = "東京都の首都は何ですかこれは問題です"
    marked = "e\u0301ine " * 7 + "e\u0301"
    file = write(tmp_path / "a.jsonl", {"q": han}, {"q": marked})
    _, cut = measured(file, f"前{han}後", f"x{marked}\u0301y {marked} z", edit="cut")
    assert cut == ["前後", f"x{marked}\u0301y  z"]


def test_many_passages_are_counted_and_the_first_hundred_are_written(tmp_path):
    file = write(tmp_path / "a.jsonl", {"q": QUESTION})
    (found,), _ = measured(file, " and. ".join([QUESTION] * 150))
    assert found["spans"] == 150
    assert found["places"].count("-") == 100
    assert found["places"].endswith(",…")


def test_a_text_of_one_word_again_and_again_takes_no_longer(tmp_path):
    file = write(tmp_path / "a.jsonl", *[{"q": "spam " * 2_000}] * 20)
    found, cut = measured(file, "spam " * 400_000, "SPAM\x00" * 13, "spam " * 12, edit="cut")
    assert [row["item_covered"] for row in found] == [1.0, 1.0, 0.0]
    assert cut == [" ", "\x00", "spam " * 12]


def test_files_of_any_form_hold_the_same_items(tmp_path):
    record = {"id": 7, "q": QUESTION, "choices": ["none", "all"], "deep": [{"hint": ANSWER}]}
    folder = tmp_path / "eval"
    folder.mkdir()
    write(folder / "a.jsonl", {"q": "x"}, record)
    with gzip.open(folder / "b.jsonl.gz", "wt") as file:
        file.write("\n".join(map(json.dumps, [{"q": "x"}, record])))
    (folder / "c.json").write_text(json.dumps([{"q": "x"}, record]))
    pq.write_table(pa.Table.from_pylist([record, {"q": "x"}]).take([1, 0]), folder / "d.parquet")
    with (folder / "e.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "q"], [6, "x"], [7, QUESTION]])
    (folder / "f.txt").write_text(f"\ufeffx\n{QUESTION}\n", "utf-8")
    for path in sorted(folder.iterdir()):
        (found,), _ = measured(path, f"{QUESTION} {ANSWER}")
        assert found["item"] == f"{path.name}:2"
        assert found["item_covered"] == 1.0
    (deeper,), _ = measured(tmp_path / "*" / "*.parquet", QUESTION)
    assert deeper["item"] == "d.parquet:2"
    (all_of,), _ = measured(tmp_path, QUESTION)
    assert all_of["item"] == "e.csv:2"  # the first whose whole item this is


def test_columns_say_what_is_looked_for(tmp_path):
    file = write(tmp_path / "a.jsonl", {"q": QUESTION, "a": ANSWER}, {"q": "x"})
    (question, answer), _ = measured(file, QUESTION, ANSWER, columns=("q",))
    assert question["item_covered"] == 1.0
    assert answer["spans"] == 0


@pytest.mark.parametrize(
    ("name", "content", "options", "message", "hint"),
    [
        ("quizz.jsonl", None, {}, "There is no file .*quizz.jsonl", 'Did you mean "quiz.jsonl"'),
        ("*.csv", None, {}, "No file matches", "glob"),
        ("what.xyz", "x", {}, "no reader knows the suffix .xyz", "Known"),
        (
            "a.jsonl",
            '{"question": "x"}\n',
            {"columns": ("questoin",)},
            'has no column "questoin"',
            "question",
        ),
        ("a.jsonl", '{"a": 1}\n', {}, "a.jsonl holds no string of at least 8 words", "min_words"),
        ("a.jsonl", '{"a": "too short for that"}\n', {}, "holds no string of at least 8", "min_words"),
        ("a.txt", "", {}, "a.txt holds no string", "Take it out"),
        ("a.jsonl", '{"a": "x"}\n{"a": ', {}, "a.jsonl cannot be read", "Mend it"),
        ("a.parquet", "PAR1", {}, "a.parquet cannot be read", "Mend it"),
        ("a.txt", b"a\n\xff\xfe\xff", {}, "a.txt cannot be read", "Mend it"),
    ],
)
def test_a_file_that_protects_nothing_is_refused_before_the_first_document(
    tmp_path, name, content, options, message, hint
):
    write(tmp_path / "quiz.jsonl", {"q": QUESTION})
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    stage = find_stage("contamination")
    with pytest.raises(CurateError, match=message) as error:
        stage.models(stage.options(files=str(tmp_path / name), **options))
    assert hint in error.value.hint


def test_items_without_end_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(kernels, "MOST_WORDS", 20)
    with pytest.raises(CurateError, match="more than 20 words"):
        measured(write(tmp_path / "a.jsonl", {"q": QUESTION}, {"q": ANSWER}), "x")


def test_other_bytes_or_names_are_another_fingerprint(tmp_path):
    stage = find_stage("contamination")
    file = tmp_path / "a.jsonl"
    options = stage.options(files=write(file, {"q": QUESTION}))
    first = stage.models(options)
    write(file, {"q": ANSWER})
    assert stage.models(options) != first
    assert measured(file, ANSWER)[0][0]["item_covered"] == 1.0
    write(file, {"q": QUESTION})
    assert stage.models(options) == first
    file.rename(tmp_path / "b.jsonl")
    assert stage.models(stage.options(files=str(tmp_path / "b.jsonl"))) != first


def test_a_recipe_drops_by_the_share_of_an_item_and_cuts_the_rest(tmp_path):
    recipe = make_recipe(tmp_path, count=12)
    (tmp_path / "eval").mkdir()
    write(tmp_path / "eval" / "quiz.jsonl", {"q": QUESTION})
    rows = [{"text": f"{text(seed)} {part}"} for seed, part in ((101, QUESTION), (102, PASSAGE), (103, ""))]
    with (tmp_path / "docs.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    step = (
        '[filtered.contamination]\nfiles = "eval"\nedit = "cut"\ndrop.contaminated = "item_covered > 0.8"\n'
    )
    recipe.write_text(f"{recipe.read_text()}\n{step}")
    report = run(recipe).table("filtered")
    assert {(one.step, one.reason): one.dropped for one in report.reasons}[
        "contamination", "contaminated"
    ] == 1
    assert report.failures == []
    kept = Lake(tmp_path / "lake").read("harbour", "corpus").collect().get_column("text").to_list()
    assert f"{text(102)} !" in [each.strip() for each in kept]
    assert text(103) in [each.strip() for each in kept]
    assert not any("old pier" in each for each in kept)
    assert run(recipe).table("filtered").measured == 0
