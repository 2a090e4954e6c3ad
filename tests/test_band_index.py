"""A stored index of bands: whatever came, went and in which batches, it finds what a search of all that stands finds."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.bandindex import BandIndex, IndexOptions, discard, verify_index
from curate.dedup.candidates import candidates
from curate.dedup.checked import DamagedError
from curate.dedup.indexed import indexed_candidates
from curate.dedup.leaders import leaders
from curate.dedup.memory import Plan
from curate.dedup.sketch import EMPTY, estimates
from schemas.errors import LakeError, MovedError, UsageError

pytestmark = pytest.mark.slow  # kernels that only few runs compile

OPTIONS = IndexOptions(slots=16, bands=4, rows=3, threshold=0.6, identity={"seed": 1, "ngram": 5})
PLAN = Plan(0, 16, 0.6, 4, 3, 10**7, 1, 10_000)


def some_sketches(rng, n, values=3):
    """Sketches with many equal bands; one in ten is of a text without a word."""
    made = rng.integers(0, values, (n, 16)).astype(np.uint32)
    made[rng.random(n) < 0.1] = EMPTY
    return made, rng.integers(5, 12, n).astype(np.int32)


def digests(numbers):
    """128 bits for each text."""
    return np.stack([np.asarray(numbers), np.asarray(numbers) * 7 + 3], axis=1).astype(np.uint64)


def add(index, slots, shingles, numbers, plan=PLAN):
    """Append one batch in two parts."""
    half = len(slots) // 2
    parts = [
        (digests(numbers[some]), slots[some], shingles[some]) for some in (slice(0, half), slice(half, None))
    ]
    index.append(parts, plan, index.folder / "scratch")


def by_group(slots, shingles, texts, rank, group):
    """What a search of all rows finds, group by group: pairs of rows, first in rank first, and counts."""
    pairs, unresolved = [np.empty((0, 2), np.int64)], np.zeros(len(texts), np.int32)
    for one in np.unique(group):
        rows = np.flatnonzero(group == one)
        found = candidates(
            slots[texts[rows]], shingles[texts[rows]], rank[rows], threshold=0.6, bands=4, rows=3
        )
        pairs.append(rows[found.pairs])
        unresolved[rows] = found.unresolved
    return np.concatenate(pairs), unresolved


def ordered(pairs, rank):
    ends = rank[pairs]
    return pairs[np.lexsort((ends[:, 1], ends[:, 0]))]


CASES = given(
    seed=st.integers(0, 2**32),
    sizes=st.lists(st.integers(0, 150), min_size=1, max_size=12),
    values=st.integers(1, 4),
    groups=st.integers(1, 3),
    gone=st.sampled_from([0.0, 0.3, 0.9]),
    partitions=st.sampled_from([1, 4]),
    members=st.sampled_from([1, 70, 150, 10_000]),
    reopen=st.booleans(),
)


def check(folder, seed, sizes, values, groups, gone, partitions, members, reopen):
    """After every batch, with some texts gone, any rank and any groups: what a search of what stands finds.

    And so who stays and who for whom: pairs and ranks are all that `leaders` is given, some rows being fixed.
    """
    rng = np.random.default_rng(seed)
    slots, shingles = some_sketches(rng, sum(sizes), values)
    plan = dataclasses.replace(PLAN, partitions=partitions, members=members)
    index, arrived = BandIndex(folder, OPTIONS), rng.permutation(sum(sizes))
    borders = np.cumsum([0, *sizes])
    for step, (start, stop) in enumerate(itertools.pairwise(borders)):
        batch = arrived[start:stop]
        add(index, slots[batch], shingles[batch], batch, plan)
        if step % 4 and step + 1 < len(sizes):
            continue
        if reopen:
            index = BandIndex(index.folder, OPTIONS)
        stands = arrived[:stop][rng.random(stop) >= gone]
        texts = np.concatenate([stands, *(stands[rng.random(len(stands)) < 0.5] for _ in range(groups - 1))])
        group = group_of(texts)
        rank = rng.permutation(len(texts)) * 3
        numbers = index.numbers(digests(texts))
        found = indexed_candidates(index, numbers, rank, group, plan)
        pairs, unresolved = by_group(slots, shingles, texts, rank, group)
        assert np.array_equal(ordered(found.pairs, rank), ordered(pairs, rank))
        assert np.array_equal(found.unresolved, unresolved)
        alike, fixed = estimates(slots, texts[pairs]), rng.random(len(texts)) < 0.2
        expected = leaders(rank, pairs, alike, 0.6, fixed)
        got = leaders(rank, found.pairs, estimates(slots, texts[found.pairs]), 0.6, fixed)
        assert np.array_equal(got[0], expected[0])
        assert np.array_equal(got[1], expected[1])
    assert len(index.runs) <= 8
    assert sorted({file.name.split(".")[0] for file in folder.glob("run-*")}) == sorted(
        run.run.name for run in index.runs
    )


def group_of(texts):
    """A text's second row is of the second group, and so on."""
    group, seen = np.zeros(len(texts), np.int64), {}
    for row, text in enumerate(texts.tolist()):
        seen[text] = seen.get(text, -1) + 1
        group[row] = seen[text]
    return group


