"""Texts to vectors. The one file that imports torch and sentence_transformers, and only when they are needed.

    embedder = open_embedder("all-MiniLM-L6-v2")
    embedder.embed(["How do I reset the VPN?"], kind="query")    # float32 (1, 384), length 1

A plain BERT runs in ONNX Runtime (`indexing.bert`): a cold question in half a second instead of 13 seconds of
imports, and 1.6 times the passages a second of SentenceTransformer.encode on a CPU. All other models, and large
jobs where a GPU is found, run in sentence-transformers.
"""

from __future__ import annotations

import ctypes
import os
import platform
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from indexing.model import Model, fingerprint, read_model
from indexing.remembered import Remembered
from schemas.errors import IndexingError, missing_extra

Floats = npt.NDArray[np.float32]
Kind = Literal["passage", "query"]

# Cosine between the vectors of two backends for one text, at least (measured: 1.000000 fp32, 0.99988 bf16).
TOLERANCE = 0.999

# Padded tokens a batch. ONNX Runtime has one core for each, whose cache a small one fits; PyTorch shares one
# among all cores, for which a small one is not worth waking them.
_BATCH_TOKENS = {"onnx": 512, "torch": 8192, "cuda": 65_536}
# Seconds spent in ONNX Runtime after which importing torch may pay.
_PATIENCE = {"torch": 300.0, "cuda": 20.0}
_SLICE = 1024  # passages after which the backend is chosen anew
_SAMPLE = 64  # passages on which backends are timed


