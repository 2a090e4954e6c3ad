"""What near-duplicates of many documents take, told before, and stored sketches read batch by batch."""

from __future__ import annotations

import doctest

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate.dedup.memory
from curate.dedup.memory import plan_memory
from curate.dedup.signatures import signature_batches
from curate.dedup.sketch import EMPTY
from curate.lake.digest import key_lanes
from schemas.errors import UsageError
from schemas.tables import TABLES


def some_sketches(rng, n, values, slots=16):
    """Sketches with many equal bands; one in ten is of a text without a word."""
    made = rng.integers(0, values, (n, slots)).astype(np.uint32)
    made[rng.random(n) < 0.1] = EMPTY
    return made, rng.integers(5, 12, n).astype(np.int32)


def test_stored_sketches_are_read_batch_by_batch(tmp_path):
    """From two files, in batches that end anywhere; texts that do not stand are left out."""
    rng = np.random.default_rng(2)
    slots, shingles = some_sketches(rng, 100, 1000)
    keys = [f"{number:032x}" for number in range(100)]
    for name, part in (("a", slice(0, 37)), ("b", slice(37, 100))):
        sketches = [row.astype("<u4").tobytes() for row in slots[part]]
        columns = [pa.array(keys[part]), pa.array(sketches, pa.large_binary()), pa.array(shingles[part])]
        pq.write_table(pa.table(columns, TABLES["signatures"].schema), tmp_path / name, row_group_size=20)
    # A text may stand twice, and one has no sketch.
    wanted = np.append(rng.permutation(100)[:60], [3, 3, 250])
    digests = key_lanes(pl.Series([f"{number:032x}" for number in wanted]))
    batches = list(signature_batches([tmp_path / "a", tmp_path / "b"], digests, 16))
    found = np.concatenate([batch[0] for batch in batches])
    assert sorted(found) == list(range(62))
    assert np.array_equal(np.concatenate([batch[1] for batch in batches]), slots[wanted[found]])
    assert np.array_equal(np.concatenate([batch[2] for batch in batches]), shingles[wanted[found]])


def test_a_plan_keeps_to_its_budget():
    for documents in (10**3, 10**7, 10**9):
        plan = plan_memory(documents, threshold=0.8, slots=128, budget=max(2**28, documents * 6))
        assert plan.documents * plan.bands / plan.partitions * 12 < plan.budget
        assert len(plan.lines()) == 4
    with pytest.raises(UsageError, match="1,000,000,000 new documents") as caught:
        plan_memory(10**9, threshold=0.8, slots=128, budget=2**30)
    assert "5,364 MiB" in caught.value.hint


def test_examples_in_docstrings():
    assert doctest.testmod(curate.dedup.memory).failed == 0
