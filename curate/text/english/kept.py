"""A table between runs: a file that is mapped into memory, so that all workers share what none of them changes."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.cache import cache_folder
from curate.text.english.lexicon import FILE
from curate.text.english.table import POOL_USED, ROWS_USED, USED, Table
from curate.text.tokens import EXIT_SEEN, EXIT_UNSEEN, STARTS_SEEN

_MAGIC = b"curate english 1"
_HEAD = 256  # bytes: magic, digest of the rules, digest of all that follows, facts, sizes of the three arrays


@cache
def _rules_digest() -> bytes:
    """Of all that a table depends on: the rules, their data, and the bits of the marks."""
    digest = hashlib.sha256(repr((STARTS_SEEN, EXIT_UNSEEN, EXIT_SEEN)).encode())
    for file in [*sorted(Path(__file__).parent.glob("*.py")), FILE]:
        digest.update(file.read_bytes())
    return digest.digest()


def kept_file() -> Path:
    """Where a run leaves its table for the next, in the folder that CURATE_CACHE names."""
    return cache_folder() / "english" / f"{_rules_digest().hex()[:16]}.table"


def save(table: Table, file: Path) -> None:
    """Write a table to a file, which is whole or not there."""
    rows = table.rows[: table.facts[ROWS_USED] + table.facts[ROWS_USED] % 2]
    arrays: list[npt.NDArray[Any]] = [table.slots, rows, table.pool[: table.facts[POOL_USED]]]
    sizes = np.array([array.nbytes for array in arrays], np.int64)
    digest = hashlib.sha256()
    for array in [table.facts, sizes, *arrays]:
        digest.update(array.data)
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as target:
            target.write(_MAGIC + _rules_digest() + digest.digest() + table.facts.tobytes() + sizes.tobytes())
            target.write(bytes(_HEAD - target.tell()))
            for array in arrays:
                target.write(array.data)
        Path(name).replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def load(file: Path) -> Table | None:
    """The table that a file holds; None if it is not there, broken, or of other rules.

    The file is mapped: what the table learns from now on stays with this process.
    """
    try:
        with file.open("rb") as source:
            data = np.frombuffer(mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_COPY), np.uint8)
    except (OSError, ValueError):  # an empty file cannot be mapped
        return None
    head = data[:_HEAD].tobytes()
    if len(head) < _HEAD or head[:16] != _MAGIC or head[16:48] != _rules_digest():
        return None
    facts, sizes = np.frombuffer(head[80:192], np.int64).copy(), np.frombuffer(head[192:216], np.int64)
    if (sizes < 0).any() or len(data) != _HEAD + sizes.sum():
        return None
    digest = hashlib.sha256(head[80:216])
    digest.update(data[_HEAD:].data)
    if digest.digest() != head[48:80]:
        return None
    slots, rows, pool = np.split(data[_HEAD:], np.cumsum(sizes)[:2])
    return Table(slots.view(np.uint64), rows.view(np.int32), pool.view(np.uint64), facts)


def keep(table: Table, file: Path) -> None:
    """Save a table if it knows more than the file does; a folder that cannot be written is no error."""
    with contextlib.suppress(OSError):
        known = np.fromfile(file, np.int64, 14, offset=80)[USED] if file.exists() else 0
        if table.facts[USED] > known:
            save(table, file)
