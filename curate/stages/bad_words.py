"""Obscene and otherwise bad words, from lists of 27 languages.

The packaged lists are LDNOOBW's (CC BY 4.0, see `data/bad_words.NOTICE`): ar, cs, da, de, en, eo, es, fa, fi, fil, fr, hi,
hu, it, ja, kab, ko, nl, no, pl, pt, ru, sv, th, tlh, tr and zh. They are crude: a text about medicine, law or the lists
themselves has such words too, and a list made by English speakers misses most of what is said in other languages.
Dodge et al. 2021 (arXiv:2104.08758) show that C4's rule drops texts by and about minorities more than others; count
`distinct` words, or compare `words` with `length.words`, before dropping on one.
"""

from __future__ import annotations

import gzip
import json
import unicodedata
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate.engine.stage import BESIDE_RECIPE, Batch, Measured, Options, stage
from curate.text.entries import list_digest
from curate.text.wordlists import WordList, count_entries, make_word_list
from schemas.errors import RecipeError

_PACKAGED = Path(__file__).with_name("data") / "bad_words.json.gz"
_WITHOUT_SPACES = {"ja", "km", "lo", "my", "th", "zh"}
_NAMES = {  # what models other than lid.176 call the languages of the lists (ISO 639-3), and close relatives
    "ara": "ar", "arb": "ar", "ces": "cs", "cmn": "zh", "dan": "da", "deu": "de", "eng": "en", "epo": "eo",
    "fas": "fa", "fin": "fi", "fra": "fr", "hin": "hi", "hun": "hu", "ita": "it", "jpn": "ja", "kor": "ko", "nb": "no",
    "nld": "nl", "nn": "no", "nno": "no", "nob": "no", "nor": "no", "pes": "fa", "pol": "pl", "por": "pt", "rus": "ru",
    "spa": "es", "swe": "sv", "tgl": "fil", "tha": "th", "tl": "fil", "tur": "tr", "zho": "zh",
}  # fmt: skip
_HINT = 'A list is a JSON object, plain or .gz: {"en": ["word", "two words"], "de": [...]}'


class BadWordsOptions(Options):
    """Which lists."""

    lists: Annotated[str | None, BESIDE_RECIPE] = Field(
        None,
        description="path of lists of one's own, a JSON object (.json or .gz) of language and words; without it LDNOOBW",
    )


def _path(options: BadWordsOptions) -> str:
    return options.lists or str(_PACKAGED)


def _needs(options: BadWordsOptions) -> tuple[str, ...]:
    """The digest of the lists, which are read here too: what is wrong with them is told before the first document."""
    if not Path(_path(options)).is_file():
        raise RecipeError(f"There is no file {_path(options)} of lists.", hint=_HINT)
    digest = list_digest(_path(options))
    _words(_path(options), digest)
    return (digest,)


@stage(
    measures=pa.struct([("words", pa.int32()), ("distinct", pa.int32())]),
    version=1,
    reads=("langid.language",),
    models=_needs,
)
def bad_words(batch: Batch, options: BadWordsOptions) -> Measured:
    """Count bad words, by the list of the document's language as `langid` found it.

    `words` counts the places at which a word or phrase of the list stands, `distinct` how many different ones do.
    A language without a list gives 0, as does a clean text. Case does not count, and no letter, mark or number may
    stand beside a word; in Chinese, Japanese, Thai, Lao, Khmer and Burmese, which do not separate words, a word may
    stand within others. C4 (Raffel et al. 2020, arXiv:1910.10683) drops a document for one such word: `words > 0`, in
    all languages as datatrove's `C4BadWordsFilter`, whose exceptions for Chinese and Japanese hold here too.
    """
    lists = _words(_path(options), list_digest(_path(options)))
    language = pc.dictionary_encode(batch.columns["langid.language"])
    lower = pc.utf8_lower(batch.text)
    found, distinct = np.zeros(len(batch), np.int64), np.zeros(len(batch), np.int64)
    for number, label in enumerate(language.dictionary.to_pylist()):
        code = label.partition("_")[0]  # eng_Latn
        code = code if code in lists else _NAMES.get(code, code)
        if code in lists:
            rows = np.flatnonzero(language.indices.to_numpy() == number)
            counts = count_entries(lower, rows, lists[code], whole_words=code not in _WITHOUT_SPACES)
            found, distinct = found + counts[0], distinct + counts[1]
    return Measured({"words": pa.array(found, pa.int32()), "distinct": pa.array(distinct, pa.int32())})


@lru_cache(maxsize=4)
def _words(path: str, digest: str) -> dict[str, WordList]:
    """The list of each language; `digest` makes a changed file be read again.

    Raises:
        RecipeError: the file is no such list.
    """
    data = Path(path).read_bytes()
    try:
        found = json.loads(gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data)
    except (ValueError, OSError, EOFError, zlib.error, RecursionError) as error:
        raise RecipeError(f"The lists {path} are no JSON: {error}.", hint=_HINT) from error
    right = isinstance(found, dict) and all(
        isinstance(words, list) and all(isinstance(word, str) for word in words) for words in found.values()
    )
    if not right or not found:
        raise RecipeError(f"The lists {path} are no object of language and words.", hint=_HINT)
    return {
        language: make_word_list([unicodedata.normalize("NFC", word.strip()).lower() for word in words])
        for language, words in found.items()
    }
