"""Compile every kernel, so that no run waits for it: `python -m curate.engine.warm` (in an image, say)."""

from __future__ import annotations

import os
import sys
import threading

import pyarrow as pa

import curate.dedup
import curate.export.packing
import curate.text.english
from curate.engine.stage import Batch, find_stage
from curate.text.jit import WARM

_ENGLISH = {"splitter": "english-exact"}
_STAGES: tuple[tuple[str, dict[str, str]], ...] = (  # those that have kernels
    ("langid", {}),
    ("repair", {}),
    ("length", {}),
    ("gopher_repetition", {}),
    ("gopher_repetition", _ENGLISH),
    ("gopher_repetition", {"dialect": "dclm"}),
    ("gopher_quality", {}),
    ("gopher_quality", _ENGLISH),
    ("c4", {}),
    ("c4", _ENGLISH),
    ("fineweb", {}),
    ("fineweb", _ENGLISH),
    ("anonymize", {}),
    ("bad_words", {}),
)


def main() -> None:
    """Call each kernel once with the types that stages use; what is compiled stays on disk."""
    warm_stages()
    curate.dedup.warm()
    curate.dedup.warm_passages()
    curate.export.packing.warm()
    curate.text.english.warm()
    WARM.touch()


def warm_stages() -> None:
    """The half that measures documents, for who compiles both halves at once: `python -m curate.engine.warm stages`."""
    # The no-break hyphen is folded on the way to personal data: what nothing asks for is not compiled.
    text = pa.array(
        ["Write to a.b@example.org or call the +1 212\u2011555 0100. And be nice."], pa.large_string()
    )
    batch = Batch(text, {"langid.language": pa.array(["en"], pa.large_string())})
    for name, options in _STAGES:
        stage = find_stage(name)
        stage.run(batch, stage.options.model_validate(options))


def end_when_left() -> None:
    """Thread: end once stdin closes, as it does when the run that started this process is killed."""
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[1:] == ["attended"]:
        threading.Thread(target=end_when_left, daemon=True).start()
    warm_stages() if sys.argv[1:] == ["stages"] else main()
