"""`curate dedup`."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from curate.cli.clean import read_columns
from curate.cli.options import Json, Limit, Memory, Strict, Workers
from schemas.errors import UsageError

if TYPE_CHECKING:
    from schemas.report import RunReport


def _text(meaning: str) -> Parameter:
    return Parameter(help=meaning, show_default=False)


def _again(meaning: str) -> Parameter:
    return Parameter(help=meaning, negative="", consume_multiple=False, show_default=False)


_Files = Annotated[
    tuple[str, ...],
    Parameter(
        help="Files, folders, globs and s3:// URLs, as curate clean takes them; or a lake, or LAKE/NAME.",
        allow_leading_hyphen=True,
        show_default=False,
    ),
]
_Out = Annotated[
    str,
    Parameter(
        name=["--out", "-o"],
        help="Where the kept documents go: .parquet, .jsonl, .jsonl.gz, .jsonl.zst or .csv; a folder (kept/) of Parquet "
        "files; or - for JSON lines on stdout.",
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
_Columns = Annotated[
    tuple[str, ...],
    _again("Which column holds what: text=body, dump=metadata.dump. May be given again."),
]
_Add = Annotated[
    tuple[str, ...],
    _again(
        "A column beside those of the input: stands_for, how many documents each one stands for, or weight, how often to "
        "read it in training. May be given again."
    ),
]
_Weights = Annotated[
    str, _text("Where the weight comes from: fineweb-2, by how many documents a kept one stands for.")
]
_ShardSize = Annotated[str, _text("Write several files of about this size, such as 512MB.")]


def dedup(
    files: _Files = (),
    /,
    *,
    out: _Out = "",
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
    columns: _Columns = (),
    add: _Add = (),
    weights: _Weights = "",
    shard_size: _ShardSize = "",
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
    from curate.cli.working import working
    from curate.engine.dedup_files import dedup as dedup_files

    with working("the same command") as progress:
        report = dedup_files(
            files, out, against=against, drop=drop, options=options, columns=read_columns(columns), add=add,
            shard_size=shard_size, strict=strict, limit=limit, workers=workers, memory=memory, progress=progress,
        )  # fmt: skip
    _show(report, out, as_json=as_json)


def _show(report: RunReport, out: str, *, as_json: bool) -> None:
    """What became of the documents; with OUT "-" on stderr, for stdout has rows."""
    from curate.cli.outcome import largest_reason, show_outcome
    from curate.cli.terminal import show_json
    from curate.engine.clean import beside_output

    beside = beside_output(Path(out))
    where = {} if out == "-" else {"kept": out, "dropped": f"{beside}/dropped.parquet"}
    reason = largest_reason(report)
    rows = f"--dropped {reason}" if reason else "corpus"
    then = "" if out == "-" else f"curate show {rows} --lake {beside}/lake"
    with redirect_stdout(sys.stderr) if out == "-" else nullcontext():
        if as_json:
            show_json(report.model_dump())
        else:
            show_outcome(report, where=where, then=then)


def _explain(options: dict[str, Any], *, as_json: bool) -> None:
    """Show the curves of these options and of all presets."""
    from curate.cli.terminal import show, show_json, table
    from curate.dedup.containment import contained_curves
    from curate.dedup.presets import PRESETS, SIMILARITIES
    from curate.dedup.presets import explain as curve_of
    from curate.engine.dedup_files import read_options

    asked = read_options(options)
    b, r = asked.band_shape
    curves = {
        "these options": curve_of({"bands": b, "rows": r}),
        **{name: curve_of(name) for name in PRESETS},
    }
    contained = contained_curves(b, r) if asked.similarity == "containment" else {}
    if as_json:
        show_json(
            {name: vars(curve) for name, curve in curves.items()}
            | (
                {"containment": {f"{times:g}": chances for times, chances in contained.items()}}
                if contained
                else {}
            )
        )
        return
    columns: dict[tuple[int, int], list[str]] = {}
    for name, curve in list(curves.items())[1:]:
        columns.setdefault((curve.bands, curve.rows), []).append(name)
    mine = curves.pop("these options")
    heads = [
        "",
        f"{b} x {r}\nyours",
        *(f"{b} x {r}\n" + "\n".join(names) for (b, r), names in columns.items()),
    ]
    made = table(*heads, right=heads)
    shown = [mine, *(curves[names[0]] for names in columns.values())]
    for row, similarity in enumerate(mine.similarity):
        made.add_row(f"{similarity:.2f}", *(f"{curve.probability[row]:.3f}" for curve in shown))
    show("How likely a pair of a similarity is to be compared, with bands x rows:", made)
    if contained:
        heads = ["", *(f"{times:g} times\nas long" for times in contained)]
        made = table(*heads, right=heads)
        for row, share in enumerate(SIMILARITIES):
            made.add_row(f"{share:.2f}", *(f"{chances[row]:.3f}" for chances in contained.values()))
        show(
            f"By containment, yours ({b} x {r}): by the share of the shorter text, and the longer one's length:",
            made,
        )
