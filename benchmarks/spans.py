"""Repeated passages: the rolling hash of `curate` beside a suffix array, on the same texts, in turn, on one core.

    python benchmarks/spans.py [--data FILE] [--megabytes 20] [--least 100]

`suffix_array` is what deduplicate-text-datasets rests on: divsufsort and the longest common prefixes after
Kasai (package pydivsufsort), without what it would still take to make spans of them. `spans_ratio` is its
processor time over that of `curate`. `spans_recall`: of all bytes in a window of `least` bytes that stands in
an earlier document, or earlier in the same one without overlap, the share that `curate` finds;
`spans_excess`: bytes that it finds beyond those.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pydivsufsort
from measuring import Figures, Rounds, arguments, finish, interleaved, machine
from texts import add_data, bulk_file, read_texts

from curate.dedup.spans import SpanOptions, find_spans

_BORDER = b"\xff"


def main() -> None:
    """Speed and recall of repeated spans."""
    parser = arguments(__doc__)
    add_data(parser)
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--least", type=int, default=100)
    options = parser.parse_args()
    where = machine("numba", "numpy", "pydivsufsort")
    with tempfile.TemporaryDirectory() as folder:
        megabytes = 0.3 if options.quick else options.megabytes
        texts = read_texts(bulk_file(options, Path(folder)), int(megabytes * 1e6))
    figures = compare(texts, options.least, rounds=1 if options.quick else 3)
    finish(options, where, figures)


def compare(texts: pa.LargeStringArray, least: int, rounds: int) -> Figures:
    """Processor seconds and MB/s of both, and `spans_ratio`, `spans_recall`, `spans_excess`."""
    documents = texts.cast(pa.large_binary()).to_pylist()
    store = np.frombuffer(_BORDER.join([*documents, b""]), np.uint8).copy()
    options = SpanOptions(least=least)
    find_spans(texts[:10], options)  # compiles
    found = interleaved(
        {"curate": lambda: find_spans(texts, options), "suffix_array": lambda: _suffix_array(store)}, rounds
    )
    ends = np.cumsum([len(document) + 1 for document in documents]) - 1  # the place of each border
    truth = _covered(_copies(*found["suffix_array"].result, ends, least), len(store))
    starts = ends - [len(document) for document in documents]
    spans = found["curate"].result
    ours = np.stack([starts[spans.row] + spans.start, starts[spans.row] + spans.stop], axis=1)
    mask = _covered(ours, len(store))
    rows: Figures = {name: _speed(one, len(store)) for name, one in found.items()}
    rows["curate"] |= {
        "spans": float(len(spans)),
        "share_repeated": float(truth.mean()),
        "spans_ratio": rows["suffix_array"]["cpu_s"] / rows["curate"]["cpu_s"],
        "spans_recall": float((mask & truth).sum() / max(truth.sum(), 1)),
        "spans_excess": float((mask & ~truth).sum()),
    }
    return rows


def _speed(rounds: Rounds, size: int) -> dict[str, float]:
    seconds = rounds.median.cpu_s
    return {"mb": size / 1e6, "cpu_s": seconds, "mb_per_cpu_s": size / 1e6 / seconds}


def _suffix_array(store: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = pydivsufsort.divsufsort(store)
    return order, pydivsufsort.kasai(store, order)


def _copies(order: np.ndarray, shared: np.ndarray, ends: np.ndarray, least: int) -> np.ndarray:
    """(start, stop) of every window of `least` bytes with an earlier copy, from suffixes and what they share."""
    group = np.cumsum(np.concatenate(([True], shared[: len(order) - 1] < least))) - 1
    document = np.searchsorted(ends, order, "left")
    whole = order + least <= ends[document]
    order, group, document = order[whole], group[whole], document[whole]
    first = np.full(group.max(initial=0) + 1, ends[-1])
    np.minimum.at(first, group, order)
    source = first[group]
    earlier = np.searchsorted(ends, source, "left") < document
    start = order[earlier | (source + least <= order)]
    return np.stack([start, start + least], axis=1)


def _covered(ranges: np.ndarray, size: int) -> np.ndarray:
    """Whether each byte lies in one of the ranges (start, stop)."""
    depth = np.zeros(size + 1, np.int64)
    np.add.at(depth, ranges[:, 0], 1)
    np.add.at(depth, ranges[:, 1], -1)
    return np.cumsum(depth[:-1]) > 0


if __name__ == "__main__":
    main()
