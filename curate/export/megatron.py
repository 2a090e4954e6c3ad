"""Megatron's `.bin` and `.idx`: one document is one sequence, without packing and padding.

Megatron packs when it reads: it lays documents end to end in an order of its own and cuts training sequences
at the end tokens of its configuration. Sequences that are packed and padded already would be shuffled and cut
again, padding and all.

The format is that of `indexed_dataset` in Megatron-LM (megatron/core/datasets/indexed_dataset.py, version 1).
`.bin` holds the token ids of all documents, nothing else. `.idx`, little-endian:

    9 bytes  "MMIDIDX" and two zeros
    uint64   version, 1
    uint8    type of the ids: 8 is uint16, 4 is int32
    uint64   n, the sequences
    uint64   d + 1, the documents and one
    int32    n lengths in tokens
    int64    n places of the first byte in `.bin`
    int64    d + 1 numbers of the first sequence of each document, and n
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from curate.export.packing import I32, I64, Pieces
from curate.export.token_ids import TokenIds

BATCH_TOKENS = 4_000_000  # laid out in memory at a time
_CODES = {np.dtype("<u2"): 8, np.dtype("<i4"): 4}


def token_type(vocabulary: int) -> np.dtype[np.uint16] | np.dtype[np.int32]:
    """Type of ids in files: as Megatron-LM chooses it (`DType.optimal_dtype`), two bytes below 65,500."""
    return np.dtype("<u2") if vocabulary < 65_500 else np.dtype("<i4")


def write_megatron(documents: Pieces, ids: TokenIds, end: int, vocabulary: int, out: Path) -> None:
    """Write `out`.bin and `out`.idx."""
    kind = token_type(vocabulary)
    with out.with_name(out.name + ".bin").open("wb") as file:
        for part in _batches(documents.size):
            tokens = _end_to_end(documents.at(part), ids, end)
            file.write(tokens.astype(kind, copy=False).data)
    with out.with_name(out.name + ".idx").open("wb") as file:
        count = len(documents.size)
        file.write(b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, _CODES[kind], count, count + 1))
        file.write(documents.size.astype("<i4").data)
        places = np.cumsum(documents.size) - documents.size
        file.write((places * kind.itemsize).astype("<i8").data)
        file.write(np.arange(count + 1, dtype="<i8").data)


def _batches(sizes: I64) -> Iterator[slice]:
    """Slices of documents: those that end in one window of BATCH_TOKENS after the other."""
    window = np.cumsum(sizes) // BATCH_TOKENS
    borders = np.flatnonzero(np.diff(window)) + 1
    for start, stop in pairwise([0, *borders.tolist(), len(sizes)]):
        yield slice(start, stop)


def _end_to_end(documents: Pieces, ids: TokenIds, end: int) -> I32:
    places = np.cumsum(documents.size) - documents.size
    tokens = np.empty(int(documents.size.sum()), np.int32)
    ids.lay(documents, places, end, tokens)
    return tokens
