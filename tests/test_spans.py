"""Repeated passages: what counts as one, what is found of them, where they are cut."""

from __future__ import annotations

import time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.spans import SpanIndex, SpanOptions, Spans, find_spans
from curate.dedup.units import Ranges, cut
from schemas.errors import UsageError

LIGHT = settings(max_examples=60, deadline=None)
ALPHABETS = ["ab", "abcdefgh", "añ", "東京の文書", "aé文😀", "ไทย", "\0x"]
PASSAGE = "The quick brown fox jumps over the lazy dog, twice."


def column(texts):
    return pa.array(texts, pa.large_string())


def spans(texts, **options):
    return find_spans(column(texts), SpanOptions(**options))


def rows(found):
    """(row, start, stop, source row, source start) of each span."""
    return list(zip(*(getattr(found, name).tolist() for name in Spans.__dataclass_fields__), strict=True))


def repeated(texts, least):
    """The definition: for each text a mask of the bytes in a window with an earlier copy."""
    seen, masks = {}, []
    for row, text in enumerate(texts):
        mask = np.zeros(len(text), bool)
        for at in range(len(text) - least + 1):
            first_row, first_at = seen.setdefault(text[at : at + least], (row, at))
            if first_row < row or at - first_at >= least:
                mask[at : at + least] = True
        masks.append(mask)
    return masks


def covered(texts, found):
    masks = [np.zeros(len(text), bool) for text in texts]
    for row, start, stop, *_ in rows(found):
        masks[row][start:stop] = True
    return masks


