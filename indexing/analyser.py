"""Terms of the lexical index: the same function for passages and questions.

Compatibility forms are folded (NFKC), case is folded, words are runs of letters, marks and numbers. Scripts
that are written without spaces (Chinese, Japanese kana, Thai, Lao, Khmer, Burmese) give overlapping pairs of
characters; all others are stemmed by Snowball in the language of their document.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable
from functools import cache
from typing import Any

from curate.text.decompose import normal_form
from schemas.errors import missing_extra

ANALYSER = "words-bigrams-snowball/1"  # stored in every index: raise the number when terms change

_STEMMERS = {
    "ar": "arabic", "ca": "catalan", "da": "danish", "de": "german", "el": "greek", "en": "english",
    "es": "spanish", "et": "estonian", "eu": "basque", "fi": "finnish", "fr": "french", "ga": "irish",
    "hi": "hindi", "hu": "hungarian", "hy": "armenian", "id": "indonesian", "it": "italian",
    "lt": "lithuanian", "nb": "norwegian", "ne": "nepali", "nl": "dutch", "nn": "norwegian", "no": "norwegian", "pt": "portuguese",
    "ro": "romanian", "ru": "russian", "sr": "serbian", "sv": "swedish", "ta": "tamil", "tr": "turkish",
    "yi": "yiddish",
}  # fmt: skip
_UNSPACED = (
    "\u0e01-\u0e3a\u0e40-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005\u3007\u3041-\u30fa\u30fc-\u30ff"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua9e0-\ua9ff\uaa60-\uaa7f\uf900-\ufaff\U00020000-\U0003ffff"
)
_PARTS = re.compile(f"[{_UNSPACED}]+|[^_{_UNSPACED}]+")
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")
_CACHED = 1_000_000  # distinct words that are remembered, about 150 MB


class Analyser:
    """Turns texts of one language into terms. Remembers the stem of every word it has seen."""

    def __init__(self, language: str = "") -> None:
        self._stem = _stemmer(language)
        self._terms: dict[str, tuple[str, ...]] = {}

    def __call__(self, text: str) -> list[str]:
        """The terms of a text, in order, with repetitions."""
        known = self._terms
        terms: list[str] = []
        for word in _words().findall(normal_form("NFKC", text).casefold()):
            found = known.get(word)
            if found is None:
                found = self._split(word)
                if len(known) < _CACHED:
                    known[word] = found
            terms += found
        return terms

    def _split(self, word: str) -> tuple[str, ...]:
        terms: list[str] = []
        for part in _PARTS.findall(word):
            if _IS_UNSPACED.match(part):
                terms += [part] if len(part) == 1 else [part[i : i + 2] for i in range(len(part) - 1)]
            else:
                terms.append(self._stem(part))
        return tuple(terms)


def stemmed_languages(languages: Iterable[str]) -> list[str]:
    """Those of the languages (ISO 639-1) that have a stemmer."""
    return sorted(set(languages) & set(_STEMMERS))


def query_terms(question: str, languages: Iterable[str]) -> list[tuple[str, ...]]:
    """The distinct words of a question, each with its stems in the languages of the index.

    The language of a question of three words cannot be told, so a word stands for all its stems, and is one
    term when passages are ranked: each passage holds only stems of its own language.
    """
    readings = [_analyser(language)(question) for language in ("", *stemmed_languages(languages))]
    words = [tuple(dict.fromkeys(stems)) for stems in zip(*readings, strict=True)]
    return list(dict.fromkeys(words))


@cache
def _analyser(language: str) -> Analyser:
    return Analyser(language)


@cache
def _words() -> re.Pattern[str]:
    # `\w` lacks combining marks, without which Hindi and Thai words fall apart.
    marks = "".join(chr(i) for i in range(0x300, 0x20000) if unicodedata.category(chr(i))[0] == "M")
    return re.compile(f"[\\w{re.escape(marks)}]+")


def _stemmer(language: str) -> Any:
    name = _STEMMERS.get(language)
    if name is None:
        return sys.intern
    try:
        import snowballstemmer
    except ImportError:
        raise missing_extra("index", "The lexical index", "snowballstemmer") from None
    return snowballstemmer.stemmer(name).stemWord
