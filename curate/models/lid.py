"""The packaged lid.176.ftz, read by kernels of ours: the same sums in the same order as fastText's, four times as fast.

fastText (Joulin et al. 2016, arXiv:1607.01759 and arXiv:1612.03651) reads a text character by character, makes a
string of each n-gram and looks it up. Here the rows of a word are looked up once and kept.
"""

from __future__ import annotations

import struct
import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from curate.models.opening import LID_176, PREFIX, check_packaged
from curate.text.hashing import hash_bytes, same_bytes
from curate.text.jit import kernel

_HEAD = struct.Struct("<ii12id3iqq")
_QUANTIZER = struct.Struct("<4i")
_BUCKETS, _SHORTEST, _LONGEST = 2_000_000, 2, 4  # of the packaged model: n-grams of 2 to 4 characters
_DIMENSION = 16
_SLOTS = 1 << 19  # of the table of words, a power of two; no more are kept when it is half full
_ROWS, _BYTES = 1 << 23, 1 << 22  # that the words in it may have
_LONG = 64  # bytes of a word that is not worth keeping
_LEAST = np.float32(np.log(1e-5))  # fastText ends a branch of the tree below this score

_LOCK = threading.Lock()

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int32]
Table: TypeAlias = tuple[
    Rows, Floats, Floats, Ints
]  # rows of n-grams, matrix, nodes of the tree, their children
Slots = npt.NDArray[np.uint64]
Words: TypeAlias = tuple[Slots, Ints, Ints, Bytes, Rows]  # slots, ends, used, letters, kept: see `_no_words`


@dataclass(frozen=True)
class _Model:
    """What the file holds, as kernels take it."""

    labels: tuple[str, ...]
    table: Table
    words: Words  # those known so far, and their rows


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
    row_of = np.full(_BUCKETS, -1, np.int32)
    row_of[pairs[:, 0]] = pairs[:, 1] + words
    rows, place = _input_rows(data, place + pairs.nbytes + 1)
    place += 1  # the output is not quantized
    nodes = np.frombuffer(data, np.float32, (entries - words) * _DIMENSION, place + 16).reshape(
        -1, _DIMENSION
    )
    table = (row_of, rows, nodes.copy(), _tree(counts[words:]))
    known = _no_words()
    ends = np.cumsum([0, *map(len, names[:words])])
    _learn(np.frombuffer(b"".join(names[:words]), np.uint8), ends, row_of, known)
    labels = tuple(name.decode().removeprefix(PREFIX) for name in names[words:])
    return _Model(labels, table, known)


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


