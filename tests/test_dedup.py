"""Near-duplicates: what counts as equal, what is found, what goes and what stays."""

from __future__ import annotations

import doctest
import sys

import numpy as np
import pyarrow as pa
import pytest
from numba.core import event

import curate.dedup.bands
import curate.dedup.normalize
from curate.dedup import warm
from curate.dedup.bands import bands, probability
from curate.dedup.candidates import candidates, least_slots
from curate.dedup.compatible import minhash_values, to_datasketch
from curate.dedup.leaders import leaders
from curate.dedup.shingles import ShingleOptions, shingle_sets
from curate.dedup.sketch import EMPTY, SketchOptions, estimates, sketch
from curate.dedup.verify import similarities
from schemas.errors import CurateError, MissingExtraError, UsageError

OPTIONS = SketchOptions()


def column(texts):
    return pa.array(texts, pa.large_string())


def same_words(a, b, **options):
    """Whether two texts have the same sequence of words."""
    hashes = sketch(column([a, b]), SketchOptions(**options)).hashes
    return hashes[0] == hashes[1]


def test_a_table_of_symbols_is_kept_and_made_again_if_it_is_damaged(tmp_path, monkeypatch):
    monkeypatch.setattr(curate.dedup.normalize, "CACHE", tmp_path / "kernels")
    make = curate.dedup.normalize.fold_table.__wrapped__
    made = make("keep", "none", "words")
    (file,) = (tmp_path / "kernels").iterdir()
    whole = file.read_bytes()
    assert (make("keep", "none", "words") == made).all()
    for damaged in (b"", whole[:-9], whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:]):
        file.write_bytes(damaged)
        again = make("keep", "none", "words")
        assert (again == made).all()
        assert not again.flags.writeable
        assert file.read_bytes() == whole


def shingles(text, **options):
    return int(sketch(column([text]), SketchOptions(**options)).shingles[0])


def random_words(rng, count):
    """Words that occur once: as many as asked for, all different."""
    return [f"w{number}" for number in rng.choice(10**9, count, replace=False)]


def planted(rng, targets, lengths):
    """One pair a target: a text, and the text with its last words replaced so that J is just above."""
    texts = []
    for target, length in zip(targets, lengths, strict=True):
        words = random_words(rng, length)
        total = length - 4  # shingles; m replaced words at the end change m of them
        m = int(total * (1 - target) / (1 + target) + 1e-9)
        texts += [" ".join(words), " ".join(words[: length - m] + random_words(rng, m))]
    return column(texts)


def adjacent_pairs(count):
    return np.arange(2 * count).reshape(-1, 2)


def near_duplicates(texts, rank=None, threshold=0.8):
    """The whole way: keeper of each text."""
    rank = np.arange(len(texts)) if rank is None else rank
    sketches = sketch(column(texts), OPTIONS)
    b, r = bands(threshold, OPTIONS.slots)
    found = candidates(sketches.slots, sketches.shingles, rank, threshold=threshold, bands=b, rows=r)
    return leaders(rank, found.pairs, similarities(column(texts), found.pairs, OPTIONS), threshold)[0]


# What is equal


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("The Quick FOX", "the quick fox"),  # case
        ("Straße ÉTÉ", "straße été"),
        ("café naïf Ελλάς", "cafe naif ελλασ"),  # diacritics, final sigma
        ("cafe\u0301", "caf\u00e9"),  # combining or precomposed
        ("Ｆｕｌｌ　１２３", "full 123"),  # full width
        ("٣ ४", "3 4"),  # digits of other scripts
        ("Hello, world! (yes)", "hello world -- yes"),  # punctuation separates
        ("x_y-z don't", "x y z don t"),
        ("soft\u00adhyphen zero\u200dwidth", "softhyphen zerowidth"),
        ("  a\tb\n", "a b"),
        ("price: 5 €", "price 5"),  # so do symbols
        ("東京 タワー", "東京タワー"),  # scripts without spaces: a character is a word
    ],
)
def test_texts_with_the_same_words(a, b):
    assert same_words(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("version 1.2", "version 1.3"),  # digits are kept
        ("a b", "b a"),
        ("ab", "a b"),
        ("ß", "ss"),  # one character to one
        ("की", "का"),  # vowel signs that have a width are letters
        ("東京", "京東"),
    ],
)
def test_texts_with_other_words(a, b):
    assert not same_words(a, b)


def test_digits_collapse_only_when_asked():
    assert same_words("page 7 of 2024", "page 12 of 1999", digits="collapse")
    assert not same_words("page 7 of 2024", "page 12 of 1999")
    assert not same_words("a1", "a", digits="collapse")


