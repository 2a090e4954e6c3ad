"""The candidate of a run: an index version of what stands, judged by its gates, live if it passes."""

from __future__ import annotations

import time

import polars as pl
import pyarrow as pa

from curate.engine.session import Session
from curate.lake.content import Content
from curate.lake.runs import Head
from indexing.embedder import Embedder
from indexing.version import VersionInfo, build_version
from schemas.index import IndexOptions
from schemas.report import TableReport


def make_candidate(
    session: Session,
    base: Head,
    corpus: pl.DataFrame,
    passages: pl.DataFrame,
    vectors: Content,
    fingerprints: dict[str, str],
    embedder: Embedder,
    options: IndexOptions,
) -> None:
    """Build the version of these passages unless it is there, and publish it."""
    from indexing.tables import index_digest, standing_vectors

    begun, report = time.perf_counter(), TableReport(table="index", rows=len(passages), kept=len(passages))
    session.progress.start("index", len(passages))
    folder = session.lake.root / session.name / "indexes"
    live = base.live.get(session.name, "")
    there = folder.exists() and {path.name for path in folder.iterdir()}
    info = build_version(
        folder,
        _plain(passages),
        standing_vectors(vectors, passages.get_column("embed_key"), embedder.dimension),
        embedder=embedder,
        options=options,
        corpus_version=str(base.pins[session.key("corpus")]),
        documents=corpus.get_column("id").to_arrow().cast(pa.string()),
        live=folder / live if live else None,
    )
    report.checks = info.checks
    report.measured = len(passages) if not there or info.version not in there else 0
    report.bytes_written = (
        sum(file.stat().st_size for file in info.path.rglob("*") if file.is_file()) if report.measured else 0
    )
    _note_gates(info, live, report)
    report.seconds = time.perf_counter() - begun
    session.publish(
        base,
        "index",
        pins={},
        fingerprints=fingerprints,
        digests={"index": index_digest(passages)},
        reads=["corpus"],
        report=report,
        live=info.version if info.passed and info.version != live else "",
        kind="promote" if info.passed and info.version != live else "run",
    )
    session.report.live = info.version if info.passed else live


def _note_gates(info: VersionInfo, live: str, report: TableReport) -> None:
    failed = [check for check in info.checks if check.severity == "blocking" and not check.passed]
    for check in failed:
        report.notes.append(f"The gate {check.name} refused index {info.version}: {check.message}")
    if failed:
        report.notes.append(f"Index {live} stays live." if live else "No index is live.")


def _plain(passages: pl.DataFrame) -> pa.Table:
    """The columns of the chunk table, texts as strings that every reader knows."""
    kept = passages.drop("embed_key", "key", "digest", "text_digest", "chars", strict=False)
    table = kept.to_arrow()
    views = [
        field.with_type(pa.large_string()) if pa.types.is_string_view(field.type) else field
        for field in table.schema
    ]
    return table.cast(pa.schema(views))
