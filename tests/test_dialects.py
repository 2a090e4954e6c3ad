"""What five projects call the repetition and quality tests of Gopher, each as it counts them.

Values in the table were computed from their sources: allenai/dolma, togethercomputer/RedPajama-Data,
mlfoundations/dclm, NVIDIA-NeMo/Curator; those of datatrove by datatrove.
"""

import re
import statistics
import string
import unicodedata
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.engine.stage import Batch, find_stage
from curate.text.ngrams import DUPLICATED, TOP
from curate.text.words import find_words
from tests.test_fineweb import V1, V2, V3, V5, english, run
from tests.test_fineweb_kernels import corpora, grams, size
from tests.test_stages import HARBOUR

checked = settings(deadline=None, max_examples=60)

# Repetition

DIALECTS = {  # top 2, 3, 4, duplicated 5, 7
    "dolma": [
        (V1, (0.3462, 0.6923, 0.7692, 0.3288, 0)),
        (V2, (0.1915, 0.1915, 0.2553, 0, 0)),
        (V3, (0.1579, 0.2456, 0.3333, 0.2227, 0)),
    ],
    "redpajama": [
        (V1, (0.375, 1.0, 0.75, 1.0, 0)),
        (V2, (0.2045, 0.5455, 0.5, 0.8182, 0)),
        (V3, (0.1622, 0.2523, 0.3423, 0.5405, 0)),
        (V5, (0, 0, 0, 0, 0)),
    ],
    "dclm": [
        (V1, (0.875, 1.0, 1.0833, 1.0, 0)),
        (V2, (0.4773, 0.5455, 0.6818, 0.8182, 0)),
        (V3, (0.2162, 0.3063, 0.3784, 0.5405, 0)),
        (V5, (0, 0, 0, 0, 0)),
    ],
    "nemo": [
        (V1, (0.3529, 0.6471, 0.3824, 0.4706, 0)),
        (V2, (0.1967, 0.1803, 0.2459, 0, 0)),
        (V3, (0.146, 0.2336, 0.3212, 0.2628, 0)),
    ],
    "datatrove": [
        (V1, (0.3529, 0.8824, 0.7059, 0.2941, 0.5)),
        (V2, (0.1967, 0.4918, 0.3934, 0, 0)),
        (V3, (0.146, 0.2336, 0.3212, 0.1898, 0.2263)),
        (V5, (0.1489, 0.234, 0.3191, 0, 0)),
    ],
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_dialects_of_repetition(dialect):
    if dialect == "datatrove":
        english()
    splitter = {"splitter": "english-exact"} if dialect == "datatrove" else {}
    texts = [text for text, _ in DIALECTS[dialect]]
    rows, _ = run("gopher_repetition", texts, dialect=dialect, **splitter)
    names = ("top_2_gram", "top_3_gram", "top_4_gram", "duplicated_5_n_grams", "duplicated_7_n_grams")
    for (_, expected), row in zip(DIALECTS[dialect], rows, strict=True):
        assert [row[name] for name in names] == pytest.approx(expected, abs=5e-5)


def slow_words(text, dialect):
    if dialect == "redpajama":
        bare = text.translate(str.maketrans("", "", string.punctuation)).lower()
        return unicodedata.normalize("NFD", bare).split()
    return re.findall(r"\w+", text) if dialect == "dclm" else text.split()


def slow_grams(text, dialect):
    """top_2_gram ... duplicated_10_n_grams, as the four projects write them."""
    words = slow_words(text, dialect)
    whole, found = max(size(words), 1), []
    for n in TOP:
        best = Counter(grams(words, n)).most_common()
        gram, times = best[0] if best else ((), 0)
        if dialect == "nemo":
            shrunk = len(text) - len(text.replace(" ".join(gram), "")) if best else len(text)
            found.append(shrunk / max(len(text), 1))
        elif dialect == "dolma":
            found.append(size(gram) * times / whole)
        else:
            if dialect == "dclm":
                gram = max((other for other, count in best if count == times), key=size, default=())
            found.append(size(gram) * times / whole if times > 1 else 0)
    return found + [slow_duplicates(text, words, n, dialect) for n in DUPLICATED]


def slow_duplicates(text, words, n, dialect):
    every, counts = grams(words, n), Counter(grams(words, n))
    if dialect == "dolma":
        copies = sum(times * size(gram) for gram, times in counts.items() if times > 1)
        return copies / max(sum(map(size, every)), 1)
    if dialect in ("redpajama", "dclm"):
        covered = {place + i for place, gram in enumerate(every) if counts[gram] > 1 for i in range(n)}
        return sum(len(words[place]) for place in covered) / max(size(words), 1)
    if not every:
        return float(text != "")
    seen, added, overlap = set(), 0, 0
    for gram in every:
        if gram in seen:
            added += size(gram[overlap:]) + min(n - overlap, n - 1)
            overlap = n
        seen.add(gram)
        overlap = max(overlap - 1, 0)
    return added / len(text)


def slow_pieces(text, dialect):
    """dup_para_frac ... dup_line_char_frac, as three projects write them."""
    found = []
    for border in ("\n\n", "\n"):
        parts = text.split(border)
        if dialect == "dclm":
            parts = [part.strip() for part in parts if part.strip()]
        if dialect == "nemo" and border == "\n":
            parts = [part for part in parts if part.strip()]
        whole = size(text.split()) if dialect == "dolma" else size(parts)
        again = [part for place, part in enumerate(parts) if part in parts[:place]]
        if dialect != "nemo":
            again = [part for part in parts if parts.count(part) > 1]
        if dialect == "dolma" and border == "\n\n":
            again = []
        found += [len(again) / max(len(parts), 1), size(again) / max(whole, 1)]
    return found


@checked
@given(corpora)
def test_dialects_of_repetition_are_the_slow_definition(texts):
    names = [field.name for field in find_stage("gopher_repetition").measures][1:]
    for dialect in ("dolma", "redpajama", "dclm", "nemo"):
        for text, row in zip(texts, run("gopher_repetition", texts, dialect=dialect)[0], strict=True):
            pieces = [0] * 4 if dialect == "redpajama" else slow_pieces(text, dialect)
            assert [row[name] for name in names] == pytest.approx([*pieces, *slow_grams(text, dialect)])


@pytest.mark.parametrize("name", ["gopher_repetition", "gopher_quality"])
def test_a_dialect_with_words_of_its_own_takes_no_splitter(name):
    with pytest.raises(ValidationError, match="leave out splitter"):
        find_stage(name).options(dialect="dolma", splitter="english-exact")


# Quality

ODD = st.sampled_from(
    [*"aZ#…•*-–●◦ \n\t1é中_.,'", "\u3000", "\x1c", "the ", "The ", "with", "\n- ", "...", ". . .", "[...]", "read more",
     "Read More..", "\n\n", " # ", "##a#", "12 ", "don't "]
)  # fmt: skip
odd_texts = st.lists(st.lists(ODD, max_size=60).map("".join), max_size=4)

STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}


