"""The funnel of a run in the terminal: what stands after each table, and what each reason took."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from curate.reports.numbers import share
from curate.reports.printable import printable
from curate.reports.summary import FunnelRow, funnel_rows
from schemas.report import RunReport

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_BAR, _NARROWEST_BAR, _LONGEST_NAME = 30, 6, 44


class Funnel:
    """Renders a run report: one line for each table, bold, and below it a line for each reason.

    Bars are on one scale; they shrink before names do, and are of ASCII where the terminal is.
    """

    def __init__(self, report: RunReport) -> None:
        self.rows = funnel_rows(report)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if not self.rows:
            return
        scale = max((row.count for row in self.rows), default=0) or 1
        base = next((number for number, row in enumerate(self.rows) if row.count == scale), 0)
        ascii_only = options.ascii_only
        thirds = [_third(row, scale, number > base, ascii_only) for number, row in enumerate(self.rows)]
        counts = [f"{row.count:,}" if row.kind == "table" else "" for row in self.rows]
        numbers = [max(map(len, column)) for column in (counts, thirds)]
        room = max(options.max_width - sum(numbers) - 4, 8)
        names = [_name(row, min(room, _LONGEST_NAME)) for row in self.rows]
        widths = [max(map(len, names)), *numbers]
        bar = min(_BAR, options.max_width - sum(widths) - 6)
        last = max(number for number, row in enumerate(self.rows) if row.kind == "table")
        for number, row in enumerate(self.rows):
            yield _line(
                row,
                f"{names[number]:<{widths[0]}}  {counts[number]:>{widths[1]}}  {thirds[number]:>{widths[2]}}",
                bars(row.count / scale, bar, ascii_only) if bar >= _NARROWEST_BAR else "",
                product=number == last,
            )


def _name(row: FunnelRow, width: int) -> str:
    return printable(row.name if row.kind == "table" else f"  {row.name}", width)


def _third(row: FunnelRow, scale: int, below: bool, ascii_only: bool) -> str:
    """The share of a table, or what a reason took."""
    if row.kind == "table":
        return share(row.count, scale) if below else ""
    return f"{'-' if ascii_only else '−'}{row.count:,}"


def _line(row: FunnelRow, words: str, bar: str, *, product: bool) -> Text:
    if row.kind == "reason":
        line = Text(words, style="dim", no_wrap=True)
        line.stylize("red", len(words) - len(words.split()[-1]))
        return line.append(f"  {bar}".rstrip(), style="red not dim")
    line = Text(words, style="bold", no_wrap=True)
    return line.append(f"  {bar}".rstrip(), style="green" if product else "blue")


def bars(fraction: float, width: int, ascii_only: bool = False) -> str:
    """A bar of `fraction` of `width` cells, in eighths; what is not nothing is never invisible.

    >>> bars(0.5, 3), bars(0.001, 30), bars(0.0, 30), bars(0.5, 4, ascii_only=True)
    ('█▌', '▏', '', '##')
    """
    if ascii_only:
        return "#" * (max(1, round(fraction * width)) if fraction > 0 else 0)
    eighths = max(1, round(fraction * width * 8)) if fraction > 0 else 0
    whole, rest = divmod(eighths, 8)
    return "█" * whole + _EIGHTHS[rest].strip()
