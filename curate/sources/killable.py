"""Calls that may hang, crash or eat memory, in worker processes that can be lost.

    for key, result in map_killable("package.module:function", items, workers=2, seconds=10, memory_bytes=10**9):

Workers are forked from a small server (see `killable_server`), which is started once per process and set
of imports. The caller's `__main__` is never imported again, and nothing is pickled: arguments and
results are plain values (JSON) and one body of bytes. Time is processor time, measured by the kernel in
the worker, so a busy machine makes no time-outs; what only waits is ended after five times as long. A
worker whose driver died sees the end of its connection.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from curate.sources.killable_server import OUT_OF_MEMORY, receive, send
from curate.sources.record import Fault
from schemas.errors import CurateError

K = TypeVar("K")

_RECYCLE = 2_000  # documents of one worker: what leaks goes with it
_AHEAD = 8  # questions per worker that are read before the first answer is taken
_BOOT = """
import json, socket, sys
sys.path[:] = json.loads(sys.argv[1])
from curate.sources.killable_server import serve
serve(socket.socket(fileno=int(sys.argv[2])), sys.argv[3:])
"""


def _path() -> list[str]:
    return [str(folder) for folder in sys.path]


class _Server:
    """The process from which workers are forked."""

    def __init__(self, preload: tuple[str, ...]) -> None:
        self._control, theirs = socket.socketpair()
        self._lock = threading.Lock()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOOT, json.dumps(_path()), str(theirs.fileno()), *preload],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            )  # fmt: skip
        if self._control.recv(16) != b"ready":
            self.close()
            raise CurateError(
                f"The process for {', '.join(preload) or 'workers'} did not start: it ended with code {self._process.returncode}.",
                hint="What it wrote stands above. `curate doctor` checks the installation.",
            )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def connect(self) -> socket.socket:
        """A connection to a new worker."""
        ours, theirs = socket.socketpair()
        with theirs, self._lock:
            socket.send_fds(self._control, [b"w"], [theirs.fileno()])
        return ours

    def close(self) -> None:
        self._control.close()
        self._process.wait()


_servers: dict[tuple[str, ...], _Server] = {}
_servers_lock = threading.Lock()


def _server(preload: tuple[str, ...]) -> _Server:
    with _servers_lock:
        if preload not in _servers or not _servers[preload].alive:
            _servers[preload] = _Server(preload)
            atexit.register(_servers[preload].close)
        return _servers[preload]


def _connect(preload: tuple[str, ...]) -> socket.socket:
    server = _server(preload)
    try:
        return server.connect()
    except OSError:  # it was killed, most likely for want of memory
        server.close()
        return _server(preload).connect()


class _Worker:
    def __init__(self, connection: socket.socket, settings: dict[str, Any]) -> None:
        self.connection = connection
        self.calls = 0
        self._tell(settings)

    def _tell(self, message: dict[str, Any], body: bytes = b"") -> None:
        # If it ended while it was told, it says how when it is asked.
        with contextlib.suppress(OSError):
            send(self.connection, message, body)

    def call(self, arguments: dict[str, Any], body: bytes) -> dict[str, Any]:
        """The worker's answer: {"result": …}, {"error": text}, or {"ended": exit code} (None if unknown)."""
        self.calls += 1
        self._tell(arguments, body)
        answer = receive(self.connection)
        return answer[0] if answer is not None else {"ended": None}

    def stop(self) -> None:
        """Make the call that is under way end at once; the worker ends when it is done, or out of time."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


class _Pool:
    """Workers for one function: handed out to threads, replaced when they are lost or worn."""

    def __init__(self, settings: dict[str, Any], preload: tuple[str, ...]) -> None:
        self._settings = settings
        self._preload = preload
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()
        self._closed = False
        self._lock = threading.Lock()

    def ask(self, arguments: dict[str, Any], body: bytes) -> Any:
        """The function's result, or a Fault."""
        worker = self._take()
        answer = worker.call(arguments, body)
        with self._lock:
            self._busy.discard(worker)
            if self._closed or "ended" in answer or worker.calls >= _RECYCLE:
                worker.connection.close()
            else:
                self._idle.append(worker)
        if "result" in answer:
            return answer["result"]
        if "error" in answer:
            return Fault(0, "error:extract", answer["error"])
        return self._fault(answer["ended"])

    def _take(self) -> _Worker:
        with self._lock:
            worker = self._idle.pop() if self._idle else None
        worker = worker or _Worker(_connect(self._preload), self._settings)
        with self._lock:
            self._busy.add(worker)
            if self._closed:
                worker.stop()
        return worker

    def _fault(self, code: int | None) -> Fault:
        seconds, memory = self._settings["seconds"], self._settings["memory_bytes"]
        if code in (-signal.SIGPROF, -signal.SIGALRM):
            return Fault(0, "error:timeout", f"It was not done after {seconds:g} seconds.")
        if code in (OUT_OF_MEMORY, -signal.SIGKILL):
            return Fault(0, "error:memory", f"It needs more than {memory // 1_000_000:,} MB of memory.")
        if code is None:
            return Fault(0, "error:extract", "The process that read it is gone.")
        how = f"crashed ({signal.strsignal(-code)})" if code < 0 else f"ended with code {code}"
        return Fault(0, "error:extract", f"The process that read it {how}.")

    def close(self) -> None:
        """End the workers, also those at work: the threads that wait for them see the end."""
        with self._lock:
            self._closed = True
            for worker in self._busy:
                worker.stop()
            for worker in self._idle:
                worker.connection.close()


def map_killable(
    function: str,
    items: Iterable[tuple[K, bytes, dict[str, Any]]],
    *,
    workers: int,
    seconds: float,
    memory_bytes: int,
    preload: tuple[str, ...] = (),
) -> Iterator[tuple[K, Any | Fault]]:
    """(key, result) for every (key, body, arguments), in the order of the items.

    A call that does not come back is a Fault: error:timeout, error:memory, or error:extract for an
    exception or a crash. Its neighbours notice nothing.

    Args:
        function: "module:name", called in a worker as function(body, **arguments); gives plain values.
        items: read at most eight times `workers` ahead.
        workers: processes.
        seconds: processor time of one call.
        memory_bytes: address space of a worker.
        preload: modules that the server imports before it forks.

    Raises:
        CurateError: the server does not start.
    """
    _server(preload)
    settings = {"function": function, "seconds": seconds, "memory_bytes": memory_bytes, "path": _path()}
    pool = _Pool(settings, preload)
    threads = ThreadPoolExecutor(workers, thread_name_prefix="killable")
    waiting: deque[tuple[K, Future[Any]]] = deque()
    try:
        for key, body, arguments in items:
            waiting.append((key, threads.submit(pool.ask, arguments, body)))
            if len(waiting) >= _AHEAD * workers:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        pool.close()
