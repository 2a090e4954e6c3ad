"""`clean` gives back the shape of its input: rows, columns, types and order, with only the text changed."""

import datetime
import json
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.engine.clean import clean
from curate.sources.files import split
from schemas.errors import SourceError
from tests.lakes import documents, run, text, write_jsonl

KEEP_ALL = {"deduplicated": {"minhash": False, "exact": False}}


def cleaned(source, out, **options):
    options = {"recipe": "docs", "overrides": KEEP_ALL, **options}
    return clean([source], out, workers=1, **options)


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def of_all_types(count=12):
    """A table with every kind of column that Parquet files have, a NULL in each."""
    nested = [
        {
            "name": f"n{n}",
            "when": datetime.datetime(2024, 1, 1 + n % 28),  # noqa: DTZ001 - files have times without a zone
            "deep": {"tags": ["a", None], "n": n},
        }
        for n in range(count)
    ]
    return pa.table(
        {
            "metadata": pa.array([*nested[:-1], None]),
            "n": pa.array([None, *range(count - 1)], pa.int16()),
            "large": pa.array([2**63 + n for n in range(count)], pa.uint64()),
            "price": pa.array([Decimal("1.10")] * count, pa.decimal128(10, 2)),
            "day": pa.array([datetime.date(2024, 1, 5)] * count),
            "at": pa.array([10**18 + n for n in range(count)], pa.timestamp("ns", tz="Europe/Berlin")),
            "second": pa.array(range(count), pa.time32("s")),
            "took": pa.array(range(count), pa.duration("ms")),
            "kind": pa.array(["x", "y", None] * (count // 3)).dictionary_encode(),
            "image": pa.array([b"\xff\x00\xfe"] * count, pa.large_binary()),
            "vector": pa.array([[1.0, float("nan")]] * count, pa.list_(pa.float32(), 2)),
            "pairs": pa.array([[("a", 1)]] * count, pa.map_(pa.string(), pa.int64())),
            "body": pa.array([text(n) for n in range(count)], pa.large_string()),
            "a.b": pa.array([f"dot {n}" for n in range(count)]),
            "half": pa.array([0.5] * count, pa.float32()),
        }
    )


def test_parquet_keeps_every_type_and_value(tmp_path):
    table = of_all_types()
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=5)
    cleaned(tmp_path / "in.parquet", tmp_path / "kept.parquet", columns={"text": "body"})
    kept = pq.read_table(tmp_path / "kept.parquet")
    assert kept.schema.equals(pq.read_schema(tmp_path / "in.parquet").remove_metadata())
    for name in kept.column_names:
        # NaN is not equal to itself.
        assert repr(kept.column(name).to_pylist()) == repr(table.column(name).to_pylist()), name


def test_only_the_text_changes(tmp_path):
    """A document with an address comes out with a placeholder, and all else as it was."""
    rows = of_all_types().to_pylist()
    rows[3]["body"] += " Write to ada@harbour.example soon."
    pq.write_table(pa.Table.from_pylist(rows, of_all_types().schema), tmp_path / "in.parquet")
    cleaned(tmp_path / "in.parquet", tmp_path / "kept.parquet", columns={"text": "body"})
    kept = pq.read_table(tmp_path / "kept.parquet").to_pylist()
    assert kept[3].pop("body") == text(3) + " Write to <EMAIL_1> soon."
    rows[3].pop("body")
    assert repr(kept) == repr(rows)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_nested_text_keeps_its_name_and_place(tmp_path, suffix):
    rows = [
        {"id": n, "data": {"meta": {"url": f"https://e.example/{n}"}, "text": text(n) + " ada@harbour.example", "n": [n]}, "z": None}
        for n in range(5)
    ]  # fmt: skip
    source = tmp_path / f"in.{suffix}"
    write_jsonl(source, rows) if suffix == "jsonl" else pq.write_table(pa.Table.from_pylist(rows), source)
    columns = {"text": "data.text", "url": "data.meta.url"}
    cleaned(source, tmp_path / f"kept.{suffix}", columns=columns)
    kept = (
        lines(tmp_path / "kept.jsonl")
        if suffix == "jsonl"
        else pq.read_table(tmp_path / "kept.parquet").to_pylist()
    )
    for row in rows:
        row["data"]["text"] = row["data"]["text"].replace("ada@harbour.example", "<EMAIL_1>")
    assert kept == rows
    assert [list(row) for row in kept] == [list(row) for row in rows]
    assert [list(row["data"]) for row in kept] == [["meta", "text", "n"]] * 5


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["jsonl", "parquet", "csv"])
def test_a_column_with_a_dot_in_its_name_wins_over_a_nested_one(tmp_path, suffix):
    rows = [{"a.b": text(n), "a": {"b": "short"}} for n in range(3)]
    source = tmp_path / f"in.{suffix}"
    if suffix == "jsonl":
        write_jsonl(source, rows)
    elif suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), source)
    else:
        rows = [{"a.b": row["a.b"], "a": "short"} for row in rows]
        pl.DataFrame(rows).write_csv(source)
    cleaned(source, tmp_path / "kept.jsonl", columns={"text": "a.b"})
    assert lines(tmp_path / "kept.jsonl") == rows


