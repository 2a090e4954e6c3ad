"""The tables of a recipe, one after the other; each is the same function for every door."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from curate.dedup.memory import BUDGET
from curate.engine.corpus import make_corpus
from curate.engine.deduplicate import make_deduplicated
from curate.engine.documents import make_documents, make_pages
from curate.engine.measure import make_measured
from curate.engine.plan import Plan, refuse_idle_columns
from curate.engine.progress import Progress
from curate.engine.session import Session
from curate.engine.workers import Workers, give_back, raise_if_stopped
from curate.lake.disk import disk_errors
from curate.lake.lake import Lake
from curate.lake.runs import Head
from schemas.errors import UsageError
from schemas.report import RunReport

# Documents of a table beside which a start of the workers is nothing; they hold the kernels of all that they have made.
_LARGE = 500_000


def base_tables(plan: Plan) -> list[str]:
    """The tables of a recipe up to `corpus`, in the order in which they are made."""
    return ["pages", *(table.name for table in plan.tables)]


def make_table(session: Session, name: str) -> Head:
    """Make one table from what stands before it, and publish it."""
    if name == "pages":
        return make_pages(session)
    if name == "documents":
        return make_documents(session)
    if name == "corpus":
        return make_corpus(session)
    if session.plan.table(name).kind == "deduplicated":
        return make_deduplicated(session, name)
    return make_measured(session, name)


def run_tables(
    plan: Plan,
    lake: str | Path,
    *,
    tables: Sequence[str] = (),
    make: Callable[[Session, str], object] = make_table,
    limit: int = 0,
    workers: int | None = None,
    memory: int = BUDGET,
    progress: Progress | None = None,
    wait: bool = True,
    strict: bool = False,
    one_off: bool = False,
    then: Callable[[Session], None] | None = None,
) -> RunReport:
    """Make tables of a recipe in a lake (all up to `corpus` if none are named); what is there is not done again.

    A table that fails a blocking check is the last that is made: the report tells. `make` makes a table by
    name; `limit` takes at most so many documents of each source; `memory` is what a search for near-duplicates
    may take, in bytes; a `strict` run ends at the first input that cannot be read; the lake of a `one_off` run is
    written quickly rather than small, and its result has the shape of its input; `then` goes on in the same session,
    with the lake still held. Where another process runs the same name, this one waits (or fails, with `wait=False`).

    Raises:
        CurateError: what went wrong, and what to do; finished shards are kept.
    """
    begun = time.perf_counter()
    if one_off:
        refuse_idle_columns(plan)
    with (
        compiled_kernels(),
        session_of(plan, lake, limit=limit, workers=workers, progress=progress, wait=wait) as session,
    ):
        session.strict, session.memory, session.one_off = strict, memory, one_off
        for name in tables or base_tables(plan):
            make(session, name)
            give_back()
            if session.report.table(name).rows > _LARGE:
                session.workers.rest()
            if session.report.blocked():
                break
        if then is not None and not session.report.blocked():
            session.workers.rest()  # they hold the kernels of all tables
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
    for what, given, least in (("limit", limit, 0), ("workers", workers, 1)):
        if given is not None and given < least:
            raise UsageError(
                f"{what} is {given}; at least {least} is needed.", hint=f"{what}={least} is the least."
            )
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


@contextmanager
def compiled_kernels() -> Iterator[None]:
    """Compile the kernels in a process beside this one, while sources are still being asked."""
    from curate.text.jit import WARM

    if WARM.exists():
        yield
        return
    command = [sys.executable, "-m", "curate.engine.warm", "attended"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet) as warming:
        try:
            yield
        finally:
            warming.kill()
