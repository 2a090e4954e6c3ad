"""N-grams, pieces and the lines of C4 against slow and obvious Python, and on texts made to be large."""

import random
import re
import string
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.engine.stage import Batch, find_stage
from curate.text import ngrams
from curate.text.ngrams import DUPLICATED, TOP, duplicated_grams, top_grams
from curate.text.repeats import count_repeated, drop_blank, split_pieces
from curate.text.tokens import stretch_tokens
from tests.test_fineweb import one, run, strings

checked = settings(deadline=None, max_examples=80)

WORDS = st.sampled_from(["a", "b", "ab", "ba", "é", "word", "Word", "interesting", "ß"])
SPACES = st.sampled_from([" ", " ", " ", "\n", "\n\n", "\n \n", "  ", "\n\n\n", ". ", "\u3000"])
repetitive = st.lists(st.tuples(WORDS, SPACES), max_size=60).map(lambda pairs: "".join(map("".join, pairs)))
corpora = st.lists(
    repetitive | st.tuples(repetitive, st.integers(2, 4)).map(lambda pair: pair[0] * pair[1]), max_size=5
)


def grams(words, n):
    return [tuple(words[at : at + n]) for at in range(len(words) - n + 1)]


def size(words):
    return sum(map(len, words))


def slow_top(words, n):
    """(first place, count, characters) of the most frequent n-gram."""
    found = grams(words, n)
    if not found:
        return 0, 0, 0
    best, times = Counter(found).most_common(1)[0]
    return found.index(best), times, size(best)


def slow_duplicated(words, n):
    seen, characters, at = set(), 0, 0
    while at + n <= len(words):
        gram = "".join(words[at : at + n])
        characters += len(gram) * (gram in seen)
        at += n if gram in seen else 1
        seen.add(gram)
    return characters


@checked
@given(corpora)
def test_ngrams_are_the_slow_definition(texts):
    tokens = stretch_tokens(strings(texts))
    top, duplicated = top_grams(tokens), duplicated_grams(tokens)
    for row, text in enumerate(texts):
        words = text.split()
        for column, n in enumerate(TOP):
            found = top.place[row, column], top.times[row, column], top.length[row, column]
            assert found == slow_top(words, n)
        assert duplicated[row].tolist() == [slow_duplicated(words, n) for n in DUPLICATED]


@checked
@given(
    st.lists(
        st.lists(st.sampled_from(["a", "bb", "\n", "\n\n", " ", "\u2003", "é"]), max_size=40).map("".join)
    )
)
def test_pieces_are_the_slow_definition(texts):
    array = strings(texts)

    def found(pieces, row):
        data = texts[row].encode()
        low, high = pieces.first[row], pieces.first[row + 1]
        return [data[a:b].decode() for a, b in zip(pieces.start[low:high], pieces.end[low:high], strict=True)]

    for newlines in (1, 2):
        runs = split_pieces(array, newlines, strip=newlines == 2)
        single = split_pieces(array, newlines, runs=False)
        bare = drop_blank(array, single, strip=True)
        repeated, copies = count_repeated(array, single), count_repeated(array, single, copies=True)
        for row, text in enumerate(texts):
            source = text.strip() if newlines == 2 else text
            assert found(runs, row) == re.split(rf"\n{{{newlines},}}", source)
            parts = text.split("\n" * newlines)
            assert found(single, row) == parts
            assert found(bare, row) == [part.strip() for part in parts if part.strip()]
            again = [part for place, part in enumerate(parts) if part in parts[:place]]
            assert (repeated[0][row], repeated[1][row]) == (len(again), size(again))
            more = [part for part in parts if parts.count(part) > 1]
            assert (copies[0][row], copies[1][row]) == (len(more), size(more))


def slow_c4(text, min_words, marks, bare):
    kept, dropped = [], Counter()
    for raw in text.splitlines():
        line = raw.strip()
        words = line.split()
        if any(len(word) > 1000 for word in words):
            dropped["long_word"] += 1
            continue
        line = re.sub(r"\[\d*]|\[edit]|\[citation needed]", "", line)
        words = line.split() if bare else words
        lower = line.lower()
        policy = (
            "terms of use",
            "privacy policy",
            "cookie policy",
            "uses cookies",
            "use of cookies",
            "use cookies",
        )
        if marks and (not line.endswith(marks) or line.endswith("...")):
            dropped["no_punctuation"] += 1
        elif len(words) < min_words:
            dropped["few_words"] += 1
        elif "lorem ipsum" in lower or ("{" in line and "javascript" not in lower):
            return None, dropped
        elif "javascript" in lower:
            dropped["javascript"] += 1
        elif any(phrase in lower for phrase in policy):
            dropped["policy"] += 1
        else:
            kept.append(line)
    return "\n".join(kept).strip(), dropped


