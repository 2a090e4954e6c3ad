"""Workers: one seam, `map(function, tasks)`, inline or in local processes.

A worker is `python -m curate.engine.workers`: tasks come as JSON lines on stdin, results leave as JSON
lines. So nothing is pickled, the caller's `__main__` is never imported again (notebooks and scripts
without a guard work), and a worker whose driver died sees the end of its input and stops. Tasks and
results hold paths and numbers, a few hundred bytes.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import schemas.errors
from curate.lake.disk import lake_error
from curate.lean import lean
from curate.resident import hold_for_kernels, hold_little, is_ours
from schemas.errors import CurateError, StageError

_ATTEMPTS = 2
# Each worker is one core's worth: its libraries must not start a team of threads each.
_ENVIRONMENT = dict.fromkeys(
    (
        "POLARS_MAX_THREADS",
        "RAYON_NUM_THREADS",
        "OMP_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "TOKENIZERS_PARALLELISM",
    ),
    "1",
)
# Set by the first Ctrl-C: shards that are being worked on are finished and committed, no new one begins.
STOP = threading.Event()


def raise_if_stopped() -> None:
    """End the run here if the user asked for it.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    if STOP.is_set():
        raise KeyboardInterrupt


@contextmanager
def stoppable(
    signals: Iterable[signal.Signals],
    first: Callable[[], None],
    second: Callable[[int, Any], None] | None = None,
) -> Iterator[None]:
    """While the block runs a signal sets STOP and calls `first`; the next goes to `second`, or where it went before."""
    if threading.current_thread() is not threading.main_thread():  # no signal arrives elsewhere
        yield
        return
    before = {number: signal.getsignal(number) for number in signals}

    def stop(number: int, frame: Any) -> None:
        for other, handler in before.items():
            signal.signal(other, second or handler)
        STOP.set()
        first()

    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        STOP.clear()


