"""A small library with a tiny embedder: what the tests of chunkers, indexes and search share."""

import functools
import hashlib
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from indexing.search import Index
from indexing.version import build_version
from schemas.index import IndexOptions

TOPICS = {
    "vpn": "reset vpn tunnel password client gateway certificate network login token",
    "coffee": "coffee espresso beans grinder milk roast crema machine water cup",
    "garden": "garden soil seeds tomato water compost spring frost harvest beans",
    "python": "python function class list module import error loop string file",
    "music": "guitar chord melody rhythm song bass drums amplifier string tune",
}
FILLER = [
    "the",
    "a",
    "of",
    "and",
    "to",
    "in",
    "with",
    "for",
    "on",
    "is",
    "when",
    "how",
    "use",
    "new",
    "old",
    "first",
    "last",
    "more",
    "small",
    "large",
]


class TinyEmbedder:
    """Words to random directions, added up: deterministic, 64 dimensions, no model."""

    name = "tiny"
    dimension = 64
    max_tokens = 64
    passage_prompt = ""
    languages = frozenset({"en"})

    def __init__(self, salt=""):
        self.salt = salt
        self.fingerprint = hashlib.sha256(f"tiny{salt}".encode()).hexdigest()
        self.tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
        self.tokenizer.pre_tokenizer = Whitespace()

    def embed(self, texts, kind="passage"):
        vectors = np.array(
            [sum(self.direction(word) for word in f"! {text}".lower().split()) for text in texts]
        )
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    def direction(self, word):
        return _direction(self.salt + word)


@functools.cache
def _direction(word):
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "little")
    return np.random.default_rng(seed).normal(size=TinyEmbedder.dimension)


EMBEDDER = TinyEmbedder()
OPTIONS = IndexOptions(chunk_tokens=64, embedder="tiny")
APPROXIMATE = IndexOptions(chunk_tokens=64, embedder="tiny", exact_below=1000)


def passages(count, seed=0):
    """Passages about five topics, two to a document, with a title, a date and a column of one's own."""
    generator = np.random.default_rng(seed)
    topics = list(TOPICS)
    rows = []
    for i in range(count):
        topic = topics[i % len(topics)]
        words = [*generator.choice(TOPICS[topic].split(), 6), *generator.choice(FILLER, 6), f"n{i}"]
        text = " ".join(generator.permutation(words))
        rows.append(
            {
                "chunk_id": f"d{i // 2:05d}-{i % 2}",
                "document_id": f"d{i // 2:05d}",
                "text": text,
                "start": (i % 2) * 100,
                "end": (i % 2) * 100 + len(text),
                "url": f"https://docs.example/{topic}/{i // 2}",
                "title": f"About {topic}",
                "date": f"20{i % 25:02d}-01-01",
                "language": "en" if i % 4 else "de",
                "source": topic,
                "access": "public" if i % 3 else "secret",
                "stars": i % 10,
            }
        )
    return pa.Table.from_pylist(rows)


def build(folder, table, options=OPTIONS, embedder=EMBEDDER, **more):
    """A version of these passages."""
    vectors = embedder.embed(table["text"].to_pylist())
    more = {"corpus_version": "corpus-1", **more}
    return build_version(Path(folder), table, vectors, embedder=embedder, options=options, **more)


@functools.cache
def library():
    """An index of 400 passages, searched exactly. Built once; nobody may write into it."""
    return _open(400, OPTIONS)


@functools.cache
def large_library():
    """An index of 2,000 passages, searched through codes."""
    return _open(2_000, APPROXIMATE)


def _open(count, options):
    folder = tempfile.TemporaryDirectory(prefix="curate-index-")
    index = Index.open(build(folder.name, passages(count), options).path, embedder=EMBEDDER)
    index.folder = folder  # is removed with the index
    return index
