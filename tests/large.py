"""Large inputs, and what a command needs of memory with all its processes.

python -m tests.large write FILE GIGABYTES
python -m tests.large measure COMMAND...
"""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

from tests.lakes import WORDS, text

_PAGE = 4096


def write_large(path: Path, size: int, *, mean_chars: int = 2_500, seed: int = 1) -> int:
    """JSON lines of about `size` bytes with a nested column and a date; returns how many."""
    chance = random.Random(seed)
    sentences = [text(n, chance.randint(8, 30)) for n in range(5_000)]
    count = max(1, mean_chars // 100)
    rows = written = 0
    with path.open("w", encoding="utf-8") as file:
        while written < size:
            own = " ".join(chance.choices(WORDS, k=8))
            row = {
                "id": f"{rows:012}", "text": f"{own}. " + " ".join(chance.choices(sentences, k=chance.randint(1, 2 * count))),
                "metadata": {"url": f"https://e.example/{rows}", "dump": f"CC-{rows % 40}", "score": rows / 7}, "date": "2024-01-05",
            }  # fmt: skip
            written += file.write(json.dumps(row) + "\n")
            rows += 1
    return rows


def processes_of(root: int) -> list[int]:
    """A process and all below it."""
    found = [root]
    for process in found:
        for task in Path(f"/proc/{process}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def resident(process: int) -> int:
    """Resident bytes of a process; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def peak_memory(command: list[str], **options) -> tuple[int, dict[str, int], int]:
    """Run a command: most resident bytes of all processes together, and then of each kind; exit code."""
    process = subprocess.Popen(command, **options)
    most, then = 0, {}
    while process.poll() is None:
        try:
            sizes = {child: resident(child) for child in processes_of(process.pid)}
        except OSError:
            continue
        if sum(sizes.values()) > most:
            most = sum(sizes.values())
            then = {("driver" if child == process.pid else str(child)): size for child, size in sizes.items()}
        time.sleep(0.05)
    return most, then, process.returncode


if __name__ == "__main__":
    if sys.argv[1] == "write":
        print(write_large(Path(sys.argv[2]), int(float(sys.argv[3]) * 1e9)), "documents")
    else:
        begun = time.monotonic()
        most, then, code = peak_memory(sys.argv[2:])
        print(
            f"{most / 1e6:,.0f} MB at most: { ({kind: round(size / 1e6) for kind, size in then.items()}) }; exit {code}, {time.monotonic() - begun:.0f} s"
        )
