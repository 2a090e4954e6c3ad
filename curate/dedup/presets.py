"""Published settings of near-duplicate removal, and which pairs they compare.

A preset has the parameters that its project published; the sketch is ours, so recall follows the same curve with
less spread. Words are ours too: `fold` splits at every symbol where datatrove's tokenizers know abbreviations, and
folds what RefinedWeb's normalization is said to fold. `verify = false` is what the projects did: a shared band was
enough, and all that hung together through bands was one cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from curate.dedup.bands import bands, probability
from curate.dedup.compatible import SketchIdentity
from schemas.errors import UsageError, did_you_mean

_WORDS = {"unit": "words", "ngram": 5, "digits": "keep", "normalization": "fold", "verify": False}
_LOWER = {"ngram": 13, "digits": "keep", "normalization": "lower", "threshold": 0.8, "verify": False}

PRESETS: dict[str, dict[str, Any]] = {
    # datatrove examples/fineweb.py and fineweb-2's configuration: 14 x 8 of 112 hashes, no threshold of their own.
    "fineweb": {**_WORDS, "digits": "collapse", "slots": 128, "bands": 14, "rows": 8},
    "fineweb-2": {**_WORDS, "digits": "collapse", "slots": 128, "bands": 14, "rows": 8},
    # NeMo Curator 1.4: characters of the raw text, 260 hashes.
    "nemo": {
        "unit": "characters", "ngram": 24, "digits": "keep", "normalization": "none",
        "slots": 512, "bands": 20, "rows": 13, "verify": False,
    },
    # Penedo et al. 2023: 9,000 hashes; as 450 x 20, which FineWeb's authors give (the paper's "20 buckets of 450"
    # would find nothing below 0.98).
    "refinedweb": {**_WORDS, "slots": 16384, "bands": 450, "rows": 20},
    # Weber et al. 2024: of its four thresholds (0.7: 14 x 9, 0.8: 9 x 13, 0.9: 5 x 25, 1.0: 1 x 128) the second.
    "redpajama": {**_LOWER, "unit": "words", "slots": 128, "bands": 9, "rows": 13},
    # Cerebras 2023: 13-grams, which its code takes of characters.
    "slimpajama": {**_LOWER, "unit": "characters", "slots": 128, "bands": 9, "rows": 13},
}  # fmt: skip
"""Name -> values of options of the step `minhash`."""

PEER_SKETCHES: dict[str, SketchIdentity] = {
    "fineweb": SketchIdentity(scheme="datatrove", hash="sha1-64", slots=112, seed=1),
    "fineweb-2": SketchIdentity(scheme="datatrove", hash="xxh64", slots=112, seed=1),
    "redpajama": SketchIdentity(scheme="legacy", hash="sha1-32", slots=128, seed=42, unit="words", ngram=13),
    "slimpajama": SketchIdentity(
        scheme="legacy", hash="sha1-32", slots=128, seed=1, unit="characters", ngram=13
    ),
}
"""Name -> what the project's own stored sketches are, for `compatible.signatures`; NeMo's are made on a GPU only."""

SIMILARITIES = tuple(step / 20 for step in range(6, 21))


@dataclass(frozen=True)
class Curve:
    """How likely a pair is to be compared, by its similarity: columns of equal length, for a table or a plot."""

    bands: int
    rows: int
    similarity: tuple[float, ...]
    probability: tuple[float, ...]

    @property
    def half(self) -> float:
        """Similarity at which about half of the pairs are compared: (1 / bands)^(1 / rows), a common "threshold"."""
        return float((1 / self.bands) ** (1 / self.rows))

    def lines(self) -> Iterator[str]:
        """The curve as text, a bar of 40 characters being certainty."""
        yield f"{self.bands} bands of {self.rows} rows; the curve turns at {self.half:.3f}"
        for similarity, chance in zip(self.similarity, self.probability, strict=True):
            yield f"{similarity:.2f} {chance:7.4f} {'#' * round(40 * chance)}".rstrip()


def preset(name: str) -> dict[str, Any]:
    """The options of a preset, a new dictionary.

    Raises:
        UsageError: no such preset.
    """
    if name not in PRESETS:
        raise UsageError(f"There is no preset {name!r}.", hint=did_you_mean(name, PRESETS))
    return dict(PRESETS[name])


def explain(options: str | Mapping[str, Any], similarities: tuple[float, ...] = SIMILARITIES) -> Curve:
    """The curve of a preset, or of options of the step `minhash`: `bands` and `rows`, or `threshold` and `slots`.

    Raises:
        UsageError: no such preset, or the slots are too few for the threshold.

    >>> explain("fineweb", (0.5, 0.8)).probability
    (0.0533, 0.9235)
    """
    asked = preset(options) if isinstance(options, str) else options
    if asked.get("bands"):
        b, r = int(asked["bands"]), int(asked["rows"])
    else:
        b, r = bands(asked.get("threshold", 0.8), asked.get("slots", 128), asked.get("recall", 0.995))
    chances = probability(similarities, b, r).round(4).tolist()
    return Curve(b, r, similarities, tuple(chances))
