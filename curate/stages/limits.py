"""The limits of a document's own language, as FineWeb-2 found them for 1,928 languages."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from curate.engine.stage import BESIDE_RECIPE, Batch, Measured, Options, stage
from curate.models.opening import model_digest
from curate.text.words import count_distinct, find_words
from schemas.errors import RecipeError

_PACKAGED = Path(__file__).parent / "data" / "fineweb-2.json"
_OFF = 1e9  # a limit that no document passes
_NGRAMS = [f"top_{n}_gram" for n in (2, 3, 4)] + [f"duplicated_{n}_n_grams" for n in range(5, 11)]
# What lid.176 calls the languages whose limits are packaged; GlotLID calls them as the files do.
_CODES = {
    "ar": "arb_Arab", "de": "deu_Latn", "el": "ell_Grek", "es": "spa_Latn", "fa": "fas_Arab", "fr": "fra_Latn", "hi": "hin_Deva",
    "it": "ita_Latn", "ja": "jpn_Jpan", "ko": "kor_Hang", "nl": "nld_Latn", "pl": "pol_Latn", "pt": "por_Latn", "ru": "rus_Cyrl",
    "th": "tha_Thai", "tr": "tur_Latn", "uk": "ukr_Cyrl", "vi": "vie_Latn", "zh": "cmn_Hani",
}  # fmt: skip
_MEASURES = pa.struct(
    [("known", pa.bool_()), ("stop_words", pa.int64())]
    + [
        (name, pa.float64())
        for name in (
            "language_score", "dup_line_frac", *_NGRAMS, "line_punct_ratio", "list_ratio", "least_word_length",
            "most_word_length", "alpha_word_ratio", "least_stop_words",
        )
    ]
)  # fmt: skip


class LimitsOptions(Options):
    """Where the limits come from."""

    limits: Literal["fineweb-2"] = Field("fineweb-2", description="whose limits: 19 languages are packaged")
    files: Annotated[str | None, BESIDE_RECIPE] = Field(
        None,
        description="instead of the packaged languages: a file of FineWeb-2's `configs` (fra_Latn.yml), or a folder of them",
    )
    least_stop_words: int = Field(2, ge=0, description="different stop words that a text should have")


class _Language(BaseModel):
    """One file of FineWeb-2's `configs`."""

    model_config = ConfigDict(extra="forbid")

    language_score: float
    dup_line_frac: float
    line_punct_thr: float
    min_avg_word_length: float
    max_avg_word_length: float
    max_non_alpha_words_ratio: float
    new_line_ratio: float
    top_n_grams: list[tuple[int, float]]
    dup_n_grams: list[tuple[int, float]]
    stopwords: list[str]


def _files(options: LimitsOptions) -> list[Path]:
    """The files that the option names.

    Raises:
        RecipeError: there is none.
    """
    if options.files is None:
        return [_PACKAGED]
    path = Path(options.files)
    found = sorted(path.glob("*.yml")) if path.is_dir() else [path]
    if not found or not all(file.is_file() for file in found):
        raise RecipeError(
            f"There is no {path}, or no .yml file in it.",
            hint="Name a file of FineWeb-2's configs (fra_Latn.yml) or a folder of them, or leave `files` out.",
        )
    return found


