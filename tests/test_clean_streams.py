"""`clean` in pipes, in shards, and strict: what comes in from stdin, what goes out, and when it stops."""

import gzip
import io
import json
import lzma
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from curate.cli import main
from curate.engine import write
from curate.engine.clean import clean
from curate.engine.write import check_output, read_size
from schemas.errors import SourceError, UsageError
from tests.lakes import documents, make_recipe, run, text, write_jsonl

pytestmark = pytest.mark.slow

KEEP_ALL = {"deduplicated": {"minhash": False, "exact": False}, "filtered": {"length": False}}


def packed_rows(count=12):
    return "".join(json.dumps({"text": text(n), "n": n}) + "\n" for n in range(count)).encode()


class Stdin(io.TextIOWrapper):
    """What is piped in."""


def piped(monkeypatch, data):
    monkeypatch.setattr(sys, "stdin", Stdin(io.BytesIO(data)))


# stdin and stdout


def test_a_pipe_from_end_to_end():
    command = [sys.executable, "-m", "curate", "clean", "-", "-o", "-", "--recipe", "docs", "--workers", "1"]
    done = subprocess.run(command, input=packed_rows(), capture_output=True, check=True, timeout=250)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"text": text(n), "n": n} for n in range(12)
    ]
    assert b"12" in done.stderr


def test_a_reader_that_leaves_ends_it_quietly(tmp_path):
    (tmp_path / "in.jsonl").write_bytes(packed_rows(3_000))
    command = f"{sys.executable} -m curate clean in.jsonl -o - --recipe docs --workers 1 --set deduplicated.minhash=false | head -1"
    script = f"set -o pipefail; {command}"
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, check=False, timeout=250, env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[1])})  # fmt: skip
    assert json.loads(done.stdout)["n"] == 0
    assert (done.returncode, b"rror" in done.stderr, b"Traceback" in done.stderr) == (0, False, False)
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress, lzma.compress])
def test_stdin_may_be_packed(tmp_path, monkeypatch, pack):
    piped(monkeypatch, pack(packed_rows()))
    clean(["-"], tmp_path / "kept.jsonl", recipe="docs", workers=1)
    assert (tmp_path / "kept.jsonl").read_bytes() == packed_rows().replace(b": ", b":").replace(
        b", ", b","
    ) or [json.loads(line)["n"] for line in (tmp_path / "kept.jsonl").open()] == list(range(12))
    assert not list((tmp_path / "kept.jsonl.curate").glob("stdin*"))  # a copy of the input is not left


def test_stdin_may_be_parquet(tmp_path, monkeypatch):
    out = io.BytesIO()
    pq.write_table(pa.table({"text": [text(0)], "n": pa.array([1], pa.int8())}), out)
    piped(monkeypatch, out.getvalue())
    clean(["-"], tmp_path / "kept.parquet", recipe="docs", workers=1)
    assert pq.read_schema(tmp_path / "kept.parquet").field("n").type == pa.int8()


def test_the_same_stdin_again_measures_nothing(tmp_path, monkeypatch):
    for measured in (12, 0):
        piped(monkeypatch, packed_rows())
        report = clean(["-"], tmp_path / "kept.jsonl", recipe="docs", workers=1)
        assert report.table("filtered").measured == measured


def test_rows_alone_are_on_stdout(tmp_path, monkeypatch, capfd):
    write_jsonl(tmp_path / "in.jsonl", documents(12))
    monkeypatch.chdir(tmp_path)
    assert main(["clean", "in.jsonl", "-o", "-", "--recipe", "docs", "--workers", "1", "--json"]) == 0
    out, err = capfd.readouterr()
    assert {json.loads(line)["id"] for line in out.splitlines()} >= {"doc-0", "doc-1"}
    assert '"tables"' in err


def test_an_option_that_is_none_is_no_file(capsys):
    assert main(["clean", "a.jsonl", "--recpie", "docs", "-o", "-"]) == 2
    assert "Unknown option: --recpie." in capsys.readouterr().err


