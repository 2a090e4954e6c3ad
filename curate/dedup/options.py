"""Options of the steps that need the whole corpus at once."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from curate.dedup.bands import bands
from curate.dedup.containment import least_jaccard
from curate.dedup.presets import preset
from curate.dedup.shingles import ShingleOptions
from curate.dedup.sketch import SketchOptions
from curate.dedup.weights import Weights, read_weights
from curate.engine.stage import Options
from schemas.errors import UsageError

NAMED_KEEPERS = ("first", "stable", "longest", "newest")
NORMALIZED, TEXT = "normalized", "text"


class CorpusOptions(Options):
    """What all steps that compare documents with each other have."""

    keeper: str = Field(
        "first",
        description="which of several documents stays: `first` (source order, then URL or path), `stable` (what the "
        "version before kept, then first), `longest`, `newest` (its own date), or an expression such as "
        "`gopher_quality.words DESC`; what is equal by it is decided as by first",
    )
    prefer: tuple[str, ...] = Field(
        (),
        description="sources whose documents stay before those of others, in this order, whatever the keeper",
    )
    against: tuple[str, ...] = Field(
        (), description="sources whose documents are never dropped here, only compared with"
    )
    within: str = Field(
        "", description="column: only documents with the same value of it are compared, such as `dump`"
    )
    weights: str | dict[str, float] = Field(
        "",
        validate_default=True,
        description="how often a kept document is to be read in training, by how many it stands for: `fineweb-2`, or "
        "least numbers with their weights, such as { 1 = 1, 2 = 2, 100 = 0.5 }",
    )

    @field_validator("weights")
    @classmethod
    def _readable(cls, value: str | dict[str, float]) -> str | dict[str, float]:
        read_weights(value)
        return value

    @property
    def weight_table(self) -> Weights:
        """`weights` as two arrays; empty where none are given."""
        return read_weights(self.weights)


class ExactOptions(CorpusOptions):
    """`exact`: documents that are equal in their text, or in a column."""

    by: str = Field(
        TEXT,
        description="what is equal: `text` (byte for byte), `normalized` (the words, without case, accents and "
        "punctuation; digits count), or a column such as `url`; documents without a value are all kept",
    )


class MinhashOptions(SketchOptions, CorpusOptions):
    """`minhash`: documents whose sets of word n-grams overlap by `threshold` or more, verified exactly."""

    preset: str = Field(
        "",
        description="published parameters, which other options given here override: `fineweb`, `fineweb-2`, `nemo`, "
        "`refinedweb`, `redpajama`, `slimpajama`",
    )
    threshold: float = Field(
        0.8,
        ge=0.3,
        le=1.0,
        description="least exact similarity of a near-duplicate, in the measure of `similarity`",
    )
    similarity: Literal["jaccard", "containment"] = Field(
        "jaccard",
        description="of two sets of shingles: what both have as a share of what either has (`jaccard`), or of the "
        "smaller one (`containment`: 1 for a text that stands in a longer one). With `containment` the `keeper` is "
        "`longest` if none is given",
    )
    longer: float = Field(
        2.0,
        ge=1,
        le=100,
        description="with `containment`: a longer text is found with the wanted recall up to so many times the length "
        "of the shorter one, and less surely beyond. More than 2.6 needs more `slots`, or compares far more pairs",
    )
    recall: float = Field(
        0.995, gt=0.5, lt=1.0, description="wanted chance that a pair just at the threshold is compared"
    )
    bands: int = Field(0, ge=0, le=1024, description="bands of the sketch; 0: as threshold and recall need")
    rows: int = Field(0, ge=0, le=1024, description="slots in a band; 0: as threshold and recall need")
    verify: bool = Field(
        True,
        description="compare candidates exactly, and drop only what is like a document that stays; `false` drops all "
        "that hangs together through equal bands, as published pipelines do, alike or not",
    )
    error_sample: int = Field(
        500,
        ge=0,
        le=100_000,
        description="documents on which the step measures how much it misses, and whether what it drops is right; 0: none",
    )

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, given: Any) -> Any:
        name = given.get("preset") if isinstance(given, dict) else ""
        if not name:
            return given
        return {**preset(name), **given}

    @model_validator(mode="before")
    @classmethod
    def _with_keeper(cls, given: Any) -> Any:
        contained = isinstance(given, dict) and given.get("similarity") == "containment"
        return {"keeper": "longest", **given} if contained else given

    @model_validator(mode="after")
    def _bands_fit(self) -> Self:
        if self.similarity == "containment" and not self.verify:
            raise ValueError(
                "containment is known only of pairs that are compared exactly: give verify = true, and no preset that "
                "has it otherwise"
            )
        if bool(self.bands) != bool(self.rows):
            raise ValueError("bands and rows are given both, or neither")
        b, r = self.band_shape
        if b * r > self.slots:
            raise ValueError(f"{b} bands of {r} rows need {b * r} slots, and a sketch has {self.slots}")
        return self

    @property
    def band_shape(self) -> tuple[int, int]:
        """Bands and rows in each."""
        if self.bands:
            return self.bands, self.rows
        try:
            return bands(self.floor, self.slots, self.recall)
        except UsageError as error:
            if self.similarity == "jaccard":
                raise
            raise UsageError(
                f"{self.threshold:g} of a text in one {self.longer:g} times as long is a Jaccard similarity of {self.floor:.3f}, "
                f"which {self.slots} slots cannot find with a probability of {self.recall:g}.",
                hint="Give a lower longer or a higher threshold, or more slots in the recipe.",
            ) from error

    @property
    def floor(self) -> float:
        """Least Jaccard similarity that bands and sketches look for."""
        return self.jaccard_of(self.threshold)

    def jaccard_of(self, similarity: float) -> float:
        """Least Jaccard similarity of pairs of this similarity, with containment of those up to `longer`."""
        return similarity if self.similarity == "jaccard" else least_jaccard(similarity, self.longer)

    @property
    def shingle_options(self) -> ShingleOptions:
        """What the exact similarity depends on."""
        return ShingleOptions(**{name: getattr(self, name) for name in ShingleOptions.model_fields})

    @property
    def sketch_options(self) -> SketchOptions:
        """What the sketch depends on."""
        return SketchOptions(**{name: getattr(self, name) for name in SketchOptions.model_fields})


class SemanticOptions(CorpusOptions):
    """`semantic`: documents that say the same in other words, by the cosine of their vectors."""

    threshold: float = Field(
        0.95,
        gt=0,
        le=1,
        description="least cosine of two documents of which one goes; it depends on the embedder",
    )
    embedder: str = Field(
        "all-MiniLM-L6-v2",
        description="a sentence-transformers model, as in `[index]`: a folder, or a name on the Hugging Face hub. The "
        "default is English",
    )


OPTIONS: dict[str, type[CorpusOptions]] = {
    "exact": ExactOptions,
    "minhash": MinhashOptions,
    "semantic": SemanticOptions,
}
REASONS = {"exact": "duplicate", "minhash": "near_duplicate", "semantic": "semantic_duplicate"}
FINDERS = {
    "exact": "curate.engine.copies:find",
    "minhash": "curate.engine.near:find",
    "semantic": "indexing.semantic:find",
}
