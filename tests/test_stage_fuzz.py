"""Every stage, with every kind of its options, over hostile texts: what each of them promises for any text at all.

No text breaks it; no measurement is NULL, NaN or infinite, and they are the same whatever else is in the batch, in
whatever order and after whichever steps; and what a stage wrote it can be given again.
"""

import math
import time
from importlib.util import find_spec

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.engine.shard import measure_texts
from curate.engine.stage import find_stage, stage_names
from curate.models.opening import TOXICITY
from curate.models.toxicity import LABEL
from tests.hostile_texts import SPELLS, TEXTS

ARPA = """\\data\\
ngram 1=4
ngram 2=2

\\1-grams:
-1.0\t<unk>
-99\t<s>\t-0.3
-0.9\t</s>
-0.7\tthe\t-0.2

\\2-grams:
-0.2\t<s> the
-0.3\tthe </s>

\\end\\
"""
LIST = "word\nexample.org\nhttps://example.org/a\nthe boats\n#\n中\n"  # an entry a line, of any kind
OTHER_DIALECTS = [{"dialect": dialect} for dialect in ("dolma", "redpajama", "dclm", "nemo")]
EXACT = {"splitter": "english-exact"}
LISTS = dict.fromkeys(("domains", "urls", "words", "soft_words", "sub_words"), "list")
OPTIONS = {
    "anonymize": [{}, {"private_ips": True, "region": ["DE", "US"], "allow": ["example.org"]}],
    "c4": [{}, EXACT, {"dialect": "tfds"}, {"terminal_punctuation": False, "min_words_per_line": 1}],
    "classifier": [{"model": str(TOXICITY), "label": LABEL}],
    "contamination": [{"files": "quiz.txt", "edit": "cut", "min_words": 1}],
    "fineweb": [{}, EXACT],
    "gopher_quality": [{}, EXACT, *OTHER_DIALECTS],
    "gopher_repetition": [{}, EXACT, *OTHER_DIALECTS],
    "langid": [{}, {"max_chars": 0}, {"max_chars": 1}],
    "langid_paragraphs": [{"min_chars": 1, "min_score": 0.1}, {"paragraphs": "drop", "min_chars": 5, "min_score": 0.2}],
    "line_edits": [{}, {"edits": ["symbols", "short"], "symbols": ["|", ".", "\x00"], "replace": "\n"}],
    "perplexity": [{"model": "arpa"}, {"model": "arpa", "lowercase": True}],
    "repair": [{}, {"unescape_html": False}],
    "tokenize": [{}, {"special_tokens": True}],
    "url_filter": [LISTS, {**LISTS, "dialect": "datatrove"}],
}  # fmt: skip
VARIANTS = [
    (name, options)
    for name in stage_names()
    for options in OPTIONS.get(name, [{}])
    if name != "perplexity" or find_spec("kenlm")
]
# Models of a language, and a step that is the only one of its table.
ALONE = ("langid", "perplexity", "repeated_passages")
CHAIN = [(name, OPTIONS.get(name, [{}])[0]) for name in stage_names() if name not in ALONE]
SETTLED = {"anonymize", "repair"}  # stages that find nothing to do in what they wrote
LANGUAGES = ("en", "", "zh", "de", "fra_Latn", "ja")

drawn = st.one_of(
    st.lists(st.sampled_from(SPELLS), max_size=60).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.builds(lambda name, size: TEXTS[name](size), st.sampled_from(sorted(TEXTS)), st.integers(0, 300)),
)
batches = st.lists(drawn, max_size=5)
quick, thorough = (settings(deadline=None, max_examples=count) for count in (40, 250))


@pytest.fixture(scope="module")
def measure(tmp_path_factory):
    """Gives what the engine would store for texts: a dict each of measurements, digest_out, and text if it is another."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "list").write_text(LIST)
    (folder / "arpa").write_text(ARPA)
    (folder / "quiz.txt").write_text(
        "the boats\n中文中文\nthe the the the the the the the the the the the the the\n"
    )

    def call(steps, texts, origins=None):
        called = [(name, find_stage(name), {**options, **_paths(folder, options)}) for name, options in steps]
        urls = origins or texts
        languages = [LANGUAGES[len(url) % len(LANGUAGES)] for url in urls]
        # Some texts are a passage that stands elsewhere, too, as a whole.
        passages = [f"0-{len(text.encode())}" if text and len(text) % 3 == 0 else "" for text in texts]
        columns = {
            "url": _strings(urls), "langid.language": _strings(languages), "passages": _strings(passages),
        }  # fmt: skip
        seconds = dict.fromkeys([name for name, *_ in called], 0.0)
        table, errors = measure_texts(_strings(texts), _strings(texts), columns, called, seconds)
        assert errors == []
        return table.drop_columns("key").to_pylist()

    return call


def _paths(folder, options):
    return {
        key: str(folder / value) for key, value in options.items() if value in ("list", "arpa", "quiz.txt")
    }


def _strings(values):
    return pa.array(values, pa.large_string())


def assert_sound(measure, name, options, texts, size=1):
    """What every stage promises for some texts, which are measured again backwards, in batches of a size, and as left."""
    steps = [(name, options)]
    rows = measure(steps, texts)
    assert all(
        math.isfinite(value) for row in rows for value in row[name].values() if isinstance(value, float)
    )
    assert measure(steps, texts[::-1]) == rows[::-1]
    assert [row for at in range(0, len(texts), size) for row in measure(steps, texts[at : at + size])] == rows
    left = _left(texts, rows)
    for before, after in zip(left, measure(steps, left), strict=True):
        assert after["text"] is None or (len(after["text"]) < len(before) and name not in SETTLED)


def _left(texts, rows):
    return [one if row["text"] is None else row["text"] for one, row in zip(texts, rows, strict=True)]


def assert_shared(measure, steps, texts):
    """Steps one after the other, which share what they found, give what each gives alone."""
    rows, left = measure(steps, texts), texts
    for step in steps:
        alone = measure([step], left, texts)
        assert [row[step[0]] for row in rows] == [row[step[0]] for row in alone]
        left = _left(left, alone)
    assert _left(texts, rows) == left


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=str)
def test_a_stage_stands_every_kind_of_text(name, options, measure):
    assert_sound(measure, name, options, [make(size) for make in TEXTS.values() for size in (1, 300)], 30)


@quick
@given(st.sampled_from(VARIANTS), batches)
def test_a_stage_stands_any_text(measure, variant, texts):
    assert_sound(measure, *variant, texts)


@quick
@given(
    st.permutations(CHAIN).flatmap(lambda steps: st.integers(1, 6).map(lambda count: steps[:count])), batches
)
def test_what_steps_share_changes_no_result(measure, steps, texts):
    assert_shared(measure, steps, texts)


@pytest.mark.slow
@thorough
@given(st.sampled_from(VARIANTS), st.permutations(CHAIN), batches)
def test_a_stage_stands_any_text_at_length(measure, variant, steps, texts):
    assert_sound(measure, *variant, texts)
    assert_shared(measure, steps, texts)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=str)
def test_time_grows_with_the_text_and_no_faster(name, options, measure):
    measure([(name, options)], ["warm up"])
    for kind in TEXTS:
        long = _seconds(measure, name, options, TEXTS[kind](200_000))
        if long > 0.2:  # what takes no time takes no time that grows
            assert long < 12 * _seconds(measure, name, options, TEXTS[kind](50_000)) + 0.5, kind


def _seconds(measure, name, options, text):
    begun = time.process_time()
    measure([(name, options)], [text])
    return time.process_time() - begun
