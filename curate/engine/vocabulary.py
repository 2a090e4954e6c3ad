"""Trains a tokenizer on a corpus: byte-level BPE, or Unigram over the same bytes.

Both know every text: it is split as GPT-2 does, and tokens are made of its bytes, so there is no unknown
token, and ids decode to the text. The same corpus and options give the same file.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pyarrow.compute as pc
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from curate.engine.rules import parse_rule
from curate.engine.shard import plan_shards, read_texts
from curate.lake.digest import digest_column
from curate.lake.disk import disk_errors
from curate.lake.lake import Lake
from curate.models.encoder import Encoder
from curate.reports.numbers import size as readable
from curate.stages.tokenize import read_tokenizer
from schemas.errors import LakeError, RecipeError, RuleError, UsageError

Kind = Literal["bpe", "unigram"]
SPECIAL = ("<|endoftext|>", "<|pad|>")  # ids 0 and 1
LEAST = 256 + len(SPECIAL)
_UNSEEN = ("text", "extra", "redactions", "key")  # columns of corpus that a `where` may not name
_HELD_OUT = 20  # one document in so many is not trained on, but shows how well the tokenizer does
_DECIMALS = (
    9  # of a Unigram score: its trainer adds numbers in an order of chance, and so differs in the 14th
)


@dataclass(frozen=True)
class TextCount:
    """Documents, their bytes of UTF-8, and their tokens."""

    documents: int = 0
    bytes: int = 0
    tokens: int = 0


@dataclass(frozen=True)
class Trained:
    """A tokenizer that was trained: what it was made of, and how it does on documents that were held out."""

    file: str
    kind: str
    vocabulary: int
    corpus_version: int
    documents: int  # trained on
    bytes: int
    unchanged: bool  # the file was there already
    held_out: dict[str, TextCount] = field(default_factory=dict)  # by language, largest first


def train_tokenizer(
    lake: str | Path,
    out: str | Path,
    *,
    name: str = "",
    vocab: int = 32_000,
    kind: Kind = "bpe",
    where: str = "",
    sample_mb: float = 200,
) -> Trained:
    """Train on the corpus as it stands, or on a sample of it, and write a tokenizer.json.

    The sample is drawn by a hash of ids, until it has `sample_mb` million characters. A file that is there is not
    replaced; if it is the same, nothing is written.

    Raises:
        UsageError: fewer tokens than bytes, more than the text gives, no sample, or another file is there.
        LakeError: there is no corpus, or it is empty.
        RuleError: `where` cannot be judged, or is true for no document.
    """
    if sample_mb <= 0:
        raise UsageError(
            f"--sample-mb {sample_mb:g} leaves no text.", hint="The usual is 200; more takes longer."
        )
    target = _target(Path(out), kind, vocab)
    home = Lake(lake)
    with disk_errors(home.root):
        version, documents = _documents(home, home.require(name), where)
        held_out, sample = _drawn(documents, int(sample_mb * 1e6))
        size = 0

        def texts() -> Iterator[list[str]]:
            nonlocal size
            for _, batch in _batches(sample):
                size += int(pc.sum(pc.binary_length(batch)).as_py() or 0)
                yield batch.to_pylist()

        tokenizer = _train(texts(), kind, vocab)
        made = int(tokenizer.get_vocab_size())
        if made < vocab:
            fewer = made - made % 10 ** (len(str(made)) - 2)
            raise UsageError(
                f"The text ({readable(size)}) is too little for {vocab:,} tokens: it gives {made:,}.",
                hint=f"Ask for fewer (--vocab {max(fewer, LEAST)}), or train on more text (--sample-mb).",
            )
        counted = _count(held_out, tokenizer)
    unchanged = _write(tokenizer, target)
    return Trained(str(target), kind, made, version, len(sample), size, unchanged, counted)


def _target(out: Path, kind: Kind, vocab: int) -> Path:
    """The file to be written; one that is there must be able to be the same."""
    if vocab < LEAST:
        raise UsageError(
            f"{vocab:,} tokens are too few: 256 bytes and {len(SPECIAL)} special tokens are {LEAST}.",
            hint="The usual numbers are 16000 to 128000; 32000 without --vocab.",
        )
    path = out.expanduser().absolute()
    path = path / "tokenizer.json" if path.is_dir() else path
    if path.exists():
        try:
            tokenizer = read_tokenizer(path)
        except RecipeError:
            raise _taken(path) from None
        if type(tokenizer.model).__name__.lower() != kind or tokenizer.get_vocab_size() != vocab:
            raise _taken(path)
    return path


def _taken(path: Path) -> UsageError:
    return UsageError(
        f"{path} is there, and is another file.", hint="-o FILE names another, or delete it first."
    )


def _documents(home: Lake, name: str, where: str) -> tuple[int, pl.DataFrame]:
    """Version of the lake, and the documents of the corpus: id, chars, language, file, row."""
    head = home.head()
    pin = head.pins.get(f"{name}/corpus")
    if pin is None:
        raise LakeError(f"{name} has no corpus yet.", hint="curate run makes it.")
    state = home.state(name, "corpus")
    schema = state.scan(pin).collect_schema()
    seen = {column: kind for column, kind in schema.items() if column not in _UNSEEN}
    kept = parse_rule(where, seen).fill_null(value=False) if where else pl.lit(value=True)
    parts = [
        pl.scan_parquet(state.folder / file, glob=False, schema=schema, missing_columns="insert")
        .with_row_index("row")
        .filter(kept)
        .select("id", "chars", "language", pl.lit(str(state.folder / file)).alias("file"), "row")
        .collect()
        for file in sorted(state.files(pin))
    ]
    documents = pl.concat(parts) if parts else pl.DataFrame()
    if documents.is_empty() and where and parts:
        raise RuleError(f"No document satisfies {where!r}.", hint="curate show corpus tells what there is.")
    if documents.is_empty():
        raise LakeError(
            f"The corpus of {name} holds no document.", hint="curate show tells what dropped them."
        )
    return head.seq, documents


def _drawn(documents: pl.DataFrame, chars: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Documents held out, and documents to train on, in the order in which they lie."""
    keys = documents.select(pl.format("tokenizer {}", "id")).to_series().to_arrow()
    drawn = documents.with_columns(drawn=pl.Series(digest_column(keys))).sort("drawn").drop("drawn")
    count = max(len(drawn) // _HELD_OUT, 1) if len(drawn) > 1 else 0
    parts = ((drawn.head(count), chars // _HELD_OUT), (drawn.slice(count), chars))
    begins = pl.col("chars").cum_sum().shift(1, fill_value=0)
    first, rest = (rows.filter(begins < limit) for rows, limit in parts)
    return first.sort("file", "row"), rest.sort("file", "row")


def _batches(rows: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, Any]]:
    """Rows and their texts, a shard at a time."""
    for start, stop in plan_shards(rows):
        part = rows.slice(start, stop - start)
        yield part, read_texts(part)


def _train(texts: Iterator[list[str]], kind: Kind, vocab: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE() if kind == "bpe" else models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    common: dict[str, Any] = {
        "vocab_size": vocab,
        "special_tokens": list(SPECIAL),
        "initial_alphabet": sorted(pre_tokenizers.ByteLevel.alphabet()),
        "show_progress": False,
    }
    makers: dict[str, Any] = {
        "bpe": partial(trainers.BpeTrainer, min_frequency=2),
        "unigram": trainers.UnigramTrainer,
    }
    trainer = makers[kind](**common)
    _stoppable(lambda: tokenizer.train_from_iterator(texts, trainer))
    return tokenizer if kind == "bpe" else _settled(tokenizer)


def _stoppable(work: Callable[[], None]) -> None:
    """Work in a thread of its own, so that this one hears Ctrl-C: trainers do not look up for minutes."""
    done: Future[None] = Future()

    def run() -> None:
        try:
            work()
            done.set_result(None)
        except BaseException as error:  # noqa: BLE001 - raised again below
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    done.result()


def _settled(tokenizer: Tokenizer) -> Tokenizer:
    """A Unigram without what its trainer leaves to chance: last digits of scores, and the order of equals.

    Bytes that do not occur get the least score and steps of 0.0001 above it, in an order of chance; here all of them
    get the least.
    """
    data = json.loads(tokenizer.to_str())
    special, rest = data["model"]["vocab"][: len(SPECIAL)], data["model"]["vocab"][len(SPECIAL) :]
    least = min(score for _, score in rest)
    scores = {}
    for token, score in rest:
        steps = (score - least) * 10_000
        never = len(token) == 1 and steps < 256 and abs(steps - round(steps)) < 1e-6
        scores[token] = round(least if never else score, _DECIMALS)
    ordered = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    data["model"]["vocab"] = [*special, *map(list, ordered)]
    return Tokenizer.from_str(json.dumps(data))


def _count(held_out: pl.DataFrame, tokenizer: Tokenizer) -> dict[str, TextCount]:
    """How long held-out documents are, by language."""
    encoder = Encoder(tokenizer)
    parts = []
    for rows, batch in _batches(held_out):
        ids_end = encoder.encode(batch.to_pylist())[1]
        sizes = pl.Series("bytes", pc.binary_length(batch))
        parts.append(rows.select("language", sizes, pl.Series("tokens", ids_end).diff().tail(len(rows))))
    if not parts:
        return {}
    sums = pl.concat(parts).group_by("language").agg(pl.len(), pl.col("bytes", "tokens").sum())
    ordered = sums.sort("bytes", "language", descending=[True, False])
    return {language: TextCount(*numbers) for language, *numbers in ordered.iter_rows()}


def _write(tokenizer: Tokenizer, path: Path) -> bool:
    """Write the file, whole or not at all; returns whether it was there already."""
    data = tokenizer.to_str(pretty=True).encode()
    if path.exists():
        if path.read_bytes() != data:
            raise _taken(path)
        return True
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return False
