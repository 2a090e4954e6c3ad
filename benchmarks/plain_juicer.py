"""Data-Juicer's heuristic filters, in an environment of its own: python plain_juicer.py TEXTS.parquet

Those of its recipe `redpajama-c4-refine` that need no model and no downloaded list, in batches of 1,000 with words and
lines shared between them (its `context`), and without its data set around them: an upper bound of its speed. All
are measured for every document. Prints JSON: processor time, and documents kept by all.
"""

from __future__ import annotations

import json
import sys
import time

import pyarrow.parquet as pq
from data_juicer.ops.filter.alphanumeric_filter import AlphanumericFilter
from data_juicer.ops.filter.average_line_length_filter import AverageLineLengthFilter
from data_juicer.ops.filter.character_repetition_filter import CharacterRepetitionFilter
from data_juicer.ops.filter.maximum_line_length_filter import MaximumLineLengthFilter
from data_juicer.ops.filter.special_characters_filter import SpecialCharactersFilter
from data_juicer.ops.filter.text_length_filter import TextLengthFilter
from data_juicer.ops.filter.word_repetition_filter import WordRepetitionFilter
from data_juicer.ops.filter.words_num_filter import WordsNumFilter
from data_juicer.utils.constant import Fields

ALONE = [
    AlphanumericFilter(tokenization=False, min_ratio=0.65, max_ratio=0.9),
    CharacterRepetitionFilter(rep_len=10, max_ratio=0.3),
    SpecialCharactersFilter(min_ratio=0.1, max_ratio=0.4),
    TextLengthFilter(max_len=100_000),
]
SHARED = [  # these take lines and words from `context`
    AverageLineLengthFilter(max_len=3000),
    MaximumLineLengthFilter(max_len=4000),
    WordsNumFilter(tokenization=False, min_num=20, max_num=10_000),
    WordRepetitionFilter(tokenization=False, rep_len=10, max_ratio=0.3),
]
_BATCH = 1_000  # its own


def kept(texts: list[str]) -> int:
    """How many of a batch all filters keep."""
    samples = {"text": texts, Fields.stats: [{} for _ in texts], Fields.context: [{} for _ in texts]}
    for one in ALONE:
        samples = one.compute_stats_batched(samples)
    for one in SHARED:
        samples = one.compute_stats_batched(samples, context=True)
    return sum(map(all, zip(*(one.process_batched(samples) for one in [*ALONE, *SHARED]), strict=True)))


def main() -> None:
    """Time the filters."""
    texts = pq.read_table(sys.argv[1], columns=["text"]).column("text").to_pylist()
    kept(texts[:2])
    begun = time.process_time()
    found = sum(kept(texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH))
    print(json.dumps({"cpu_s": time.process_time() - begun, "kept": found}))


if __name__ == "__main__":
    main()
