"""A lake: a folder with tables, indexes and reports, shared by several recipes (names)."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import polars as pl
import pyarrow as pa

from curate.lake.content import Content
from curate.lake.delta import open_table
from curate.lake.mirror import is_url, open_mirror
from curate.lake.runs import Head, Runs
from curate.lake.state import State
from schemas.errors import LakeError, did_you_mean
from schemas.tables import TABLES

_POLL = 0.1  # seconds


class Lake:
    """A lake at a folder, or at a prefix of an object store, of which `root` is the mirror.

    Raises:
        LakeError: there is no lake, and `create` was not asked for.
    """

    def __init__(self, root: str | Path, *, create: bool = False) -> None:
        self.mirror = open_mirror(str(root)) if is_url(root) else None
        self.place = self.mirror.url if self.mirror else str(Path(root).expanduser().resolve())
        self.root = self.mirror.root if self.mirror else Path(self.place)
        self.runs = Runs(self.root / "runs")
        if create:
            try:
                self.root.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise LakeError(
                    f"No lake can be made at {self.root}: {error.strerror}.",
                    hint="Name another place: --lake FOLDER, or -o of clean and dedup.",
                ) from None
        elif not self._is_there():
            raise LakeError(f"{self.place} holds no lake.", hint=self._other())

    def _other(self) -> str:
        """Which lake may have been meant: that of a one-off command lies beside its result."""
        near = [self.root / "lake", Path(f"{self.root}.curate") / "lake"]
        for place in near if self.mirror is None else []:
            if (place / "runs" / "_delta_log").is_dir():
                return f"--lake {shlex.quote(str(place))} holds one."
        return "curate run makes one; --lake FOLDER names another."

    def _is_there(self) -> bool:
        if self.mirror is not None:
            return open_table(self.root / "runs") is not None
        return (self.root / "runs" / "_delta_log").is_dir()

    def keep(self, folder: Path, last: str) -> None:
        """Make a finished, immutable folder part of the lake; it is whole once the file `last` is there."""
        if self.mirror is not None:
            self.mirror.send_folder(folder, last)

    def keep_file(self, file: Path) -> None:
        """Make a finished file, such as a report, part of the lake."""
        if self.mirror is not None:
            self.mirror.send([file])

    def bring(self, folder: Path) -> Path:
        """A folder that was kept, to be read here."""
        if self.mirror is not None:
            self.mirror.fetch_folder(folder)
        return folder

    def folders(self, parent: Path, last: str) -> list[Path]:
        """The folders below `parent` that were kept, each with its file `last` here."""
        if self.mirror is not None:
            found = self.mirror.files(parent)
            self.mirror.fetch(file for file in found if file.name == last and file.parent.parent == parent)
        return sorted(file.parent for file in parent.glob(f"[!.]*/{last}"))

    def content_folders(self) -> list[Path]:
        """Every folder content/TABLE/FINGERPRINT."""
        content = self.root / "content"
        if self.mirror is not None:
            return sorted(
                {
                    content.joinpath(*file.relative_to(content).parts[:2])
                    for file in self.mirror.files(content)
                }
            )
        return sorted(content.glob("*/*"))

    def file_names(self, folder: Path) -> set[str]:
        """Names of all files that lie in a folder of the lake, needed or not."""
        files = self.mirror.files(folder) if self.mirror is not None else folder.iterdir()
        return {file.name for file in files if file.parent == folder}

    def drop(self, folder: Path) -> None:
        """Delete a folder."""
        if self.mirror is not None:
            self.mirror.delete(self.mirror.files(folder))
        shutil.rmtree(folder, ignore_errors=self.mirror is not None)

    def forget(self) -> None:
        """Delete from the mirror of an object store what the store does not hold any more."""
        if self.mirror is not None:
            there = set(self.mirror.files(self.root))
            for file in self.root.rglob("*.parquet"):
                if file not in there:
                    file.unlink()

    def size(self) -> int:
        """Bytes of all files."""
        if self.mirror is not None:
            return self.mirror.size()
        return sum(file.stat().st_size for file in self.root.rglob("*") if file.is_file())

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
