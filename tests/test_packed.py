"""Packed training sets: every token in one place, best fit as a slow packer does it, files that others read."""

import bisect
import itertools
import json
import struct

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models

from curate.engine.plan import make_plan
from curate.engine.run import session_of
from curate.engine.tokens import make_tokens
from curate.export import megatron, packed
from curate.export.packing import best_fit
from curate.export.special_tokens import special_tokens
from curate.export.written import Written, add_up
from curate.stages.tokenize import TokenizeOptions
from schemas.errors import LakeError, RecipeError
from schemas.export import PackedExport
from schemas.recipe import load_recipe
from tests.lakes import RECIPE, make_recipe, run

END, PAD = 60, 61
CONTEXT = {"vocabulary": 62, "end": END, "pad": PAD}
checked = settings(max_examples=80, deadline=None)
# Ids of documents: short ones, some that are longer than a sequence, some that end with the end token.
DOCUMENTS = st.lists(st.lists(st.integers(0, END), max_size=40), max_size=25)


def shard(documents):
    """A shard as the export gives it, in final order."""
    count = len(documents)
    return pa.table(
        {
            "id": pa.array([f"doc-{n}" for n in range(count)], pa.string()),
            "source": pa.array(["sea" if n % 2 else "land" for n in range(count)], pa.string()),
            "language": pa.array(["en"] * count, pa.string()),
            "license": pa.array(["CC0"] * count, pa.string()),
            "ids": pa.array(documents, pa.list_(pa.int32())),
        }
    )


def export(documents, folder, context=CONTEXT, **options):
    rows = shard(documents) if isinstance(documents, list) else documents
    return packed.write(rows, PackedExport(**{"length": 16, **options}), folder / "train-0", context)


def ended(ids):
    """A document as it is written: its end token once."""
    return ids if ids[-1:] == [END] else [*ids, END]


def read_megatron(prefix):
    """Sequences and document borders of `.bin` and `.idx`, read as the format is published."""
    index, data = prefix.with_suffix(".idx").read_bytes(), prefix.with_suffix(".bin").read_bytes()
    assert index[:9] == b"MMIDIDX\x00\x00"
    version, code, sequences, borders = struct.unpack_from("<QBQQ", index, 9)
    assert version == 1
    dtype = {1: "u1", 2: "i1", 3: "<i2", 4: "<i4", 5: "<i8", 6: "<f8", 7: "<f4", 8: "<u2"}[code]
    at = 9 + struct.calcsize("<QBQQ")
    lengths = np.frombuffer(index, "<i4", sequences, at)
    pointers = np.frombuffer(index, "<i8", sequences, at + lengths.nbytes)
    documents = np.frombuffer(index, "<i8", borders, at + lengths.nbytes + pointers.nbytes)
    assert len(index) == at + lengths.nbytes + pointers.nbytes + documents.nbytes
    found = [
        np.frombuffer(data, dtype, length, pointer) for length, pointer in zip(lengths, pointers, strict=True)
    ]
    assert sum(one.nbytes for one in found) == len(data)
    return found, documents.tolist()


def slow_best_fit(sizes, length):
    """Best-fit decreasing, by looking at every open sequence; of those with equal room the one filled last."""
    sequences, room, filled = [], [], []
    for time, piece in enumerate(sorted(range(len(sizes)), key=lambda piece: -sizes[piece])):
        fitting = [n for n in range(len(sequences)) if room[n] >= sizes[piece]]
        if fitting:
            best = min(fitting, key=lambda n: (room[n], -filled[n]))
        else:
            best = len(sequences)
            sequences.append([])
            room.append(length)
            filled.append(0)
        sequences[best].append(piece)
        room[best] -= sizes[piece]
        filled[best] = time
    return sorted(sorted(sequence) for sequence in sequences)


def packed_by(sizes, length):
    pieces, borders = best_fit(np.array(sizes, np.int64), length)
    return [pieces[a:b].tolist() for a, b in itertools.pairwise(borders)]


@checked
@given(st.data(), st.integers(1, 70))
def test_best_fit_is_that_of_a_slow_packer(data, length):
    sizes = data.draw(st.lists(st.integers(1, length), max_size=60))
    sequences = packed_by(sizes, length)
    assert sequences == slow_best_fit(sizes, length)
    filled = sorted(sum(sizes[piece] for piece in sequence) for sequence in sequences)
    assert all(total <= length for total in filled)
    if len(filled) > 1:  # no two sequences would have fitted into one
        assert filled[0] + filled[1] > length


