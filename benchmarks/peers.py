"""Peers in environments of their own, made once and kept in the cache: nothing of them meets what is measured here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measuring import CACHE

HERE = Path(__file__).resolve().parent
# What each peer needs for what is run here, one call of pip a row. NeMo Curator's own list has PyTorch and CUDA
# in it, 3 GB that its heuristic filters never import, so it comes without its list.
PACKAGES: dict[str, Sequence[Sequence[str]]] = {
    "datatrove": [
        [
            "datatrove==0.10.1", "xxhash<4", "spacy>=3.8,<3.9", "numpy", "pyarrow", "regex", "nltk", "tldextract",
            "tokenizers", "orjson", "fasteners", "fasttext-numpy2-wheel",
        ]
    ],
    "nemo": [
        ["--no-deps", "nemo-curator==1.4.0", "cosmos-xenna==0.2.0"],
        ["ray==2.60.0", "loguru", "pandas", "pyarrow", "numpy", "attrs", "fsspec", "beautifulsoup4", "sentencepiece", "regex"],
    ],
    "juicer": [["py-data-juicer==1.6.1", "aiohttp"]],
    "semhash": [["semhash==0.5.0", "wordllama==0.4.0.post1", "pyarrow"]],
    # Its own list has Spark and TensorFlow in it, which its MinHash never imports.
    "textdedup": [
        ["--no-deps", "text-dedup==0.4.0"],
        [
            "datasets<4", "numpy", "scipy", "xxhash", "click<9", "click-option-group<0.6", "fire<0.7", "tqdm", "rich<14", "psutil",
            "ftfy", "regex", "bitarray", "urllib3", "zstandard", "setuptools<81", "pybloom-live", "pyarrow",
        ],
    ],
}  # fmt: skip


def environment(name: str) -> Path:
    """The Python of a peer, with its packages.

    Raises:
        CalledProcessError: they cannot be installed.
    """
    folder, wanted = CACHE / "peers" / name, json.dumps(PACKAGES[name])
    python, made = folder / "bin" / "python", folder / "packages.json"
    if not made.exists() or made.read_text("utf-8") != wanted:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        for packages in PACKAGES[name]:
            subprocess.run([python, "-m", "pip", "install", "-qq", *packages], check=True)
        made.write_text(wanted, "utf-8")
    return python


def is_made(name: str) -> bool:
    """Whether a peer's environment is there; `--quick` makes none but datatrove's."""
    return (CACHE / "peers" / name / "packages.json").exists()


def can_be_made(name: str, why_not: list[str]) -> bool:
    """Whether a peer is there or can be installed; `why_not` receives a line where it cannot."""
    try:
        environment(name)
    except subprocess.CalledProcessError as error:
        why_not.append(f"{name} is left out, for it does not install here: {error}")
        return False
    return True


def ask(name: str, script: str, *words: str | Path) -> dict[str, Any]:
    """Run a script of this folder with a peer's Python. Returns the JSON in its last line."""
    command = [environment(name), HERE / script, *words]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{script} failed:\n{done.stderr[-4000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))
