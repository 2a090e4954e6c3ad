"""Progress as plain lines, for logs, pipes and Dagster; and the words that the live display shares."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from curate.engine.progress import Progress
from curate.reports.numbers import duration, plural, share
from curate.reports.printable import printable
from schemas.report import TableReport

_UNITS = {
    "pages": "page",
    "chunks": "doc",
    "vectors": "chunk",
    "index_candidate": "chunk",
    "index_live": "chunk",
}
WIDTH = 15  # of the name of a table
_WINDOW = 60.0  # seconds that a rate looks back
_TELLING = 0.5  # seconds before a rate says anything
_SILENCE, _STEP, _LEAST = 30.0, 0.1, 2.0


class Pace:
    """How far a table is and how fast: the rate of the last minute, without what was there before.

    The first `advance` is where counting starts: the engine reports with it what is reused.
    """

    def __init__(self, total: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.done = total, 0
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()

    def advance(self, done: int, total: int = 0) -> None:
        """`done` more; `total` replaces the one known, if not 0."""
        self.done += done
        self.total = total or self.total
        self._seen.append((self._clock(), self.done))
        while len(self._seen) > 2 and self._seen[1][0] < self._clock() - _WINDOW:
            self._seen.popleft()

    @property
    def rate(self) -> float:
        """Documents a second; 0 as long as it is not known."""
        if len(self._seen) < 3:  # one shard says little
            return 0.0
        (start, before), (_, now) = self._seen[0], self._seen[-1]
        took = self._clock() - start  # up to this moment: a shard that takes long must slow the rate
        return (now - before) / took if took >= _TELLING else 0.0

    @property
    def left(self) -> float:
        """Seconds to go; 0 as long as they are not known."""
        return max(0, self.total - self.done) / self.rate if self.rate and self.total else 0.0


def position(table: str, pace: Pace, note: str = "") -> list[str]:
    """Count, share, rate (or the note, which says more) and time left, each "" where it is not known."""
    unit = _UNITS.get(table, "doc")
    known = pace.total > 0
    return [
        f"{pace.done:,}/{pace.total:,}" if known else plural(pace.done, unit),
        share(min(pace.done, pace.total), pace.total) if known else "",
        note or (f"{plural(round(pace.rate), unit)}/s" if pace.rate >= 1 else ""),
        f"{duration(pace.left)} left" if pace.left >= 1 else "",
    ]


def outcome(report: TableReport) -> str:
    """What became of a table, in one line."""
    dropped = report.rows - report.kept
    if report.table == "pages":
        parts = [plural(report.kept, "page"), f"{report.measured:,} new" if report.measured else ""]
    elif report.table == "index_candidate":
        parts = [plural(report.kept, "chunk"), "a new version" if report.measured else "the version is there"]
    elif report.table == "index_live":
        parts = [f"{plural(report.kept, 'chunk')} live"]
    elif report.table == "tokens":
        parts = [f"{report.measured:,} made", *token_words(report)]
    elif report.table in _UNITS:
        parts = [f"{report.measured:,} made"]
    else:
        parts = [f"{report.kept:,} of {report.rows:,} kept", f"{dropped:,} dropped" if dropped else ""]
        parts += [f"{report.came_back:,} came back" if report.came_back else ""]
    parts += [f"{report.reused:,} reused" if report.reused else "", duration(report.seconds)]
    return ", ".join(part for part in parts if part)


def token_words(report: TableReport) -> list[str]:
    """Tokens, and the bytes that each stands for; nothing where there are none."""
    rate = report.rates.get("bytes_per_token")
    return (
        [plural(report.counts["tokens"], "token"), f"{rate:.2f} bytes per token"] if rate is not None else []
    )


class PlainProgress(Progress):
    """One line when a table begins and ends, and between them one every 10 %, or 30 seconds.

    `write` takes each line: print to stderr, or the logger of another system.
    """

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write, self._clock = write, clock
        self._paces: dict[str, Pace] = {}
        self._told: dict[str, tuple[float, int]] = {}

    def start(self, table: str, total: int = 0) -> None:
        """A table begins."""
        again = table in self._paces
        self._paces[table] = Pace(total, self._clock)
        self._told[table] = (self._clock(), 0)
        if not again:
            self._line(table, f"0/{total:,}" if total else "started")

    def advance(self, table: str, done: int, total: int = 0, note: str = "") -> None:
        """`done` more documents of a table are finished."""
        pace = self._paces.setdefault(table, Pace(0, self._clock))
        pace.advance(done, total)
        at, told = self._told.setdefault(table, (self._clock(), 0))
        since = self._clock() - at
        stepped = pace.total > 0 and pace.done - told >= _STEP * pace.total and since >= _LEAST
        ends = 0 < pace.total <= pace.done  # `finish` says so
        if (stepped or since >= _SILENCE) and not ends:
            self._told[table] = (self._clock(), pace.done)
            self._line(table, "  ".join(part for part in position(table, pace, note) if part))

    def finish(self, report: TableReport) -> None:
        """A table is made and published."""
        self._paces.pop(report.table, None)
        self._line(report.table, outcome(report))

    def say(self, message: str) -> None:
        """A sentence for the person who watches."""
        self._write(printable(message, 500))

    def _line(self, table: str, words: str) -> None:
        self._write(printable(f"{table:<{WIDTH}}  {words}", 200))
