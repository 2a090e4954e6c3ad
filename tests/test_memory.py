"""What a clean needs of memory, with all its processes: bounded but for some bytes per document."""

import json
import subprocess
import sys

import pytest

from tests.lakes import text
from tests.large import peak_memory, write_large

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

COMMAND = ["clean", "in.jsonl", "-o", "kept.jsonl", "--recipe", "docs", "--set", "deduplicated.minhash=false", "--workers", "2"]  # fmt: skip
# Measured with 2 workers: three processes with their libraries and a shard each, and the driver's frames.
FIXED, PER_DOCUMENT = 2_000_000_000, 3_000


def peak(folder) -> int:
    # Kernels are compiled beside a run.
    subprocess.run([sys.executable, "-m", "curate.engine.warm"], check=True)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    most, _, code = peak_memory([sys.executable, "-m", "curate", *COMMAND], cwd=folder, **quiet)
    assert code == 0
    return most


def test_memory_does_not_grow_with_the_bytes_of_a_corpus(tmp_path):
    documents = write_large(tmp_path / "in.jsonl", 200_000_000)
    assert peak(tmp_path) < FIXED + PER_DOCUMENT * documents


def test_one_large_document_costs_a_small_multiple_of_its_size(tmp_path):
    size = 100_000_000
    some = " ".join(text(n, 1_000) for n in range(200))
    rows = [{"text": text(n, 300)} for n in range(2_000)]
    rows[1_000] = {"text": (some * (size // len(some) + 1))[:size]}
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert peak(tmp_path) < FIXED + 10 * size
    longest = max((tmp_path / "kept.jsonl").open(), key=len)
    assert len(longest) > 0.9 * size
