"""The texts, and steps of a packaged recipe run over them in this process, as a run measures and judges them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import polars as pl
import pyarrow as pa

from curate.engine.judge import judge
from curate.engine.plan import Plan, make_plan
from curate.engine.shard import MAX_CHARS, MAX_ROWS, measure_texts
from curate.engine.stage import Batch
from curate.stages.langid import LangidOptions, langid
from schemas.recipe import build_recipe

SEED = 1  # of every sample


@cache
def documents_of(file: Path) -> pl.DataFrame:
    """Documents of a file in an order drawn by seed: id and text."""
    texts = _read(file).to_frame("text").sample(fraction=1, shuffle=True, seed=SEED)
    return texts.with_row_index("id").cast({"id": pl.String})


@cache
def english_of(file: Path) -> pl.Series:
    """The English ones of its texts, in an order drawn by seed."""
    texts = _read(file)
    found = langid(Batch(texts.to_arrow().cast(pa.large_string())), LangidOptions()).measures
    sure = (pl.Series(found["language"]) == "en") & (pl.Series(found["score"]) > 0.65)
    return texts.filter(sure).sample(fraction=1, shuffle=True, seed=SEED)


def _read(file: Path) -> pl.Series:
    if file.suffix == ".parquet":
        return pl.read_parquet(file, columns=["text"]).get_column("text")
    return pl.scan_ndjson(file, schema={"text": pl.String}).collect().get_column("text")


def plan_of(recipe: str, steps: list[str]) -> Plan:
    """The plan of a packaged recipe with no other steps in `filtered` than these."""
    source = {"name": "bench", "extends": recipe, "sources": {"files": {"files": "none.jsonl"}}}
    whole = make_plan(build_recipe(source)).table("filtered").steps
    off = {step.name: False for step in whole if step.name not in steps}
    return make_plan(build_recipe({**source, "filtered": off}))


def measured(plan: Plan, texts: pl.Series) -> pl.DataFrame:
    """All measurements of the texts, by batches as the engine makes them."""
    steps = [(step.name, step.stage, step.options.model_dump()) for step in plan.table("filtered").steps]
    parts, seconds = [], {step[0]: 0.0 for step in steps}
    for start, stop in _batches(texts):
        part = texts[start:stop].to_arrow().cast(pa.large_string())
        keys = pa.array([str(number) for number in range(start, stop)])
        table, errors = measure_texts(keys, part, {}, steps, seconds)
        if errors:
            raise SystemExit(f"A document broke a stage: {errors[0]}")
        parts.append(table)
    return pl.DataFrame(pl.from_arrow(pa.concat_tables(parts)))


def _batches(texts: pl.Series) -> list[tuple[int, int]]:
    sizes, found, start, size = texts.str.len_chars(), [], 0, 0
    for at, chars in enumerate(sizes):
        if at > start and (size + chars > MAX_CHARS or at - start == MAX_ROWS):
            found.append((start, at))
            start, size = at, 0
        size += chars
    return [*found, (start, len(texts))]


def reasons(plan: Plan, texts: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The first reason of each text ("" is kept), and the text that is left."""
    table = measured(plan, texts)
    judged, _ = judge(table.with_columns(id="key"), plan.table("filtered"))
    return judged.get_column("reason"), table.get_column("text").fill_null(texts)


def parts_of(texts: pl.Series, megabytes: float, count: int) -> list[pl.Series]:
    """The first texts in `count` parts of so many megabytes, no text in two of them."""
    part = (texts.str.len_bytes().cum_sum() / (megabytes * 1e6)).ceil()
    return [texts.filter(part == number + 1) for number in range(count)]


def megabytes_of(texts: pl.Series) -> float:
    """10^6 bytes of UTF-8."""
    return float(texts.str.len_bytes().sum()) / 1e6
