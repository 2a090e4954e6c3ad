"""What commands print: results on stdout, all else on stderr, and nothing foreign that a terminal obeys."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from curate.reports.printable import printable

_LONGEST = 4000


def results() -> Console:
    """The console for results: stdout, text taken as it is."""
    return Console(highlight=False, markup=False, emoji=False)


def messages() -> Console:
    """The console for progress, errors and hints: stderr."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def text(words: object, length: int = _LONGEST, style: str = "") -> Text:
    """Foreign words as they may be shown, in one line."""
    return Text(printable(str(words), length), style=style)


def show(*renderables: RenderableType) -> None:
    """Print results."""
    console = results()
    for renderable in renderables:
        console.print(renderable, soft_wrap=isinstance(renderable, (str, Text)))


def tell(message: str) -> None:
    """A message on stderr; `error:` and `hint:` at its start are set off."""
    console = messages()
    for line in message.split("\n"):
        shown = text(line)
        for word, style in (("error:", "bold red"), ("hint:", "bold cyan")):
            if line.startswith(word):
                shown.stylize(style, 0, len(word))
        console.print(shown, soft_wrap=True)


def show_json(value: Any) -> None:
    """Print JSON: the only thing on stdout of a command with --json."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def table(*columns: str, right: Sequence[str] = (), whole: Sequence[str] = ()) -> Table:
    """An empty table in the style of all commands; columns in `right` hold numbers, those in `whole` never wrap."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        made.add_column(
            column,
            justify="right" if column in right else "left",
            overflow="fold",
            no_wrap=column in right or column in whole,
        )
    return made


def table_of(
    rows: Sequence[Mapping[str, Any]], *, right: Sequence[str] = (), whole: Sequence[str] = ()
) -> RenderableType:
    """Rows as a table; columns that are empty in all of them are left out."""
    columns = [
        column for column in (rows[0] if rows else {}) if any(row[column] not in ("", None) for row in rows)
    ]
    if not columns:
        return text("No rows.")
    made = table(*columns, right=right, whole=whole)
    for row in rows:
        made.add_row(*[text(row[column], 300) for column in columns])
    return made
