"""Texts of pairs are brought together: each is read once, and what a worker holds has a limit."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup import gathered
from curate.dedup.components import components
from tests.test_near_increment import fresh, pages

MANY = st.integers(2, 60).flatmap(
    lambda count: st.tuples(
        st.lists(st.integers(0, 3_000_000), min_size=count, max_size=count),
        st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), min_size=1, max_size=200),
    )
)


@given(MANY)
@settings(max_examples=100, deadline=None)
def test_every_pair_is_in_one_shard_whose_texts_are_at_most_twice_its_size(drawn):
    chars, pairs = (np.array(part, dtype=np.int64) for part in drawn)
    order, shards = gathered.cut_pairs(pairs, chars)
    assert sorted(order.tolist()) == list(range(len(pairs)))
    assert sorted(set(shards.tolist())) == list(range(shards[-1] + 1))
    assert (np.diff(shards) >= 0).all()
    for number in range(shards[-1] + 1):
        texts = np.unique(pairs[order[shards == number]])
        assert chars[texts].sum() <= 2 * gathered.SHARD_CHARS + 2 * chars.max()


def test_what_hangs_together_and_fits_into_a_shard_is_in_one():
    pairs = np.array([[start + 1, start] for start in range(0, 4_000, 2)])
    chars = np.full(4_000, 40_000)
    order, shards = gathered.cut_pairs(pairs[np.random.default_rng(1).permutation(len(pairs))], chars)
    assert np.bincount(shards).max() <= gathered.SHARD_CHARS / 80_000 + 1
    assert len(order) == 2_000


def test_no_shard_has_more_pairs_than_a_worker_holds(monkeypatch):
    monkeypatch.setattr(gathered, "SHARD_PAIRS", 100)
    star = np.stack([np.zeros(1_000, np.int64), np.arange(1, 1_001)], axis=1)
    _, shards = gathered.cut_pairs(star, np.ones(1_001, np.int64))
    assert np.bincount(shards).max() <= 101
    assert set(components(np.arange(1_001), star)) == {0}


@pytest.mark.parametrize("size", [100, 2_000, 50_000])
def test_the_size_of_shards_changes_no_verdict_and_no_text_is_read_twice(tmp_path, monkeypatch, size):
    old, new = pages(1, 30), pages(2, 60)
    whole = fresh(tmp_path / "whole", "", old, new)
    read = Counter()

    def read_texts(rows):
        read.update(rows.select("file", "row").iter_rows())
        return original(rows)

    original = gathered.read_texts
    monkeypatch.setattr(gathered, "read_texts", read_texts)
    monkeypatch.setattr(gathered, "SHARD_CHARS", size)
    assert fresh(tmp_path / "cut", "", old, new) == whole
    assert set(read.values()) == {1}
    assert not list(tmp_path.glob("cut/lake/**/texts-*.arrow"))
