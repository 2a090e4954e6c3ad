"""What stages are told of the tokens of a text, by whatever splitter."""

import random
from itertools import pairwise

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.text.arrow import buffers
from curate.text.punctuation import SYMBOLS, TERMINAL
from curate.text.sentences import count_sentences
from curate.text.stretches import find_stretches
from curate.text.tokens import (
    STARTS,
    STARTS_SEEN,
    count_vocabulary,
    find_tokens,
    stretch_tokens,
    tokens_at,
)
from curate.text.words import find_words

checked = settings(deadline=None, max_examples=80)
PIECES = [
    *"aZé1中。.,!?'\")(-»#\x00\x1f\x85",
    " ",
    " ",
    "\n",
    "\t",
    "\u3000",
    "\u2028",
    "word",
    "U.S.",
    "…",
    "😀",
    "１",
]
corpora = st.lists(st.lists(st.sampled_from(PIECES), max_size=80).map("".join), max_size=5)


def strings(texts):
    return pa.array(texts, pa.large_string())


def parts(tokens):
    data = bytes(tokens.compact)
    return [data[a:b].decode() for a, b in zip(tokens.start[:-1], tokens.start[1:], strict=True)]


@checked
@given(
    corpora, st.lists(st.sampled_from(["word", "U.S.", "a", "1中", "é", "never seen", "x" * 40]), unique=True)
)
def test_the_words_of_a_vocabulary_are_counted_once_a_text(texts, vocabulary):
    tokens = stretch_tokens(strings([*texts, "x" * 40]))
    expected = [len(set(text.split()) & set(vocabulary)) for text in [*texts, "x" * 40]]
    assert count_vocabulary(tokens, vocabulary).tolist() == expected


@checked
@given(corpora)
def test_the_first_token_of_each_stretch(texts):
    array = strings(texts)
    for splitter in ("plain", "english-exact"):
        tokens = find_tokens(array, splitter)
        assert tokens.stretch_token[-1] == len(tokens.id)
        for row, text in enumerate(texts):
            low, high = tokens.stretch_first[row : row + 2]
            firsts = tokens.stretch_token[low : high + 1].tolist()
            found = [parts(tokens)[a:b] for a, b in pairwise(firsts)]
            whole = splitter == "english-exact"  # which leaves nothing out
            for own, stretch in zip(found, text.split(), strict=True):
                assert "".join(own) == stretch if whole else all(token in stretch for token in own)


@checked
@given(corpora)
def test_tokens_are_what_was_given(texts):
    array = strings(texts)
    tokens, words = find_tokens(array, "plain"), find_words(array)
    found = parts(tokens)
    assert tokens.first.tolist() == words.first.tolist()
    assert (
        len(set(zip(found, tokens.id.tolist(), strict=True)))
        == len(set(found))
        == len(set(tokens.id.tolist()))
    )
    for row, text in enumerate(texts):
        low, high = words.first[row], words.first[row + 1]
        data = text.encode()
        own = [data[a:b].decode() for a, b in zip(words.start[low:high], words.end[low:high], strict=True)]
        assert found[low:high] == own


@checked
@given(corpora)
def test_counts_are_the_slow_definition(texts):
    tokens = stretch_tokens(strings(texts))
    for row, text in enumerate(texts):
        words = text.split()
        assert parts(tokens)[tokens.first[row] : tokens.first[row + 1]] == words
        symbols = [word for word in words if set(word) <= set(SYMBOLS)]
        assert tokens.symbols[row] == len(symbols)
        assert tokens.length[row] == sum(map(len, words)) - sum(map(len, symbols))
        assert tokens.lettered[row] == sum(any(map(str.isalpha, word)) for word in words)


@checked
@given(corpora)
def test_stretches_are_those_of_split(texts):
    first, start, end = find_stretches(*buffers(strings(texts)))
    for row, text in enumerate(texts):
        data, own = text.encode(), slice(int(first[row]), int(first[row + 1]))
        assert [data[a:b].decode() for a, b in zip(start[own], end[own], strict=True)] == text.split()


def slow_sentences(line):
    """Ends after a mark that ends a stretch (closing quotes aside), or one that is not ASCII; begins with a word."""
    words, count, pending = find_words(strings([line])), 1, False
    begins = set(words.start.tolist())
    for stretch in line.split():
        at = line.encode().index(stretch.encode(), slow_sentences.at)
        slow_sentences.at = at + len(stretch.encode())
        for place, character in enumerate(stretch):
            if at + len(stretch[:place].encode()) in begins:
                count += pending
                pending = False
            pending = pending or (character in TERMINAL and not character.isascii())
        bare = stretch.rstrip("\"')]}’”»")
        pending = pending or bare[-1:] in tuple(TERMINAL)
    return count


@checked
@given(st.lists(st.lists(st.sampled_from([*"ab中。.!?'\")»1", " ", "x.", "。a"]), max_size=60).map("".join).map(
    lambda text: " ".join(text.split())
), max_size=5))  # fmt: skip
def test_sentences_of_the_plain_splitter(lines):
    tokens = find_tokens(strings(lines), "plain")
    expected = []
    for line in lines:
        slow_sentences.at = 0
        expected.append(slow_sentences(line))
    assert count_sentences(strings(lines), tokens).tolist() == expected


def test_white_space_that_is_no_single_space_can_begin_a_sentence():
    lines = ["a. b", "a.  b", "a.\tb", "a. ", "a.  ", " a.", "", "  "]
    found = count_sentences(strings(lines), find_tokens(strings(lines), "plain"))
    assert found.tolist() == [2, 2, 2, 1, 2, 1, 1, 1]


def test_the_bits_of_many_sentences_in_one_stretch_stay_apart():
    text = "中。" * 20_000
    (mark,) = find_tokens(strings([text]), "plain").marks.tolist()
    assert mark & STARTS == mark >> STARTS_SEEN & STARTS == STARTS


def test_many_different_tokens_keep_their_numbers():
    chance = random.Random(1)
    words = [f"{chance.randrange(50_000):x}" * chance.randint(1, 4) for _ in range(120_000)]
    tokens = stretch_tokens(strings([" ".join(words[:1000]), "", " ".join(words[1000:])]))
    numbers = dict(zip(words, tokens.id.tolist(), strict=True))
    assert [numbers[word] for word in words] == tokens.id.tolist()
    assert len(set(numbers.values())) == len(numbers) == tokens.id.max() + 1


def test_no_text_and_no_token():
    for texts in ([], [""], ["", " "]):
        tokens = find_tokens(strings(texts), "plain")
        assert tokens.tokens.tolist() == [0] * len(texts)
        assert len(tokens.id) == len(tokens.marks) == 0


def test_given_places_may_overlap_no_white_space():
    text = "東京都 に住む"
    first, start, end = np.array([0, 3]), np.array([0, 6, 10], np.int32), np.array([6, 9, 13], np.int32)
    tokens = tokens_at(strings([text]), first, start, end)
    assert parts(tokens) == ["東京", "都", "に"]
    assert tokens.stretch_first.tolist() == [0, 2]