def share(part, whole):
    return part / max(whole, 1)


def having(words, pattern):
    return share(sum(bool(re.search(pattern, word)) for word in words), len(words))


def lettered(words):
    return share(sum(any(map(str.isalpha, word)) for word in words), len(words))


def slow_dolma(text):
    words, lines = text.split(), text.split("\n")
    return {
        "words": len(words),
        "mean_word_length": statistics.median(map(len, words)) if words else 0,
        "hash_ratio": having(words, "[#…]"),
        "bullet_line_ratio": share(sum(line.startswith(("*", "-")) for line in lines), len(lines)),
        "ellipsis_line_ratio": share(sum(line.endswith("…") for line in lines), len(lines)),
        "alpha_word_ratio": lettered(words),
        "stop_words": sum(word in STOP_WORDS for word in words),
    }


def slow_redpajama(text):
    words, raw = slow_words(text, "redpajama"), re.findall(r"\w+|[^\w\s]+", text)
    lines = re.findall(r"[^\n]*\n|[^\n]+$", text)
    bullets = ("•", "‣", "▶", "◀", "◦", "■", "□", "▪", "▫", "–")
    return {
        "words": len(words),
        "mean_word_length": share(size(words), len(words)),
        "hash_ratio": share(sum(map(text.count, ("#", "...", "…"))), len(raw)),
        "bullet_line_ratio": share(sum(line.lstrip().startswith(bullets) for line in lines), len(lines)),
        "ellipsis_line_ratio": share(sum(line.rstrip().endswith(("...", "…")) for line in lines), len(lines)),
        "alpha_word_ratio": having(raw, "[a-zA-Z]"),
        "stop_words": sum(word in STOP_WORDS for word in words),
    }


