"""What presets compare, and what is missed: planted pairs, anchors, and a second look by plain Python."""

from __future__ import annotations

import doctest

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import curate.dedup.error
import curate.dedup.intervals
import curate.dedup.presets
from curate.dedup.anchors import anchor_recall, anchors, neighbours
from curate.dedup.error import in_pairs, pieces_of, planted, planted_strata
from curate.dedup.intervals import bootstrap, wilson
from curate.dedup.options import MinhashOptions
from curate.dedup.plain import plain_shingles, plain_similarity
from curate.dedup.presets import PEER_SKETCHES, PRESETS, explain, preset
from curate.dedup.shingles import ShingleOptions, shingle_sets
from curate.dedup.sketch import SketchOptions
from curate.dedup.verify import similarities
from schemas.errors import UsageError

LIGHT = settings(max_examples=40, deadline=None)
RNG = np.random.default_rng(3)
VOCABULARY = ["".join(RNG.choice(list("abcdefghij"), RNG.integers(2, 9))) + " " for _ in range(3000)]


def column(texts):
    return pa.array(texts, pa.large_string())


def documents(count, low, high, seed=0):
    rng = np.random.default_rng(seed)
    return [list(rng.choice(VOCABULARY, rng.integers(low, high))) for _ in range(count)]


# Presets


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_set_of_options_that_the_step_takes(name):
    options = MinhashOptions(**preset(name))
    assert options.band_shape == (PRESETS[name]["bands"], PRESETS[name]["rows"])
    assert PRESETS[name]["bands"] * PRESETS[name]["rows"] <= options.slots


@pytest.mark.parametrize(
    ("name", "curve"),  # at 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95
    [
        ("fineweb", [0.053, 0.211, 0.565, 0.772, 0.924, 0.988, 1.0, 1.0]),
        ("fineweb-2", [0.053, 0.211, 0.565, 0.772, 0.924, 0.988, 1.0, 1.0]),
        ("nemo", [0.002, 0.026, 0.177, 0.382, 0.677, 0.924, 0.997, 1.0]),
        ("refinedweb", [0, 0.016, 0.302, 0.761, 0.995, 1, 1, 1]),
        ("redpajama", [0.001, 0.012, 0.084, 0.195, 0.399, 0.686, 0.929, 0.998]),
        ("slimpajama", [0.001, 0.012, 0.084, 0.195, 0.399, 0.686, 0.929, 0.998]),
    ],
)
def test_which_pairs_a_preset_compares(name, curve):
    found = explain(name, (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)).probability
    assert found == pytest.approx(curve, abs=6e-4)


def test_a_curve_of_options_as_lines():
    curve = explain({"threshold": 0.8, "slots": 128})
    assert (curve.bands, curve.rows) == (20, 6)
    assert len(curve.similarity) == len(curve.probability) == 15
    lines = list(curve.lines())
    assert lines[0] == "20 bands of 6 rows; the curve turns at 0.607"
    assert lines[11] == f"0.80  0.9977 {'#' * 40}"


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(UsageError, match="finewebb") as caught:
        explain("finewebb")
    assert "fineweb" in caught.value.hint
    assert set(PEER_SKETCHES) <= set(PRESETS)


# Intervals


