"""A corpus that grows and shrinks: each run finds what a run over all of it finds, and an index that is damaged is no loss."""

import random
import shutil

import pytest

import curate.engine.near
import curate.engine.sketches
from curate.cli import main
from curate.dedup.memory import BUDGET
from curate.engine.session import read_memory
from curate.lake.care import gc, verify
from schemas.errors import UsageError
from tests.lakes import run, text, write_jsonl
from tests.test_keepers import make, row, verdicts

TEMPLATE = text(50, 200)


def pages(seed, count):
    """Texts alone, near-copies of some, and pages of one template: more than 64 in all, so giant buckets."""
    chance = random.Random(seed)
    rows = []
    for number in range(count):
        kind = chance.random()
        words = (
            TEMPLATE
            if kind < 0.7
            else text(chance.randint(0, 9), 120)
            if kind < 0.9
            else text(1000 + number, 90)
        )
        words += " " + " ".join(chance.choices(["one", "two", "three", "four"], k=chance.randint(0, 12)))
        rows.append(
            row(
                words,
                dump=chance.choice("ab"),
                number=chance.randint(0, 9),
                date=f"20{chance.randint(10, 25)}-01-01",
            )
        )
    return rows


def told(folder, name="alike"):
    return {
        place: (one["kept"], one["duplicate_of"], one["similarity"], one["estimate"], one["band"])
        for place, one in verdicts(folder, name).items()
    }


def fresh(folder, options, old, new):
    run(make(folder, "minhash", options, old, new))
    return told(folder)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param("", marks=pytest.mark.slow),
        pytest.param('keeper = "longest"', marks=pytest.mark.slow),
        pytest.param('keeper = "newest"', marks=pytest.mark.slow),
        'keeper = "number DESC"\nwithin = "dump"\nagainst = ["old"]',
        pytest.param('keeper = "number DESC"\nprefer = ["new"]', marks=pytest.mark.slow),
        pytest.param('within = "dump"', marks=pytest.mark.slow),
        pytest.param("verify = false", marks=pytest.mark.slow),
    ],
)
def test_runs_over_a_growing_and_shrinking_corpus_judge_as_one_over_what_stands(tmp_path, options):
    old, new = pages(1, 60), pages(2, 120)
    options = f"error_sample = 0\n{options}"
    for step, (first, second) in enumerate([(old[:20], new[:50]), (old, new), (old[30:], new[::3])]):
        grown = fresh(tmp_path / "grown", options, first, second)
        if step:
            assert grown == fresh(tmp_path / f"fresh{step}", options, first, second)


def test_what_stands_is_not_compared_again_and_what_is_stored_by_number_may_go(tmp_path):
    """Another keeper and a document that left are judged from stored comparisons; without those, from `pairs`."""
    options, old, new = "error_sample = 0", pages(1, 20), pages(2, 60)
    grown = tmp_path / "grown"
    fresh(grown, options, old, new)
    longest = f'{options}\nkeeper = "longest"'
    expected = fresh(tmp_path / "fresh", longest, old, new[5:])
    for lost in ("", "compared-*"):
        for file in (grown / "lake/content/bands").glob(f"*/{lost}") if lost else ():
            file.unlink()
        run(make(grown, "minhash", options, old, new))
        table = run(make(grown, "minhash", longest, old, new[5:])).table("deduplicated")
        assert table.measured == 0
        assert not lost or table.counts["compared"] == 0  # all of it was compared in the round before
        assert told(grown) == expected


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_any_batches_deletions_keepers_and_groups_judge_as_one_run_over_what_stands(tmp_path, seed):
    """One lake through five corpora, each with options of its own, so comparisons of all are mixed in the index."""
    chance = random.Random(seed)
    rows = pages(seed + 10, 220)
    for step in range(5):
        standing = chance.sample(rows, chance.randint(1, len(rows)))
        cut = chance.randint(0, len(standing))
        options = "\n".join(
            [
                "error_sample = 0",
                f"keeper = {chance.choice(['first', 'longest', 'newest', 'number DESC'])!r}",
                f"within = {chance.choice(['', 'dump'])!r}",
                f"against = {chance.choice([[], ['old']])!r}",
                f"similarity = {chance.choice(['jaccard', 'containment'])!r}",
                "slots = 512",
            ]
        )
        grown = fresh(tmp_path / "grown", options, standing[:cut], standing[cut:])
        assert grown == fresh(tmp_path / f"fresh{step}", options, standing[:cut], standing[cut:])


@pytest.mark.slow
def test_stable_never_drops_what_was_kept_and_needs_no_index_for_it(tmp_path):
    options = 'error_sample = 0\nkeeper = "stable"'
    old, new = pages(1, 60), pages(2, 120)
    first = fresh(tmp_path / "grown", options, old[:20], new[:50])
    shutil.copytree(tmp_path / "grown", tmp_path / "anew")
    shutil.rmtree(tmp_path / "anew/lake/content/bands")
    grown = fresh(tmp_path / "grown", options, old, new)
    assert all(grown[place][0] for place, one in first.items() if one[0])
    assert grown == fresh(tmp_path / "anew", options, old, new)


def test_a_damaged_index_is_made_anew_and_the_report_says_so(tmp_path):
    folder, lake = tmp_path / "lake", tmp_path / "lake/lake"
    options = "error_sample = 0"
    recipe = make(folder, "minhash", options, pages(1, 10), pages(2, 80))
    run(recipe)
    before = told(folder)
    assert all(check.passed for check in verify(lake))
    for kind in ("keys", "records"):
        (file,) = (lake / "content/bands").glob(f"*/*.{kind}")
        data = bytearray(file.read_bytes())
        for place in range(100, len(data), 4096):
            data[place] ^= 16
        file.write_bytes(data)
        assert [check.severity for check in verify(lake) if not check.passed] == ["warning"]
        write_jsonl(folder / "old.jsonl", pages(1, 10) + (pages(3, 20) if kind == "keys" else []))
        table = run(recipe).table("deduplicated")
        assert any("made anew" in note for note in table.notes), kind
        assert all(check.passed for check in verify(lake))
    assert told(folder) == before


@pytest.mark.slow
def test_other_options_have_an_index_of_their_own_and_gc_takes_what_no_version_needs(tmp_path):
    lake = tmp_path / "lake"
    for step, threshold in enumerate((0.8, 0.7, 0.7)):
        options = f"error_sample = 0\nthreshold = {threshold}"
        run(make(tmp_path, "minhash", options, pages(1, 10), pages(2, 10 + step)))
    assert len(list((lake / "content/bands").iterdir())) == 2
    gc(lake, keep=1)
    assert len(list((lake / "content/bands").iterdir())) == 1


def test_a_long_search_is_told_before_and_held_against_what_it_took(tmp_path, monkeypatch, capsys):
    for module in (curate.engine.near, curate.engine.sketches):
        monkeypatch.setattr(module, "TOLD_SECONDS", 0.0)
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "posts.jsonl", pages(1, 20))
    assert main(["dedup", "posts.jsonl", "-o", "kept.jsonl", "--memory", "1GB"]) == 0
    shown = "".join(capsys.readouterr())
    assert "20 bands of 6 of 128 slots" in shown
    page = (tmp_path / "kept.jsonl.curate/report.html").read_text()
    assert "planned" in page
    assert "memory held" in page


def test_a_memory_that_is_no_size_or_too_small_is_refused():
    for size in ("a lot", "1MB"):
        with pytest.raises(UsageError) as caught:
            read_memory(size)
        assert "--memory" in caught.value.hint
    assert read_memory("4GB") == 4 * 10**9
    assert read_memory("") == BUDGET
