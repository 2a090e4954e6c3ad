"""Token ids of the documents of a shard, in the chunks in which Arrow holds them: they are never copied together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.export.packing import I32, I64, Pieces, copy_tokens
from schemas.errors import LakeError


@dataclass(frozen=True)
class TokenIds:
    """Ids by chunk; places count through all of them."""

    chunks: list[I32]
    borders: I64  # places where the chunks begin, and the end of the last
    offsets: I64  # places where the documents begin, and the end of the last

    def whole_documents(self, end: int) -> Pieces:
        """Each document as one piece, with the token `end` put after it, unless that is its last id already.

        A document without ids gets no piece.
        """
        sizes = np.diff(self.offsets)
        document = np.flatnonzero(sizes)
        start, sizes = self.offsets[document], sizes[document]
        ended = np.empty(len(document), np.bool_)
        last = start + sizes - 1
        for first, after, ids in zip(self.borders, self.borders[1:], self.chunks, strict=False):
            here = slice(*np.searchsorted(last, (first, after)))
            ended[here] = ids[last[here] - first] != end
        return Pieces(document, start, sizes + ended, ended)

    def lay(self, pieces: Pieces, places: I64, end: int, out: I32) -> None:
        """Write pieces into `out`, each from its place on."""
        # An end token alone may begin where the last chunk ends.
        chunk = np.searchsorted(self.borders[:-1], pieces.start, side="right") - 1
        for number in np.unique(chunk):
            here = np.flatnonzero(chunk == number)
            part = pieces.at(here)
            start = part.start - self.borders[number]
            copy_tokens(self.chunks[number], start, part.size, part.ended, end, places[here], out)

    def check(self, vocabulary: int, names: pa.ChunkedArray) -> None:
        """See that the tokenizer knows every id.

        Raises:
            LakeError: an id below 0 or from `vocabulary` on.
        """
        for first, ids in zip(self.borders, self.chunks, strict=False):
            if not len(ids) or (ids.min() >= 0 and ids.max() < vocabulary):
                continue
            place = int(np.flatnonzero((ids < 0) | (ids >= vocabulary))[0])
            document = int(np.searchsorted(self.offsets, first + place, side="right")) - 1
            raise LakeError(
                f"Document {names[document]} has the token id {ids[place]}; the tokenizer has ids from 0 to "
                f"{vocabulary - 1}.",
                hint="curate lake verify finds damaged files of the table tokens.",
            )


def token_ids(column: pa.ChunkedArray) -> TokenIds:
    """The ids of a column list<int32>, without a copy."""
    lists = [(chunk.values.to_numpy(), chunk.offsets.to_numpy().astype(np.int64)) for chunk in column.chunks]
    chunks = [values[offsets[0] : offsets[-1]] for values, offsets in lists]
    borders = np.cumsum([0, *map(len, chunks)])
    offsets = [
        offsets[1:] - offsets[0] + border for (_, offsets), border in zip(lists, borders, strict=False)
    ]
    return TokenIds(chunks, borders, np.concatenate([[0], *offsets]).astype(np.int64))
