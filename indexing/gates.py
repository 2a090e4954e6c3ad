"""What an index version must be able to do before it may go live. Results are in its manifest.

Blocking checks are gates: `promote` reads them with `failed_gates` and refuses by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.reports.numbers import plural
from indexing.embedder import TOLERANCE, Embedder
from indexing.lexical import best
from indexing.manifest import read_manifest
from indexing.snapshot import Snapshot
from indexing.vectors import overlap
from schemas.checks import Check
from schemas.errors import IndexingError

_QUESTIONS = 200  # sampled for recall
_EMBEDDED = 8  # passages that are embedded again
_NORM = 1e-3  # how far the length of a vector may be from 1
_SHARES = (0.001, 0.01, 0.1, 0.5)  # of the passages that a filter leaves
_STEADY = 0.5  # share of documents found in both versions, below which we warn


def judge(
    snapshot: Snapshot, *, embedder: Embedder, documents: pa.Array | pa.ChunkedArray | None, live: Path | None
) -> list[Check]:
    """Judge a candidate.

    Args:
        snapshot: the candidate.
        embedder: that made its vectors.
        documents: ids of all documents of the corpus; None: coverage only counts.
        live: the version in use, if there is one.
    """
    checks = [_coverage(snapshot, documents), _sound(snapshot)]
    if len(snapshot) and checks[1].passed:
        checks += [_recall(snapshot), _filters(snapshot), _itself(snapshot, embedder)]
        if live is not None:
            checks.append(_overlap(snapshot, live))
    return checks


def failed_gates(path: Path) -> list[Check]:
    """The gates that a version failed; it may go live only if there are none.

    Raises:
        IndexingError: there is no version at that place.
    """
    return [
        check for check in read_manifest(path).checks if check.severity == "blocking" and not check.passed
    ]


def refuse_failed(path: Path, more: Sequence[Check] = ()) -> None:
    """Let pass only a version that failed no gate; `more` are failed ones that its manifest does not hold.

    Raises:
        IndexingError: with every gate that it failed.
    """
    failed = [*failed_gates(path), *more]
    if failed:
        reasons = "; ".join(f"{check.name}: {check.message}" for check in failed)
        raise IndexingError(
            f"Index {path.name} failed its gates: {reasons}",
            hint="Mend the cause and run curate run; no flag opens a gate.",
        )


def _gate(name: str, passed: bool, numbers: dict[str, float], message: str) -> Check:
    return Check(
        name=name, passed=passed, severity="blocking", numbers=numbers, message="" if passed else message
    )


def _coverage(snapshot: Snapshot, documents: pa.Array | pa.ChunkedArray | None) -> Check:
    """Every document of the corpus has passages, and no passage is of another document."""
    found = pc.unique(snapshot.chunks["document_id"])
    expected = found if documents is None else pc.unique(documents).cast(found.type)
    missing = pc.sum(pc.invert(pc.is_in(expected, found))).as_py() or 0
    strange = pc.sum(pc.invert(pc.is_in(found, expected))).as_py() or 0
    numbers = {
        "documents": len(expected),
        "missing": missing,
        "unknown": strange,
        "chunks": len(snapshot),
        "vectors": snapshot.vectors.count,
    }
    passed = bool(len(snapshot)) and missing == strange == 0 and snapshot.vectors.count == len(snapshot)
    return _gate(
        "coverage",
        passed,
        numbers,
        f"{plural(missing, 'document')} without a passage, {strange:,} not in the corpus, of {len(expected):,}.",
    )


def _sound(snapshot: Snapshot) -> Check:
    """Every vector is finite and has length 1."""
    wrong, worst = 0, 0.0
    for start in range(0, len(snapshot), 10_000):
        norms = np.linalg.norm(snapshot.vectors.read(start, min(start + 10_000, len(snapshot))), axis=1)
        off = np.where(np.isfinite(norms), np.abs(norms - 1), np.inf)
        wrong += int((off > _NORM).sum())
        worst = max(worst, float(off.max(initial=0)))
    return _gate(
        "vectors",
        not wrong,
        {"wrong": wrong, "worst": min(worst, 1e30)},
        f"{wrong:,} vectors are not finite or do not have length 1.",
    )


def _recall(snapshot: Snapshot) -> Check:
    """The ten nearest are found, as by exact search."""
    questions = snapshot.vectors.sample_questions(_QUESTIONS)
    exact = snapshot.vectors.search(questions, 10, exact=True)[1]
    recall = overlap(snapshot.vectors.search(questions, 10)[1], exact)
    least = snapshot.manifest.options.min_recall
    numbers = {
        "recall_at_10": recall,
        "questions": len(questions),
        "min_recall": least,
        "approximate": float(snapshot.vectors.approximate),
    }
    return _gate(
        "recall",
        recall >= least,
        numbers,
        f"The search finds {recall:.3f} of the ten nearest; {least:.3f} is asked for (min_recall).",
    )


def _filters(snapshot: Snapshot) -> Check:
    """With a filter the ten nearest that satisfy it are found, and never fewer than there are."""
    generator = np.random.default_rng(1)
    questions = snapshot.vectors.sample_questions(50)
    least, numbers, starved = 1.0, {}, 0
    for share in _SHARES:
        mask = generator.random(len(snapshot)) < share
        mask[0] = True
        exact = snapshot.vectors.search(questions, 10, mask, exact=True)[1]
        found = snapshot.vectors.search(questions, 10, mask)[1]
        starved += int((found < 0).any(axis=1).sum())
        numbers[f"recall_at_{share:g}"] = overlap(found, exact)
        least = min(least, numbers[f"recall_at_{share:g}"])
    passed = least >= snapshot.manifest.options.min_recall and not starved
    return _gate(
        "filter_recall",
        passed,
        {**numbers, "starved": starved},
        f"With a filter only {least:.3f} of the ten nearest are found; {starved} answers were too short.",
    )


def _itself(snapshot: Snapshot, embedder: Embedder) -> Check:
    """A passage that is embedded and analysed anew finds itself: text, vector and words belong to one row."""
    rows = np.linspace(0, len(snapshot) - 1, min(_EMBEDDED, len(snapshot))).astype(np.int64)
    passages = snapshot.rows(rows)
    vectors = embedder.embed([passage["text"] for passage in passages])
    nearest = snapshot.vectors.search(vectors, 1)[0][:, 0]
    own = np.array([snapshot.vectors.scores(vector, rows[i : i + 1])[0] for i, vector in enumerate(vectors)])
    lost = 0
    for row, passage in zip(rows, passages, strict=True):
        scores = snapshot.lexical.scores(passage["text"])
        top = best(scores, 10)
        lost += bool(len(top)) and scores[row] < scores[top[-1]]
    # Another passage may be as near, if its text is the same.
    astray = int(((own < TOLERANCE) | (own < nearest - 1e-4)).sum())
    numbers = {"passages": len(rows), "astray": astray, "lost_words": lost, "least_cosine": float(own.min())}
    return _gate(
        "self_retrieval",
        not astray and not lost,
        numbers,
        f"Of {len(rows)} passages {astray} have the vector of another text, and {lost} are not found by their own words.",
    )


def _overlap(snapshot: Snapshot, live: Path) -> Check:
    """How many of the documents found are found by the live version too. Reported; warns below one half."""
    other = Snapshot.open(live, "size")
    if other.manifest.fingerprint != snapshot.manifest.fingerprint or not len(other):
        return Check(
            name="overlap",
            passed=True,
            message="The live version has another embedder or is empty: not compared.",
        )
    questions = snapshot.vectors.sample_questions(50)
    found, before = _documents(snapshot, questions), _documents(other, questions)
    shares = [len(a & b) / max(len(a | b), 1) for a, b in zip(found, before, strict=True)]
    share = float(np.mean(shares))
    message = (
        ""
        if share >= _STEADY
        else f"Only {share:.0%} of the documents found are those that the live version finds."
    )
    return Check(
        name="overlap",
        passed=share >= _STEADY,
        numbers={"overlap_at_10": share, "questions": len(questions)},
        message=message,
    )


def _documents(snapshot: Snapshot, questions: npt.NDArray[np.float32]) -> list[set[str]]:
    rows = snapshot.vectors.search(questions, 10)[1]
    ids = snapshot.chunks["document_id"]
    return [set(ids.take(pa.array(line)).to_pylist()) for line in rows]
