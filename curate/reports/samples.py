"""Examples for the report: a few documents of the corpus, whose texts are masked already."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from curate.lake.lake import Lake
from schemas.report import Sample

_TEXT = 600  # characters shown


def corpus_samples(lake: str | Path, name: str, count: int = 6) -> list[Sample]:
    """The documents of the corpus with the smallest ids: ids are hashes, so that is a fixed random choice."""
    corpus = (
        Lake(lake).read(name, "corpus").select("id", "place", "url", "title", pl.col("text").str.head(_TEXT))
    )
    return [
        Sample(id=row["id"], place=row["url"] or row["place"], title=row["title"], text=row["text"])
        for row in corpus.bottom_k(count, by="id").sort("id").collect().to_dicts()
    ]