def planted(seed, alphabet):
    """Texts of random characters, with passages that stand in several of them."""
    rng = np.random.default_rng(seed)

    def fresh(size):
        return "".join(rng.choice(list(alphabet), size))

    passages = [fresh(rng.integers(20, 400)) for _ in range(4)]
    texts = []
    for _ in range(rng.integers(1, 12)):
        parts = [fresh(rng.integers(0, 200))]
        for _ in range(rng.integers(0, 3)):
            passage = passages[rng.integers(len(passages))]
            start = rng.integers(0, len(passage) // 2)
            parts += [passage[start : start + rng.integers(len(passage))], fresh(rng.integers(0, 80))]
        texts.append("".join(parts))
    return texts


@LIGHT
@given(st.integers(0, 2**32), st.sampled_from(ALPHABETS))
def test_a_span_is_a_copy_of_what_an_earlier_document_or_the_same_one_says(seed, alphabet):
    texts = planted(seed, alphabet)
    data = [text.encode() for text in texts]
    found = spans(texts, least=48)
    truth = repeated(data, 48)
    for row, start, stop, source_row, source_start in rows(found):
        assert (source_row, source_start) < (row, start)
        passage = data[row][start:stop]
        assert passage == data[source_row][source_start : source_start + stop - start]
        passage.decode()  # whole characters
        assert truth[row][start:stop].all()
    order = [(row, start) for row, start, *_ in rows(found)]
    assert order == sorted(order)
    assert all(a[0] < b[0] or a[2] <= b[1] for a, b in zip(rows(found), rows(found)[1:], strict=False))


@LIGHT
@given(st.integers(0, 2**32), st.sampled_from([a for a in ALPHABETS if a.isascii()]))
def test_every_byte_with_an_earlier_copy_is_found(seed, alphabet):
    """Where no passage has many neighbours; over all texts of the next test it is 99.5 %."""
    texts = planted(seed, alphabet)
    expected = repeated([text.encode() for text in texts], 64)
    for mask, want in zip(covered(texts, spans(texts, least=64)), expected, strict=True):
        assert mask.tolist() == want.tolist()


def test_what_is_found_beside_a_suffix_array():
    import pydivsufsort

    texts = [text for seed in range(80) for alphabet in ALPHABETS for text in planted(seed, alphabet)]
    least = 100
    data = [text.encode() for text in texts]
    store = np.frombuffer(b"\xff".join([*data, b""]), np.uint8).copy()
    order = pydivsufsort.divsufsort(store)
    shared = pydivsufsort.kasai(store, order)
    group = np.cumsum(np.concatenate(([True], shared[:-1] < least)))  # equal: the same `least` bytes follow
    ends = np.cumsum([len(one) + 1 for one in data]) - 1
    end = ends[np.searchsorted(ends, order, "left")]  # of the document of each suffix
    whole = order + least <= end
    first = np.full(group[-1] + 1, len(store))
    np.minimum.at(first, group[whole], order[whole])
    before = first[group]
    earlier = ends[np.searchsorted(ends, np.minimum(before, len(store) - 1), "left")] < end
    copies = order[whole & (earlier | (before + least <= order))]
    truth = np.zeros(len(store) + 1, np.int64)
    np.add.at(truth, copies, 1)
    np.add.at(truth, copies + least, -1)
    truth = np.cumsum(truth) > 0
    found = np.zeros(len(store), bool)
    begins = np.concatenate(([0], ends[:-1] + 1))
    for row, start, stop, *_ in rows(find_spans(column(texts), SpanOptions(least=least))):
        found[begins[row] + start : begins[row] + stop] = True
    assert (found & ~truth[:-1]).sum() == 0
    assert found.sum() / truth.sum() >= 0.995


def test_the_first_copy_stays():
    texts = ["a " + PASSAGE + " b", "c " + PASSAGE + " d", "e " + PASSAGE + " f"]
    left, removed = cut(column(texts), spans(texts, least=48))
    assert left.to_pylist() == [texts[0], "cd", "ef"]
    assert removed.tolist() == [0, len(PASSAGE) + 2, len(PASSAGE) + 2]


def test_equal_documents_leave_one():
    texts = [PASSAGE * 3 + "!"] + [PASSAGE * 3 + "!"] * 20
    left, _ = cut(column(texts), spans(texts, least=len(PASSAGE) * 3))
    assert left.to_pylist() == [texts[0]] + [""] * 20


def test_a_later_copy_within_one_document_is_found_too():
    text = PASSAGE + "#" + PASSAGE
    assert rows(spans([text], least=48)) == [(0, len(PASSAGE) + 1, len(text), 0, 0)]


def test_no_span_goes_over_from_one_document_to_the_next():
    texts = [PASSAGE, PASSAGE[:25], PASSAGE[25:], PASSAGE[:40] + "#"]
    assert rows(spans(texts, least=48)) == []
    texts = [PASSAGE[:25], PASSAGE[25:], PASSAGE]
    assert rows(spans(texts, least=48)) == []


def test_passages_below_the_least_length_stay():
    assert rows(spans([PASSAGE[:47] + "1", PASSAGE[:47] + "2"], least=48)) == []
    assert rows(spans([PASSAGE[:48] + "1", PASSAGE[:48] + "2"], least=48)) == [(1, 0, 48, 0, 0)]


@pytest.mark.parametrize("texts", [[], [""], ["", ""], ["\0"] * 5, ["a"], [None, "x" * 60, None, "x" * 30]])
def test_empty_short_and_missing_texts_have_no_span(texts):
    assert len(spans(texts, least=48)) == 0


def test_nul_is_a_character_like_another():
    texts = ["a" + "\0b" * 50, "c" + "\0b" * 50]
    assert cut(column(texts), spans(texts, least=64))[0].to_pylist()[1] == "c"


def test_a_run_of_one_character_takes_linear_time():
    """What stays of it is what a span needs at least."""
    spans([PASSAGE, PASSAGE], least=64)  # compiles
    for alike in ("a", "ab", "abc" * 11):
        text = (alike * 1_000_000)[:1_000_000]
        begun = time.process_time()
        left, _ = cut(column([text, text]), spans([text, text], least=64))
        assert time.process_time() - begun < 30  # a quadratic step takes minutes
        assert [len(one) for one in left.to_pylist()] == [-(-64 // len(alike)) * len(alike), 0]


def test_lines_of_one_character_between_others_take_linear_time():
    """A block of dashes with other neighbours each time, which is never a span as a whole."""
    rng = np.random.default_rng(1)
    texts = ["".join(rng.choice(list("abcdef"), 40)) + "-" * int(rng.integers(30, 60)) for _ in range(20_000)]
    spans(texts[:2], least=64)  # compiles
    begun = time.process_time()
    spans(texts, least=64)
    assert time.process_time() - begun < 30


@LIGHT
@given(st.integers(0, 2**32), st.integers(1, 5), st.booleans())
def test_where_a_batch_ends_changes_nothing(tmp_path_factory, seed, size, lines):
    texts = planted(seed, "aé\n文")
    options = SpanOptions(least=48, ends="lines" if lines else "characters")
    index = SpanIndex(options, tmp_path_factory.getbasetemp())
    parts = []
    for at in range(0, len(texts), size):
        assert index.rows == at
        parts += rows(index.add(column(texts)[at : at + size]))
    assert parts == rows(find_spans(column(texts), options))
    assert index.share == 1


def test_a_full_table_finds_less_and_says_so(tmp_path):
    rng = np.random.default_rng(2)
    long = ["".join(rng.choice(list("abcdefgh"), 20_000)) for _ in range(40)]
    index = SpanIndex(SpanOptions(least=16, memory_mb=1), tmp_path)
    index.add(column(long))
    again = index.add(column(long))
    assert index.share == 0.25
    found = (again.stop - again.start).sum()
    assert 0.98 * 800_000 < found <= 800_000  # long copies have many blocks
    for row, start, stop, source_row, source_start in rows(again)[:50]:
        assert (
            long[row - 40][start:stop] == (long * 2)[source_row][source_start : source_start + stop - start]
        )


@LIGHT
@given(st.integers(0, 2**32), st.sampled_from(["lines", "sentences"]))
def test_lines_and_sentences_go_whole_or_not_at_all(seed, ends):
    texts = planted(seed, "ab. \n")
    masks = covered(texts, spans(texts, least=48))
    found = spans(texts, least=48, ends=ends)
    for text, mask, whole in zip(texts, masks, covered(texts, found), strict=True):
        assert (mask | ~whole).all()  # shrunk, never grown
        edges = np.flatnonzero(np.diff(whole.astype(int), prepend=0, append=0))
        for at in edges.tolist():
            before = text[:at].rstrip(" ")
            fits = at in (0, len(text)) or text[at] == "\n" or text[at - 1] == "\n"
            if ends == "sentences":
                fits = fits or (before.endswith(".") and (before != text[:at] or text[at] == " "))
            assert fits, (text[:at], text[at:])
        assert all(text[edge] not in " \n" for edge in edges[::2].tolist())


@pytest.mark.parametrize(
    ("before", "after"),
    [("One. ", "Two."), ("“Oh!” ", "two"), ("(See p. 3.) ", "Two"), ("Zero\n", "two"), ("文。", "二"), ("Wait… ", "Two"), ("", "two")],
)  # fmt: skip
def test_a_passage_goes_as_whole_sentences(before, after):
    for end in (" ", " Then", "\n", "") if after.isascii() else ("終わり。",):
        first = "zero " + PASSAGE + end + "|"
        text = before + PASSAGE + end + after
        left, _ = cut(column([first, text]), spans([first, text], least=48, ends="sentences"))
        rest = end.strip() if end.isascii() else ""
        if end:
            assert left.to_pylist() == [first, before + rest + after], end
        else:
            assert left.to_pylist() == [first, text]  # `twice.two` is no end of a sentence


def test_a_passage_in_the_midst_of_a_sentence_stays():
    texts = ["Ab " + PASSAGE[:-1] + " cd", "Ef " + PASSAGE[:-1] + " gh"]
    assert len(spans(texts, least=48, ends="sentences")) == 0


def test_token_ids_repeat_as_bytes_do(tmp_path):
    rng = np.random.default_rng(3)
    passage = rng.integers(0, 2**32 - 1, 60).tolist()
    documents = [[1, *passage, 2], [3, 4, *passage, 5], [], [*passage[:49], 7]]
    tokens = pa.array(documents, pa.large_list(pa.uint32()))
    options = SpanOptions(least=50)
    found = find_spans(tokens, options)
    assert rows(found) == [(1, 2, 62, 0, 1)]
    left, removed = cut(tokens, found)
    assert left.to_pylist() == [documents[0], [3, 4, 5], [], documents[3]]
    assert removed.tolist() == [0, 60, 0, 0]
    index = SpanIndex(options, tmp_path, tokens=True)
    assert [rows(index.add(tokens.slice(at, 1))) for at in range(4)] == [[], [(1, 2, 62, 0, 1)], [], []]


def test_what_cannot_be_searched_is_said(tmp_path):
    tokens = pa.array([[1, 2]], pa.large_list(pa.uint32()))
    with pytest.raises(UsageError, match="token ids"):
        find_spans(tokens, SpanOptions(ends="lines"))
    with pytest.raises(UsageError, match="int64"):
        find_spans(pa.array([[1, 2]]), SpanOptions())
    with pytest.raises(UsageError, match="string"):
        SpanIndex(SpanOptions(), tmp_path, tokens=True).add(column(["a"]))


@pytest.mark.parametrize(
    ("row", "start", "stop"),
    [([0, 0], [0, 1], [2, 3]), ([1], [0], [1]), ([0], [0], [4]), ([0], [2], [1]), ([-1], [0], [1])],
)
def test_ranges_that_do_not_fit_are_refused(row, start, stop):
    ranges = Ranges(*(np.array(one, np.int64) for one in (row, start, stop)))
    with pytest.raises(UsageError, match="do not fit"):
        cut(column(["abc"]), ranges)


def test_a_slice_is_cut_like_a_whole_column():
    texts = column(["x", "a " + PASSAGE, "b " + PASSAGE, "y"])
    part = texts.slice(1, 3)
    found = find_spans(part, SpanOptions(least=48))
    assert cut(part, found)[0].to_pylist() == ["a " + PASSAGE, "b", "y"]
    assert cut(part.slice(1), found, first_row=1)[0].to_pylist() == ["b", "y"]


@settings(max_examples=30, deadline=None)
@given(st.one_of(st.binary(max_size=400), st.sampled_from([b"\x80" * 99, b"\xff" * 99])), st.integers(0, 400))
def test_bytes_that_are_no_utf8_do_no_harm(data, middle):
    """Arrow does not check its strings unless asked to."""
    middle = min(middle, len(data))
    whole = data * 3
    ends = pa.array([0, middle, len(data), len(whole)], pa.int64()).buffers()[1]
    texts = pa.LargeStringArray.from_buffers(3, ends, pa.py_buffer(whole))
    for kind in ("characters", "sentences", "lines"):
        cut(texts, find_spans(texts, SpanOptions(least=8, ends=kind)))
