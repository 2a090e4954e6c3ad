"""Sequences of token ids of one length: Parquet, memory maps of NumPy, and Megatron's files.

After each document comes the end token, unless its ids end with it already; what is longer than a sequence
is cut into pieces or left out (`long`). Pieces are packed shard by shard (best fit: packing.py). Sequences
come in the order of their first piece in the shuffle, and the pieces of a sequence in that order, too; what
they leave free is padding.

Parquet, a row is a sequence:

    input_ids     list<int32> of `length`
    position_ids  list<int32> of `length`: from 0 in each piece, and in the padding
    loss_mask     list<uint8> of `length`: 1 on ids of documents and on end tokens, 0 on padding
    seq_lengths   list<int32>: tokens of each piece, and of the padding where there is some; their sum is `length`
    documents     list<string>: ids of the documents that the pieces are of; one fewer than `seq_lengths` where
                  there is padding
    starts        list<int32>: token of its document with which each piece begins, 0 but for parts of long ones,
                  which may lie in any sequence

`seq_lengths` is what TRL calls it and what flash attention needs: [0, *cumsum] is its cu_seqlens, over a whole
batch too, since padding is a run of its own. The first token of a piece has no context to be predicted from:
where a loss must not count it, it is at position_ids = 0. Lists are plain, not of fixed size: `datasets`,
Polars and torch read these alike, and Parquet has no others.

NumPy, opened by `np.load(file, mmap_mode="r")`: `….tokens.npy`, (sequences, length) of uint16, or int32 for a
vocabulary of 65,500 and more; `….boundaries.npy`, (pieces, 2) of int64: first token of each piece and the one
after its last, counted through all sequences of the file. What lies in no piece is padding.

Megatron: see megatron.py; whole documents, without packing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from curate.export.megatron import token_type, write_megatron
from curate.export.packing import I32, I64, Pieces, best_fit, cut, warm
from curate.export.token_ids import TokenIds, token_ids
from curate.export.written import Written, counts
from curate.lake.parquet import write_parquet
from schemas.errors import RecipeError
from schemas.export import PackedExport

if TYPE_CHECKING:
    from curate.engine.session import Session
    from curate.lake.runs import Head

COLUMNS = ("ids",)
SCHEMA = pa.schema(
    [
        ("input_ids", pa.list_(pa.int32())),
        ("position_ids", pa.list_(pa.int32())),
        ("loss_mask", pa.list_(pa.uint8())),
        ("seq_lengths", pa.list_(pa.int32())),
        ("documents", pa.list_(pa.string())),
        ("starts", pa.list_(pa.int32())),
    ]
)
_BATCH_TOKENS = 2_000_000  # laid out in memory at a time


@dataclass(frozen=True)
class _Sequences:
    """Pieces in the order of the sequences that they are packed into."""

    pieces: Pieces
    borders: I64  # of each sequence among the pieces, n + 1
    places: I64  # of each piece among all tokens, padding counted
    length: int

    def __len__(self) -> int:
        return len(self.borders) - 1

    def batches(self) -> Iterator[_Sequences]:
        """The sequences in batches of about _BATCH_TOKENS, at least one each."""
        step = max(_BATCH_TOKENS // self.length, 1)
        for first in range(0, len(self), step):
            borders = self.borders[first : first + step + 1]
            inside = slice(borders[0], borders[-1])
            yield _Sequences(
                self.pieces.at(inside),
                borders - borders[0],
                self.places[inside] - first * self.length,
                self.length,
            )

    def tokens(self, ids: TokenIds, context: dict[str, Any]) -> I32:
        """All ids, (sequences · length)."""
        out = np.full(len(self) * self.length, context["pad"], np.int32)
        ids.lay(self.pieces, self.places, context["end"], out)
        return out


def prepare(session: Session, head: Head, options: PackedExport) -> dict[str, Any]:
    """The end and padding token and the size of the vocabulary.

    Raises:
        RecipeError: there are no token ids of this tokenizer, or it has no end token.
    """
    from curate.engine.tokens import tokenize_options, tokens_fingerprint
    from curate.export.special_tokens import special_tokens

    recipe = session.plan.recipe
    stands = head.fingerprints.get(session.key("tokens"))
    if recipe.tokens is None or stands is None:
        missing = "[tokens.tokenize] to the recipe and run it" if recipe.tokens is None else "them"
        raise RecipeError(
            f"A packed export is made of token ids, and {session.name} has none in the lake.",
            hint=f"Add {missing}: curate run.",
        )
    tokenizer = tokenize_options(recipe)
    if tokens_fingerprint(tokenizer) != stands:
        raise RecipeError(
            "The token ids in the lake are of another tokenizer than [tokens.tokenize] names now.",
            hint="curate run makes them again.",
        )
    found = special_tokens(tokenizer, options.end)
    warm()
    return {
        "vocabulary": found.vocabulary,
        "end": found.end_id,
        "pad": found.pad_id,
        "facts": {"end_token": found.end, "padding_token": found.pad, "vocabulary": found.vocabulary},
    }


def write(rows: pa.Table, options: PackedExport, out: Path, context: dict[str, Any]) -> Written:
    """Write one shard: `out`.parquet, `out`.tokens.npy and .boundaries.npy, `out`.bin and .idx.

    A shard of which nothing is left gets a Parquet file without rows and no other.

    Raises:
        LakeError: an id that the tokenizer does not have.
    """
    ids = token_ids(rows["ids"])
    ids.check(context["vocabulary"], rows["id"])
    found = ids.whole_documents(context["end"])
    too_long = found.size > options.length
    documents = found.at(~too_long) if options.long == "drop" else found
    taken = len(documents.size)
    dropped = {"no_tokens": len(rows) - len(found.size), "too_long": len(found.size) - taken}
    numbers: dict[str, float] = {}
    sequences = taken
    tokens = int(documents.size.sum())
    if set(options.formats) != {"megatron"}:
        packed = _pack(documents, options.length)
        sequences, places = len(packed), len(packed) * options.length
        numbers = {"padding_tokens": places - tokens, "all_tokens": places}
        numbers["documents_cut"] = int(too_long.sum()) if options.long == "split" else 0
    if "parquet" in options.formats:
        write_parquet(_record_batches(packed, ids, rows, context), SCHEMA, _named(out, ".parquet"))
    if "npy" in options.formats and taken:
        _write_npy(packed, ids, context, out)
    if "megatron" in options.formats and taken:
        write_megatron(documents, ids, context["end"], context["vocabulary"], out)
    taken_rows = rows.select(["language", "source"]).take(pa.array(documents.document))
    return Written(
        rows=sequences,
        taken=taken,
        tokens=tokens,
        dropped={reason: count for reason, count in dropped.items() if count},
        numbers=numbers,
        languages=counts(taken_rows["language"]),
        sources=counts(taken_rows["source"]),
    )


def _named(out: Path, ending: str) -> Path:
    return out.with_name(out.name + ending)


def _pack(documents: Pieces, length: int) -> _Sequences:
    pieces = cut(documents, length)
    order, borders = best_fit(pieces.size, length)
    pieces = pieces.at(order)
    ends = np.cumsum(pieces.size)
    begun = np.append(0, ends)[borders[:-1]]  # tokens in earlier sequences, without padding
    numbers = np.arange(len(borders) - 1)
    places = ends - pieces.size + np.repeat(numbers * length - begun, np.diff(borders))
    return _Sequences(pieces, borders, places, length)


def _record_batches(
    sequences: _Sequences, ids: TokenIds, rows: pa.Table, context: dict[str, Any]
) -> Iterator[pa.RecordBatch]:
    names = rows["id"].combine_chunks().cast(pa.string())
    for batch in sequences.batches():
        count, length = len(batch), batch.length
        padding = length - np.add.reduceat(batch.pieces.size, batch.borders[:-1])
        padded = padding > 0
        runs = np.insert(batch.pieces.size, batch.borders[1:][padded], padding[padded])
        learned = np.insert(np.ones(len(batch.pieces.size), np.uint8), batch.borders[1:][padded], 0)
        begun = (np.cumsum(runs) - runs).astype(np.int32)
        positions = np.arange(count * length, dtype=np.int32) - np.repeat(begun, runs)
        whole = np.arange(count + 1) * length
        run_borders = batch.borders + np.append(0, np.cumsum(padded))
        document = batch.pieces.document
        starts = batch.pieces.start - ids.offsets[document]
        yield pa.RecordBatch.from_arrays(
            [
                _lists(whole, pa.array(batch.tokens(ids, context))),
                _lists(whole, pa.array(positions)),
                _lists(whole, pa.array(np.repeat(learned, runs))),
                _lists(run_borders, pa.array(runs.astype(np.int32))),
                _lists(batch.borders, names.take(pa.array(document))),
                _lists(batch.borders, pa.array(starts.astype(np.int32))),
            ],
            schema=SCHEMA,
        )


def _lists(offsets: I64, values: pa.Array) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), values)


def _write_npy(sequences: _Sequences, ids: TokenIds, context: dict[str, Any], out: Path) -> None:
    kind = token_type(context["vocabulary"])
    with _named(out, ".tokens.npy").open("wb") as file:
        # The header first, then batch by batch: np.save would need all of it in memory.
        shape = (len(sequences), sequences.length)
        header = {"descr": kind.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for batch in sequences.batches():
            file.write(batch.tokens(ids, context).astype(kind, copy=False).data)
    places = sequences.places
    np.save(_named(out, ".boundaries.npy"), np.stack([places, places + sequences.pieces.size], axis=1))
