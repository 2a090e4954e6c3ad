"""A lake: a folder with tables, indexes and reports, shared by several recipes (names)."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import polars as pl
import pyarrow as pa

from curate.lake.content import Content
from curate.lake.runs import Head, Runs
from curate.lake.state import State
from schemas.errors import LakeError, did_you_mean
from schemas.tables import TABLES

_POLL = 0.1  # seconds


class Lake:
    """A lake at a folder.

    Raises:
        LakeError: the folder is no lake, and `create` was not asked for.
    """

    def __init__(self, root: str | Path, *, create: bool = False) -> None:
        self.root = Path(root).expanduser().resolve()
        self.runs = Runs(self.root / "runs")
        if create:
            try:
                self.root.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise LakeError(
                    f"No lake can be made at {self.root}: {error.strerror}.",
                    hint="--lake FOLDER names another place.",
                ) from None
        elif not (self.root / "runs" / "_delta_log").is_dir():
            raise LakeError(
                f"{self.root} holds no lake.", hint="curate run makes one; --lake FOLDER names another."
            )

    def head(self) -> Head:
        """What stands."""
        return self.runs.head()

    def names(self) -> list[str]:
        """Names of the recipes that have run here."""
        return sorted({key.split("/")[0] for key in self.head().pins})

    def require(self, name: str) -> str:
        """The name, or the only one there is when it is empty.

        Raises:
            LakeError: unknown, or not the only one.
        """
        names = self.names()
        if name in names:
            return name
        if not name and len(names) == 1:
            return names[0]
        if not name:
            raise LakeError(
                f"The lake {self.root} holds {len(names)} recipes.",
                hint="Name one with --name: " + ", ".join(names),
            )
        raise LakeError(
            f'The lake {self.root} holds nothing called "{name}".', hint=did_you_mean(name, names)
        )

    def content(self, table: str, fingerprint: str, schema: pa.Schema | None = None) -> Content:
        """The content folder of a table under a fingerprint."""
        return Content(self.root / "content" / table / fingerprint, schema or TABLES[table].schema)

    def state(self, name: str, table: str, schema: pa.Schema | None = None) -> State:
        """A state table of a name: fetches, verdicts/TABLE, corpus."""
        known = TABLES.get(table) or TABLES["verdicts"]
        return State(self.root / name / table, schema or known.schema)

    def read(self, name: str, table: str, head: Head | None = None) -> pl.LazyFrame:
        """Rows of a state table as pinned.

        Raises:
            LakeError: nothing was published for this table.
        """
        head = head or self.head()
        key = f"{name}/{table}"
        if key not in head.pins:
            made = [pin.split("/", 1)[1] for pin in head.pins if pin.startswith(f"{name}/")]
            raise LakeError(
                f"{name} has no table {table} yet.",
                hint=f"It has {', '.join(sorted(made))}." if made else "curate run makes it.",
            )
        schema = None
        return self.state(name, table, schema).scan(head.pins[key])

    @contextmanager
    def lock(self, name: str, *, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
        """One run of a name at a time on a local disk.

        The second is told who holds it; with `waiting` it waits, and calls that with the sentence ten times
        a second: what it raises ends the wait.

        Raises:
            LakeError: another process holds it, and nobody waits.
        """
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("a+") as file:
            while not _locked(file):
                file.seek(0)
                holder = (json.loads(file.read() or "{}") or {}).get("pid", "?")
                held = f"Process {holder} is running {name} in this lake."
                if waiting is None:
                    raise LakeError(held, hint="Wait for it, or stop it: its work is kept.")
                waiting(held)
                time.sleep(_POLL)
            file.truncate(0)
            file.write(json.dumps({"pid": os.getpid()}))
            file.flush()
            yield


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def open_lake(root: str | Path = "lake") -> Lake:
    """The lake at a folder.

    Raises:
        LakeError: there is none.
    """
    return Lake(root)
