"""Files to records: what each reader gives, and what becomes of what it cannot read."""

import codecs
import datetime
import gzip
import json
import lzma
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.sources import delimited, jsonl, record, tabular
from curate.sources.loader import load
from curate.sources.readers import (
    ExtractOptions,
    Fault,
    Slice,
    digest,
    find_files,
    kind_of,
    read_slice,
    reader_fingerprint,
    split,
)
from schemas.errors import SourceError, UsageError
from schemas.tables import RECORD_SCHEMA

OPTIONS = ExtractOptions.model_validate({})


def read(path: Path, target_bytes: int = 16_000_000, **columns):
    """All records of a file as dicts, and all faults."""
    rows, faults = [], []
    for piece in split(path, target_bytes):
        for found in read_slice(piece, columns, OPTIONS):
            assert found.records.schema == RECORD_SCHEMA
            found.records.validate(full=True)
            assert all(column.null_count == 0 for column in found.records.columns)
            rows += found.records.to_pylist()
            faults += found.faults
    return rows, faults


def texts(path: Path, **columns):
    return [row["text"] for row in read(path, **columns)[0]]


def write(path: Path, *rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


# JSON lines


def test_a_line_becomes_a_record_with_all_its_columns(tmp_path):
    file = write(
        tmp_path / "a.jsonl",
        {"id": 7, "text": "Größe", "title": "T", "author": ["Ada", "Grace"], "url": "https://e.example/", "date": "2024/01/05", "language": "pt-BR", "tags": ["a"]},
        {"text": None, "score": 1.0},
    )  # fmt: skip
    first, second = read(file)[0]
    assert first == {
        "ordinal": 0, "title": "T", "author": "Ada, Grace", "date": "2024-01-05", "declared_language": "pt",
        "url": "https://e.example/", "text": "Größe", "extra": '{"id":7,"date":"2024/01/05","language":"pt-BR","tags":["a"]}',
    }  # fmt: skip
    assert (second["ordinal"], second["text"], second["extra"]) == (1, "", '{"score":1.0}')


def test_a_row_does_not_depend_on_its_neighbours(tmp_path):
    """Its columns are what keys are made from: the columns of other lines must not leak in."""
    rows = [
        {"text": "one", "n": 1},
        {"text": "two", "n": 1.5, "more": {"a": None}},
        {"text": "three", "n": "1"},
    ]
    together = read(write(tmp_path / "all.jsonl", *rows))[0]
    alone = [read(write(tmp_path / f"{n}.jsonl", row))[0][0] for n, row in enumerate(rows)]
    assert (
        [row["extra"] for row in together]
        == [row["extra"] for row in alone]
        == ['{"n":1}', '{"n":1.5,"more":{"a":null}}', '{"n":"1"}']
    )


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=4), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@settings(deadline=None, max_examples=50)
@given(
    rows=st.lists(st.dictionaries(st.sampled_from(["a", "b", "ü", "c.d"]), VALUES), min_size=1, max_size=6),
    data=st.data(),
)
def test_values_survive_in_extra_whatever_the_slices(tmp_path_factory, rows, data):
    rows = [{"text": data.draw(st.text(st.characters(codec="utf-8"))), **row} for row in rows]
    file = write(tmp_path_factory.mktemp("rows") / "a.jsonl", *rows)
    found, faults = read(file, target_bytes=data.draw(st.integers(1, 300)))
    assert faults == []
    assert [row["ordinal"] for row in found] == list(range(len(rows)))
    for row, given_row in zip(found, rows, strict=True):
        assert {"text": row["text"], **json.loads(row["extra"])} == given_row
        assert list(json.loads(row["extra"])) == [name for name in given_row if name != "text"]


BROKEN = [
    (b'{"text": "a" "b"}', "Line 2: Expecting ',' delimiter at column 14."),
    (b'{"text": "cut', "Line 2: Unterminated string starting at column 10."),
    (b"[1, 2]", "Line 2: expected a JSON object, found an array."),
    (b"null", "Line 2: expected a JSON object, found null."),
    (b"\x00\x00\x00", "Line 2: Expecting value at column 1."),
    (b'{"text": "a\x00b"}', "Line 2: Invalid control character at column 12."),
    (b'{"text": ["a"]}', 'Record 2: column "text" is an array, not a string.'),
    (
        b'{"text": "a", "x": ' + b"[" * 600 + b"]" * 600 + b"}",
        "Record 2: ValueError: Maximum serialization depth exceeded.",
    ),
    (b'{"text": "a", "x": ' + b"[" * 100_000, "Line 2: nested too deep, or a number too long."),
]


