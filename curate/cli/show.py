"""`curate show`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from curate.cli.options import Count, Json, Lake, Name
from schemas.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    import polars as pl
    from rich.console import RenderableType

    from curate.lake.lake import Lake as OpenLake

_TEXT = 160  # characters of a text shown


def show(
    table: str = "",
    /,
    *,
    dropped: Annotated[str, Parameter(show_default=False)] = "",
    limit: Count = 10,
    lake: Lake = "lake",
    name: Name = "",
    as_json: Json = False,
) -> None:
    """Show what is in a lake, or some rows of a table.

    **Example:**

    ```console
    $ curate show filtered --dropped langid.wrong_language
    ```

    Parameters
    ----------
    table
        documents, filtered, deduplicated, corpus. Without it: what the lake holds.
    dropped
        Only documents that were dropped for this reason, in any table or in the one named.
    limit
        How many rows.
    """
    from curate.cli import terminal
    from curate.cli.holdings import holdings, overview
    from curate.lake.disk import disk_errors
    from curate.lake.lake import Lake as Home

    home = Home(lake)
    with disk_errors(home.root):
        if not table and not dropped:
            held = holdings(home, [home.require(name)] if name else home.names())
            return terminal.show_json(held) if as_json else terminal.show(*overview(held))
        name = home.require(name)
        if table == "corpus" and not dropped:
            rows = _corpus(home, name, limit)
        else:
            rows = _verdicts(home, name, table, dropped, limit)
    return terminal.show_json(rows) if as_json else terminal.show(*_shown(rows))


def _corpus(home: OpenLake, name: str, limit: int) -> list[dict[str, Any]]:
    rows = home.read(name, "corpus").head(limit).select("id", "place", "title", "language", "text").collect()
    return [{**row, "text": _beginning(row["text"])} for row in rows.to_dicts()]


def _verdicts(home: OpenLake, name: str, table: str, dropped: str, limit: int) -> list[dict[str, Any]]:
    """Documents with what became of them, in one table or in all."""
    import polars as pl

    pins = [pin.split("/verdicts/", 1)[1] for pin in home.head().pins if pin.startswith(f"{name}/verdicts/")]
    tables = [table] if table else pins
    if table and table not in pins:
        raise UsageError(f'{name} has no table "{table}".', hint=did_you_mean(table, [*pins, "corpus"]))
    places = home.read(name, "verdicts/documents").select("id", "place")
    parts = [
        home.read(name, f"verdicts/{one}").select(
            "id", pl.lit(one).alias("table"), "kept", reason=pl.format("{}.{}", "step", "reason")
        )
        for one in tables
    ]
    rows = pl.concat(parts).with_columns(reason=pl.when(pl.col("kept")).then(pl.lit("")).otherwise("reason"))
    if dropped:
        rows = rows.filter(~pl.col("kept"))
        _check_reason(rows, dropped)
        rows = rows.filter(pl.col("reason").eq(dropped) | pl.col("reason").str.ends_with(f".{dropped}"))
    shown = rows.head(limit).join(places, on="id", how="left", maintain_order="left").collect()
    return _with_texts(home, name, shown)


def _with_texts(home: OpenLake, name: str, rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Adds title and the beginning of the text as it was read; of what could not be read, why."""
    import polars as pl

    head = home.head()
    read = home.read(name, "verdicts/documents").select("id", "key", "message")
    read = read.filter(pl.col("id").is_in(rows.get_column("id").implode()))
    content = home.content("documents", head.fingerprints.get(f"{name}/documents", "")).scan()
    texts = content.select("key", "title", pl.col("text").str.head(4 * _TEXT))
    found = read.join(texts, on="key", how="left").collect().drop("key")
    joined = rows.join(found, on="id", how="left", maintain_order="left").with_columns(
        title=pl.col("title").fill_null(""), text=pl.coalesce("text", "message")
    )
    return [{**row, "text": _beginning(row["text"])} for row in joined.drop("message").to_dicts()]


def _beginning(text: str) -> str:
    """What is shown of a text: its first words in one line."""
    line = " ".join(text[: 4 * _TEXT].split())
    return line if len(line) <= _TEXT else f"{line[: _TEXT - 1]}…"


def _check_reason(rows: pl.LazyFrame, dropped: str) -> None:
    reasons = rows.select("reason").unique().collect().get_column("reason").to_list()
    if not any(reason == dropped or reason.endswith(f".{dropped}") for reason in reasons):
        raise UsageError(f'Nothing was dropped for "{dropped}".', hint=did_you_mean(dropped, reasons))


def _shown(rows: list[dict[str, Any]]) -> list[RenderableType]:
    """Rows for people: `why` takes the place, so ids are left to --json; what all rows share is not said."""
    from curate.cli.terminal import results, table_of, text

    told = ["table"] if len({row.get("table") for row in rows}) > 1 else []
    columns = [
        "place",
        *told,
        *[column for column in ("reason", "title", "language", "text") if rows and column in rows[0]],
    ]
    shown = [{column: row[column] for column in columns} for row in rows]
    for row in shown:
        if "reason" in row:
            row["reason"] = row["reason"] or "kept"
    # A place in one piece is copied easily, but must leave room for what stands beside it.
    longest = max((len(row["place"]) for row in shown), default=0)
    made = table_of(shown, whole=("reason", "place") if 2 * longest <= results().width else ("reason",))
    return [made, text("curate why PLACE explains one of them.", style="dim")]