LINES = [*"aZ.?!'\"{[]1 \n\t", "\u3000", "\r\n", "\x85", "word ", "...", "[12]", "[edit]", " is here.", "lorem ipsum",
         "JavaScript", "java", "script", "use cookies", "cookie policy", "Privacy Policy", "terms of use",
         "uses coo\u212aies", "İ", "É", "x" * 1001, "é" * 1000, "[citation needed]"]  # fmt: skip


@checked
@given(
    st.lists(st.lists(st.sampled_from(LINES), max_size=40).map("".join), max_size=4),
    st.booleans(),
    st.booleans(),
)
def test_c4_is_the_slow_definition(texts, tfds, punctuation):
    options = {
        "dialect": "tfds" if tfds else "datatrove",
        "terminal_punctuation": punctuation,
        "min_words_per_line": 2,
    }
    rows, after = run("c4", texts, **options)
    marks = (".", "?", "!", '"') if tfds else (".", "?", "!", '"', "'")
    for text, row, new in zip(texts, rows, after, strict=True):
        expected, dropped = slow_c4(text, 2, marks if punctuation else (), tfds)
        flagged = row["lorem_ipsum"] or row["curly_bracket"]
        assert flagged == (expected is None)
        assert new == (text if flagged else expected)
        if not flagged:
            assert {cause: row[f"lines_{cause}"] for cause in dropped} == dropped


def test_no_other_character_becomes_a_letter_of_a_phrase():
    letters = set(string.ascii_letters)
    folded = {chr(point) for point in range(128, 0x110000) if set(chr(point).lower()) & letters}
    assert folded == {"\u212a", "\u0130"}  # the dot that stays beside the i of the second is in no phrase


# Size


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_million_empty_texts():
    array = strings([""] * 1_000_000)
    for name in ("gopher_repetition", "gopher_quality", "c4", "fineweb"):
        stage = find_stage(name)
        result = stage.run(Batch(array), stage.options())
        assert not any(values.to_numpy(zero_copy_only=False).any() for values in result.measures.values())


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "text",
    ["word " * 1_000_000, "x" * 4_000_000, "a\n" * 1_000_000, "(" * 1_000_000, "[1] " * 500_000, "中" * 1_000_000,
     "\n" * 2_000_000, "ab ba a b " * 200_000],
    ids=["one word", "one stretch", "one line", "brackets", "citations", "Chinese", "line ends", "two letters"],
)  # fmt: skip
def test_long_texts_take_linear_time(text):
    for name in ("gopher_repetition", "gopher_quality", "c4", "fineweb"):
        one(name, text)
    for dialect in ("dolma", "redpajama", "dclm", "nemo"):
        one("gopher_repetition", text, dialect=dialect)


def test_the_table_of_a_long_text_grows_as_it_fills(monkeypatch):
    chance = random.Random(5)
    some = " ".join(chance.choice("abcdefgh") * 3 for _ in range(400))
    texts = strings([some, "a b c d e f", f"{some} {some}"])
    expected = duplicated_grams(stretch_tokens(texts))
    monkeypatch.setattr(ngrams, "_LARGE", 16)
    assert (duplicated_grams(stretch_tokens(texts)) == expected).all()
    assert expected[2, 0] == slow_duplicated([*some.split(), *some.split()], 5)


def test_many_texts_in_a_batch_do_not_see_each_other():
    """The tables of seen strings are marked with 16 bits for each text; after that they begin anew."""
    texts = ["a b c d e f g\nx\nx", "g f e d c b a\nx", "a b c d e f a b c d e f\nx\nx\ny"]
    array = strings(texts * 25_000)
    duplicated = duplicated_grams(stretch_tokens(array)).reshape(-1, 3, len(DUPLICATED))
    assert (duplicated == duplicated[0]).all()
    assert duplicated[0, 2].tolist() == [slow_duplicated(texts[2].split(), n) for n in DUPLICATED]
    repeated = count_repeated(array, split_pieces(array, 1))[0].reshape(-1, 3)
    assert (repeated == [1, 0, 1]).all()
