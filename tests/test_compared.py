"""Comparisons stored by number: what was put in is found, whatever the batches; another numbering finds nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.checked import DamagedError
from curate.dedup.compare import agreement, fill_records, record_words
from curate.dedup.compared import ComparedPairs, Found, verify_compared
from curate.dedup.indexed import first_of
from curate.dedup.places import places_of
from curate.dedup.sketch import estimates

pytestmark = pytest.mark.slow  # kernels that only few runs compile


def found_of(pairs):
    """Values that tell which pair they are of."""
    return Found(pairs / 7.0, pairs / 11.0, (pairs % 20).astype(np.int32))


@settings(max_examples=60, deadline=None)
@given(
    batches=st.lists(st.lists(st.integers(1, 500), max_size=60, unique=True), max_size=14),
    asked=st.lists(st.integers(0, 600), max_size=80),
    reopen=st.booleans(),
)
def test_what_was_stored_is_found_and_nothing_else(tmp_path_factory, batches, asked, reopen):
    folder, stored = tmp_path_factory.mktemp("compared"), set()
    compared = ComparedPairs(folder, "jaccard", "one")
    for batch in batches:
        pairs = np.array(batch, np.uint64)
        compared.append(pairs, found_of(pairs))
        stored |= set(batch)
        if reopen:
            compared = ComparedPairs(folder, "jaccard", "one")
        wanted = np.array(asked, np.uint64)
        known, found = compared.find(wanted)
        assert known.tolist() == [one in stored for one in asked]
        expected = found_of(wanted[known])
        for kind in ("similarity", "estimate", "band"):
            assert np.array_equal(getattr(found, kind)[known], getattr(expected, kind))
    assert len({file.name.split(".")[0] for file in folder.glob("compared-*-*-*")}) <= 8
    verify_compared(folder)
    for name, origin in (("jaccard", "another"), ("containment", "one")):
        assert not ComparedPairs(folder, name, origin).find(np.arange(600, dtype=np.uint64))[0].any()


def test_comparisons_of_a_numbering_that_is_gone_are_replaced(tmp_path):
    pairs = np.array([5, 9], np.uint64)
    ComparedPairs(tmp_path, "jaccard", "old").append(pairs, found_of(pairs))
    ComparedPairs(tmp_path, "jaccard", "new").append(pairs[:1], found_of(pairs[:1]))
    assert ComparedPairs(tmp_path, "jaccard", "new").find(pairs)[0].tolist() == [True, False]
    assert len(list(tmp_path.glob("*.pairs"))) == 1


@pytest.mark.parametrize("kind", ["pairs", "similarity", "estimate", "band", "json"])
def test_damaged_comparisons_are_found_by_checksum(tmp_path, kind):
    pairs = np.arange(1, 2000, dtype=np.uint64)
    ComparedPairs(tmp_path, "jaccard", "one").append(pairs, found_of(pairs))
    (file,) = tmp_path.glob(f"*.{kind}")
    data = bytearray(file.read_bytes())
    data[3] ^= 4
    file.write_bytes(data)
    with pytest.raises(DamagedError) as caught:
        ComparedPairs(tmp_path, "jaccard", "one").find(pairs)
    assert "made anew" in caught.value.hint
    with pytest.raises(DamagedError):
        verify_compared(tmp_path)


@given(
    stored=st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9))),
    wanted=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9))),
)
def test_digests_are_found_where_they_stand(stored, wanted):
    """Those with an equal prefix too, and those that are asked for twice."""
    stored = sorted(stored)
    shapes = [np.array(one, np.uint64).reshape(-1, 2) for one in (wanted, stored)]
    expected = [stored.index(one) if one in stored else -1 for one in wanted]
    assert places_of(*shapes).tolist() == expected
    spread = [one * np.uint64(0x9E3779B97F4A7C15) for one in shapes]  # other prefixes
    assert places_of(*spread).tolist() == expected


@given(rows=st.lists(st.tuples(st.integers(-1, 5), st.integers(0, 3)), max_size=40), seed=st.integers(0, 99))
def test_the_first_in_rank_stands_for_the_rows_of_its_text_and_group(rows, seed):
    numbers, group = (np.array([row[side] for row in rows], np.int64) for side in (0, 1))
    rank = np.random.default_rng(seed).permutation(len(rows)) * 2
    expected = [
        min((other for other in range(len(rows)) if rows[other] == one), key=lambda other: rank[other])
        if one[0] >= 0
        else row
        for row, one in enumerate(rows)
    ]
    assert first_of(numbers, group, rank, 6).tolist() == expected


@pytest.mark.parametrize(("slots", "bands", "rows"), [(16, 4, 4), (128, 20, 6), (64, 12, 5)])
def test_records_agree_as_the_sketches_do_where_bytes_that_differ_do_not_meet(slots, bands, rows):
    rng = np.random.default_rng(slots)
    made = rng.integers(0, 3, (60, slots)).astype(np.uint32)  # all differ in the lowest byte or are equal
    made[20:40] = np.where(rng.random((20, slots)) < 0.9, made[:20], made[20:40])
    records = np.empty((60, record_words(slots)), np.uint64)
    fill_records(made, np.full(60, 9, np.int32), np.arange(60), records)
    pairs = np.concatenate(
        [rng.integers(0, 60, (50, 2)), np.stack([np.arange(20), np.arange(20, 40)], axis=1)]
    )
    share, band = np.zeros(len(pairs)), np.zeros(len(pairs), np.int32)
    agreement(records, pairs, slots, bands, rows, share, band)
    assert np.array_equal(share, estimates(made, pairs))
    for (a, b), one in zip(pairs, band, strict=True):
        equal = (made[a] == made[b])[: bands * rows].reshape(bands, rows).all(axis=1)
        assert one == (np.argmax(equal) if equal.any() else -1)
