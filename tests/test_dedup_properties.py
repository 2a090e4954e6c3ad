"""Dedup against oracles in plain Python: for any texts, sketches, ranks and pairs."""

from __future__ import annotations

import unicodedata

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.candidates import candidates, least_slots
from curate.dedup.compare import WHOLE
from curate.dedup.leaders import leaders
from curate.dedup.normalize import ALONE_RANGES
from curate.dedup.shingles import ShingleOptions, shingle_sets
from curate.dedup.sketch import SketchOptions, sketch
from curate.dedup.verify import similarities

LIGHT = settings(max_examples=60, deadline=None)

# Few words, so that texts share shingles; and whatever Unicode has.
WORDS = st.lists(st.sampled_from(["a", "b", "É", "12", "7", "x1", "東京", "ไทย", "-", "e\u0301", "\u00ad", "😀"]), max_size=30)  # fmt: skip
TEXTS = st.one_of(WORDS.map(" ".join), WORDS.map("".join), st.text(max_size=40))


def oracle_words(text, digits="keep"):
    """Normalised words, from the definition: fold each character, drop marks, split at all else."""
    words = [""]
    for char in text:
        if unicodedata.category(char) in ("Mn", "Me", "Cf") or 0xE0000 <= ord(char) < 0xF0000:
            continue
        parts = [p for p in unicodedata.normalize("NFKD", char.casefold()) if unicodedata.category(p) != "Mn"]
        if len(parts) != 1:
            parts = [char.casefold() if len(char.casefold()) == 1 else char.lower()]
        folded = parts[0]
        if 0x20000 <= ord(char) < 0x40000:  # ideographs, whether assigned in this version of Unicode or not
            words += [char, ""]
            continue
        category = unicodedata.category(folded)
        if category == "Nd":
            folded = str(unicodedata.decimal(folded))
            if digits == "collapse" and words[-1].endswith("0"):
                continue
            folded = "0" if digits == "collapse" else folded
        if category[0] not in "LN" and category != "Mc":
            words.append("")
        elif any(first <= ord(folded) <= last for first, last in ALONE_RANGES):
            words += [folded, ""]
        else:
            words[-1] += folded
    return [word for word in words if word]


def oracle_shingles(text, ngram=5, digits="keep"):
    words = oracle_words(text, digits)
    if not words:
        return set()
    return {tuple(words[i : i + ngram]) for i in range(max(1, len(words) - ngram + 1))}


def jaccard(a, b):
    return len(a & b) / len(a | b) if a | b else 0.0


def column(texts):
    return pa.array(texts, pa.large_string())


@LIGHT
@given(st.lists(TEXTS, min_size=2, max_size=8), st.integers(1, 6), st.sampled_from(["keep", "collapse"]))
def test_exact_similarity_is_that_of_python_sets(texts, ngram, digits):
    options = ShingleOptions(ngram=ngram, digits=digits)
    sets = [oracle_shingles(text, ngram, digits) for text in texts]
    pairs = np.array([[a, b] for a in range(len(texts)) for b in range(len(texts)) if a != b])
    expected = [jaccard(sets[a], sets[b]) for a, b in pairs]
    assert similarities(column(texts), pairs, options).tolist() == expected
    counts = np.diff(shingle_sets(column(texts), options).offsets)
    assert counts.tolist() == [len(shingles) for shingles in sets]


@LIGHT
@given(st.lists(TEXTS, min_size=1, max_size=6), st.sampled_from(["keep", "collapse"]))
def test_equal_words_equal_hash_and_equal_shingles_equal_sketch(texts, digits):
    sketches = sketch(column(texts), SketchOptions(digits=digits, slots=32))
    words = [tuple(oracle_words(text, digits)) for text in texts]
    sets = [oracle_shingles(text, digits=digits) for text in texts]
    for a in range(len(texts)):
        assert (sketches.hashes[a] == 0) == (not words[a])
        for b in range(a):
            assert (sketches.hashes[a] == sketches.hashes[b]) == (words[a] == words[b])
            assert np.array_equal(sketches.slots[a], sketches.slots[b]) == (sets[a] == sets[b])


