"""Trains a classifier for the stage `classifier` on labelled texts, and tells how well it does on those held out."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections import Counter
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate.lake.disk import disk_errors
from curate.models.training import (
    HELD_OUT,
    Fit,
    Score,
    fit_model,
    is_held_out,
    load_bytes,
    probabilities,
    scores,
)
from curate.reports.numbers import plural
from curate.sources.streams import open_stream
from schemas.errors import UsageError

_HINT = 'One JSON object a line: {"text": "...", "label": "keep"}; --text and --label name other keys.'
_LEAST = 10  # texts of a label: fewer cannot be learned, nor tested


@dataclass(frozen=True)
class TrainedClassifier:
    """A classifier that was trained: what it was made of, and how each label does on texts held out."""

    file: str
    card: str
    bytes: int
    sha256: str
    labels: dict[str, int]  # all texts of each label
    trained: int
    held_out: int
    unchanged: bool  # the file was there already
    table: dict[str, list[Score]]


def train_classifier(
    source: str | Path,
    out: str | Path,
    *,
    text: str = "text",
    label: str = "label",
    fit: Fit = Fit(),  # noqa: B008 - frozen
) -> TrainedClassifier:
    """Train on labelled JSON lines (.gz, .zst, .xz too), test on one text in five, write the model and its card.

    Which texts are held out is decided by their hash. The same rows in any order give the same bytes. A file that is
    there is not replaced; if it is the same, nothing is written.

    Raises:
        UsageError: the rows cannot be read, give fewer than two labels or too few of one, or another file is there.
    """
    rows, digest = _read(Path(source), text, label)
    labels = _labels(rows, Path(source))
    trained = [row for row in rows if not is_held_out(row[1])]
    held = [row for row in rows if is_held_out(row[1])]
    missing = sorted(set(labels) - {name for name, _ in held}) or sorted(
        set(labels) - {name for name, _ in trained}
    )
    if missing:
        raise UsageError(
            f'Too few different texts of "{missing[0]}" to train and to test.', hint="Label more."
        )
    data = fit_model(trained, fit)
    model = load_bytes(data)
    texts, given = [words for _, words in held], np.array([name for name, _ in held])
    table = {name: scores(probabilities(model, texts, name), given == name) for name in labels}
    target = Path(out).expanduser().absolute()
    target = target / "classifier.ftz" if target.is_dir() else target
    sha256 = hashlib.sha256(data).hexdigest()
    card = {
        "model": target.name,
        "sha256": sha256,
        "bytes": len(data),
        "source": Path(source).name,
        "source_sha256": digest,
        "labels": labels,
        "trained": len(trained),
        "held_out": len(held),
        "held_out_by": f"hash of the text, one in {HELD_OUT}",
        "fit": asdict(fit),
        "fasttext-community": metadata.version("fasttext-community"),
        "scores": {name: [asdict(score) for score in found] for name, found in table.items()},
    }
    beside = target.with_suffix(".json")
    with disk_errors(target.parent):
        unchanged = _write(target, data, beside, json.dumps(card, indent=2, ensure_ascii=False) + "\n")
    return TrainedClassifier(
        str(target), str(beside), len(data), sha256, labels, len(trained), len(held), unchanged, table
    )


def _read(source: Path, text: str, label: str) -> tuple[list[tuple[str, str]], str]:
    """The distinct (label, text) rows, and the sha256 of the bytes that they were read from."""
    rows: dict[tuple[str, str], None] = {}
    digest = hashlib.sha256()
    try:
        with open_stream(source) as stream:
            for number, line in enumerate(_lines(stream), 1):
                digest.update(line)
                if line.strip():
                    rows[_row(line, f"{source}, line {number}", text, label)] = None
    except FileNotFoundError:
        raise UsageError(f"There is no file {source}.", hint="curate label makes one.") from None
    except (OSError, pa.ArrowInvalid) as error:
        raise UsageError(f"{source} cannot be read: {error}.", hint=_HINT) from error
    return list(rows), digest.hexdigest()


def _lines(stream: Any) -> Any:
    """Lines of a stream that may have no `readline`."""
    rest = b""
    while block := stream.read(1 << 20):
        *lines, rest = (rest + block).split(b"\n")
        yield from (line + b"\n" for line in lines)
    if rest:
        yield rest


def _row(line: bytes, where: str, text: str, label: str) -> tuple[str, str]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where} is no JSON: {error}.", hint=_HINT) from error
    if not isinstance(row, dict) or not isinstance(row.get(text), str) or row.get(label) is None:
        found = ", ".join(row) if isinstance(row, dict) else type(row).__name__
        raise UsageError(f'{where} has no "{text}" and "{label}": {found}.', hint=_HINT)
    value = row[label]
    name = value if isinstance(value, str) else json.dumps(value)
    if not name or name.split() != [name] or "\0" in name:
        raise UsageError(
            f"{where} has the label {name!r}, which is not one word.", hint="Write it with - or _."
        )
    return name, row[text]


def _labels(rows: list[tuple[str, str]], source: Path) -> dict[str, int]:
    """How many texts each label has, most frequent first."""
    counts = Counter(name for name, _ in rows)
    if len(counts) < 2:
        only = f'only the label "{next(iter(counts))}"' if counts else "no rows"
        raise UsageError(
            f"{source} has {only}.", hint="A classifier needs texts of two labels: keep and drop, say."
        )
    name, count = min(counts.items(), key=lambda item: item[1])
    if count < _LEAST:
        raise UsageError(
            f'{source} has {plural(count, "different text")} of "{name}"; at least {_LEAST} are needed.',
            hint="Label more.",
        )
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _write(model: Path, data: bytes, card: Path, told: str) -> bool:
    """Write both files, each whole or not at all; returns whether they were there already."""
    wanted = {model: data, card: told.encode()}
    for path, content in wanted.items():
        if path.exists() and path.read_bytes() != content:
            raise UsageError(
                f"{path} is there, and is another file.", hint="-o FILE names another, or delete it first."
            )
    if all(path.exists() for path in wanted):
        return True
    model.parent.mkdir(parents=True, exist_ok=True)
    for path, content in wanted.items():
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    return False
