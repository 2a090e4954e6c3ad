"""Building an index version: passages and vectors in, an immutable folder out."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from indexing.analyser import ANALYSER
from indexing.embedder import Embedder
from indexing.gates import judge
from indexing.lexical import build_lexical
from indexing.manifest import (
    CHUNKS,
    FORMAT,
    LEXICAL,
    VECTORS,
    Manifest,
    Probe,
    read_manifest,
    record_files,
    write_manifest,
)
from indexing.model import sha256
from indexing.snapshot import Snapshot
from indexing.vectors import build_vectors
from schemas.checks import Check
from schemas.errors import IndexingError, did_you_mean
from schemas.index import IndexOptions

# Columns of a passage; those of the second kind are "" if they are not given. All others are kept as they are.
REQUIRED = {
    "chunk_id": pa.large_string(),
    "document_id": pa.large_string(),
    "text": pa.large_string(),
    "start": pa.int64(),
    "end": pa.int64(),
}
OPTIONAL = ("url", "title", "date", "language", "source", "license", "access", "place")

_DAY = 86_400  # seconds; no build takes as long

PROBES = (
    "How do I reset my password?",
    "The invoice is payable within thirty days.",
    "def area(radius): return 3.14159 * radius ** 2",
    "Der Vertrag kann mit einer Frist von drei Monaten gekündigt werden.",
    "La réunion est reportée à mardi prochain.",
    "この製品は日本で製造されています。",
    "Proteins fold into their native structure within milliseconds.",
    "!",
)


@dataclass(frozen=True)
class VersionInfo:
    """A version that was built, or was there already."""

    version: str
    path: Path
    chunks: int
    documents: int
    checks: list[Check]

    @property
    def passed(self) -> bool:
        """Whether no gate failed."""
        return all(check.passed for check in self.checks if check.severity == "blocking")


def build_version(
    folder: Path,
    chunks: pa.Table,
    vectors: npt.NDArray[np.float32],
    *,
    embedder: Embedder,
    options: IndexOptions,
    corpus_version: str,
    documents: pa.Array | pa.ChunkedArray | None = None,
    live: Path | None = None,
) -> VersionInfo:
    """Build a version and judge it; it appears in `folder` whole, under its name, or not at all.

    The name is a hash of passages, embedder, options and corpus version: building the same again gives back
    the folder that is there. Vectors and codes are in memory while it is built.

    Args:
        folder: the versions of an index, `NAME/indexes`.
        chunks: one row per passage: chunk_id (unique), document_id, text, start, end, any of `OPTIONAL`, and
            columns of one's own (text, numbers, Booleans) for `where`.
        vectors: float32 (n, d), in the order of `chunks`.
        embedder: the one that made the vectors.
        options: kept in the manifest; `exact_below` and `min_recall` are used here.
        corpus_version: named in every answer.
        documents: ids of all documents of the corpus, for the gate `coverage`.
        live: the version in use, for the check `overlap`.

    Raises:
        IndexingError: columns are missing, ids are not unique, or vectors do not fit.
    """
    chunks, vectors = _in_order(chunks, vectors, embedder)
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    building = folder / f".building-{uuid.uuid4().hex[:12]}"
    building.mkdir()
    try:
        with pa.ipc.new_file(building / CHUNKS, chunks.schema) as file:
            file.write_table(chunks, max_chunksize=max(len(chunks), 1))
        version = _version(building / CHUNKS, embedder, options, corpus_version)
        if not (folder / version).exists():
            _fill(building, version, chunks, vectors, embedder, options, corpus_version, documents, live)
            _publish(building, folder / version)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    manifest = read_manifest(folder / version)
    return VersionInfo(version, folder / version, manifest.chunks, manifest.documents, manifest.checks)


def _in_order(
    chunks: pa.Table, vectors: npt.NDArray[np.float32], embedder: Embedder
) -> tuple[pa.Table, npt.NDArray[np.float32]]:
    """Both sorted by chunk_id, so that the order of arrival is not in the version and ties are ordered by row."""
    for name in REQUIRED:
        if name not in chunks.column_names:
            raise IndexingError(
                f"The passages have no column {name!r}.", hint=did_you_mean(name, chunks.column_names)
            )
    if vectors.shape != (len(chunks), embedder.dimension):
        raise IndexingError(
            f"{len(chunks)} passages need vectors ({len(chunks)}, {embedder.dimension}); found {vectors.shape}.",
            hint="Embed these passages with this embedder.",
        )
    columns = {name: chunks[name].cast(kind) for name, kind in REQUIRED.items()}
    empty = pa.array([""] * len(chunks), pa.large_string())
    columns |= {name: chunks[name] if name in chunks.column_names else empty for name in OPTIONAL}
    columns |= {name: chunks[name] for name in chunks.column_names if name not in columns}
    for name, column in columns.items():
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            columns[name] = pc.fill_null(column.cast(pa.large_string()), "")
    table = pa.table(columns)
    if pc.count_distinct(table["chunk_id"]).as_py() != len(table):
        repeated = pc.value_counts(table["chunk_id"]).to_pylist()
        name = next(str(value["values"]) for value in repeated if value["counts"] > 1)
        raise IndexingError(
            f"chunk_id {name!r} stands more than once.",
            hint="Make it of the document's id and the passage's ordinal.",
        )
    order = pc.sort_indices(table["chunk_id"])
    return table.take(order).combine_chunks(), np.asarray(vectors[order.to_numpy()], np.float32)


def _version(passages: Path, embedder: Embedder, options: IndexOptions, corpus_version: str) -> str:
    digest = hashlib.sha256(sha256(passages).encode())
    digest.update(
        json.dumps(
            [FORMAT, embedder.fingerprint, ANALYSER, options.model_dump(), corpus_version], sort_keys=True
        ).encode()
    )
    return digest.hexdigest()[:12]


def _fill(
    folder: Path,
    version: str,
    chunks: pa.Table,
    vectors: npt.NDArray[np.float32],
    embedder: Embedder,
    options: IndexOptions,
    corpus_version: str,
    documents: pa.Array | pa.ChunkedArray | None,
    live: Path | None,
) -> None:
    """All files of a version but `chunks.arrow`, which is there."""
    build_lexical(folder / LEXICAL, _passages(chunks))
    search = build_vectors(folder / VECTORS, vectors, options.exact_below, options.min_recall)
    manifest = Manifest(
        format=FORMAT,
        version=version,
        corpus_version=corpus_version,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        chunks=len(chunks),
        documents=pc.count_distinct(chunks["document_id"]).as_py(),
        dimension=embedder.dimension,
        embedder=options.embedder,
        fingerprint=embedder.fingerprint,
        probes=[
            Probe(text=text, vector=vector)
            for text, vector in zip(
                PROBES, np.round(embedder.embed(PROBES).astype(float), 6).tolist(), strict=True
            )
        ],
        analyser=ANALYSER,
        languages=sorted(pc.unique(chunks["language"]).to_pylist()),
        options=options,
        search=search,
        checks=[],
        files=record_files(folder),
        tools={name: importlib.metadata.version(name) for name in ("numpy", "pyarrow")}
        | {"faiss": _faiss_version()},
    )
    checks = judge(Snapshot(folder, manifest), embedder=embedder, documents=documents, live=live)
    write_manifest(folder, manifest.model_copy(update={"checks": checks}))


def _sweep(folder: Path) -> None:
    """Remove what builds that were killed have left behind."""
    for left in folder.glob(".building-*"):
        if time.time() - left.stat().st_mtime > _DAY:
            shutil.rmtree(left, ignore_errors=True)


def _passages(chunks: pa.Table) -> Iterator[tuple[str, str]]:
    """Text for the lexical index, with the title (nDCG@10 on SciFact .687 with titles, .675 without), and language."""
    columns = chunks.select(["title", "text", "language"])
    for batch in columns.to_batches(max_chunksize=10_000):
        for title, text, language in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            yield f"{title}\n{text}", language


def _faiss_version() -> str:
    from indexing.vectors import load_faiss

    return str(load_faiss().__version__)


def _publish(building: Path, path: Path) -> None:
    """Make the folder visible, whole and on disk."""
    for place in (building / "manifest.json", building / LEXICAL, building):
        _flush(place)
    try:
        building.rename(path)
    except OSError:
        if not path.exists():  # else another process built the same version just now
            raise
    _flush(path.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
