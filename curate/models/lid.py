"""The packaged lid.176.ftz, read by kernels of ours: the same sums in the same order as fastText's, seven times as fast.

fastText (Joulin et al. 2016, arXiv:1607.01759 and arXiv:1612.03651) reads a text character by character, makes a
string of each n-gram and looks it up. Here the rows of a word are looked up once and kept.
"""

from __future__ import annotations

import struct
import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.models.lid_kernels import (
    BUCKETS,
    DIMENSION,
    LONGEST_KEPT,
    MANY,
    OUT,
    SLOTS,
    Bytes,
    Floats,
    Ints,
    Places,
    Rows,
    learn,
    predict,
)  # fmt: skip
from curate.models.opening import LID_176, PREFIX, check_packaged

_HEAD = struct.Struct("<ii12id3iqq")
_QUANTIZER = struct.Struct("<4i")

_LOCK = threading.Lock()


@dataclass(frozen=True)
class _Model:
    """What the file holds, as kernels take it."""

    labels: tuple[str, ...]
    matrix: Floats
    nodes: Floats  # of the tree
    children: Ints
    known: Places
    held: tuple[npt.NDArray[Any], ...]  # what lies there


@lru_cache(maxsize=1)
def _model() -> _Model:
    check_packaged(LID_176)
    data = LID_176.read_bytes()  # as fastText's model.cc, dictionary.cc and quantmatrix.cc write it
    head = _HEAD.unpack_from(data)
    entries, words, pruned, place = head[15], head[16], head[19], _HEAD.size
    names, counts = [], []
    for _ in range(entries):
        end = data.index(b"\0", place)
        names.append(data[place:end])
        counts.append(struct.unpack_from("<q", data, end + 1)[0])
        place = end + 10
    pairs = np.frombuffer(data, np.int32, 2 * pruned, place).reshape(-1, 2)
    row_of = np.full(BUCKETS, -1, np.int32)
    row_of[pairs[:, 0]] = pairs[:, 1] + words
    rows, place = _input_rows(data, place + pairs.nbytes + 1)
    place += 1  # the output is not quantized
    nodes = np.frombuffer(data, np.float32, (entries - words) * DIMENSION, place + 16).reshape(-1, DIMENSION)
    held = _places(row_of, names[:words])
    known: Any = tuple(array.ctypes.data for array in held)
    ends = np.cumsum([0, *map(len, names[:words])])
    learn(np.frombuffer(b"".join(names[:words]), np.uint8), ends, known)
    labels = tuple(name.decode().removeprefix(PREFIX) for name in names[words:])
    return _Model(labels, rows, nodes.copy(), _tree(counts[words:]), known, held)


def _input_rows(data: bytes, place: int) -> tuple[Floats, int]:
    """Rows of the quantized input matrix, and where it ends in the file."""
    has_norms, count, _, size = struct.unpack_from("<?qqi", data, place)
    place += 21
    codes = np.frombuffer(data, np.uint8, size, place).reshape(count, -1)
    centroids, place = _centroids(data, place + size)
    parts = [centroids[number, codes[:, number]] for number in range(codes.shape[1])]
    rows = np.concatenate(parts, axis=1)
    if has_norms:
        norms = np.frombuffer(data, np.uint8, count, place)
        of_norms, place = _centroids(data, place + count)
        rows = of_norms[0, norms] * rows
    return np.ascontiguousarray(rows), place


def _centroids(data: bytes, place: int) -> tuple[Floats, int]:
    dimension, parts, width, _ = _QUANTIZER.unpack_from(data, place)
    place += _QUANTIZER.size
    found = np.frombuffer(data, np.float32, dimension * 256, place)
    return found.reshape(parts, 256, width), place + found.nbytes


def _tree(counts: list[int]) -> Ints:
    """(2n - 1, 2) children of each node of the Huffman tree that fastText builds of the labels' counts; -1 at leaves."""
    size = len(counts)
    total = [*counts, *[10**15] * (size - 1)]
    children = np.full((2 * size - 1, 2), -1, np.int64)
    leaf, node = size - 1, size
    for number in range(size, 2 * size - 1):
        for side in (0, 1):
            if leaf >= 0 and total[leaf] < total[node]:
                children[number, side], leaf = leaf, leaf - 1
            else:
                children[number, side], node = node, node + 1
        total[number] = total[children[number, 0]] + total[children[number, 1]]
    return children


def _places(row_of: Rows, names: list[bytes]) -> tuple[npt.NDArray[Any], ...]:
    """What kernels read by address, and an empty table of words.

    Rows of n-grams; a bit for each that has one, for few do and 250 kB stay in a cache; slots; how many words and rows
    are kept; rows of words that have many; room for those of a word; the words of the dictionary too long for a slot.

    A slot is a cache line: three numbers hold a word's bytes and zeros, for none is in a word; then come, as int32, the
    count of its rows and nine of them, or where they begin if there are more.
    """
    space = np.zeros((SLOTS + 1) * 8, np.uint64)
    begin = -(space.ctypes.data // 8) % 8
    slots = space[begin : begin + SLOTS * 8]
    bits = np.packbits(row_of >= 0, bitorder="little")
    long = b"".join(
        np.array([number, len(name)]).tobytes() + name + bytes(-len(name) % 8)
        for number, name in enumerate(names)
        if len(name) > LONGEST_KEPT
    )
    ended = np.frombuffer(long + np.array([-1, 0]).tobytes(), np.uint8)
    return (
        row_of,
        bits,
        slots,
        np.zeros(2, np.int64),
        np.empty(MANY, np.int32),
        np.empty(OUT, np.int32),
        ended,
    )


def best_two(data: Bytes, offsets: Ints) -> tuple[list[str], Floats]:
    """The best label of each text and the probabilities (n, 2) of the best and the next.

    `data` are the bytes of all texts, `offsets` (n + 1,) where each begins; a line feed is a space.
    """
    model = _model()
    labels = np.empty(len(offsets) - 1, np.int64)
    scores = np.empty((len(offsets) - 1, 2), np.float32)
    with _LOCK:  # the table of words is written to
        hidden = np.empty(DIMENSION, np.float32)
        predict(data, offsets, model.matrix, model.nodes, model.children, model.known, hidden, labels, scores)
    return [model.labels[label] for label in labels.tolist()], np.exp(scores.astype(np.float64)).astype(
        np.float32
    )
