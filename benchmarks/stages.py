"""Megabytes a second of every stage on one core, and of the library behind it where that is used alone.

    python benchmarks/stages.py [--data FILE] [--stage repair]

A stage runs with its default options over batches as the engine gives them; its batch is new each time, so
that words and lines are found again. Peers run on the same texts in the same rounds: `ftfy.fix_text` on every
text, fastText on whole texts, `tokenizers` on all texts at once.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa
from measuring import Figures, arguments, finish, interleaved, machine
from texts import add_data, bulk_file, read_texts, size_of

from curate.engine.shard import MAX_ROWS
from curate.engine.stage import Batch, Stage, find_stage, stage_names

Peer = Callable[[list[str]], object]


def main() -> None:
    """Measure every stage in turn with its peer."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one core for all
    parser = arguments(__doc__)
    add_data(parser)
    parser.add_argument("--stage", action="append", choices=stage_names(), help="only this one")
    parser.add_argument("--megabytes", type=float, default=10)
    options = parser.parse_args()
    where = machine("numba", "ftfy", "fasttext-community", "phonenumbers", "tokenizers")
    with tempfile.TemporaryDirectory() as folder:
        megabytes = 0.3 if options.quick else options.megabytes
        texts = read_texts(bulk_file(options, Path(folder)), int(megabytes * 1e6))
    peers, strings, size = _peers(), texts.to_pylist(), size_of(texts) / 1e6
    figures: Figures = {}
    for name in options.stage or stage_names():
        stage = find_stage(name)
        if any(field.is_required() for field in stage.options.model_fields.values()):
            continue  # it needs a model of one's own
        _run(stage, texts.slice(0, 10))  # compiles, opens models
        candidates: dict[str, Callable[[], object]] = {name: partial(_run, stage, texts)}
        if name in peers:
            candidates[f"{name}_peer"] = partial(peers[name], strings)
        for what, one in interleaved(candidates, 1 if options.quick else 3).items():
            figures[what] = {"mb": size, "cpu_s": one.median.cpu_s, "mb_per_cpu_s": size / one.median.cpu_s}
    finish(options, where, figures)


def _run(stage: Stage, texts: pa.LargeStringArray) -> None:
    options = stage.options()
    for start in range(0, len(texts), MAX_ROWS):
        part = pa.concat_arrays([texts.slice(start, MAX_ROWS)])
        stage.run(Batch(part, _read(stage, len(part))), options)


def _read(stage: Stage, count: int) -> dict[str, pa.Array]:
    """The columns that a stage reads: English pages of a site."""
    given = {"langid.language": "en", "url": "https://a.example/guide/index.html", "passages": ""}
    return {name: pa.array([given[name]] * count, pa.large_string()) for name in stage.reads}


def _peers() -> dict[str, Peer]:
    """The library that a stage stands on, used as its documentation shows."""
    import ftfy
    from tokenizers import Tokenizer

    from curate.models.opening import LID_176, open_model
    from curate.stages.tokenize import TokenizeOptions, tokenizer_path

    model = open_model(LID_176)
    tokenizer = Tokenizer.from_file(str(tokenizer_path(TokenizeOptions())))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return {
        "repair": lambda texts: [ftfy.fix_text(text) for text in texts],
        "langid": lambda texts: [model.predict(text.replace("\n", " ")) for text in texts],
        "tokenize": tokenizer.encode_batch,
    }


if __name__ == "__main__":
    main()
