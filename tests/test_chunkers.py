"""Cutting texts into passages: exact places, nothing lost, nothing that the embedder would cut off."""

from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from indexing.chunkers import chunk
from indexing.embedder import open_embedder
from schemas.errors import IndexingError
from schemas.index import IndexOptions
from tests.indexes import TinyEmbedder

CHUNKERS = ("markdown", "sentences", "tokens")
# Its tokenizer is real (BERT WordPiece); no weights are loaded.
MINILM = open_embedder("all-MiniLM-L6-v2")


def bytewise():
    """An embedder whose tokenizer makes other tokens of a word without the space before it (byte-level BPE)."""
    embedder = TinyEmbedder()
    embedder.tokenizer = Tokenizer(models.BPE())
    embedder.tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    embedder.tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    corpus = ["the quick brown fox jumps over the lazy dog. It sleeps."] * 3
    embedder.tokenizer.train_from_iterator(
        corpus, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet)
    )
    return embedder


EMBEDDERS = {"wordpiece": MINILM, "bytes": bytewise()}


def cut(text, embedder=MINILM, **options):
    return chunk(pa.array([text], pa.large_string()), IndexOptions(**options), embedder).to_pylist()


def texts_of(text, **options):
    return [row["text"] for row in cut(text, **options)]


def read_by(embedder, text):
    """Tokens that the embedder reads, with its special tokens."""
    return len(embedder.tokenizer.encode(embedder.passage_prompt + text).ids)


ODD = [
    "# Heading\n", "## Other\n\n", "```\ncode = 1\n```\n", "| a | b |\n|---|---|\n| 1 | 2 |\n", "- item one\n", "\n\n",
    "A sentence. ", "Another one! ", "Is it? ", "x" * 300, "東京は日本の首都です。", "ภาษาไทย", "🙂👨‍👩‍👧", "\u200b",
    "e\u0301" * 40, "ﷺ", "\x00", "\t", "   ", "word " * 60, "antidisestablishmentarianism ", "```\nnever closed ",
]  # fmt: skip
odd_texts = st.lists(
    st.sampled_from(ODD) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=40
)


@pytest.mark.parametrize("embedder", EMBEDDERS)
@pytest.mark.parametrize("kind", CHUNKERS)
@example(parts=["# Heading\n# Heading\n" + "x" * 300 + "e\u0301" * 80 + "# Heading\n"], overlap=10)
@given(parts=st.lists(odd_texts.map("".join), min_size=1, max_size=3), overlap=st.sampled_from([0, 0, 10]))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_text_is_cut_exactly(kind, embedder, parts, overlap):
    embedder = EMBEDDERS[embedder]
    table = chunk(
        pa.array(parts, pa.large_string()),
        IndexOptions(chunker=kind, chunk_tokens=32, overlap=overlap),
        embedder,
    )
    rows = table.to_pylist()
    assert [row["row"] for row in rows] == sorted(row["row"] for row in rows)
    for number, text in enumerate(parts):
        own = [row for row in rows if row["row"] == number]
        assert [row["ordinal"] for row in own] == list(range(len(own)))
        reached = 0
        for row in own:
            assert text[row["start"] : row["end"]] == row["text"] == row["text"].strip()
            assert row["tokens"] == read_by(embedder, row["text"]) <= 32
            if not overlap:
                assert row["start"] >= reached
            assert not text[reached : row["start"]].strip(), "something was lost"
            assert row["end"] > reached
            reached = row["end"]
        assert not text[reached:].strip(), "the end was lost"


@pytest.mark.parametrize("kind", CHUNKERS)
def test_a_text_that_fits_is_one_passage(kind):
    (row,) = cut("  One short sentence. And another.\n", chunker=kind)
    assert (row["text"], row["start"], row["end"]) == ("One short sentence. And another.", 2, 34)


def test_white_space_has_no_passage():
    assert texts_of("") == texts_of(" \n\t ") == []