@settings(max_examples=10, deadline=None)
@CASES
def test_batches_and_what_left_change_nothing(tmp_path_factory, **case):
    check(tmp_path_factory.mktemp("index"), **case)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@CASES
def test_batches_and_what_left_change_nothing_in_many_cases(tmp_path_factory, **case):
    check(tmp_path_factory.mktemp("index"), **case)


def test_a_key_that_became_a_giant_gives_no_pair_that_only_chance_of_arrival_found(tmp_path):
    """Forty texts come, then sixty more before them in rank: the forty are now compared with anchors alone."""
    rng = np.random.default_rng(3)
    slots = rng.integers(0, 2**31, (100, 16)).astype(np.uint32)
    slots[:, :3] = 7  # one band in common
    shingles = np.full(100, 9, np.int32)
    slots[10:40, 3:] = slots[10, 3:]  # alike, and like nothing else
    index = BandIndex(tmp_path, OPTIONS)
    add(index, slots[:40], shingles[:40], np.arange(40))
    add(index, slots[40:], shingles[40:], np.arange(40, 100))
    rank = (np.arange(100) + 60) % 100
    found = indexed_candidates(index, np.arange(100), rank, np.zeros(100, np.int64), PLAN)
    pairs, _ = by_group(slots, shingles, np.arange(100), rank, np.zeros(100))
    assert np.array_equal(ordered(found.pairs, rank), ordered(pairs, rank))
    few = np.arange(0, 60)  # forty left: the key that is a giant in the index is none among what stands
    found = indexed_candidates(index, few, rank[few], np.zeros(60, np.int64), PLAN)
    pairs, _ = by_group(slots, shingles, few, rank[few], np.zeros(60))
    assert np.array_equal(ordered(found.pairs, rank), ordered(pairs, rank))


def test_an_unknown_text_has_no_number_and_is_like_nothing(tmp_path):
    rng = np.random.default_rng(1)
    index = BandIndex(tmp_path, OPTIONS)
    slots, shingles = some_sketches(rng, 20, 1)
    add(index, slots, shingles, np.arange(20))
    numbers = index.numbers(digests([3, 99, 0]))
    assert numbers.tolist() == [3, -1, 0]
    found = indexed_candidates(index, np.array([3, -1, 0]), np.arange(3), np.zeros(3, np.int64), PLAN)
    assert 1 not in found.pairs
    assert set(index.wordless()) == set(np.flatnonzero(slots[:, 0] == EMPTY))


def test_a_text_that_stands_twice_in_a_group_is_refused(tmp_path):
    index = BandIndex(tmp_path, OPTIONS)
    add(index, *some_sketches(np.random.default_rng(1), 20, 1), np.arange(20))
    with pytest.raises(UsageError, match="twice in a group"):
        indexed_candidates(index, np.array([3, 3]), np.arange(2), np.zeros(2, np.int64), PLAN)


