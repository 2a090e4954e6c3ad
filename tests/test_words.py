"""The words that sketches are made of: those of plain Python, one hash for each, wherever they stand."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.normalize import fold_table
from curate.dedup.plain import plain_words
from curate.dedup.shingles import ShingleOptions, hash_seed, read_only
from curate.dedup.words import words_bound, words_of

OPTIONS = [
    ShingleOptions(normalization=normalization, digits=digits)
    for normalization, digits in itertools.product(("fold", "lower", "none"), ("keep", "collapse"))
]
# Blocks of 64 bytes, words of 8 and 16: what is around these sizes is where a mistake would be.
PIECES = [
    "a", "B", "7", "cafe", "Café", "CAFÉ", "don't", "ﬁn", "co\u00adop", "e\u0301", "straße", "ЖУК", "жук", "日本", "東", "ไทย",
    "seventh", "EIGHTHHH", "ninetyni9", "fifteen-letters", "sixteenletters16", "seventeenletters1", "x" * 63, "X" * 64,
    "y" * 65, "z" * 200, "é" * 40, "12345", "٣", "\U0001f600", "😀", "\x00", "\x7f", "_", "@", "[", "`", "{",
    "/", ":", " ", " ", " ", "  ", "\n", "\u2003", "“", "”", "\u200d", " " * 61,
]  # fmt: skip
WRITTEN = st.characters(max_codepoint=0x3FFFF, exclude_categories=["Cs"])  # no letter stands above
texts = st.lists(st.sampled_from(PIECES) | st.text(WRITTEN, max_size=3), max_size=40).map("".join)


def hashes(column, options, at):
    """Hashes of the words of one text of a column, and their bytes."""
    table = fold_table(options.digits, options.normalization, options.unit)
    data = read_only(list("".join(column).encode()), np.uint8)
    start = len("".join(column[:at]).encode())
    size = len(column[at].encode())
    out, room = np.empty(words_bound(size), np.uint64), np.empty(64, np.uint8)
    begins, ends = np.empty(words_bound(size), np.int32), np.empty(words_bound(size), np.int32)
    seed = hash_seed(options)
    count = words_of(data, start, start + size, table, seed, out, room, begins, ends)
    alone = np.empty(words_bound(size), np.uint64)
    assert words_of(data, start, start + size, table, seed, alone, room) == count
    assert alone[:count].tolist() == out[:count].tolist()
    return out[:count].tolist(), begins[:count].tolist(), ends[:count].tolist()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@settings(deadline=None, max_examples=200)
@given(column=st.lists(texts, min_size=1, max_size=4))
def test_words_are_those_of_plain_python(options, column):
    known, heard = {}, {}
    for at, text in enumerate(column):
        found, begins, ends = hashes(column, options, at)
        words = plain_words(text, options)
        assert len(found) == len(words)
        for word, hashed, begin, end in zip(words, found, begins, ends, strict=True):
            assert known.setdefault(word, hashed) == hashed
            assert heard.setdefault(hashed, word) == word
            if options.digits == "keep":
                assert word in plain_words(text.encode()[begin:end].decode(), options)


def test_a_word_has_one_hash_at_every_place():
    """At the end of a buffer no byte behind it is read, and a block may end in any of its bytes."""
    words, wanted = ["Word", "eighteen-and-more-letters-in-one".replace("-", ""), "naïve", "x" * 16], None
    for before in range(70):
        found = [hashes([" " * before + word], OPTIONS[0], 0)[0] for word in words]
        again = [hashes(["é" * before, f"{' ' * before}{word} and"], OPTIONS[0], 1)[0][:1] for word in words]
        parted = [hashes([" " * before + f"{word[:3]}\u00ad{word[3:]}"], OPTIONS[0], 0)[0] for word in words]
        wanted = wanted or found
        assert found == again == parted == wanted
