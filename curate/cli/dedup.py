"""`curate dedup`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from curate.cli.options import (
    Add,
    Columns,
    Json,
    Limit,
    Memory,
    Out,
    ShardSize,
    Strict,
    Workers,
    read_columns,
)
from schemas.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from curate.dedup.presets import Curve


def _text(meaning: str) -> Parameter:
    return Parameter(help=meaning, show_default=False)


_Files = Annotated[
    tuple[str, ...],
    Parameter(
        help="Files, folders, globs and s3:// URLs, as curate clean takes them; or a lake, or LAKE/NAME.",
        allow_leading_hyphen=True,
        show_default=False,
    ),
]
_Against = Annotated[
    tuple[str, ...],
    Parameter(
        help="Files or lakes that OUT is to repeat nothing of.",
        negative="",
        consume_multiple=True,
        show_default=False,
    ),
]
_Drop = Annotated[
    Literal["new", "old", "both"],
    Parameter(
        help="From which side: new, the files; old, those of --against, of which OUT then holds what is left; or both, as "
        "if they were one corpus."
    ),
]
_Preset = Annotated[
    str, _text("Published parameters: fineweb, fineweb-2, nemo, refinedweb, redpajama or slimpajama.")
]
_Similarity = Annotated[
    Literal["jaccard", "containment"],
    Parameter(
        help="Of two sets of shingles, what both have as a share of what either has; or of the smaller one: then a text "
        "goes that stands in a longer one."
    ),
]
_Threshold = Annotated[
    float | None, _text("Least exact similarity of a near-duplicate, in that measure; 0.8 if not given.")
]
_Longer = Annotated[
    float | None,
    _text("With containment: up to how many times as long the longer text is surely found; 2 if not given."),
]
_Ngram = Annotated[int | None, _text("Words in a shingle; 5 if not given.")]
_Explain = Annotated[
    bool,
    Parameter(
        help="Only show how likely a pair is to be compared, by its similarity, beside the published parameters.",
        negative="",
        show_default=False,
    ),
]
_Keeper = Annotated[
    str,
    _text(
        'Which stays: first, longest, newest, or an expression such as "score DESC" over columns of --columns; if not '
        "given first, and longest with containment."
    ),
]
_Within = Annotated[str, _text("A column: only documents with the same value of it are compared.")]
_Weights = Annotated[
    str, _text("Where the weight comes from: fineweb-2, by how many documents a kept one stands for.")
]


def dedup(
    files: _Files = (),
    /,
    *,
    out: Out = "",
    against: _Against = (),
    drop: _Drop = "new",
    preset: _Preset = "",
    similarity: _Similarity = "jaccard",
    threshold: _Threshold = None,
    longer: _Longer = None,
    ngram: _Ngram = None,
    explain: _Explain = False,
    keeper: _Keeper = "",
    within: _Within = "",
    columns: Columns = (),
    add: Add = (),
    weights: _Weights = "",
    shard_size: ShardSize = "",
    strict: Strict = False,
    limit: Limit = 0,
    workers: Workers = None,
    memory: Memory = "",
    as_json: Json = False,
) -> None:
    """Drop copies and near-duplicates of some files, once.

    Every near-duplicate is verified exactly against a document that stays. OUT.curate/ keeps what was dropped,
    with the document that stands for it and how alike they are.

    **Example:**

    ```console
    $ curate dedup posts.jsonl -o fresh.parquet --against kept.parquet
    ```
    """
    given = {
        "preset": preset, "similarity": similarity, "threshold": threshold, "longer": longer, "ngram": ngram,
        "keeper": keeper, "within": within, "weights": weights,
    }  # fmt: skip
    options: dict[str, Any] = {name: value for name, value in given.items() if value not in (None, "")}
    if explain:
        _explain(options, as_json=as_json)
        return
    if not files or not out:
        raise UsageError(
            "Files to deduplicate, and where the result goes, are both needed.",
            hint="curate dedup new.jsonl -o fresh.parquet; curate dedup --explain needs neither.",
        )
    if weights and "weight" not in add:
        raise UsageError(
            f"--weights {weights} makes a column of which nothing is written.",
            hint="Give --add weight too, or leave it out.",
        )
    from curate.cli.outcome import show_written
    from curate.cli.working import working
    from curate.engine.dedup_files import dedup as dedup_files

    with working("the same command") as progress:
        report = dedup_files(
            files, out, against=against, drop=drop, options=options, columns=read_columns(columns), add=add,
            shard_size=shard_size, strict=strict, limit=limit, workers=workers, memory=memory, progress=progress,
        )  # fmt: skip
    show_written(report, out, shard_size, as_json=as_json)


def _explain(options: dict[str, Any], *, as_json: bool) -> None:
    """Show the curves of these options and of all presets."""
    from curate.cli.terminal import show, show_json
    from curate.dedup.containment import contained_curves
    from curate.dedup.presets import PRESETS
    from curate.dedup.presets import explain as curve_of
    from curate.engine.dedup_files import read_options

    asked = read_options(options)
    b, r = asked.band_shape
    yours, published = curve_of({"bands": b, "rows": r}), {name: curve_of(name) for name in PRESETS}
    contained = contained_curves(b, r) if asked.similarity == "containment" else {}
    if as_json:
        told: dict[str, Any] = {name: vars(curve) for name, curve in published.items()}
        if contained:
            told["containment"] = {f"{times:g}": chances for times, chances in contained.items()}
        show_json({"these options": vars(yours), **told})
        return
    show("How likely a pair of a similarity is to be compared, with bands x rows:", _curves(yours, published))
    if contained:
        show(
            f"By containment, yours ({b} x {r}): by the share of the shorter text, and the longer one's length:",
            _contained(contained),
        )


def _curves(yours: Curve, published: Mapping[str, Curve]) -> Table:
    """A column for each shape, under the names of the presets that have it."""
    named: dict[tuple[int, int], list[str]] = {}
    for name, curve in published.items():
        named.setdefault((curve.bands, curve.rows), []).append(name)
    columns = {f"{yours.bands} x {yours.rows}\nyours": yours.probability}
    for (bands, rows), names in named.items():
        columns[f"{bands} x {rows}\n" + "\n".join(names)] = published[names[0]].probability
    return _by_similarity(yours.similarity, columns)


def _contained(chances: Mapping[float, Sequence[float]]) -> Table:
    """A column for each length of the longer text."""
    from curate.dedup.presets import SIMILARITIES

    columns = {f"{times:g} times\nas long": chances for times, chances in chances.items()}
    return _by_similarity(SIMILARITIES, columns)


def _by_similarity(similarities: Sequence[float], columns: Mapping[str, Sequence[float]]) -> Table:
    from curate.cli.terminal import table

    made = table("", *columns, right=["", *columns])
    for row, similarity in enumerate(similarities):
        made.add_row(f"{similarity:.2f}", *(f"{chances[row]:.3f}" for chances in columns.values()))
    return made
