"""Keeps libraries from importing what no table of ours uses: half a second of a command's start.

pyarrow imports pandas at its first `pa.array`, to know its types; numba imports scipy at its first kernel, to know
whether there is a BLAS.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

_YOUNG, _MIDDLE, _OLD = 50_000, 20, 50  # objects, and collections of what is younger


def lean() -> None:
    """For a process of ours, before its first `pa.array` and kernel; a user's program may need either library.

    pyarrow looks for pandas again where it is asked for a data frame, numba for scipy where a kernel is compiled that
    multiplies matrices.
    """
    gc.set_threshold(
        _YOUNG, _MIDDLE, _OLD
    )  # modules and tables of kernels live to the end: looking there is in vain
    with _without("pandas"):
        import pyarrow as pa

        pa.array([0])
    with _without("scipy"):
        from numba.np import arraymath
    arraymath._HAVE_BLAS = find_spec("scipy") is not None


class _Absent(MetaPathFinder):
    """Finds that a module is not there."""

    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == self._name:
            raise ModuleNotFoundError(f"{fullname} is not wanted", name=fullname)
        return None


@contextmanager
def _without(name: str) -> Iterator[None]:
    """An import of the module fails, unless it was imported before."""
    absent = _Absent(name)
    sys.meta_path.insert(0, absent)
    try:
        yield
    finally:
        sys.meta_path.remove(absent)
