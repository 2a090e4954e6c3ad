"""`curate dedup`."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from curate.cli.clean import read_columns
from curate.cli.options import Json, Limit, Strict, Workers


def dedup(
    files: Annotated[list[str], Parameter(allow_leading_hyphen=True)],
    /,
    *,
    out: Annotated[str, Parameter(name=["--out", "-o"], allow_leading_hyphen=True)],
    against: Annotated[
        tuple[str, ...], Parameter(negative="", consume_multiple=True, show_default=False)
    ] = (),
    drop: Literal["new", "old", "both"] = "new",
    threshold: float = 0.8,
    ngram: int = 5,
    keeper: str = "first",
    within: Annotated[str, Parameter(show_default=False)] = "",
    columns: Annotated[
        tuple[str, ...], Parameter(negative="", consume_multiple=False, show_default=False)
    ] = (),
    shard_size: Annotated[str, Parameter(show_default=False)] = "",
    strict: Strict = False,
    limit: Limit = 0,
    workers: Workers = None,
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
    threshold
        Least exact Jaccard similarity of a near-duplicate.
    ngram
        Words in a shingle.
    keeper
        Which stays: first, longest, newest, or an expression such as "score DESC" over columns of --columns.
    within
        A column: only documents with the same value of it are compared.
    columns
        Which column holds what: text=body, dump=metadata.dump. May be given again.
    shard_size
        Write several files of about this size, such as 512MB.
    """
    from curate.cli.outcome import show_outcome
    from curate.cli.terminal import show_json
    from curate.cli.working import working
    from curate.engine.clean import beside_output
    from curate.engine.dedup_files import dedup as dedup_files

    options: dict[str, Any] = {"threshold": threshold, "ngram": ngram, "keeper": keeper, "within": within}
    with working("the same command") as progress:
        report = dedup_files(
            files, out, against=against, drop=drop, options=options, columns=read_columns(columns),
            shard_size=shard_size, strict=strict, limit=limit, workers=workers, progress=progress,
        )  # fmt: skip
    beside = beside_output(Path(out))
    where = {} if out == "-" else {"kept": out, "dropped": f"{beside}/dropped.parquet"}
    then = "" if out == "-" else f"curate show --dropped near_duplicate --lake {beside}/lake"
    with redirect_stdout(sys.stderr) if out == "-" else nullcontext():
        if as_json:
            show_json(report.model_dump())
        else:
            show_outcome(report, where=where, then=then)
