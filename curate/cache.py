"""Where curate keeps what it can make again: kernels, digests of models, mirrors of lakes."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """The folder that CURATE_CACHE names, or ~/.cache/curate."""
    return Path(os.environ.get("CURATE_CACHE") or Path.home() / ".cache" / "curate").expanduser()