def filled(folder):
    rng = np.random.default_rng(4)
    index = BandIndex(folder, OPTIONS)
    for first in (0, 200):
        slots, shingles = some_sketches(rng, 200, 2)
        slots[::2, :3] = 1  # a giant bucket
        add(index, slots, shingles, np.arange(first, first + 200))
    return index


def use(folder):
    """Open an index and read all of it."""
    index = BandIndex(folder, OPTIONS)
    add(index, *some_sketches(np.random.default_rng(6), 50, 2), np.arange(900, 950))
    count = index.documents
    assert (index.numbers(digests(np.arange(400))) >= 0).all()
    return indexed_candidates(index, np.arange(count), np.arange(count), np.zeros(count, np.int64), PLAN)


@pytest.mark.parametrize(
    "kind", ["records", "digests", "keys", "numbers", "starts", "pairs", "counts", "giants"]
)
@pytest.mark.parametrize("where", ["first", "sums", "cut", "gone"])
def test_damage_is_found_by_checksum(tmp_path, kind, where):
    filled(tmp_path)
    assert verify_index(tmp_path)["rows"] == 400
    file = max(tmp_path.glob(f"*.{kind}"), key=lambda one: one.stat().st_size)
    data = bytearray(file.read_bytes())
    assert data
    if where == "gone":
        file.unlink()
    else:
        data[{"first": 3, "sums": -5, "cut": 0}[where]] ^= 4
        file.write_bytes(data[:-8] if where == "cut" else data)
    with pytest.raises(DamagedError):
        verify_index(tmp_path)
    with pytest.raises(DamagedError, match=f"{kind}|keys") as caught:
        use(tmp_path)
    assert "made anew" in caught.value.hint
    discard(tmp_path)
    assert BandIndex(tmp_path, OPTIONS).documents == 0


@pytest.mark.parametrize(
    "other",
    [{"slots": 32}, {"bands": 5}, {"rows": 2}, {"threshold": 0.7}, {"identity": {"seed": 2, "ngram": 5}}],
)
def test_an_index_made_with_other_options_is_refused(tmp_path, other):
    filled(tmp_path)
    name = "seed" if "identity" in other else next(iter(other))
    with pytest.raises(LakeError, match=f"{name} .* and not "):
        BandIndex(tmp_path, dataclasses.replace(OPTIONS, **other))


def test_a_manifest_that_cannot_be_read_is_damage(tmp_path):
    for text in ("{", "{}", '{"made_with": {}, "runs": [{"name": 1}]}'):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(DamagedError, match="cannot be read"):
            BandIndex(tmp_path, OPTIONS)


def test_an_index_that_moved_since_it_was_opened_is_not_appended_to(tmp_path):
    one = filled(tmp_path)
    add(BandIndex(tmp_path, OPTIONS), *some_sketches(np.random.default_rng(5), 10), np.arange(500, 510))
    with pytest.raises(MovedError, match="changed since"):
        add(one, *some_sketches(np.random.default_rng(5), 10), np.arange(600, 610))


def test_what_an_append_left_that_did_not_end_is_deleted(tmp_path):
    filled(tmp_path)
    (tmp_path / "run-0000000400-abcdef.keys").touch()
    use(tmp_path)
    assert not list(tmp_path.glob("*abcdef*"))


def test_without_keep_nothing_is_stored(tmp_path):
    filled(tmp_path)
    before = sorted(file.name for file in tmp_path.glob("*.*"))
    index = BandIndex(tmp_path, OPTIONS)
    slots, shingles = some_sketches(np.random.default_rng(6), 50, 2)
    index.append([(digests(np.arange(900, 950)), slots, shingles)], PLAN, tmp_path / "aside", keep=False)
    assert index.documents == 450
    assert sorted(file.name for file in tmp_path.glob("*.*")) == before
    assert BandIndex(tmp_path, OPTIONS).documents == 400
