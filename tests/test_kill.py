"""kill -9 at 30 moments of a run: the next run finishes, and every content digest equals the undisturbed run's.

The child is the real engine; only the moment of its death is arranged: when a table has come so far, when
its row in `runs` is about to be written, or after a time.
"""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from indexing import open_index
from tests.lakes import digests, make_recipe, run_whole

TABLES = [
    "pages",
    "documents",
    "filtered",
    "deduplicated",
    "corpus",
    "chunks",
    "vectors",
    "index_candidate",
    "index_live",
]
CHILD = """
import os, signal, sys, threading, time
from pathlib import Path
from curate.engine.progress import Progress
from curate.lake.runs import Runs
from curate.lake.content import Appender
from tests.lakes import run_whole

moment, table = sys.argv[2], sys.argv[3]
def die(): os.kill(os.getpid(), signal.SIGKILL)

class Deadly(Progress):
    def advance(self, name, done, total=0, note=""):
        if moment == "inside" and name == table and done: die()

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
if moment == "time":
    threading.Timer(float(table), die).start()
run_whole(Path(sys.argv[1]), progress=Deadly())
"""
MOMENTS = (
    [("inside", table) for table in TABLES[:-2]]
    + [(moment, table) for moment in ("before", "after") for table in TABLES]
    + [
        ("commit", table)
        for table in (
            "documents",
            "records",
            "filtered",
            "signatures",
            "pairs",
            "corpus",
            "chunks",
            "vectors",
        )
    ]
    + [("time", str(round(random.Random(seed).uniform(0.8, 8.0), 2))) for seed in range(6)]
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    recipe = make_recipe(tmp_path_factory.mktemp("undisturbed"), count=40)
    run_whole(recipe)
    return digests(recipe.parent / "lake")


def start(recipe, moment, table):
    return subprocess.run(
        [sys.executable, "-c", CHILD, str(recipe), moment, table], check=False, cwd=Path(__file__).parents[1], env=os.environ, capture_output=True, text=True
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("moment", "table"), MOMENTS)
def test_the_run_after_a_kill_ends_where_an_undisturbed_one_does(tmp_path, undisturbed, moment, table):
    recipe = make_recipe(tmp_path, count=40)
    killed = start(recipe, moment, table)
    assert killed.returncode in ({-signal.SIGKILL, 0} if moment == "time" else {-signal.SIGKILL}), (
        killed.stderr
    )
    run_whole(recipe)
    assert digests(tmp_path / "lake") == undisturbed
    assert len(open_index(tmp_path / "lake").search("harbour", k=3)) == 3


def test_a_run_that_is_killed_before_its_row_shows_nothing(tmp_path):
    from curate.lake.lake import Lake

    recipe = make_recipe(tmp_path, count=40)
    assert start(recipe, "before", "filtered").returncode == -signal.SIGKILL
    assert set(Lake(tmp_path / "lake").head().digests) == {"harbour/pages", "harbour/documents"}
