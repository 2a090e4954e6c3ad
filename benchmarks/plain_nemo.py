"""NeMo Curator's heuristic filters, in an environment of its own: python plain_nemo.py TEXTS.parquet

The chain of our packaged recipe `nemo`, in its order and with its limits, as a `ScoreFilter` runs it over a batch: a
document ends at the first filter that drops it. Prints JSON: processor time of the chain, and documents kept.
"""

from __future__ import annotations

import json
import sys
import time

import pandas as pd
import pyarrow.parquet as pq
from nemo_curator.stages.text.filters import ScoreFilter
from nemo_curator.stages.text.filters.heuristic import (
    BoilerPlateStringFilter,
    BulletsFilter,
    CommonEnglishWordsFilter,
    EllipsisFilter,
    LongWordFilter,
    MeanWordLengthFilter,
    NonAlphaNumericFilter,
    NumbersFilter,
    ParenthesesFilter,
    PornographicUrlsFilter,
    PunctuationFilter,
    SymbolsToWordsFilter,
    UrlsFilter,
    WhiteSpaceFilter,
    WordCountFilter,
    WordsWithoutAlphabetsFilter,
)
from nemo_curator.stages.text.filters.heuristic.repetition import (
    RepeatedLinesByCharFilter,
    RepeatedLinesFilter,
    RepeatedParagraphsByCharFilter,
    RepeatedParagraphsFilter,
    RepeatingDuplicateNGramsFilter,
    RepeatingTopNGramsFilter,
)
from nemo_curator.tasks import DocumentBatch

_BATCH = 5_000  # rows, as many as a batch has with us
CHAIN = [
    NonAlphaNumericFilter(),
    NumbersFilter(),
    UrlsFilter(),
    WhiteSpaceFilter(),
    ParenthesesFilter(),
    LongWordFilter(),
    BoilerPlateStringFilter(),
    PunctuationFilter(),
    PornographicUrlsFilter(),
    WordCountFilter(),
    MeanWordLengthFilter(),
    SymbolsToWordsFilter(),
    BulletsFilter(),
    EllipsisFilter(),
    WordsWithoutAlphabetsFilter(),
    CommonEnglishWordsFilter(),
    RepeatedLinesFilter(0.7),
    RepeatedParagraphsFilter(0.7),
    RepeatedLinesByCharFilter(0.8),
    RepeatedParagraphsByCharFilter(0.8),
    *(RepeatingTopNGramsFilter(n, limit) for n, limit in ((2, 0.2), (3, 0.18), (4, 0.16))),
    *(
        RepeatingDuplicateNGramsFilter(n, limit)
        for n, limit in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.1))
    ),
]  # the four of repeated lines and paragraphs keep what is unique above a share: 0.7 and 0.8 are Gopher's 0.3 and 0.2


def main() -> None:
    """Time the chain."""
    texts = pq.read_table(sys.argv[1], columns=["text"]).column("text").to_pylist()
    stage = ScoreFilter(filter_obj=CHAIN, text_field="text")
    for one in CHAIN:  # each loads what it loads at first
        one.score_document(texts[0])
    begun, kept = time.process_time(), 0
    for start in range(0, len(texts), _BATCH):
        frame = pd.DataFrame({"text": texts[start : start + _BATCH]})
        kept += len(stage.process(DocumentBatch(dataset_name="texts", data=frame)).to_pandas())
    print(json.dumps({"cpu_s": time.process_time() - begun, "kept": kept}))


if __name__ == "__main__":
    main()