@pytest.mark.parametrize(("line", "message"), BROKEN, ids=range(len(BROKEN)))
def test_a_broken_line_is_a_fault_with_its_place_and_the_rest_is_kept(tmp_path, line, message):
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"text": "first"}\n' + line + b'\n{"text": "third"}\n')
    rows, faults = read(file)
    assert [(row["ordinal"], row["text"]) for row in rows] == [(0, "first"), (2, "third")]
    assert faults == [Fault(1, "error:read", message)]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (codecs.BOM_UTF8 + b'{"text": "marked"}', "marked"),
        (b'{"text": "line end"}\r', "line end"),
        (b'{"text": "Gr\xf6\xdfe"}', "Gr\ufffd\ufffde"),  # Latin-1: the characters are lost, and seen to be
        (b'{"text": "\\ud83d half"}', "\ufffd half"),
        (b'{"text": "\\ud83d\\ude00 whole"}', "\U0001f600 whole"),
        (b'{"text": "nul \\u0000"}', "nul \x00"),
    ],
)
def test_bytes_that_are_not_quite_json(tmp_path, line, text):
    file = tmp_path / "a.jsonl"
    file.write_bytes(line + b"\n\n")
    assert texts(file) == [text]


@pytest.mark.parametrize("form", ["jsonl", "parquet", "csv"])
def test_bytes_that_are_not_utf8_are_told_with_their_place(tmp_path, form):
    file = tmp_path / f"a.{form}"
    good = 300_000 if form == "csv" else 2  # what decides on the encoding of CSV is UTF-8
    if form == "jsonl":
        file.write_bytes(
            b'{"text": "a"}\n' * good + b'{"text": "Gr\xf6\xdfe"}\n{"text": "\\ud83d \xc3\xa9"}\n'
        )
    elif form == "csv":
        file.write_bytes(b"text\n" + b"abc\n" * good + b"Gr\xf6\xdfe\n\xc3\xa9\n")
    else:
        offsets = pa.array([0, 1, 2, 7, 9], pa.int32()).buffers()[1]
        values = pa.StringArray.from_buffers(4, offsets, pa.py_buffer(b"aaGr\xf6\xdfe\xc3\xa9"))
        parquet(file, text=values)
    (told,) = [
        told for piece in split(file) for read in read_slice(piece, {}, OPTIONS) for told in read.replaced
    ]
    assert (told.ordinal, told.reason) == (good, "replaced:utf8")
    where = "Line 3: byte 13 (0xf6)" if form == "jsonl" else f"Row {good + 1}: byte 3 (0xf6)"
    assert told.message == f"{where} is not UTF-8; U+FFFD is there instead."


def test_numbers_that_json_does_not_know_are_null(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"text": "a", "x": NaN, "y": -Infinity, "z": 123456789012345678901234567890}\n')
    assert read(file)[0][0]["extra"] == '{"x":null,"y":null,"z":123456789012345678901234567890}'


def test_one_broken_line_among_many_costs_one(tmp_path):
    lines = [json.dumps({"text": f"text {n}"}) for n in range(10_000)]
    lines[7_001] = lines[7_001][:-2]
    file = tmp_path / "a.jsonl"
    file.write_text("\n".join(lines))
    rows, faults = read(file, target_bytes=50_000)
    assert len(rows) == 9_999
    assert [fault.message.split(":")[0] for fault in faults] == ["Line 7002"]


def test_slices_are_whole_lines_and_cover_the_file(tmp_path):
    file = write(tmp_path / "a.jsonl", *({"text": "x" * n} for n in range(2_000)))
    pieces = split(file, target_bytes=100_000)
    assert len(pieces) > 1
    assert [piece.start for piece in pieces[1:]] == [piece.stop for piece in pieces[:-1]]
    assert (pieces[0].start, pieces[-1].stop) == (0, file.stat().st_size)
    assert [row["ordinal"] for row in read(file, target_bytes=100_000)[0]] == list(range(2_000))


def test_a_line_that_is_too_long_is_a_fault_and_never_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(jsonl, "MAX_LINE", 1_000)
    monkeypatch.setattr(jsonl, "_BLOCK", 300)
    monkeypatch.setattr(jsonl, "_PIECE", 100)
    file = write(
        tmp_path / "a.jsonl",
        {"text": "short"},
        {"text": "x" * 5_000},
        {"text": "short too"},
        {"text": "y" * 2_000},
    )
    rows, faults = read(file)
    assert [row["text"] for row in rows] == ["short", "short too"]
    assert [fault.message for fault in faults] == [f"Line {n} is longer than 1,000 bytes." for n in (2, 4)]


