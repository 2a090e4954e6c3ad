"""The kernels of near-duplicate detection beside `datasketch`, on the same texts, in turn, each on one core.

    python benchmarks/sketch.py [--data FILE]

`curate` is what the step `minhash` runs: normalise, cut into words, hash 5-grams of words, sketch with 128
numbers (Fast Similarity Sketching). `curate_minhash` computes classic MinHash values, bit for bit those of
`datasketch` (scheme affine32). `datasketch` gets words by a regular expression and hashes 5-grams with its
default SHA-1; cutting and joining words in Python is part of its time, as it is for everybody who uses it.
`rmse` is the error of the estimated similarity against the exact one, over pairs of a text and a changed copy.
"""

from __future__ import annotations

import random
import re
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from datasketch import MinHash
from measuring import Figures, arguments, finish, interleaved, machine
from texts import add_data, bulk_file, read_texts, size_of

from curate.dedup import warm
from curate.dedup.compatible import minhash_values
from curate.dedup.sketch import SketchOptions, estimates, sketch
from curate.dedup.verify import similarities

OPTIONS = SketchOptions()
_WORD = re.compile(r"\w+")
_PAIRS = 300


def main() -> None:
    """Speed of three sketches, and how well they estimate."""
    parser = arguments(__doc__)
    add_data(parser)
    parser.add_argument("--megabytes", type=float, default=20)
    options = parser.parse_args()
    where = machine("numba", "numpy", "datasketch")
    with tempfile.TemporaryDirectory() as folder:
        megabytes = 0.3 if options.quick else options.megabytes
        texts = read_texts(bulk_file(options, Path(folder)), int(megabytes * 1e6))
    warm()
    candidates = {
        "curate": lambda: sketch(texts, OPTIONS),
        "curate_minhash": lambda: minhash_values(texts, OPTIONS),
        "datasketch": lambda: [_datasketch(text) for text in texts.to_pylist()],
    }
    found = interleaved(candidates, 1 if options.quick else 3)
    size = size_of(texts) / 1e6
    figures: Figures = {
        name: {
            "documents": len(texts),
            "mb": size,
            "cpu_s": one.median.cpu_s,
            "mb_per_cpu_s": size / one.median.cpu_s,
        }
        for name, one in found.items()
    }
    for name, error in _errors(texts).items():
        figures[name]["rmse"] = error
    finish(options, where, figures)


def _datasketch(text: str) -> MinHash:
    made = MinHash(num_perm=128)
    made.update_batch([shingle.encode() for shingle in _shingles(text)])
    return made


def _shingles(text: str) -> list[str]:
    words = _WORD.findall(text.lower())
    last = max(len(words) - OPTIONS.ngram, 0)
    return [" ".join(words[at : at + OPTIONS.ngram]) for at in range(last + 1)]


def _errors(texts: pa.LargeStringArray) -> dict[str, float]:
    """Root mean square error of the estimates of all three, each against exact similarities of its own shingles."""
    originals = [text for text in texts.to_pylist() if len(text) > 1_000][:_PAIRS]
    both = [
        text for number, original in enumerate(originals) for text in (original, _changed(original, number))
    ]
    pairs = np.arange(len(both), dtype=np.int64).reshape(-1, 2)
    column = pa.array(both, pa.large_string())
    exact = similarities(column, pairs, OPTIONS)
    values = minhash_values(column, OPTIONS)
    classic = (values[pairs[:, 0]] == values[pairs[:, 1]]).mean(axis=1)
    theirs = [
        _datasketch(one).jaccard(_datasketch(two)) - _jaccard(one, two)
        for one, two in zip(both[::2], both[1::2], strict=True)
    ]
    return {
        "curate": _root(estimates(sketch(column, OPTIONS).slots, pairs) - exact),
        "curate_minhash": _root(classic - exact),
        "datasketch": _root(np.array(theirs)),
    }


def _changed(text: str, seed: int) -> str:
    """The text with up to a tenth of its words replaced."""
    chance = random.Random(seed)
    words = text.split()
    for _ in range(chance.randrange(max(len(words) // 10, 1))):
        words[chance.randrange(len(words))] = f"new{chance.randrange(1000)}"
    return " ".join(words)


def _jaccard(one: str, two: str) -> float:
    first, second = (set(_shingles(text)) for text in (one, two))
    return len(first & second) / len(first | second)


def _root(errors: np.ndarray) -> float:
    return float(np.sqrt((errors**2).mean()))


if __name__ == "__main__":
    main()