@LIGHT
@given(st.binary(max_size=200), st.integers(0, 3))
def test_bytes_that_are_no_utf8_do_no_harm(data, start):
    """Arrow does not check its strings unless asked to: any bytes give some words, none from outside."""
    ends = pa.array([min(start, len(data)), len(data)], pa.int64()).buffers()[1]
    texts = pa.LargeStringArray.from_buffers(1, ends, pa.py_buffer(data))
    sketches = sketch(texts, SketchOptions(slots=16))
    assert 0 <= sketches.shingles[0] <= len(data) // 2 + 1


@LIGHT
@given(st.data())
def test_candidates_are_all_pairs_that_share_a_band_and_pass_the_sketch(data):
    """Buckets up to 64: the same pairs as comparing everything with everything."""
    n = data.draw(st.integers(1, WHOLE))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    slots = rng.integers(0, data.draw(st.integers(1, 4)), (n, 16)).astype(np.uint32)
    shingles = rng.integers(5, 12, n).astype(np.int32)
    rank = rng.permutation(n) * 3
    threshold, bands, rows = data.draw(
        st.sampled_from([(0.5, 4, 3), (0.8, 3, 2), (0.3, 16, 1), (1.0, 1, 16)])
    )
    found = candidates(slots, shingles, rank, threshold=threshold, bands=bands, rows=rows)
    expected = []
    for a in range(n):
        for b in range(n):
            same = slots[a] == slots[b]
            shared = any(same[k * rows : (k + 1) * rows].all() for k in range(bands))
            sizes = min(shingles[a], shingles[b]) / max(shingles[a], shingles[b])
            if (
                rank[a] < rank[b]
                and shared
                and sizes >= threshold
                and same.sum() >= least_slots(threshold, 16)
            ):
                expected.append((rank[a], rank[b]))
    assert list(map(tuple, rank[found.pairs].tolist())) == sorted(expected)
    assert not found.unresolved.any()


@LIGHT
@given(st.integers(0, 2**32), st.integers(1, 400), st.integers(1, 3))
def test_candidates_do_not_depend_on_the_order_of_rows(seed, n, values):
    """Giant buckets included."""
    rng = np.random.default_rng(seed)
    slots = rng.integers(0, values, (n, 16)).astype(np.uint32)
    shingles = rng.integers(5, 12, n).astype(np.int32)
    rank = rng.permutation(n)
    order = rng.permutation(n)
    found = candidates(slots, shingles, rank, threshold=0.6, bands=4, rows=3)
    again = candidates(slots[order], shingles[order], rank[order], threshold=0.6, bands=4, rows=3)
    assert np.array_equal(order[again.pairs], found.pairs)
    assert np.array_equal(again.unresolved, found.unresolved[order])


@LIGHT
@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(0, 200))
def test_the_leader_rule(seed, n, edges):
    rng = np.random.default_rng(seed)
    pairs = rng.integers(0, n, (edges, 2))
    similarity = rng.choice([0.5, 0.79, 0.8, 0.9, 1.0], edges)
    rank = rng.permutation(1000)[:n]
    keeper, best = leaders(rank, pairs, similarity, 0.8)
    kept = keeper == np.arange(n)

    joined = {}
    for (a, b), s in zip(pairs.tolist(), similarity.tolist(), strict=True):
        if s >= 0.8 and a != b:
            joined[a, b] = joined[b, a] = max(s, joined.get((a, b), 0))
    for row in range(n):
        options = [
            (-s, rank[a]) for (a, b), s in joined.items() if b == row and kept[a] and rank[a] < rank[row]
        ]
        if kept[row]:
            assert best[row] == 0
            assert not options  # so no two kept rows are joined
        else:
            assert (-best[row], rank[keeper[row]]) == min(options)  # the nearest kept one, ties by rank

    order = rng.permutation(n)
    inverse = np.argsort(order)
    again, _ = leaders(rank[order], inverse[pairs].reshape(-1, 2)[::-1, ::-1], similarity[::-1], 0.8)
    assert np.array_equal(order[again], keeper[order])