def slow_dclm(text):
    words, lines = text.split(), [line.strip() for line in text.split("\n") if line.strip()]
    ellipses = ("...", ". . .", "…")
    return {
        "words": int(find_words(pa.array([text], pa.large_string())).words[0]),
        "mean_word_length": share(size(words), len(words)),
        "hash_ratio": share(sum(map(text.count, ("#", *ellipses))), len(words)),
        "bullet_line_ratio": share(sum(line.startswith(("●", "•", "*", "-")) for line in lines), len(lines)),
        "ellipsis_line_ratio": share(sum(line.endswith(ellipses) for line in lines), len(lines)),
        "alpha_word_ratio": lettered(words),
        "stop_words": sum(word.lower() in STOP_WORDS for word in words),
    }


def slow_nemo(text):
    words, lines = text.split(), [line for line in text.split("\n") if line.strip()]
    marks = ("...", "[...]", "…", "(...)", "[…]", "-»", "read more..", "read more")
    bullets = ("•", "‣", "⁃", "⁌", "⁍", "∙", "○", "●", "◘", "◦", "⦾", "⦿")
    symbols = [word for word in words if word in marks or len(re.findall("#+", word)) / len(word) > 0.5]
    return {
        "words": len(words),
        "mean_word_length": share(size(words), len(words)),
        "hash_ratio": share(len(symbols), len(words)),
        "bullet_line_ratio": share(sum(line.strip().startswith(bullets) for line in lines), len(lines)),
        "ellipsis_line_ratio": share(sum(line.strip().lower().endswith(marks) for line in lines), len(lines)),
        "alpha_word_ratio": lettered(words),
        "stop_words": sum(word in STOP_WORDS for word in words),
    }


@checked
@given(odd_texts)
def test_dialects_of_quality_are_the_slow_definition(texts):
    for dialect, slow in {
        "dolma": slow_dolma, "redpajama": slow_redpajama, "dclm": slow_dclm, "nemo": slow_nemo
    }.items():  # fmt: skip
        for text, row in zip(texts, run("gopher_quality", texts, dialect=dialect)[0], strict=True):
            expected = {**slow(text), "ellipsis_ratio": 0}
            assert {name: row[name] for name in expected} == pytest.approx(expected), (dialect, text)


def test_every_dialect_keeps_plain_english():
    for dialect in ("datatrove", "dolma", "redpajama", "dclm", "nemo"):
        (row,), _ = run("gopher_quality", [HARBOUR], dialect=dialect)
        assert row["words"] == 57
        assert 4.4 < row["mean_word_length"] < 4.6 or dialect == "dolma"
        assert row["stop_words"] >= 2


def test_no_dialect_minds_an_empty_batch():
    for name in ("gopher_quality", "gopher_repetition"):
        for dialect in ("dolma", "redpajama", "dclm", "nemo"):
            stage = find_stage(name)
            measures = stage.run(
                Batch(pa.array([], pa.large_string())), stage.options(dialect=dialect)
            ).measures
            assert {len(values) for values in measures.values()} == {0}