PACK = {".gz": gzip.compress, ".zst": zstandard.compress, ".xz": lzma.compress}


@pytest.mark.slow
@pytest.mark.parametrize("suffix", PACK)
def test_compressed_lines_and_what_is_left_of_a_broken_download(tmp_path, suffix):
    whole = b"".join(
        json.dumps({"text": f"{n} " + chr(97 + n % 26) * (n % 50)}).encode() + b"\n" for n in range(50_000)
    )
    file = tmp_path / f"a.jsonl{suffix}"
    file.write_bytes(PACK[suffix](whole))
    assert len(texts(file)) == 50_000
    file.write_bytes(PACK[suffix](whole)[:-100])
    rows, (fault,) = read(file)
    assert 0 < len(rows) < 50_000
    assert fault == Fault(
        len(rows),
        "error:read",
        f"Line {len(rows) + 1}: the compressed file ends too early (an unfinished download?).",
    )


@pytest.mark.slow
@pytest.mark.parametrize("suffix", PACK)
def test_compressed_csv_and_what_is_left_of_a_broken_download(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(delimited, "_CSV_BLOCK", 200_000)
    whole = b"text,n\n" + b"".join(f"{n} {n * n * 7919 % 100_003},{n}\n".encode() for n in range(150_000))
    file = tmp_path / f"a.csv{suffix}"
    file.write_bytes(PACK[suffix](whole)[:-100])
    rows, (fault,) = read(file)
    assert 0 < len(rows) < 150_000
    assert fault.reason == "error:read"
    assert (
        fault.message
        == f"After row {len(rows)}: the compressed file ends too early (an unfinished download?)."
    )


def test_an_xz_file_of_several_streams_with_padding(tmp_path):
    parts = [lzma.compress(json.dumps({"text": word}).encode() + b"\n") for word in ("one", "two", "three")]
    (tmp_path / "a.jsonl.xz").write_bytes(parts[0] + bytes(8) + parts[1] + parts[2] + bytes(70_000))
    assert texts(tmp_path / "a.jsonl.xz") == ["one", "two", "three"]


def test_an_xz_file_that_wants_much_memory_is_a_fault(tmp_path):
    """Its header asks for a dictionary of 1.5 GB, for a few bytes."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1_500_000_000}]
    try:
        data = lzma.compress(b'{"text": "a"}\n', filters=filters)
    except MemoryError:
        pytest.skip("no memory to make the file")
    (tmp_path / "a.jsonl.xz").write_bytes(data)
    rows, (fault,) = read(tmp_path / "a.jsonl.xz")
    assert (rows, fault.reason) == ([], "error:read")
    assert "Memory usage limit" in fault.message


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".xz"])
def test_packed_data_that_is_damaged_is_a_fault(tmp_path, suffix):
    whole = b"".join(json.dumps({"text": f"text {n * n}"}).encode() + b"\n" for n in range(50_000))
    data = bytearray(PACK[suffix](whole))
    data[len(data) // 2 :][:50] = bytes(50)
    data[len(data) // 2 : len(data) // 2 + 50] = b"\xff" * 50
    (tmp_path / f"a.jsonl{suffix}").write_bytes(data)
    _, faults = read(tmp_path / f"a.jsonl{suffix}")
    assert [fault.reason for fault in faults][-1] == "error:read"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('[{"text": "a"}, {"text": "b"}]', ["a", "b"]),
        ('{"text": "a"}\n{"text": "b"}\n', ["a", "b"]),
        ('{\n  "text": "a"\n}', ["a"]),
    ],
    ids=["array", "lines", "object"],
)
def test_json_files(tmp_path, content, expected):
    (tmp_path / "a.json").write_text(content)
    assert texts(tmp_path / "a.json") == expected


def test_json_files_that_are_broken(tmp_path):
    file = tmp_path / "a.json"
    file.write_text('[{"text": "a"}, 5, {"text": "c"}]')
    assert read(file)[1] == [Fault(1, "error:read", "Element 2: expected an object, found a number.")]
    file.write_text('[{"text": "a"}')
    assert read(file)[1] == [Fault(0, "error:read", "Expecting ',' delimiter at column 15.")]


# Columns


def test_columns_of_other_names_and_nested_ones(tmp_path):
    file = write(tmp_path / "a.jsonl", {"content": "the text", "meta": {"name": "N", "when": "2024"}, "n": 1})
    (row,), _ = read(file, title="meta.name", date="meta.when")
    assert (row["text"], row["title"], row["date"]) == ("the text", "N", "2024")
    assert row["extra"] == '{"meta":{"name":"N","when":"2024"},"n":1}'


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "parquet"])
def test_a_missing_text_column_is_an_error_that_names_the_others(tmp_path, suffix):
    file = tmp_path / f"a.{suffix}"
    row = {"question": "q", "answer": "a"}
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist([row]), file)
    else:
        file.write_text("question,answer\nq,a\n" if suffix == "csv" else json.dumps(row))
    with pytest.raises(
        SourceError, match=r"a\.\w+ has no column text\. Its columns: question, answer\."
    ) as caught:
        read(file)
    assert 'columns = { text = "question" }' in caught.value.hint
    assert "--columns 'text=question'" in caught.value.hint
    with pytest.raises(SourceError, match='has no column "anser" for text') as caught:
        read(file, text="anser")
    assert 'Did you mean "answer"?' in caught.value.hint
    assert '{ text = "answer" }' in caught.value.hint
    assert texts(file, text="answer") == ["a"]


def test_a_column_without_a_name_is_not_taken_for_the_text(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("question,answer,\nq,a,x\n")
    with pytest.raises(SourceError, match=r"has no column text\. Its columns: question, answer\."):
        read(file)
    assert texts(file, text="answer") == ["a"]


def test_two_candidates_for_the_text_are_not_chosen_between(tmp_path):
    with pytest.raises(SourceError, match="has no column text"):
        read(write(tmp_path / "a.jsonl", {"content": "a", "body": "b"}))


# Parquet and CSV


def parquet(path, **columns):
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return path


def test_parquet_columns_of_all_types(tmp_path):
    file = parquet(
        tmp_path / "a.parquet",
        text=pa.array(["a", None, "c"], pa.large_string()),
        title=pa.array(["x", "y", "x"]).dictionary_encode(),
        date=pa.array([datetime.date(2024, 1, 5)] * 3),
        n=pa.array([1, None, 3]),
        x=pa.array([1.0, float("nan"), 2.5]),
        when=pa.array([datetime.datetime(2024, 1, 5, 10)] * 3),  # noqa: DTZ001 - files have times without a zone
        price=pa.array([Decimal("1.10")] * 3),
        tags=pa.array([["a"], [], None]),
        meta=pa.array([{"k": "v"}] * 3),
        image=pa.array([b"\xff\xfe"] * 3),
    )
    rows, faults = read(file)
    assert faults == []
    assert [row["text"] for row in rows] == ["a", "", "c"]
    assert (rows[0]["title"], rows[0]["date"]) == ("x", "2024-01-05")
    assert [json.loads(row["extra"])["x"] for row in rows] == [1.0, None, 2.5]
    assert json.loads(rows[2]["extra"]) == {
        "date": "2024-01-05", "n": 3, "x": 2.5, "when": "2024-01-05 10:00:00", "price": "1.10", "tags": None, "meta": {"k": "v"},
    }  # fmt: skip
    assert read(file, url="meta.k")[0][0]["url"] == "v"


@pytest.mark.parametrize(
    "kind",
    [pa.large_string(), pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int32(), pa.large_string())],
)
def test_texts_in_every_type_of_string(tmp_path, kind):
    values = ["Größe", None, "Größe", "b"]
    plain = pa.array(values)
    array = plain.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else plain.cast(kind)
    nested = pa.StructArray.from_arrays([array, pa.array(range(4))], ["text", "n"])
    file = parquet(tmp_path / "a.parquet", body=array, meta=nested)
    assert texts(file, text="body") == ["Größe", "", "Größe", "b"]
    rows, faults = read(file, text="meta.text")
    assert [row["text"] for row in rows] == ["Größe", "", "Größe", "b"]
    assert (json.loads(rows[3]["extra"]), faults) == ({"body": "b", "meta": {"n": 3}}, [])


def test_a_nested_text_is_not_in_extra_again(tmp_path):
    row = {"doc": {"body": "the text", "n": 1}, "only": {"x": 1}}
    found, _ = read(write(tmp_path / "a.jsonl", row), text="doc.body")
    assert (found[0]["text"], found[0]["extra"]) == ("the text", '{"doc":{"n":1},"only":{"x":1}}')


def test_parquet_slices_are_row_groups(tmp_path):
    file = parquet(tmp_path / "a.parquet", text=[f"text {n}" for n in range(11)])
    pieces = split(file, target_bytes=1)
    assert [(piece.start, piece.stop, piece.first) for piece in pieces[:2]] == [(0, 1, 0), (1, 2, 2)]
    assert len(pieces) == 6
    assert [(row["ordinal"], row["text"]) for row in read(file, target_bytes=1)[0]] == [
        (n, f"text {n}") for n in range(11)
    ]


def test_a_column_of_the_wrong_type(tmp_path):
    file = parquet(tmp_path / "a.parquet", text=[1, 2], body=["a", "b"])
    with pytest.raises(SourceError, match='column "text" for text is int64, not a string') as caught:
        read(file)
    assert "Columns of strings: body." in caught.value.hint
    with pytest.raises(SourceError, match=r'column "body\.x" for title is missing'):
        read(file, text="body", title="body.x")


def test_strings_in_parquet_that_are_not_utf8(tmp_path):
    broken = pa.StringArray.from_buffers(
        2, pa.array([0, 3, 5], pa.int32()).buffers()[1], pa.py_buffer(b"a\xffbok")
    )
    file = parquet(tmp_path / "a.parquet", text=broken, note=broken)
    rows, _ = read(file)
    assert [(row["text"], row["extra"]) for row in rows] == [
        ("a\ufffdb", '{"note":"a\ufffdb"}'),
        ("ok", '{"note":"ok"}'),
    ]


def test_equal_long_strings_are_decoded_a_few_at_a_time(tmp_path, monkeypatch):
    """Such a file is a few hundred bytes for a gigabyte of text."""
    monkeypatch.setattr(tabular, "_BATCH_BYTES", 1_000_000)
    pq.write_table(pa.table({"text": ["x" * 20_000] * 1_000}), tmp_path / "a.parquet")
    sizes = [
        found.records.nbytes
        for piece in split(tmp_path / "a.parquet")
        for found in read_slice(piece, {}, OPTIONS)
    ]
    assert sum(sizes) > 20_000_000
    assert max(sizes) < 4_000_000


@pytest.mark.parametrize("content", [b"", b"PAR1 no", b"no parquet at all"])
def test_a_file_that_is_no_parquet_is_a_fault(tmp_path, content):
    (tmp_path / "a.parquet").write_bytes(content)
    rows, (fault,) = read(tmp_path / "a.parquet")
    assert (rows, fault.ordinal, fault.reason) == ([], 0, "error:read")


def test_csv_values_stay_as_they_are_written(tmp_path):
    (tmp_path / "a.csv").write_text('id,text,title,id\n007,"two\nlines, ""quoted""",T,x\n,,,\n', "utf-8")
    rows, faults = read(tmp_path / "a.csv")
    assert faults == []
    assert (rows[0]["text"], rows[0]["title"], rows[0]["extra"]) == (
        'two\nlines, "quoted"',
        "T",
        '{"id":"007","id_2":"x"}',
    )
    assert (rows[1]["text"], rows[1]["extra"]) == ("", '{"id":"","id_2":""}')


def test_csv_rows_that_do_not_fit_are_faults(tmp_path):
    (tmp_path / "a.csv").write_text("text,n\na,1\nb\nc,3\nd,4,5\ne,5\nf\n")
    rows, faults = read(tmp_path / "a.csv")
    assert [(row["ordinal"], row["text"]) for row in rows] == [(0, "a"), (2, "c"), (4, "e")]
    assert [fault.ordinal for fault in faults] == [1, 3, 5]
    assert faults[1].message == "Row 4: expected 2 values, found 3."


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "text;n\nGröße;1\n".encode("cp1252")),  # as Excel writes it
        ("a.csv", codecs.BOM_UTF8 + "text,n\r\nGröße,1\r\n".encode()),
        ("a.csv", codecs.BOM_UTF16_LE + "text,n\nGröße,1\n".encode("utf-16-le")),
        ("a.tsv", "text\tn\nGröße\t1\n".encode()),
        ("a.csv.gz", gzip.compress("text,n\nGröße,1\n".encode(), mtime=0)),
        ("a.csv.zst", zstandard.compress("text,n\nGröße,1\n".encode())),
        ("a.csv.xz", lzma.compress("text,n\nGröße,1\n".encode())),
        ("a.tsv.XZ", lzma.compress("text\tn\nGröße\t1\n".encode())),
    ],
)
def test_csv_encodings_and_delimiters(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    (row,), faults = read(tmp_path / name)
    assert (row["text"], row["extra"], faults) == ("Größe", '{"n":"1"}', [])


def test_csv_with_nuls_and_bytes_that_are_no_utf8(tmp_path):
    head = b"text,n\n" + b"a,1\n" * 300_000  # what decides the encoding is UTF-8
    (tmp_path / "a.csv").write_bytes(head + b"nul \x00 in,2\r\nGr\xf6\xdfe,3\r\n")
    rows, faults = read(tmp_path / "a.csv")
    assert [row["text"] for row in rows[-2:]] == ["nul \x00 in", "Gr\ufffd\ufffde"]
    assert faults == []


def test_csv_that_breaks_off(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "_CSV_BLOCK", 1_000)
    (tmp_path / "a.csv").write_text("text,n\n" + "a,1\n" * 300 + '"never closed,2\n' + "b,2\n" * 1_000)
    rows, (fault,) = read(tmp_path / "a.csv")
    assert {row["text"] for row in rows} == {"a"}
    assert "a quote that never ends" in fault.message
    (tmp_path / "b.csv").write_text("")
    assert read(tmp_path / "b.csv")[1][0].reason == "error:read"


# Text files


def test_markdown_with_front_matter(tmp_path):
    file = tmp_path / "a.md"
    file.write_text(
        '---\ntitle: "How to: begin"\ndate: 2024-01-05\nauthors: [Ada, Grace]\nlang: de\ntags:\n  - x\n  - y\nnested:\n  deep: 1\n---\n\n# Heading\n\ntext\n'
    )
    (row,), _ = read(file)
    assert (row["title"], row["author"], row["date"], row["declared_language"]) == (
        "How to: begin",
        "Ada, Grace",
        "2024-01-05",
        "de",
    )
    assert row["text"] == "# Heading\n\ntext\n"
    assert json.loads(row["extra"])["tags"] == ["x", "y"]


@pytest.mark.parametrize(
    ("content", "title"),
    [
        ("Intro\n\n## First #\n\n# Second", "First"),
        ("```\n# a comment\n```\n# Real", "Real"),
        ("Under\n=====\ntext", "Under"),
        ("no heading at all", "notes"),
        ("---\nno front matter, never closed\n\n# Real", "Real"),
        ("text\n\n---\n\n# Real", "Real"),
    ],
)
def test_the_title_of_markdown_is_its_first_heading(tmp_path, content, title):
    (tmp_path / "notes.md").write_text(content)
    (row,), _ = read(tmp_path / "notes.md")
    assert (row["title"], row["text"]) == (title, content)


@pytest.mark.parametrize(
    "content",
    [
        "Größe\r\n".encode(),
        "Größe\r\n".encode("cp1252"),
        codecs.BOM_UTF8 + "Größe\n".encode(),
        "Größe\n".encode("utf-16"),
    ],
)
def test_plain_text(tmp_path, content):
    (tmp_path / "notes.txt").write_bytes(content)
    (row,), _ = read(tmp_path / "notes.txt")
    assert (row["title"], row["text"]) == ("notes", "Größe\n")


def test_binary_data_is_no_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(bytes(range(256)) * 4 + bytes(100))
    assert read(tmp_path / "a.txt") == ([], [Fault(0, "skipped:not_text", "The file holds binary data.")])


# HTML and WARC

PAGE = (
    "<html lang=en><head><title>Title</title></head><body><h1>Title</h1><p>"
    + "A paragraph of some length, with words. " * 10
    + "</p></body></html>"
)


def test_a_local_html_file(tmp_path):
    pytest.importorskip("trafilatura")
    (tmp_path / "a.html").write_text(PAGE)
    (row,), _ = read(tmp_path / "a.html")
    assert (row["title"], row["declared_language"]) == ("Title", "en")
    assert row["text"].startswith("# Title\n\nA paragraph")


def warc_record(kind, url, payload):
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\nWARC-Date: 2024-01-05T10:00:00Z\r\nWARC-Record-ID: <urn:uuid:{url}>\r\n"
    head += f"Content-Type: application/http; msgtype={kind}\r\nContent-Length: {len(payload)}\r\n\r\n"
    return head.encode() + payload + b"\r\n\r\n"


def response(url, body, status="200 OK", kind="text/html; charset=utf-8", more=""):
    return warc_record(
        "response", url, f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{more}\r\n".encode() + body
    )


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_the_pages_of_a_warc_file(tmp_path, suffix):
    pytest.importorskip("fastwarc")
    pytest.importorskip("trafilatura")
    records = [
        warc_record("request", "https://e.example/1", b"GET / HTTP/1.1\r\n\r\n"),
        response("https://e.example/1", PAGE.encode()),
        response("https://e.example/2", b"gone", status="404 Not Found"),
        response("https://e.example/3", b"\xff\xd8\xff", kind="image/jpeg"),
        response("https://e.example/4", gzip.compress(PAGE.encode()), more="Content-Encoding: gzip\r\n"),
        response("https://e.example/5", b"%PDF-1.7"),
    ]
    file = tmp_path / f"a.warc{suffix}"
    file.write_bytes(b"".join(gzip.compress(part) if suffix else part for part in records))
    rows, faults = read(file)
    assert [(row["ordinal"], row["url"], row["date"]) for row in rows] == [
        (1, "https://e.example/1", ""),
        (4, "https://e.example/4", ""),
    ]
    assert rows[0]["text"] == rows[1]["text"]
    assert [(fault.ordinal, fault.reason) for fault in faults] == [
        (2, "skipped:status"),
        (3, "skipped:not_html"),
        (5, "skipped:not_html"),
    ]
    assert faults[0].message == "https://e.example/2: the server answered 404."


@pytest.mark.parametrize("suffix", [".warc", ".warc.gz", ".warc.wet", ".warc.wet.gz"])
def test_a_warc_file_that_breaks_off_keeps_no_half_of_a_record(tmp_path, suffix):
    pytest.importorskip("fastwarc")
    pytest.importorskip("trafilatura")
    urls = [f"https://e.example/{number}" for number in range(3)]
    made = [
        warc_record("conversion", url, PAGE.encode()) if ".wet" in suffix else response(url, PAGE.encode())
        for url in urls
    ]
    packed = [gzip.compress(one) if suffix.endswith(".gz") else one for one in made]
    file = tmp_path / f"a{suffix}"
    file.write_bytes(b"".join(packed))
    whole, none = read(file)
    assert ([row["url"] for row in whole], none) == (urls, [])
    file.write_bytes(b"".join(packed)[: -len(packed[-1]) // 3])
    rows, (fault,) = read(file)
    assert rows == whole[:2]
    assert (fault.ordinal, fault.reason) == (2, "error:read")
    assert fault.message == f"{urls[2]}: the file breaks off here (an unfinished download?)."


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_the_texts_of_a_wet_file(tmp_path, suffix):
    pytest.importorskip("fastwarc")
    records = [
        warc_record("warcinfo", "", b"Software-Info: a converter"),
        warc_record("conversion", "https://e.example/1", "Über uns\nWir sind da.".encode()),
        warc_record("conversion", "https://e.example/2", b"x" * (OPTIONS.max_bytes + 1)),
        warc_record("conversion", "https://e.example/3", b"caf\xe9"),
    ]
    file = tmp_path / f"a.warc.wet{suffix}"
    packed = [gzip.compress(part) if suffix else part for part in records]
    file.write_bytes(b"".join(packed))
    rows, faults = read(file)
    assert [(row["ordinal"], row["url"], row["text"]) for row in rows] == [
        (1, "https://e.example/1", "Über uns\nWir sind da."),
        (3, "https://e.example/3", "caf\ufffd"),
    ]
    assert [(fault.ordinal, fault.reason) for fault in faults] == [(2, "skipped:too_large")]


# Loaders

LOADERS = """
from collections import namedtuple

Node = namedtuple("Node", "text metadata")
Document = namedtuple("Document", "page_content metadata")

def dicts():
    for number in range(3):
        yield {"body": f"text {number}", "n": number}

def langchain():
    return [Document("one", {"source": "a.pdf", "title": "A"})]

def llamaindex():
    yield Node("two", {"n": 1})

def nothing():
    return iter(())

def strings():
    yield "just text"

def number():
    return 5

def objects():
    import numpy as np
    yield {"text": "one", "n": np.float64(1.5)}
    yield {"text": "two", "n": object()}
"""


@pytest.fixture
def loaders(tmp_path):
    (tmp_path / f"loaders_{tmp_path.name}.py").write_text(LOADERS)
    before = list(sys.path)

    def run(name, **columns):
        reads = load(f"loaders_{tmp_path.name}:{name}", columns, tmp_path)
        return [row for found in reads for row in found.records.to_pylist()]

    yield run
    sys.path[:] = before


def test_a_function_of_ones_own(loaders):
    assert [(row["ordinal"], row["text"], row["extra"]) for row in loaders("dicts")] == [
        (n, f"text {n}", f'{{"n":{n}}}') for n in range(3)
    ]
    assert loaders("nothing") == []


def test_documents_of_langchain_and_llamaindex(loaders):
    (row,) = loaders("langchain")
    assert (row["text"], row["title"], row["extra"]) == ("one", "A", '{"source":"a.pdf"}')
    assert loaders("llamaindex")[0]["text"] == "two"


def test_values_of_a_function_that_json_has_no_form_for(loaders, tmp_path):
    assert [row["extra"] for row in loaders("objects")] == ['{"n":1.5}']
    (found,) = load(f"loaders_{tmp_path.name}:objects", {}, tmp_path)
    assert found.faults == (Fault(1, "error:read", "Record 2: TypeError: object has no form in JSON."),)


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("dict", "has no function dict", 'Did you mean "dicts"?'),
        ("strings", "yields str, not documents", "Let it yield dicts"),
        ("number", "gives int, not documents", "Let it yield dicts"),
    ],
)
def test_a_function_that_gives_no_documents(loaders, name, message, hint):
    with pytest.raises(UsageError, match=message) as caught:
        loaders(name)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("function", "message"),
    [("no_such_module:f", "there is no module no_such_module"), ("json", "names no function")],
)
def test_a_loader_that_is_not_there(tmp_path, function, message):
    with pytest.raises(UsageError, match=message):
        list(load(function, {}, tmp_path))


