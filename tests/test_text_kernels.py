"""Kernels against slow and obvious Python, on text made to break them."""

import random
import time
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.engine import warm
from curate.text import unicode
from curate.text.arrow import buffers, normalised, texts
from curate.text.decompose import normal_form
from curate.text.detect import BROKEN, find_suspects
from curate.text.lines import count_line_marks, count_marks, find_lines
from curate.text.sums import sum_texts
from curate.text.unicode import HALF, LETTER, QUARTER, SPACE, WORD
from curate.text.words import count_distinct, find_words
from schemas.errors import CurateError

ODD = [
    *"aZ09 .,-•#…_'\"/\\",
    *"\t\n\v\f\r\x1c\x1d\x1e\x1f\x00\x7f\x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000\u200b\ufeff",
    *"éßñДжאبहि한ﬁ½²ª〇々ー中国かナไม้ລະខ្មែរမြန်བོད",
    *"😀❤\ufe0f\u20e3\u0301\U000e0100\U00020000\U0001f1e9\ue000\uffff\U0010ffff",
    *("...", "…", "....", "\r\n", "word", "    ", "中文", "a中b"),
]
KNOWN = unicode.classes()


def bits(character):
    index, pages = KNOWN
    return int(pages[int(index[ord(character) >> 8]) * 256 + (ord(character) & 255)])


def agreed(text):
    """Whether this Python's Unicode says of all characters what the frozen table says."""
    return all(unicode.classify(ord(character)) == bits(character) for character in text)


hostile = st.lists(st.sampled_from(ODD) | st.characters(exclude_categories=["Cs"]), max_size=150).map("".join)
corpora = st.lists(hostile.filter(agreed), max_size=4)
checked = settings(deadline=None, max_examples=80)


def strings(values):
    return pa.array(values, pa.large_string())


def spans(text, found, row):
    data = text.encode()
    words = slice(int(found.first[row]), int(found.first[row + 1]))
    return [data[a:b].decode() for a, b in zip(found.start[words], found.end[words], strict=True)]


def slow_words(text):
    """The words in order, and the counts, character by character as the module describes them."""
    words, spaced, symbols, characters = [], [], 0, {HALF: 0, QUARTER: 0}
    for stretch in text.split():
        before = len(words)
        part = ""
        for character in [*stretch, ""]:
            kind = bits(character) & (HALF | QUARTER) if character else -1
            if not kind:
                part += character
                continue
            while part and not bits(part[0]) & WORD:
                part = part[1:]
            while part and not bits(part[-1]) & WORD:
                part = part[:-1]
            if part:
                words.append(part)
                spaced.append(part)
            part = ""
            if kind > 0:
                words.append(character)
                characters[kind] += 1
        symbols += len(words) == before
    return words, {
        "spaced": len(spaced),
        "length": sum(map(len, spaced)),
        "lettered": sum(any(character.isalpha() for character in word) for word in spaced),
        "halves": characters[HALF],
        "quarters": characters[QUARTER],
        "symbols": symbols,
        "visible": sum(not character.isspace() for character in text),
    }


@checked
@given(corpora)
def test_words_are_those_of_the_slow_definition(corpus):
    found = find_words(strings(corpus))
    for row, text in enumerate(corpus):
        words, counts = slow_words(text)
        assert spans(text, found, row) == words
        assert {name: getattr(found, name)[row] for name in counts} == counts


def test_words_at_every_position_of_a_block():
    corpus = [" " * lead + "one…two 中a, é-" * 9 for lead in range(70)] + ["x" * size for size in range(200)]
    found = find_words(strings(corpus))
    for row, text in enumerate(corpus):
        assert spans(text, found, row) == slow_words(text)[0]


def test_words_of_a_slice_are_those_of_its_texts():
    corpus = ["one two", "three", "", "four 五六 seven"]
    part = find_words(strings(corpus)[1:])
    assert [spans(text, part, row) for row, text in enumerate(corpus[1:])] == [
        ["three"],
        [],
        ["four", "五", "六", "seven"],
    ]


@pytest.mark.parametrize(
    ("text", "words", "number"),
    [
        ('He said "don\'t" -- (twice).', ["He", "said", "don't", "twice"], 4),
        ("snake_case e-mail U.S.A. 3.5%", ["snake_case", "e-mail", "U.S.A", "3.5"], 4),
        ("I ❤️ C++ 👍🏽", ["I", "C"], 2),  # emoji with their modifiers are no words
        ("한국어 문장입니다.", ["한국어", "문장입니다"], 2),  # Korean has spaces
        ("हिन्दी में", ["हिन्दी", "में"], 2),  # vowel signs belong to the word
        ("我喜欢Python和R。", ["我", "喜", "欢", "Python", "和", "R"], 4),  # two characters a word
        ("ภาษาไทย", list("ภาษาไทย"), 2),  # four characters a word
    ],
)
def test_what_a_word_is(text, words, number):
    found = find_words(strings([text]))
    assert spans(text, found, 0) == words
    assert found.words[0] == number


@checked
@given(corpora, st.lists(st.sampled_from(["a", "word", "é", "中", "Z", "09", "x" * 70]), unique=True))
def test_distinct_words_of_a_vocabulary(corpus, vocabulary):
    text = strings([*corpus, "word " * 3 + "x" * 70])
    found = count_distinct(text, find_words(text), vocabulary)
    expected = [len(set(slow_words(one)[0]) & set(vocabulary)) for one in text.to_pylist()]
    assert found.tolist() == expected


