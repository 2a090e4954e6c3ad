"""What a changed recipe would do, judged from what is stored; nothing is measured, written or published."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from curate.engine.deduplicate import deduplicated_verdicts
from curate.engine.documents import documents_fingerprint, judge_documents
from curate.engine.judge import judge
from curate.engine.measure import with_keys
from curate.engine.plan import Plan, PlannedTable
from curate.engine.progress import Progress
from curate.engine.session import Session
from curate.engine.standing import standing
from curate.engine.workers import Workers
from curate.lake.disk import disk_errors
from curate.lake.lake import Lake
from curate.lake.runs import Head
from schemas.errors import LakeError
from schemas.report import Reason, TablePreview

_SAMPLE = 5


def preview(plan: Plan, lake: str | Path) -> list[TablePreview]:
    """Verdicts under the given plan beside those that stand, table by table; [] where nothing stands yet.

    A document that was never measured so is kept for now and counted in `would_measure`, and in the first
    table that would measure it in `first_measured`.
    """
    try:
        home = Lake(lake)
    except LakeError:
        return []
    with disk_errors(home.root):
        return _previews(Session(home, plan, Workers(1), Progress()))


def _previews(session: Session) -> list[TablePreview]:
    plan, head = session.plan, session.lake.head()
    if session.key("verdicts/documents") not in head.pins:
        return []
    planned = {session.key(table.name): table.fingerprint for table in plan.tables[1:]}
    planned[session.key("documents")] = documents_fingerprint(plan.tables[0])
    known = replace(head, fingerprints={**head.fingerprints, **planned})
    judged: dict[str, pl.DataFrame] = {}
    unknown: set[str] = set()
    previews = []
    for table in plan.tables:
        found = _preview_table(session, head, known, table, judged, unknown)
        previews.append(found)
        if table.name not in judged:
            break
    return previews


def _preview_table(
    session: Session,
    head: Head,
    known: Head,
    table: PlannedTable,
    judged: dict[str, pl.DataFrame],
    unknown: set[str],
) -> TablePreview:
    """One table; its verdicts go into `judged`, ids of documents that it would measure into `unknown`."""
    found = TablePreview(table=table.name)
    missing: set[str] = set()
    if table.kind == "documents":
        if head.fingerprints.get(session.key("documents")) != known.fingerprints[session.key("documents")]:
            pages = (
                session.lake.read(session.name, "verdicts/documents", head).select(pl.len()).collect().item()
            )
            found.would_measure = found.first_measured = found.rows = found.kept = pages
            return found
        old = session.lake.read(session.name, "verdicts/documents", head).collect()
        verdicts, found.reasons = judge_documents(session, table, old, known)
    elif table.kind == "deduplicated":
        rows = standing(session, known, table.name, judged)
        made_from: dict[str, str] = {}
        verdicts, report = deduplicated_verdicts(session, known, table.name, rows, made_from, dry=True)
        found.reasons, missing = report.reasons, _never_sketched(session, table, verdicts, made_from)
    else:
        verdicts, found.reasons, missing = _measured(session, known, table, judged)
    found.would_measure, found.first_measured = len(missing), len(missing - unknown)
    unknown |= missing
    judged[table.name] = verdicts
    found.rows, found.kept = len(verdicts), int(verdicts.get_column("kept").sum())
    _compare(session, head, found, verdicts)
    return found


def _measured(
    session: Session, known: Head, table: PlannedTable, judged: dict[str, pl.DataFrame]
) -> tuple[pl.DataFrame, list[Reason], set[str]]:
    """Verdicts, reasons, and ids of the documents that were never measured so."""
    rows = with_keys(standing(session, known, table.name, judged), table)
    content = session.lake.content(table.name, table.fingerprint, table.schema).scan()
    measured = content.select("key", *[step for step, _ in table.measured], _there=pl.lit(True))
    joined = rows.lazy().join(measured, on="key", how="left", maintain_order="left").collect()
    verdicts, reasons = judge(joined, table)
    return verdicts, reasons, set(joined.filter(pl.col("_there").is_null()).get_column("id"))


def _never_sketched(
    session: Session, table: PlannedTable, verdicts: pl.DataFrame, made_from: dict[str, str]
) -> set[str]:
    """Ids of documents whose text has no sketch yet; what an exact copy stands for needs none."""
    fingerprint = made_from.get(f"{table.name}/signatures")
    if fingerprint is None:
        return set()
    sketched = session.lake.content("signatures", fingerprint).keys().to_frame("key")
    return set(verdicts.filter("kept").join(sketched, on="key", how="anti").get_column("id"))


def _compare(session: Session, head: Head, found: TablePreview, verdicts: pl.DataFrame) -> None:
    """Count and sample what would change against the verdicts that stand."""
    if session.key(f"verdicts/{found.table}") not in head.pins:
        return
    was = (
        session.lake.read(session.name, f"verdicts/{found.table}", head)
        .select("id", was="kept", why="reason")
        .collect()
    )
    both = verdicts.select("id", "kept", "reason").join(was, on="id", how="full", coalesce=True)
    back = both.filter(pl.col("kept") & ~pl.col("was").fill_null(False))
    gone = both.filter(pl.col("was") & ~pl.col("kept").fill_null(False))
    found.comes_back, found.goes = len(back), len(gone)
    places = session.lake.read(session.name, "verdicts/documents", head).select("id", "place").collect()
    for rows, word in ((back, "comes back"), (gone, "goes")):
        named = rows.head(_SAMPLE).join(places, on="id")
        found.sample += [
            (row["place"], f"{word}: {row['why' if word == 'comes back' else 'reason'] or ''}".rstrip(": "))
            for row in named.to_dicts()
        ]
