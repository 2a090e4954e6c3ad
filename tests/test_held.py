"""Rows taken from row groups: the same whether they were held or are read, and no more held than was said."""

import random
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.engine import held
from curate.engine.shard import read_texts, take_rows


@pytest.fixture
def file(tmp_path):
    texts = [f"text {number} " * 20 for number in range(4_000)]
    pq.write_table(pa.table({"text": texts, "n": range(4_000)}), tmp_path / "t.parquet", row_group_size=1_000)
    return str(tmp_path / "t.parquet")


def places(file, rows):
    return pl.DataFrame({"file": file, "row": rows}, schema={"file": pl.String, "row": pl.Int64})


def test_any_rows_in_any_order_are_those_of_the_file(file):
    chance = random.Random(5)
    for _ in range(40):
        rows = [chance.randrange(4_000) for _ in range(chance.choice((1, 30, 900, 9_000)))]
        assert read_texts(places(file, rows)).to_pylist() == [f"text {row} " * 20 for row in rows]
        assert take_rows(places(file, rows), ["n", "text"]).column("n").to_pylist() == rows


def test_what_was_taken_is_not_read_again(file):
    few = places(file, [5, 1_005, 1_010, 2_005])
    first = read_texts(few)
    with Path(file).open("r+b") as damaged:
        damaged.write(b"x" * 200)
        damaged.seek(2_000)
        damaged.write(b"x" * 200)
    assert read_texts(few.tail(3)).equals(first[1:])


def test_no_more_is_held_than_the_bound(file, monkeypatch):
    monkeypatch.setattr(held, "_HELD_BYTES", 5_000)
    read_texts(places(file, list(range(0, 4_000, 50))))
    assert sum(table.nbytes for _, table in held._held.values()) <= 5_000
