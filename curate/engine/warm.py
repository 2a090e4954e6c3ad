"""Compile every kernel, so that no run waits for it: `python -m curate.engine.warm` (in an image, say)."""

from __future__ import annotations

import pyarrow as pa

import curate.dedup
import curate.export.packing
from curate.engine.stage import Batch, find_stage
from curate.text.jit import WARM

_STAGES = ("repair", "length", "gopher_quality", "anonymize")  # those that have kernels


def main() -> None:
    """Call each kernel once with the types that stages use; what is compiled stays on disk."""
    batch = Batch(pa.array(["Write to a.b@example.org or call +1 212 555 0100."], pa.large_string()))
    for name in _STAGES:
        stage = find_stage(name)
        stage.run(batch, stage.options.model_validate({}))
    curate.dedup.warm()
    curate.export.packing.warm()
    WARM.touch()


if __name__ == "__main__":
    main()