def test_json_keeps_its_values_and_what_each_row_has(tmp_path):
    odd = [
        {"text": text(0), "n": 1, "x": 12345678901234567890123, "e": {}, "l": []},
        {"n": "one", "text": text(1), "more": [1, "a", None, {"k": 1.5}]},
        {"text": text(2), "ü.ö": True, "n": None, "s": "\U0001f600 \x00"},
    ]
    write_jsonl(tmp_path / "in.jsonl", odd)
    cleaned(tmp_path / "in.jsonl", tmp_path / "kept.jsonl")
    assert lines(tmp_path / "kept.jsonl") == odd
    assert [list(row) for row in lines(tmp_path / "kept.jsonl")] == [list(row) for row in odd]


def test_json_as_parquet_has_one_type_a_column(tmp_path):
    """What has no common type is JSON text."""
    rows = [
        {"text": text(0), "n": 1, "mixed": 1, "part": {"a": 1}, "nothing": None, "e": {}},
        {"text": text(1), "n": 2.5, "mixed": "one", "part": {"b": ["x"]}, "big": 2**70},
    ]
    write_jsonl(tmp_path / "in.jsonl", rows)
    cleaned(tmp_path / "in.jsonl", tmp_path / "kept.parquet")
    kept = pq.read_table(tmp_path / "kept.parquet").to_pylist()
    assert [row["n"] for row in kept] == [1.0, 2.5]
    assert [row["mixed"] for row in kept] == ["1", '"one"']
    assert [row["part"] for row in kept] == [{"a": 1, "b": None}, {"a": None, "b": ["x"]}]
    assert [(row["e"], row["nothing"], row["big"]) for row in kept] == [
        ("{}", None, None),
        (None, None, str(2**70)),
    ]
    assert pl.read_parquet(tmp_path / "kept.parquet").height == 2


def test_files_of_different_forms_come_together(tmp_path):
    pq.write_table(pa.table({"text": [text(0)], "n": pa.array([1], pa.int32())}), tmp_path / "a.parquet")
    (tmp_path / "b.csv").write_text(f'text,n\n"{text(1)}",007\n')
    write_jsonl(tmp_path / "c.jsonl", [{"text": text(2), "n": 2, "more": {"k": "v"}}])
    (tmp_path / "d.md").write_text(f"---\ntitle: The harbour\n---\n\n{text(3)}\n")
    cleaned(tmp_path, tmp_path / "kept.parquet")
    kept = pq.read_table(tmp_path / "kept.parquet").to_pylist()
    assert [row["text"].strip() for row in kept] == [text(n) for n in range(4)]
    assert [row["n"] for row in kept] == ["1", '"007"', "2", None]
    assert (kept[2]["more"], kept[3]["title"]) == ({"k": "v"}, "The harbour")


def test_order_is_that_of_the_input(tmp_path):
    """Also past the tenth row, where #10 would sort before #2."""
    rows = [{"text": text(n), "n": n, "url": f"https://e.example/{-n % 7}/{n}"} for n in range(120)]
    write_jsonl(tmp_path / "in.jsonl", rows)
    cleaned(tmp_path / "in.jsonl", tmp_path / "kept.jsonl")
    assert lines(tmp_path / "kept.jsonl") == rows


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_slices_of_a_file_come_together(tmp_path, monkeypatch, suffix):
    """A column that only late rows have, and the order of rows, though each slice is made by itself."""
    from curate.engine import shape

    rows = [{"text": text(n), "n": n, **({"late": [n]} if n > 50 else {})} for n in range(60)]
    write_jsonl(tmp_path / "in.jsonl", rows)
    pieces = []
    monkeypatch.setattr(shape, "split", lambda path: pieces.append(split(path, 2_000)) or pieces[-1])
    cleaned(tmp_path / "in.jsonl", tmp_path / f"kept{suffix}", add=["weight"])
    assert len(pieces[0]) > 3
    if suffix == ".jsonl":
        assert lines(tmp_path / "kept.jsonl") == [{**row, "weight": 1.0} for row in rows]
        return
    kept = pq.read_table(tmp_path / "kept.parquet")
    assert kept.column_names == ["text", "n", "late", "weight"]
    assert kept.column("late").to_pylist() == [row.get("late") for row in rows]
    assert kept.column("n").to_pylist() == list(range(60))


