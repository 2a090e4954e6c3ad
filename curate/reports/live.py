"""Progress on a terminal: a row for each table that runs, one line for each that is done."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from curate.engine.progress import Progress
from curate.reports.plain import WIDTH, Pace, outcome, position
from curate.reports.printable import printable
from schemas.report import TableReport

_WORDS = (13, 5, 12, 11)  # least widths, so that bars stand still
_LONGEST_BAR, _SHORTEST_BAR = 30, 6


class LiveProgress(Progress):
    """Rows that change in place on `console`; use as a context manager.

    stdout stays free for results: `console` writes to stderr, and prints are not redirected.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._paces: dict[str, Pace] = {}
        self._notes: dict[str, str] = {}
        self._live = Live(
            console=console,
            get_renderable=self._rows,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,
        )

    def __enter__(self) -> LiveProgress:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Take the rows away and give the terminal back."""
        self._paces.clear()
        self._live.stop()

    def start(self, table: str, total: int = 0) -> None:
        """A table begins."""
        self._paces[table] = Pace(total)

    def advance(self, table: str, done: int, total: int = 0, note: str = "") -> None:
        """`done` more documents of a table are finished."""
        self._paces.setdefault(table, Pace()).advance(done, total)
        self._notes[table] = note

    def finish(self, report: TableReport) -> None:
        """A table is made and published: its row becomes one line."""
        self._paces.pop(report.table, None)
        self._live.refresh()  # else the old row is drawn once more below the line
        line = Text.assemble(("✓ ", "green"), f"{report.table:<{WIDTH}}  ", (outcome(report), "dim"))
        self._console.print(line, soft_wrap=True)

    def say(self, message: str) -> None:
        """A sentence for the person who watches."""
        self._console.print(Text(printable(message, 500)), soft_wrap=True)

    def _rows(self) -> Group:
        return Group(*[self._row(table, pace) for table, pace in list(self._paces.items())])

    def _row(self, table: str, pace: Pace) -> Table:
        words = [printable(word, 40) for word in position(table, pace, self._notes.get(table, ""))]
        widths = [WIDTH + 2, *map(max, _WORDS, map(len, words))]
        cells: list[Text | ProgressBar] = [
            Text(f"  {printable(table, WIDTH)}", style="bold"),
            *map(Text, words),
        ]
        bar = min(_LONGEST_BAR, self._console.width - sum(widths) - 2 * len(widths) - 3)
        if bar >= _SHORTEST_BAR:
            drawn = ProgressBar(
                pace.total or None, pace.done, bar, complete_style="blue", finished_style="blue"
            )
            cells.insert(1, drawn)
            widths.insert(1, bar)
        row = Table.grid(padding=(0, 2, 0, 0))
        for width in widths:
            row.add_column(width=width, no_wrap=True)
        row.add_row(*cells)
        return row
