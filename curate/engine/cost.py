"""What a run would measure, embed and write, at the rates of the last run that did."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from curate.resident import peak_resident
from schemas.answers import Preview, Work
from schemas.report import TableReport

if TYPE_CHECKING:
    from curate.engine.preview import JudgedAgain

_LOOKED_AT = 60  # rows of `runs`: about eight runs


def add_cost(again: JudgedAgain, found: Preview, judged_in: float) -> None:
    """Fill in `work`, `seconds`, `memory_bytes` and `bytes`.

    Judging takes what it took here; what is measured is shared by the cores; the product is written at the pace
    at which it was written last.
    """
    reports = _last_reports(again)
    found.work = [
        *(_work(table.table, table.would_measure, reports.get(table.table)) for table in found.tables if table.would_measure),
        *_indexing(again, reports),
    ]  # fmt: skip
    product = _product_bytes(again)
    verdicts = sum(
        _verdict_bytes(again, table.table) for table in found.tables if table.comes_back or table.goes
    )
    found.bytes = product + verdicts + sum(work.bytes for work in found.work)
    cores = os.cpu_count() or 1
    found.seconds = (
        judged_in + sum(work.seconds for work in found.work) / cores + product * _pace(reports.get("corpus"))
    )
    found.memory_bytes = peak_resident()


def _last_reports(again: JudgedAgain) -> dict[str, TableReport]:
    """Of each table the newest report of a run that measured something there."""
    session, found = again.session, dict[str, TableReport]()
    wanted = {*again.tables, "chunks", "vectors"}
    for seq in range(again.head.seq, max(again.head.seq - _LOOKED_AT, 0), -1):
        row = session.lake.runs.at(seq)
        if row.name == session.name and row.table in wanted and row.table not in found and row.report:
            report = TableReport.model_validate_json(row.report)
            if report.measured:
                found[row.table] = report
    return found


def _work(table: str, rows: int, last: TableReport | None) -> Work:
    if last is None:
        return Work(table=table, rows=rows)
    seconds = sum(last.step_seconds.values()) or last.seconds
    return Work(
        table=table,
        rows=rows,
        seconds=rows * seconds / last.measured,
        bytes=round(rows * last.bytes_written / last.measured),
    )


def _indexing(again: JudgedAgain, reports: dict[str, TableReport]) -> list[Work]:
    """Documents to cut, and passages to embed, of texts that were never cut."""
    session = again.session
    fingerprint = again.head.fingerprints.get(session.key("chunks"), "")
    if session.plan.recipe.index is None or not fingerprint or "corpus" not in again.rows:
        return []
    rows = again.rows["corpus"].filter(again.verdicts["corpus"].get_column("kept"))
    texts = rows.select(key=pl.coalesce("digest_out", "text_digest")).unique()
    cut = session.lake.content("chunks", fingerprint).keys().to_frame("key")
    documents = len(texts.join(cut, on="key", how="anti"))
    if not documents:
        return []
    chunks = session.lake.content("chunks", fingerprint).rows()
    passages = round(documents * chunks / max(len(cut), 1)) or documents
    return [
        _work("chunks", passages, reports.get("chunks")),
        _work("vectors", passages, reports.get("vectors")),
    ]


def _verdict_bytes(again: JudgedAgain, table: str) -> int:
    """Verdicts are written whole where one of them changes."""
    session = again.session
    state = session.lake.state(session.name, f"verdicts/{table}")
    names = state.files(again.head.pins.get(session.key(f"verdicts/{table}")))
    return sum((state.folder / name).stat().st_size for name in names)


def _product_bytes(again: JudgedAgain) -> int:
    """New documents at the size of those that stand, and the files of the product that lose one."""
    session = again.session
    pin = again.head.pins.get(session.key("corpus"))
    if pin is None or "corpus" not in again.verdicts:
        return 0
    state = session.lake.state(session.name, "corpus")
    files = [str(state.folder / name) for name in state.files(pin)]
    if not files:
        return 0
    stood = pl.scan_parquet(files, glob=False, include_file_paths="file").select("id", "file").collect()
    kept = again.verdicts["corpus"].filter("kept").select("id")
    lost = stood.join(kept, on="id", how="anti").get_column("file").unique()
    sizes = {file: Path(file).stat().st_size for file in files}
    each = sum(sizes.values()) / max(len(stood), 1)
    new = len(kept.join(stood, on="id", how="anti"))
    return round(sum(sizes[file] for file in lost) + new * each)


def _pace(corpus: TableReport | None) -> float:
    """Seconds for a byte of the product, beside measuring."""
    if corpus is None or not corpus.bytes_written:
        return 0.0
    steps = sum(corpus.step_seconds.values()) / (os.cpu_count() or 1)
    return max(corpus.seconds - steps, 0.0) / corpus.bytes_written
