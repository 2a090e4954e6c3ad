"""The splitter `segmenter`: ICU's words, in scripts without spaces too."""

import sys

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from icu4py.breakers import WordBreaker

from curate.engine.stage import Batch, find_stage
from curate.text.tokens import depends_on, find_tokens
from schemas.errors import MissingExtraError

SENTENCES = {
    "我们今天去北京大学。": ["我们", "今天", "去", "北京", "大学", "。"],
    "東京で日本語を勉強": ["東京", "で", "日本語", "を", "勉強"],
    "ฉันรักประเทศไทย": ["ฉัน", "รัก", "ประเทศไทย"],
    "ខ្ញុំស្រឡាញ់ប្រទេសកម្ពុជា": ["ខ្ញុំ", "ស្រឡាញ់", "ប្រទេស", "កម្ពុជា"],
    "Hello, world's\u3000😀 e-mail.": ["Hello", ",", "world's", "😀", "e", "-", "mail", "."],
    " \u0301a \n": ["\u0301", "a"],
    "": [],
    " \n": [],
}
pieces = st.sampled_from(
    [*"a1中の ก้\u0301\u200d😀。.,'\n\t\u3000\0", "ที่", "한국", "👨‍👩‍👧", "\r\n", "\u1e9e"]
)


def tokens_of(texts):
    tokens = find_tokens(pa.array(texts, pa.large_string()), "segmenter")
    data = bytes(tokens.compact)
    whole = [data[a:b].decode() for a, b in zip(tokens.start[:-1], tokens.start[1:], strict=True)]
    return [whole[a:b] for a, b in zip(tokens.first[:-1], tokens.first[1:], strict=True)]


def test_words_are_found_in_scripts_without_spaces():
    assert tokens_of([*SENTENCES]) == [*SENTENCES.values()]


@settings(deadline=None, max_examples=300)
@given(st.lists(st.lists(pieces, max_size=30).map("".join), max_size=4))
def test_tokens_are_the_pieces_of_icu_without_white_space(texts):
    for text, tokens in zip(texts, tokens_of(texts), strict=True):
        assert tokens == [part for piece in WordBreaker(text, "") for part in piece.split()]


def test_a_stage_counts_the_words_that_the_segmenter_finds():
    texts = pa.array(["我们今天去北京大学。" * 10, "We go to the university today. " * 5], pa.large_string())
    stage = find_stage("gopher_quality")
    options = stage.options(splitter="segmenter", stop_words=["我们", "今天", "the", "to"])
    measured = stage.run(Batch(texts), options).measures
    assert measured["words"].to_pylist() == [50, 30]
    assert measured["stop_words"].to_pylist() == [2, 2]
    assert measured["mean_word_length"].to_pylist() == [9 / 5, 24 / 6]
    repeated = find_stage("gopher_repetition")
    found = repeated.run(Batch(texts), repeated.options(splitter="segmenter")).measures
    assert min(found["top_4_gram"].to_pylist()) > 0.3


def test_another_icu_gives_other_measurements_and_without_it_the_error_says_what_to_install(monkeypatch):
    assert depends_on("plain") == ()
    (version,) = depends_on("segmenter")
    assert version.startswith("ICU ")
    stage = find_stage("fineweb")
    assert stage.models(stage.options(splitter="segmenter")) == (version,)
    monkeypatch.setitem(sys.modules, "icu4py", None)
    with pytest.raises(MissingExtraError, match="icu4py") as error:
        stage.models(stage.options(splitter="segmenter"))
    assert "[segmenter]" in error.value.hint
