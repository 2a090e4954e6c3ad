"""Tokens of every text of a batch: what word-based stages share, whoever split the words.

A splitter finds them: `english` exactly as spaCy does, `plain` by white space and punctuation, or a segmenter for
scripts without spaces. The stages that count n-grams, lines and sentences do not care which one it was.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.text.arrow import Bytes, Offsets

Counts = npt.NDArray[np.int64]

# Bits of `Tokens.marks`, which walk a line stretch by stretch: a line begins unseen; a stretch adds the sentences
# that begin in it, by whether an end mark was seen before it, and says whether one is seen after it.
STARTS_UNSEEN = 0  # bits 0 to 13: sentences that begin in the stretch when no end mark is pending before it
STARTS_SEEN = 14  # bits 14 to 27: when one is pending
EXIT_UNSEEN, EXIT_SEEN = 28, 29  # whether one is pending after it, in either case
STARTS = (1 << 14) - 1


@dataclass(frozen=True)
class Tokens:
    """Tokens of n texts, and the stretches between white space that they lie in.

    The tokens of text i are `first[i]` to `first[i + 1]`, in order. Token t is the bytes `start[t]` to `start[t + 1]`
    of `compact`: the texts without their white space, one after the other. Two tokens have the same id when, and
    only when, they are the same string.

    The stretches of text i are `stretch_first[i]` to `stretch_first[i + 1]`; stretch s is the bytes
    `stretch_start[s]` to `stretch_end[s]` of its text, counted from the text's first byte.
    """

    first: Offsets  # int64 (n + 1)
    id: npt.NDArray[np.uint32]  # (tokens)
    start: Offsets  # int64 (tokens + 1), into `compact`
    compact: Bytes
    symbols: Counts  # (n) tokens of punctuation and control characters only (datatrove's PUNCTUATION_SET)
    length: Counts  # (n) code points in the tokens that are no symbols
    lettered: Counts  # (n) tokens with a letter (str.isalpha)
    stretch_first: Offsets  # int64 (n + 1)
    stretch_start: npt.NDArray[np.int32]  # (stretches)
    stretch_end: npt.NDArray[np.int32]
    marks: npt.NDArray[np.uint32]  # (stretches) what they do to the count of sentences

    @property
    def tokens(self) -> Counts:
        """Tokens of each text."""
        return np.diff(self.first)
