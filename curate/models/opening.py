"""Opening a fastText model that may be damaged: its reader trusts every number in the file.

Of 100 damaged models, 6 crashed the process, 8 asked for memory without end, 2 hung and 60 loaded and
predicted nonsense. So a packaged model is opened only if its sha256 is the known one, and any other is
loaded in a child process first, with limits on memory and time.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from schemas.errors import CurateError, RecipeError

LID_176 = Path(__file__).with_name("lid.176.ftz")
TOXICITY = Path(__file__).with_name("toxicity.ftz")
_LID_176_SHA256 = "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83"
_TOXICITY_SHA256 = "27a3254e55515ba9d610ecb7a71b94bb37cd1289ee6c0f77afb7026b255d8987"

_SECONDS = 30  # for the trial, and one more for each 50 MB
_MEMORY = 2 << 30  # bytes for the trial, beside twice the file
_LIMITS = """
import sys
try:
    import resource
except ImportError:  # Windows
    pass
else:
    resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]), int(sys.argv[2])))
"""
_TRIAL = 'import fasttext; fasttext.load_model(sys.argv[1]).predict("a", 2)'
_HINT = (
    "Give the path of a whole fastText model (.bin or .ftz), downloaded again if its size is another one; "
    "langid without `model` uses lid.176.ftz."
)
_HEAD = struct.Struct("<ii12id3iqq")  # magic, version, 13 arguments; entries, words, labels, tokens, pruned
_MAGIC, _VERSION = 793_712_314, 12
PREFIX = "__label__"


def model_digest(path: Path, hint: str = _HINT) -> str:
    """sha256 of a model file, as 64 hex digits.

    Raises:
        RecipeError: there is no such file.
    """
    try:
        state = path.stat()
        return _digest(path, state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise RecipeError(f"The model {path} cannot be read: {error.strerror}.", hint=hint) from error


@lru_cache(maxsize=8)
def _digest(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def model_labels(path: Path) -> tuple[str, ...]:
    """The labels of a fastText model, without `__label__`, read from its head alone: cheap for a model of any size.

    Raises:
        RecipeError: no such file, or not a fastText model.
    """
    return _labels(path, model_digest(path))


@lru_cache(maxsize=8)
def _labels(path: Path, digest: str) -> tuple[str, ...]:
    labels = []
    with path.open("rb") as file:
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size or not _begins(head):
            raise _refused(path, "it does not begin as one")
        entries, place = _HEAD.unpack(head)[15], _HEAD.size
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for _ in range(entries):  # the word, its end, its count in 8 bytes, its kind in one
                end = data.find(b"\0", place)
                if end < 0 or end + 10 > len(data):
                    raise _refused(path, "its dictionary is cut off")
                if data[end + 9] == 1:
                    labels.append(data[place:end].decode("utf-8", "replace").removeprefix(PREFIX))
                place = end + 10
    return tuple(labels)


def _begins(head: bytes) -> bool:
    magic, version, *_ = _HEAD.unpack(head)
    return bool(magic == _MAGIC and version <= _VERSION)


def open_model(path: Path) -> Any:
    """The fastText model (`fasttext.FastText._FastText`), opened once a process.

    Raises:
        RecipeError: no such file, or not a fastText model that can be loaded.
        CurateError: a packaged model is damaged.
    """
    return _open(path, model_digest(path))


@lru_cache(maxsize=8)
def _open(path: Path, digest: str) -> Any:
    import fasttext

    if path in (LID_176, TOXICITY):
        check_packaged(path)
    else:
        try_in_child(path, _TRIAL, "a fastText model", _HINT)
    return fasttext.load_model(str(path))


def check_packaged(path: Path) -> None:
    """Whether a packaged model is the one that was packaged.

    Raises:
        CurateError: it is damaged.
    """
    digest, right = model_digest(path), {LID_176: _LID_176_SHA256, TOXICITY: _TOXICITY_SHA256}[path]
    if digest != right:
        raise CurateError(
            f"The packaged model {path} has the sha256 {digest}, not {right}.",
            hint="The installation is damaged: pip install --force-reinstall curate",
        )


def try_in_child(path: Path, code: str, what: str, hint: str) -> None:
    """Run code that loads a model (its path is `sys.argv[1]`) in a process whose memory and time are limited.

    Raises:
        RecipeError: it failed, crashed, or took too much.
    """
    size = path.stat().st_size
    command = [sys.executable, "-P", "-c", _LIMITS + code, str(path), str(2 * size + _MEMORY)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # each thread would take of the memory allowed
    seconds = _SECONDS + size / 50e6
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        reason = f"loading it took more than {seconds:.0f} s"
    else:
        if done.returncode == 0:
            return
        crashed = (
            f"the loader was killed by signal {-done.returncode}"
            if done.returncode < 0
            else "the loader failed"
        )
        reason = done.stderr.strip().rpartition("\n")[2] or crashed
    raise _refused(path, reason, what, hint)


def _refused(path: Path, reason: str, what: str = "a fastText model", hint: str = _HINT) -> RecipeError:
    size = path.stat().st_size
    return RecipeError(
        f"The model {path} ({size:,} bytes) is not {what} that can be loaded: {reason}.", hint=hint
    )
