"""The one way a kernel is compiled: nogil, cached on disk under a hash of all kernel sources.

Numba checks only the file of the function it loads from its cache; a changed helper in another file
would be missed. So the cache folder's name is a hash of every kernel source.
"""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core import event

from curate.cache import cache_folder

_F = TypeVar("_F", bound=Callable[..., Any])
_ROOT = Path(__file__).resolve().parents[1]
_PATIENCE = 5.0  # seconds of compiling before the user is told why nothing moves


def _cache_folder() -> Path:
    """`~/.cache/curate/kernels/<hash>`, or the folder that CURATE_CACHE names."""
    digest = hashlib.sha256(f"{numba.__version__} {sys.version}".encode())
    packing = _ROOT / "export" / "packing.py"
    for file in sorted([*(_ROOT / "text").rglob("*.py"), *(_ROOT / "dedup").rglob("*.py"), packing]):
        digest.update(file.read_bytes())
    return cache_folder() / "kernels" / digest.hexdigest()[:16]


class _SaySlowCompile(event.Listener):  # type: ignore[misc]
    """Prints one line when compiling has taken over five seconds."""

    def __init__(self) -> None:
        self.timer: threading.Timer | None = None
        self.said = False

    def on_start(self, event: event.Event) -> None:
        if self.timer is None and not self.said:
            self.timer = threading.Timer(_PATIENCE, self._say)
            self.timer.daemon = True
            self.timer.start()

    def on_end(self, event: event.Event) -> None:
        # The timer runs on: kernels compile one after the other, and their sum is what a user waits for.
        pass

    def _say(self) -> None:
        self.said = True
        sys.stderr.write("compiling the text kernels (once per version, about 20 s) ...\n")


CACHE = _cache_folder()
WARM = CACHE / "warm"  # is there when every kernel has been compiled
numba.config.CACHE_DIR = str(CACHE)
event.register("numba:compile", _SaySlowCompile())


def kernel(function: _F) -> _F:
    """Compile a kernel: no Python objects, no GIL, cached on disk."""
    compiled: _F = numba.njit(nogil=True, cache=True)(function)
    return compiled


def inlined(function: _F) -> _F:
    """Compile a helper that is copied into each caller (a call with array arguments costs 20 ns)."""
    compiled: _F = numba.njit(nogil=True, cache=True, inline="always")(function)
    return compiled
