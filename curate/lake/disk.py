"""Errors of the disk under a lake, told as what they are: full, not ours to write, or a file that is damaged."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import LakeError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_NUMBER = re.compile(r"os error (\d+)")  # as Polars and delta-rs write it
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # delta-rs draws its errors
_DAMAGED = re.compile(r"parquet|thrift|magic bytes|end of (?:file|stream)|checksum", re.IGNORECASE)


@contextmanager
def disk_errors(root: str | Path) -> Iterator[None]:
    """Errors that reading or writing the lake at `root` meets inside the block, as errors of ours.

    Raises:
        LakeError: in place of what Python, Arrow, Polars or delta-rs raised.
    """
    try:
        yield
    except Exception as error:
        told = lake_error(error, root)
        if told is None:
            raise
        raise told from error


def lake_error(error: Exception, root: str | Path) -> LakeError | None:
    """What an exception says about the disk; None if it is about something else."""
    if isinstance(error, LakeError):
        return None
    words = " ".join(_COLOUR.sub("", str(error)).split())[:300]
    match = _NUMBER.search(words)
    number = int(match[1]) if match else getattr(error, "errno", None)
    if number in _FULL or "No space left on device" in str(error):  # the crawler's last words, too
        hint = "Make room and run the same command again: finished work is kept."
        return LakeError(f"The disk is full that holds {root}.", hint=hint)
    name = getattr(error, "filename", None)
    if isinstance(name, str) and not Path(name).is_relative_to(root):
        return None  # a file of the user's
    if number in _CLOSED:
        hint = "Who owns the folder? --lake FOLDER names another."
        return LakeError(f"The lake {root} may not be written ({words}).", hint=hint)
    if isinstance(error, FileNotFoundError) or (_foreign(error) and _DAMAGED.search(words)):
        hint = (
            "curate lake verify names it; take the lake from a copy, or begin a new one with --lake FOLDER."
        )
        return LakeError(f"A file of the lake {root} is gone or damaged ({words}).", hint=hint)
    return None


def _foreign(error: Exception) -> bool:
    """Whether a library that reads files raised it."""
    return isinstance(error, OSError) or type(error).__module__.split(".")[0] in {
        "polars",
        "pyarrow",
        "deltalake",
    }
