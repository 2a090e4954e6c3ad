"""A stored index of bands: batch after batch it finds what a full run finds, and no damage goes unseen."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.bandindex import BandIndex, IndexOptions
from curate.dedup.candidates import candidates
from curate.dedup.lead import lead
from curate.dedup.leaders import leaders
from curate.dedup.sketch import EMPTY, estimates
from schemas.errors import LakeError, MovedError

pytestmark = pytest.mark.slow  # kernels that no run compiles

OPTIONS = IndexOptions(slots=16, bands=4, rows=3, threshold=0.6, identity={"seed": 1, "ngram": 5})


def some_sketches(rng, n, values=3):
    """Sketches with many equal bands; one in ten is of a text without a word."""
    made = rng.integers(0, values, (n, 16)).astype(np.uint32)
    made[rng.random(n) < 0.1] = EMPTY
    return made, rng.integers(5, 12, n).astype(np.int32)


def names(first, count):
    return pa.array([f"{number:032x}" for number in range(first, first + count)])


def add(index, slots, shingles):
    """Probe a batch and append it."""
    probed = index.probe(slots, shingles)
    index.append(probed, names(index.documents, len(slots)))
    return probed


def by_later(pairs):
    return pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]


CASES = given(
    seed=st.integers(0, 2**32),
    sizes=st.lists(st.integers(0, 150), min_size=1, max_size=12),
    values=st.integers(1, 4),
    reopen=st.booleans(),
)


def check_batches(folder, seed, sizes, values, reopen):
    """Giant buckets, empty batches and merged runs included; and what was kept stays kept."""
    rng = np.random.default_rng(seed)
    n = sum(sizes)
    slots, shingles = some_sketches(rng, n, values)
    full = candidates(slots, shingles, np.arange(n), threshold=0.6, bands=4, rows=3)
    truth = estimates(slots, full.pairs)
    index = BandIndex(folder, OPTIONS)
    found, unresolved = [np.empty((0, 2), np.int64)], []
    keeper, best = np.arange(n, dtype=np.int32), np.zeros(n)
    for stop in np.cumsum(sizes):
        if reopen:
            index = BandIndex(index.folder, OPTIONS)
        first = index.documents
        before = keeper[:first].copy()
        probed = add(index, slots[first:stop], shingles[first:stop])
        assert probed.first == first
        assert (probed.pairs[:, 1] >= first).all()
        lead(keeper, best, probed.pairs, estimates(slots, probed.pairs), 0.6)
        assert np.array_equal(keeper[:first], before)
        found.append(probed.pairs)
        unresolved.append(probed.unresolved)
    assert index.documents == n
    assert np.array_equal(np.concatenate(found), by_later(full.pairs))
    assert np.array_equal(np.concatenate(unresolved), full.unresolved)
    expected = leaders(np.arange(n), full.pairs, truth, 0.6)
    assert np.array_equal(keeper, expected[0])
    assert np.array_equal(best, expected[1])
    assert pa.chunked_array([*index.keys()], pa.string()).to_pylist() == names(0, n).to_pylist()


@settings(max_examples=6, deadline=None)
@CASES
def test_batches_find_and_remove_what_a_full_run_does(tmp_path_factory, **case):
    check_batches(tmp_path_factory.mktemp("index"), **case)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@CASES
def test_many_batches_find_and_remove_what_a_full_run_does(tmp_path_factory, **case):
    check_batches(tmp_path_factory.mktemp("index"), **case)


def test_what_is_found_does_not_depend_on_what_follows():
    """The ground of it all: among the first documents of a corpus, a full run finds the same pairs."""
    rng = np.random.default_rng(1)
    slots, shingles = some_sketches(rng, 600, 2)
    full = candidates(slots, shingles, np.arange(600), threshold=0.6, bands=4, rows=3)
    for first in (1, 63, 64, 65, 66, 200, 599):
        part = candidates(slots[:first], shingles[:first], np.arange(first), threshold=0.6, bands=4, rows=3)
        assert np.array_equal(part.pairs, full.pairs[(full.pairs < first).all(axis=1)])
        assert np.array_equal(part.unresolved, full.unresolved[:first])


def test_a_giant_bucket_takes_little_room(tmp_path):
    """10,000 pages of one template in every band: the index holds at most 256 of them for each."""
    rng = np.random.default_rng(2)
    slots = rng.integers(0, 2**31, (10_000, 16)).astype(np.uint32)
    slots[:, :12] = 7
    index = BandIndex(tmp_path, dataclasses.replace(OPTIONS, threshold=0.9))
    for part in np.split(slots, 4):
        add(index, part, np.full(len(part), 50, np.int32))
    entries = sum(run["entries"] for run in json.loads((tmp_path / "manifest.json").read_text())["runs"])
    assert entries <= 4 * 256


def test_runs_are_merged_and_old_files_go(tmp_path):
    rng = np.random.default_rng(3)
    index = BandIndex(tmp_path, OPTIONS)
    for _ in range(30):
        add(index, *some_sketches(rng, 20, 1000))
        runs = json.loads((tmp_path / "manifest.json").read_text())["runs"]
        assert len(runs) <= 8
        assert [run["first"] for run in runs] == np.cumsum([0, *(run["documents"] for run in runs)])[
            :-1
        ].tolist()
    stems = {run["name"] for run in runs}
    assert {file.name.split(".")[0] for file in tmp_path.iterdir()} == stems | {"manifest"}


def probe_after(folder, change):
    """What a batch finds before and after something is done to the files."""
    rng = np.random.default_rng(4)
    index = BandIndex(folder, OPTIONS)
    add(index, *some_sketches(rng, 2000))
    batch = some_sketches(rng, 500)
    before = index.probe(*batch)
    change(next(folder.glob("*.flat")))
    return before, BandIndex(folder, OPTIONS).probe(*batch)


@pytest.mark.parametrize("place", np.linspace(0, 0.999, 23))
def test_a_flipped_bit_in_the_flat_file_is_found_and_mended(tmp_path, place):
    def flip(file):
        data = bytearray(file.read_bytes())
        data[int(place * len(data))] ^= 4
        file.write_bytes(data)

    before, after = probe_after(tmp_path, flip)
    for field in dataclasses.fields(before):
        assert np.array_equal(getattr(before, field.name), getattr(after, field.name))


@pytest.mark.parametrize("change", [lambda file: file.unlink(), lambda file: file.write_bytes(b"cut off")])
def test_a_flat_file_that_is_missing_or_cut_off_is_made_anew(tmp_path, change):
    before, after = probe_after(tmp_path, change)
    assert np.array_equal(before.pairs, after.pairs)


@pytest.mark.parametrize("kind", ["bands", "documents"])
def test_a_flipped_bit_in_the_parquet_files_is_an_error(tmp_path, kind):
    """They are only read when the flat file must be made."""

    def damage(flat):
        flat.unlink()
        file = next(tmp_path.glob(f"*.{kind}.parquet"))
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 4
        file.write_bytes(data)

    with pytest.raises(LakeError, match=f"{kind}.parquet cannot be read") as caught:
        probe_after(tmp_path, damage)
    assert "made anew" in caught.value.hint


@pytest.mark.parametrize(
    "other",
    [{"slots": 32}, {"bands": 5}, {"rows": 2}, {"threshold": 0.7}, {"identity": {"seed": 2, "ngram": 5}}],
)
def test_an_index_made_with_other_options_is_refused(tmp_path, other):
    add(BandIndex(tmp_path, OPTIONS), *some_sketches(np.random.default_rng(5), 10))
    name = "seed" if "identity" in other else next(iter(other))
    with pytest.raises(LakeError, match=f"{name} .* and not ") as caught:
        BandIndex(tmp_path, dataclasses.replace(OPTIONS, **other))
    assert "signs all texts again" in caught.value.hint


def test_a_manifest_that_cannot_be_read_is_an_error(tmp_path):
    for text in ("{", "{}", '{"made_with": {}, "runs": [{"name": 1}]}'):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(LakeError, match="cannot be read"):
            BandIndex(tmp_path, OPTIONS)


def test_a_batch_probed_before_another_was_appended_is_refused(tmp_path):
    rng = np.random.default_rng(6)
    one, two = BandIndex(tmp_path, OPTIONS), BandIndex(tmp_path, OPTIONS)
    probed = one.probe(*some_sketches(rng, 10))
    add(two, *some_sketches(rng, 10))
    with pytest.raises(MovedError, match="changed since"):
        one.append(probed, names(0, 10))


def test_what_an_append_left_that_did_not_end_is_deleted(tmp_path):
    rng = np.random.default_rng(8)
    index = BandIndex(tmp_path, OPTIONS)
    add(index, *some_sketches(rng, 10))
    for name in ("run-0000000010-abcdef.bands.parquet", ".run-0000000010-abcdef.flat.1234.tmp"):
        (tmp_path / name).touch()
    add(index, *some_sketches(rng, 10))
    assert not list(tmp_path.glob("*abcdef*"))


def test_a_batch_that_was_only_probed_leaves_no_trace(tmp_path):
    index = BandIndex(tmp_path, OPTIONS)
    batch = some_sketches(np.random.default_rng(7), 100)
    first, again = index.probe(*batch), index.probe(*batch)
    assert np.array_equal(first.pairs, again.pairs)
    assert not list(tmp_path.iterdir())
