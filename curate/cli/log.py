"""`curate log`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from curate.cli.options import Json, Lake

if TYPE_CHECKING:
    import polars as pl


def log(
    *,
    lake: Lake = "lake",
    limit: Annotated[int, Parameter(help="Newest runs shown; 0 shows all.")] = 20,
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
        ends = [run["tables"][0], run["tables"][-1]] if run["tables"] else []
        shown.append({
            "version": run["version"], "when": f"{run['at'].astimezone():%Y-%m-%d %H:%M}", "name": run["name"],
            "what": " … ".join(dict.fromkeys(ends)) if run["kind"] == "run" else run["kind"],
            "documents": "" if run["documents"] is None else f"{run['documents']:,}",
            "written": size(run["bytes"]) if run["bytes"] else "", "live index": run["live"], "message": run["message"],
        })  # fmt: skip
    show(table_of(shown, right=("version", "documents", "written"), whole=("when",)))


def by_run(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """The rows of `runs` put together by run, oldest first; `documents` is the corpus as it stood then."""
    runs: list[dict[str, Any]] = []
    documents: dict[str, int] = {}
    for row in rows.to_dicts() if rows.width else []:
        if not runs or runs[-1]["run"] != row["run"]:
            runs.append(
                {"run": row["run"], "name": row["name"], "kind": row["kind"], "tables": [], "bytes": 0}
            )
        report = json.loads(row["report"] or "{}")
        if row["table"] == "corpus":
            documents[row["name"]] = report.get("kept", 0)
        run = runs[-1]
        run["tables"] += [row["table"]] if row["table"] else []
        run["bytes"] += report.get("bytes_written", 0)
        run.update(version=row["seq"], at=row["at"], message=row["message"])
        run.update(documents=documents.get(row["name"]), live=json.loads(row["live"]).get(row["name"], ""))
    return runs
