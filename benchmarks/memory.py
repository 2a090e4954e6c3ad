"""What `curate clean` with two processes needs of memory, for much input and for one large document.

    python benchmarks/memory.py                 # 1 GB, and a document of 200 MB
    python benchmarks/memory.py --gigabytes 5

`rss_mb` counts a page once for each process that has it, `pss_mb` (proportional set size) once in all: the processes
share their libraries. Both are the largest sums over samples 0.2 s apart, of the driver and its workers. Documents are
those of data/bulk.py, again and again, each time with other words before them. The large document stands among 2,000
small ones; `times` is what it adds to their peak over its own size.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

from measuring import Figures, arguments, curate, family, finish, machine
from texts import add_data, bulk_file

LARGE = 200_000_000  # characters


def main() -> None:
    """Clean three inputs, one after the other."""
    parser = arguments(__doc__)
    add_data(parser)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    options = parser.parse_args()
    size, large = (200_000, 100_000) if options.quick else (int(options.gigabytes * 1e9), LARGE)
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="curate-bench-") as name:
        folder = Path(name)
        data = bulk_file(options, folder)
        documents = _write(folder / "much.jsonl", _bulk(data), size)
        figures["much"] = {"documents": documents, **_clean(folder / "much.jsonl")}
        few = list(islice(_bulk(data), 2_000))
        some = "\n".join(few)
        texts = [*few[:1_000], (some * (large // len(some) + 1))[:large], *few[1_000:]]
        _write(folder / "few.jsonl", iter(few), sys.maxsize)
        _write(folder / "large.jsonl", iter(texts), sys.maxsize)
        figures["few"], figures["large"] = _clean(folder / "few.jsonl"), _clean(folder / "large.jsonl")
        added = figures["large"]["pss_mb"] - figures["few"]["pss_mb"]
        figures["large"]["times"] = added * 1e6 / large
    finish(options, machine("polars", "pyarrow"), figures)


def _bulk(data: Path) -> Iterator[str]:
    """Texts without end."""
    for number in count():
        with data.open(encoding="utf-8") as lines:
            for line in lines:
                yield f"{number} times {number} is {number**2}. " * bool(number) + json.loads(line)["text"]


def _write(file: Path, texts: Iterator[str], size: int) -> int:
    """Write JSON lines of about `size` bytes; returns how many."""
    documents = written = 0
    with file.open("w", encoding="utf-8") as out:
        for text in texts:
            written += out.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
            documents += 1
            if written >= size:
                break
    return documents


def _clean(file: Path) -> dict[str, float]:
    """Peaks of a clean of a file."""
    command = curate(
        "clean", file, "-o", file.with_suffix(".parquet"), "--recipe", "fineweb", "--workers", "2"
    )
    process = subprocess.Popen(map(str, command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peaks = {"rss_mb": 0.0, "pss_mb": 0.0, "driver_mb": 0.0}
    while process.poll() is None:
        found = {pid: _memory(pid) for pid in family(process.pid)}
        now = (*map(sum, zip(*found.values(), strict=True)), found[process.pid][1])
        peaks = {name: max(most, size / 1e6) for (name, most), size in zip(peaks.items(), now, strict=True)}
        time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f"{command} failed.")
    return peaks


def _memory(pid: int) -> tuple[int, int]:
    """Resident and proportional bytes of a process."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()[1:]
    except OSError:  # it has ended
        return 0, 0
    sizes = {line.split(":")[0]: 1024 * int(line.split()[1]) for line in lines}
    return sizes.get("Rss", 0), sizes.get("Pss", 0)


if __name__ == "__main__":
    main()
