"""Words of strangers made safe for a log that is kept: without personal data and control characters."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from curate.reports.printable import printable
from curate.stages.anonymize import AnonymizeOptions, redact_strings


def masked(words: Sequence[str], length: int = 1_000) -> list[str]:
    """Each of the words in one line of at most `length` characters, personal data replaced by placeholders."""
    column = redact_strings(pa.array(words, pa.large_string()), AnonymizeOptions.model_validate({}))
    return [printable(word, length) for word in column.to_pylist()]
