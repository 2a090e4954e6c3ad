"""Long lines of JSON: read piece by piece, and what comes out is what any line gives."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import from_json

from curate.sources import jsonl, long_lines
from curate.sources.long_lines import LongText, read_long
from curate.sources.readers import ExtractOptions, read_slice, split

LETTERS = st.sampled_from(['"', "\\", "\n", "\t", "\x00", "/", " ", "a", "b", "é", "語", "😀", "u0041"])
TEXTS = st.lists(LETTERS, max_size=80).map("".join)


@settings(max_examples=300, deadline=None)
@given(TEXTS, TEXTS, st.booleans(), st.integers(1, 12))
def test_a_text_in_pieces_is_the_text(text, other, ascii, piece):
    row = {
        "id": 7,
        "deep": {"text": other[:3]},
        "title": other[: len(text) // 2],
        "text": text,
        "more": [1.5, None],
    }
    line = json.dumps(row, ensure_ascii=ascii).encode()
    was, long_lines._PIECE = long_lines._PIECE, piece
    try:
        found = read_long(line, "text")
    finally:
        long_lines._PIECE = was
    if found is None:  # another string is the longest
        sizes = [
            len(json.dumps(one, ensure_ascii=ascii).encode())
            for one in ("title", row["title"], other[:3], text)
        ]
        assert sizes[-1] <= max(sizes[:-1])
        return
    assert type(found["text"]) is LongText
    assert {**found, "text": found["text"].decode()} == from_json(line) == row
    assert list(found) == list(row)


@pytest.mark.parametrize(
    "line",
    [
        b'{"text": "no end',
        b'{"text": "bad escape \\q and more of it"}',
        b'{"text": "half a pair \\ud83d and more of it"}',
        b'{"text": "no UTF-8 \xff and more of it"}',
        b'{"text": "a tab \t and more of it"}',
        b'["a list, and a long one"]',
        b'{"a": {"text": "which is nested deep"}}',
        b'{"title": "another column than that of the text"}',
        b"", b"7",
    ],
)  # fmt: skip
def test_what_is_not_that_simple_is_left_to_others(line):
    assert read_long(line, "text") is None


@pytest.mark.parametrize("long", [0, 1 << 40])
def test_long_lines_give_the_records_of_any_lines(tmp_path, monkeypatch, long):
    texts = ["Boats leave. " * 9, "", '語 😀 \\ " \n' * 5, "x"]
    rows = [{"n": n, "text": text, "title": "T" * n, "own": {"a": n}} for n, text in enumerate(texts)]
    rows[2]["own"] = "a string of the user's own, which is longer than the text is" * 3
    lines = [json.dumps(row, ensure_ascii=n % 2 == 0) for n, row in enumerate(rows)]
    (tmp_path / "in.jsonl").write_text("\n".join([*lines, '{"text": "half \\ud83d"}', "no JSON"]) + "\n")
    monkeypatch.setattr(jsonl, "LONG", long)
    (piece,) = split(tmp_path / "in.jsonl")
    reads = list(read_slice(piece, {}, ExtractOptions()))
    records = [record for read in reads for record in read.records.to_pylist()]
    assert [record["text"] for record in records[:4]] == texts
    assert [record["title"] for record in records[:4]] == ["", "T", "TT", "TTT"]
    assert json.loads(records[2]["extra"]) == {"n": 2, "own": rows[2]["own"]}
    assert [fault.ordinal for read in reads for fault in read.faults] == [5]
    assert records[4]["text"].startswith("half ")
