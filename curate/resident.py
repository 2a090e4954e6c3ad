"""How much memory a process took, and what makes its libraries give back what they free."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

# Read when Polars and Arrow are loaded: their own allocators keep what is freed until memory is short.
_ALLOCATORS = {"_RJEM_MALLOC_CONF": "muzzy_decay_ms:0", "ARROW_DEFAULT_MEMORY_POOL": "system"}
# mallopt(3). A kernel's arrays are of some megabytes and live for a moment; glibc learns from the first one freed to keep
# the next for itself, without a bound and in several arenas. With a bound of 1 MB, a sixth of a clean's processor time
# went into pages that were given back and asked for again; 32 MB are most of what there is to gain.
_GLIBC = {"M_TRIM_THRESHOLD": (-1, 32 << 20), "M_MMAP_THRESHOLD": (-3, 16 << 20), "M_ARENA_MAX": (-8, 1)}


def hold_little() -> None:
    """Let what is freed go back to the system, but for some megabytes; to be called before Polars and Arrow are loaded."""
    for name, value in _ALLOCATORS.items():
        os.environ.setdefault(name, value)
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library than glibc
            mallopt = ctypes.CDLL(None).mallopt
            for parameter, bound in _GLIBC.values():
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
