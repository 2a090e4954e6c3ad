"""Token ids of many texts: those of `tokenizers`, by faster libraries as long as these agree with it.

fastokens (BPE) and nanotoken (WordPiece) read the same tokenizer.json and refuse what they do not know. Both
gave the ids of `tokenizers` for all of 100,000 documents (220 MB: English, German, code), 20 to 60 times as
fast on one core (November 2026). `tokenizers` decides: a library must agree with it on hard texts when a
tokenizer is opened, and on a sample of every call. Where it does not, `tokenizers` makes that call and all
that follow. It also makes every call with a text that spells out an added token which looks at what stands
around it (lstrip, rstrip, single_word): side by side, fastokens 0.3.5 reads such tokens otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from schemas.errors import StageError

# Ids of all texts one after the other, and the n + 1 places where they begin and end.
Ids = tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]
T = TypeVar("T")

# One text in 50 is compared: at 2 % of the work of `tokenizers` the check costs less than the fast library.
_EVERY, _EXCERPT = 50, 20_000  # texts; characters of each
_PROBES = (
    "", " ", "  a  b   c\n\n\t d \r\n e\n \n", "I'll DON'T we've 'S 's '", "x=1;y[0]+=2//3 a_b-c.d,e http://a.b/c?d=e&f#g",
    "0 12 345 6789 1.5e10 ½ ² Ⅷ ٣", "Größe naïve e\u0301 \u1e9b\u0323 İstanbul ǅ ΣΑΣ ﬁn ẞ K", "日本語 한국어 ไทย हिन्दी العربية",
    "👨‍👩‍👧 🇩🇪 ☕️ \U00010348 \U0001d49c \U000e0041", "\u00a0\u2003\u3000 \u200b\u200d\ufeff\u0085\u2028\x00\x01\x7f\ufffd\uffff",
    "x" * 300, " " * 300, "\n" * 300, "9" * 300, "the of and " * 30,
)  # fmt: skip


class Encoder:
    """A tokenizer, and the fast library that stands in for it; `special` adds the tokens that frame a text."""

    def __init__(self, tokenizer: Tokenizer, *, special: bool = False) -> None:
        self.size = int(tokenizer.get_vocab_size(with_added_tokens=True))
        self.differed = False  # a fast library was given up
        self._tokenizer, self._special = tokenizer, special
        self._choosy = _choosy(tokenizer)
        self._fast = _unless_broken(lambda: _fast(tokenizer, special))
        if self._fast is not None and not self._agrees([*_PROBES, *_spelled_out(tokenizer, self._choosy)]):
            self._fast = None

    def encode(self, texts: list[str]) -> Ids:
        """Ids of each text, as `tokenizers` gives them for it alone."""
        fast = self._fast
        if fast is not None and texts and not any(token in text for token in self._choosy for text in texts):
            start = sum(map(len, texts)) % min(len(texts), _EVERY)
            found = _unless_broken(lambda: fast(texts))
            if found is not None and self._agrees([text[:_EXCERPT] for text in texts[start::_EVERY]]):
                return found
            self._fast, self.differed = None, True
        return self._reference(texts)

    def _agrees(self, texts: list[str]) -> bool:
        fast = self._fast
        found = _unless_broken(lambda: fast(texts)) if fast is not None else None
        expected = _unless_broken(lambda: self._reference(texts))
        return found is not None and expected is not None and _same(found, expected)

    def _reference(self, texts: list[str]) -> Ids:
        encodings = _unless_broken(
            lambda: self._tokenizer.encode_batch_fast(texts, add_special_tokens=self._special)
        )
        if encodings is None:
            raise StageError(
                "tokenizers broke down on a text.",
                hint="Added tokens that take white space to themselves (lstrip, rstrip) can be the cause.",
            )
        ids = [np.array(encoding.ids, np.int32) for encoding in encodings]
        flat = np.concatenate(ids) if ids else np.empty(0, np.int32)
        return flat, np.cumsum([0, *map(len, ids)], dtype=np.int64)


def _same(left: Ids, right: Ids) -> bool:
    return np.array_equal(left[0], right[0]) and np.array_equal(left[1], right[1])


def _fast(tokenizer: Tokenizer, special: bool) -> Callable[[list[str]], Ids]:
    """The library for this kind of tokenizer; raises whatever it raises at what it does not know."""
    if type(tokenizer.model).__name__ == "WordPiece":
        from nanotoken import WordPieceTokenizer

        words = WordPieceTokenizer.from_json(tokenizer.to_str())

        def by_words(texts: list[str]) -> Ids:
            ids, ends = words.encode_batch(texts, add_special_tokens=special)
            return ids.view(np.int32), ends

        return by_words
    import fastokens

    pairs = fastokens.Tokenizer.from_json_str(tokenizer.to_str())

    def by_pairs(texts: list[str]) -> Ids:
        ids, ends = pairs.encode_batch_flat(texts, add_special_tokens=special)
        return np.frombuffer(ids, np.int32), np.frombuffer(ends, np.int64)

    return by_pairs


def _choosy(tokenizer: Tokenizer) -> list[str]:
    """Added tokens that look at their neighbours, as a text may spell them: not only so, where it is normalised."""
    added = tokenizer.get_added_tokens_decoder().values()
    tokens = [token for token in added if token.lstrip or token.rstrip or token.single_word]
    everywhere = tokenizer.normalizer is not None and any(token.normalized for token in tokens)
    return [""] if everywhere else [token.content for token in tokens]


def _spelled_out(tokenizer: Tokenizer, choosy: list[str]) -> list[str]:
    """The other added tokens, as a text may hold them: alone, between spaces, within a word, one after the other."""
    added = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    tokens = [token for token in added if token not in choosy][:100]
    each = [shape.replace("#", token) for token in tokens for shape in ("#", "a # b", "a#b", "\n#  # #")]
    lines = [
        between.join(order) for between in ("", " ", "  ", "\n", "a") for order in (tokens, tokens[::-1])
    ]
    return [*each, *lines]


def _unless_broken(function: Callable[[], T]) -> T | None:
    try:
        return function()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001 - a panic of Rust is no Exception
        return None
