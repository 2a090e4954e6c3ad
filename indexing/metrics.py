"""How good answers are: nDCG, recall and reciprocal rank over judged questions, as TREC computes them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

Judgements = Mapping[str, int]  # relevance by document; what is not named, or 0, is not relevant


def ndcg(found: Sequence[str], judged: Judgements, k: int = 10) -> float:
    """Normalised discounted cumulative gain of the first k, gains as judged. Jarvelin and Kekalainen 2002."""
    gains = (max(judged.get(document, 0), 0) for document in found[:k])
    best = sorted((grade for grade in judged.values() if grade > 0), reverse=True)[:k]
    return _discounted(gains) / _discounted(best) if best else 0.0


def recall(found: Sequence[str], judged: Judgements, k: int = 10) -> float:
    """Share of the relevant documents among the first k."""
    relevant = {document for document, grade in judged.items() if grade > 0}
    return len(relevant & set(found[:k])) / len(relevant) if relevant else 0.0


def reciprocal_rank(found: Sequence[str], judged: Judgements, k: int = 10) -> float:
    """1 / rank of the first relevant document among the first k, else 0."""
    return next((1 / rank for rank, document in enumerate(found[:k], 1) if judged.get(document, 0) > 0), 0.0)


def evaluate(
    index: Any, questions: Mapping[str, str], judgements: Mapping[str, Judgements], k: int = 10, **search: Any
) -> dict[str, float]:
    """Means over all judged questions: ndcg, recall, mrr; a document counts at its best passage.

    Args:
        index: an `Index`.
        questions: text by question id.
        judgements: relevance of document ids, by question id.
        k: documents looked at.
        search: arguments of `Index.search_many`, such as mode and where.
    """
    names = [name for name in questions if name in judgements]
    # A document has several passages: ten times as many hold k documents but for the longest ones.
    answers = index.search_many([questions[name] for name in names], 10 * k, **search)
    found = [list(dict.fromkeys(hit.document_id for hit in hits)) for hits in answers]
    pairs = [(documents, judgements[name]) for name, documents in zip(names, found, strict=True)]
    measures = {"ndcg": ndcg, "recall": recall, "mrr": reciprocal_rank}
    return {name: fmean([measure(*pair, k) for pair in pairs] or [0.0]) for name, measure in measures.items()}


def _discounted(gains: Iterable[int]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))
