"""Passages that stand in other documents too: cut out, or told."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.dedup.passages import PassageOptions
from curate.dedup.spans import SpanOptions
from curate.dedup.units import cut
from curate.dedup.written_ranges import read_ranges
from curate.engine.stage import Batch, Measured, Options, stage


class RepeatedPassagesOptions(Options):
    """Which passages count as repeated, and what becomes of them."""

    find: Literal["lines", "paragraphs", "spans"] = Field(
        "lines",
        description="`lines` and `paragraphs` that stand in many documents, or `spans` of bytes that stand in an earlier one",
    )
    edit: Literal["cut", "mark"] = Field("cut", description="take them out, or only tell where they are")
    documents: int = Field(
        7, ge=2, description="lines and paragraphs: documents that one stands in, at least"
    )
    shortest: int = Field(20, ge=1, description="lines and paragraphs: bytes of the shortest")
    digits: Literal["keep", "collapse"] = Field(
        "keep", description="lines and paragraphs: `collapse` takes any run of digits for the same"
    )
    keep: Literal["first", "none"] = Field(
        "first", description="lines and paragraphs: whether they stay in the first document that has them"
    )
    least: int = Field(200, ge=8, le=1 << 20, description="spans: bytes of the shortest")
    ends: Literal["characters", "sentences", "lines"] = Field(
        "sentences", description="spans: what is never cut in two"
    )
    memory_mb: int = Field(1024, ge=1, description="most megabytes for the table of what was seen")

    @property
    def spans(self) -> SpanOptions:
        """What `find_spans` takes."""
        return SpanOptions(least=self.least, ends=self.ends, memory_mb=self.memory_mb)

    @property
    def passages(self) -> PassageOptions:
        """What `PassageCounts` takes."""
        return PassageOptions(
            unit="line" if self.find == "lines" else "paragraph", least=self.documents, shortest=self.shortest,
            digits=self.digits, keep=self.keep, memory_mb=self.memory_mb,
        )  # fmt: skip


@stage(
    measures=pa.struct(
        [
            ("passages", pa.int32()),
            ("repeated_bytes", pa.int64()),
            ("repeated_share", pa.float64()),
            ("places", pa.string()),
        ]
    ),
    version=1,
    reads=("passages",),
    rewrites=True,
)
def repeated_passages(batch: Batch, options: RepeatedPassagesOptions) -> Measured:
    """Take out what stands in other documents, too: menus and notices, or whole copied passages.

    The table finds the passages of all documents that reach it, in the order of sources and places, before this step
    sees them one by one: so the step is the only one of its table. `lines` and `paragraphs` stay in the first document
    that has them; of `spans`, equal byte for byte over at least `least` bytes (Lee et al. 2022, arXiv:2107.06499), the
    first copy stays. Nothing is cut across the border of a document or within a character; spans not within a sentence.
    `places` are bytes of the text as it reached the table: `12-340,900-1200`.
    """
    places = batch.columns["passages"]
    ranges = read_ranges(places)
    left, lost = cut(batch.text, ranges)
    sizes = (
        np.diff(np.frombuffer(batch.text.buffers()[1], np.int64)[: len(batch) + 1]) if len(batch) else lost
    )
    measures = {
        "passages": pa.array(np.bincount(ranges.row, minlength=len(batch)).astype(np.int32)),
        "repeated_bytes": pa.array(lost),
        "repeated_share": pa.array(lost / np.maximum(sizes, 1)),
        "places": places.cast(pa.string()),
    }
    return Measured(measures, left if options.edit == "cut" else None)