@pytest.mark.parametrize("seed", range(6))
def test_less_padding_than_first_fit(seed):
    """On lengths as documents have them, in any order; no packer is better on every input there is."""
    chance = np.random.default_rng(seed)
    sizes = np.clip(chance.lognormal(4 + seed / 3, 1.1, 3_000), 1, 512).astype(int).tolist()
    room = []
    for size in sizes:
        place = next((n for n, left in enumerate(room) if left >= size), None)
        if place is None:
            room.append(512)
            place = -1
        room[place] -= size
    assert len(packed_by(sizes, 512)) <= len(room)


@checked
@given(DOCUMENTS, st.integers(8, 24), st.integers(0, 25), st.integers(0, 25))
def test_every_token_of_every_document_is_in_one_place_and_in_order(
    tmp_path_factory, documents, length, one, two
):
    folder = tmp_path_factory.mktemp("packed")
    rows = shard(documents)
    rows = pa.concat_tables([rows[:one], rows[one : one + two], rows[one + two :]])  # chunks, some empty
    written = export(rows, folder, length=length, formats=["parquet", "npy", "megatron"])
    expected = {f"doc-{n}": ended(ids) for n, ids in enumerate(documents) if ids}

    rows = pq.read_table(folder / "train-0.parquet").to_pylist()
    found, order = {}, []
    for row in rows:
        assert [len(row[name]) for name in ("input_ids", "position_ids", "loss_mask")] == [length] * 3
        assert sum(row["seq_lengths"]) == length
        assert row["position_ids"] == [n for size in row["seq_lengths"] for n in range(size)]
        used = sum(row["seq_lengths"][: len(row["documents"])])
        assert row["loss_mask"] == [1] * used + [0] * (length - used)
        assert row["input_ids"][used:] == [PAD] * (length - used)
        at = 0
        for name, start, size in zip(row["documents"], row["starts"], row["seq_lengths"], strict=False):
            found.setdefault(name, {})[start] = row["input_ids"][at : at + size]
            at += size
        numbers = [int(name.split("-")[1]) for name in row["documents"]]
        assert numbers == sorted(numbers)  # within a sequence in the order of the shuffle
        order.append(numbers[0])
    for pieces in found.values():  # each begins where the one before ended
        assert sorted(pieces) == list(range(0, len(pieces) * length, length))
    joined = {name: [t for start in sorted(pieces) for t in pieces[start]] for name, pieces in found.items()}
    assert joined == expected
    assert order == sorted(order)  # and so are the sequences, by their first document

    assert written.rows == len(rows)
    assert written.taken == len(expected)
    assert written.tokens == sum(map(len, expected.values()))
    assert written.dropped.get("no_tokens", 0) == len(documents) - len(expected)
    assert written.numbers["all_tokens"] == len(rows) * length
    assert written.numbers["padding_tokens"] == len(rows) * length - written.tokens
    assert written.numbers["documents_cut"] == sum(len(ids) > length for ids in expected.values())
    assert sum(written.sources.values()) == sum(written.languages.values()) == written.taken
    if not expected:
        assert [file.name for file in folder.iterdir()] == ["train-0.parquet"]
        return

    tokens = np.load(folder / "train-0.tokens.npy", mmap_mode="r")
    assert tokens.tolist() == [row["input_ids"] for row in rows]
    boundaries = np.load(folder / "train-0.boundaries.npy", mmap_mode="r")
    lengths = [size for row in rows for size in row["seq_lengths"][: len(row["documents"])]]
    assert (boundaries[:, 1] - boundaries[:, 0]).tolist() == lengths
    learned = np.zeros(tokens.size, int)
    for start, stop in boundaries:
        learned[start:stop] += 1
    assert learned.tolist() == [one for row in rows for one in row["loss_mask"]]

    sequences, borders = read_megatron(folder / "train-0")
    assert [sequence.tolist() for sequence in sequences] == list(expected.values())
    assert borders == list(range(len(expected) + 1))


def test_the_same_rows_give_the_same_bytes(tmp_path):
    chance = np.random.default_rng(7)
    rows = shard([chance.integers(0, END, size).tolist() for size in chance.integers(1, 60, 400)])
    chunked = pa.concat_tables([rows[:150], rows[150:151], rows[151:]])
    inside = pa.concat_tables([rows[:50], rows])[50:].combine_chunks()[0:400]
    made = {}
    for name, given_rows in {"one": rows, "again": rows, "chunked": chunked, "inside": inside}.items():
        (tmp_path / name).mkdir()
        export(given_rows, tmp_path / name, formats=["parquet", "npy", "megatron"])
        made[name] = {file.name: file.read_bytes() for file in (tmp_path / name).iterdir()}
    assert len(made["one"]) == 5
    assert made["one"] == made["again"] == made["chunked"] == made["inside"]


