"""Stages that edit lines, count bad words, or score a text with a model."""

import gzip
import json
import math
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.engine.stage import Batch, find_stage
from curate.models import opening
from curate.models.training import Fit, fit_model
from curate.stages import bad_words as bad_words_module
from schemas.errors import RecipeError
from tests.lakes import make_recipe, run

checked = settings(deadline=None, max_examples=60)


def measured(name, *texts, columns=None, **options):
    stage = find_stage(name)
    given = {key: pa.array(values, pa.large_string()) for key, values in (columns or {}).items()}
    result = stage.run(Batch(pa.array(texts, pa.large_string()), given), stage.options(**options))
    for field in stage.measures:
        array = result.measures[field.name]
        assert array.type == field.type
        assert array.null_count == 0
        assert not any(isinstance(value, float) and math.isnan(value) for value in array.to_pylist())
    assert (result.text is not None) == stage.rewrites
    rows = zip(*(result.measures[field.name].to_pylist() for field in stage.measures), strict=True)
    found = [dict(zip(result.measures, row, strict=True)) for row in rows]
    return (found, result.text.to_pylist()) if stage.rewrites else found


# Lines.


@pytest.mark.parametrize(
    ("text", "left", "counted"),
    [
        ("Plain text stays as it is.  \n\n", "Plain text stays as it is.  \n\n", {}),
        ("OUR MENU NOW\nSoup of the day", "Soup of the day", {"uppercase_lines": 1}),
        ("ABcd here", "ABcd here", {}),  # half of the letters, not of the characters
        ("ABcd", "", {"short_lines": 1}),  # exactly half is not more
        ("12345\nNumber 12345 is here", "Number 12345 is here", {"digit_lines": 1}),
        ("• 1.2K Views •\nIt has 3 likes", "It has 3 likes", {"counter_lines": 1}),
        ("Home\n\nA line of words", "A line of words", {"short_lines": 1}),
        ("See this. Read more...\nNext line", "See this.\nNext line", {}),
        ("Read more...\nNext line", "Next line", {"phrase_lines": 1}),
        ("rEAd More...\nsign-in here please\n2 Items in Cart", "here please\n2", {"phrase_lines": 1}),
        ("a b c d e f g h i j read more...", "a b c d e f g h i j read more...", {}),  # a sentence
        ("Read more?!?\nNext line", "Read more?!?\nNext line", {}),  # dots are dots
    ],
)
def test_line_edits(text, left, counted):
    (row,), (found,) = measured("line_edits", text)
    counts = {name: value for name, value in row.items() if name.endswith("lines") and value}
    assert (found, counts) == (left, counted)


def test_words_removed_share():
    (row,), _ = measured("line_edits", "Home\nthree words here\n - • -\n12 34 5678 90 1 2")
    assert row["words_removed_share"] == pytest.approx(1 / 10)
    (row,), (left,) = measured("line_edits", "Home")
    assert (row["words_removed_share"], left) == (1, "")


def symbol_lines(text, symbols, replace):
    """datatrove's `SymbolLinesFormatter` as one would write it down."""
    kept, removing = [], False
    for line in text.split("\n"):
        removed = line.strip() != "" and set(line) <= {*symbols, " "}
        if removed and not removing and replace:
            kept.append(replace)
        if not removed:
            kept.append(line)
        removing = removed
    return "\n".join(kept)


@checked
@given(
    st.lists(st.lists(st.sampled_from("|-] \n\na^"), max_size=40).map("".join), max_size=5),
    st.sampled_from(["", "\n", "…"]),
)
def test_symbol_lines_are_those_of_fineweb_2(texts, replace):
    symbols = ("|", "-", "]", "^")
    _, found = measured("line_edits", *texts, edits=["symbols"], symbols=symbols, replace=replace)
    assert found == [symbol_lines(text, symbols, replace) for text in texts]


COUNTER = r"\W*\d[,.\d]*[kmb]?\s+(likes|views|followers)\W*"


def refined(text):
    """The line edits of RefinedWeb as one would write them down: text and words removed."""
    kept = []
    for line in text.split("\n"):
        goes = line and (
            sum(map(str.isupper, line)) > len(line) / 2
            or line.isdecimal()
            or re.fullmatch(COUNTER, line.lower())
            or len(line.split()) < 2
        )
        left = line
        if not goes and len(line.split()) <= 10:
            for phrase in (r"\s?items in cart", r"\s?read more\.\.\.$", r"^sign-in\s?"):
                left = re.sub(phrase, "", left, flags=re.IGNORECASE)
        if not (goes or (line and left != line and not left.strip())):
            kept.append(left)
    joined = "\n".join(kept)
    return joined.strip() if joined != text else text


