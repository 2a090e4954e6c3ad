"""Candidates within a budget of memory: the same as in memory, whatever the budget, the batches, their order."""

from __future__ import annotations

import doctest

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import curate.dedup.memory
from curate.dedup.bounded import bounded_candidates
from curate.dedup.candidates import candidates
from curate.dedup.lead import lead
from curate.dedup.leaders import leaders
from curate.dedup.memory import Plan, plan_memory
from curate.dedup.signatures import signature_batches
from curate.dedup.sketch import EMPTY
from schemas.errors import UsageError
from schemas.tables import TABLES

pytestmark = pytest.mark.slow  # kernels that no run compiles

LIGHT = settings(max_examples=30, deadline=None)


def some_sketches(rng, n, values, slots=16):
    """Sketches with many equal bands; one in ten is of a text without a word."""
    made = rng.integers(0, values, (n, slots)).astype(np.uint32)
    made[rng.random(n) < 0.1] = EMPTY
    return made, rng.integers(5, 12, n).astype(np.int32)


def batches_of(rng, positions, slots, shingles, count=3):
    """The sketches in another order, cut into batches."""
    for part in np.array_split(rng.permutation(len(positions)), count):
        yield positions[part], slots[part], shingles[part]


CASES = given(
    seed=st.integers(0, 2**32),
    n=st.integers(0, 400),
    values=st.integers(1, 4),
    partitions=st.sampled_from([1, 4, 32]),
    members=st.sampled_from([1, 70, 150, 10_000]),
    budget=st.sampled_from([5_000, 10**7]),
)


def check_pairs(folder, seed, n, values, partitions, members, budget):
    """Buckets that are cut into stretches, and ranges of pairs that are cut again, included."""
    rng = np.random.default_rng(seed)
    slots, shingles = some_sketches(rng, n, values)
    position = rng.permutation(n)
    expected = candidates(slots, shingles, position, threshold=0.6, bands=4, rows=3)
    plan = Plan(n, 16, 0.6, 4, 3, budget, partitions, members)
    with bounded_candidates(batches_of(rng, position, slots, shingles), plan, folder) as found:
        pairs = np.concatenate([np.empty((0, 2), np.int64), *found.pairs()])
        assert np.array_equal(found.unresolved[position], expected.unresolved)
    ranks = position[expected.pairs]
    assert np.array_equal(pairs, ranks[np.lexsort((ranks[:, 0], ranks[:, 1]))])
    assert not list(folder.iterdir())  # nothing is left behind


@settings(max_examples=8, deadline=None)
@CASES
def test_the_same_pairs_and_counts_as_in_memory(tmp_path_factory, **case):
    check_pairs(tmp_path_factory.mktemp("spill"), **case)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@CASES
def test_the_same_pairs_and_counts_as_in_memory_in_many_cases(tmp_path_factory, **case):
    check_pairs(tmp_path_factory.mktemp("spill"), **case)


@LIGHT
@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(0, 200), st.integers(1, 5))
def test_the_leader_rule_over_pairs_that_come_in_order(seed, n, edges, parts):
    rng = np.random.default_rng(seed)
    pairs = np.sort(rng.integers(0, n, (edges, 2)), axis=1)
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    pairs = pairs[np.argsort(pairs[:, 1], kind="stable")]
    similarity = rng.choice([0.5, 0.79, 0.8, 0.9, 1.0], len(pairs))
    keeper, best = np.arange(n, dtype=np.int32), np.zeros(n)
    for some in np.array_split(np.arange(len(pairs)), parts):
        lead(keeper, best, pairs[some], similarity[some], 0.8)
    expected = leaders(np.arange(n), pairs, similarity, 0.8)
    assert np.array_equal(keeper, expected[0])
    assert np.array_equal(best, expected[1])


def test_texts_that_are_fixed_stay():
    keeper, best = np.arange(3, dtype=np.int32), np.zeros(3)
    fixed = np.array([False, True, False])
    lead(keeper, best, np.array([[0, 1], [1, 2]]), np.ones(2), 0.8, fixed)
    assert keeper.tolist() == [0, 1, 1]


def test_pairs_in_another_order_are_refused():
    keeper, best = np.arange(3, dtype=np.int32), np.zeros(3)
    for pairs in ([[0, 2], [0, 1]], [[1, 0]], [[1, 1]]):
        with pytest.raises(UsageError, match="order") as caught:
            lead(keeper, best, np.array(pairs), np.ones(len(pairs)), 0.8)
        assert caught.value.hint


@pytest.mark.parametrize(
    ("positions", "slots", "message"),
    [([0, 0], 16, "came twice"), ([0, 2], 16, "0 to 2 of 2"), ([0, 1], 32, "the plan has 16"), ([0], 16, "1 positions")],
)  # fmt: skip
def test_batches_that_do_not_fit_are_refused(tmp_path, positions, slots, message):
    plan = Plan(2, 16, 0.6, 4, 3, 10**6, 1, 100)
    batch = np.array(positions), np.ones((2, slots), np.uint32), np.ones(2, np.int32)
    with pytest.raises(UsageError, match=message) as caught:
        bounded_candidates([batch], plan, tmp_path)
    assert caught.value.hint
    assert not list(tmp_path.iterdir())


def test_stored_sketches_are_read_batch_by_batch(tmp_path):
    """From two files, in batches that end anywhere; texts that do not stand are left out."""
    rng = np.random.default_rng(2)
    slots, shingles = some_sketches(rng, 100, 1000)
    keys = [f"{number:032x}" for number in range(100)]
    for name, part in (("a", slice(0, 37)), ("b", slice(37, 100))):
        sketches = [row.astype("<u4").tobytes() for row in slots[part]]
        columns = [pa.array(keys[part]), pa.array(sketches, pa.large_binary()), pa.array(shingles[part])]
        pq.write_table(pa.table(columns, TABLES["signatures"].schema), tmp_path / name)
    standing = rng.permutation(100)[:60]
    positions = pl.DataFrame({"key": [keys[row] for row in standing], "position": np.arange(60)})
    batches = list(signature_batches([tmp_path / "a", tmp_path / "b"], positions, 16, rows=20))
    found = np.concatenate([batch[0] for batch in batches])
    assert sorted(found) == list(range(60))
    assert np.array_equal(np.concatenate([batch[1] for batch in batches]), slots[standing[found]])
    assert np.array_equal(np.concatenate([batch[2] for batch in batches]), shingles[standing[found]])


def test_a_plan_keeps_to_its_budget():
    for documents in (10**3, 10**7, 10**9):
        plan = plan_memory(documents, threshold=0.8, slots=128, budget=max(2**28, documents * 6))
        assert plan.documents * plan.bands / plan.partitions * 12 < plan.budget
        assert len(plan.lines()) == 4
    with pytest.raises(UsageError, match="1,000,000,000 documents") as caught:
        plan_memory(10**9, threshold=0.8, slots=128, budget=2**30)
    assert "4,470 MiB" in caught.value.hint


def test_examples_in_docstrings():
    assert doctest.testmod(curate.dedup.memory).failed == 0