# Shards


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".jsonl.zst", ".csv"])
def test_shards_hold_the_rows_in_order(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(write, "_PIECE_ROWS", 10)
    rows = [{"text": text(n), "n": n} for n in range(60)]
    write_jsonl(tmp_path / "in.jsonl", rows)
    (tmp_path / f"kept-00099{suffix}").write_text("of an earlier time")
    (tmp_path / f"kept-of-mine{suffix}").write_text("not ours")
    out = tmp_path / f"kept{suffix}"
    clean([tmp_path / "in.jsonl"], out, recipe="docs", workers=1, overrides=KEEP_ALL, shard_size="3kB")
    shards = sorted(file.name for file in tmp_path.glob("kept-0*"))
    assert shards[:2] == [f"kept-00000{suffix}", f"kept-00001{suffix}"]
    assert len(shards) in range(2, 12)
    assert (tmp_path / f"kept-of-mine{suffix}").exists()
    assert not out.exists()
    again = clean(
        [tmp_path / name for name in shards],
        tmp_path / "all.jsonl",
        recipe="docs",
        workers=1,
        overrides=KEEP_ALL,
    )
    assert again.table("corpus").kept == 60
    assert [int(json.loads(line)["n"]) for line in (tmp_path / "all.jsonl").open()] == list(range(60))


def test_a_folder_of_shards_appears_whole_and_replaces_its_own_only(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "_PIECE_ROWS", 10)
    write_jsonl(tmp_path / "in.jsonl", [{"text": text(n), "n": n} for n in range(60)])
    options = {"recipe": "docs", "workers": 1, "overrides": KEEP_ALL}
    clean([tmp_path / "in.jsonl"], f"{tmp_path}/kept/", shard_size="2kB", **options)
    assert len(list((tmp_path / "kept").iterdir())) > 1
    clean([tmp_path / "in.jsonl"], f"{tmp_path}/kept/", **options)
    assert [file.name for file in (tmp_path / "kept").iterdir()] == ["kept-00000.parquet"]
    assert pq.read_table(tmp_path / "kept").column("n").to_pylist() == list(range(60))
    (tmp_path / "kept" / "mine.txt").write_text("x")
    with pytest.raises(UsageError, match=r"holds other files \(mine.txt\)"):
        clean([tmp_path / "in.jsonl"], f"{tmp_path}/kept/", **options)


@pytest.mark.parametrize("out", ["kept.parquet", "kept.jsonl.gz", "kept/"])
def test_nothing_half_written_is_seen(tmp_path, monkeypatch, out):
    """An error in the middle leaves what was there."""
    write_jsonl(tmp_path / "in.jsonl", documents(12))
    options = {"recipe": "docs", "workers": 1}
    clean([tmp_path / "in.jsonl"], f"{tmp_path}/{out}", **options)
    before = {path: path.read_bytes() for path in tmp_path.glob("kept*/*.parquet")} | {
        path: path.read_bytes() for path in tmp_path.glob("kept*") if path.is_file()
    }

    def broken(self, rows):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write._ParquetFile, "write", broken)
    monkeypatch.setattr(write._TextFile, "write", broken)
    write_jsonl(tmp_path / "in.jsonl", documents(20))
    with pytest.raises(Exception, match=r"No space left|is full"):
        clean([tmp_path / "in.jsonl"], f"{tmp_path}/{out}", **options)
    assert before == {path: path.read_bytes() for path in before}
    assert not list(tmp_path.glob(".*tmp*"))


def test_sizes_are_read_and_wrong_use_says_what_to_type(tmp_path):
    assert [read_size(size) for size in ("", "100", "3 kB", "512MB", "1.5GiB")] == [
        0,
        100,
        3_000,
        512_000_000,
        1_610_612_736,
    ]
    with pytest.raises(UsageError, match="no size"):
        read_size("big")
    with pytest.raises(UsageError, match="stdout"):
        check_output("-", 100)
    write_jsonl(tmp_path / "in.jsonl", documents(2))
    with pytest.raises(UsageError, match="is read as input, and would be written"):
        clean([tmp_path], tmp_path / "in.jsonl")


