"""`curate log`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, validators

from curate.cli.options import Json, Lake

if TYPE_CHECKING:
    import polars as pl


def log(
    *,
    lake: Lake = "lake",
    limit: Annotated[
        int, Parameter(help="Newest runs shown; 0 shows all.", validator=validators.Number(gte=0))
    ] = 20,
    as_json: Json = False,
) -> None:
    """Show the versions of a lake.

    One line for each run, promotion, rollback and tag, the newest first: what it made, how many
    documents the corpus held then, what it wrote.

    **Example:**

    ```console
    $ curate log --limit 5
    ```
    """
    from curate.cli.terminal import show, show_json, table_of
    from curate.lake.lake import Lake as OpenLake
    from curate.reports.numbers import size

    runs = by_run(OpenLake(lake).runs.log())[::-1]
    runs = runs[:limit] if limit else runs
    if as_json:
        show_json(runs)
        return
    shown = []
    for run in runs:
        whole = run["kind"] != "run" or len(run["tables"]) > 1
        shown.append({
            "version": run["version"], "when": f"{run['at'].astimezone():%Y-%m-%d %H:%M}", "name": run["name"],
            "what": run["kind"] if whole else f"run: {', '.join(run['tables'])}",
            "documents": "" if run["documents"] is None else f"{run['documents']:,}",
            "written": size(run["bytes"]) if run["bytes"] else "", "live index": run["live"], "message": run["message"],
        })  # fmt: skip
    show(
        table_of(
            shown, right=("version", "documents", "written"), whole=("when", "name", "what", "live index")
        )
    )


def by_run(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """The rows of `runs` put together by run, oldest first; `documents` is the corpus as it stood then."""
    runs: dict[str, dict[str, Any]] = {}
    documents: dict[tuple[str, int], int] = {}  # by name and pinned version of its corpus
    for row in rows.to_dicts() if rows.width else []:
        name, report = row["name"], json.loads(row["report"] or "{}")
        corpus = (name, json.loads(row["pins"]).get(f"{name}/corpus", -1))
        if row["table"] == "corpus":
            documents[corpus] = report.get("kept", 0)
        # Two names may run at once. A promotion by hand, a rollback or a tag is a row of its own; where a table
        # was made, it is a run, also where that table put an index live.
        kind = "run" if row["table"] else row["kind"]
        key = row["run"] if kind == "run" else str(row["seq"])
        run = runs.setdefault(key, {"run": row["run"], "name": name, "kind": kind, "tables": [], "bytes": 0})
        run["tables"] += [row["table"]] if row["table"] else []
        run["bytes"] += report.get("bytes_written", 0) if row["table"] else 0
        run.update(version=row["seq"], at=row["at"], message=row["message"])
        run.update(documents=documents.get(corpus), live=json.loads(row["live"]).get(name, ""))
    return sorted(runs.values(), key=lambda run: int(run["version"]))
