"""`curate clean`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from curate.cli.options import Json, Limit, Settings, Workers, read_settings
from schemas.errors import UsageError


def clean(
    files: list[str],
    /,
    *,
    out: Annotated[str, Parameter(name=["--out", "-o"])],
    recipe: str = "web",
    columns: Annotated[
        tuple[str, ...], Parameter(negative="", consume_multiple=False, show_default=False)
    ] = (),
    limit: Limit = 0,
    settings: Settings = (),
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Clean some files once, without a lake.

    Measurements, verdicts and what was dropped are kept in OUT.curate/, from which a clean that was
    stopped goes on.

    **Example:**

    ```console
    $ curate clean posts.jsonl -o kept.parquet --columns text=body
    ```

    Parameters
    ----------
    files
        Files, folders and globs: JSONL, CSV, Parquet, WARC, HTML, Markdown, text.
    out
        Where the kept documents go: .parquet, .jsonl, .jsonl.gz, .jsonl.zst or .csv.
    recipe
        A packaged recipe, or a TOML file.
    columns
        Which column holds what: text=body. May be given again.
    """
    from curate.cli.outcome import largest_reason, show_outcome
    from curate.cli.terminal import show_json
    from curate.cli.working import working
    from curate.engine.clean import beside_output
    from curate.engine.clean import clean as clean_files

    overrides, named = read_settings(settings), read_columns(columns)
    with working("the same command") as progress:
        report = clean_files(
            files, out, recipe=recipe, columns=named, limit=limit, workers=workers, progress=progress, overrides=overrides
        )  # fmt: skip
    if as_json:
        show_json(report.model_dump())
        return
    beside = beside_output(Path(out))
    reason = largest_reason(report)
    then = f"curate show --dropped {reason}" if reason else "curate show corpus"
    where = {"kept": out, "dropped": f"{beside}/dropped.parquet"}
    show_outcome(report, where=where, then=f"{then} --lake {beside}/lake")


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
