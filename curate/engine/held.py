"""Rows that were taken here and there from row groups, held for the next who asks for them.

A row group is read whole for one row of it, and the steps that compare documents, what measures their error, and the
product ask for the same few texts, five times in all.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import pyarrow as pa

_HELD_BYTES = 32 * 2**20
_FEW = (
    4  # one row of so many; where more are wanted, to read again costs little more than to take what is held
)
_LOCK = threading.Lock()
_held: OrderedDict[tuple[str, ...], tuple[np.ndarray, pa.Table]] = OrderedDict()


def take_held(key: tuple[str, ...], wanted: np.ndarray, rows: int, read: Callable[[], pa.Table]) -> pa.Table:
    """The rows at `wanted` (sorted row numbers, some perhaps twice) of a row group of `rows` rows, which `read` reads whole.

    `key` tells the group and its columns, of a file that never changes, as none in a lake does.
    """
    known, table = _held.get(key, (np.empty(0, np.int64), None))
    at = np.searchsorted(known, wanted)
    if at[-1] < len(known) and (known[at] == wanted).all():
        return table.take(pa.array(at))
    table = read()
    if len(wanted) != rows or (np.diff(wanted) != 1).any():
        table = table.take(pa.array(wanted))
    if len(wanted) * _FEW <= rows:
        with _LOCK:
            _held.pop(key, None)
            _held[key] = (wanted, table)
            while sum(part.nbytes for _, part in _held.values()) > _HELD_BYTES:
                _held.popitem(last=False)
    return table