def _no_words() -> Words:
    slots = np.zeros(_SLOTS, np.uint64)  # upper half of the word's hash, and its number plus 1
    ends = np.zeros((_SLOTS // 2, 4), np.int64)  # of each word: start and end of its bytes, and of its rows
    used = np.zeros(3, np.int64)  # words, bytes and rows
    return slots, ends, used, np.empty(_BYTES, np.uint8), np.empty(_ROWS, np.int32)


def best_two(data: Bytes, offsets: Ints) -> tuple[list[str], Floats]:
    """The best label of each text and the probabilities (n, 2) of the best and the next.

    `data` are the bytes of all texts, `offsets` (n + 1,) where each begins; a line feed is a space.
    """
    model = _model()
    labels = np.empty(len(offsets) - 1, np.int64)
    scores = np.empty((len(offsets) - 1, 2), np.float32)
    with _LOCK:  # the table of words is written to
        _predict(data, offsets, model.table, model.words, labels, scores)
    return [model.labels[label] for label in labels.tolist()], np.exp(scores.astype(np.float64)).astype(
        np.float32
    )


@kernel
def _find(
    data: Bytes, start: int, end: int, slots: Slots, ends: Ints, letters: Bytes
) -> tuple[np.int64, np.int64, np.uint64]:
    """A word's number, or -1; its slot, or the free one where it belongs; its hash."""
    here, there, size = np.int64(data.ctypes.data) + start, np.int64(letters.ctypes.data), end - start
    found = hash_bytes(here, size)
    slot = np.int64(found) & (_SLOTS - 1)
    while slots[slot] != np.uint64(0):
        if slots[slot] >> np.uint64(32) == found >> np.uint64(32):
            word = np.int64(slots[slot] & np.uint64(0xFFFFFFFF)) - 1
            if ends[word, 1] - ends[word, 0] == size and same_bytes(here, there + ends[word, 0], size):
                return word, slot, found
        slot = (slot + 1) & (_SLOTS - 1)
    return np.int64(-1), slot, found


@kernel
def _word_rows(data: Bytes, start: int, end: int, number: int, row_of: Rows, out: Rows) -> int:
    """Rows of a word: its own (`number`, unless it is -1) and those of its n-grams, with < and > around it."""
    count = 0
    if number >= 0:
        out[0] = number
        count = 1
    size = end - start + 2
    for first in range(size):
        byte = 60 if first == 0 else 62 if first == size - 1 else data[start + first - 1]
        if byte & 0xC0 == 0x80:
            continue
        hashed = np.uint32(2166136261)
        at = first
        length = 1
        while at < size and length <= _LONGEST:
            while True:
                byte = 60 if at == 0 else 62 if at == size - 1 else data[start + at - 1]
                hashed = np.uint32((hashed ^ np.uint32(np.int8(byte))) * np.uint32(16777619))
                at += 1
                if at >= size or at == size - 1 or data[start + at - 1] & 0xC0 != 0x80:
                    break
            if length >= _SHORTEST:
                row = row_of[hashed % np.uint32(_BUCKETS)]
                if row >= 0:
                    out[count] = row
                    count += 1
            length += 1
    return count


@kernel
def _keep(
    data: Bytes,
    start: int,
    end: int,
    slot: np.int64,
    hashed: np.uint64,
    rows: Rows,
    slots: Slots,
    ends: Ints,
    used: Ints,
    letters: Bytes,
    kept: Rows,
) -> None:
    """Put a word and its rows into the table."""
    word = used[0]
    slots[slot] = hashed >> np.uint64(32) << np.uint64(32) | np.uint64(word + 1)
    ends[word, 0], ends[word, 2] = used[1], used[2]
    letters[used[1] : used[1] + end - start] = data[start:end]
    kept[used[2] : used[2] + len(rows)] = rows
    used[0], used[1], used[2] = word + 1, used[1] + end - start, used[2] + len(rows)
    ends[word, 1], ends[word, 3] = used[1], used[2]


@kernel
def _learn(data: Bytes, bounds: Ints, row_of: Rows, known: Words) -> None:
    """Put the words of the model's own dictionary into the table; the first is the end of a line."""
    slots, ends, used, letters, kept = known
    for number in range(len(bounds) - 1):
        start, end = bounds[number], bounds[number + 1]
        out = np.empty(3 * (end - start) + 8, np.int32)
        count = 1 if number == 0 else _word_rows(data, start, end, number, row_of, out)
        out[0] = number
        _, slot, hashed = _find(data, start, end, slots, ends, letters)
        _keep(data, start, end, slot, hashed, out[:count], slots, ends, used, letters, kept)


@kernel
def _is_label(data: Bytes, start: int, end: int) -> bool:
    """Whether a word begins with __label__: fastText takes it for one, and passes over it."""
    if end - start < 9:
        return False
    same = 0
    for at in range(9):
        same += data[start + at] == b"__label__"[at]
    return same == 9


@kernel
def _add(hidden: Floats, matrix: Floats, rows: Rows, count: int) -> None:
    for at in range(count):
        row = rows[at]
        for column in range(_DIMENSION):
            hidden[column] += matrix[row, column]


@kernel
def _sum_text(
    data: Bytes, start: int, end: int, row_of: Rows, matrix: Floats, known: Words, hidden: Floats, out: Rows
) -> int:
    """Add up the rows of a text's words, in their order; returns how many."""
    slots, ends, used, letters, kept = known
    count = 0
    at = start
    while at < end:
        while at < end and (data[at] == 32 or 9 <= data[at] <= 13 or data[at] == 0):
            at += 1
        first = at
        while at < end and not (data[at] == 32 or 9 <= data[at] <= 13 or data[at] == 0):
            at += 1
        if at == first or _is_label(data, first, at):
            continue
        size = at - first
        if size <= _LONG:
            word, slot, hashed = _find(data, first, at, slots, ends, letters)
            if word < 0:
                found = _word_rows(data, first, at, -1, row_of, out)
                rows = out[:found]
                if used[0] < _SLOTS // 2 and used[1] + size <= _BYTES and used[2] + found <= _ROWS:
                    _keep(data, first, at, slot, hashed, rows, slots, ends, used, letters, kept)
            else:
                rows = kept[ends[word, 2] : ends[word, 3]]
            _add(hidden, matrix, rows, len(rows))
            count += len(rows)
            if word == 0:  # </s>, at which fastText ends
                return count
        else:
            rows = np.empty(3 * size + 8, np.int32)
            found = _word_rows(data, first, at, -1, row_of, rows)
            _add(hidden, matrix, rows, found)
            count += found
    _add(hidden, matrix, np.zeros(1, np.int32), 1)  # the end of the line
    return count + 1


@kernel
def _two_leaves(hidden: Floats, nodes: Floats, children: Ints, labels: Ints, scores: Floats) -> None:
    """The two most likely leaves of the tree, by its branches in fastText's order."""
    size = len(nodes)
    stack = np.empty(2 * size, np.int64)
    sums = np.empty(2 * size, np.float32)
    best, best_score, next_score = np.int64(0), np.float32(-np.inf), np.float32(-np.inf)
    stack[0], sums[0] = 2 * size - 2, np.float32(0)
    depth = 1
    while depth:
        depth -= 1
        node, score = stack[depth], sums[depth]
        if score < _LEAST or score < next_score:
            continue
        if children[node, 0] < 0:
            if score > best_score:
                best, best_score, next_score = node, score, best_score
            elif score > next_score:
                next_score = score
            continue
        dot = np.float32(0)
        for column in range(_DIMENSION):
            dot += nodes[node - size, column] * hidden[column]
        right = np.float32(1.0 / np.float64(np.float32(1) + np.float32(np.exp(-np.float64(dot)))))
        left = np.float32(1.0 - np.float64(right))
        stack[depth], sums[depth] = children[node, 1], score + np.float32(np.log(np.float64(right) + 1e-5))
        stack[depth + 1], sums[depth + 1] = (
            children[node, 0],
            score + np.float32(np.log(np.float64(left) + 1e-5)),
        )
        depth += 2
    labels[0], scores[0], scores[1] = best, best_score, next_score


@kernel
def _predict(data: Bytes, offsets: Ints, table: Table, known: Words, labels: Ints, scores: Floats) -> None:
    """Labels (n,) and logarithms (n, 2) of the probabilities of the best two."""
    row_of, matrix, nodes, children = table
    out = np.empty(3 * _LONG + 8, np.int32)
    hidden = np.empty(_DIMENSION, np.float32)
    for text in range(len(labels)):
        hidden[:] = 0
        count = _sum_text(data, offsets[text], offsets[text + 1], row_of, matrix, known, hidden, out)
        hidden *= np.float32(1.0 / count)
        _two_leaves(hidden, nodes, children, labels[text : text + 1], scores[text])