# Which files


@pytest.fixture
def tree(tmp_path):
    for name in (
        "docs/a.md",
        "docs/deep/b.md",
        "docs/c.JSONL.gz",
        "docs/logo.png",
        "docs/.hidden/d.md",
        "docs/.e.md",
        "one.txt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text")
    return tmp_path


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["docs"], ["docs/a.md", "docs/c.JSONL.gz", "docs/deep/b.md"]),
        (["docs/*.md"], ["docs/a.md"]),
        (["docs/**/*.md", "docs/a.md", "one.txt"], ["docs/a.md", "docs/deep/b.md", "one.txt"]),
        (["docs/*"], ["docs/a.md", "docs/c.JSONL.gz"]),
    ],
)
def test_files_folders_and_globs(tree, patterns, found):
    assert [file.relative_to(tree).as_posix() for file in find_files(patterns, tree)] == found


@pytest.mark.parametrize(
    ("pattern", "message", "hint"),
    [
        ("doc", "There is no file .*doc", 'Did you mean "docs"?'),
        ("docs/*.parquet", "No file matches", "A glob is relative to the recipe"),
        ("docs/logo.png", r"no reader knows the suffix \.png", ".jsonl"),
        ("nowhere/a.md", "There is no file", "There is no folder"),
    ],
)
def test_a_pattern_that_finds_nothing_is_an_error(tree, pattern, message, hint):
    with pytest.raises(SourceError, match=message) as caught:
        find_files([pattern], tree)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.jsonl", "jsonl"),
        ("a.ndjson.zst", "jsonl"),
        ("A.HTM", "html"),
        ("a.warc.gz", "warc"),
        ("CC-MAIN-20240220.warc.wet.gz", "wet"),
        ("a.md.gz", None),
        ("a.gz", None),
        ("a", None),
    ],
)
def test_kinds_by_suffix(name, kind):
    assert kind_of(Path(name)) == kind


