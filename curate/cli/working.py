"""A long command: the display that fits, and Ctrl-C that finishes the shard."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from curate.cli.terminal import messages

if TYPE_CHECKING:
    from curate.engine.progress import Progress


@contextmanager
def working(command: str) -> Iterator[Progress]:
    """Progress on stderr while the block runs: live on a terminal, else plain lines.

    The first Ctrl-C lets the engine finish and commit its shards; the second ends the process at once
    (what is committed stays, and the workers end with their driver).

    Raises:
        KeyboardInterrupt: after the first Ctrl-C, when the engine has stopped; says how to go on.
    """
    from curate.engine.workers import stoppable
    from curate.reports.live import LiveProgress
    from curate.reports.plain import PlainProgress

    console = messages()
    live = console.is_terminal and not console.is_dumb_terminal
    with ExitStack() as stack:
        progress: Progress
        if live:
            progress = shown = stack.enter_context(LiveProgress(console))
            restore = shown.stop
        else:
            progress = PlainProgress(lambda line: print(line, file=sys.stderr, flush=True))
            restore = sys.stderr.flush

        def first() -> None:
            progress.say("finishing the shard; press again to stop at once")

        def second(number: int, frame: Any) -> None:
            restore()
            os._exit(1)

        stack.enter_context(stoppable((signal.SIGINT,), first, second))
        try:
            yield progress
        except KeyboardInterrupt:
            message = f"stopped: finished work is kept; {command} goes on from there"
            raise KeyboardInterrupt(message) from None
