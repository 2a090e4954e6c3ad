"""Options of the steps that need the whole corpus at once."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from curate.dedup.shingles import ShingleOptions
from curate.dedup.sketch import SketchOptions
from curate.engine.stage import Options

Keeper = Literal["first", "newest"]
_KEEPER = "which of equal documents stays: first (source order, then URL or path) or newest (its own date)"


class ExactOptions(Options):
    """`exact`: documents with equal text, byte for byte."""

    keeper: Keeper = Field("first", description=_KEEPER)


class MinhashOptions(SketchOptions):
    """`minhash`: documents whose sets of word n-grams overlap by `threshold` or more, verified exactly."""

    threshold: float = Field(
        0.8, ge=0.3, le=1.0, description="least exact Jaccard similarity of a near-duplicate"
    )
    recall: float = Field(
        0.995, gt=0.5, lt=1.0, description="wanted chance that a pair just at the threshold is compared"
    )
    keeper: Keeper = Field("first", description=_KEEPER)

    @property
    def shingle_options(self) -> ShingleOptions:
        """What the exact similarity depends on."""
        return ShingleOptions(**{name: getattr(self, name) for name in ShingleOptions.model_fields})

    @property
    def sketch_options(self) -> SketchOptions:
        """What the sketch depends on."""
        return SketchOptions(**{name: getattr(self, name) for name in SketchOptions.model_fields})


OPTIONS: dict[str, type[Options]] = {"exact": ExactOptions, "minhash": MinhashOptions}
