"""`curate clean`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from curate.cli.options import (
    Add,
    Columns,
    Json,
    Limit,
    Memory,
    Out,
    Settings,
    ShardSize,
    Strict,
    Workers,
    read_columns,
    read_settings,
)
from schemas.errors import UsageError

_Files = Annotated[
    list[str],
    Parameter(
        help="Files, folders, globs and s3:// URLs: JSONL, CSV, Parquet, WARC, WET, HTML, Markdown, text, PDF, DOCX, PPTX, EPUB. "
        "- is stdin: JSON lines or Parquet, packed or not.",
        allow_leading_hyphen=True,  # a lone one is stdin; that the others are no files is checked below
    ),
]
_Recipe = Annotated[str, Parameter(help="A packaged recipe, or a TOML file.")]


def clean(
    files: _Files,
    /,
    *,
    out: Out,
    recipe: _Recipe = "web",
    columns: Columns = (),
    add: Add = (),
    shard_size: ShardSize = "",
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
    """
    from curate.cli.outcome import show_written
    from curate.cli.working import working
    from curate.engine.workers import importing
    from curate.lean import lean

    with importing():
        lean()
        from curate.engine.clean import clean as clean_files

    overrides, named = read_settings(settings), read_columns(columns)
    if unknown := [file for file in files if file.startswith("-") and file != "-"]:
        hint = "curate clean --help shows how it is called; a file of that name is written ./" + unknown[0]
        raise UsageError(f"Unknown option: {unknown[0]}.", hint=hint)
    with working("the same command") as progress:
        report = clean_files(
            files, out, recipe=recipe, columns=named, add=add, shard_size=shard_size, strict=strict, limit=limit,
            workers=workers, memory=memory, progress=progress, overrides=overrides,
        )  # fmt: skip
    show_written(report, out, shard_size, as_json=as_json)
