"""What a lake holds, as `curate show` tells it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

    from curate.lake.lake import Lake


def holdings(home: Lake, names: list[str]) -> list[dict[str, Any]]:
    """For each of the names: version, age, documents in the corpus, live index, tables with their rows."""
    from curate.cli.log import by_run

    runs = by_run(home.runs.log())
    head = home.head()
    held = []
    for name in names:
        mine = [run for run in runs if run["name"] == name]
        made = [run for run in mine if run["kind"] == "run"] or mine
        judged = {pin.split("/", 2)[2] for pin in head.pins if pin.startswith(f"{name}/verdicts/")}
        tables = [
            table
            for table in dict.fromkeys(table for run in mine for table in run["tables"])
            if table in judged
        ]
        held.append({
            "name": name, "version": mine[-1]["version"], "at": made[-1]["at"], "documents": mine[-1]["documents"],
            "live": head.live.get(name, ""), "tables": {table: _counts(home, name, table) for table in tables},
        })  # fmt: skip
    return held


def _counts(home: Lake, name: str, table: str) -> dict[str, int]:
    import polars as pl

    counted = home.read(name, f"verdicts/{table}").select(rows=pl.len(), kept=pl.col("kept").sum()).collect()
    return {key: int(value) for key, value in counted.row(0, named=True).items()}


def overview(held: list[dict[str, Any]]) -> list[RenderableType]:
    """The same for people."""
    from rich.text import Text

    from curate.cli.terminal import table, text
    from curate.reports.numbers import duration, plural

    lines: list[RenderableType] = []
    for name in held:
        age = duration((datetime.now(UTC) - name["at"].astimezone(UTC)).total_seconds())
        live = f"index {name['live']} is live" if name["live"] else "no index is live"
        facts = f"  version {name['version']}, {plural(name['documents'] or 0, 'document')}, {live}, made {age} ago"
        lines.append(Text.assemble(text(name["name"], style="bold"), text(facts)))
        made = table("table", "documents", "kept", "dropped", right=("documents", "kept", "dropped"))
        for title, counts in name["tables"].items():
            dropped = counts["rows"] - counts["kept"]
            made.add_row(text(title), f"{counts['rows']:,}", f"{counts['kept']:,}", f"{dropped:,}")
        lines.append(made)
    return lines
