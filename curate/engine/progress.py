"""What a run tells while it works. The engine calls; a door shows it (live display, plain lines, events)."""

from __future__ import annotations

from schemas.report import TableReport


class Progress:
    """Says nothing; a door overrides what it shows. Called from the driver only, never from workers."""

    def start(self, table: str, total: int = 0) -> None:
        """A table begins; `total` documents are to be done (0: not known)."""

    def advance(self, table: str, done: int, total: int = 0, note: str = "") -> None:
        """`done` more documents of a table are finished; `total` replaces the one given, if not 0."""

    def finish(self, report: TableReport) -> None:
        """A table is made and published."""

    def say(self, message: str) -> None:
        """Something a person should know now."""
