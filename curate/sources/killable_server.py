"""The other end of `killable`: a fork server, and the workers that it forks.

The server imports what workers need once, forks one per connection that it is handed (4 ms), and tells
the driver how each ended. It runs no threads and imports neither Arrow nor numba nor torch: these map
gigabytes, which RLIMIT_AS would count, and do not survive a fork.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import resource
import select
import signal
import socket
import struct
import sys
import traceback
from typing import Any

_HEADER = struct.Struct("!QQ")
OUT_OF_MEMORY = 101  # exit code: libxml2 and Python may be left in any state, so the worker ends
_WALL = 5.0  # wall seconds per processor second: for what waits instead of working


def send(connection: socket.socket, message: Any, body: bytes = b"") -> None:
    """Send a message of plain values and some bytes."""
    head = json.dumps(message, ensure_ascii=False).encode("utf-8", "replace")
    connection.sendall(_HEADER.pack(len(head), len(body)) + head)
    if body:
        connection.sendall(body)


def receive(connection: socket.socket) -> tuple[Any, bytes] | None:
    """The next message and its bytes; None if the other end is gone, also in the middle of a message."""
    try:
        header = _exactly(connection, _HEADER.size)
        if header is None:
            return None
        head_size, body_size = _HEADER.unpack(header)
        head, body = _exactly(connection, head_size), _exactly(connection, body_size)
    except OSError:
        return None
    return None if head is None or body is None else (json.loads(head), body)


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    parts: list[bytes] = []
    while size:
        part = connection.recv(min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def serve(control: socket.socket, preload: list[str]) -> None:
    """Fork a worker for every connection that arrives, until the driver is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver decides
    for name in preload:
        importlib.import_module(name)
    logging.disable(logging.CRITICAL)
    wakeup, alarm = os.pipe()
    os.set_blocking(alarm, False)
    signal.set_wakeup_fd(alarm)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    control.sendall(b"ready")
    workers: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([control.fileno(), wakeup], [], [])
        if wakeup in ready:
            os.read(wakeup, 4096)
            _bury(workers)
        if control.fileno() in ready:
            _, descriptors, _, _ = socket.recv_fds(control, 1, 1)
            if not descriptors:
                return
            connection = socket.socket(fileno=descriptors[0])
            pid = os.fork()
            if pid == 0:
                for other in (control, *workers.values()):
                    other.close()
                _become_worker(connection)
            workers[pid] = connection


def _bury(workers: dict[int, socket.socket]) -> None:
    """Tell the driver of each worker that ended how it did, over the connection that was its own."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        connection = workers.pop(pid)
        connection.setblocking(False)  # a driver that does not listen any more must not stop the server
        with contextlib.suppress(OSError):
            send(connection, {"ended": os.waitstatus_to_exitcode(status)})
        connection.close()


def _become_worker(connection: socket.socket) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGALRM, signal.SIGPROF):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    try:
        _work(connection)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except OSError:  # the driver is gone: nobody wants the answer
        os._exit(0)
    except BaseException:  # noqa: BLE001 - a fork must never return into the server's loop
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _work(connection: socket.socket) -> None:
    """Answer one question after the other. What takes too long is ended by the kernel, also within C code."""
    first = receive(connection)
    if first is None:
        return
    settings, _ = first
    sys.path[:] = settings["path"]
    module, name = settings["function"].split(":")
    function = getattr(importlib.import_module(module), name)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_AS, settings["memory_bytes"])
    while (question := receive(connection)) is not None:
        arguments, body = question
        signal.setitimer(signal.ITIMER_PROF, settings["seconds"])
        signal.setitimer(signal.ITIMER_REAL, settings["seconds"] * _WALL)
        try:
            answer = {"result": function(body, **arguments)}
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a document breaks is told, and the next one comes
            answer = {"error": f"{type(error).__name__}: {error}"[:1000]}
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        send(connection, answer)


def _limit(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
    with contextlib.suppress(ValueError, OSError):  # macOS refuses limits on address space
        resource.setrlimit(which, (limit, limit))
