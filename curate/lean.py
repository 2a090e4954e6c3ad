"""Keeps libraries from importing what no table of ours uses: half a second of a command's start.

pyarrow imports pandas at its first `pa.array`, to know its types; numba imports scipy at its first kernel, to know
whether there is a BLAS, cffi to know its functions, and yaml to read a file of settings.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

_YOUNG, _MIDDLE, _OLD = 50_000, 20, 50  # objects, and collections of what is younger


def lean() -> None:
    """For a process of ours, before its first `pa.array` and kernel; a user's program may need either library.

    pyarrow looks for pandas again where it is asked for a data frame, numba for scipy where a kernel is compiled that
    multiplies matrices. None of ours calls a function of cffi.
    """
    # Modules and tables of kernels live to the end: looking there is in vain.
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
    with _without("pandas"):
        import pyarrow as pa

        pa.array([0])
    settings = ["yaml"] if not Path(".numba_config.yaml").exists() else []
    with _without("scipy", "cffi", *settings):
        from numba.core.typing import cffi_utils  # noqa: F401
        from numba.np import arraymath
    arraymath._HAVE_BLAS = find_spec("scipy") is not None


class _Absent(MetaPathFinder):
    """Finds that some modules are not there."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in self._names:
            raise ModuleNotFoundError(f"{fullname} is not wanted", name=fullname)
        return None


@contextmanager
def _without(*names: str) -> Iterator[None]:
    """An import of the modules fails, unless they were imported before."""
    absent = _Absent(names)
    sys.meta_path.insert(0, absent)
    try:
        yield
    finally:
        sys.meta_path.remove(absent)