class Workers:
    """A pool that starts its processes when they are first needed."""

    def __init__(self, count: int | None = None) -> None:
        self.count = count or len(os.sched_getaffinity(0))
        if self.count == 1:  # the shards run in this process
            hold_for_kernels()
        self._idle: list[subprocess.Popen[str]] = []
        self._started: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.rest()
        _keep_words()  # of shards that ran in this process

    def rest(self) -> None:
        """End the processes, and with them what they hold; they start again when they are needed."""
        for process in self._idle:
            if process.stdin:
                with suppress(BrokenPipeError):  # it has ended
                    process.stdin.close()
        for process in self._idle:
            process.wait()
        self._idle.clear()
        self._started.clear()

    def kill(self) -> None:
        """End all processes at once, whatever they are at; for a stop that must not wait for a shard."""
        for process in self._started:
            process.kill()

    def map(self, function: str, tasks: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Results of `function` ("module:name", dict → dict) over tasks, in the order they finish.

        Raises:
            CurateError: as the function raised it.
            StageError: a worker died twice on the same task.
        """
        # One task is not worth the start of a process; where there is one, it has the memory for it.
        if self.count == 1 or (len(tasks) <= 1 and not self._idle):
            for task in tasks:
                raise_if_stopped()
                yield _run(function, task)
            return
        yield from self._map_processes(function, tasks)

    def _map_processes(self, function: str, tasks: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        waiting: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        done: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        for task in tasks:
            waiting.put(task)
        stop = threading.Event()
        threads = [
            threading.Thread(target=self._serve, args=(function, waiting, done, stop), daemon=True)
            for _ in range(min(self.count, len(tasks)))
        ]
        for thread in threads:
            thread.start()
        try:
            while any(thread.is_alive() for thread in threads) or not done.empty():
                try:
                    answer = done.get(timeout=0.2)
                except queue.Empty:
                    continue
                if "error" in answer:
                    raise _error(answer["error"])
                yield answer["result"]
            raise_if_stopped()
        finally:
            stop.set()  # workers finish the task they are at
            for thread in threads:
                thread.join()

    def _serve(
        self,
        function: str,
        waiting: queue.SimpleQueue[dict[str, Any]],
        done: queue.SimpleQueue[dict[str, Any]],
        stop: threading.Event,
    ) -> None:
        """Feed one process until no task is left."""
        process = self._idle.pop() if self._idle else self._start()
        while not stop.is_set() and not STOP.is_set():
            try:
                task = waiting.get_nowait()
            except queue.Empty:
                break
            for attempt in range(1, _ATTEMPTS + 1):
                answer = _ask(process, {"function": function, "task": task})
                if answer is not None or STOP.is_set():
                    break
                code = process.wait()
                process = self._start()
                if attempt == _ATTEMPTS:
                    answer = {"error": _dead(function, code)}
            if answer is not None:  # else it was killed by a stop
                done.put(answer)
        if not STOP.is_set():
            _ask(process, {"function": "curate.engine.workers:give_back", "task": {}})
        self._idle.append(process)

    def _start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "curate.engine.workers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env={**os.environ, **_ENVIRONMENT},
        )
        self._started.append(process)
        return process


def _ask(process: subprocess.Popen[str], question: dict[str, Any]) -> dict[str, Any] | None:
    """One task and its answer; None if the process died."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(question) + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        return None
    line = process.stdout.readline()
    return json.loads(line) if line else None


def give_back(task: dict[str, Any] | None = None) -> dict[str, Any]:
    """Give memory that this process freed back to the system; it may not be needed here again."""
    gc.collect()
    if "pyarrow" in sys.modules:
        import pyarrow as pa

        pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library than glibc
            ctypes.CDLL(None).malloc_trim(0)
    return {}


def _dead(function: str, code: int) -> dict[str, str]:
    cause = "was killed, most likely for want of memory" if code == -9 else f"ended with code {code}"
    return {
        "kind": "StageError",
        "message": f"A worker {cause} in {function}, twice on the same shard.",
        "hint": "Try fewer workers (--workers 1) or a machine with more memory; finished shards are kept.",
    }


def _error(described: dict[str, str]) -> CurateError:
    kind = getattr(schemas.errors, described["kind"], StageError)
    return kind(described["message"], hint=described["hint"])


@contextmanager
def importing() -> Iterator[None]:
    """Imports without looking for garbage: they make none, and looking for it costs a tenth of their time."""
    looking = gc.isenabled()
    if looking and is_ours():
        gc.collect()  # what is garbage would be frozen, too
    gc.disable()
    try:
        yield
    finally:
        if looking:
            _freeze()
            gc.enable()


def _freeze() -> None:
    """Let later looks for garbage pass over what is there: modules and kernels stay, a program's own things may not."""
    if is_ours():
        gc.freeze()


def _find(function: str) -> Any:
    module, name = function.split(":")
    if module not in sys.modules:
        with importing():
            importlib.import_module(module)
    return getattr(sys.modules[module], name)


_have_run: set[str] = set()  # functions, in this process


def _run(function: str, task: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = _find(function)(task)
    if function not in _have_run:
        _have_run.add(function)
        gc.collect()  # a kernel that is loaded leaves cycles that hold the texts it was called with
        _freeze()
    return result


def _answer(line: str) -> dict[str, Any]:
    question = json.loads(line)
    try:
        return {"result": _run(question["function"], question["task"])}
    except CurateError as error:
        return _described(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, the driver must hear of it
        told = lake_error(error, Path(question["task"].get("out", ".")).parent)
        if told is not None:
            return _described(told)
        traceback.print_exc()
        message = f"{question['function']} failed: {type(error).__name__}: {error}"
        return {
            "error": {
                "kind": "StageError",
                "message": message,
                "hint": "The traceback above is worth a bug report.",
            }
        }


def _described(error: CurateError) -> dict[str, Any]:
    return {"error": {"kind": type(error).__name__, "message": error.message, "hint": error.hint}}


def main() -> None:
    """Serve tasks until the input ends."""
    hold_little()
    hold_for_kernels()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver decides
    # What a library prints must not mix with the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    with importing():
        lean()
    for line in sys.stdin:
        answers.write(json.dumps(_answer(line)) + "\n")
        answers.flush()
    _keep_words()


def _keep_words() -> None:
    """Leave the table of English words to the next run, if this process needed it."""
    if "curate.text.english" in sys.modules:
        from curate.text.english import keep_table

        keep_table()


if __name__ == "__main__":
    main()
