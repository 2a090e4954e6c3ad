"""Trains fastText classifiers that are small and the same bytes each time, and counts how well they do.

fasttext-community, one thread and a seed: with two threads every run gives another model, and the other wheels of
fastText that NumPy 2 can use start from memory that nobody has filled.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.models.opening import PREFIX

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_FEWEST, _MOST = 2_000, 100_000  # buckets that are chosen; a file has about 1.3 MB with the most
HELD_OUT = 5  # one text in so many shows how well the model does


@dataclass(frozen=True)
class Fit:
    """How a model is fitted. The defaults did best of some that were tried on 26,000 short texts of two labels."""

    epochs: int = 5
    rate: float = 0.3
    dimensions: int = 16
    buckets: int = (
        0  # rows for pairs and parts of words, which set the size of the file; 0: by the length of the texts
    )
    least: int = 1  # a word that is rarer has no row of its own
    subwords: bool = True  # parts of words, of three to five characters
    seed: int = 0


@dataclass(frozen=True)
class Score:
    """How a label does on texts held out, if it is given from a threshold on."""

    threshold: float
    precision: float  # of the texts that get the label, those that have it; 0 if none gets it
    recall: float  # of the texts that have the label, those that get it
    share: float  # of all texts, those that get it


def is_held_out(text: str) -> bool:
    """Whether a text is kept for the test: by its hash, so that equal texts lie on one side, in every run."""
    return int(hashlib.sha256(f"held out {text}".encode()).hexdigest()[:8], 16) % HELD_OUT == 0


def as_line(text: str) -> str:
    """A text as fastText reads it: one line, without what it takes for a label or a line's end."""
    line = " ".join(text.replace("\0", " ").splitlines())
    return line.replace(PREFIX, "label").replace("</s>", " ")


def fit_model(rows: Sequence[tuple[str, str]], fit: Fit) -> bytes:
    """A quantized model (.ftz) fitted to (label, text) pairs; the same rows in any order give the same bytes."""
    import fasttext

    lines = [f"{PREFIX}{label} {as_line(text)}\n" for label, text in rows]
    lines.sort(key=lambda line: hashlib.sha256(line.encode()).digest())  # shuffled, and not by chance
    with tempfile.TemporaryDirectory(prefix="curate-train-") as folder:
        source, made = Path(folder) / "train.txt", Path(folder) / "model.ftz"
        source.write_text("".join(lines), "utf-8", newline="\n")
        model = fasttext.train_supervised(
            str(source),
            epoch=fit.epochs,
            lr=fit.rate,
            dim=fit.dimensions,
            bucket=fit.buckets or min(max(sum(map(len, lines)) // 16, _FEWEST), _MOST),
            minCount=fit.least,
            wordNgrams=2,
            minn=3 if fit.subwords else 0,
            maxn=5 if fit.subwords else 0,
            seed=fit.seed,
            thread=1,
            verbose=0,
        )
        model.quantize(qnorm=True, thread=1)
        model.save_model(str(made))
        return made.read_bytes()


def load_bytes(data: bytes) -> Any:
    """A model that was fitted just now."""
    import fasttext

    with tempfile.TemporaryDirectory(prefix="curate-train-") as folder:
        path = Path(folder) / "model.ftz"
        path.write_bytes(data)
        return fasttext.load_model(str(path))


def probabilities(model: Any, texts: Sequence[str], label: str) -> npt.NDArray[np.float64]:
    """Probability of a label for each text, as the stage `classifier` scores it."""
    wanted, predict = PREFIX + label, model.f.predict
    found = (predict(as_line(text) + "\n", -1, 0.0, "strict") for text in texts)
    return np.array(
        [next((min(p, 1.0) for p, name in row if name == wanted), 0.0) for row in found], np.float64
    )


def scores(given: npt.NDArray[np.float64], has: npt.NDArray[np.bool_]) -> list[Score]:
    """Precision and recall at each threshold, of probabilities given to texts that have a label or not."""
    table = []
    for threshold in THRESHOLDS:
        taken = given >= threshold
        right = int((taken & has).sum())
        precision, recall = right / max(int(taken.sum()), 1), right / max(int(has.sum()), 1)
        table.append(Score(threshold, round(precision, 4), round(recall, 4), round(float(taken.mean()), 4)))
    return table
