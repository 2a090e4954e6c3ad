"""`curate dedup`."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from curate.cli.clean import read_columns
from curate.cli.options import Json, Limit, Memory, Strict, Workers
from schemas.errors import UsageError


def dedup(
    files: Annotated[tuple[str, ...], Parameter(allow_leading_hyphen=True, show_default=False)] = (),
    /,
    *,
    out: Annotated[str, Parameter(name=["--out", "-o"], allow_leading_hyphen=True, show_default=False)] = "",
    against: Annotated[
        tuple[str, ...], Parameter(negative="", consume_multiple=True, show_default=False)
    ] = (),
    drop: Literal["new", "old", "both"] = "new",
    preset: Annotated[str, Parameter(show_default=False)] = "",
    threshold: Annotated[float | None, Parameter(show_default=False)] = None,
    ngram: Annotated[int | None, Parameter(show_default=False)] = None,
    explain: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    keeper: str = "first",
    within: Annotated[str, Parameter(show_default=False)] = "",
    columns: Annotated[
        tuple[str, ...], Parameter(negative="", consume_multiple=False, show_default=False)
    ] = (),
    add: Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=False, show_default=False)] = (),
    weights: Annotated[str, Parameter(show_default=False)] = "",
    shard_size: Annotated[str, Parameter(show_default=False)] = "",
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

    Parameters
    ----------
    files
        Files, folders, globs and s3:// URLs, as curate clean takes them; or a lake, or LAKE/NAME.
    out
        Where the kept documents go: .parquet, .jsonl, .jsonl.gz, .jsonl.zst or .csv; a folder (kept/) of Parquet files;
        or - for JSON lines on stdout.
    against
        Files or lakes that OUT is to repeat nothing of.
    drop
        From which side: new, the files; old, those of --against, of which OUT then holds what is left; or both, as if
        they were one corpus.
    preset
        Published parameters: fineweb, fineweb-2, nemo, refinedweb, redpajama or slimpajama.
    threshold
        Least exact Jaccard similarity of a near-duplicate; 0.8 if not given.
    ngram
        Words in a shingle; 5 if not given.
    explain
        Only show how likely a pair is to be compared, by its similarity, beside the published parameters.
    keeper
        Which stays: first, longest, newest, or an expression such as "score DESC" over columns of --columns.
    within
        A column: only documents with the same value of it are compared.
    columns
        Which column holds what: text=body, dump=metadata.dump. May be given again.
    add
        A column beside those of the input: stands_for, how many documents each one stands for, or weight, how often to
        read it in training. May be given again.
    weights
        Where the weight comes from: fineweb-2, by how many documents a kept one stands for.
    shard_size
        Write several files of about this size, such as 512MB.
    """
    given = {
        "preset": preset,
        "threshold": threshold,
        "ngram": ngram,
        "keeper": keeper,
        "within": within,
        "weights": weights,
    }
    options: dict[str, Any] = {name: value for name, value in given.items() if value not in (None, "")}
    if explain:
        _explain(options, as_json=as_json)
        return
    if not files or not out:
        raise UsageError(
            "Files to deduplicate, and where the result goes, are both needed.",
            hint="curate dedup new.jsonl -o fresh.parquet; curate dedup --explain needs neither.",
        )
    from curate.cli.outcome import largest_reason, show_outcome
    from curate.cli.terminal import show_json
    from curate.cli.working import working
    from curate.engine.clean import beside_output
    from curate.engine.dedup_files import dedup as dedup_files

    with working("the same command") as progress:
        report = dedup_files(
            files, out, against=against, drop=drop, options=options, columns=read_columns(columns), add=add,
            shard_size=shard_size, strict=strict, limit=limit, workers=workers, memory=memory, progress=progress,
        )  # fmt: skip
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
    from curate.dedup.presets import PRESETS
    from curate.dedup.presets import explain as curve_of
    from curate.engine.dedup_files import read_options

    asked = read_options(options)
    b, r = asked.band_shape
    curves = {
        "these options": curve_of({"bands": b, "rows": r}),
        **{name: curve_of(name) for name in PRESETS},
    }
    if as_json:
        show_json({name: vars(curve) for name, curve in curves.items()})
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
