"""How surprising a text is to an n-gram language model (KenLM).

A model of Wikipedia or of a corpus of one's own is made with KenLM's `lmplz` and, best, `build_binary`. The tokenizations
with which CCNet's published models were made (SentencePiece) are not done here: with such a model every word is unknown,
which `unknown` tells.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate.engine.stage import BESIDE_RECIPE, Batch, Measured, Options, stage
from curate.models.opening import model_digest, try_in_child
from schemas.errors import missing_extra

_PACKAGE = "ufal-kenlm"  # wheels of the original for Linux, macOS and Windows; its module is `kenlm`
_DECIMALS = 4
_TRIAL = "import kenlm; kenlm.Model(sys.argv[1]).score('a')"
_HINT = "Give the path of a model that KenLM's lmplz (ARPA) or build_binary wrote, whole."


class PerplexityOptions(Options):
    """Which model, and how a text is spelled for it."""

    model: Annotated[str, BESIDE_RECIPE] = Field(description="path of a KenLM model, ARPA or binary")
    lowercase: bool = Field(False, description="small letters, for a model that was made of such text")


def _needs(options: PerplexityOptions) -> tuple[str, ...]:
    """The model's digest; also where a missing package is told, before the first document."""
    _kenlm()
    return (model_digest(Path(options.model), _HINT),)


@stage(
    measures=pa.struct([("per_word", pa.float64()), ("unknown", pa.float64())]),
    version=1,
    libraries=(_PACKAGE,),
    models=_needs,
)
def perplexity(batch: Batch, options: PerplexityOptions) -> Measured:
    """Measure the perplexity of a text under a KenLM model.

    Each line that is not blank is scored as one sentence, with its begin and end, and its words are what stands between
    white space: a model made of text with punctuation apart needs the text so. `per_word` is 10 to the minus mean log10
    probability of all words and ends of lines, as in CCNet (Wenzek et al. 2020, arXiv:1911.00359), `unknown` the share of
    words that the model does not know. A text without words gives 0 and 0.

    There is no threshold that fits all models: CCNet cuts each language into thirds by its own distribution, Data-Juicer
    drops above 1,500 with its models. Look at the histogram (`curate run` writes one) before choosing.
    """
    model = _open(Path(options.model), model_digest(Path(options.model), _HINT))
    text = pc.utf8_lower(batch.text) if options.lowercase else batch.text
    value, unknown = np.zeros(len(batch)), np.zeros(len(batch))
    for row, document in enumerate(text.to_pylist()):
        lines = [line for line in document.split("\n") if not line.isspace() and line]
        found = [word for line in lines for word in model.full_scores(line.replace("\0", " "))]
        words = len(found) - len(lines)  # the end of each line is scored too
        if words > 0:
            value[row] = 10 ** (-sum(score for score, _, _ in found) / len(found))
            unknown[row] = sum(out for _, _, out in found) / words
    return Measured(
        {"per_word": pa.array(value.round(_DECIMALS)), "unknown": pa.array(unknown.round(_DECIMALS))}
    )


def _kenlm() -> Any:
    try:
        import kenlm
    except ImportError:
        raise missing_extra("perplexity", "The stage perplexity", _PACKAGE) from None
    return kenlm


@lru_cache(maxsize=4)
def _open(path: Path, digest: str) -> Any:
    """The model, opened once a process, after a trial in another; `digest` makes a changed file be read again."""
    kenlm = _kenlm()
    try_in_child(path, _TRIAL, "a KenLM model", _HINT)
    config = kenlm.Config()
    config.show_progress = False
    config.arpa_complain = kenlm.ARPALoadComplain.NONE
    return kenlm.Model(str(path), config)
