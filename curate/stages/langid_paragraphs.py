"""Paragraphs in another language than the rest of their document: menus, quotations, cookie notices."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import Field

from curate.engine.stage import BESIDE_RECIPE, Batch, Measured, Options, stage
from curate.models.opening import LID_176, PREFIX, model_digest, open_model

_BLANK = re.compile(r"\n(?:[^\S\n]*\n)+")


class LangidParagraphsOptions(Options):
    """Which paragraphs are judged, and what becomes of those in another language."""

    paragraphs: Literal["measure", "drop"] = Field(
        "measure", description="measure those in another language only, or take them out of the text"
    )
    min_chars: int = Field(
        100, ge=1, description="characters of a paragraph that is judged; of less the language is a guess"
    )
    min_score: float = Field(
        0.8, gt=0, le=1, description="probability from which a paragraph's language is taken to be known"
    )
    model: Annotated[str | None, BESIDE_RECIPE] = Field(
        None, description="path of a fastText model; without it the packaged lid.176.ftz"
    )


def _path(options: LangidParagraphsOptions) -> Path:
    return Path(options.model) if options.model else LID_176


@stage(
    measures=pa.struct(
        [
            ("main_language", pa.string()),
            ("paragraphs", pa.int32()),
            ("other_paragraphs", pa.int32()),
            ("other_share", pa.float64()),
        ]
    ),
    version=1,
    rewrites=True,
    libraries=("fasttext-community",),
    models=lambda options: (model_digest(_path(options)),),
)
def langid_paragraphs(batch: Batch, options: LangidParagraphsOptions) -> Measured:
    """Measure how much of a document stands in another language than the most of it, paragraph by paragraph.

    `main_language` is the language with most characters among the paragraphs that are judged, "" if none is;
    `paragraphs` counts those judged, `other_paragraphs` those of them in another language, `other_share` is their share
    of the document's characters. Paragraphs lie between blank lines; in a text without blank lines every line is one.
    With `paragraphs = "drop"` those in another language are taken out, with the blank lines after them, and the
    measurements tell what was there before.

    A paragraph is judged from 100 characters on, as lines are for OSCAR (Ortiz Suárez et al. 2019). Of 1,000 documents
    of five paragraphs of Wikipedia in one of 12 languages and a sixth of 120 characters or more in another (XQuAD), the
    sixth was found in 991, and no paragraph of 1,000 documents in one language was taken for another. Of 12,294
    paragraphs of English documentation 13 were: code and lists of names (with `min_score` 0.5 it were 73 of 18,000).
    """
    predict = open_model(_path(options)).f.predict
    rows = [_judged(text, options, predict) for text in batch.text.to_pylist()]
    main, counts, others, shares, texts = zip(*rows, strict=True) if rows else ((), (), (), (), ())
    measures = {
        "main_language": pa.array(main, pa.string()),
        "paragraphs": pa.array(counts, pa.int32()),
        "other_paragraphs": pa.array(others, pa.int32()),
        "other_share": pa.array(shares, pa.float64()),
    }
    return Measured(
        measures, pa.array(texts, pa.large_string()) if options.paragraphs == "drop" else batch.text
    )


def _judged(text: str, options: LangidParagraphsOptions, predict: Any) -> tuple[str, int, int, float, str]:
    """Main language, paragraphs judged, those in another language, their share, and the text without them."""
    pieces = _pieces(text)
    labels = [_label(piece, options, predict) for piece in pieces]
    sizes: dict[str, int] = {}
    for piece, label in zip(pieces, labels, strict=True):
        sizes[label] = sizes.get(label, 0) + len(piece)
    sizes.pop("", None)
    if len(sizes) < 2:
        return next(iter(sizes), ""), sum(map(bool, labels)), 0, 0.0, text
    main = min(sizes, key=lambda label: (-sizes[label], label))
    others = [label not in ("", main) for label in labels]
    share = sum(len(piece) for piece, other in zip(pieces, others, strict=True) if other) / len(text)
    left = "".join(piece for piece, other in zip(pieces, others, strict=True) if not other).rstrip("\n")
    return main, sum(map(bool, labels)), sum(others), round(share, 6), left


def _pieces(text: str) -> list[str]:
    """The paragraphs, each with the line ends after it: together they are the text."""
    ends = [match.end() for match in _BLANK.finditer(text)]
    if not ends:
        return text.splitlines(keepends=True)
    return [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True) if start < end]


def _label(piece: str, options: LangidParagraphsOptions, predict: Any) -> str:
    """The language of a paragraph; "" if it is too short or too uncertain."""
    if len(piece.strip()) < options.min_chars:
        return ""
    best = predict(" ".join(piece.split()) + "\n", 1, 0.0, "strict")
    return best[0][1].removeprefix(PREFIX) if best and best[0][0] >= options.min_score else ""