PIECES = [
    *"aéA1 .,\n\n",
    "HARBOUR",
    "ä ",
    "12",
    " likes",
    "3 Views",
    " Read more...",
    "Sign-in",
    " items in cart",
    " x y",
]


@checked
@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=30).map("".join), max_size=6))
def test_line_edits_are_the_slow_definition(texts):
    rows, found = measured("line_edits", *texts)
    assert found == [refined(text) for text in texts]
    for text, left, row in zip(texts, found, rows, strict=True):
        words = [sum(word[0].isalnum() for word in one.split()) for one in (text, left)]
        assert row["words_removed_share"] == pytest.approx((words[0] - words[1]) / max(words[0], 1))


def test_symbols_are_single_characters():
    for wrong in ("", "||", " "):
        with pytest.raises(ValidationError, match="not one visible character"):
            find_stage("line_edits").options(symbols=(wrong,))
    with pytest.raises(ValidationError, match="symbols names none"):
        find_stage("line_edits").options(edits=["symbols"])


# Bad words. The tests use mild ones.


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    path = tmp_path_factory.mktemp("words") / "lists.json.gz"
    words = {"en": ["darn", "two words", "o'hell", "Naïve", ""], "fr": ["zut"], "ja": ["馬鹿"], "hi": ["गध"]}
    path.write_bytes(gzip.compress(json.dumps(words).encode()))
    return str(path)


@pytest.mark.parametrize(
    ("text", "language", "words", "distinct"),
    [
        ("Darn! DARN darn, undarned darning", "en", 3, 1),
        ("darn\ndarn2 _darn_ (darn) two  words two words", "en", 4, 2),
        ("o'hell NAÏVE naïve", "en", 3, 2),
        ("darn zut", "fr", 1, 1),
        ("darn", "en_Latn", 1, 1),
        ("darn", "eng_Latn", 1, 1),  # as GlotLID calls it
        ("darn", "de", 0, 0),  # no list
        ("darn", "", 0, 0),
        ("あの馬鹿者", "ja", 1, 1),  # no spaces between words
        ("あの馬鹿者", "en", 0, 0),
        ("गधा", "hi", 0, 0),  # a vowel sign makes it another word
        ("", "en", 0, 0),
    ],
)
def test_bad_words(lists, text, language, words, distinct):
    (row,) = measured("bad_words", text, columns={"langid.language": [language]}, lists=lists)
    assert row == {"words": words, "distinct": distinct}


def test_the_packaged_lists_are_those_of_27_languages():
    words = json.loads(gzip.decompress(bad_words_module._PACKAGED.read_bytes()))
    assert len(words) == 27
    assert sum(map(len, words.values())) == 2_652
    assert not {"sm", "グロ", "女の子"} & set(words["ja"])
    options = find_stage("bad_words").options()
    assert len(find_stage("bad_words").models(options)[0]) == 64
    texts = [f"So {word}, he said." for word in words["en"]]
    rows = measured("bad_words", *texts, columns={"langid.language": ["en"] * len(texts)})
    assert all(row["words"] >= 1 for row in rows)


BAD_PIECES = ["darn", "two words", "Darn", " ", "-", "ä", "x", "7", "é", "\n", "o'hell", "馬"]


@checked
@given(st.lists(st.lists(st.sampled_from(BAD_PIECES), max_size=20).map("".join), min_size=1, max_size=5))
def test_bad_words_are_those_of_a_regular_expression(lists, texts):
    found = measured("bad_words", *texts, columns={"langid.language": ["en"] * len(texts)}, lists=lists)
    patterns = [
        rf"(?<![^\W_]){re.escape(word)}(?![^\W_])" for word in ("darn", "two words", "o'hell", "naïve")
    ]
    for text, row in zip(texts, found, strict=True):
        counts = [len(re.findall(pattern, text.lower())) for pattern in patterns]
        assert row == {"words": sum(counts), "distinct": sum(map(bool, counts))}


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"en": "darn"}', '{"en": [1]}'])
def test_lists_that_are_none_are_told_when_the_recipe_is_planned(tmp_path, content):
    path = tmp_path / "lists.json"
    path.write_text(content)
    stage = find_stage("bad_words")
    with pytest.raises(RecipeError, match=r"lists\.json") as caught:
        stage.models(stage.options(lists=str(path)))
    assert '{"en": ' in caught.value.hint


