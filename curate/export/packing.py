"""Best-fit packing: documents cut into pieces, and pieces laid into sequences of one length.

Pieces go, the longest first, each into the open sequence with the least room that holds it (best-fit
decreasing; Ding et al. 2024, "Fewer Truncations Improve Language Modeling", arXiv:2404.10830). A count sort
orders the pieces and a tree over the room left finds the sequence, so n pieces take O(n log length).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.text.jit import kernel

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Pieces:
    """Runs of token ids, each of one document: all of it, or a part of one that is too long. Columns of n."""

    document: I64  # row of the document
    start: I64  # place of its first id among the ids of all documents
    size: I64  # tokens, at least 1, the end token among them
    ended: Bool  # whether the end token follows the ids, and is not among them

    def at(self, where: slice | I64 | Bool) -> Pieces:
        """Some of them."""
        return Pieces(self.document[where], self.start[where], self.size[where], self.ended[where])


def cut(documents: Pieces, length: int) -> Pieces:
    """Documents that are longer than `length` in pieces of `length` and a rest; the order stays."""
    counts = -(-documents.size // length)
    document = np.repeat(np.arange(len(counts)), counts)
    within = (np.arange(len(document)) - np.repeat(np.cumsum(counts) - counts, counts)) * length
    whole = documents.at(document)
    rest = whole.size - within
    # The last piece bears the end token: of one that is that token alone, no id is copied.
    return Pieces(
        whole.document, whole.start + within, np.minimum(rest, length), whole.ended & (rest <= length)
    )


@kernel
def best_fit(sizes: I64, length: int) -> tuple[I64, I64]:
    """Pack pieces of 1 to `length` tokens; returns the pieces, sequence after sequence, and n + 1 borders.

    Sequence k holds `pieces[borders[k]:borders[k + 1]]`, ascending; sequences are ordered by their first
    piece. So the order of the pieces given is kept as far as packing allows. Of sequences with equal room
    the one that was filled last is taken.
    """
    leaves = 1
    while leaves <= length:
        leaves *= 2
    tree = np.zeros(2 * leaves, np.bool_)  # leaf r: a sequence with room r is open; a node: one below it is
    newest = np.full(length + 1, -1)  # by room: the sequence that came to it last; `older` links the others
    older = np.empty(len(sizes), np.int64)
    chosen = np.empty(len(sizes), np.int64)
    count = 0
    for piece in _longest_first(sizes, length):
        room = _least_room(tree, leaves, sizes[piece])
        if room < 0:
            sequence, room = count, length
            count += 1
        else:
            sequence = newest[room]
            newest[room] = older[sequence]
            if newest[room] < 0:
                _close(tree, leaves + room)
        chosen[piece] = sequence
        room -= sizes[piece]
        if room > 0:
            if newest[room] < 0:
                _open(tree, leaves + room)
            older[sequence] = newest[room]
            newest[room] = sequence
    return _in_order(chosen, count)


@kernel
def _longest_first(sizes: I64, length: int) -> I64:
    """Pieces by falling size, of equal ones the first first."""
    places = np.zeros(length + 2, np.int64)
    for size in sizes:
        places[length - size + 1] += 1
    places = np.cumsum(places)
    ordered = np.empty(len(sizes), np.int64)
    for piece in range(len(sizes)):
        place = length - sizes[piece]
        ordered[places[place]] = piece
        places[place] += 1
    return ordered


@kernel
def _least_room(tree: Bool, leaves: int, size: int) -> int:
    """The least room of at least `size` that an open sequence has; -1 if none has."""
    node = leaves + size
    while not tree[node]:
        while node & 1:  # a right child: on to what is right of its parent
            node >>= 1
        if node == 0:
            return -1
        node += 1
    while node < leaves:
        node = 2 * node if tree[2 * node] else 2 * node + 1
    return node - leaves


@kernel
def _open(tree: Bool, node: int) -> None:
    while node and not tree[node]:
        tree[node] = True
        node >>= 1


@kernel
def _close(tree: Bool, node: int) -> None:
    tree[node] = False
    node >>= 1
    while node and not (tree[2 * node] or tree[2 * node + 1]):
        tree[node] = False
        node >>= 1


@kernel
def _in_order(chosen: I64, count: int) -> tuple[I64, I64]:
    """Pieces by sequence and the borders, the sequences numbered by their first piece."""
    number = np.full(count, -1)
    borders = np.zeros(count + 1, np.int64)
    met = 0
    for sequence in chosen:
        if number[sequence] < 0:
            number[sequence] = met
            met += 1
        borders[number[sequence] + 1] += 1
    borders = np.cumsum(borders)
    free = borders[:count].copy()
    pieces = np.empty(len(chosen), np.int64)
    for piece in range(len(chosen)):
        sequence = number[chosen[piece]]
        pieces[free[sequence]] = piece
        free[sequence] += 1
    return pieces, borders


@kernel
def copy_tokens(ids: I32, start: I64, size: I64, ended: Bool, end: int, place: I64, out: I32) -> None:
    """Write pieces into `out`, each from its place on."""
    for piece in range(len(start)):
        copied = size[piece] - ended[piece]
        for k in range(copied):
            out[place[piece] + k] = ids[start[piece] + k]
        if ended[piece]:
            out[place[piece] + copied] = end


def warm() -> None:
    """Compile the kernels, or load them from the cache, with the types that the writers use."""
    ids = np.frombuffer(np.arange(3, dtype=np.int32).tobytes(), np.int32)  # read-only, as Arrow gives them
    one = np.ones(1, np.int64)
    best_fit(one, 8)
    copy_tokens(ids, one, one, one > 1, 9, one, np.empty(4, np.int32))
