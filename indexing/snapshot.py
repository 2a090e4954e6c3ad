"""One version of an index, open for reading: passages, vectors and words side by side, all memory-mapped."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from indexing.analyser import ANALYSER
from indexing.lexical import Lexical
from indexing.manifest import CHUNKS, LEXICAL, VECTORS, Manifest, Verify, find_problems, read_manifest
from indexing.vectors import Vectors
from schemas.errors import IndexingError, RuleError

Mask = npt.NDArray[np.bool_]

_MASKS = 64  # filters remembered, one byte a passage each


class Snapshot:
    """The files of a version. Nothing in it changes but the filters it remembers; any number of threads may read."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        """Map the files. `Snapshot.open` checks them first."""
        self.folder = folder
        self.manifest = manifest
        self.chunks = pa.ipc.open_file(pa.memory_map(str(folder / CHUNKS))).read_all()
        self.vectors = Vectors.open(folder / VECTORS)
        self.lexical = Lexical.open(folder / LEXICAL, len(self), manifest.languages)
        self._masks: OrderedDict[str, Mask] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def open(cls, folder: Path, verify: Verify) -> Snapshot:
        """Open a version after comparing its files with the manifest.

        Raises:
            IndexingError: a file is missing or damaged, or was written by another analyser.
        """
        manifest = read_manifest(folder)
        if problems := find_problems(folder, manifest, verify):
            raise IndexingError(
                f"The index version {folder} is damaged: {' '.join(problems)}",
                hint="Roll back to the version before, and build this one again.",
            )
        if manifest.analyser != ANALYSER:
            raise IndexingError(
                f"The version was analysed by {manifest.analyser}, this curate asks by {ANALYSER}.",
                hint="Build the index again: nothing is embedded anew.",
            )
        return cls(folder, manifest)

    def __len__(self) -> int:
        """Number of passages."""
        return int(self.chunks.num_rows)

    def rows(self, rows: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
        """All columns of some rows, in the order asked."""
        found: list[dict[str, Any]] = self.chunks.take(pa.array(rows)).to_pylist()
        return found

    def mask(self, where: str | None) -> Mask | None:
        """The rows that satisfy a filter: bool (n); None without a filter. Reads only the columns it names.

        Raises:
            RuleError: the filter is not an element-wise expression over the columns of the passages.
        """
        if where is None:
            return None
        with self._lock:
            if where in self._masks:
                self._masks.move_to_end(where)
                return self._masks[where]
        mask = self._judge(where)
        with self._lock:
            self._masks[where] = mask
            while len(self._masks) > _MASKS:
                self._masks.popitem(last=False)
        return mask

    def _judge(self, where: str) -> Mask:
        import polars as pl

        from curate.engine.rules import parse_rule

        frame = pl.scan_ipc(self.folder / CHUNKS)
        try:
            kept = parse_rule(where, frame.collect_schema()).fill_null(value=False).alias("_kept")
        except RuleError as error:
            raise _as_condition(error) from None
        found: Mask = frame.with_columns(kept).select("_kept").collect().to_series().to_numpy()
        return found


def _as_condition(error: RuleError) -> RuleError:
    """A fault of a rule in the words of a filter, which is true for what is wanted."""
    hint = error.hint.replace("A rule looks at one document", "A condition looks at one passage")
    if "A rule" in hint or "words <" in hint:
        hint = "It is true for what is searched, for example: language = 'en' AND date >= '2024-01-01'"
    message = error.message.replace("The rule", "The condition", 1).replace(
        "which rules may", "which filters may"
    )
    return RuleError(message, hint=hint)
