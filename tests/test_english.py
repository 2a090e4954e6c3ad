"""`english-exact` gives the tokens of spaCy's blank("en"), and counts of them that slow Python gives too."""

import importlib.util
import itertools
import random
import subprocess
import sys
import threading
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import spacy
from datatrove.utils.text import PUNCTUATION_SET
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.lang import char_classes
from spacy.pipeline import Sentencizer

import curate.text.english as english
from curate.text import arrow
from curate.text.english import cut, find_english, kept, lexicon
from curate.text.english.table import ENTRIES, FULL, USED, Table
from curate.text.tokens import EXIT_SEEN, EXIT_UNSEEN, STARTS, STARTS_SEEN, STARTS_UNSEEN

SPACY = spacy.blank("en")
SENTENCES = spacy.blank("en")
SENTENCES.add_pipe("sentencizer")
ENDS = set(Sentencizer.default_punct_chars)
SPECIAL = sorted(text for text in SPACY.tokenizer.rules if not text.isspace())
WHITE = [chr(point) for point in range(0x3001) if chr(point).isspace()]
same_unicode = pytest.mark.skipif(
    unicodedata.unidata_version != "14.0.0", reason="spaCy asks this Python's Unicode"
)

SYMBOLS = list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~§–—…“”‘’„«»¿¡©®°²³µ´·。？！，、；：～「」（）【】।،؛٪")
WORDS = [
    *(
        "foo",
        "Bar",
        "a",
        "I",
        "he",
        "HE",
        "x1",
        "3",
        "10",
        "1,000",
        "3.5",
        "é",
        "Ünï",
        "漢字",
        "かな",
        "한국",
        "русский",
    ),
    *(
        "РУС",
        "ελ",
        "عربي",
        "हिन्दी",
        "e\u0301",
        "\u0301",
        "\u200d",
        "\u200b",
        "😀",
        "☀",
        "\U00020000",
        "\U0001f1e6",
        "ß",
    ),
    *(
        "ﬁ",
        "²",
        "½",
        "٣",
        "१२",
        "__",
        "\0",
        "\x01",
        "\x7f",
        "\x80",
        "\xad",
        "\ufeff",
        "\ufffd",
        "\uffff",
        "\U0010ffff",
    ),
]
ADDRESSES = [
    *(
        "http://",
        "a://",
        "x+y://",
        "é://",
        "www.",
        "example.com",
        ".com",
        ".co.uk",
        "user@",
        "@",
        "@@",
        ":80",
        ":8080",
    ),
    *(
        ":1",
        ":123456",
        ":٣٣",
        "/path",
        "?q=1",
        "#frag",
        "192.168.1.1",
        "10.0.0.1",
        "8.8.8.8",
        "172.16.0.1",
        "172.32.1.1",
    ),
    *(
        "172.2٣.0.1",
        "255.1.1.1",
        "1.2.3",
        "127.0.0.1:80",
        "1٣.2.3.4",
        "foo_bar.com",
        "-x.com",
        "x-.com",
        "é.fr",
        "例え.jp",
    ),
]
MIDDLES = [
    *("a.B", "a.b", "A.B", "..", "...", "....", "-", "--", "---", "----", "——", "'s", "’S", "n't", "km/h", "5km", "5kg."),
    *("°C.", "°F", "+1", "1+", "1+2", "3-4", "a-b", "a--b", "1-a", "a/b", "a:b", "a=b", "a<b", "a,b", "1,b", "U.S.", "e.g."),
    *("p.m.", "9p.m.", "C++", "US$", "A$5", "5$", "5€", ":)", ":-)", "):", "))", "xD", "^_^", "(^_^)", "a.m", "m."),
]  # fmt: skip
GAPS = [*[" "] * 8, "  ", "\r\n", *WHITE]
PIECES = [SPECIAL, SYMBOLS, WORDS, ADDRESSES, MIDDLES, GAPS]
PHRASES = [list("'()-:;<=>[]_|/\\*.°P3aos"), SPECIAL, [" ", " ", " ", "", "", "  "]]

pieces = st.lists(st.one_of(*map(st.sampled_from, PIECES)), max_size=25).map("".join)
phrases = st.lists(st.one_of(*map(st.sampled_from, PHRASES)), max_size=12).map("".join)
characters = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(SYMBOLS), max_size=12)


