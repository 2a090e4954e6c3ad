"""FineWeb's four filters by datatrove, in an environment of its own: python plain_datatrove.py TEXTS.parquet [OUT.parquet]

The chain as in datatrove's examples/fineweb.py: Gopher repetition, Gopher quality, C4 without terminal punctuation,
FineWeb; a document ends at the first filter that drops it. Prints JSON: `cpu_s` of the chain, and `ready_cpu_s` of
the same with all words and sentences looked up in a dictionary (`--ready`). With OUT, what each filter says alone is
written too: the columns chain, repetition, quality, c4, fineweb ("" is kept), and the text that c4 left.
"""

from __future__ import annotations

import argparse
import json
import time

import pyarrow as pa
import pyarrow.parquet as pq
from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    c4_filters,
    fineweb_quality_filter,
    gopher_quality_filter,
    gopher_repetition_filter,
)

FILTERS = {
    "repetition": GopherRepetitionFilter(),
    "quality": GopherQualityFilter(),
    "c4": C4QualityFilter(filter_no_terminal_punct=False),
    "fineweb": FineWebQualityFilter(),
}
SPLITTERS = [
    (gopher_repetition_filter, "split_into_words"),
    (gopher_quality_filter, "split_into_words"),
    (fineweb_quality_filter, "split_into_words"),
    (c4_filters, "split_into_sentences"),
]


def reason(name: str, document: Document) -> str:
    """What a filter says: "" for a document that it keeps."""
    said = FILTERS[name].filter(document)
    return "" if said is True else said[1]


def chain(text: str) -> str:
    """The first reason of the chain."""
    document = Document(text=text, id="")
    return next((said for name in FILTERS if (said := reason(name, document))), "")


def alone(text: str) -> dict[str, str]:
    """What each filter says of the text as it is, and what c4 makes of it."""
    said = {name: reason(name, Document(text=text, id="")) for name in FILTERS if name != "c4"}
    document = Document(text=text, id="")
    return {**said, "c4": reason("c4", document), "c4_text": document.text}


def remembered(function):
    """The function with all its answers in a dictionary."""
    known: dict[tuple[str, str], list[str]] = {}

    def look_up(text, language):
        if (text, language) not in known:
            known[text, language] = function(text, language)
        return known[text, language]

    return look_up


def seconds(texts: list[str]) -> float:
    """Processor time of the chain over all texts."""
    begun = time.process_time()
    for text in texts:
        chain(text)
    return time.process_time() - begun


def main() -> None:
    """Time the chain, and write what the filters say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("texts")
    parser.add_argument("out", nargs="?")
    parser.add_argument("--ready", action="store_true")
    options = parser.parse_args()
    texts = pq.read_table(options.texts, columns=["text"]).column("text").to_pylist()
    chain("Loads what is loaded at first. It is not timed.\n" * 20)
    figures = {"cpu_s": seconds(texts)}
    if options.out:
        rows = [{"chain": chain(text), **alone(text)} for text in texts]
        pq.write_table(pa.Table.from_pylist(rows), options.out)
    if options.ready:
        for module, name in SPLITTERS:
            setattr(module, name, remembered(getattr(module, name)))
        seconds(texts)
        figures["ready_cpu_s"] = seconds(texts)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
