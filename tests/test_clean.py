"""`clean`: files in, one file out, with what was dropped and why beside it."""

import gzip
import json

import polars as pl
import pytest
import zstandard

from curate.engine.clean import clean
from curate.engine.progress import Progress
from schemas.errors import RecipeError, SourceError, UsageError
from tests.lakes import documents, write_jsonl


@pytest.fixture
def source(tmp_path):
    write_jsonl(tmp_path / "in.jsonl", documents(30))
    return tmp_path / "in.jsonl"


def cleaned(source, out, **options):
    options.setdefault("recipe", "docs")
    return clean([source], out, workers=1, **options)


def test_the_kept_rows_come_in_their_order_with_their_columns(source, tmp_path):
    report = cleaned(source, tmp_path / "kept.parquet")
    kept = pl.read_parquet(tmp_path / "kept.parquet")
    assert len(kept) == report.table("corpus").kept == 21
    assert {"id", "text", "topic", "title"} <= set(kept.columns)
    numbers = [int(name.removeprefix("doc-")) for name in kept["id"]]
    assert numbers == sorted(numbers)


def test_dropped_rows_and_measurements_lie_beside_it(source, tmp_path):
    cleaned(source, tmp_path / "kept.parquet")
    beside = tmp_path / "kept.parquet.curate"
    dropped = pl.read_parquet(beside / "dropped.parquet")
    assert dict(dropped["reason"].value_counts().iter_rows()) == {
        "too_short": 3,
        "duplicate": 3,
        "near_duplicate": 3,
    }
    assert set(dropped.filter(pl.col("reason") == "too_short")["text"]) == {"Too short."}
    assert dropped.filter(pl.col("reason") == "duplicate")["duplicate_of"].str.len_chars().min() == 32
    assert "words &lt; 10" in (beside / "report.html").read_text()
    measured = pl.read_parquet(beside / "measurements.parquet")
    assert len(measured) == 30
    assert measured["length"].struct.field("words").min() == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["kept.jsonl", "kept.jsonl.gz", "kept.jsonl.zst", "kept.csv", "kept.parquet"]
)
def test_every_format_holds_the_same_texts(source, tmp_path, name):
    cleaned(source, tmp_path / name)
    data = (tmp_path / name).read_bytes()
    if name.endswith(".gz"):
        data = gzip.decompress(data)
    if name.endswith(".zst"):
        data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    if name.endswith("parquet"):
        texts = pl.read_parquet(tmp_path / name)["text"].to_list()
    elif name.endswith("csv"):
        texts = pl.read_csv(tmp_path / name)["text"].to_list()
    else:
        texts = [json.loads(line)["text"] for line in data.decode().splitlines()]
    assert len(texts) == 21
    assert not any("@" in text for text in texts)


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.zst", ".parquet", ".csv"])
def test_every_format_is_read(tmp_path, suffix):
    rows = pl.DataFrame(documents(30))
    path = tmp_path / f"in{suffix}"
    if suffix == ".parquet":
        rows.write_parquet(path)
    elif suffix == ".csv":
        rows.write_csv(path)
    else:
        raw = rows.write_ndjson().encode()
        path.write_bytes(gzip.compress(raw) if suffix.endswith("gz") else zstandard.compress(raw))
    assert cleaned(path, tmp_path / "kept.parquet").table("corpus").kept == 21


@pytest.mark.slow
def test_a_second_clean_measures_nothing(source, tmp_path):
    cleaned(source, tmp_path / "kept.parquet")
    again = cleaned(source, tmp_path / "kept.parquet")
    assert sum(table.measured for table in again.tables) == 0
    assert len(pl.read_parquet(tmp_path / "kept.parquet")) == 21


def test_a_named_text_column(tmp_path):
    rows = [{"body": row["text"], "n": n} for n, row in enumerate(documents(10))]
    write_jsonl(tmp_path / "in.jsonl", rows)
    cleaned(tmp_path / "in.jsonl", tmp_path / "kept.parquet", columns={"text": "body"})
    assert "n" in pl.read_parquet(tmp_path / "kept.parquet").columns


def test_a_missing_text_column_lists_the_columns(source, tmp_path):
    with pytest.raises(SourceError, match="txet") as error:
        cleaned(source, tmp_path / "kept.parquet", columns={"text": "txet"})
    assert "title" in error.value.message + error.value.hint


def test_wrong_use_says_what_to_type(source, tmp_path):
    with pytest.raises(UsageError, match="no format"):
        cleaned(source, tmp_path / "kept.docx")
    with pytest.raises(RecipeError) as error:
        cleaned(source, tmp_path / "kept.parquet", recipe="dosc")
    assert '"docs"' in error.value.hint
    with pytest.raises(SourceError):
        cleaned(tmp_path / "nothing.jsonl", tmp_path / "kept.parquet")
    assert not (tmp_path / "kept.parquet").exists()


def test_a_rule_set_on_the_way_is_judged(source, tmp_path):
    report = cleaned(
        source, tmp_path / "kept.parquet", overrides={"filtered": {"length": {"drop": {"too_short": False}}}}
    )
    assert report.table("filtered").kept == 30


def test_a_recipe_of_ones_own_needs_no_sources(source, tmp_path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text('name = "mine"\n[filtered.length]\ndrop.too_short = "words < 10"\n')
    report = cleaned(source, tmp_path / "kept.jsonl", recipe=str(recipe))
    assert report.table("corpus").kept == 27


def test_reading_one_large_file_tells_how_far_it_is(tmp_path):
    class Told(Progress):
        def __init__(self):
            self.steps = []

        def advance(self, table, done, total=0, note=""):
            if table == "documents":
                self.steps.append((done, total, note))

    rows = [{**row, "unused": "x" * 1_200_000} for row in documents(30)]
    write_jsonl(tmp_path / "in.jsonl", rows)  # 36 MB: three slices
    told = Told()
    cleaned(tmp_path / "in.jsonl", tmp_path / "kept.parquet", progress=told)
    slices = told.steps[1:]  # after what was read before
    assert [(done, total) for done, total, _ in slices] == [(1, 3)] * 3
    read = [int(note.split()[0]) for *_, note in slices]
    assert read == sorted(read)
    assert 0 < read[0] < read[-1]
