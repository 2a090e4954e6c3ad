"""What was found out once on this machine: digests of model files, speeds of backends.

One small JSON file a subject in `~/.cache/curate/indexing`, or in the folder that CURATE_CACHE names. Nothing
depends on it: what is missing or broken is found out again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, TypeVar

from curate.cache import cache_folder

V = TypeVar("V", str, float)
_Known = dict[str, Any]


class Remembered:
    """A mapping from text to text or number that outlives the process."""

    def __init__(self, subject: str) -> None:
        base = cache_folder()
        self._file = base / "indexing" / f"{subject}.json"

    def get(self, key: str, find: Callable[[], V]) -> V:
        """The value of a key, found by `find` if it is not known."""
        known = self._read()
        if key not in known:
            known[key] = find()
            self._write(known)
        value: V = known[key]
        return value

    def _read(self) -> _Known:
        try:
            found = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, known: _Known) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._file.with_suffix(f".{os.getpid()}")
            temporary.write_text(json.dumps(known), encoding="utf-8")
            temporary.replace(self._file)
        except OSError:
            return  # a folder that cannot be written costs the same work next time
