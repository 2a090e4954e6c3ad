"""How much memory a process took, and what makes its libraries give back what they free."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

# Read when Polars and Arrow are loaded: their own allocators keep what is freed until memory is short.
_ALLOCATORS = {"_RJEM_MALLOC_CONF": "muzzy_decay_ms:0", "ARROW_DEFAULT_MEMORY_POOL": "system"}
# mallopt(3). glibc learns from the first large array that is freed to keep the next for itself, without a bound and in
# several arenas. Columns of a part are of some megabytes and live for a moment, those of kernels are larger: with bounds
# of 1 MB a sixth of a clean's processor time went into pages that were given back and asked for again.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_LITTLE = {_TRIM_THRESHOLD: 8 << 20, _MMAP_THRESHOLD: 4 << 20, _ARENA_MAX: 1}
_FOR_KERNELS = {_TRIM_THRESHOLD: 32 << 20, _MMAP_THRESHOLD: 16 << 20, _ARENA_MAX: 1}


_ours: set[int] = set()  # processes that hold little


def hold_little() -> None:
    """Let what is freed go back to the system; to be called before Polars and Arrow are loaded."""
    for name, value in _ALLOCATORS.items():
        os.environ.setdefault(name, value)
    _ours.add(os.getpid())
    _bound(_LITTLE)


def hold_for_kernels() -> None:
    """Keep some megabytes where kernels run; the memory of a process that never called `hold_little` is its own matter."""
    if is_ours():
        _bound(_FOR_KERNELS)


def is_ours() -> bool:
    """Whether this process is a command or a worker of ours, not a program that imports us."""
    return os.getpid() in _ours


def _bound(bounds: dict[int, int]) -> None:
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library than glibc
            mallopt = ctypes.CDLL(None).mallopt
            for parameter, bound in bounds.items():
                mallopt(parameter, bound)


def peak_resident() -> int:
    """Most bytes of this process that were resident at once; 0 where the system does not tell.

    Not `ru_maxrss` on Linux: a new process begins there with the peak of the one that started it.
    """
    if sys.platform == "linux":
        lines = Path("/proc/self/status").read_text().splitlines()
        return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:")), 0)
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