def column(texts):
    return pa.array(texts, pa.large_string())


def strings(found):
    """The tokens of all texts, from `compact`."""
    data = found.compact.tobytes()
    return [data[begin:end].decode() for begin, end in itertools.pairwise(found.start.tolist())]


def of_each(found, values):
    return [values[begin:end] for begin, end in itertools.pairwise(found.first.tolist())]


def ours(text):
    return strings(find_english(column([text])))


def theirs(text):
    return [token.text for token in SPACY.tokenizer(text) if not token.text.isspace()]


def is_symbol(token):
    return all(character in PUNCTUATION_SET for character in token)


def slow_marks(tokens):
    marks = 0
    for shift, seen, leaves in ((STARTS_UNSEEN, False, EXIT_UNSEEN), (STARTS_SEEN, True, EXIT_SEEN)):
        starts = 0
        for token in tokens:
            punct = all(unicodedata.category(character)[0] == "P" for character in token)
            if token in ENDS:
                seen = True
            elif seen and not punct:
                starts, seen = starts + 1, False
        marks |= min(starts, STARTS) << shift | seen << leaves
    return marks


def check(texts, table=None, entries=ENTRIES):
    """All that `Tokens` says of some texts."""
    found = cut(column(texts), table or Table(), entries)
    tokens = of_each(found, strings(found))
    assert tokens == [theirs(text) for text in texts]
    flat = list(itertools.chain(*tokens))
    assert (
        len(set(flat)) == len(set(found.id.tolist())) == len(set(zip(flat, found.id.tolist(), strict=True)))
    )
    marks, at = found.marks.tolist(), 0
    for row, (text, mine) in enumerate(zip(texts, tokens, strict=True)):
        words = [token for token in mine if not is_symbol(token)]
        assert found.symbols[row] == len(mine) - len(words)
        assert found.length[row] == sum(map(len, words))
        assert found.lettered[row] == sum(any(map(str.isalpha, token)) for token in mine)
        stretches = range(found.stretch_first[row], found.stretch_first[row + 1])
        data, left = text.encode(), iter(mine)
        assert [
            data[found.stretch_start[i] : found.stretch_end[i]].decode() for i in stretches
        ] == text.split()
        for stretch in text.split():
            inside = []
            while len("".join(inside)) < len(stretch):
                inside.append(next(left))
            assert marks[at] == slow_marks(inside)
            at += 1
    assert at == len(marks)
    assert found.compact.tobytes().decode() == "".join("".join(text.split()) for text in texts)
    return found


def test_the_golden_sentence():
    assert ours("Don't stop: it's 3.5% (e.g. U.S.A.)... OK?") == [
        *("Do", "n't", "stop", ":", "it", "'s", "3.5", "%", "(", "e.g.", "U.S.A.", ")", "...", "OK", "?")
    ]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("foo:) )", ["foo", ":", ")", ")"]),
        ("foo:)  )", ["foo", ":)", ")"]),  # two spaces are a token of spaCy's
        ("foo:)\n)", ["foo", ":)", ")"]),
        ("a : ):", ["a", ":", "):"]),
    ],
)
def test_an_emoticon_across_a_space_is_none_but_hides_those_inside(text, tokens):
    assert ours(text) == tokens == theirs(text)


def test_every_special_case_alone_and_among_others():
    check(SPECIAL)
    check([f"({text})" for text in SPECIAL])
    check([f"x{text} {text}." for text in SPECIAL])
    check([" ".join(pair) for pair in itertools.pairwise(SPECIAL)])


def test_every_white_space_ends_a_stretch():
    check([f"Mr.{gap}he's{gap}{gap}:){gap})" for gap in WHITE])
    check(["\r\n".join(["one.", "", "(two)", "\t"]), "".join(WHITE), " a", "a ", "\0 \0\0", "a\0", "a"])
    # Over the edges of the blocks of 64 bytes.
    check(["a" * size + gap + "b" for size in range(58, 68) for gap in WHITE])


