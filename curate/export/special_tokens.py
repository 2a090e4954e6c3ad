"""The tokens of a tokenizer that end a document and fill up a sequence."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from curate.stages.tokenize import TokenizeOptions, open_tokenizer, tokenizer_path
from schemas.errors import RecipeError, did_you_mean

# Where no tokenizer_config.json names them: what published tokenizers call them. [SEP] parts two texts and is
# no end; <|im_end|> and <|eot_id|> end a turn of a conversation, not a document.
_ENDS = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "[EOS]", "<｜end▁of▁sentence｜>")
_PADS = ("<pad>", "[PAD]", "<|pad|>", "<|padding|>", "<|finetune_right_pad_id|>")
_SHOWN = 20


@dataclass(frozen=True)
class SpecialTokens:
    """Spelling and id of both, and the number above the largest id of the tokenizer."""

    end: str
    end_id: int
    pad: str
    pad_id: int
    vocabulary: int


def special_tokens(options: TokenizeOptions, end: str = "") -> SpecialTokens:
    """The end token: `end`, else the one that the tokenizer names. The padding token: its own, else the end token.

    A tokenizer names them in the tokenizer_config.json beside its file, or by a special token that is spelled
    as usual.

    Raises:
        RecipeError: `end` is no token of the tokenizer, or nothing is named.
    """
    tokenizer, path = open_tokenizer(options), tokenizer_path(options)
    ids = tokenizer.get_vocab(with_added_tokens=True)
    special = [token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special]
    named = _named(path.with_name("tokenizer_config.json"))
    ends = [end] if end else [named.get("eos_token", ""), *(token for token in _ENDS if token in special)]
    pads = [named.get("pad_token", ""), *(token for token in _PADS if token in special)]
    ending = next((token for token in ends if token in ids), None)
    if ending is None:
        raise _no_end(end, special, path)
    padding = next((token for token in pads if token in ids), ending)
    return SpecialTokens(ending, ids[ending], padding, ids[padding], max(ids.values()) + 1)


def _named(config: Path) -> dict[str, str]:
    """Tokens that a tokenizer_config.json names: a string, or an object with the string as `content`."""
    try:
        found = json.loads(config.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    items = found.items() if isinstance(found, dict) else ()
    names = {key: value.get("content") if isinstance(value, dict) else value for key, value in items}
    return {key: value for key, value in names.items() if isinstance(value, str)}


def _no_end(end: str, special: list[str], path: Path) -> RecipeError:
    has = ", ".join(special[:_SHOWN]) + (f" and {len(special) - _SHOWN} more" if special[_SHOWN:] else "")
    told = f"its special tokens are {has}" if special else "it has no special tokens"
    if end:
        return RecipeError(
            f'The tokenizer {path} has no token "{end}": {told}.', hint=did_you_mean(end, special)
        )
    example = next((token for token in ("[SEP]", *special) if token in special), "</s>")
    return RecipeError(
        f"The tokenizer {path} names no token that ends a document: {told}.",
        hint=f'Name the token of it that is put after each document: end = "{example}".',
    )