# Models.


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "fruit.ftz"
    rows = [("fruit", f"{word} and {n}") for word in ("apple", "pear", "plum") for n in range(40)]
    rows += [("fish", f"{word} and {n}") for word in ("cod", "eel", "pike") for n in range(40)]
    path.write_bytes(fit_model(rows, Fit(epochs=20, dimensions=4, buckets=2_000)))
    return str(path)


def test_classifier_scores_the_probability_of_a_label(model):
    texts = ["apple pear", "cod\neel", "", " \n", "apple __label__fish </s> \0 plum"]
    fruit = measured("classifier", *texts, model=model, label="fruit")
    fish = measured("classifier", *texts, model=model, label="fish")
    assert fruit[0]["score"] > 0.9 > 0.1 > fruit[1]["score"]
    assert fruit[4]["score"] > 0.9
    assert [row["score"] for row in fruit[2:4]] == [0, 0]
    for one, other in zip(fruit[:2], fish[:2], strict=True):
        assert one["score"] + other["score"] == pytest.approx(1, abs=2e-5)
    assert fruit == [measured("classifier", text, model=model, label="fruit")[0] for text in texts]


def test_draws_are_a_pareto_distribution_of_text_and_seed(model):
    texts = [f"text number {n}" for n in range(4_000)]
    rows = {seed: measured("classifier", *texts, model=model, label="fruit", seed=seed) for seed in (0, 1)}
    draws = np.array([row["draw"] for row in rows[0]])
    assert draws.min() >= 0
    for value in (0.1, 0.5, 1.0):  # NeMo keeps what draws more than 1 - score
        assert (draws > value).mean() == pytest.approx((1 + value) ** -3, abs=0.02)
    other = np.array([row["draw"] for row in rows[1]])
    assert abs(np.corrcoef(draws > 0.3, other > 0.3)[0, 1]) < 0.06
    assert measured("classifier", texts[7], model=model, label="fish")[0]["draw"] == draws[7]


@pytest.mark.parametrize(
    ("damage", "message"),
    [("absent", "cannot be read"), ("text", "does not begin as one"), ("cut", "its dictionary is cut off")],
)
def test_a_model_that_is_none_is_told_when_the_recipe_is_planned(model, tmp_path, damage, message):
    path = tmp_path / "model.ftz"
    whole = open(model, "rb").read()  # noqa: PTH123, SIM115
    if damage != "absent":
        path.write_bytes(
            whole[:300] if damage == "cut" else b"not a model, but long enough for the head " * 4
        )
    stage = find_stage("classifier")
    with pytest.raises(RecipeError, match=message):
        stage.models(stage.options(model=str(path), label="fruit"))


def test_a_run_with_a_classifier_tells_an_unknown_label_first(model, tmp_path):
    recipe = make_recipe(tmp_path, count=12)
    step = f'\n[filtered.fruit]\nuse = "classifier"\nmodel = {json.dumps(model)}\nlabel = "LABEL"\ndrop.fish = "draw <= 1 - score"\n'
    recipe.write_text(recipe.read_text() + step.replace("LABEL", "fruits"))
    with pytest.raises(RecipeError, match='has no label "fruits"') as caught:
        run(recipe)
    assert caught.value.hint.startswith('Did you mean "fruit"')
    recipe.write_text(recipe.read_text().replace("fruits", "fruit"))
    assert run(recipe).table("filtered").measured > 0


def test_toxicity_reads_english_passages_only():
    texts = [
        "You are a worthless idiot and everybody hates you.",
        "The harbour opens early and the boats leave before dawn.",
        "",
        "You are a worthless idiot and everybody hates you.",
    ]
    rows = measured("toxicity", *texts, columns={"langid.language": ["en", "en", "en", "de"]})
    assert rows[0]["score"] > 0.95
    assert rows[0]["share"] == 1
    assert rows[1]["score"] < 0.5
    assert [rows[2], rows[3]] == [{"score": 0, "share": 0}] * 2
    long = "\n".join([texts[1]] * 40 + [texts[0]] * 8)
    (row,) = measured("toxicity", long, columns={"langid.language": ["eng_Latn"]})
    assert row["score"] > 0.9
    assert 0 < row["share"] < 0.35


