"""Folders that appear whole or not at all: an export in the lake, and the copy of it that a user asked for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from curate.lake.disk import disk_errors
from schemas.errors import UsageError

CARD = "card.json"  # with it an export is there
DATA = "data"
_OWN = ("README.md", CARD)  # of a copy: what a person may edit must not be the lake's file


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A folder to write into, which becomes `folder` when the block ends well and is gone when it does not."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(
        ".tmp-*"
    ):  # by a process that was killed; the lake's lock keeps others out
        shutil.rmtree(left)
    temporary = folder.parent / f".tmp-{folder.name}"
    temporary.mkdir()
    try:
        yield temporary
        _sync(temporary)
        shutil.rmtree(folder, ignore_errors=True)  # what was fetched of one that nobody finished
        temporary.rename(folder)
        _sync(folder.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a small file for good."""
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def check_free(folder: Path) -> None:
    """See that an export may be put at a folder: it is not there, or empty.

    Raises:
        UsageError: something is there.
    """
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() or folder.is_symlink():
        what = "is not empty" if folder.is_dir() else "is a file"
        raise UsageError(
            f"{folder} is there already and {what}.", hint="-o takes a folder that is new or empty."
        )


def put(export: Path, folder: Path) -> None:
    """A finished copy of an export at `folder`; data is linked where both lie on one disk.

    Raises:
        UsageError: something is there.
        LakeError: the disk of the folder is full, or may not be written.
    """
    check_free(folder)
    target = folder.resolve()
    with disk_errors(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.parent / f".{target.name}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            shutil.copytree(export, temporary, copy_function=_link_or_copy)
            _sync(temporary)
            temporary.rename(target)  # over an empty folder, too
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def _link_or_copy(source: str, target: str) -> None:
    if Path(source).name not in _OWN:
        try:
            os.link(source, target)
        except OSError:  # another disk, or one without links
            pass
        else:
            return
    shutil.copyfile(source, target)


def _sync(folder: Path) -> None:
    """Names of files are on the disk for good, too."""
    for path in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
