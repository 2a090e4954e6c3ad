"""Semantic near-duplicates: pairs of vectors by clusters, held to the comparison of all with all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup import semantic
from curate.dedup.leaders import leaders
from curate.dedup.semantic import MOST_EARLIER, recall_of, semantic_pairs
from schemas.errors import UsageError
from tests.lakes import text

checked = settings(deadline=None, max_examples=50)


def unit(vectors):
    vectors = np.asarray(vectors, np.float64)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def noisy(rng, vectors, cosine):
    """Vectors of about that cosine to the given ones."""
    noise = unit(rng.standard_normal(vectors.shape))
    return unit(vectors + noise * (1 / cosine**2 - 1) ** 0.5)


def with_copies(rng, vectors):
    """The last tenth are near-copies of others."""
    copies = len(vectors) // 10
    cosines = rng.uniform(0.9, 0.999, (copies, 1))
    return np.concatenate([vectors[:-copies], noisy(rng, vectors[:copies], cosines)])


def random_vectors(rng, n, d=64):
    """The worst case: nothing in them is a cluster."""
    return with_copies(rng, unit(rng.standard_normal((n, d))))


def clustered_vectors(rng, n, d=64, topics=200):
    """Texts of some topics, of which many are near to each other, and copies of a tenth of them."""
    weights = rng.dirichlet(np.ones(topics))
    middles = unit(rng.standard_normal((topics, d)))[rng.choice(topics, n, p=weights)]
    vectors = noisy(rng, middles, rng.uniform(0.5, 0.9, (n, 1)))
    return with_copies(rng, vectors)


def exact(vectors, threshold):
    cosines = vectors @ vectors.T
    later, earlier = np.nonzero(np.tril(cosines >= threshold, -1))
    return set(zip(earlier.tolist(), later.tolist(), strict=True))


def kept(n, pairs, cosine, threshold):
    keeper, _ = leaders(np.arange(n), pairs, cosine, threshold)
    return set(np.flatnonzero(keeper == np.arange(n)).tolist())


@checked
@given(st.integers(0, 2**32), st.integers(0, 60), st.integers(1, 8), st.sampled_from([0.3, 0.8, 0.95, 1.0]))
def test_of_few_vectors_every_pair_is_found_and_the_same_are_kept(seed, n, d, threshold):
    rng = np.random.default_rng(seed)
    vectors = unit(rng.standard_normal((n, d)).round(1) + 1e-3)
    vectors = vectors[np.sort(rng.integers(0, n, n))] if n else vectors  # with equal ones
    vectors = vectors[rng.permutation(n)]
    pairs, cosine = semantic_pairs(vectors, threshold)
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert len(np.unique(pairs, axis=0)) == len(pairs)
    products = np.einsum("ij,ij->i", vectors[pairs[:, 0]], vectors[pairs[:, 1]], dtype=np.float64)
    np.testing.assert_allclose(cosine, products, atol=1e-6)
    assert (cosine >= threshold).all()
    truth = exact(vectors, threshold)
    firsts = np.unique(vectors, axis=0, return_index=True)[1].tolist()
    near = {pair for pair in truth if set(pair) <= set(firsts)}
    sure = exact(vectors, threshold + 1e-6) & near  # float32 decides the rest
    assert sure <= {tuple(pair) for pair in pairs.tolist()}
    if not exact(vectors, threshold - 1e-6) - exact(vectors, threshold + 1e-6):
        every = np.array(sorted(truth), np.int64).reshape(-1, 2)
        assert kept(n, pairs, cosine, threshold) == kept(n, every, np.ones(len(every)), threshold)


@pytest.mark.slow
@pytest.mark.parametrize("make", [random_vectors, clustered_vectors])
@pytest.mark.parametrize("threshold", [0.9, 0.95])
def test_all_but_a_hundredth_is_found(make, threshold):
    vectors = make(np.random.default_rng(1), 5_000)
    truth, possible = exact(vectors, threshold), exact(vectors, threshold - 1e-5)
    found = {tuple(pair) for pair in semantic_pairs(vectors, threshold)[0].tolist()}
    assert found <= possible
    assert len(truth) > 150
    assert len(found & truth) >= 0.99 * len(truth)


def test_recall_says_what_share_of_the_pairs_was_found():
    vectors = random_vectors(np.random.default_rng(1), 5_000)
    truth = exact(vectors, 0.9)
    pairs, _ = semantic_pairs(vectors, 0.9, probes=1)
    share = len({tuple(pair) for pair in pairs.tolist()} & truth) / len(truth)
    assert 0.6 < share < 0.95
    assert recall_of(vectors, pairs, 0.9, sample=5_000) == pytest.approx(share, abs=1e-3)
    assert recall_of(vectors, pairs, 0.9, sample=2_000) == pytest.approx(share, abs=0.1)
    assert recall_of(vectors, semantic_pairs(vectors, 0.9)[0], 0.9) >= 0.99
    assert recall_of(vectors, pairs[:0], 0.9) == 0


def test_texts_that_say_nearly_the_same_are_found():
    pytest.importorskip("onnxruntime")
    from indexing.embedder import open_embedder

    texts = [text(seed, 20) for seed in range(60)]
    texts += [each.replace("the ", "a ", 1) + " Indeed." for each in texts[:20]]
    vectors = open_embedder("all-MiniLM-L6-v2").embed(texts)
    pairs, cosine = semantic_pairs(vectors, 0.9, clusters=8)
    truth = exact(vectors, 0.9)
    assert recall_of(vectors, pairs, 0.9) >= 0.99
    assert len(truth & {(row, row + 60) for row in range(20)}) > 10
    assert max(cosine) < 1


def test_the_same_seed_gives_the_same_pairs():
    vectors = clustered_vectors(np.random.default_rng(2), 5_000)
    one, two = (semantic_pairs(vectors, 0.9, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_array_equal(one[1], two[1])


def test_a_cluster_that_is_too_large_is_split_again(monkeypatch):
    vectors = clustered_vectors(np.random.default_rng(4), 5_000, topics=30)
    monkeypatch.setattr(semantic, "_LARGEST", 500)
    split = semantic_pairs(vectors, 0.95, clusters=4)[0]
    assert recall_of(vectors, split, 0.95) >= 0.99


def test_copies_of_one_text_cost_a_pair_each_and_leave_one():
    one = unit(np.random.default_rng(5).standard_normal((1, 32)))
    vectors = np.repeat(one, 20_000, axis=0)
    pairs, cosine = semantic_pairs(vectors, 1.0)
    assert len(pairs) == 19_999
    assert set(cosine) == {1.0}
    assert kept(20_000, pairs, cosine, 1.0) == {0}
    assert recall_of(vectors, pairs, 0.9) == 1.0


def test_texts_that_are_all_alike_give_a_bounded_number_of_pairs_and_leave_one():
    rng = np.random.default_rng(6)
    vectors = noisy(rng, np.repeat(unit(rng.standard_normal((1, 32))), 3_000, axis=0), 0.9999)
    pairs, cosine = semantic_pairs(vectors, 0.95, clusters=15)
    assert len(pairs) <= 3 * 3_000 * MOST_EARLIER
    assert len(kept(3_000, pairs, cosine, 0.95)) <= 30  # one a cluster at worst


@pytest.mark.parametrize("n", [0, 1])
def test_nothing_to_compare_gives_no_pair(n):
    pairs, cosine = semantic_pairs(np.ones((n, 1), np.float32), 0.5)
    assert pairs.shape == (0, 2)
    assert cosine.shape == (0,)
    assert pairs.dtype == np.int64
    assert recall_of(np.ones((n, 1), np.float32), pairs, 0.5) == 1.0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda v: v[0], "shape"),
        (lambda v: v.astype(np.float64), "float64"),
        (lambda v: v * np.float32(2), "Vector 0 has the length 2"),
        (
            lambda v: np.where(np.arange(5)[:, None] == 3, np.float32(np.nan), v),
            "Vector 3 has the length nan",
        ),
        (
            lambda v: np.where(np.arange(5)[:, None] == 2, np.float32(np.inf), v),
            "Vector 2 has the length inf",
        ),
        (lambda v: np.where(np.arange(5)[:, None] == 4, np.float32(0), v), "Vector 4 has the length 0"),
    ],
)
def test_what_is_no_direction_is_refused(spoil, message):
    vectors = unit(np.random.default_rng(7).standard_normal((5, 8)))
    for function in (
        lambda v: semantic_pairs(v, 0.9),
        lambda v: recall_of(v, np.empty((0, 2), np.int64), 0.9),
    ):
        with pytest.raises(UsageError, match=message):
            function(spoil(vectors))


@pytest.mark.parametrize(
    "wrong",
    [{"threshold": 0}, {"threshold": 1.1}, {"threshold": float("nan")}, {"probes": 0}, {"clusters": 0}],
)
def test_an_option_out_of_its_range_is_refused(wrong):
    with pytest.raises(UsageError, match="threshold is"):
        semantic_pairs(np.ones((2, 1), np.float32), **{"threshold": 0.5, **wrong})
