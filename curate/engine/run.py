"""The tables of a recipe, one after the other; each is the same function for every door."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from curate.engine.corpus import make_corpus
from curate.engine.deduplicate import make_deduplicated
from curate.engine.documents import make_documents
from curate.engine.measure import make_measured
from curate.engine.plan import Plan, make_plan
from curate.engine.progress import Progress
from curate.engine.session import Session
from curate.engine.workers import Workers, raise_if_stopped
from curate.lake.disk import disk_errors
from curate.lake.lake import Lake
from schemas.recipe import load_recipe
from schemas.report import RunReport


def make_table(session: Session, name: str) -> None:
    """Make one table of the recipe from what stands before it, and publish it."""
    table = session.plan.table(name)
    if table.kind == "documents":
        make_documents(session)
    elif name == "corpus":
        make_corpus(session)
    elif table.kind == "deduplicated":
        make_deduplicated(session, name)
    else:
        make_measured(session, name)


def run_tables(
    plan: Plan,
    lake: str | Path,
    *,
    limit: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
    wait: bool = True,
    then: Callable[[Session], None] | None = None,
) -> RunReport:
    """Make every table of a recipe up to `corpus` in a lake; what is there already is not done again.

    `limit` takes at most so many documents of each source; `then` goes on in the same session, with the
    lake still held. Where another process runs the same name, this one waits (or fails, with
    `wait=False`).

    Raises:
        CurateError: what went wrong, and what to do; finished shards are kept.
    """
    begun = time.perf_counter()
    with (
        compiled_kernels(),
        session_of(plan, lake, limit=limit, workers=workers, progress=progress, wait=wait) as session,
    ):
        for table in plan.tables:
            make_table(session, table.name)
        if then is not None:
            then(session)
    session.report.seconds = time.perf_counter() - begun
    return session.report


@contextmanager
def session_of(
    plan: Plan,
    lake: str | Path,
    *,
    limit: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
    wait: bool = True,
) -> Iterator[Session]:
    """A session on a lake that is held against other runs of the same name."""
    home, shown = Lake(lake, create=True), progress or Progress()
    waiting = _told_once(shown) if wait else None
    with disk_errors(home.root), home.lock(plan.recipe.name, waiting=waiting), Workers(workers) as pool:
        session = Session(home, plan, pool, shown, limit)
        shutil.rmtree(session.work)  # what a killed run left
        try:
            yield session
        finally:
            shutil.rmtree(session.work, ignore_errors=True)


def _told_once(progress: Progress) -> Callable[[str], None]:
    """Says what a run waits for, the first time; Ctrl-C ends the wait."""
    told: set[str] = set()

    def waiting(held: str) -> None:
        raise_if_stopped()
        if held not in told:
            told.add(held)
            progress.say(f"{held} This run waits for it.")

    return waiting


def open_session(recipe: str | Path, lake: str | Path) -> AbstractContextManager[Session]:
    """A session for making single tables of a recipe."""
    return session_of(make_plan(load_recipe(recipe)), lake)


@contextmanager
def compiled_kernels() -> Iterator[None]:
    """Compile the kernels in a process beside this one, while sources are still being asked."""
    from curate.text.jit import WARM

    if WARM.exists():
        yield
        return
    command = [sys.executable, "-m", "curate.engine.warm"]
    quiet = subprocess.DEVNULL
    warming = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        yield
    finally:
        warming.kill()
        warming.wait()
