"""Keeping a lake: damage is found and named, gc takes only what nobody needs, old versions come back."""

import shutil

import pytest

from curate.lake.care import gc, rollback, tag, verify
from curate.lake.lake import Lake
from schemas.errors import LakeError, UsageError
from tests.lakes import RECIPE, digests, documents, make_recipe, run, write_jsonl


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A lake with three versions of one recipe."""
    folder = tmp_path_factory.mktemp("grown")
    for count in (10, 20, 30):
        recipe = make_recipe(folder, RECIPE)
        write_jsonl(folder / "docs.jsonl", documents(count))
        run(recipe)
    return folder


@pytest.fixture
def lake(grown, tmp_path):
    shutil.copytree(grown / "lake", tmp_path / "lake")
    return tmp_path / "lake"


def corpus(lake):
    return Lake(lake).read("harbour", "corpus").collect()


def test_a_sound_lake_passes(lake):
    assert all(check.passed for check in verify(lake))


def test_one_flipped_byte_is_found_and_its_file_named(lake):
    file = next((lake / "harbour" / "corpus").glob("*.parquet"))
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 0xFF
    file.write_bytes(data)
    bad = [check for check in verify(lake) if not check.passed]
    assert len(bad) == 1
    assert file.name in bad[0].message


def test_a_missing_file_is_found(lake):
    pin = Lake(lake).head().pins["harbour/corpus"]
    name = next(iter(Lake(lake).state("harbour", "corpus").files(pin)))
    (lake / "harbour" / "corpus" / name).unlink()
    assert [check.name for check in verify(lake) if not check.passed] == ["harbour/corpus"]


def test_gc_keeps_what_stands_and_the_last_runs(lake):
    before, standing = digests(lake), corpus(lake)
    (lake / "harbour" / "corpus" / "orphan-of-a-killed-run.parquet").write_bytes(b"x")
    result = gc(lake, keep=1)
    assert result["files"] >= 2
    assert result["bytes_after"] < result["bytes_before"]
    assert digests(lake) == before
    assert corpus(lake).equals(standing)
    assert all(check.passed for check in verify(lake))


def test_a_rollback_shows_the_old_corpus_and_moves_no_data(lake):
    versions = [row["seq"] for row in Lake(lake).runs.log().to_dicts() if row["table"] == "corpus"]
    now = corpus(lake)
    rollback(lake, "harbour", versions[0])
    assert len(corpus(lake)) == 7
    rollback(lake, "harbour", versions[-1])
    assert corpus(lake).equals(now)


def test_a_rollback_to_what_gc_took_says_so(lake):
    first = next(row["seq"] for row in Lake(lake).runs.log().to_dicts() if row["table"] == "corpus")
    gc(lake, keep=1)
    with pytest.raises(LakeError, match="is gone"):
        rollback(lake, "harbour", first)


def test_gc_spares_a_tag(lake):
    first = next(row["seq"] for row in Lake(lake).runs.log().to_dicts() if row["table"] == "corpus")
    rollback(lake, "harbour", first)
    tag(lake, "harbour", "the beginning")
    tagged = Lake(lake).head().seq
    rollback(lake, "harbour", first + 0)
    gc(lake, keep=1)
    rollback(lake, "harbour", tagged)
    assert len(corpus(lake)) == 7


@pytest.mark.parametrize("name", ["", " ", "7"])
def test_a_tag_that_is_empty_or_looks_like_a_version_is_refused(name, lake):
    with pytest.raises(UsageError, match="cannot be a tag"):
        tag(lake, "harbour", name)


def test_gc_keeps_at_least_one_run(lake):
    with pytest.raises(UsageError, match="at least 1"):
        gc(lake, keep=0)


def test_gc_does_not_run_beside_a_run(lake):
    with Lake(lake).lock("harbour"), pytest.raises(LakeError, match="is running"):
        gc(lake)