@same_unicode
def test_units_currency_dots_hyphens_and_addresses():
    units = [*char_classes.UNITS.split("|"), *(unit.replace("\\", "") for unit in char_classes.LIST_CURRENCY)]
    check(
        [
            f"{head}{unit}{tail}"
            for head in ("5", "x", "x5", "٣")
            for unit in units
            for tail in ("", ".", ")", "s")
        ]
    )
    check(
        [before + middle + after for before in ("a", "1", "A", ")") for middle in MIDDLES for after in "aB2("]
    )
    check(["".join(parts) for parts in itertools.product(ADDRESSES, repeat=2)])
    check(
        [
            f"http://{first}.{last}.1.1"
            for first in range(260)
            for last in (0, 16, 19, 20, 29, 31, 32, 168, 254)
        ]
    )
    check(["漢字かな。한국어, हिन्दी।", "e\u0301.E\u0301,x", "𠀀.𠀀𠀀/x", "foo。bar", "«hé»", "１２３"])


def test_long_stretches_and_words_of_every_length():
    texts = [("abc,defgh.Ij(k)" * 200)[:size] for size in (*range(40), 1023, 1024, 1025, 3000)]
    check([" ".join(texts), *texts, *texts])


def test_the_longest_and_dullest_texts_take_linear_time():
    for text, tokens in [
        ("(" * 300_000, 300_000),
        ("x@" * 300_000, 1),
        ("word " * 300_000, 300_000),
        ("ab" * 999_999, 1),
    ]:
        assert len(find_english(column([text])).id) == tokens
    assert len(find_english(column([": ) " * 200_000])).id) == 400_000
    nothing = find_english(column([""] * 100_000))
    assert not nothing.first.any()
    assert len(nothing.start) == 1
    assert len(find_english(column([])).first) == 1


def test_part_of_a_column_is_the_same_as_a_column():
    texts = ["first (text).", "It's :) ) here", "", "and the last"]
    assert strings(find_english(column(texts)[1:3])) == theirs(texts[1])


