"""Abuse, hate and insults in English, by a small model that was made for tweets and comments.

The model (1.3 MB, its card is docs/models.md) reads passages: lines, and the sentences of long lines. It tells insults
from neutral prose well, and hate from mere vulgarity not at all, so there is one score. It was trained on tweets in which
white annotators took African-American English for offensive more often than other English (Sap et al. 2019, ACL
P19-1163), and has learned that; it reacts to words, so quotations, literature and texts about abuse score as abuse does.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

from curate.engine.stage import Batch, Measured, Options, stage
from curate.models.opening import TOXICITY, model_digest, open_model
from curate.models.toxicity import LABEL, find_passages
from curate.models.training import probabilities

_DECIMALS = 5  # platforms differ in the seventh
_TOXIC = 0.8  # six of a thousand passages of neutral documents score this: see docs/models.md
_ENGLISH = r"^(?:en|eng(?:_.*)?)$"


class ToxicityOptions(Options):
    """Nothing to choose."""


@stage(
    measures=pa.struct([("score", pa.float64()), ("share", pa.float64())]),
    version=1,
    reads=("langid.language",),
    libraries=("fasttext-community",),
    models=lambda _: (model_digest(TOXICITY),),
)
def toxicity(batch: Batch, options: ToxicityOptions) -> Measured:
    """Score how abusive an English text is.

    `score` is the probability that its worst passage is toxic, `share` the share of its words that stand in passages
    with a score from 0.8. Both are 0 in other languages (by `langid`), which the model cannot read. A long text has some
    passage that is taken for toxic by mistake: for documents drop by `share`, as `share > 0.1`, for comments and
    messages by `score`. Look at what a rule drops before trusting it (`curate show`), and see docs/models.md for its
    precision and recall, and whom it wrongs.
    """
    texts = pl.Series("text", batch.text)
    english = pl.Series(batch.columns["langid.language"]).str.contains(_ENGLISH)
    passages = find_passages(pl.select(pl.when(english).then(texts).otherwise(pl.lit(""))).to_series())
    given = probabilities(open_model(TOXICITY), passages.get_column("passage").to_list(), LABEL)
    judged = passages.with_columns(score=pl.Series(given.round(_DECIMALS), dtype=pl.Float64))
    toxic = pl.col("size").filter(pl.col("score") >= _TOXIC).sum() / pl.col("size").sum()
    found = judged.group_by("row").agg(pl.col("score").max(), share=toxic)
    score, share = np.zeros(len(batch)), np.zeros(len(batch))
    rows = found.get_column("row").to_numpy()
    score[rows], share[rows] = found.get_column("score").to_numpy(), found.get_column("share").to_numpy()
    return Measured({"score": pa.array(score), "share": pa.array(share)})
