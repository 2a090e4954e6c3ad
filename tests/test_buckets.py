"""Rows in buckets: what parts of a corpus ask for is found in one pass, and in how many parts it is changes nothing."""

import json
import random

import numpy as np
import polars as pl
import pytest

import curate.engine.buckets as buckets
from curate.engine import located, shape, standing
from curate.engine.buckets import Buckets, found_in_parts, places_in_parts
from curate.engine.clean import clean
from curate.engine.standing import id_ranges, range_of
from curate.lake.content import Content, new_file
from curate.lake.digest import digest
from curate.lake.parquet import write_parquet
from schemas.tables import TABLES
from tests.lakes import documents, write_jsonl


@pytest.mark.parametrize("waiting", [1, 50, 100_000])
def test_a_bucket_gives_its_rows_back_in_the_order_in_which_they_came(tmp_path, monkeypatch, waiting):
    monkeypatch.setattr(buckets, "_RUN_ROWS", waiting)
    chance, expected = np.random.default_rng(1), {number: [] for number in range(8)}
    with Buckets(tmp_path) as rows:
        for start in range(0, 400, 40):
            numbers = chance.integers(0, 7, 40)
            part = pl.DataFrame({"n": range(start, start + 40)}).select(
                "n", text=pl.format("row {}", "n"), deep=pl.struct(n=pl.col("n") / 2)
            )
            rows.add(part, numbers)
            for number, row in zip(numbers.tolist(), part.to_dicts(), strict=True):
                expected[number].append(row)
        assert {number: rows.read(number).to_dicts() for number in range(8)} == expected
        assert rows.count == 400
        assert rows.read(7).schema == rows.read(0).schema
    assert not list(tmp_path.iterdir())


@pytest.fixture
def content(tmp_path):
    """Content of 300 keys in several files."""
    kept = Content(tmp_path / "content", TABLES["records"].schema)
    appender = kept.append()
    for start in range(0, 300, 70):
        keys = [digest(str(n)) for n in range(start, min(start + 70, 300))]
        rows = pl.DataFrame({"key": keys, "slices": range(len(keys))})
        rows = rows.with_columns(
            page=pl.lit("p"),
            ordinal=0,
            **{name: pl.lit("") for name in ("document", "digest", "reason", "message")},
        )
        file = new_file(kept.folder)
        write_parquet(rows.select(kept.schema.names).to_arrow().cast(kept.schema), kept.schema, file)
        appender.add(file)
    return kept


def test_each_part_finds_what_it_asks_for(content, tmp_path):
    chance = random.Random(3)
    keys = [
        pl.Series("key", [digest(str(chance.randrange(400))) for _ in range(size)], pl.String)
        for size in (90, 0, 200)
    ]
    with found_in_parts(tmp_path, content, ["key", "slices"], keys) as found:
        for number, asked in enumerate(keys):
            expected = content.find(asked, ["key", "slices"])
            assert found.read(number).sort("key").equals(expected.sort("key"))
    with places_in_parts(tmp_path, content, keys) as found:
        for number, asked in enumerate(keys):
            expected = content.find(asked, ["key"], places=True)
            assert found.read(number).drop("number").sort("key").equals(expected.sort("key"))


def test_later_files_come_later_in_order(tmp_path):
    names = [new_file(tmp_path) for _ in range(20)]
    assert names == sorted(names)
    assert len(set(names)) == 20


@pytest.mark.parametrize("ranges", [1, 3, 7])
def test_an_id_is_in_the_range_that_its_number_says(monkeypatch, ranges):
    monkeypatch.setattr(standing, "PART_ROWS", 100)
    ids = pl.DataFrame({"id": [digest(str(n)) for n in range(200)]})
    conditions = id_ranges(100 * ranges)
    assert len(conditions) == ranges
    numbers = range_of(ids.get_column("id"), ranges)
    for number, condition in enumerate(conditions):
        assert ids.filter(condition).equals(ids.filter(numbers == number))


@pytest.mark.slow
def test_in_how_many_parts_a_corpus_is_cleaned_changes_nothing(tmp_path, monkeypatch):
    rows = [{**row, "url": f"https://e.example/{n}"} for n, row in enumerate(documents(300))]
    rows.insert(100, {"text": 7})
    write_jsonl(tmp_path / "in.jsonl", rows)
    for name, part in (("whole", 50_000), ("parts", 40)):
        for module in (located, shape, standing):
            monkeypatch.setattr(module, "PART_ROWS", part)
        clean([tmp_path / "in.jsonl"], tmp_path / name / "kept.jsonl", recipe="docs", workers=1)
    kept = [(tmp_path / name / "kept.jsonl").read_text() for name in ("whole", "parts")]
    assert kept[0] == kept[1]
    assert len(kept[0].splitlines()) > 100
    for told in ("dropped", "measurements"):
        found = [
            pl.read_parquet(tmp_path / name / "kept.jsonl.curate" / f"{told}.parquet")
            for name in ("whole", "parts")
        ]
        assert found[0].equals(found[1])
        assert len(found[0]) > 50
    assert json.loads(kept[0].splitlines()[0])["id"] == "doc-0"
