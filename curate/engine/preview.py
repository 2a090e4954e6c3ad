"""What a changed recipe would do, judged from what is stored; nothing is measured, written or published."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from curate.engine.cost import add_cost
from curate.engine.deduplicate import deduplicated_verdicts
from curate.engine.documents import documents_fingerprint, judge_documents
from curate.engine.effects import at_the_edge, compare, languages
from curate.engine.judge import judge
from curate.engine.measure import with_keys
from curate.engine.passages import with_passages
from curate.engine.plan import Plan, PlannedTable
from curate.engine.progress import Progress
from curate.engine.session import Session
from curate.engine.standing import standing
from curate.engine.stored_recipe import stored_recipe
from curate.engine.workers import Workers
from curate.lake.disk import disk_errors
from curate.lake.lake import Lake
from curate.lake.runs import Head
from schemas.answers import Preview, TablePreview
from schemas.errors import LakeError
from schemas.recipe import Recipe
from schemas.report import Reason


def preview(plan: Plan, lake: str | Path) -> Preview:
    """Verdicts under the given plan beside those that stand, table by table; no tables where nothing stands yet.

    A document that was never measured so is kept for now and counted in `would_measure`, and in the first
    table that would measure it in `first_measured`.
    """
    try:
        home = Lake(lake)
    except LakeError:
        return Preview()
    with disk_errors(home.root):
        return _preview(Session(home, plan, Workers(1), Progress()))


def _preview(session: Session) -> Preview:
    begun = time.perf_counter()
    again = judge_again(session)
    if again is None:
        return Preview()
    stood = stored_recipe(session.lake, again.head, session.name)
    found = Preview(notes=_source_notes(session.plan.recipe, stood))
    for table in session.plan.tables:
        if table.name in again.tables:
            found.tables.append(again.tables[table.name])
            compare(again, table, stood)
    found.edge = at_the_edge(again, stood)
    found.unit, found.languages = languages(again)
    add_cost(again, found, time.perf_counter() - begun)
    return found


@dataclass
class JudgedAgain:
    """Verdicts of every table of a plan over what a lake has measured."""

    session: Session
    head: Head  # what stands
    known: Head  # the same, with the fingerprints of the plan
    tables: dict[str, TablePreview] = field(default_factory=dict)
    verdicts: dict[str, pl.DataFrame] = field(default_factory=dict)
    # Of measured tables, in the order of verdicts.
    rows: dict[str, pl.DataFrame] = field(default_factory=dict)
    unmeasured: set[str] = field(default_factory=set)  # ids


def judge_again(session: Session) -> JudgedAgain | None:
    """Judge all tables by the plan of the session; ends before a table whose input is not known. None: nothing stands."""
    plan, head = session.plan, session.lake.head()
    if session.key("verdicts/documents") not in head.pins:
        return None
    planned = {session.key(table.name): table.fingerprint for table in plan.tables[1:]}
    planned[session.key("documents")] = documents_fingerprint(plan.tables[0])
    again = JudgedAgain(session, head, replace(head, fingerprints={**head.fingerprints, **planned}))
    for table in plan.tables:
        found = again.tables[table.name] = TablePreview(table=table.name)
        missing = _judge_table(again, table, found)
        if missing is None:
            break
        found.would_measure, found.first_measured = len(missing), len(missing - again.unmeasured)
        again.unmeasured |= missing
        verdicts = again.verdicts[table.name]
        found.rows, found.kept = len(verdicts), int(verdicts.get_column("kept").sum())
    return again


def _judge_table(again: JudgedAgain, table: PlannedTable, found: TablePreview) -> set[str] | None:
    """Fill in verdicts and reasons; ids of documents that would be measured, None if nothing can be judged."""
    session = again.session
    if table.kind == "documents":
        return _judge_documents(again, table, found)
    if table.kind == "deduplicated":
        rows = standing(session, again.known, table.name, again.verdicts)
        made_from: dict[str, str] = {}
        verdicts, report = deduplicated_verdicts(session, again.known, table.name, rows, made_from, dry=True)
        again.verdicts[table.name], found.reasons = verdicts, report.reasons
        return _never_made(session, table, verdicts, made_from)
    again.verdicts[table.name], found.reasons, missing = _measured(again, table)
    return missing


def _judge_documents(again: JudgedAgain, table: PlannedTable, found: TablePreview) -> set[str] | None:
    session, key = again.session, again.session.key("documents")
    stood = session.lake.read(session.name, "verdicts/documents", again.head)
    stood = stood.filter(pl.col("source").is_in(list(session.plan.recipe.sources)))
    if again.head.fingerprints.get(key) != again.known.fingerprints[key]:
        pages = stood.select(pl.len()).collect().item()
        found.would_measure = found.first_measured = found.rows = found.kept = pages
        return None
    again.verdicts["documents"], found.reasons = judge_documents(session, table, stood.collect(), again.known)
    return set()


def _measured(again: JudgedAgain, table: PlannedTable) -> tuple[pl.DataFrame, list[Reason], set[str]]:
    """Verdicts, reasons, and ids of the documents that were never measured so."""
    session = again.session
    rows = with_passages(
        session, again.known, table, standing(session, again.known, table.name, again.verdicts)
    )
    rows = with_keys(rows, table)
    content = session.lake.content(table.name, table.fingerprint, table.schema).scan()
    steps = [step for step, _ in table.measured]
    measured = content.select("key", "digest_out", *steps, _there=pl.lit(True))
    joined = rows.lazy().join(measured, on="key", how="left", maintain_order="left").collect()
    again.rows[table.name] = joined
    verdicts, reasons = judge(joined, table)
    return verdicts, reasons, set(joined.filter(pl.col("_there").is_null()).get_column("id"))


def _never_made(
    session: Session, table: PlannedTable, verdicts: pl.DataFrame, made_from: dict[str, str]
) -> set[str]:
    """Ids of documents whose text has no sketch or vector yet; what an exact copy stands for needs none."""
    missing = set[str]()
    for key, fingerprint in made_from.items():
        content = key.rpartition("/")[2]
        if content in ("signatures", "document_vectors"):
            made = session.lake.content(content, fingerprint).keys().to_frame("key")
            missing |= set(verdicts.filter("kept").join(made, on="key", how="anti").get_column("id"))
    return missing


def _source_notes(recipe: Recipe, stood: Recipe | None) -> list[str]:
    """Sources that only one of two recipes has."""
    if stood is None:
        return []
    new = [
        f"The source {name} was never asked: what it holds is not counted."
        for name in recipe.sources
        if name not in stood.sources
    ]
    gone = [
        f"The source {name} is gone, and so are its documents."
        for name in stood.sources
        if name not in recipe.sources
    ]
    return [*new, *gone]
