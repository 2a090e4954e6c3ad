"""What the crawler says: one JSON line per event on stdout, and nothing else there; no secrets anywhere."""

from __future__ import annotations

import json
import logging
import os
import queue
import re
import sys
import threading
import time
from collections.abc import Callable, Sequence

_MIN_SECRET = 6  # characters; masking shorter values would blot out ordinary words
_EVERY = 0.25  # seconds between progress lines
_PARAMETER = re.compile(
    r"([?&;][^=&\s]*(?:token|key|secret|password|passwd|sig|auth|session|code)[^=&\s]*=)[^&\s#\"'<>]+",
    re.IGNORECASE,
)
_USERINFO = re.compile(r"(//)[^/\s@\"']+@")


def masker(secrets: Sequence[str]) -> Callable[[str], str]:
    """A function that masks the given values, users in URLs, and parameters that sound secret."""
    literal = sorted({value for value in secrets if len(value) >= _MIN_SECRET}, key=len, reverse=True)

    def mask(text: str) -> str:
        for value in literal:
            text = text.replace(value, "***")
        return _USERINFO.sub(r"\1***@", _PARAMETER.sub(r"\1***", text))

    return mask


class Reporter:
    """Writes events to the real stdout from a thread: a slow reader must not stop the reactor.

    File descriptor 1 is pointed at stderr, so that no library can write into the stream of events.
    """

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()
        self._last = 0.0

    def say(self, event: str, **fields: object) -> None:
        """One event, in order."""
        self._lines.put(json.dumps({"event": event, **fields}).encode() + b"\n")

    def progress(self, **fields: int) -> None:
        """A progress event, unless the last one is young or lines wait to be read."""
        now = time.monotonic()
        if now - self._last >= _EVERY and self._lines.empty():
            self._last = now
            self.say("progress", **fields)

    def close(self) -> None:
        """Wait until all lines are written."""
        self._lines.put(None)
        self._thread.join()

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._out.write(line)
                self._out.flush()
            except OSError:
                return  # the driver is gone; the end of stdin stops the crawl


def log_to_stderr(mask: Callable[[str], str]) -> None:
    """Warnings and errors of all libraries to stderr, masked, tracebacks included."""

    class Masking(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return mask(super().format(record))

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Masking("%(levelname)s %(name)s: %(message)s"))
    logging.root.handlers = [handler]
    logging.root.setLevel(logging.ERROR)
