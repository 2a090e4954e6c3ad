"""A shard's rows do not depend on how many texts the steps see at once."""

import polars as pl
import pytest

from curate.engine import shard
from curate.engine.stage import find_stage

TEXTS = ["", "One two.", "ä" * 700, "Three four five.", "", "six " * 400, "7"]


def measured(folder, name):
    text, plan = folder / "texts.parquet", folder / "plan.parquet"
    pl.DataFrame({"text": TEXTS}).write_parquet(text)
    rows = {"key": [str(number) for number in range(len(TEXTS))], "row": range(len(TEXTS))}
    shard.write_plan(pl.DataFrame(rows).with_columns(file=pl.lit(str(text))), plan)
    stage = find_stage("gopher_quality")
    steps = [
        {"name": "quality", "stage": stage.name, "options": stage.options.model_validate({}).model_dump()}
    ]
    task = {"plan": str(plan), "start": 0, "stop": len(TEXTS), "reads": [], "steps": steps}
    told = shard.measure_shard({**task, "out": str(folder / f"{name}.parquet")})
    assert (told["rows"], told["done"], told["errors"]) == (len(TEXTS), len(TEXTS), [])
    return pl.read_parquet(folder / f"{name}.parquet")


@pytest.mark.parametrize("size", [1, 500, 1_600])
def test_a_shard_is_the_same_however_it_is_cut(tmp_path, monkeypatch, size):
    whole = measured(tmp_path, "whole")
    monkeypatch.setattr(shard, "_BATCH_BYTES", size)
    assert measured(tmp_path, "cut").equals(whole)