def test_a_word_per_character_in_scripts_without_spaces():
    assert shingles("東京都庁舎", ngram=1) == 5
    assert shingles("𠀀𠀁𠀂", ngram=1) == 3  # beyond the 16-bit planes
    assert shingles("ไทย", ngram=1) == 3
    assert shingles("한국어 텍스트", ngram=1) == 2  # Korean has spaces


def test_shingles_are_distinct_word_ngrams():
    assert shingles("a b c d e f g") == 3
    assert shingles("a b c d e " * 50) == 5
    assert shingles("one two", ngram=1) == 2


def test_short_texts_match_whole_or_not_at_all():
    texts = column(["one two", "One, two!", "one two three", "one one two", "two one"])
    pairs = np.array([[0, 1], [0, 2], [0, 3], [0, 4]])
    assert similarities(texts, pairs, OPTIONS).tolist() == [1, 0, 0, 0]
    assert (sketch(texts, OPTIONS).shingles == 1).all()


def test_a_text_without_words_is_like_no_other():
    texts = column(["", "", " \n ", "!?", "😀", None, "\u0301"])
    sketches = sketch(texts, OPTIONS)
    assert (sketches.slots == EMPTY).all()
    assert not sketches.shingles.any()
    assert not sketches.hashes.any()
    pairs = np.array([[0, 1], [2, 3]])
    assert similarities(texts, pairs, OPTIONS).tolist() == [0, 0]
    assert estimates(sketches.slots, pairs).tolist() == [0, 0]
    rank = np.arange(7)
    found = candidates(sketches.slots, sketches.shingles, rank, threshold=0.8, bands=20, rows=6)
    assert found.pairs.shape == (0, 2)


# Sketches


def test_a_sketch_depends_on_its_text_alone():
    rng = np.random.default_rng(1)
    texts = [" ".join(random_words(rng, count)) for count in (1, 3, 5, 40, 900)] + ["", "ä ö ü ß € 東京"]
    whole = sketch(column(texts), OPTIONS)
    padded = column(["x y z", None, *texts, "a much longer text " * 500])
    for part in (padded.slice(2, len(texts)), column(texts)[:].cast(pa.string())):
        again = sketch(part, OPTIONS)
        for name in ("slots", "shingles", "hashes"):
            assert np.array_equal(getattr(again, name), getattr(whole, name))
    alone = np.vstack([sketch(column([text]), OPTIONS).slots for text in texts])
    assert np.array_equal(alone, whole.slots)


def test_sketches_stay_the_same_from_release_to_release():
    """Stored sketches are compared with new ones: if this fails, they must be made anew."""
    sketches = sketch(column(["The quick brown fox jumps over the lazy dog."]), OPTIONS)
    assert sketches.shingles.tolist() == [5]
    assert sketches.hashes.tolist() == [GOLDEN_HASH]
    assert sketches.slots[0, :4].tolist() == GOLDEN_SLOTS


GOLDEN_HASH = 2044732773814281563
GOLDEN_SLOTS = [2293217176, 3394844875, 2211355615, 2265473019]


def test_no_texts():
    sketches = sketch(column([]), OPTIONS)
    assert sketches.slots.shape == (0, 128)
    found = candidates(sketches.slots, sketches.shingles, np.arange(0), threshold=0.8, bands=20, rows=6)
    assert found.pairs.shape == (0, 2)
    keeper, similarity = leaders(np.arange(0), found.pairs, np.zeros(0), 0.8)
    assert len(keeper) == len(similarity) == 0


