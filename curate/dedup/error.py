"""How many near-duplicates are missed, on the user's own texts: pairs planted at known exact similarity.

A real document is changed in blocks of words (replaced, deleted, inserted) until its exact similarity to the original
is near a target. What the sketch, the bands and the prefilter then find is set beside the curve of the bands. Strata
are kept apart, by similarity and by length: a mean over all pairs above a threshold hides those just above it, and
short texts hide behind long ones. Several seeds of the hash family, for the errors of one are those of all pairs.

With containment the other text is a part of the document, as much shorter as the bands look for, and what is changed
lies in it. What is planted has the vocabulary of the corpus, but not its templates: `anchors.py` measures on real pairs.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from curate.dedup.bands import probability
from curate.dedup.candidates import candidates
from curate.dedup.compare import WHOLE
from curate.dedup.containment import least_jaccard, may_contain
from curate.dedup.intervals import wilson
from curate.dedup.normalize import ALONE_RANGES
from curate.dedup.shingles import I64, ShingleOptions
from curate.dedup.sketch import SketchOptions, estimates, sketch
from curate.dedup.verify import F64, Measure, similarities

TARGETS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
LENGTHS = {
    "under 20": (1, 20),
    "20 to 100": (20, 100),
    "100 to 1,000": (100, 1_000),
    "over 1,000": (1_000, 20_000),
}
"""Words of the original; what is longer than 20,000 behaves as what is just below."""

TOLERANCE = 0.025  # above a target; a text of 15 shingles has steps of 0.06, so some do not come that near
_ROUNDS = 5  # of correction
_ALONE = re.compile("[" + "".join(f"{chr(first)}-{chr(last)}" for first, last in ALONE_RANGES) + "]")
_VOCABULARY = 5_000  # words to put in


@dataclass(frozen=True)
class Planted:
    """Pairs of one stratum: rows 2 i and 2 i + 1 of `texts` have the exact similarity[i], or containment[i]."""

    texts: pa.LargeStringArray
    similarity: F64

    @property
    def pairs(self) -> I64:
        """Their rows, (m, 2)."""
        return np.arange(2 * len(self.similarity)).reshape(-1, 2)


def pieces_of(text: str) -> list[str]:
    """What is changed as a whole: words, each with a space behind, or characters in scripts without spaces.

    >>> pieces_of("two\\nwords"), pieces_of("東京都")
    (['two ', 'words '], ['東', '京', '都'])
    """
    if 2 * len(_ALONE.findall(text)) > len(text):
        return list(text)
    return [word + " " for word in text.split()]


def planted(
    documents: Sequence[list[str]],
    options: ShingleOptions,
    target: float,
    vocabulary: Sequence[str],
    seed: int,
    longer: float = 0,
) -> Planted:
    """One pair of each document (its `pieces_of`) whose exact similarity is `target` to 0.025 above it.

    With `longer` (1 or more) it is a document and a part of it of 1 / `longer` of its length, changed until its exact
    containment is there. Documents that do not come that near in five rounds are left out. The same arguments give the
    same pairs.
    """
    aim = target + TOLERANCE / 2 if target < 1 else 1.0
    measure: Measure = "containment" if longer else "jaccard"
    kinds = ("replace",) if longer else ("replace", "delete", "insert")  # a part of less stands there as much
    joined = ["".join(pieces) for pieces in documents]
    whole = [
        _part(pieces, longer or 1, f"{seed} {i}", _overlap(options)) for i, pieces in enumerate(documents)
    ]
    amount = np.array([_first_amount(len(pieces), aim, options, measure) for pieces in whole])
    best = np.full(len(documents), np.inf)
    changed, exact = list(joined), np.ones(len(documents))
    for _ in range(_ROUNDS if target < 1 else 1):
        again = np.flatnonzero(best > TOLERANCE / 2).tolist()
        if not again:
            break
        new = [
            _changed(whole[i], amount[i], vocabulary, f"{seed} {target} {i}", _overlap(options), kinds)
            for i in again
        ]
        column = pa.array(
            [text for i, one in zip(again, new, strict=True) for text in (joined[i], one)], pa.large_string()
        )
        found = similarities(column, np.arange(2 * len(again)).reshape(-1, 2), options, measure)
        for i, text, similarity in zip(again, new, found, strict=True):
            if abs(similarity - aim) < best[i]:
                best[i], changed[i], exact[i] = abs(similarity - aim), text, similarity
        amount[again] = _corrected(amount[again], found, aim, measure)
    near = np.flatnonzero(best <= (TOLERANCE / 2 if target < 1 else 0))
    texts = [text for i in near.tolist() for text in (joined[i], changed[i])]
    return Planted(pa.array(texts, pa.large_string()), exact[near])


def _overlap(options: ShingleOptions) -> int:
    """Pieces on each side of a change whose shingles change too; a word has about six characters."""
    return options.ngram - 1 if options.unit == "words" else round(options.ngram / 6)


def _part(pieces: list[str], longer: float, seed: str, overlap: int) -> list[str]:
    """A part of a document with 1 / `longer` of its shingles, the same one for the same seed."""
    size = min(math.ceil(max(len(pieces) - overlap, 1) / longer) + overlap, len(pieces))
    start = random.Random(f"part {seed}").randint(0, len(pieces) - size)
    return pieces[start : start + size]


def _share_lost(similarity: npt.ArrayLike, measure: Measure) -> F64:
    """Share of the shingles that are replaced by as many new ones: J = (S - x) / (S + x), C = (S - x) / S."""
    found = np.asarray(similarity, np.float64)
    lost: F64 = 1 - found if measure == "containment" else (1 - found) / (1 + found)
    return lost


def _first_amount(pieces: int, target: float, options: ShingleOptions, measure: Measure) -> float:
    """Shingles to lose."""
    return float(max(pieces - _overlap(options), 1) * _share_lost(target, measure))


def _corrected(amount: F64, found: F64, target: float, measure: Measure) -> F64:
    """By as much as the change was too small or too large, and at most by 3."""
    was = np.maximum(_share_lost(found, measure), 1e-3)
    return np.maximum(amount * np.clip(_share_lost(target, measure) / was, 1 / 3, 3), 0.6)


def _changed(
    pieces: list[str], amount: float, vocabulary: Sequence[str], seed: str, overlap: int, kinds: Sequence[str]
) -> str:
    """The text with about `amount` shingles lost, in one to three blocks, the same places for the same seed.

    Where that is less than a block in the middle costs, the last words change: of m of them m shingles.
    """
    if amount == 0:
        return "".join(pieces)
    chance = random.Random(seed)
    blocks = chance.randint(1, 3)
    while blocks > 1 and amount < 2 * blocks * (overlap + 1):
        blocks -= 1
    at_end = amount < 2 * (overlap + 1)
    size = max(1, round(amount if at_end else amount / blocks - overlap))
    out = list(pieces)
    for _ in range(blocks):
        kind, place = chance.choice(kinds), chance.random()
        new = [chance.choice(vocabulary) for _ in range(0 if kind == "delete" else size)]
        if kind == "insert":
            # What is put in makes the union larger and takes nothing away: it takes twice as much.
            new += [chance.choice(vocabulary) for _ in range(size)]
        old = min(0 if kind == "insert" else size, max(len(out) - 1, 0))
        start = len(out) - old if at_end else int(place * (len(out) - old + 1))
        out[start : start + old] = new
    return "".join(out)


def planted_strata(
    texts: Iterable[str],
    options: SketchOptions,
    *,
    threshold: float,
    bands: int,
    rows: int,
    targets: Sequence[float] = TARGETS,
    count: int = 1_000,
    seeds: int = 3,
    seed: int = 1,
    longer: float = 0,
) -> pl.DataFrame:
    """What share of planted pairs is found: a row for each length class and target that the texts allow.

    Columns: `length`, `target`, `pairs`, `similarity` (their mean), `theory` (mean of the curve of the bands),
    `compared` (share of pairs x seeds with a common band), `found` (share of those at or above `threshold` that
    `candidates` hands on to be verified: the recall; NULL below), each with `_low` and `_high`, Wilson's interval at
    95 %, and `below_theory`: `compared_high` < `theory`, as one stratum in 40 has by chance, and more where texts
    are versions of each other, for then their pairs are found or missed together. Up to `count` documents
    of a class are drawn; a class without documents has no row. With `longer` (see `planted`) similarity, target and
    threshold are containment, and the length is that of the longer text.
    """
    random_order = random.Random(seed)
    documents = [pieces for text in texts if (pieces := pieces_of(text))]
    random_order.shuffle(documents)
    vocabulary = _vocabulary(documents)
    rows_made = []
    for length, (least, most) in LENGTHS.items():
        drawn = [pieces for pieces in documents if least <= len(pieces) < most][:count]
        for target in targets:
            made = planted(drawn, options, target, vocabulary, seed, longer)
            if len(made.similarity):
                jaccard = similarities(made.texts, made.pairs, options) if longer else made.similarity
                counts = [_hits(made, options, s, threshold, bands, rows, longer) for s in range(seeds)]
                rows_made.append(
                    {"length": length, "target": target, "pairs": len(made.similarity)}
                    | {"similarity": float(made.similarity.mean())}
                    | {"theory": float(probability(jaccard, bands, rows).mean())}
                    | _share("compared", sum(met for met, _ in counts), seeds * len(made.similarity))
                    | _share(
                        "found",
                        sum(passed for _, passed in counts),
                        seeds * int((made.similarity >= threshold).sum()),
                    )
                )
    numbers = (
        "similarity",
        "theory",
        "compared",
        "compared_low",
        "compared_high",
        "found",
        "found_low",
        "found_high",
    )
    schema = {
        "length": pl.String,
        "target": pl.Float64,
        "pairs": pl.Int64,
        **dict.fromkeys(numbers, pl.Float64),
    }
    made_frame = pl.DataFrame(rows_made, schema=schema)
    return made_frame.with_columns(below_theory=pl.col("compared_high") < pl.col("theory"))


def _vocabulary(documents: Sequence[list[str]]) -> list[str]:
    """Words of the first documents, each once."""
    found: dict[str, None] = {}
    for pieces in documents:
        if len(found) >= _VOCABULARY:
            break
        found.update(dict.fromkeys(piece for piece in pieces if piece.strip().isalpha()))
    return list(found)[:_VOCABULARY] or ["other "]


def _hits(
    made: Planted, options: SketchOptions, seed: int, threshold: float, bands: int, rows: int, longer: float
) -> tuple[int, int]:
    """How many planted pairs meet in a band; and how many above the threshold are handed on to be verified."""
    sketches = sketch(made.texts, options.model_copy(update={"seed": options.seed + seed}))
    equal = sketches.slots[::2, : bands * rows] == sketches.slots[1::2, : bands * rows]
    met = equal.reshape(-1, bands, rows).all(axis=2).any(axis=1)
    floor = least_jaccard(threshold, longer) if longer else threshold
    found = [np.empty((0, 2), np.int64)]
    for start in range(0, len(made.texts), WHOLE):
        # So few are compared all with all; hundreds of one template would be a giant bucket.
        some = slice(start, start + WHOLE)
        slots, shingles = sketches.slots[some], sketches.shingles[some]
        rank = np.arange(len(slots))
        pairs = candidates(slots, shingles, rank, threshold=floor, bands=bands, rows=rows).pairs
        found.append(pairs + start)
    passed = in_pairs(made.pairs, np.concatenate(found)) & (made.similarity >= threshold)
    if longer:
        estimate = estimates(sketches.slots, made.pairs)
        passed &= may_contain(estimate, sketches.shingles, made.pairs, threshold, options.slots)
    return int(met.sum()), int(passed.sum())


def in_pairs(asked: I64, pairs: I64) -> npt.NDArray[np.bool_]:
    """Which of `asked` (m, 2) are among `pairs` (k, 2), whatever the order within a pair; rows below 2^31."""
    wanted, known = (np.sort(one, axis=1) @ np.array([2**32, 1]) for one in (asked, pairs))
    return np.isin(wanted, known)


def _share(name: str, hits: int, trials: int) -> dict[str, float | None]:
    """A share with its interval; NULL without a trial."""
    low, high = wilson(hits, trials)
    values = (hits / trials, low, high) if trials else (None, None, None)
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))
