"""Sketches that peers can read: the same numbers as datasketch and datatrove give for the same shingles."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.compatible import (
    SketchIdentity,
    character_spans,
    minhash_values,
    own_identity,
    permutations,
    require_same,
    signatures,
    to_datasketch,
    word_spans,
)
from curate.dedup.hashes import hashed
from curate.dedup.shingles import ShingleOptions, read_only, shingle_sets
from curate.dedup.sketch import SketchOptions
from curate.dedup.verify import similarities
from schemas.errors import CurateError, UsageError

pytestmark = pytest.mark.slow  # kernels that no run compiles

LIGHT = settings(max_examples=25, deadline=None)
PEER = (
    Path(os.environ.get("CURATE_DATA_CACHE", "~/.cache/curate-data")).expanduser()
    / "peers/datatrove/bin/python"
)

T1 = "The quick brown fox jumps over the lazy dog."
T2 = "On 12 March 2024, prices rose by 3.5% – from €1,200 to €1,242!"
T3 = "Café déjà-vu: l'élève naïf naît à Noël; ÉTÉ 2024 coûte 1.234,56 € (environ)."
# Words of datatrove 0.10.1 (simplify_text, spaCy 3.8.18): see its golden signatures below.
WORDS = {
    T1: ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog"],
    T2: ["on", "0", "march", "0", "prices", "rose", "by", "0", "from", "€", "0", "to", "€", "0"],
    T3: [
        "cafe",
        "deja",
        "vu",
        "l",
        "eleve",
        "naif",
        "nait",
        "a",
        "noel",
        "ete",
        "0",
        "coute",
        "0",
        "0",
        "€",
        "environ",
    ],
}


def column(texts):
    return pa.array(texts, pa.large_string())


def lists(words):
    return pa.array(words, pa.large_list(pa.large_string()))


def texts_of(spans, row=0):
    """The shingles of one text as bytes."""
    data = spans.data.tobytes()
    return [data[spans.starts[j] : spans.stops[j]] for j in range(spans.offsets[row], spans.offsets[row + 1])]


def datatrove(hash, **options):
    return SketchIdentity(scheme="datatrove", hash=hash, slots=112, seed=1, **options)


# Shingles


WORD = st.one_of(st.sampled_from(["a", "b", "€", "東京", "", "x y"]), st.text(max_size=6))


@LIGHT
@given(st.lists(st.one_of(st.none(), st.lists(WORD, max_size=9)), max_size=6), st.integers(1, 6), st.data())
def test_word_shingles_are_ngrams_joined_by_a_space(words, ngram, data):
    start = data.draw(st.integers(0, len(words)))
    spans = word_spans(lists(words).slice(start), ngram)
    for row, own in enumerate(words[start:]):
        own = own or []
        expected = [" ".join(own[at : at + ngram]).encode() for at in range(len(own) - ngram + 1)]
        assert texts_of(spans, row) == expected


@LIGHT
@given(st.lists(st.one_of(st.none(), st.text(max_size=12)), max_size=6), st.integers(1, 5), st.data())
def test_character_shingles_are_windows_of_code_points(texts, ngram, data):
    start = data.draw(st.integers(0, len(texts)))
    spans = character_spans(column(texts).slice(start), ngram)
    for row, text in enumerate(texts[start:]):
        text = text or ""
        assert texts_of(spans, row) == [text[at : at + ngram].encode() for at in range(len(text) - ngram + 1)]


# Hashes


@pytest.mark.parametrize("by", ["sha1-32", "sha1-64", "xxh32", "xxh64"])
@LIGHT
@given(st.lists(st.binary(max_size=200), min_size=1, max_size=40))
def test_hashes_are_those_of_the_libraries(by, messages):
    """Of any length: SHA-1 changes at 55, 56, 63, 64 bytes, xxHash at 4, 8, 16 and 32."""
    xxhash = pytest.importorskip("xxhash")
    name, bits = by[:4], int(by[-2:])
    expected = [
        int.from_bytes(hashlib.sha1(message).digest()[: bits // 8], "little")
        if name == "sha1"
        else (xxhash.xxh64_intdigest if bits == 64 else xxhash.xxh32_intdigest)(message)
        for message in messages
    ]
    ends = np.cumsum([0, *map(len, messages)])
    data = read_only(np.frombuffer(b"".join(messages), np.uint8), np.uint8)
    found = hashed(data, read_only(ends[:-1], np.int64), read_only(ends[1:], np.int64), by)
    assert found.tolist() == expected


def test_every_length_up_to_three_blocks():
    data = np.random.default_rng(1).integers(0, 256, 200).astype(np.uint8)
    stops = np.arange(200)
    found = hashed(
        read_only(data, np.uint8), read_only(stops * 0, np.int64), read_only(stops, np.int64), "sha1-64"
    )
    expected = [int.from_bytes(hashlib.sha1(data[:stop].tobytes()).digest()[:8], "little") for stop in stops]
    assert found.tolist() == expected


# datatrove


def sha256(numbers):
    return hashlib.sha256(np.asarray(numbers, "<u8").tobytes()).hexdigest()


def test_permutations_of_datatrove():
    a, b = permutations("datatrove", 112, 1)
    assert a[:3].tolist() == [775169054918279404, 1758426461858698313, 2109959069025162]
    assert b[:2].tolist() == [1062448801025099917, 1324811268927594100]
    assert sha256(a) == "646f7c43faa49e0426999bc921979e88d751a279eabdb2d5e2dfb1c1a70a7212"
    assert sha256(b) == "f81eeb8337743ed94fa76566ebdc77b3f4e1bfea5e2365fcecdf81d24b9b1583"


@pytest.mark.parametrize(
    ("text", "by", "shingle", "first", "digest"),  # datatrove 0.10.1, numpy 2.4.6, xxhash 3.8.2, seed 1
    [
        (T1, "sha1-64", 12313522834835307089, 585594454516184072, "5111488576fd07f07c8cfbf034ff68e03acb2475d32d9c6e6704af7032021c10"),
        (T1, "xxh64", 7797000677988824208, 85330943174081874, "5fccf7ba60a836cb6034d5bb96fd7c3d74507de256d5588ac4a823c6285fbd93"),
        (T1, "sha1-32", 1208285777, 727492965, "6c274ea95f51d55f1e72adb3b36b6024717476599fdc5f63c5a71c482db104f9"),
        (T1, "xxh32", 1936900125, 125697124, "0ce25f87a7a9a69c3ace5e7bebba67b3bbf7ff67e1f174be9d41d34082263c21"),
        (T2, "sha1-64", 11731965978499546297, 214352769033264019, "69f29fe75b7e7d65dd19773472f6ae5e57d8d14dffe9626f94b626050e6d4155"),
        (T2, "xxh64", 5462833435377414340, 125236681608461629, "f626df46684bd5ed66bf063ee84a57771ec3eba50b40e26534d2ad8ed3f82a62"),
        (T2, "sha1-32", 426704057, 58211411, "d9e9676fc4ae1750e0b7f9dbbd398978868d42c38372aa3be1643f2736b72f04"),
        (T2, "xxh32", 2790410581, 464048314, "a758c54d5ee475ea7e2d96f1e8981dfab3316e522d566fec91af28d685adb61d"),
        (T3, "sha1-64", 11927667331548044634, 145088149542344583, "62a7cedd9401d10606f42b1e033c3146d4effd33bc54663f0da3992c9849014a"),
        (T3, "xxh64", 9124390240156818783, 279527540537024262, "8b3c0885d0aff22b7cee659dc25eee755eb24b1865560107b7595cffca2efb0e"),
        (T3, "sha1-32", 401857882, 36271001, "073488e315cc95dadbe6d472b84f2ddb181de597a882dd331811e53acbf36181"),
        (T3, "xxh32", 507222078, 109111801, "28e84931212a101a5930e3d7c891f3e63ba116da2ec41e243da588456299d783"),
    ],
    ids=[f"T{t}-{by}" for t in (1, 2, 3) for by in ("sha1-64", "xxh64", "sha1-32", "xxh32")],
)  # fmt: skip
def test_golden_signatures_of_datatrove(text, by, shingle, first, digest):
    spans = word_spans(lists([WORDS[text]]), 5)
    found = hashed(spans.data, read_only(spans.starts, np.int64), read_only(spans.stops, np.int64), by)
    assert found[0] == shingle
    signature = signatures(spans, datatrove(by))
    assert signature.dtype == (np.uint64 if by.endswith("64") else np.uint32)
    assert signature[0, 0] == first
    assert sha256(signature[0]) == digest


_ASK = """
import json, sys
from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import HashConfig, MinhashConfig
from datatrove.utils.text import ngrams, simplify_text
texts, out = json.load(sys.stdin), {}
for name, precision, function in (("sha1-64", 64, "sha1"), ("xxh64", 64, "xxhash"), ("sha1-32", 32, "sha1"), ("xxh32", 32, "xxhash")):
    config = MinhashConfig(hash_config=HashConfig(precision=precision, hash_fc=function))
    step = MinhashDedupSignature("/tmp", config)
    shingles = [step.get_shingles(text) for text in texts]
    out[name] = [[int(x) for bucket in step.get_signature(one) for x in bucket] if one.size else [] for one in shingles]