@stage(
    measures=_MEASURES,
    version=1,
    reads=("langid.language",),
    models=lambda options: tuple(model_digest(file) for file in _files(options)),
)
def limits(batch: Batch, options: LimitsOptions) -> Measured:
    """Look up the limits that FineWeb-2 uses for the language of a text, for rules that compare with them.

    The numbers are those of Penedo et al. 2025 (FineWeb-2, arXiv:2506.20920), whose `configs` have a file for
    each of 1,928 languages. `known` says whether the language has limits, `stop_words` how many different stop
    words of its language a text has, and every other measurement is a limit under the name of what it is
    compared with:

    ```toml
    [filtered.limits]

    [filtered.gopher_repetition]
    drop.dup_line_frac = "dup_line_frac > limits.dup_line_frac"
    ```

    As in datatrove, 0 and -1 switch a test off; such a limit, and all of a language without limits, is 1e9 where
    more is dropped and -1e9 where less is. Packaged are 19 languages (`ar de el es fa fr hi it ja ko nl pl pt ru
    th tr uk vi zh`), with stop words for `de es fr it nl pt`; another language needs its file, whose name is
    what the model of `langid` calls it (GlotLID: `fra_Latn`). Stop words are looked for as plain words, and
    `l'` as the beginning of one; FineWeb-2 splits words with a tokenizer of each language.
    """
    table = _table(tuple(_files(options)))
    languages = batch.columns["langid.language"].to_pylist()
    names = [_CODES.get(name, name) if _CODES.get(name) in table else name for name in languages]
    unknown = _limits(None, options.least_stop_words)
    rows = {name: _limits(table[name], options.least_stop_words) for name in set(names) & table.keys()}
    columns: dict[str, Any] = {
        field: np.array([rows.get(name, unknown)[field] for name in names], np.float64) for field in unknown
    }
    columns["known"] = np.array([name in rows for name in names], np.bool_)
    columns["stop_words"] = _stop_words(batch.text, names, {name: table[name].stopwords for name in rows})
    return Measured({field.name: pa.array(columns[field.name]) for field in _MEASURES})


def _limits(language: _Language | None, least_stop_words: int) -> dict[str, float]:
    """The limits of a language by measurement; those that drop nothing for none."""
    if language is None:
        most = dict.fromkeys(("dup_line_frac", *_NGRAMS, "list_ratio", "most_word_length"), _OFF)
        least = (
            "language_score",
            "line_punct_ratio",
            "least_word_length",
            "alpha_word_ratio",
            "least_stop_words",
        )
        return {**most, **dict.fromkeys(least, -_OFF)}
    ngrams = [limit for _, limit in [*language.top_n_grams, *language.dup_n_grams]]
    return {
        "language_score": language.language_score,
        "dup_line_frac": language.dup_line_frac or _OFF,
        **dict(zip(_NGRAMS, ngrams, strict=True)),  # datatrove does not take 0 for off here
        "line_punct_ratio": language.line_punct_thr if language.line_punct_thr > 0 else -_OFF,
        "list_ratio": language.new_line_ratio,
        "least_word_length": language.min_avg_word_length or -_OFF,
        "most_word_length": language.max_avg_word_length or _OFF,
        "alpha_word_ratio": language.max_non_alpha_words_ratio or -_OFF,
        "least_stop_words": float(least_stop_words) if language.stopwords else -_OFF,
    }


@lru_cache(maxsize=4)
def _table(files: tuple[Path, ...]) -> Mapping[str, _Language]:
    """Language → its limits.

    Raises:
        RecipeError: a file that is none of FineWeb-2's.
    """
    if files == (_PACKAGED,):
        packaged = json.loads(_PACKAGED.read_text("utf-8"))
        return {name: _Language(**limits) for name, limits in packaged.items()}
    return {file.stem: _read(file) for file in files}


def _read(file: Path) -> _Language:
    try:
        return _Language.model_validate(yaml.safe_load(file.read_text("utf-8")))
    except (yaml.YAMLError, ValidationError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"{file} is no file of FineWeb-2's configs: {str(error).splitlines()[0]}",
            hint="It has ten keys, from dup_line_frac to top_n_grams.",
        ) from None


def _stop_words(
    text: pa.LargeStringArray, languages: Sequence[str], stop_words: Mapping[str, Sequence[str]]
) -> np.ndarray:
    """(texts) how many different stop words of its language each text has."""
    found = np.zeros(len(text), np.int64)
    names = np.array(languages, object)
    for language, entries in stop_words.items():
        rows = np.flatnonzero(names == language)
        mine = text.take(pa.array(rows))
        words = [entry for entry in entries if not entry.endswith("'")]
        found[rows] = count_distinct(mine, find_words(mine), words) if words else 0
        for entry in set(entries) - set(words):
            begins = pc.match_substring_regex(mine, rf"(^|[^\pL\pN]){re.escape(entry)}[\pL\pN]")
            found[rows] += begins.to_numpy(zero_copy_only=False)
    return found