def test_batches_of_any_size_give_the_same_rows(tmp_path, monkeypatch):
    chance = np.random.default_rng(8)
    documents = [chance.integers(0, END, size).tolist() for size in chance.integers(1, 60, 100)]
    found = []
    for size in (10**6, 1, 50):
        monkeypatch.setattr(packed, "_BATCH_TOKENS", size)
        monkeypatch.setattr(megatron, "BATCH_TOKENS", size)
        export(documents, tmp_path, formats=["parquet", "npy", "megatron"])
        others = [(tmp_path / f"train-0.{name}").read_bytes() for name in ("tokens.npy", "bin", "idx")]
        found.append([pq.read_table(tmp_path / "train-0.parquet").to_pylist(), *others])
    assert found[0] == found[1] == found[2]


def test_a_document_longer_than_a_sequence_is_cut_or_left_out(tmp_path):
    documents = [[1] * 5, [2] * 15, [3] * 16, [4] * 40]  # with their end 6, 16, 17, 41 of 16
    written = export(documents, tmp_path, formats=["parquet", "megatron"])
    assert (written.rows, written.taken, written.dropped) == (5, 4, {})
    assert written.numbers == {"padding_tokens": 0, "all_tokens": 80, "documents_cut": 2}
    assert [len(ids) for ids in read_megatron(tmp_path / "train-0")[0]] == [6, 16, 17, 41]  # whole

    written = export(documents, tmp_path, formats=["parquet", "megatron"], long="drop")
    assert (written.rows, written.taken, written.dropped) == (2, 2, {"too_long": 2})
    assert written.numbers == {"padding_tokens": 10, "all_tokens": 32, "documents_cut": 0}
    rows = pq.read_table(tmp_path / "train-0.parquet").to_pylist()
    assert [row["documents"] for row in rows] == [["doc-0"], ["doc-1"]]
    assert rows[0]["seq_lengths"] == [6, 10]
    assert len(read_megatron(tmp_path / "train-0")[0]) == 2

    assert export(documents[2:], tmp_path, long="drop") == Written(
        dropped={"too_long": 2}, numbers={"padding_tokens": 0, "all_tokens": 0, "documents_cut": 0}
    )


def test_padding_of_shards_adds_up(tmp_path):
    parts = [export([[1] * size], tmp_path) for size in (3, 12, 30)]
    whole = add_up(parts)
    assert whole.numbers == {"padding_tokens": 12 + 3 + 1, "all_tokens": 64, "documents_cut": 1}
    assert (whole.rows, whole.taken, whole.tokens) == (4, 3, 48)


def test_megatron_alone_counts_documents(tmp_path):
    written = export([[1] * 3, [2] * 30], tmp_path, formats=["megatron"])
    assert (written.rows, written.taken, written.tokens, written.numbers) == (2, 2, 35, {})


@pytest.mark.parametrize(("vocabulary", "dtype"), [(62, "uint16"), (65_499, "uint16"), (65_500, "int32"), (200_000, "int32")])  # fmt: skip
def test_ids_take_two_bytes_where_the_vocabulary_allows(tmp_path, vocabulary, dtype):
    context = {**CONTEXT, "vocabulary": vocabulary}
    export([[1, vocabulary - 1]], tmp_path, context, formats=["npy", "megatron"])
    tokens = np.load(tmp_path / "train-0.tokens.npy", mmap_mode="r")
    assert (tokens.dtype, tokens.shape) == (dtype, (1, 16))
    assert tokens[0, :3].tolist() == [1, vocabulary - 1, END]
    sequences, _ = read_megatron(tmp_path / "train-0")
    assert (sequences[0].dtype, sequences[0].tolist()) == (dtype, [1, vocabulary - 1, END])


@pytest.mark.parametrize("bad", [62, 70_000, -1])
def test_an_id_that_the_tokenizer_does_not_have_is_named(tmp_path, bad):
    with pytest.raises(LakeError, match=rf"Document doc-2 has the token id {bad}; .* 0 to 61\."):
        export([[1], [], [2, bad], [bad]], tmp_path)
    assert not any(tmp_path.iterdir())


