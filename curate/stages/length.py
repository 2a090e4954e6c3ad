"""How long a text is."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from curate.engine.stage import Batch, Measured, Options, stage
from curate.text.lines import find_lines
from curate.text.words import find_words


class LengthOptions(Options):
    """Nothing to choose."""


@stage(
    measures=pa.struct([("characters", pa.int64()), ("words", pa.int64()), ("lines", pa.int64())]),
    version=1,
)
def length(batch: Batch, options: LengthOptions) -> Measured:
    """Count characters, words and lines of the text as it is at this step.

    `characters` counts code points (the document column `chars` is the length before any step rewrote the
    text), `words` is as in `gopher_quality`, `lines` counts all lines, empty ones too.
    """
    words = batch.remember("words", lambda: find_words(batch.text))
    lines = batch.remember("lines", lambda: find_lines(batch.text))
    return Measured(
        {
            "characters": pc.utf8_length(batch.text),
            "words": pa.array(words.words),
            "lines": pa.array(lines.lines),
        }
    )
