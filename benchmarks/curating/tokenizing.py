"""Our step `tokenize` beside `tokenizers`' `encode_batch_fast`: the same documents, one core, ids compared.

Each round has documents of its own, since the fast libraries keep words that they have met; the first part is not timed.
The step gives numbers of tokens from the ids, and its own check of a sample by `tokenizers` is in its time. The peer is
given Python strings and only makes its encodings. `wordpiece` is the default tokenizer (all-MiniLM-L6-v2), `bpe` a
byte-level one of 16,000 tokens with GPT-2's regular expression, trained on other documents.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from operator import ne
from pathlib import Path

import polars as pl
import pyarrow as pa
from curating.chains import megabytes_of, parts_of
from measuring import Figures, interleaved
from tokenizers import ByteLevelBPETokenizer

from curate.engine.shard import MAX_ROWS
from curate.engine.stage import Batch, find_stage
from curate.stages.tokenize import TokenizeOptions, open_tokenizer, token_ids

_VOCABULARY = 16_000


def compare(texts: pl.Series, folder: Path, megabytes: float, rounds: int) -> Figures:
    """Time both on `rounds` parts of so many megabytes. Both tokenizers; `tokenize` is the smaller ratio."""
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}  # one core for all
    first, *parts, others = parts_of(texts, megabytes, rounds + 2)
    bpe = folder / "bpe.json"
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(others.to_list(), vocab_size=_VOCABULARY, show_progress=False)
    trained.save(str(bpe))
    figures: Figures = {}
    for name, options in {
        "wordpiece": TokenizeOptions(),
        "bpe": TokenizeOptions(tokenizer=str(bpe)),
    }.items():
        figures[f"tokenize_{name}"] = _compare(options, first, parts)
    figures["tokenize"] = {
        "ratio": min(figure["ratio"] for figure in figures.values()),
        "differences": sum(figure["differences"] for figure in figures.values()),
    }
    return figures


def _compare(options: TokenizeOptions, first: pl.Series, parts: list[pl.Series]) -> dict[str, float]:
    peer = open_tokenizer(options)
    arrow = [part.to_arrow().cast(pa.large_string()) for part in parts]
    strings = [part.to_list() for part in parts]
    _step(first.to_arrow().cast(pa.large_string()), options)
    peer.encode_batch_fast(first.to_list(), add_special_tokens=False)
    ours_left, peers_left = iter(arrow), iter(strings)
    candidates: dict[str, Callable[[], object]] = {
        "ours": lambda: _step(next(ours_left), options),
        "peer": lambda: peer.encode_batch_fast(next(peers_left), add_special_tokens=False),
    }
    found = interleaved(candidates, len(parts))
    ours, theirs = (sum(cost.cpu_s for cost in found[name].costs) for name in ("ours", "peer"))
    differences = 0
    for texts, plain in zip(arrow, strings, strict=True):
        wanted = [one.ids for one in peer.encode_batch_fast(plain, add_special_tokens=False)]
        differences += sum(map(ne, token_ids(texts, options).to_pylist(), wanted))
    size = sum(map(megabytes_of, parts))
    return {
        "documents": sum(map(len, parts)),
        "mb": size,
        "mb_per_cpu_s": size / ours,
        "peer_mb_per_cpu_s": size / theirs,
        "ratio": theirs / ours,
        "differences": differences,
    }


def _step(texts: pa.LargeStringArray, options: TokenizeOptions) -> None:
    stage = find_stage("tokenize")
    for start in range(0, len(texts), MAX_ROWS):
        stage.run(Batch(pa.concat_arrays([texts.slice(start, MAX_ROWS)])), options)
