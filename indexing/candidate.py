"""The candidate of a run: an index version of what stands, judged by its gates; live if it passes."""

from __future__ import annotations

import time

import polars as pl
import pyarrow as pa

from curate.engine.corpus import corpus_rows
from curate.engine.session import Session
from curate.lake.runs import Head
from indexing.checks import made_of_failed, tables_check
from indexing.gates import refuse_failed
from indexing.manifest import MANIFEST, read_manifest
from indexing.tables import chunk_table, cut_chunks, recipe_embedder, standing_vectors
from indexing.version import build_version
from schemas.errors import IndexingError
from schemas.report import TableReport


def make_candidate(session: Session) -> Head:
    """Build the version of what stands unless it is there, judge it, and publish it."""
    begun, base, report = time.perf_counter(), session.lake.head(), TableReport(table="index_candidate")
    options, embedder = recipe_embedder(session)
    corpus = corpus_rows(session, base)
    if corpus.is_empty():
        session.report.tables.append(report)
        return base
    if base.fingerprints.get(session.key("vectors")) != embedder.fingerprint:
        raise IndexingError(
            "The table vectors was made by another embedder than the recipe has now.",
            hint="Make vectors first: curate run makes all tables in order.",
        )
    passages = chunk_table(cut_chunks(session, base, options, embedder), corpus)
    report.rows = report.kept = len(passages)
    session.progress.start("index_candidate", len(passages))
    folder = session.lake.root / session.name / "indexes"
    live = base.live.get(session.name, "")
    there = {path.name for path in session.lake.folders(folder, MANIFEST)}
    vectors = session.lake.content("vectors", embedder.fingerprint)
    info = build_version(
        folder,
        _plain(passages),
        standing_vectors(vectors, passages.get_column("embed_key"), embedder.dimension),
        embedder=embedder,
        options=options,
        corpus_version=base.corpus_version(session.name),
        documents=corpus.get_column("id").to_arrow().cast(pa.string()),
        live=session.lake.bring(folder / live) if live else None,
    )
    session.lake.keep(info.path, MANIFEST)
    tables = tables_check(session.lake.runs, base, session.plan.recipe)
    report.checks = [tables, *info.checks]
    if info.version not in there:
        report.measured = len(passages)
        report.bytes_written = sum(file.stat().st_size for file in info.path.rglob("*") if file.is_file())
    if report.failed():
        report.notes.append(f"Index {live} stays live." if live else "No index is live.")
    report.seconds = time.perf_counter() - begun
    return session.publish(
        base,
        "index_candidate",
        pins={},
        fingerprints={"index_candidate": info.version},
        digests={"index_candidate": info.version},
        reads=["corpus", "chunks", "vectors"],
        report=report,
    )


def make_live(session: Session) -> Head:
    """Put the candidate live.

    Raises:
        IndexingError: it failed a gate, or a table before it as it stands now failed a blocking check.
    """
    begun, base, report = time.perf_counter(), session.lake.head(), TableReport(table="index_live")
    version = base.fingerprints.get(session.key("index_candidate"), "")
    if not version:  # of an empty corpus
        session.report.tables.append(report)
        return base
    folder = session.lake.bring(session.lake.root / session.name / "indexes" / version)
    tables = tables_check(session.lake.runs, base, session.plan.recipe)
    built = made_of_failed(session.lake.runs, base, session.name, version)
    refuse_failed(folder, built if tables.passed else [tables])
    before = base.live.get(session.name, "")
    session.report.live = version
    report.rows = report.kept = read_manifest(folder).chunks
    report.seconds = time.perf_counter() - begun
    return session.publish(
        base,
        "index_live",
        pins={},
        fingerprints={},
        digests={"index_live": version},
        reads=["index_candidate"],
        report=report,
        live=version if version != before else "",
        kind="promote" if version != before else "run",
    )


def _plain(passages: pl.DataFrame) -> pa.Table:
    """The columns of the chunk table, texts as strings that every reader knows."""
    unseen = ("embed_key", "key", "digest", "text_digest", "chars", "stands_for", "weight")
    kept = passages.drop(*unseen, strict=False)
    table = kept.to_arrow()
    views = [
        field.with_type(pa.large_string()) if pa.types.is_string_view(field.type) else field
        for field in table.schema
    ]
    return table.cast(pa.schema(views))
