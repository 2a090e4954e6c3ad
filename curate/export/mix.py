"""Which split a document goes to, and how often the train split holds it.

All is a function of the seed and of what a document is, never of the order in which documents lie.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import polars as pl

from curate.export.draws import draw
from schemas.errors import RecipeError, did_you_mean
from schemas.export import TRAIN, ExportOptions
from schemas.recipe import Recipe


@dataclass(frozen=True)
class Portion:
    """What the mixture took of a source for the train split."""

    source: str  # "" where a budget was given without weights: all sources are one
    weight: float
    available: int  # tokens
    wanted: int
    tokens: int  # taken, repetitions counted
    documents: int  # different ones
    epochs: int  # 1 also where only a part was drawn


def split_names(options: ExportOptions) -> list[str]:
    """The splits of an export, train first."""
    return [TRAIN, *sorted(options.splits)]


def with_splits(rows: pl.DataFrame, options: ExportOptions) -> pl.DataFrame:
    """Adds `split` to rows with cluster: by the hash of the cluster, so that near-duplicates stay together."""
    names = split_names(options)
    shares = accumulate(options.splits[name] for name in names[1:])
    borders = np.array([int(share * 2**64) for share in shares], np.uint64)
    found = np.searchsorted(borders, draw(options.seed, "split", rows.get_column("cluster")), side="right")
    number = (found + 1) % len(names)  # above the last border lies train
    return rows.with_columns(split=pl.Series(names, dtype=pl.Enum(names)).gather(number))


def check_mix(recipe: Recipe, options: ExportOptions, place: str) -> None:
    """Find weights of sources that are none, and a mixture or a budget without tokens to count.

    Raises:
        RecipeError: with the nearest name, or what to add.
    """
    for source in options.mix:
        if source not in recipe.sources:
            raise RecipeError(
                f'{place} mix names the source "{source}", which the recipe does not have.',
                hint=did_you_mean(source, recipe.sources),
            )
    if (options.mix or options.budget) and recipe.tokens is None:
        raise RecipeError(
            f"{place} {'mix' if options.mix else 'budget'} counts tokens, and the recipe makes none.",
            hint="Add [tokens.tokenize] to the recipe, then curate run.",
        )


def with_copies(rows: pl.DataFrame, options: ExportOptions, place: str) -> tuple[pl.DataFrame, list[Portion]]:
    """Adds `copies` to rows with id, ordinal, source, split and tokens: how often each is taken, 0 for not at all.

    A source that has fewer tokens than its weight asks for is repeated by whole epochs, the number that comes
    nearest; of another, documents are drawn until it has enough. Splits other than train hold the documents of
    the sources of the mixture once.

    Raises:
        RecipeError: a source of the mixture has no token in train.
    """
    if not options.mix and not options.budget:
        return rows.with_columns(copies=pl.lit(1, pl.Int32)), []
    group = pl.col("source").cast(pl.String) if options.mix else pl.lit("")
    rows = rows.with_columns(
        _group=group, _draw=pl.Series(draw(options.seed, "draw", rows["id"], rows["ordinal"]))
    )
    train = rows.filter(pl.col("split") == TRAIN).sort("_draw", "id", "ordinal")
    train = train.select("id", "ordinal", "_group", "tokens")
    weights = options.mix or {"": 1.0}
    available = dict(train.group_by("_group").agg(pl.col("tokens").sum()).iter_rows())
    for source in weights:
        if not available.get(source):
            what = f"the source {source}" if source else "the corpus"
            raise RecipeError(
                f"{place} mixes tokens, and {what} has none in the train split.",
                hint="Take it out of mix, or see what where, decontaminate and splits leave of it.",
            )
    wanted = _wanted(weights, available, options.budget)
    taken, portions = [], []
    for source in sorted(weights):
        part, portion = _portion(
            train.filter(pl.col("_group") == source), wanted[source], weights[source], source
        )
        taken.append(part)
        portions.append(portion)
    rows = rows.join(pl.concat(taken), on=["id", "ordinal"], how="left", maintain_order="left")
    once = (pl.col("split") != TRAIN) & pl.col("_group").is_in(list(weights))
    copies = pl.when(once).then(1).otherwise(pl.col("copies").fill_null(0)).cast(pl.Int32)
    return rows.with_columns(copies=copies).drop("_group", "_draw"), portions


def _wanted(weights: dict[str, float], available: dict[str, int], budget: int) -> dict[str, float]:
    """Tokens of each source: its share of the budget, or of as many as no source has to repeat."""
    whole = math.fsum(weights.values())
    tokens = budget or min(available[source] * whole / weight for source, weight in weights.items())
    return {source: tokens * weight / whole for source, weight in weights.items()}


def _portion(rows: pl.DataFrame, wanted: float, weight: float, source: str) -> tuple[pl.DataFrame, Portion]:
    """Rows of one source in the order of drawing, with `copies` of those that are taken."""
    available = int(rows.get_column("tokens").sum())
    if wanted > available:
        epochs = max(1, math.floor(wanted / available + 0.5))
    else:
        epochs = 1
        before = pl.col("tokens").cum_sum() - pl.col("tokens")
        rows = rows.filter(before < wanted)
    tokens = int(rows.get_column("tokens").sum()) * epochs
    taken = rows.select("id", "ordinal", copies=pl.lit(epochs, pl.Int32))
    return taken, Portion(source, weight, available, round(wanted), tokens, len(rows), epochs)