out["words"] = [step.word_tokenizer.word_tokenize(simplify_text(text, config.norm_config)) for text in texts]
print(json.dumps(out))
"""


@pytest.mark.slow
def test_signatures_are_those_of_datatrove_itself():
    if not PEER.exists():
        pytest.skip("datatrove is not installed beside (benchmarks/curation.py makes its environment)")
    rng = np.random.default_rng(2)
    vocabulary = [f"w{number}é" for number in range(300)] + ["3.5", "€", "東京", "don't", "U.S.", "--"]
    texts = [T1, T2, T3, "", "one two", *(" ".join(rng.choice(vocabulary, n)) for n in (5, 6, 80, 700))]
    done = subprocess.run(
        [PEER, "-c", _ASK], input=json.dumps(texts), capture_output=True, text=True, check=True
    )
    said = json.loads(done.stdout.splitlines()[-1])
    spans = word_spans(lists(said["words"]), 5)
    for by in ("sha1-64", "xxh64", "sha1-32", "xxh32"):
        ours = signatures(spans, datatrove(by))
        for row, theirs in enumerate(said[by]):
            assert ours[row].tolist() == (theirs or [np.iinfo(ours.dtype).max] * 112)


# datasketch


@pytest.mark.parametrize(
    ("shingles", "legacy", "affine32"),  # datasketch 2.0.0, num_perm 8, seed 1, sha1: first two and last
    [
        (lambda: word_spans(lists([["hello"]]), 1), [228630785, 3503718443, 3701550907], [1255611051, 658569228, 2291910744]),
        (lambda: word_spans(lists([T1.lower().split()]), 1), [407326892, 34383241, 694593970], [417867125, 301107518, 1437118808]),
        (lambda: word_spans(lists([T1.lower().split()]), 5), [591292350, 900186415, 732736363], [941708811, 14679124, 1099434828]),
        (lambda: character_spans(column([T1]), 5), [84766837, 11034845, 487692], [9522227, 155568745, 2328762]),
        (lambda: word_spans(lists([T2.lower().split()]), 5), [706338053, 470198436, 1033339453], [471844615, 273989269, 4961204]),
        (lambda: character_spans(column([T2]), 5), [195346243, 248295419, 878755], [136505663, 50095892, 14005367]),
        (lambda: word_spans(lists([T3.lower().split()]), 5), [1533341405, 378810668, 887963221], [203331487, 121041005, 1750481484]),
        (lambda: character_spans(column([T3]), 5), [13788311, 5146778, 245218], [63503060, 56170498, 43679864]),
    ],
)  # fmt: skip
def test_golden_values_of_datasketch(shingles, legacy, affine32):
    for scheme, expected in (("legacy", legacy), ("affine32", affine32)):
        identity = SketchIdentity(scheme=scheme, hash="sha1-32", slots=8, seed=1)
        assert signatures(shingles(), identity)[0, [0, 1, 7]].tolist() == expected


@pytest.mark.parametrize("scheme", ["legacy", "affine32"])
@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.text(max_size=8), max_size=12), min_size=1, max_size=4),
    st.integers(0, 99),
    st.integers(1, 40),
)
def test_values_are_those_of_datasketch(scheme, words, seed, slots):
    datasketch = pytest.importorskip("datasketch")
    spans = word_spans(lists(words), 2)
    ours = signatures(spans, SketchIdentity(scheme=scheme, hash="sha1-32", slots=slots, seed=seed))
    for row in range(len(words)):
        reference = datasketch.MinHash(num_perm=slots, seed=seed, scheme=scheme)
        reference.update_batch(texts_of(spans, row))
        assert np.array_equal(ours[row], reference.hashvalues)
        assert to_datasketch(ours[row], seed=seed, scheme=scheme).jaccard(reference) == 1


def test_our_shingles_in_the_old_scheme_of_datasketch():
    datasketch = pytest.importorskip("datasketch")
    texts = column([T1, ""])
    sets = shingle_sets(texts, ShingleOptions())
    values = minhash_values(texts, ShingleOptions(), permutations=16, seed=42, scheme="legacy")
    reference = datasketch.MinHash(num_perm=16, seed=42, hashfunc=lambda shingle: shingle, scheme="legacy")
    reference.update_batch((sets.values & np.uint64(0xFFFFFFFF)).tolist())
    assert np.array_equal(values[0], reference.hashvalues)
    assert (values[1] == 0xFFFFFFFF).all()


# What stands beside stored sketches


def test_sketches_of_another_kind_are_refused():
    stored = own_identity(SketchOptions())
    assert SketchIdentity(**json.loads(stored.model_dump_json())) == stored
    require_same(stored, own_identity(SketchOptions()))
    with pytest.raises(UsageError, match="slots 128 against 256; ngram 5 against 7") as caught:
        require_same(stored, own_identity(SketchOptions(slots=256, ngram=7)))
    assert caught.value.hint
    for other in ({"digits": "collapse"}, {"normalization": "none"}, {"unit": "characters"}, {"seed": 2}):
        with pytest.raises(UsageError):
            require_same(stored, own_identity(SketchOptions(**other)))


@pytest.mark.parametrize(
    "call",
    [
        lambda spans: signatures(spans, own_identity(SketchOptions())),
        lambda spans: hashed(spans.data, spans.starts, spans.stops, "md5"),
    ],
)
def test_calls_that_cannot_be(call):
    with pytest.raises(CurateError) as caught:
        call(word_spans(lists([["a"]]), 1))
    assert caught.value.hint


# Characters, other normalizations, containment


def jaccard(a, b, **options):
    return similarities(column([a, b]), np.array([[0, 1]]), ShingleOptions(**options))[0]


def characters(text, n):
    return {text[at : at + n] for at in range(len(text) - n + 1)} if len(text) >= n else {text}


@LIGHT
@given(
    st.text(st.sampled_from("ab é.\n1"), max_size=30),
    st.text(st.sampled_from("ab é.\n1"), max_size=30),
    st.integers(1, 5),
)
def test_raw_characters_are_windows_of_code_points(a, b, n):
    one, two = characters(a, n), characters(b, n)
    whole = len(one | two) if a and b else 1
    expected = len(one & two) / whole if a and b else 0
    if min(len(a), len(b)) >= n or len(a) == len(b):
        assert jaccard(a, b, unit="characters", normalization="none", ngram=n) == expected


def test_folded_characters_have_one_space_between_words():
    same = {"unit": "characters", "ngram": 3}
    assert jaccard("Ça  va,\n bien?", "ca va bien", **same) == 1
    assert jaccard("ca va", "cava", **same) < 1
    assert jaccard("page 12 of 9", "page 7 of 2024", digits="collapse", **same) == 1
    counts = np.diff(shingle_sets(column(["ab cd", " ab ", "", "東京"]), ShingleOptions(**same)).offsets)
    assert counts.tolist() == [3, 1, 0, 1]


def test_lower_deletes_punctuation_and_keeps_accents():
    options = {"normalization": "lower", "ngram": 1}
    assert jaccard("Don't, STOP it's", "dont stop its", **options) == 1
    assert jaccard("x_y-z", "xyz", **options) == 1
    assert jaccard("café", "cafe", **options) == 0


def test_containment_finds_a_quotation():
    words = [f"w{number}" for number in range(200)]
    texts = column([" ".join(words), " ".join(words[50:80]), "other words than those that stand above", ""])
    pairs = np.array([[0, 1], [1, 0], [0, 2], [0, 3]])
    found = similarities(texts, pairs, ShingleOptions(), measure="containment")
    assert found.tolist() == [1, 1, 0, 0]
    assert similarities(texts, pairs, ShingleOptions())[0] == 26 / 196