@pytest.mark.parametrize("length", [20, 80, 400])
def test_the_estimate_is_unbiased_and_no_worse_than_datasketch(length):
    """Same K, same shingles, pairs at J about 0.8 and 0.6: mean error within noise, RMSE at most its."""
    datasketch = pytest.importorskip("datasketch")
    rng = np.random.default_rng(length)
    count = 300
    texts = planted(rng, np.tile([0.8, 0.6], count // 2), [length] * count)
    pairs = adjacent_pairs(count)
    truth = similarities(texts, pairs, OPTIONS)
    ours = np.concatenate(
        [estimates(sketch(texts, SketchOptions(seed=seed)).slots, pairs) - truth for seed in range(4)]
    )
    values = minhash_values(texts, OPTIONS)
    minhashes = [to_datasketch(row) for row in values]
    theirs = np.array([minhashes[a].jaccard(minhashes[b]) for a, b in pairs]) - truth
    assert isinstance(minhashes[0], datasketch.MinHash)
    assert abs(ours.mean()) < 4 * ours.std() / np.sqrt(len(ours))
    assert np.sqrt((ours**2).mean()) < np.sqrt((theirs**2).mean()) * (0.85 if length < 150 else 1.1)


def test_the_estimate_of_short_texts_is_twice_as_sure_as_classic_minhash():
    """RMSE over sqrt(J (1 - J) / K), on texts of 50 words: 0.70 when measured on 17,604 documents."""
    texts = planted(np.random.default_rng(5), [0.8] * 200, [50] * 200)
    pairs = adjacent_pairs(200)
    truth = similarities(texts, pairs, OPTIONS)
    errors = [estimates(sketch(texts, SketchOptions(seed=seed)).slots, pairs) - truth for seed in range(10)]
    assert np.sqrt(np.mean(np.square(errors))) < 0.8 * np.sqrt((truth * (1 - truth)).mean() / 128)


@pytest.mark.parametrize("options", [{"slots": 100}, {"slots": 8}, {"ngram": 0}, {"digits": "no"}, {"k": 1}])
def test_options_that_cannot_be(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        SketchOptions(**options)


# Bands


@pytest.mark.parametrize(
    ("b", "r", "curve"),  # at 0.5, 0.6, 0.7, 0.8, 0.9
    [
        (14, 8, [0.053, 0.211, 0.565, 0.924, 1.0]),  # FineWeb
        (9, 13, [0.001, 0.012, 0.084, 0.399, 0.929]),  # RedPajama-V2 and SlimPajama for "0.8"
        (20, 13, [0.002, 0.026, 0.177, 0.677, 0.997]),  # NeMo
    ],
)
def test_probability_of_published_settings(b, r, curve):
    assert probability([0.5, 0.6, 0.7, 0.8, 0.9], b, r) == pytest.approx(curve, abs=6e-4)


@pytest.mark.parametrize(
    ("threshold", "slots", "expected"),
    [(0.8, 128, (20, 6)), (0.8, 256, (32, 8)), (1.0, 128, (1, 128)), (0.5, 128, (40, 3))],
)
def test_bands_of_a_threshold(threshold, slots, expected):
    assert bands(threshold, slots) == expected


@pytest.mark.parametrize("threshold", [0.3, 0.55, 0.7, 0.8, 0.9, 0.95, 1])
@pytest.mark.parametrize("slots", [64, 128, 512])
@pytest.mark.parametrize("recall", [0.9, 0.995])
def test_bands_reach_the_recall_and_fit(threshold, slots, recall):
    b, r = bands(threshold, slots, recall)
    assert b * r <= slots
    assert probability(threshold, b, r) >= recall


def test_bands_that_cannot_be():
    with pytest.raises(UsageError, match="16 slots"):
        bands(0.1, 16)
    with pytest.raises(UsageError, match=r"threshold is 1\.2"):
        bands(1.2, 128)
    with pytest.raises(UsageError, match="recall 1"):
        bands(0.8, 128, recall=1)


# Candidates


def test_recall_of_planted_near_duplicates():
    """1,000 pairs at known J from 0.8 to 0.95, half of them just above: at least 99 % are found."""
    rng = np.random.default_rng(7)
    targets = np.concatenate([np.full(500, 0.8), rng.uniform(0.8, 0.95, 500)])
    texts = planted(rng, targets, rng.integers(60, 400, 1000))
    pairs = adjacent_pairs(1000)
    truth = similarities(texts, pairs, OPTIONS)
    assert (truth >= 0.8).all()
    assert (truth < 0.85).sum() > 500
    sketches = sketch(texts, OPTIONS)
    rank = rng.permutation(2000)
    found = candidates(sketches.slots, sketches.shingles, rank, threshold=0.8, bands=20, rows=6)
    hits = {tuple(sorted(pair)) for pair in found.pairs.tolist()} & set(map(tuple, pairs.tolist()))
    assert len(hits) >= 990
    assert len(found.pairs) < 1100  # and the texts of other pairs do not meet
    assert not found.unresolved.any()


def test_candidates_far_below_the_threshold_are_left_out():
    texts = planted(np.random.default_rng(8), [0.3] * 200, [300] * 200)
    sketches = sketch(texts, OPTIONS)
    found = candidates(sketches.slots, sketches.shingles, np.arange(400), threshold=0.8, bands=64, rows=1)
    assert least_slots(0.8, 128) == 87  # 128 (0.8 - 3.5 standard errors)
    assert len(found.pairs) == 0


def test_sizes_that_exclude_the_threshold():
    slots = np.ones((2, 16), np.uint32)
    for sizes, expected in (([79, 100], 0), ([80, 100], 1), ([100, 80], 1)):
        shingles = np.array(sizes, np.int32)
        found = candidates(slots, shingles, np.arange(2), threshold=0.8, bands=1, rows=4)
        assert len(found.pairs) == expected


def giant_bucket(size, rng, shared=24):
    """Sketches that all share their first slots (a template) and agree in nothing else."""
    slots = rng.integers(0, 2**31, (size, 128)).astype(np.uint32)
    slots[:, :shared] = 7
    return slots, np.full(size, 200, np.int32)


def test_a_giant_bucket_of_one_kind_costs_eight_anchors():
    """3,000 near-copies: the first 64 are joined to each other, the rest to the first eight, none is left over."""
    slots, shingles = giant_bucket(3000, np.random.default_rng(9), shared=120)
    rank = np.arange(3000)
    found = candidates(slots, shingles, rank, threshold=0.8, bands=1, rows=6)
    assert len(found.pairs) == 64 * 63 / 2 + 8 * (3000 - 64)
    assert not found.unresolved.any()
    keeper, _ = leaders(rank, found.pairs, estimates(slots, found.pairs), 0.8)
    assert (keeper == 0).all()


def test_what_a_giant_bucket_leaves_over_is_counted():
    """1,000 pages of one template: in four bands they all meet, and no anchor is like them; the copies of
    50 of them are found all the same, in the bands that hold what is their own."""
    rng = np.random.default_rng(10)
    slots, shingles = giant_bucket(1050, rng)
    slots[1000:] = slots[:50]
    found = candidates(slots, shingles, np.arange(1050), threshold=0.8, bands=20, rows=6)
    assert sorted(map(tuple, found.pairs.tolist())) == [(row, row + 1000) for row in range(50)]
    assert found.unresolved.max() == 4
    # compared in any case: the first 64 of four lists, each list here beginning 8 rows later
    assert not found.unresolved[:88].any()
    assert (found.unresolved[88:1000] == 4).all()


def test_a_residue_is_compared_with_its_own_anchors():
    """Four kinds in one bucket, the first by far the largest: the others are found in later rounds."""
    rng = np.random.default_rng(11)
    slots, shingles = giant_bucket(4, rng)
    kinds = np.repeat(np.arange(4), [500, 20, 20, 100])
    found = candidates(slots[kinds], shingles[0].repeat(640), np.arange(640), threshold=0.8, bands=1, rows=6)
    keeper, _ = leaders(np.arange(640), found.pairs, np.ones(len(found.pairs)), 0.8)
    assert np.array_equal(keeper, np.array([0, 500, 520, 540])[kinds])
    assert not found.unresolved.any()


# Who stays


def test_no_chain_removal():
    """b is like a and c like b, but c is not like a: c stays, since b goes."""
    keeper, similarity = leaders(np.arange(3), np.array([[0, 1], [1, 2]]), np.array([0.9, 0.9]), 0.8)
    assert keeper.tolist() == [0, 0, 2]
    assert similarity.tolist() == [0, 0.9, 0]


def test_the_keeper_is_the_most_similar_kept_text():
    pairs = np.array([[0, 3], [1, 3], [2, 3], [0, 2]])
    keeper, similarity = leaders(np.arange(4), pairs, np.array([0.85, 0.9, 0.99, 0.9]), 0.8)
    assert keeper.tolist() == [0, 1, 0, 1]  # row 2 is nearer, but it goes itself
    assert similarity.tolist() == [0, 0, 0.9, 0.9]


def test_equal_similarities_go_to_the_first_in_rank():
    keeper, _ = leaders(np.array([5, 3, 9]), np.array([[0, 2], [2, 1]]), np.array([0.9, 0.9]), 0.8)
    assert keeper.tolist() == [0, 1, 1]


def test_another_threshold_is_judged_from_the_same_pairs():
    pairs, similarity = np.array([[0, 1], [1, 2]]), np.array([0.7, 0.9])
    assert leaders(np.arange(3), pairs, similarity, 0.8)[0].tolist() == [0, 1, 1]
    assert leaders(np.arange(3), pairs, similarity, 0.7)[0].tolist() == [0, 0, 2]


def test_doubling_a_corpus_removes_exactly_one_copy_of_each():
    rng = np.random.default_rng(12)
    texts = [*planted(rng, [0.85] * 20, [100] * 20).to_pylist(), "short text", "another one"]
    once = near_duplicates(texts)
    twice = near_duplicates(texts + texts)
    size = len(texts)
    assert np.array_equal(twice[:size], once)
    assert np.array_equal(twice[size:], once)
    assert (once == np.arange(size)).sum() == 22


def test_the_order_of_rows_changes_nothing():
    rng = np.random.default_rng(13)
    texts = planted(rng, rng.uniform(0.7, 1, 60), [80] * 60).to_pylist()
    rank = rng.permutation(120)
    keeper = near_duplicates(texts, rank)
    order = rng.permutation(120)
    shuffled = near_duplicates([texts[row] for row in order], rank[order])
    assert np.array_equal(order[shuffled], keeper[order])
    assert 0 < (keeper != np.arange(120)).sum() <= 60


# Calls that cannot be


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: leaders(np.array([1, 2, 1]), np.empty((0, 2)), np.empty(0), 0.8), "Rows 0 and 2 both have rank 1"),
        (lambda: leaders(np.arange(2), np.array([[0, 2]]), np.ones(1), 0.8), "rows 0 to 2 of 2"),
        (lambda: similarities(column(["a"]), np.array([[-1, 0]]), OPTIONS), "rows -1 to 0 of 1"),
        (lambda: estimates(np.ones((2, 16), np.uint32), np.array([0, 1])), "shape"),
        (
            lambda: candidates(np.ones((2, 16)), np.ones(2), np.arange(2), threshold=0.8, bands=5, rows=4),
            "bands 5 x 4",
        ),
        (lambda: candidates(np.ones((2, 16)), np.ones(3), np.arange(2), threshold=0.8, bands=1, rows=4), "shingles 3"),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit_are_refused(call, message):
    with pytest.raises(CurateError, match=message) as caught:
        call()
    assert caught.value.hint


# Interchange


def test_minhash_values_are_those_of_datasketch():
    datasketch = pytest.importorskip("datasketch")
    rng = np.random.default_rng(14)
    texts = column([" ".join(random_words(rng, count)) for count in (2, 30, 400)] + [""])
    sets = shingle_sets(texts, OPTIONS)
    values = minhash_values(texts, ShingleOptions(), permutations=64, seed=3)
    for row in range(4):
        reference = datasketch.MinHash(num_perm=64, seed=3, hashfunc=lambda shingle: shingle)
        members = sets.values[sets.offsets[row] : sets.offsets[row + 1]]
        reference.update_batch((members & np.uint64(0xFFFFFFFF)).tolist())
        assert np.array_equal(values[row], reference.hashvalues)
        assert to_datasketch(values[row], seed=3).jaccard(reference) == 1
        assert to_datasketch(values[row], seed=3).scheme == reference.scheme


def test_an_lsh_index_of_datasketch_takes_our_sketches():
    datasketch = pytest.importorskip("datasketch")
    texts = planted(np.random.default_rng(15), [0.9, 0.9], [200, 200])
    minhashes = [to_datasketch(row) for row in minhash_values(texts, OPTIONS)]
    index = datasketch.MinHashLSH(threshold=0.7, num_perm=128)
    index.insert("a", minhashes[0])
    index.insert("b", minhashes[2])
    assert index.query(minhashes[1]) == ["a"]


def test_without_datasketch_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasketch", None)
    with pytest.raises(MissingExtraError, match="datasketch") as caught:
        to_datasketch(minhash_values(column(["a"]), OPTIONS)[0])
    assert ".[datasketch]" in caught.value.hint


# Compiling


class _Compiled(event.Listener):
    def __init__(self):
        self.names = []

    def on_start(self, event):
        self.names.append(event.data["dispatcher"].py_func.__name__)

    def on_end(self, event):
        pass


def test_nothing_is_compiled_after_warm():
    warm()
    listener = _Compiled()
    with event.install_listener("numba:compile", listener):
        near_duplicates(planted(np.random.default_rng(16), [0.9] * 3, [30] * 3).to_pylist())
        sketches = sketch(column(["a b"]), OPTIONS)
        frozen = np.frombuffer(sketches.slots.tobytes(), np.uint32).reshape(1, -1)  # as read from a lake
        candidates(frozen, sketches.shingles, np.arange(1, dtype=np.int32), threshold=0.8, bands=20, rows=6)
        leaders(np.arange(2), np.array([[0, 1]], np.int32), np.ones(1, np.float32), 0.8)
    assert listener.names == []


@pytest.mark.parametrize("module", [curate.dedup.bands, curate.dedup.normalize])
def test_examples_in_docstrings(module):
    assert doctest.testmod(module).failed == 0
