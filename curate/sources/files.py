"""Which files a source has: folders and globs, what reads each, how they are cut into slices."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from curate.sources import jsonl, tabular
from curate.sources.record import Slice
from curate.sources.streams import COMPRESSIONS
from schemas.errors import SourceError, did_you_mean

SLICE_BYTES = 16_000_000
OURS = ".curate"  # how folders are called that `clean` makes beside its results

KINDS = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "csv",
    ".html": "html", ".htm": "html", ".xhtml": "html", ".md": "markdown", ".markdown": "markdown", ".txt": "text", ".text": "text",
    ".rst": "text", ".warc": "warc", ".wet": "wet", ".pdf": "pdf", ".docx": "docx", ".pptx": "pptx", ".epub": "epub",
}  # fmt: skip
# Kinds whose path is the document's place.
ONE_DOCUMENT = {"html", "markdown", "text", "pdf", "docx", "pptx", "epub"}
_PACKED = {
    "jsonl": tuple(COMPRESSIONS),
    "json": tuple(COMPRESSIONS),
    "csv": tuple(COMPRESSIONS),
    "warc": (".gz", ".zst"),
    "wet": (".gz", ".zst"),
}


def kind_of(path: Path) -> str | None:
    """What reads the file, by its suffix: "jsonl" for a.jsonl and a.jsonl.gz; None if nothing does."""
    suffix = path.suffix.lower()
    if suffix in COMPRESSIONS:
        kind = KINDS.get(Path(path.stem).suffix.lower())
        return kind if suffix in _PACKED.get(kind or "", ()) else None
    return KINDS.get(suffix)


def find_files(patterns: list[str], base: Path) -> list[Path]:
    """All files that the patterns name, sorted, each once.

    A folder stands for all files of a known suffix below it, hidden ones and what lies beside results of ours
    (OUT.curate/) left out; in a glob ("docs/**/*.md")
    files of unknown suffix are passed over.

    Args:
        patterns: files, folders and globs; "~" is the home folder.
        base: what relative ones are relative to.

    Raises:
        SourceError: a pattern that matches nothing, or a file that no reader knows.
    """
    found: set[Path] = set()
    for pattern in patterns:
        found |= _matches(pattern, base)
    return sorted(found)


def _matches(pattern: str, base: Path) -> set[Path]:
    path = base / Path(pattern).expanduser()
    if path.is_file():
        if kind_of(path) is None:
            raise _unknown(path)
        return {path.resolve()}
    found = _below(path) if path.is_dir() else _glob(path)
    if not found:
        raise _nothing(pattern, path)
    return found


def _below(folder: Path) -> set[Path]:
    found: set[Path] = set()
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and not name.endswith(OURS)]
        found |= {
            Path(parent, name).resolve() for name in names if not name.startswith(".") and kind_of(Path(name))
        }
    return found


def _glob(path: Path) -> set[Path]:
    parts = path.parts
    wild = next((index for index, part in enumerate(parts) if any(sign in part for sign in "*?[")), None)
    if wild is None:
        return set()
    root = Path(*parts[:wild])
    found = root.glob(str(Path(*parts[wild:])))
    return {file.resolve() for file in found if file.is_file() and kind_of(file) and not _hidden(file, root)}


def _hidden(file: Path, root: Path) -> bool:
    return any(part.startswith(".") or part.endswith(OURS) for part in file.relative_to(root).parts)


def _nothing(pattern: str, path: Path) -> SourceError:
    if path.is_dir():
        return SourceError(f"{path} holds no file that a reader knows.", hint=f"Known: {' '.join(KINDS)}.")
    if any(sign in pattern for sign in "*?["):
        return SourceError(
            f'No file matches "{path}".',
            hint=f"A glob is relative to the recipe; ** goes through folders. Known suffixes: {' '.join(KINDS)}.",
        )
    parent = path.parent
    hint = (
        did_you_mean(path.name, (file.name for file in parent.iterdir()))
        if parent.is_dir()
        else f"There is no folder {parent} either."
    )
    return SourceError(f"There is no file {path}.", hint=hint)


def digest(path: Path) -> str:
    """SHA-256 of the file's bytes, the first 32 hex digits.

    Raises:
        SourceError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:32]
    except OSError as error:
        raise _unreadable(path, error) from None


def split(path: Path, target_bytes: int = SLICE_BYTES) -> list[Slice]:
    """The file's slices: JSON lines by bytes, Parquet by row groups, anything else whole.

    Raises:
        SourceError: no reader knows the suffix.
    """
    kind = kind_of(path)
    if kind is None:
        raise _unknown(path)
    try:
        if kind == "jsonl":
            return jsonl.split(path, target_bytes)
    except OSError as error:
        raise _unreadable(path, error) from None
    return tabular.split_parquet(path, target_bytes) if kind == "parquet" else [Slice(str(path), kind)]


def _unknown(path: Path) -> SourceError:
    suffix = path.suffix or "(none)"
    return SourceError(f"{path}: no reader knows the suffix {suffix}.", hint=f"Known: {' '.join(KINDS)}.")


def _unreadable(path: Path, error: OSError) -> SourceError:
    return SourceError(
        f"{path}: {error.strerror or error}.", hint="Check that it is there and that you may read it."
    )