def test_what_a_training_loop_needs_is_there(tmp_path):
    export([[1] * 4, [2] * 5, [3] * 14], tmp_path, formats=["parquet", "npy"])
    rows = pl.read_parquet(tmp_path / "train-0.parquet")
    # Boundaries of a batch as flash attention takes them: padding is a run of its own.
    assert np.cumsum([0, *rows["seq_lengths"].explode()]).tolist() == [0, 5, 11, 16, 31, 32]
    pieces = np.load(tmp_path / "train-0.boundaries.npy", mmap_mode="r")
    first, last = bisect.bisect_left(pieces[:, 0], 16), bisect.bisect_left(pieces[:, 0], 32)
    assert (pieces[first:last] - 16).tolist() == [[0, 15]]  # those of the second sequence


def make_tokenizer(folder, *special, named=None):
    """A tokenizer of single letters with special tokens, and a tokenizer_config.json if it is to name some."""
    letters = {letter: n for n, letter in enumerate("abcdefghijklmnopqrstuvwxyz")}
    tokenizer = Tokenizer(models.BPE(vocab=letters, merges=[]))
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in special])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").unlink(missing_ok=True)
    if named is not None:
        (folder / "tokenizer_config.json").write_text(named if isinstance(named, str) else json.dumps(named))
    return TokenizeOptions(tokenizer=str(folder))


@pytest.mark.parametrize(
    ("special", "named", "end", "found"),
    [
        (["<|endoftext|>"], None, "", ("<|endoftext|>", "<|endoftext|>")),  # padding is the end token
        (["<s>", "</s>", "<pad>"], None, "", ("</s>", "<pad>")),
        (["</s>", "<stop>", "<fill>"], {"eos_token": "<stop>", "pad_token": {"content": "<fill>"}}, "", ("<stop>", "<fill>")),
        (["</s>"], {"eos_token": None, "pad_token": "<gone>"}, "", ("</s>", "</s>")),
        (["</s>"], "no JSON", "", ("</s>", "</s>")),
        (["[CLS]", "[SEP]", "[PAD]"], None, "[SEP]", ("[SEP]", "[PAD]")),  # as the option says
        (["</s>"], None, "z", ("z", "z")),
    ],
)  # fmt: skip
def test_end_and_padding_token(tmp_path, special, named, end, found):
    options = make_tokenizer(tmp_path, *special, named=named)
    tokens = special_tokens(options, end)
    assert (tokens.end, tokens.pad) == found
    ids = Tokenizer.from_file(str(tmp_path / "tokenizer.json")).get_vocab()
    assert (tokens.end_id, tokens.pad_id) == (ids[tokens.end], ids[tokens.pad])
    assert tokens.vocabulary == 26 + len(special)


def test_without_an_end_token_the_error_says_which_there_are(tmp_path):
    options = make_tokenizer(tmp_path, "[CLS]", "[SEP]", "[PAD]")
    with pytest.raises(RecipeError, match=r"names no token that ends a document: .*\[CLS\], \[SEP\], \[PAD\]") as caught:  # fmt: skip
        special_tokens(options)
    assert 'end = "[SEP]"' in caught.value.hint
    with pytest.raises(RecipeError, match=r'has no token "\[SEPP\]": .*\[CLS\], \[SEP\], \[PAD\]') as caught:
        special_tokens(options, "[SEPP]")
    assert caught.value.hint == 'Did you mean "[SEP]"?'
    with pytest.raises(RecipeError, match="it has no special tokens"):
        special_tokens(make_tokenizer(tmp_path))


def prepared(recipe, **options):
    with session_of(make_plan(load_recipe(recipe)), recipe.parent / "lake") as session:
        return packed.prepare(session, session.lake.head(), PackedExport(**options))


@pytest.mark.slow
def test_token_ids_of_a_lake(tmp_path):
    make_tokenizer(tmp_path, "</s>", "<pad>")
    tokens = '[tokens.tokenize]\ntokenizer = "tokenizer.json"\n'  # beside the recipe
    recipe = make_recipe(tmp_path, RECIPE, count=8)
    run(recipe)
    with pytest.raises(RecipeError, match="harbour has none") as caught:
        prepared(recipe)
    assert "Add [tokens.tokenize] to the recipe" in caught.value.hint
    make_recipe(tmp_path, RECIPE + tokens)
    with pytest.raises(RecipeError, match="harbour has none"):
        prepared(recipe)
    run(recipe, then=make_tokens)
    assert prepared(recipe) == {
        "vocabulary": 28,
        "end": 26,
        "pad": 27,
        "facts": {"end_token": "</s>", "padding_token": "<pad>", "vocabulary": 28},
    }
    make_recipe(tmp_path, RECIPE + tokens + "special_tokens = true\n")
    with pytest.raises(RecipeError, match="of another tokenizer"):
        prepared(recipe)
