"""Answers: passages with their places, scores and rights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Hit:
    """A passage that answers a question.

    `text` is characters `start` to `end` of the document's text in the corpus. `score` orders the hits of one
    answer: the cosine (dense), BM25 (lexical) or the mean of both in standard deviations (hybrid; of one candidate
    alone its cosine); `scores` has all that were computed. `columns` are the columns that a source keeps.
    """

    rank: int
    score: float
    text: str
    url: str
    title: str
    document_id: str
    chunk_id: str
    start: int
    end: int
    date: str
    language: str
    source: str
    license: str
    access: str
    place: str
    scores: dict[str, float] = field(default_factory=dict)
    columns: dict[str, Any] = field(default_factory=dict)


class Hits(list[Hit]):
    """The hits of one question, best first, and what answered it.

    `exact`: every passage was compared (in dense search; lexical search always does). `took_ms` includes
    embedding the question; in `search_many` it is the mean.
    """

    def __init__(
        self, hits: Iterable[Hit], *, index_version: str, corpus_version: str, exact: bool, took_ms: float
    ) -> None:
        super().__init__(hits)
        self.index_version = index_version
        self.corpus_version = corpus_version
        self.exact = exact
        self.took_ms = took_ms