def test_strings_of_other_columns_are_redacted_and_their_neighbours_are_not(tmp_path):
    schema = pa.schema(
        [
            ("text", pa.string()), ("by", pa.struct([("mail", pa.string()), ("since", pa.date32())])), ("phone", pa.string()),
            ("n", pa.int8()), ("tags", pa.list_(pa.string())),
        ]
    )  # fmt: skip
    rows = [
        {"text": text(n), "by": {"mail": f"p{n}@harbour.example", "since": datetime.date(2020, 1, 1)}, "phone": "030 1234567", "n": n, "tags": ["x", "a@b.org"]}
        for n in range(3)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows, schema), tmp_path / "in.parquet")
    overrides = {**KEEP_ALL, "corpus": {"anonymize": {"region": ["DE"]}}}
    cleaned(tmp_path / "in.parquet", tmp_path / "kept.parquet", overrides=overrides)
    table = pq.read_table(tmp_path / "kept.parquet")
    assert table.schema == schema
    for number, row in enumerate(table.to_pylist()):
        assert row["by"] == {"mail": "<EMAIL_1>", "since": datetime.date(2020, 1, 1)}
        assert (row["phone"], row["n"], row["tags"]) == ("<PHONE_1>", number, ["x", "<EMAIL_2>"])
    write_jsonl(tmp_path / "in.jsonl", [{"text": text(0), "by": {"mail": "a@b.org"}, "n": 1.5}])
    cleaned(tmp_path / "in.jsonl", tmp_path / "kept.jsonl", overrides=overrides)
    assert lines(tmp_path / "kept.jsonl") == [{"text": text(0), "by": {"mail": "<EMAIL_1>"}, "n": 1.5}]


def test_strings_that_are_not_utf8_are_repaired_where_they_lie(tmp_path):
    broken = pa.StringArray.from_buffers(
        2, pa.array([0, 3, 5], pa.int32()).buffers()[1], pa.py_buffer(b"a\xffbok")
    )
    deep = pa.StructArray.from_arrays([broken, pa.array([1, 2])], ["s", "n"])
    pq.write_table(pa.table({"text": [text(0), text(1)], "deep": deep}), tmp_path / "in.parquet")
    cleaned(tmp_path / "in.parquet", tmp_path / "kept.parquet")
    kept = pq.read_table(tmp_path / "kept.parquet").column("deep").to_pylist()
    assert kept == [{"s": "a\ufffdb", "n": 1}, {"s": "ok", "n": 2}]


@pytest.mark.slow
def test_parquet_as_json_and_csv(tmp_path):
    pq.write_table(of_all_types(3), tmp_path / "in.parquet")
    columns = {"text": "body"}
    cleaned(tmp_path / "in.parquet", tmp_path / "kept.jsonl", columns=columns)
    first = lines(tmp_path / "kept.jsonl")[0]
    assert first["metadata"] == {
        "name": "n0",
        "when": "2024-01-01T00:00:00",
        "deep": {"tags": ["a", None], "n": 0},
    }
    assert (first["price"], first["day"], first["image"], first["vector"], first["pairs"]) == (
        "1.10", "2024-01-05", "_wD-", [1.0, None], {"a": 1},
    )  # fmt: skip
    cleaned(tmp_path / "in.parquet", tmp_path / "kept.csv", columns=columns)
    row = pl.read_csv(tmp_path / "kept.csv").row(0, named=True)
    assert (row["body"], row["vector"], row["a.b"]) == (text(0), "[1.0,null]", "dot 0")


def test_an_input_that_is_gone_when_it_is_written_is_told(tmp_path, monkeypatch):
    from curate.engine import clean as module

    write_jsonl(tmp_path / "in.jsonl", documents(12))
    make = module.run_tables

    def changing(plan, lake, then, **options):
        def late(session):
            (tmp_path / "in.jsonl").write_text("{}")
            then(session)

        return make(plan, lake, then=late, **options)

    monkeypatch.setattr(module, "run_tables", changing)
    with pytest.raises(SourceError, match=r"in\.jsonl changed while it was cleaned"):
        cleaned(tmp_path / "in.jsonl", tmp_path / "kept.parquet")
    assert not (tmp_path / "kept.parquet").exists()


@pytest.mark.slow
def test_a_column_of_ones_own_by_its_path(tmp_path):
    """`columns` names one's own columns too; rules and the corpus know them."""
    rows = [{"body": text(n), "metadata": {"url": f"https://e.example/{n}", "dump": "new" if n % 2 else "old"}} for n in range(6)]  # fmt: skip
    write_jsonl(tmp_path / "docs.jsonl", rows)
    (tmp_path / "curate.toml").write_text(
        """
        name = "dumps"
        extends = "docs"
        [sources.files]
        files = "docs.jsonl"
        columns = { text = "body", url = "metadata.url", dump = "metadata.dump" }
        [filtered.length]
        drop.old = "dump = 'old'"
        """
    )
    run(tmp_path / "curate.toml")
    corpus = pl.concat(pl.read_parquet(file) for file in (tmp_path / "lake/dumps/corpus").glob("*.parquet"))
    assert set(corpus["dump"]) == {"new"}
    assert sorted(corpus["url"]) == [f"https://e.example/{n}" for n in (1, 3, 5)]
    assert json.loads(corpus["extra"][0])["metadata"]["dump"] == "new"
    cleaned(
        tmp_path / "docs.jsonl", tmp_path / "kept.jsonl",
        columns={"text": "body", "dump": "metadata.dump"},
        overrides={**KEEP_ALL, "filtered": {"length": {"drop": {"old": "dump = 'old'"}}}},
    )  # fmt: skip
    assert lines(tmp_path / "kept.jsonl") == rows[1::2]
