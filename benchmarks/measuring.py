"""What every benchmark shares: its arguments, what a command costs, the machine, and how figures are shown."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

Figures = dict[str, dict[str, float]]  # what was measured -> name of the figure -> value
CACHE = Path(os.environ.get("CURATE_DATA_CACHE", "~/.cache/curate-data")).expanduser()
# For the processes that are measured: some containers forbid Python to keep the bytecode that it keeps elsewhere.
os.environ |= {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(CACHE / "bytecode")}
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MB = 1e6


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options of every benchmark."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="a tiny input: shows that it runs, measures nothing"
    )
    parser.add_argument("--json", action="store_true", help="end with one line of JSON: name -> value")
    return parser


@dataclass
class Cost:
    """What something took: wall clock, processor time of all its processes, and their memory at its peak.

    `driver_mb` is the peak of the first process alone.
    """

    seconds: float = 0.0
    cpu_s: float = 0.0
    peak_mb: float = 0.0
    output: str = ""
    driver_mb: float = 0.0

    def figures(self) -> dict[str, float]:
        """For a column of figures."""
        return {"seconds": self.seconds, "cpu_s": self.cpu_s, "peak_mb": self.peak_mb}


def run(
    command: Sequence[str | Path], *, folder: Path | None = None, env: Mapping[str, str] | None = None
) -> Cost:
    """Run a command to its end.

    Processor time is its own and that of all descendants it waited for; memory the largest sum of their
    resident sets in samples 0.2 s apart, which counts shared pages once a process: an upper bound.

    Raises:
        SystemExit: the command failed.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        begun = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            cwd=folder,
            env={**os.environ, **(env or {})},
        )
        memory = Memory(process.pid)
        memory.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        memory.done.set()
        memory.join()
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        errors.seek(0)
        if process.returncode:
            raise SystemExit(f"{command} failed:\n{errors.read().decode('utf-8', 'replace')[-4000:]}")
        output = out.read().decode("utf-8", "replace")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, memory.peak / _MB, output, memory.driver / _MB)


class Memory(threading.Thread):
    """Samples the resident memory of a process and its descendants."""

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self.root, self.peak, self.driver, self.done = root, 0, 0, threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.2):
            self.peak = max(self.peak, sum(_resident(pid) for pid in family(self.root)))
            self.driver = max(self.driver, _resident(self.root))


def family(root: int) -> set[int]:
    """A process and all its descendants."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:  # it has ended
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found = {root}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def cpu_seconds() -> float:
    """Processor time so far of this process and of all children it has waited for."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


@dataclass
class Rounds:
    """Costs of one candidate in several rounds."""

    costs: list[Cost] = field(default_factory=list)
    result: Any = None

    @property
    def median(self) -> Cost:
        """Median of each number."""
        return Cost(
            statistics.median(cost.seconds for cost in self.costs),
            statistics.median(cost.cpu_s for cost in self.costs),
        )


def interleaved(candidates: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, Rounds]:
    """Run the candidates in turn, round after round: what else the machine does then hits all alike."""
    found = {name: Rounds() for name in candidates}
    for _ in range(rounds):
        for name, candidate in candidates.items():
            begun, cpu = time.perf_counter(), cpu_seconds()
            found[name].result = candidate()
            found[name].costs.append(Cost(time.perf_counter() - begun, cpu_seconds() - cpu))
    return found


def machine(*libraries: str) -> dict[str, Any]:
    """Where the figures were taken: cores, processor, memory, load, versions."""
    named = {}
    for library in ("curate", *libraries):
        try:
            named[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            named[library] = "missing"
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _processor(),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * _PAGE / 1e9, 1),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **named,
    }


def _processor() -> str:
    found = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    names = {key.strip(): value.strip() for key, value in found.items()}
    name = names.get("model name", platform.machine())
    return f"{name} (family {names['cpu family']}, model {names['model']})" if "cpu family" in names else name


def finish(
    options: argparse.Namespace,
    where: Mapping[str, Any],
    figures: Figures,
    notes: Sequence[str] = (),
    joint: str = ".",
) -> None:
    """Print the figures: a table, or one line of JSON."""
    if options.json:
        flat = {
            f"{column}{joint}{name}": value
            for column, rows in figures.items()
            for name, value in rows.items()
        }
        print(json.dumps({"machine": where, **flat}))
        return
    print(", ".join(f"{key} {value}" for key, value in where.items()))
    print(f"load at the end {os.getloadavg()[0]:.2f}; {time.strftime('%Y-%m-%d')}")
    names = list(dict.fromkeys(name for rows in figures.values() for name in rows))
    width = max(map(len, names))
    columns = {column: max(len(column), 10) for column in figures}
    print(" ".join([" " * width, *(f"{column:>{size}}" for column, size in columns.items())]))
    for name in names:
        cells = (f"{_shown(figures[column].get(name)):>{size}}" for column, size in columns.items())
        print(" ".join([f"{name:{width}}", *cells]))
    for note in notes:
        print(note)


def _shown(value: float | None) -> str:
    """Three digits that count; counts whole."""
    if value is None:
        return ""
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def curate(*words: str | Path) -> list[str | Path]:
    """A command line of `curate`."""
    return [sys.executable, "-m", "curate", *words]
