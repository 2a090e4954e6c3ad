"""Lines and paragraphs of many documents: counted as plain Python counts them, and cut."""

from __future__ import annotations

import re
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.passages import PassageCounts, PassageOptions
from curate.dedup.units import cut
from schemas.errors import UsageError

LIGHT = settings(max_examples=80, deadline=None)
PIECES = [
    "Home",
    "Über uns",
    " Home ",
    "Page 7",
    "Page 12",
    "home",
    "プライバシー",
    "",
    " ",
    "x",
    "\0\0",
    "\u00a0Home",
    "7",
]
ENDS = ["\n", "\n", "\r\n", "\n\n", "\n\n\n", "\u2028", ""]
TEXTS = st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(ENDS)), max_size=8).map(
    lambda parts: "".join(piece + end for piece, end in parts)
)
OPTIONS = st.builds(
    PassageOptions,
    unit=st.sampled_from(["line", "paragraph"]),
    least=st.integers(2, 4),
    shortest=st.sampled_from([1, 4, 8]),
    digits=st.sampled_from(["keep", "collapse"]),
    keep=st.sampled_from(["first", "none"]),
)
FOOTER = "All rights reserved by nobody at all"


def column(texts):
    return pa.array(texts, pa.large_string())


def pieces(text, unit):
    """(passage, what stands between it and the next one)"""
    if unit == "line":
        lines = text.splitlines(keepends=True)
        return [(line.splitlines()[0], line[len(line.splitlines()[0]) :]) for line in lines]
    parts = [*re.split(r"(\n{2,})", text), ""]
    return list(zip(parts[::2], parts[1::2], strict=True))


def key(passage, options):
    """What a passage is known by; None for one that does not count."""
    bare = passage.strip()
    if len(bare.encode()) < options.shortest:
        return None
    return re.sub("[0-9]+", "0", bare) if options.digits == "collapse" else bare


def plainly(texts, options):
    """The definition: texts without the passages that go."""
    documents = defaultdict(list)
    for row, text in enumerate(texts):
        for known in {key(passage, options) for passage, _ in pieces(text, options.unit)} - {None}:
            documents[known].append(row)
    left = []
    for row, text in enumerate(texts):
        out, last = "", False
        for passage, end in pieces(text, options.unit):
            rows = documents.get(key(passage, options), [])
            goes = len(rows) >= options.least and not (options.keep == "first" and rows[0] == row)
            out += "" if goes else passage + end
            last = goes and not end
        left.append(out.rstrip("\r\n") if last else out)
    return left


def counted(texts, options, size=1000):
    counts = PassageCounts(options)
    for at in range(0, len(texts), size):
        counts.add(column(texts[at : at + size]), at)
    return counts


def edited(texts, counts, size=1000):
    left = []
    for at in range(0, len(texts), size):
        batch = column(texts[at : at + size])
        left += cut(batch, counts.find(batch, at), first_row=at)[0].to_pylist()
    return left


@LIGHT
@given(st.lists(TEXTS, max_size=9), OPTIONS)
def test_passages_go_as_plain_python_takes_them_out(texts, options):
    assert edited(texts, counted(texts, options)) == plainly(texts, options)


@LIGHT
@given(st.lists(TEXTS, max_size=9), OPTIONS, st.integers(1, 4), st.integers(0, 9))
def test_batches_and_shards_change_nothing(texts, options, size, middle):
    whole = edited(texts, counted(texts, options))
    assert edited(texts, counted(texts, options, size), size) == whole
    later = PassageCounts(options)
    later.add(column(texts[middle:]), min(middle, len(texts)))
    earlier = counted(texts[:middle], options)
    later.merge(earlier)
    assert edited(texts, later) == whole


def test_the_first_document_keeps_its_line():
    texts = [f"Page {number}\n{FOOTER}\n" for number in range(5)]
    options = PassageOptions(least=5)
    assert edited(texts, counted(texts, options)) == [
        texts[0],
        "Page 1\n",
        "Page 2\n",
        "Page 3\n",
        "Page 4\n",
    ]
    assert edited(texts[:4], counted(texts[:4], options)) == texts[:4]
    none = PassageOptions(least=5, keep="none")
    assert edited(texts, counted(texts, none)) == [f"Page {number}\n" for number in range(5)]


def test_a_line_that_one_document_repeats_counts_once():
    texts = [f"{FOOTER}\n" * 10, "other"]
    assert edited(texts, counted(texts, PassageOptions(least=2))) == texts


def test_a_footer_leaves_no_line_end_behind():
    texts = [f"one\n\n{FOOTER}", f"two\r\n\r\n{FOOTER}", FOOTER]
    assert edited(texts, counted(texts, PassageOptions(least=3, keep="none"))) == ["one", "two", ""]


@pytest.mark.parametrize("texts", [[], [""], ["", "\n\n"], ["\0"] * 9])
def test_empty_and_short_texts_stay(texts):
    assert edited(texts, counted(texts, PassageOptions(least=2))) == texts


def test_a_missing_text_has_no_passage():
    texts = pa.array([None, FOOTER, FOOTER], pa.string())
    counts = PassageCounts(PassageOptions(least=2))
    counts.add(texts, 0)
    assert counts.find(texts, 0).row.tolist() == [2]


def test_a_full_table_forgets_the_rare_and_never_counts_too_much():
    rng = np.random.default_rng(1)
    often = [f"{FOOTER} {number}" for number in range(20)]
    texts = ["\n".join([*(rng.bytes(16).hex() for _ in range(100)), often[row % 20]]) for row in range(600)]
    counts = counted(texts, PassageOptions(least=20, memory_mb=1), 100)
    assert 0 < counts.missed < 10
    left = edited(texts, counts)
    assert [text + "\n" + often[row % 20] for row, text in enumerate(left[20:], 20)] == texts[20:]
    assert edited(texts, counted(texts, PassageOptions(least=31, memory_mb=1), 100)) == texts


def test_counts_of_other_options_do_not_merge():
    with pytest.raises(UsageError, match="least=3"):
        PassageCounts(PassageOptions(least=2)).merge(PassageCounts(PassageOptions(least=3)))


def test_rows_beyond_what_a_count_knows_are_refused():
    with pytest.raises(UsageError, match="4,294,967,296"):
        PassageCounts(PassageOptions()).add(column(["a", "b"]), 2**32 - 1)
