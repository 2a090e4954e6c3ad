"""`minhash` with containment: a text that stands in a longer one, found by bands of a lower similarity."""

import numpy as np
import pyarrow as pa
import pytest

from curate.dedup.containment import least_jaccard, may_contain
from curate.dedup.options import MinhashOptions
from curate.dedup.shingles import ShingleOptions
from curate.dedup.verify import similarities
from curate.engine.explain import explain
from curate.lake.lake import Lake
from schemas.errors import RecipeError
from tests.lakes import text
from tests.test_keepers import kept, made, row, verdicts

SHORT, REST, OTHER = text(1, 150), text(2, 120), text(3, 200)
LONG = f"{SHORT} {REST}"
CONTAINED = 'similarity = "containment"'


def test_bands_look_for_the_similarity_that_a_longer_text_can_have():
    for times in (1.0, 1.5, 2.0, 4.0):
        for share in (0.7, 0.8, 1.0):
            short = [f"s{n}" for n in range(1000)]
            both = short[: round(share * 1000)]
            long = both + [f"l{n}" for n in range(round(times * 1000) - len(both))]
            texts = pa.array([" ".join(short), " ".join(long)], pa.large_string())
            one_word = ShingleOptions(ngram=1)
            contained = similarities(texts, np.array([[0, 1]]), one_word, "containment")
            jaccard = similarities(texts, np.array([[0, 1]]), one_word)
            assert contained[0] == pytest.approx(share, abs=1e-3)
            assert jaccard[0] == pytest.approx(least_jaccard(share, times), abs=1e-3)
    b, r = MinhashOptions(similarity="containment").band_shape
    assert 1 - (1 - least_jaccard(0.8, 2) ** r) ** b >= 0.995
    assert MinhashOptions().floor == 0.8


def test_sizes_exclude_what_cannot_be_contained_and_nothing_else():
    shingles, pairs = np.array([100, 100, 200], np.int32), np.array([[0, 1], [0, 2]])
    at = np.array([least_jaccard(0.8, 1), least_jaccard(0.8, 2)])
    assert may_contain(at, shingles, pairs, 0.8, 128).all()
    assert not may_contain(at / 3, shingles, pairs, 0.8, 128).any()


@pytest.mark.slow
def test_by_default_the_longer_text_stays_whatever_comes_first(tmp_path):
    assert made(tmp_path, "minhash", CONTAINED, [row(SHORT), row(OTHER)], [row(LONG)]) == ["new#1", "old#2"]
    gone = verdicts(tmp_path)["old#1"]
    assert (gone["duplicate_of"], gone["reason"]) == ("new#1", "near_duplicate")
    assert gone["similarity"] == 1
    assert gone["estimate"] < 0.8  # what the sketches know is Jaccard
    answer = explain(tmp_path / "lake", "alike", "old.jsonl#1")
    assert answer.measure == "containment"
    # By Jaccard they are not alike; pairs of one measure are none of the other.
    assert made(tmp_path, "minhash", "", [row(SHORT), row(OTHER)], [row(LONG)]) == ["new#1", "old#1", "old#2"]
    fingerprints = {path.name for path in (tmp_path / "lake" / "content" / "pairs").iterdir()}
    assert len(fingerprints) <= 2
    stored = [Lake(tmp_path / "lake").content("pairs", name).scan().collect() for name in fingerprints]
    assert all(0 <= one <= 1 for rows in stored for one in rows.get_column("similarity"))


@pytest.mark.slow
def test_another_keeper_keeps_what_it_says_also_the_shorter_text(tmp_path):
    first = f'{CONTAINED}\nkeeper = "first"'
    assert made(tmp_path, "minhash", first, [row(SHORT)], [row(LONG)]) == ["old#1"]
    fixed = f'{CONTAINED}\nagainst = ["old"]'
    assert made(tmp_path, "minhash", fixed, [row(SHORT)], [row(LONG), row(OTHER)]) == ["new#2", "old#1"]


@pytest.mark.slow
def test_recall_holds_up_to_the_length_that_is_asked_for(tmp_path):
    rows = []
    for n in range(150):
        short = text(1000 + n, 160)
        rows += [row(short), row(f"{text(3000 + n, 150)} {short}")]
    made(tmp_path, "minhash", f"{CONTAINED}\nlonger = 2", rows, [])
    found = verdicts(tmp_path)
    gone = [place for place, verdict in found.items() if not verdict["kept"]]
    assert len(gone) >= 148  # 99.5 % of 150 is the promise at the limit
    assert all(int(place.split("#")[1]) % 2 == 1 for place in gone)
    assert len(kept(tmp_path)) == 300 - len(gone)


def test_containment_is_of_pairs_that_are_compared_exactly(tmp_path):
    with pytest.raises(RecipeError, match="verify = true"):
        made(tmp_path, "minhash", f"{CONTAINED}\nverify = false", [row(SHORT)], [])
