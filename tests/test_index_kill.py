"""kill -9 while the index of near-duplicates grows, and two runs that grow it at once: every run judges as one alone."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from curate.lake.care import verify
from tests.lakes import run
from tests.test_keepers import make
from tests.test_near_increment import pages, told

pytestmark = pytest.mark.slow

OPTIONS = "error_sample = 0"
OLD, FIRST, ALL = pages(1, 30), pages(2, 40), pages(2, 120)
CHILD = """
import os, signal, sys
from pathlib import Path
from curate.dedup import bandindex, bandrun, compared
from tests.lakes import run

def die(*_): os.kill(os.getpid(), signal.SIGKILL)
def dying_after(done):
    def call(*given):
        done(*given)
        die()
    return call

moment = sys.argv[2]
if moment == "texts are written": bandrun.RunWriter.begin_entries = die
if moment == "entries are written": bandrun.RunWriter.close = dying_after(bandrun.RunWriter.close)
if moment == "the manifest is to be replaced": bandindex.replace_json = die
if moment == "the manifest was replaced": bandindex.replace_json = dying_after(bandindex.replace_json)
if moment == "pairs are written": compared.replace_json = die
if moment == "pairs are named": compared.replace_json = dying_after(compared.replace_json)
if moment == "half of a file is written": bandrun.ArrayWriter.close = lambda self: (self._file.flush(), die())
run(Path(sys.argv[1]))
"""
MOMENTS = [
    "texts are written",
    "half of a file is written",
    "entries are written",
    "the manifest is to be replaced",
    "the manifest was replaced",
    "pairs are written",
    "pairs are named",
]


def child(recipe, moment):
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(recipe), moment],
        cwd=Path(__file__).parents[1],
        env=os.environ,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    run(make(folder, "minhash", OPTIONS, OLD, ALL))
    return told(folder)


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_run_after_a_kill_finds_what_one_run_finds(tmp_path, alone, moment):
    if moment != MOMENTS[1]:  # there the index is made, else it grows
        run(make(tmp_path, "minhash", OPTIONS, OLD, FIRST))
    recipe = make(tmp_path, "minhash", OPTIONS, OLD, ALL)
    killed = child(recipe, moment)
    _, errors = killed.communicate()
    assert killed.returncode == -signal.SIGKILL, errors
    assert all(check.passed for check in verify(tmp_path / "lake"))
    table = run(recipe).table("deduplicated")
    assert told(tmp_path) == alone
    assert not any("made anew" in note for note in table.notes)
    if moment in ("texts are written", "the manifest is to be replaced"):  # an append deletes what was left
        (index,) = (tmp_path / "lake/content/bands").iterdir()
        named = (index / "manifest.json").read_text()
        assert all(file.name.split(".")[0] in named for file in index.glob("run-*"))


def test_two_runs_at_once_on_one_lake_judge_as_each_alone(tmp_path):
    """Two names, whose texts are partly the same, grow one index; each takes and gives its lock as it may."""
    shares = {"one": pages(2, 120), "two": pages(2, 60) + pages(5, 60)}
    alone = {}
    for name, new in shares.items():
        run(make(tmp_path / f"{name}-alone", "minhash", OPTIONS, OLD, new))
        alone[name] = told(tmp_path / f"{name}-alone")
    for step in range(3):  # the index is made by both, then grown by both
        for name, new in shares.items():
            recipe = make(tmp_path / name, "minhash", OPTIONS, OLD, new[: 40 * (step + 1)])
            recipe.write_text(recipe.read_text().replace('name = "alike"', f'name = "{name}"'))
            if not (tmp_path / name / "lake").exists():
                (tmp_path / "lake").mkdir(exist_ok=True)
                (tmp_path / name / "lake").symlink_to(tmp_path / "lake")
        running = [child(tmp_path / name / "curate.toml", "") for name in shares]
        for one in running:
            _, errors = one.communicate()
            assert one.returncode == 0, errors
    assert {name: told(tmp_path / name, name) for name in shares} == alone
    assert all(check.passed for check in verify(tmp_path / "lake"))
    assert len(list((tmp_path / "lake/content/bands").iterdir())) == 1