def test_the_toxicity_model_is_the_one_of_its_card():
    opening.open_model(opening.TOXICITY)  # refuses another sha256
    assert set(opening.model_labels(opening.TOXICITY)) == {"toxic", "ok"}
    assert opening.TOXICITY.stat().st_size < 2_000_000


ARPA = """\\data\\
ngram 1=6
ngram 2=4

\\1-grams:
-1.0\t<unk>
-99\t<s>\t-0.3
-0.9\t</s>
-0.7\tthe\t-0.2
-0.8\tharbour\t-0.2
-1.1\topens\t0

\\2-grams:
-0.2\t<s> the
-0.3\tthe harbour
-0.4\tharbour opens
-0.5\topens </s>

\\end\\
"""


def test_perplexity_is_that_of_the_sentences_of_a_text(tmp_path):
    pytest.importorskip("kenlm")
    path = tmp_path / "tiny.arpa"
    path.write_text(ARPA)
    texts = [
        "the harbour opens",
        "the harbour opens\n\nthe harbour opens\n",
        "zz",
        "The harbour opens",
        "",
        " \n",
    ]
    rows = measured("perplexity", *texts, model=str(path))
    assert rows[0] == {"per_word": pytest.approx(10 ** (1.4 / 4), abs=1e-3), "unknown": 0}
    assert rows[1] == rows[0]
    # <unk> after <s> costs the backing off from <s> too.
    assert rows[2] == {"per_word": pytest.approx(10 ** ((0.3 + 1.0 + 0.9) / 2), abs=1e-3), "unknown": 1}
    assert rows[3]["unknown"] == pytest.approx(1 / 3, abs=1e-4)
    assert measured("perplexity", texts[3], model=str(path), lowercase=True) == [rows[0]]
    assert rows[4:] == [{"per_word": 0, "unknown": 0}] * 2
    path.write_text(ARPA[:120])
    with pytest.raises(RecipeError, match="is not a KenLM model") as caught:
        measured("perplexity", "the", model=str(path))
    assert "lmplz" in caught.value.hint


ENGLISH = "The harbour opens early and the boats leave before dawn, while the gulls circle over the old wooden pier. "
GERMAN = (
    "Der Hafen öffnet früh am Morgen, und die Boote fahren noch vor der Dämmerung hinaus auf das weite Meer. "
)


@pytest.mark.parametrize("between", ["\n\n", "\n", "\n \t\n\n"])
def test_langid_paragraphs_finds_the_paragraph_in_another_language(between):
    text = between.join([ENGLISH, GERMAN, ENGLISH + ENGLISH, "Impressum"])
    (row,), (left,) = measured("langid_paragraphs", text)
    assert row == {
        "main_language": "en",
        "paragraphs": 3,
        "other_paragraphs": 1,
        "other_share": pytest.approx((len(GERMAN) + len(between)) / len(text), abs=1e-6),
    }
    assert left == text
    (again,), (left,) = measured("langid_paragraphs", text, paragraphs="drop")
    assert again == row
    assert left == between.join([ENGLISH, ENGLISH + ENGLISH, "Impressum"])
    assert measured("langid_paragraphs", left)[0][0]["other_share"] == 0


def test_langid_paragraphs_of_short_texts_says_nothing():
    for text in ("", "Guten Tag", "Home\n\nKontakt\n\nAbout us"):
        (row,), (left,) = measured("langid_paragraphs", text, paragraphs="drop")
        assert row == {"main_language": "", "paragraphs": 0, "other_paragraphs": 0, "other_share": 0}
        assert left == text


@pytest.mark.slow
def test_a_recipe_with_these_stages_runs_through_worker_processes(tmp_path):
    recipe = make_recipe(tmp_path, count=20)
    steps = ("url_filter", "line_edits", "langid_paragraphs", "bad_words", "toxicity")
    headers = "".join(f"\n[filtered.{step}]\n" for step in steps)
    recipe.write_text(recipe.read_text() + headers + 'drop.abuse = "share > 0.1 AND bad_words.words > 0"\n')
    report = run(recipe, workers=2)
    assert report.table("filtered").measured > 0
    assert report.table("filtered").failures == []
    assert run(recipe).table("filtered").measured == 0