def test_passages_are_as_long_as_they_may_be():
    rows = cut("word " * 1000, chunker="tokens", chunk_tokens=100)
    assert [row["tokens"] for row in rows[:-1]] == [100] * (len(rows) - 1)


def test_sentences_stay_whole():
    sentences = [f"Sentence number {i} has some words, e.g. these." for i in range(60)]
    for text in texts_of(" ".join(sentences), chunker="sentences", chunk_tokens=64):
        assert text.startswith("Sentence")
        assert text.endswith("these.")


def test_sentences_of_scripts_without_spaces_stay_whole():
    for text in texts_of("これは一つの短い文です。" * 40, chunker="sentences", chunk_tokens=64):
        assert text.endswith("。")


MARKDOWN = """# Install

Some words on installing, enough of them to stand alone as a passage of their own here.

## Linux

Run this on the machine, then wait until it says that it is done, and go on with the next step:

```sh
apt-get update
apt-get install -y curate
curate init
```

## Windows

| step | command | what it does |
|------|---------|--------------|
| 1 | winget | installs the program for all users |
| 2 | curate | starts it for the first time |

It works the same in the shell, with one difference that is told in the next section of this page.
"""


def test_markdown_is_cut_at_headings_and_knows_its_section():
    rows = cut(MARKDOWN, chunk_tokens=64)
    first_lines = [row["text"].split("\n")[0] for row in rows]
    assert first_lines[:3] == ["# Install", "## Linux", "## Windows"]
    assert [row["heading"] for row in rows[:3]] == ["Install", "Install > Linux", "Install > Windows"]
    assert {row["heading"] for row in rows[3:]} == {"Install > Windows"}


@pytest.mark.parametrize("size", range(80, 140, 12))
def test_code_and_tables_stay_whole_where_they_fit(size):
    texts = texts_of(MARKDOWN * 3, chunk_tokens=size)
    assert sum("apt-get update\napt-get install -y curate\ncurate init\n```" in text for text in texts) == 3
    assert sum("| 1 | winget | installs the program for all users |\n| 2 |" in text for text in texts) == 3


def test_code_that_is_too_long_is_cut_between_lines():
    lines = [f"value_{i} = compute({i}).  Next" for i in range(60)]
    for text in texts_of("```\n" + "\n".join(lines) + "\n```", chunk_tokens=64):
        assert all(line in {"```", *lines} for line in text.split("\n"))


def test_a_hash_in_code_is_no_heading():
    (row,) = cut("# Title\n\n```\n# a comment\n```\n")
    assert row["heading"] == "Title"


def test_overlap_repeats_the_end_of_the_passage_before():
    rows = cut(" ".join(f"w{i}" for i in range(400)), chunker="tokens", chunk_tokens=100, overlap=20)
    for before, after in pairwise(rows):
        repeated = before["end"] - after["start"]
        assert (
            0 < len(MINILM.tokenizer.encode(before["text"][-repeated:], add_special_tokens=False).ids) <= 20
        )


def test_a_megabyte_without_a_space_is_cut_into_readable_pieces():
    rows = cut("QUJD" * 25_000, chunk_tokens=128)
    assert max(row["end"] - row["start"] for row in rows) <= 128 * 16
    assert "".join(row["text"] for row in rows) == "QUJD" * 25_000


def test_the_prompt_counts():
    embedder = TinyEmbedder()
    embedder.passage_prompt = "passage with five more words "
    (first, *_) = cut("word " * 100, embedder, chunk_tokens=32, chunker="tokens")
    assert (len(first["text"].split()), first["tokens"]) == (27, 32)


def test_more_than_the_embedder_reads_is_refused():
    with pytest.raises(IndexingError, match="chunk_tokens is 257, but all-MiniLM-L6-v2 reads 256") as error:
        cut("text", chunk_tokens=257)
    assert "256 or less" in error.value.hint
