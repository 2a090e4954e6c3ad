"""Compile every kernel, so that no run waits for it: `python -m curate.text.warm` (in an image, say)."""

from __future__ import annotations

import pyarrow as pa

from curate.text.detect import find_suspects
from curate.text.lines import count_line_marks, count_marks, find_lines
from curate.text.words import count_distinct, find_words


def main() -> None:
    """Call each kernel once with the types that stages use; what is compiled stays on disk."""
    text = pa.array(["a"], pa.large_string())
    count_distinct(text, find_words(text), ["a"])
    count_line_marks(text, find_lines(text))
    count_marks(text)
    find_suspects(text, entities=True)

    import curate.dedup

    warm = getattr(curate.dedup, "warm", None)
    if warm is not None:
        warm()


if __name__ == "__main__":
    main()
