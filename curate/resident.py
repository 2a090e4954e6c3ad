"""How much memory a process took."""

from __future__ import annotations

import sys
from pathlib import Path


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