class Embedder(Protocol):
    """What chunkers, builders and searchers need of an embedder."""

    @property
    def name(self) -> str:
        """As the recipe names it."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    @property
    def max_tokens(self) -> int:
        """Tokens that it reads, with special tokens and prompt."""
        ...

    @property
    def fingerprint(self) -> str:
        """Identifies all that a vector depends on."""
        ...

    @property
    def tokenizer(self) -> Any:
        """A `tokenizers.Tokenizer` that neither pads nor truncates."""
        ...

    @property
    def passage_prompt(self) -> str:
        """Stands before each passage."""
        ...

    @property
    def languages(self) -> frozenset[str]:
        """ISO 639-1 codes that it was trained on; empty if that is not known."""
        ...

    def embed(self, texts: Sequence[str], kind: Kind = "passage") -> Floats:
        """Vectors of length 1: float32 (n, dimension)."""
        ...


def open_embedder(
    name: str,
    *,
    query_prompt: str | None = None,
    passage_prompt: str | None = None,
    dtype: Literal["float32", "bfloat16"] = "float32",
) -> Embedder:
    """Open a sentence-transformers model by name or folder. Loads no weights yet.

    Args:
        name: a folder, a hub name, name@revision, or "all-MiniLM-L6-v2", which is packaged.
        query_prompt: stands before questions; None: as the model states it.
        passage_prompt: stands before passages; None: as the model states it.
        dtype: of the weights; vectors are float32 always.

    Raises:
        IndexingError: the model is not here and cannot be fetched.
        MissingExtraError: the extra `index` is not installed.
    """
    return _ModelEmbedder(read_model(name), query_prompt, passage_prompt, dtype)


def language_warning(embedder: Embedder, documents: dict[str, int]) -> str | None:
    """One sentence if over a tenth of the documents are in languages that the embedder does not know.

    Args:
        embedder: with `languages` from its model card; nothing is said if it names none.
        documents: number of documents by ISO 639-1 code; "" (not known) is not counted.
    """
    total = sum(count for language, count in documents.items() if language)
    foreign = {
        language: count
        for language, count in documents.items()
        if language and language not in embedder.languages
    }
    if not embedder.languages or not total or sum(foreign.values()) <= total / 10:
        return None
    most = sorted(foreign.items(), key=lambda item: (-item[1], item[0]))[:4]
    named = ", ".join(f"{language} {count / total:.0%}" for language, count in most)
    return (
        f"{sum(foreign.values()) / total:.0%} of the documents are in languages that the embedder {embedder.name} "
        f"does not know ({named}; it knows {', '.join(sorted(embedder.languages))}). "
        'A multilingual one: embedder = "intfloat/multilingual-e5-small".'
    )


class _ModelEmbedder:
    """A model folder behind the protocol; backends are loaded when first used, embedding is thread-safe."""

    def __init__(
        self, model: Model, query_prompt: str | None, passage_prompt: str | None, dtype: str
    ) -> None:
        self._model = model
        self._dtype = dtype
        self._lock = threading.Lock()
        self._backends: dict[str, _Backend] = {}
        self._spent = 0.0  # seconds in ONNX Runtime
        self.name = model.name
        self.max_tokens = model.max_tokens
        self.languages = model.languages
        self.query_prompt = model.query_prompt if query_prompt is None else query_prompt
        self.passage_prompt = model.passage_prompt if passage_prompt is None else passage_prompt

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(self._model, self.query_prompt, self.passage_prompt, self._dtype)

    @cached_property
    def dimension(self) -> int:
        if self._model.pooling:
            return int(self._model.config["hidden_size"])
        return int(self.embed(["dimension"]).shape[1])

    @cached_property
    def tokenizer(self) -> Any:
        file = self._model.folder / "tokenizer.json"
        if file.exists():
            from tokenizers import Tokenizer

            tokenizer = Tokenizer.from_file(str(file))
        else:
            slow = _load_sentence_transformer(self._model, self._dtype, "cpu").tokenizer
            tokenizer = getattr(slow, "backend_tokenizer", slow)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    def embed(self, texts: Sequence[str], kind: Kind = "passage") -> Floats:
        """Vectors of length 1: float32 (n, dimension). A question that is too long is cut.

        Raises:
            IndexingError: a passage has more tokens than the model reads, or a vector is not finite.
        """
        if not texts:
            return np.empty((0, self.dimension), np.float32)
        job = self._tokenize(texts, kind)
        order = np.argsort(-job.lengths, kind="stable")  # longest first: memory peaks at once, not at the end
        found = [self._run(job.part(order[at : at + _SLICE])) for at in range(0, len(order), _SLICE)]
        vectors = np.empty((len(texts), found[0].shape[1]), np.float32)
        vectors[order] = np.concatenate(found)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(norms).all() or not norms.all():
            raise IndexingError(
                f"{self.name} gave a vector that is zero or not finite.",
                hint="Are its weights whole? Fetch the model again.",
            )
        vectors /= norms
        return vectors

    def _tokenize(self, texts: Sequence[str], kind: Kind) -> _Job:
        prompt = self.query_prompt if kind == "query" else self.passage_prompt
        encodings = self.tokenizer.encode_batch_fast([prompt + text for text in texts])
        ids = [encoding.ids for encoding in encodings]
        if kind == "query":
            ids = [_cut(tokens, self.max_tokens) for tokens in ids]
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        if int(lengths.max()) > self.max_tokens:
            row = int(lengths.argmax())
            raise IndexingError(
                f"Passage {row} has {lengths[row]} tokens; {self.name} reads {self.max_tokens} and would cut the rest.",
                hint="Cut passages with this embedder's own tokenizer: indexing.chunkers.chunk(texts, options, embedder).",
            )
        return _Job(texts, ids, lengths, prompt)

    def _run(self, job: _Job) -> Floats:
        name = self._choose(job)
        start = time.perf_counter()
        vectors = _in_batches(self._backend(name), job)
        if name == "onnx":
            self._spent += time.perf_counter() - start
        return vectors

    def _choose(self, job: _Job) -> str:
        """The backend. Others than ONNX are tried, and timed, once it has worked for as long as they need to start."""
        other = "cuda" if _has_cuda() else "torch"
        if not self._model.pooling or self._dtype != "float32":
            return other
        if self._spent < _PATIENCE[other] or len(job.ids) < _SAMPLE:
            return "onnx"
        speeds = Remembered(f"speeds-{platform.node()}-{os.cpu_count()}-{self.fingerprint[:16]}")
        sample = job.part(np.linspace(0, len(job.ids) - 1, _SAMPLE).astype(np.int64))

        def measured(name: str) -> float:
            return speeds.get(name, lambda: _tokens_per_second(self._backend(name), sample))

        return max(("onnx", other), key=measured)

    def _backend(self, name: str) -> _Backend:
        with self._lock:
            if name not in self._backends:
                self._backends[name] = _open_backend(name, self._model, self._dtype)
            return self._backends[name]


@dataclass(frozen=True)
class _Job:
    """Texts, and their token ids with special tokens and prompt."""

    texts: Sequence[str]
    ids: list[list[int]]
    lengths: npt.NDArray[np.int64]
    prompt: str

    def part(self, rows: npt.NDArray[np.int64]) -> _Job:
        """Some of them, in the order asked."""
        chosen = rows.tolist()
        return _Job(
            [self.texts[row] for row in chosen],
            [self.ids[row] for row in chosen],
            self.lengths[rows],
            self.prompt,
        )


class _Backend(Protocol):
    batch_tokens: int
    workers: int

    def __call__(self, batch: _Job) -> Floats:
        """Vectors of any length, float32 (n, d)."""
        ...


class _Onnx:
    def __init__(self, model: Model) -> None:
        from indexing.bert import Bert

        self._bert = Bert(model)
        self.batch_tokens = _BATCH_TOKENS["onnx"]
        self.workers = (
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        )

    def __call__(self, batch: _Job) -> Floats:
        return self._bert(batch.ids)


class _Torch:
    def __init__(self, model: Model, dtype: str, device: str) -> None:
        self._model = _load_sentence_transformer(model, dtype, device)
        self.batch_tokens = _BATCH_TOKENS["cuda" if device == "cuda" else "torch"]
        self.workers = 1  # PyTorch spreads one batch over all cores itself

    def __call__(self, batch: _Job) -> Floats:
        found = self._model.encode(
            batch.texts, prompt=batch.prompt or None, batch_size=len(batch.texts), show_progress_bar=False
        )
        return np.asarray(found, np.float32)


def _open_backend(name: str, model: Model, dtype: str) -> _Backend:
    return _Onnx(model) if name == "onnx" else _Torch(model, dtype, "cuda" if name == "cuda" else "cpu")


def _load_sentence_transformer(model: Model, dtype: str, device: str) -> Any:
    try:
        import torch
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise missing_extra("index", f"The embedder {model.name}", "sentence-transformers") from None
    # Foreign code and pickled weights (.bin) are refused.
    loaded = SentenceTransformer(
        str(model.folder),
        device=device,
        trust_remote_code=False,
        local_files_only=True,
        model_kwargs={"use_safetensors": True, "dtype": getattr(torch, dtype)},
    )
    loaded.default_prompt_name = None
    loaded.max_seq_length = model.max_tokens
    return loaded


def _in_batches(backend: _Backend, job: _Job) -> Floats:
    """Run in batches of neighbours, which are about equally long, so that next to nothing is padding."""
    edges, widest = [0], 0
    for at, length in enumerate(job.lengths.tolist()):
        widest = max(widest, length)
        if at > edges[-1] and (at + 1 - edges[-1]) * widest > backend.batch_tokens:
            edges.append(at)
            widest = length
    rows = np.arange(len(job.ids))
    batches = [job.part(part) for part in np.split(rows, edges[1:])]
    if len(batches) == 1 or backend.workers == 1:
        return np.concatenate([backend(batch) for batch in batches])
    with ThreadPoolExecutor(backend.workers) as pool:
        return np.concatenate(list(pool.map(backend, batches)))


def _cut(tokens: list[int], limit: int) -> list[int]:
    """The first tokens and the last, special one."""
    return tokens if len(tokens) <= limit else [*tokens[: limit - 1], tokens[-1]]


def _tokens_per_second(backend: _Backend, job: _Job) -> float:
    backend(job.part(np.zeros(1, np.int64)))  # the first call allocates
    start = time.perf_counter()
    _in_batches(backend, job)
    return float(job.lengths.sum()) / (time.perf_counter() - start)


def _has_cuda() -> bool:
    """Whether an NVIDIA driver with a device is there; asks the driver, since importing torch takes seconds."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return bool(
        driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    )
