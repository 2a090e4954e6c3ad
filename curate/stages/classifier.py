"""A fastText classifier of one's own: quality, topic, style, whatever its labels say.

`curate train classifier` makes one from labelled texts, and any other supervised fastText model does too, such as those of
DCLM (https://huggingface.co/mlfoundations/fasttext-oh-eli5).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate.engine.stage import BESIDE_RECIPE, Batch, Measured, Options, stage
from curate.lake.digest import digest_column
from curate.models.opening import model_digest, model_labels, open_model
from curate.models.training import probabilities
from schemas.errors import RecipeError, did_you_mean

_DECIMALS = 5  # platforms differ in the seventh


class ClassifierOptions(Options):
    """Which model, which of its labels, and how chance decides."""

    model: Annotated[str, BESIDE_RECIPE] = Field(
        description="path of a supervised fastText model (.bin or .ftz)"
    )
    label: str = Field(description="the label whose probability is the score, without `__label__`")
    alpha: float = Field(
        3,
        gt=0,
        le=100,
        description="shape of the Pareto distribution of `draw`: the larger, the fewer low scores pass",
    )
    seed: int = Field(0, ge=0, description="another seed draws other numbers")


def _needs(options: ClassifierOptions) -> tuple[str, ...]:
    """The model's digest; also where a label that it does not have is told, before the first document."""
    labels = model_labels(Path(options.model))
    if options.label not in labels:
        raise RecipeError(
            f'The model {options.model} has no label "{options.label}".',
            hint=did_you_mean(options.label, labels),
        )
    return (model_digest(Path(options.model)),)


@stage(
    measures=pa.struct([("score", pa.float64()), ("draw", pa.float64())]),
    version=1,
    libraries=("fasttext-community",),
    models=_needs,
)
def classifier(batch: Batch, options: ClassifierOptions) -> Measured:
    """Score a text with a fastText model.

    `score` is the probability of `label` for the whole text with its line ends as spaces, as fastText was called for
    DCLM (Li et al. 2024, arXiv:2406.11794, which keeps a score from 0.018112); 0 for a text without a character that
    can be seen. A rule drops below a threshold (`score < 0.5`), which the card of the model should help to choose.

    `draw` is a number from a Pareto distribution (Lomax form, `alpha`), drawn by the hash of the text and the seed, so
    that the same text draws the same number in every run. `draw <= 1 - score` keeps nearly all texts with a high score
    and a few with a low one, as GPT-3 did with alpha 9 (Brown et al. 2020, arXiv:2005.14165, appendix A) and NeMo
    Curator's `FastTextQualityFilter` does with 3: a text that scores 0 passes once in eight times with 3, once in 512
    with 9.
    """
    scores = probabilities(open_model(Path(options.model)), batch.text.to_pylist(), options.label)
    seen = pc.match_substring_regex(batch.text, r"\S").to_numpy(zero_copy_only=False)
    scores = np.where(seen, scores.round(_DECIMALS), 0.0)
    return Measured({"score": pa.array(scores), "draw": pa.array(_drawn(batch.text, options))})


def _drawn(texts: pa.LargeStringArray, options: ClassifierOptions) -> npt.NDArray[np.float64]:
    """A number of the Lomax distribution for each text: (1 - u)^(-1/alpha) - 1 with u from 0 to below 1."""
    keyed = pa.array(
        [f"{options.seed} {digest}" for digest in digest_column(texts).to_pylist()], pa.large_string()
    )
    hexes = "".join(digest_column(keyed).to_pylist())
    bits = np.frombuffer(bytes.fromhex(hexes), dtype=">u8").reshape(-1, 2)[:, 0] >> np.uint64(11)
    drawn: npt.NDArray[np.float64] = (1 - bits / 2**53) ** (-1 / options.alpha) - 1
    return drawn
