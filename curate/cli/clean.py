"""`curate clean`."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from curate.cli.options import Json, Limit, Memory, Settings, Strict, Workers, read_settings
from schemas.errors import UsageError


def clean(
    # A lone hyphen is stdin; that the others are no files is checked below.
    files: Annotated[list[str], Parameter(allow_leading_hyphen=True)],
    /,
    *,
    out: Annotated[str, Parameter(name=["--out", "-o"], allow_leading_hyphen=True)],
    recipe: str = "web",
    columns: Annotated[
        tuple[str, ...], Parameter(negative="", consume_multiple=False, show_default=False)
    ] = (),
    add: Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=False, show_default=False)] = (),
    shard_size: Annotated[str, Parameter(show_default=False)] = "",
    strict: Strict = False,
    limit: Limit = 0,
    settings: Settings = (),
    workers: Workers = None,
    memory: Memory = "",
    as_json: Json = False,
) -> None:
    """Clean some files once, without a lake.

    Of a file with columns the output has its rows with all their columns and types; only the text is
    another. Measurements, verdicts and what was dropped are kept in OUT.curate/, from which a clean that
    was stopped goes on.

    **Example:**

    ```console
    $ curate clean posts.jsonl -o kept.parquet --columns text=body
    ```

    Parameters
    ----------
    files
        Files, folders, globs and s3:// URLs: JSONL, CSV, Parquet, WARC, HTML, Markdown, text, PDF, DOCX, PPTX,
        EPUB. - is stdin: JSON lines or Parquet, packed or not.
    out
        Where the kept documents go: .parquet, .jsonl, .jsonl.gz, .jsonl.zst or .csv; a folder (kept/) of
        Parquet files; or - for JSON lines on stdout, of which nothing else is kept.
    recipe
        A packaged recipe, or a TOML file.
    columns
        Which column holds what: text=body, url=metadata.url. May be given again.
    add
        A column beside those of the input: stands_for, how many documents each one stands for, or weight, how often to
        read it in training (--set deduplicated.minhash.weights=fineweb-2). May be given again.
    shard_size
        Write several files of about this size: 512MB makes kept-00000.parquet, kept-00001.parquet ...
    """
    from curate.cli.outcome import largest_reason, show_outcome
    from curate.cli.terminal import show_json
    from curate.cli.working import working
    from curate.engine.workers import importing
    from curate.lean import lean

    with importing():
        lean()
        from curate.engine.clean import beside_output
        from curate.engine.clean import clean as clean_files

    overrides, named = read_settings(settings), read_columns(columns)
    if unknown := [file for file in files if file.startswith("-") and file != "-"]:
        hint = "curate clean --help shows how it is called; a file of that name is written ./" + unknown[0]
        raise UsageError(f"Unknown option: {unknown[0]}.", hint=hint)
    with working("the same command") as progress:
        report = clean_files(
            files, out, recipe=recipe, columns=named, add=add, shard_size=shard_size, strict=strict, limit=limit, workers=workers,
            memory=memory,
            progress=progress, overrides=overrides,
        )  # fmt: skip
    beside = beside_output(Path(out))
    reason = largest_reason(report)
    then = f"curate show --dropped {reason}" if reason else "curate show corpus"
    then = f"{then} --lake {beside}/lake"
    where = {"kept": out, "dropped": f"{beside}/dropped.parquet"}
    # On stdout there are rows, and nothing else.
    with redirect_stdout(sys.stderr) if out == "-" else nullcontext():
        if as_json:
            show_json(report.model_dump())
        elif out == "-":
            show_outcome(
                report, where={}, then="-o kept.jsonl instead of -o - keeps what was dropped, and why"
            )
        else:
            show_outcome(report, where=where, then=then, lake=f"{beside}/lake")


def read_columns(columns: tuple[str, ...]) -> dict[str, str]:
    """`text=body` as a dict.

    Raises:
        UsageError: no `=`.
    """
    named = {}
    for column in columns:
        what, equals, name = column.partition("=")
        if not equals:
            raise UsageError(f"--columns {column} names no column.", hint="Write --columns text=body")
        named[what.strip()] = name.strip()
    return named