def test_bytes_that_are_not_utf8_are_tokens_like_others():
    dice = np.random.default_rng(3)
    alphabet = np.frombuffer("\x00 .aA9:)@/\x85\u2009😀\uffff".encode() + b"\xff\xc0\xf5\xed\xa0", np.uint8)
    for size in (1, 3, 20, 2000):
        data, ends = dice.choice(alphabet, size), np.array([0, size // 2, size])
        found = find_english(arrow.texts(data, ends))
        begins = np.repeat(ends[:-1], np.diff(found.stretch_first))
        spans = zip(begins + found.stretch_start, begins + found.stretch_end, strict=True)
        assert found.compact.tobytes() == b"".join(data[begin:end].tobytes() for begin, end in spans)
        assert (np.diff(found.start) > 0).all()


@same_unicode
@settings(deadline=None, max_examples=300)
@given(st.lists(pieces | phrases | characters, max_size=4))
def test_any_text_as_spacy(texts):
    check(texts)


@pytest.mark.slow
@same_unicode
def test_thousands_of_texts_as_spacy():
    dice = random.Random(20260822)
    for kinds in (PIECES, PHRASES):
        texts = [
            "".join(dice.choice(dice.choice(kinds)) for _ in range(dice.randint(1, dice.choice((4, 12, 40)))))
            for _ in range(20_000)
        ]
        check(texts)


def test_what_the_table_knows_never_shows():
    dice = random.Random(7)
    texts = ["".join(dice.choice(dice.choice(PIECES[:-1] + PHRASES)) for _ in range(30)) for _ in range(300)]
    table = Table()
    for _ in range(2):  # empty, and warm
        check(texts, table)
    assert not table.facts[FULL]
    frozen = Table()
    check(texts, frozen, 64)
    assert frozen.facts[FULL]
    known = frozen.facts[USED]
    check(texts, frozen, 64)
    assert frozen.facts[USED] == known < table.facts[USED]


def test_numbers_stay_the_same_within_a_call_when_the_table_fills_up():
    words = [f"w{i}" for i in range(3000)]
    found = cut(column([" ".join(words), " ".join(reversed(words))]), Table(), 100)
    first, second = of_each(found, found.id.tolist())
    assert first == second[::-1]
    assert len(set(first)) == len(words)


def test_a_table_is_kept_and_mapped(tmp_path):
    file, table, texts = (
        tmp_path / "english" / "a.table",
        Table(),
        ["It's a test (of tables) :) ).", "unforgettable" * 9],
    )
    check(texts, table)
    kept.keep(table, file)
    loaded = kept.load(file)
    assert loaded.facts[USED] == table.facts[USED]
    check(texts, loaded)
    assert loaded.facts[USED] == table.facts[USED]
    check([*texts, "more words, and longer ones than it has room for " + "x" * 500], loaded)
    assert list(file.parent.iterdir()) == [file]
    size = file.stat().st_size
    kept.keep(table, file)  # it knows no more than the file
    assert file.stat().st_size == size
    kept.keep(loaded, file)
    assert kept.load(file).facts[USED] == loaded.facts[USED]


def test_a_broken_or_foreign_table_is_ignored(tmp_path, monkeypatch):
    file, table = tmp_path / "a.table", Table()
    assert kept.load(file) is None
    check(["some words"], table)
    kept.save(table, file)
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for data in (b"", b"x", whole[:100], whole[:-8], whole + b"x", bytes(flipped), b"x" + whole[1:]):
        file.write_bytes(data)
        assert kept.load(file) is None
    file.write_bytes(whole)
    assert kept.load(file) is not None
    monkeypatch.setattr(kept, "_rules_digest", lambda: bytes(32))
    assert kept.load(file) is None


def test_the_next_run_begins_with_what_this_one_learned(tmp_path, monkeypatch):
    monkeypatch.setenv("CURATE_CACHE", str(tmp_path))
    monkeypatch.setattr(english, "_own", threading.local())
    find_english(column(["words to keep"]))
    english.keep_table()
    assert kept.kept_file().is_file()
    monkeypatch.setattr(english, "_own", threading.local())
    assert ours("words to keep") == ["words", "to", "keep"]
    assert english._own.table.facts[USED] == 3


def test_threads_do_not_meet():
    texts = [f"It's {word}({word}). :) )" for word in ("a", "b", "c", "d")] * 500
    wanted, found = [theirs(text) for text in texts], {}

    def work(name):
        tokens = find_english(column(texts))
        found[name] = of_each(tokens, strings(tokens))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[name] == wanted for name in range(4))


BEGIN_AT_ONCE = """
import sys, threading
import pyarrow as pa
from curate.text.english import find_english

sys.setswitchinterval(1e-6)
threads, counts = 8, []
start = threading.Barrier(threads)

def work():
    text = pa.array(["It's so(so). :) )"] * 2000, pa.large_string())
    start.wait()
    counts.append(int(find_english(text).first[-1]))

started = [threading.Thread(target=work) for _ in range(threads)]
[thread.start() for thread in started]
[thread.join() for thread in started]
print(*counts)
"""


def test_threads_of_a_new_process_begin_at_once():
    found = subprocess.run([sys.executable, "-c", BEGIN_AT_ONCE], capture_output=True, text=True, check=True)
    assert found.stdout.split() == [str(2000 * len(theirs("It's so(so). :) )")))] * 8


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.sampled_from([*"abC.!?…。)\"'", "Mr.", "e.g.", "...", ":)", "foo", *[" "] * 6]), max_size=30)
)
def test_sentences_of_a_line_are_counted_by_walking_its_marks(parts):
    line = " ".join("".join(parts).split())
    found, sentences, seen = find_english(column([line])), 1, False
    for mark in found.marks.tolist():
        sentences += mark >> (STARTS_SEEN if seen else STARTS_UNSEEN) & STARTS
        seen = bool(mark >> (EXIT_SEEN if seen else EXIT_UNSEEN) & 1)
    assert sentences == max(1, len(list(SENTENCES(line).sents)))


@same_unicode
@pytest.mark.slow
def test_the_data_are_those_of_the_installed_spacy_and_datatrove(monkeypatch):
    spec = importlib.util.spec_from_file_location(
        "make_english", Path(__file__).parents[1] / "scripts/make_english.py"
    )
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    with np.load(lexicon.FILE) as file:
        built = script.build()
        assert set(file) == set(built)
        for name, array in built.items():
            np.testing.assert_array_equal(file[name], array)


def test_spacy_is_no_run_time_dependency():
    assert spacy.__version__.startswith("3.8.")
    for name in [name for name in sys.modules if name.startswith("curate.text.english")]:
        assert "import spacy" not in Path(sys.modules[name].__file__).read_text("utf-8")
