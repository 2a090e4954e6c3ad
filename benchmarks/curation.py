"""Curation beside its peers: the FineWeb chain, tokens, a whole `curate clean`, every packaged recipe, heuristics.

    python benchmarks/curation.py                   # all parts; peers in environments of their own
    python benchmarks/curation.py --part tokenize   # one of them; may be given again
    python benchmarks/curation.py --parity          # 26,000 documents: every verdict and first reason, each filter alone

Texts are drawn by seed from data/bulk.py, for the parts `fineweb` and `heuristics` the English ones. What each part
compares is told in the modules of `curating`. Ratios are of processor time, so that another load of the machine changes
them little.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from curating import fineweb, heuristics, tokenizing, whole
from curating.chains import documents_of, english_of, parts_of
from measuring import Figures, arguments, finish, machine
from texts import add_data, bulk_file

PARITY = 26_000  # documents
MEGABYTES = {
    "fineweb": 8,
    "tokenize": 4,
    "clean": 30,
    "large": 100,
    "heuristics": 4,
}  # of texts that are timed
RECIPE_DOCUMENTS = 20_000
Found = tuple[Figures, list[str]]


def main() -> None:
    """Compare verdicts, or time the parts."""
    parser = arguments(__doc__)
    add_data(parser)
    parser.add_argument("--parity", action="store_true", help="compare what both say, and time nothing")
    parser.add_argument("--part", action="append", choices=list(PARTS), help="only this one")
    options = parser.parse_args()
    where = machine("numba", "polars", "pyarrow", "tokenizers", "fastokens", "nanotoken")
    figures: Figures = {}
    notes: list[str] = []
    with tempfile.TemporaryDirectory(prefix="curate-bench-") as name:
        folder = Path(name)
        data = bulk_file(options, folder)
        if options.parity:
            texts = english_of(data).head(200 if options.quick else PARITY)
            figures, notes = fineweb.parity(texts, folder)
        else:
            for part in options.part or PARTS:
                found, said = PARTS[part](data, folder, options.quick)
                figures |= found
                notes += said
    finish(options, where, figures, notes, joint="_")
    if options.parity and figures["parity"]["differences"]:
        sys.exit(1)


def _fineweb(data: Path, folder: Path, quick: bool) -> Found:
    size, rounds = (0.2, 1) if quick else (MEGABYTES["fineweb"], 3)
    return fineweb.speed(english_of(data), folder, size, rounds), []


def _tokenize(data: Path, folder: Path, quick: bool) -> Found:
    size, rounds = (0.05, 1) if quick else (MEGABYTES["tokenize"], 3)
    return tokenizing.compare(documents_of(data).get_column("text"), folder, size, rounds), []


def _clean(data: Path, folder: Path, quick: bool) -> Found:
    whole.warm_up()
    size, large = (0.1, 0.2) if quick else (MEGABYTES["clean"], MEGABYTES["large"])
    return whole.clean(documents_of(data), folder, size, large), []


def _recipes(data: Path, folder: Path, quick: bool) -> Found:
    whole.warm_up()
    some = whole.RECIPES[:1] if quick else whole.RECIPES
    return whole.recipes(documents_of(data).head(RECIPE_DOCUMENTS), folder, some), []


def _heuristics(data: Path, folder: Path, quick: bool) -> Found:
    part = parts_of(english_of(data), 0.1 if quick else MEGABYTES["heuristics"], 1)[0]
    return heuristics.compare(part, folder, quick)


PARTS: dict[str, Callable[[Path, Path, bool], Found]] = {
    "fineweb": _fineweb,
    "tokenize": _tokenize,
    "clean": _clean,
    "recipes": _recipes,
    "heuristics": _heuristics,
}


if __name__ == "__main__":
    main()