# Strict

BROKEN = [
    (b'{"text": "cut\n', r"in\.jsonl#2: error:read: Line 2: (Unterminated string|Invalid control)"),
    (b'{"text": "a\x00b"}\n', r"in\.jsonl#2: error:read: Line 2: Invalid control character at column 12"),
    (b"[]\n", r"in\.jsonl#2: error:read: Line 2: expected a JSON object, found an array"),
]
LATIN = b'{"text": "Gr\xf6\xdfe"}\n'


@pytest.mark.parametrize(("line", "message"), BROKEN, ids=range(len(BROKEN)))
def test_strict_stops_at_the_first_input_that_cannot_be_read(tmp_path, line, message):
    source = tmp_path / "in.jsonl"
    source.write_bytes(packed_rows(1) + line + packed_rows(3))
    with pytest.raises(SourceError, match=message) as caught:
        clean([source], tmp_path / "kept.jsonl", recipe="docs", workers=1, strict=True)
    assert "Without --strict it is counted" in caught.value.hint
    assert not (tmp_path / "kept.jsonl").exists()
    report = clean([source], tmp_path / "kept.jsonl", recipe="docs", workers=1)
    assert {reason.reason: reason.dropped for reason in report.table("documents").reasons}["error:read"] == 1
    with pytest.raises(SourceError, match=message):  # also where it was read before
        clean([source], tmp_path / "kept.jsonl", recipe="docs", workers=1, strict=True)


def test_bytes_that_are_not_utf8_are_counted_and_a_strict_run_ends_there(tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_bytes(packed_rows(1) + LATIN + packed_rows(3) + LATIN)
    for _ in range(2):  # also where it was read before
        told = clean([source], tmp_path / "kept.jsonl", recipe="docs", workers=1).table("documents")
        assert (told.rows, told.kept, told.counts["not_utf8"]) == (6, 6, 2)
        (note,) = told.notes
        assert note.startswith("2 documents had bytes that are not UTF-8")
        assert note.endswith("in.jsonl#2")
    message = r"in\.jsonl#2: replaced:utf8: Line 2: byte 13 \(0xf6\) is not UTF-8"
    for name in ("in.jsonl", "new.jsonl"):
        (tmp_path / name).write_bytes(source.read_bytes())
        with pytest.raises(SourceError, match=message.replace("in", name.split(".")[0], 1)):
            clean([tmp_path / name], tmp_path / "kept.jsonl", recipe="docs", workers=1, strict=True)


def test_a_strict_run_ends_with_file_place_cause_and_exit_code_1(tmp_path, monkeypatch, capsys):
    make_recipe(tmp_path)
    with (tmp_path / "docs.jsonl").open("a") as file:
        file.write('{"text": \n')
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--strict", "--no-index", "--workers", "1"]) == 1
    assert (
        "error: docs.jsonl#31: error:read: Line 31: Expecting value at column 10." in capsys.readouterr().err
    )
    assert main(["run", "--no-index", "--workers", "1"]) == 0


def test_a_strict_run_minds_files_that_cannot_be_opened_and_pages_that_hang(tmp_path):
    (tmp_path / "a.md").write_text(text(1))
    (tmp_path / "b.md").symlink_to(tmp_path / "nowhere")
    (tmp_path / "curate.toml").write_text(
        'name = "notes"\nextends = "docs"\n[sources.files]\nfiles = "*.md"\n'
    )
    run(tmp_path / "curate.toml", strict=True)  # a glob passes a link over that leads nowhere
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(packed_rows())[:-20])
    (tmp_path / "curate.toml").write_text('name = "notes"\nextends = "docs"\n[sources.files]\nfiles = "*"\n')
    with pytest.raises(
        SourceError, match=r"c\.jsonl\.gz#1?\d: error:read: Line 1?\d: the compressed file ends too early"
    ):
        run(tmp_path / "curate.toml", strict=True)
