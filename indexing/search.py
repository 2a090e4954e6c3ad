"""Asking an index: dense, lexical or both, with filters that neither leak nor starve."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from indexing.embedder import TOLERANCE, Embedder, open_embedder
from indexing.hits import Hit, Hits
from indexing.lexical import best
from indexing.manifest import Manifest, Verify
from indexing.snapshot import Snapshot
from schemas.errors import IndexingError, UsageError, did_you_mean

Mode = Literal["hybrid", "dense", "lexical"]
Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

_MODES = ("hybrid", "dense", "lexical")
_DEPTH = 100  # candidates of each method that are fused: 50 lost .03 of recall@100 on three collections
_SPARE = 16  # hits beyond k, so that equal ones are ordered by their id also where the list is cut
_NO_SPREAD = 1e-6  # of fused scores: nothing orders the candidates
_OWN = {entry.name for entry in fields(Hit)}


class Index:
    """An index that answers questions. Thread-safe; keeps its version until `refresh`.

    >>> index = Index.open(Path("lake/acme-docs/indexes/3f2a90b1c4d7"))    # doctest: +SKIP
    >>> index.search("How do I reset the VPN?", k=5, where="language = 'en'")[0].url    # doctest: +SKIP
    """

    def __init__(
        self, locate: Callable[[], Path], *, verify: Verify = "size", embedder: Embedder | None = None
    ) -> None:
        """Open the version that `locate` names; `refresh` asks it again.

        Args:
            locate: gives the folder of a version.
            verify: compare the sizes of all files when opening, or their content ("hash": reads them all).
            embedder: for questions; None: the one that the manifest names, opened with the first question.

        Raises:
            IndexingError: the version is damaged.
        """
        self._locate = locate
        self._verify = verify
        self._given = embedder
        self._embedder: tuple[str, Embedder] | None = None
        self._lock = threading.Lock()
        self._snapshot = Snapshot.open(locate(), verify)

    @classmethod
    def open(cls, folder: str | Path, *, verify: Verify = "size", embedder: Embedder | None = None) -> Index:
        """Open one version, by its folder."""
        return cls(lambda: Path(folder), verify=verify, embedder=embedder)

    def __len__(self) -> int:
        """Number of passages."""
        return len(self._snapshot)

    @property
    def path(self) -> Path:
        """Folder of the open version."""
        return self._snapshot.folder

    @property
    def manifest(self) -> Manifest:
        """What the open version says of itself."""
        return self._snapshot.manifest

    @property
    def version(self) -> str:
        """Id of the open version."""
        return self._snapshot.manifest.version

    @property
    def corpus_version(self) -> str:
        """The corpus that the open version was built from."""
        return self._snapshot.manifest.corpus_version

    def refresh(self) -> bool:
        """Open the version that is live now. Searches under way finish on the old one.

        Returns:
            Whether it is another version.
        """
        folder = self._locate()
        if folder == self._snapshot.folder:
            return False
        self._snapshot = Snapshot.open(folder, self._verify)
        return True

    def search(
        self,
        question: str,
        k: int = 5,
        mode: Mode = "hybrid",
        where: str | None = None,
        *,
        exact: bool = False,
    ) -> Hits:
        """The k best passages for a question.

        Args:
            question: any text; never read as a query language.
            k: how many. If at least k passages satisfy `where`, dense and hybrid give k; lexical gives only
                passages that hold a word of the question.
            mode: "dense" (meaning), "lexical" (words), or "hybrid": the mean of both, each in standard
                deviations over the candidates of either (nDCG@10 9 to 14 % over the better one on three collections);
                the cosine where candidates do not differ in that, as one alone cannot.
            where: an SQL condition over the columns of the passages, as in rules: "language = 'en'".
            exact: compare the question with every passage.

        Raises:
            UsageError: a wrong argument; RuleError for a wrong `where`.
            IndexingError: the embedder is not the one that the index was built with.
        """
        return self.search_many([question], k, mode, where, exact=exact)[0]

    def search_many(
        self,
        questions: Sequence[str],
        k: int = 5,
        mode: Mode = "hybrid",
        where: str | None = None,
        *,
        exact: bool = False,
    ) -> list[Hits]:
        """`search` for many questions: embedded together, and compared together where that is faster."""
        start = time.perf_counter()
        _check_arguments(questions, k, mode)
        if not questions:
            return []
        snapshot = self._snapshot
        mask = snapshot.mask(where)
        if mode == "lexical":
            found = [_lexical(snapshot, question, k, mask) for question in questions]
            exact = True
        else:
            vectors = self._embed(snapshot, questions)
            depth = max(_DEPTH, 2 * k) if mode == "hybrid" else k + _SPARE
            _, near, exact = snapshot.vectors.search(vectors, depth, mask, exact=exact)
            answer = _hybrid if mode == "hybrid" else _dense
            found = [answer(snapshot, *one, k, mask) for one in zip(questions, vectors, near, strict=True)]
        hits = [_hits(snapshot, rows, scores) for rows, scores in found]
        took = (time.perf_counter() - start) * 1000 / len(questions)
        manifest = snapshot.manifest
        return [
            Hits(
                one,
                index_version=manifest.version,
                corpus_version=manifest.corpus_version,
                exact=exact,
                took_ms=took,
            )
            for one in hits
        ]

    def to_context(self, hits: Sequence[Hit], max_tokens: int) -> str:
        """Passages for a prompt, each under its number, title and URL: `[1] Title, URL`.

        Args:
            hits: best first; whole passages are taken in this order until one does not fit.
            max_tokens: of the whole, in tokens of the embedder.

        Raises:
            UsageError: not even the first passage fits.
        """
        tokenizer = self._embedder_of(self._snapshot).tokenizer
        parts: list[str] = []
        left = max_tokens
        for number, hit in enumerate(hits, 1):
            source = ", ".join(part for part in (hit.title, hit.url or hit.place) if part)
            part = f"[{number}] {source}\n{hit.text}"
            needed = len(tokenizer.encode(part, add_special_tokens=False).ids)
            if needed > left:
                if not parts:
                    raise UsageError(
                        f"The first passage has {needed} tokens, more than max_tokens = {max_tokens}.",
                        hint=f"Give max_tokens = {needed} or more.",
                    )
                break
            left -= needed
            parts.append(part)
        return "\n\n".join(parts)

    def to_langchain(self, **search: Any) -> Any:
        """A LangChain retriever over this index; `search` are arguments of `search`, such as k and where.

        Raises:
            MissingExtraError: langchain-core is not installed.
        """
        from indexing.adapters import langchain_retriever

        return langchain_retriever(self, **search)

    def to_llamaindex(self, **search: Any) -> Any:
        """A LlamaIndex retriever over this index; `search` are arguments of `search`, such as k and where.

        Raises:
            MissingExtraError: llama-index-core is not installed.
        """
        from indexing.adapters import llamaindex_retriever

        return llamaindex_retriever(self, **search)

    def _embed(self, snapshot: Snapshot, questions: Sequence[str]) -> Floats:
        return self._embedder_of(snapshot).embed(questions, kind="query")

    def _embedder_of(self, snapshot: Snapshot) -> Embedder:
        """The embedder of a version, opened once and compared with the manifest and its probes."""
        manifest = snapshot.manifest
        with self._lock:
            if self._embedder is None or self._embedder[0] != manifest.fingerprint:
                options = manifest.options
                embedder = self._given or open_embedder(
                    options.embedder,
                    query_prompt=options.query_prompt,
                    passage_prompt=options.passage_prompt,
                    dtype=options.dtype,
                )
                check_embedder(embedder, manifest)
                self._embedder = (manifest.fingerprint, embedder)
            return self._embedder[1]


def _check_arguments(questions: Sequence[str], k: int, mode: str) -> None:
    if mode not in _MODES:
        raise UsageError(f"There is no mode {mode!r}.", hint=did_you_mean(mode, _MODES))
    if k < 1:
        raise UsageError(f"k is {k}; at least 1 is needed.", hint="k=5 gives the five best passages.")
    for question in questions:
        if not question.strip():
            raise UsageError("The question is empty.", hint="Ask something.")


def check_embedder(embedder: Embedder, manifest: Manifest) -> None:
    """Refuse an embedder that is not the one of a version, or gives other vectors here.

    Raises:
        IndexingError: with what differs.
    """
    if embedder.fingerprint != manifest.fingerprint:
        raise IndexingError(
            f"The embedder {embedder.name} is not the one that the index was built with: its fingerprint is "
            f"{embedder.fingerprint[:12]}, not {manifest.fingerprint[:12]} ({manifest.embedder}).",
            hint="Its weights, tokenizer or prompts changed: pin it as name@revision, or build the index again.",
        )
    probes = manifest.probes[:2]
    stored = np.array([probe.vector for probe in probes], np.float32)
    least = float((embedder.embed([probe.text for probe in probes]) * stored).sum(axis=1).min())
    if least < TOLERANCE:
        raise IndexingError(
            f"The embedder {embedder.name} gives other vectors here than when the index was built: cosine {least:.4f}.",
            hint="Are versions of torch or onnxruntime broken here? Run `curate doctor`.",
        )


def _lexical(snapshot: Snapshot, question: str, k: int, mask: Any) -> tuple[Rows, dict[str, Floats]]:
    scores = snapshot.lexical.scores(question)
    rows = best(scores, k, mask)
    return rows, {"lexical": scores[rows]}


def _dense(
    snapshot: Snapshot, question: str, vector: Floats, near: Rows, k: int, mask: Any
) -> tuple[Rows, dict[str, Floats]]:
    rows = near[near >= 0]
    scores = snapshot.vectors.scores(vector, rows)
    order = np.lexsort((rows, -scores))[:k]
    return rows[order], {"dense": scores[order]}


def _hybrid(
    snapshot: Snapshot, question: str, vector: Floats, near: Rows, k: int, mask: Any
) -> tuple[Rows, dict[str, Floats]]:
    words = snapshot.lexical.scores(question)
    rows = np.union1d(near[near >= 0], best(words, max(_DEPTH, 2 * k), mask))
    dense, lexical = snapshot.vectors.scores(vector, rows), words[rows]
    fused: Floats = (_standard(dense) + _standard(lexical)) / np.float32(2)
    if np.abs(fused).max(initial=0) < _NO_SPREAD:
        fused = dense
    order = np.lexsort((rows, -fused))[:k]
    return rows[order], {"hybrid": fused[order], "dense": dense[order], "lexical": lexical[order]}


def _standard(scores: Floats) -> Floats:
    """In standard deviations from the mean; 0 where all are equal."""
    spread = scores.std() if len(scores) else np.float32(0)
    return (scores - scores.mean()) / spread if spread > 0 else np.zeros_like(scores)


def _hits(snapshot: Snapshot, rows: Rows, scores: dict[str, Floats]) -> list[Hit]:
    ordering = next(iter(scores.values()))
    hits = []
    for at, row in enumerate(snapshot.rows(rows)):
        own = {name: row.pop(name) for name in list(row) if name in _OWN}
        all_scores = {name: round(float(values[at]), 6) for name, values in scores.items()}
        hits.append(
            Hit(rank=at + 1, score=round(float(ordering[at]), 6), scores=all_scores, columns=row, **own)
        )
    return hits
