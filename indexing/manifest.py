"""What an index version says of itself, and whether its files are still what was published.

A version is a folder that never changes: `chunks.arrow`, `index.faiss`, `lexical/*`, and `manifest.json`, which
holds the digest of each of them and its own. FAISS loads a file with a flipped byte without a word and answers
wrongly; so sizes are compared whenever a version is opened, and digests when asked.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from indexing.model import sha256
from schemas.checks import Check
from schemas.errors import IndexingError
from schemas.index import IndexOptions

FORMAT = 1
MANIFEST, CHUNKS, VECTORS, LEXICAL = "manifest.json", "chunks.arrow", "index.faiss", "lexical"

Verify = Literal["size", "hash"]


class FileRecord(BaseModel):
    """Size and SHA-256 (hex) of a file."""

    bytes: int
    sha256: str


class Probe(BaseModel):
    """A sentence and its vector: shows that another backend or machine embeds alike."""

    text: str
    vector: list[float]


class Manifest(BaseModel):
    """All that is needed to open, trust and explain a version."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int
    version: str
    corpus_version: str
    created: str  # UTC, ISO 8601
    chunks: int
    documents: int
    dimension: int
    embedder: str  # name, as the recipe states it
    fingerprint: str  # of the embedder
    probes: list[Probe]
    analyser: str
    languages: list[str]  # of the passages
    options: IndexOptions
    search: dict[str, float]  # k_factor, and the recall at 10 at which it was chosen
    checks: list[Check]
    files: dict[str, FileRecord]
    tools: dict[str, str]  # versions of the libraries that wrote the files


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json` with its own digest."""
    content = manifest.model_dump(mode="json")
    (folder / MANIFEST).write_text(
        json.dumps({**content, "digest": _digest(content)}, indent=1, ensure_ascii=False), encoding="utf-8"
    )


def read_manifest(folder: Path) -> Manifest:
    """Read `manifest.json`.

    Raises:
        IndexingError: there is none, or it is not as it was written, or this curate is too old for it.
    """
    file = folder / MANIFEST
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError:
        raise IndexingError(
            f"{folder} is no index version: it has no {MANIFEST}.",
            hint="Name a folder NAME/indexes/VERSION of a lake.",
        ) from None
    except ValueError:
        raise _damaged(file, "is not JSON") from None
    if not isinstance(content, dict) or content.pop("digest", None) != _digest(content):
        raise _damaged(file, "has another digest than it states")
    if content.get("format") != FORMAT:
        raise IndexingError(
            f"{folder} has format {content.get('format')}, this curate reads {FORMAT}.",
            hint="Upgrade curate, or build the index again.",
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        raise _damaged(file, f"does not fit: {error.errors()[0]['loc']}") from None


def record_files(folder: Path) -> dict[str, FileRecord]:
    """Size and digest of every file of a folder but the manifest, flushed to disk."""
    records = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name != MANIFEST:
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
            records[file.relative_to(folder).as_posix()] = FileRecord(
                bytes=file.stat().st_size, sha256=sha256(file)
            )
    return records


def find_problems(folder: Path, manifest: Manifest, verify: Verify) -> list[str]:
    """One sentence for each file that is missing, has another size or (for "hash") other content."""
    problems = []
    for name, record in manifest.files.items():
        file = folder / name
        if not file.resolve().is_relative_to(folder.resolve()) or file.is_symlink():
            problems.append(f"{name} lies outside of the version.")
        elif not file.is_file():
            problems.append(f"{name} is missing.")
        elif file.stat().st_size != record.bytes:
            problems.append(f"{name} has {file.stat().st_size:,} bytes, not {record.bytes:,}.")
        elif verify == "hash" and (found := sha256(file)) != record.sha256:
            problems.append(
                f"{name} has the digest {found[:12]}, not {record.sha256[:12]}: its content changed."
            )
    return problems


def verify_version(folder: Path) -> list[str]:
    """Compare every file with its digest: one sentence for each problem, none if the version is whole."""
    try:
        manifest = read_manifest(folder)
    except IndexingError as error:
        return [error.message]
    listed = {*manifest.files, MANIFEST}
    present = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    strange = [f"{name} does not belong to the version." for name in sorted(present - listed)]
    return find_problems(folder, manifest, "hash") + strange


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _damaged(file: Path, how: str) -> IndexingError:
    return IndexingError(
        f"{file} {how}.", hint="The version is damaged: roll back to the one before, and build it again."
    )