def test_intervals_of_a_share():
    assert wilson(299, 299)[0] > 0.987  # published: 0 of 299 missed says 0.99 one-sided
    assert wilson(996, 1000)[0] == pytest.approx(0.9898, abs=1e-4)
    assert wilson(50, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert wilson(0, 0) == bootstrap([], []) == (0, 1)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_an_interval_holds_the_truth_nearly_always(share):
    hits = np.random.default_rng(1).binomial(300, share, 400)
    inside = [low <= share <= high for low, high in (wilson(int(hit), 300) for hit in hits)]
    assert np.mean(inside) > 0.92


def test_pairs_of_one_document_count_as_one():
    """A cluster of 50 pairs that is found or missed as a whole says less than 50 pairs of 50 documents."""
    together = bootstrap([50, 0, 50, 50], [50, 50, 50, 50])
    apart = bootstrap([1] * 150 + [0] * 50, [1] * 200)
    assert together[1] - together[0] > 3 * (apart[1] - apart[0])


# Planted pairs


@pytest.mark.parametrize("target", [0.5, 0.7, 0.8, 0.95])
@pytest.mark.parametrize(("low", "high"), [(25, 100), (100, 600)])
def test_planted_pairs_have_the_similarity_that_is_said(target, low, high):
    options = ShingleOptions()
    drawn = documents(60, low, high)
    made = planted(drawn, options, target, VOCABULARY, seed=1)
    assert len(made.similarity) > 45
    assert made.similarity.min() >= target
    assert made.similarity.max() <= target + 0.025 + 1e-9
    texts = made.texts.to_pylist()
    exact = [plain_similarity(a, b, options) for a, b in zip(texts[::2], texts[1::2], strict=True)]
    assert exact == made.similarity.tolist()
    assert planted(drawn, options, target, VOCABULARY, seed=1).texts.equals(made.texts)
    assert not planted(drawn, options, target, VOCABULARY, seed=2).texts.equals(made.texts)


@pytest.mark.parametrize("target", [0.8, 0.9, 1.0])
@pytest.mark.parametrize("longer", [1.0, 2.0, 4.0])
def test_parts_of_documents_are_planted_with_the_containment_that_is_said(target, longer):
    options = ShingleOptions()
    drawn = documents(40, 150, 600)
    made = planted(drawn, options, target, VOCABULARY, seed=1, longer=longer)
    assert len(made.similarity) > 30
    assert made.similarity.min() >= target
    assert made.similarity.max() <= min(target + 0.025, 1) + 1e-9
    texts = made.texts.to_pylist()
    pairs = list(zip(texts[::2], texts[1::2], strict=True))
    assert [plain_similarity(*pair, options, "containment") for pair in pairs] == made.similarity.tolist()
    times = [len(plain_shingles(a, options)) / len(plain_shingles(b, options)) for a, b in pairs]
    assert np.median(times) == pytest.approx(longer, rel=0.05)


def test_recall_of_parts_is_that_of_the_bands_which_look_for_them():
    texts = ["".join(words) for words in documents(150, 200, 400)]
    step = MinhashOptions(similarity="containment")
    (b, r), asked = step.band_shape, {"threshold": 0.8, "targets": (0.8, 1.0), "seeds": 3}
    found = planted_strata(texts, step.sketch_options, bands=b, rows=r, longer=2, **asked)
    assert found.get_column("found").min() > 0.98
    assert found.get_column("theory").min() > 0.99
    # Bands that are set for Jaccard similarity find few of the same pairs.
    blind = planted_strata(texts, step.sketch_options, bands=20, rows=6, longer=2, **asked)
    assert blind.filter(target=0.8).get_column("found").item() < 0.2


def test_pairs_are_planted_in_characters_and_in_scripts_without_spaces_too():
    raw = ShingleOptions(unit="characters", ngram=24, normalization="none")
    made = planted(documents(30, 100, 300), raw, 0.8, VOCABULARY, seed=1)
    assert len(made.similarity) > 20
    rng = np.random.default_rng(4)
    chinese = ["".join(map(chr, rng.integers(0x4E00, 0x9FFF, 200))) for _ in range(30)]
    made = planted([pieces_of(text) for text in chinese], ShingleOptions(), 0.8, list("東京都庁"), seed=1)
    assert len(made.similarity) > 20


def test_recall_by_length_and_similarity_beside_theory():
    texts = [
        "".join(words)
        for low, high in ((8, 20), (20, 100), (100, 400))
        for words in documents(80, low, high, high)
    ]
    found = planted_strata(
        texts, SketchOptions(), threshold=0.8, bands=20, rows=6, targets=(0.5, 0.85, 1.0), count=80, seeds=3
    )
    assert found.get_column("length").unique(maintain_order=True).to_list() == [
        "under 20",
        "20 to 100",
        "100 to 1,000",
    ]
    assert not found.get_column("below_theory").any()
    above = found.filter(pl.col("target") > 0.8)
    assert above.get_column("found").min() > 0.98
    assert above.filter(target=1.0).get_column("found").to_list() == [1, 1, 1]
    half = found.filter(target=0.5, length="100 to 1,000").row(0, named=True)
    assert half["compared_low"] < half["theory"] < half["compared_high"]
    assert half["found"] is None  # there is nothing to find below the threshold


def test_settings_that_miss_are_seen_to_miss():
    """RedPajama's 9 x 13 compares 40 % of the pairs at 0.8."""
    texts = ["".join(words) for words in documents(150, 100, 300)]
    found = planted_strata(texts, SketchOptions(), threshold=0.8, bands=9, rows=13, targets=(0.8,), seeds=3)
    row = found.row(0, named=True)
    assert 0.4 < row["theory"] < 0.52  # the pairs are at 0.8 to 0.825
    assert row["compared_low"] < row["theory"] < row["compared_high"]


def test_texts_that_nothing_can_be_planted_in_have_no_row():
    for texts in ([], ["", " \n"], ["one"]):
        found = planted_strata(texts, SketchOptions(), threshold=0.8, bands=20, rows=6, targets=(0.8,))
        assert found.is_empty()
        assert {"length", "pairs", "found", "below_theory"} <= set(found.columns)


# Anchors


WORDS = st.lists(st.sampled_from(["a", "b", "c"]), max_size=9).map(" ".join)


@LIGHT
@given(
    st.lists(WORDS, min_size=1, max_size=4),
    st.lists(WORDS, max_size=8),
    st.sampled_from([0.1, 0.5, 0.8, 1.0]),
    st.sampled_from(["jaccard", "containment"]),
)
def test_neighbours_are_those_of_comparing_everything(drawn, texts, threshold, measure):
    options = ShingleOptions(ngram=2)
    found = neighbours(anchors(column(drawn), options), column(texts), threshold, measure)
    sizes = [[len(plain_shingles(text, options)) for text in side] for side in (drawn, texts)]
    expected = [
        (anchor, row, similarity, max(both) / min(both))
        for row, text in enumerate(texts)
        for anchor, other in enumerate(drawn)
        if (similarity := plain_similarity(other, text, options, measure)) >= threshold
        and (both := (sizes[0][anchor], sizes[1][row]))
    ]
    assert found.rows() == expected


def test_batches_change_nothing():
    options = ShingleOptions()
    texts = ["".join(words) for words in documents(20, 30, 60)] * 2
    table = anchors(column(texts[:5]), options)
    whole = neighbours(table, column(texts), 0.8)
    assert whole.select("anchor", "row").rows() == [
        *((i, i) for i in range(5)),
        *((i, i + 20) for i in range(5)),
    ]
    parts = [
        neighbours(table, column(texts).slice(start, 7), 0.8).with_columns(pl.col("row") + start)
        for start in range(0, 40, 7)
    ]
    assert pl.concat(parts).equals(whole)


def test_recall_of_anchors_by_stratum():
    truth = pl.DataFrame(
        {"anchor": [0, 0, 1, 2, 2], "row": [5, 6, 7, 8, 9], "similarity": [0.81, 0.9, 0.84, 1.0, 0.95]}
    )
    pairs = np.array([[5, 0], [0, 6], [2, 8], [9, 2]])
    asked = truth.select("anchor", "row").to_numpy()
    found = in_pairs(asked, pairs)
    assert found.tolist() == [True, True, False, True, True]
    both_kept = np.array([False, False, True, False, False])
    made = anchor_recall(truth, found, both_kept, 0.8)
    assert made.select("from", "anchors", "pairs", "found", "settled", "left").rows() == [
        (0.8, 2, 2, 0.5, 0.5, 1),
        (0.85, 2, 3, 1.0, 1.0, 0),
        (0.8, 3, 5, 0.8, 0.8, 1),
    ]
    assert made.get_column("low")[1] == wilson(2, 2)[0]
    # A pair that nobody looked at, one text of which went for another reason, is no miss.
    assert anchor_recall(truth, found, ~np.ones(5, bool), 0.8).get_column("settled").to_list() == [1, 1, 1]


def test_no_anchors_and_no_texts():
    options = ShingleOptions()
    for drawn, texts in (([], ["a b"]), (["", "a b"], []), ([""], ["", "a"])):
        found = neighbours(anchors(column(drawn), options), column(texts), 0.8)
        assert found.is_empty()
        recall = anchor_recall(found, np.zeros(0, bool), np.zeros(0, bool), 0.8)
        assert recall.select("pairs", "low", "high").rows() == [(0, 0, 1)] * 3


# The second look


CHARACTERS = st.characters(max_codepoint=0x3FFFF, exclude_categories=["Cs"])  # above: nothing that is text


@pytest.mark.slow
@LIGHT
@given(
    st.lists(st.one_of(st.text(CHARACTERS, max_size=30), WORDS), min_size=2, max_size=4),
    st.sampled_from(["words", "characters"]),
    st.sampled_from(["fold", "lower", "none"]),
    st.sampled_from(["keep", "collapse"]),
    st.integers(1, 4),
)
def test_plain_sets_say_what_kernels_say(texts, unit, normalization, digits, ngram):
    options = ShingleOptions(unit=unit, normalization=normalization, digits=digits, ngram=ngram)
    counts = np.diff(shingle_sets(column(texts), options).offsets)
    assert counts.tolist() == [len(plain_shingles(text, options)) for text in texts]
    expected = plain_similarity(texts[0], texts[1], options)
    assert similarities(column(texts), np.array([[0, 1]]), options).tolist() == [expected]


@pytest.mark.parametrize("module", [curate.dedup.presets, curate.dedup.intervals, curate.dedup.error])
def test_examples_in_docstrings(module):
    assert doctest.testmod(module).failed == 0