@checked
@given(corpora)
def test_sums_are_those_of_python(corpus):
    corpus = [*corpus, *corpus[:1], "x" * 63 + "中", "’" * 20]
    text = strings(corpus)
    sums, words = sum_texts(text), find_words(text)
    assert sums.characters.tolist() == [len(one) for one in corpus]
    assert sums.newlines.tolist() == [one.count("\n") for one in corpus]
    assert not ((words.halves + words.quarters > 0) & (sums.unspaced == 0)).any()
    assert sums.unspaced[-2:].tolist() == [1, 0]


def test_no_character_of_a_script_without_spaces_is_overlooked():
    points = [point for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    characters = [chr(point) for point in points if bits(chr(point)) & (HALF | QUARTER)]
    assert sum_texts(strings(characters)).unspaced.all()


@checked
@given(corpora)
def test_lines_are_those_of_splitlines(corpus):
    text = strings(corpus)
    lines = find_lines(text)
    bullets, trailing = count_line_marks(text, lines)
    hashes, ellipses = count_marks(text)
    for row, one in enumerate(corpus):
        split = one.splitlines()
        assert spans(one, lines, row) == split
        assert bullets[row] == sum(line.lstrip().startswith(("•", "-")) for line in split)
        assert trailing[row] == sum(line.rstrip().endswith(("...", "…")) for line in split)
        assert hashes[row] == one.count("#")
        assert ellipses[row] == one.count("...") + one.count("…")


def test_ellipses_and_line_ends_over_the_edges_of_blocks():
    corpus = [" " * lead + "....... …\r\n-\u2028…" for lead in range(70)]
    text = strings(corpus)
    lines = find_lines(text)
    assert [spans(one, lines, row) for row, one in enumerate(corpus)] == [one.splitlines() for one in corpus]
    assert count_marks(text)[1].tolist() == [4] * 70
    assert [counts.tolist() for counts in count_line_marks(text, lines)] == [[1] * 70, [2] * 70]


def test_bytes_that_are_not_utf8_break_no_kernel_and_are_suspicious():
    random_bytes = random.Random(5)
    broken = [bytes(random_bytes.choices(range(256), k=size)) for size in range(1, 200)]
    broken += [
        b"a\x80",
        b"\xed\xa0\x80",
        b"\xe0\x80\x80",
        b"\xf4\x90\x80\x80",
        b"\xc3",
        b"x" * 63 + b"\xe4\xb8",
    ]
    text = pa.array(broken, pa.large_binary()).view(pa.large_string())
    words = find_words(text)
    count_distinct(text, words, ["the"])
    count_line_marks(text, find_lines(text))
    suspects = find_suspects(text, entities=False)
    for row, data in enumerate(broken):
        try:
            data.decode()
        except UnicodeDecodeError:
            assert suspects[row] & BROKEN, data


@pytest.mark.skipif(unicodedata.unidata_version != unicode.UNICODE, reason="another Unicode than the table's")
def test_the_class_table_is_what_its_definition_says():
    for point in [*range(0x3100), *range(0x3100, 0x110000, 41)]:
        if not 0xD800 <= point < 0xE000:
            assert bits(chr(point)) == unicode.classify(point), hex(point)


def test_classes_agree_with_str():
    for point in range(0x2100):
        character = chr(point)
        assert bool(bits(character) & SPACE) == character.isspace()
        assert not bits(character) & LETTER or character.isalpha()


def test_text_goes_to_kernels_and_back_without_a_copy():
    text = strings(["one", "", "zwei ☃"])
    data, offsets = buffers(text)
    assert data.ctypes.data == text.buffers()[2].address
    assert texts(data, offsets).equals(text)
    assert buffers(text[1:])[1].tolist() == [3, 3, 11]
    assert buffers(strings([]))[1].tolist() == [0]


def test_any_string_column_becomes_large_string_without_offset():
    chunked = pa.chunked_array([pa.array(["a", "b"]), pa.array(["c"])])
    for column in (
        chunked,
        chunked.chunk(0),
        strings(["x", "a", "b"])[1:],
        pa.chunked_array([], pa.string()),
    ):
        made = normalised(column)
        assert made.type == pa.large_string()
        assert made.offset == 0
        assert made.to_pylist() == column.to_pylist()
    text = strings(["kept as it is"])
    assert normalised(text) is text


def test_a_text_of_two_gigabytes_is_refused():
    huge = texts(np.zeros(2**31 + 3, np.uint8), np.array([0, 3, 2**31 + 3]))  # memory that is never touched
    with pytest.raises(CurateError, match=r"Text 1 of the batch has 2,147,483,648 bytes"):
        find_words(huge)


@pytest.mark.timeout(1500)  # a minute of work, which a busy machine stretches
def test_all_kernels_can_be_compiled_ahead():
    warm.main()


@given(
    st.lists(
        st.sampled_from(
            [
                *"aé가한xｶﾊﬁ ",
                *"\u0301\u0338\u0323\u0344\u0f73\u0f81\uff9e\uff9f\u3099\u1161",
                "\u0301" * 40,
                "\u0f75" * 40,
            ]
        )
    ),
    st.sampled_from(["NFC", "NFD", "NFKC"]),
)
def test_normal_forms_are_those_of_python(pieces, form):
    text = "".join(pieces)
    assert normal_form(form, text) == unicodedata.normalize(form, text)


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC"])
@pytest.mark.parametrize("crowd", ["\u0301\u0338\u0323", "\u0f73\u0f75\u0f81", "\uff9e\u0323"])
def test_a_crowd_of_marks_takes_no_longer_than_it_is_long(crowd, form):
    normal_form(form, "x" + crowd * 30)  # makes its tables
    started = time.process_time()
    assert len(normal_form(form, "x" + crowd * 70_000)) > 70_000
    assert time.process_time() - started < 30  # a quadratic step takes minutes