def test_the_digest_of_a_file_is_of_its_bytes(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"abc")
    assert digest(tmp_path / "a.txt") == "ba7816bf8f01cfea414140de5dae2223"
    with pytest.raises(SourceError, match="No such file"):
        digest(tmp_path / "b.txt")


def test_a_file_that_is_gone_when_it_is_read_is_a_fault(tmp_path):
    for kind in ("jsonl", "parquet", "csv", "text", "html"):
        ((found),) = read_slice(Slice(str(tmp_path / "gone"), kind), {}, OPTIONS)
        assert [fault.reason for fault in found.faults] == ["error:read"]


def test_the_fingerprint_has_what_shapes_the_text_and_nothing_else():
    base = reader_fingerprint("html", OPTIONS)
    assert {"trafilatura", "lxml", "extract"} <= set(base)
    assert reader_fingerprint("html", ExtractOptions.model_validate({"focus": "recall"})) != base
    assert reader_fingerprint("html", ExtractOptions.model_validate({"seconds": 60})) == base
    assert "trafilatura" not in reader_fingerprint("jsonl")


def test_the_readers_import_no_html_library_until_a_page_is_read():
    program = "import sys, curate.sources.readers; print(sorted({'trafilatura', 'lxml', 'fastwarc', 'scrapy', 'torch', 'numba'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_batches_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(jsonl, "MAX_ROWS", 100)
    file = write(tmp_path / "a.jsonl", *({"text": "x"} for _ in range(250)))
    sizes = [len(found.records) for piece in split(file) for found in read_slice(piece, {}, OPTIONS)]
    assert sizes == [100, 100, 50]
    assert record.MAX_ROWS == 5_000
