"""Makes the training sets of a recipe: `[exports.NAME]`, from what stands to a finished folder.

The rows are chosen (`choose`), shuffled and written by workers (`shuffle`, and a writer for each kind), and told
of in a data card (`card`). The same version has the same bytes, however the lake came about and whatever the
number of workers.
"""

from __future__ import annotations

import json
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from curate.engine.plan import Plan, make_plan
from curate.engine.session import Session, recipe_text
from curate.export.card import readme
from curate.export.checks import check_shards, combined
from curate.export.choose import Chosen, Making, PairFiles, choose, standing_documents, table_name
from curate.export.evaluation import EvaluationFile, evaluation_files
from curate.export.facts import make_card
from curate.export.folder import CARD, DATA, appearing, write_text
from curate.export.kinds import KINDS
from curate.export.mix import check_mix
from curate.export.shuffle import ShufflePlan
from curate.lake.digest import content_digest, digest_json
from curate.lake.runs import Head
from schemas.checks import Check
from schemas.errors import LakeError, UsageError, did_you_mean
from schemas.export import Export
from schemas.recipe import Recipe, build_recipe
from schemas.report import TableReport

_VERSION = 1  # goes up when the same documents would give other rows, splits or orders


@dataclass(frozen=True)
class Exported:
    """A finished export."""

    name: str
    version: str
    folder: Path
    reused: bool  # it was there already
    card: dict[str, Any]  # as card.json


def find_export(recipe: Recipe, name: str) -> Export:
    """The options of an export.

    Raises:
        UsageError: the recipe has no such export.
    """
    if name not in recipe.exports:
        hint = (
            did_you_mean(name, recipe.exports)
            if recipe.exports
            else f'Add [exports.{name}] and kind = "text" to it.'
        )
        raise UsageError(f'The recipe has no export "{name}".', hint=hint)
    return recipe.exports[name]


def make_exports(session: Session, *, pairs: PairFiles | None = None) -> Head:
    """Make all exports of the recipe, and publish them together as `finetune`."""
    begun = time.perf_counter()
    made = [make_export(session, name, pairs=pairs) for name in session.plan.recipe.exports]
    reports = [session.report.table(table_name(one.name)) for one in made]
    report = TableReport(
        table="finetune",
        seconds=time.perf_counter() - begun,
        rows=sum(one.rows for one in reports),
        kept=sum(one.kept for one in reports),
        reused=sum(one.reused for one in reports),
        measured=sum(one.measured for one in reports),
        counts={f"{one.table}.{name}": count for one in reports for name, count in one.counts.items()},
        checks=combined({one.name: _checks(one.card) for one in made}),
    )
    return session.publish(
        session.lake.head(),
        "finetune",
        pins={},
        fingerprints={},
        digests={"finetune": digest_json({one.name: _digest(one.card) for one in made})},
        reads=_reads(session),
        report=report,
    )


def make_export(session: Session, name: str, *, pairs: PairFiles | None = None, seq: int = 0) -> Exported:
    """Make one export of what stands, or stood at version `seq` of the lake, and publish it.

    What is there already is not made again.

    Raises:
        CurateError: what is wrong with the options or the corpus; nothing half-made is left.
    """
    begun, base = time.perf_counter(), session.lake.head()
    head = session.lake.runs.at(seq) if seq else base
    options = find_export(session.plan.recipe, name)
    check_mix(session.plan.recipe, options, f"[exports.{name}]")
    files = evaluation_files(options.decontaminate, session.plan.recipe.folder)
    context = KINDS[options.kind].writer.prepare(session, head, options)
    making = Making(session, head, _plan(session, head), name, options, context)
    documents = standing_documents(making)
    count = len(documents)
    version = _version(making, documents, files)
    folder = session.lake.root / session.name / "exports" / name / version
    known = {path.name for path in session.lake.folders(folder.parent, CARD)}
    if version in known:
        session.lake.bring(folder)
    else:
        chosen = choose(making, documents, files, pairs)
        del documents  # makes room for the workers
        _make(making, chosen, folder)
        session.lake.keep(folder, CARD)
    card = json.loads((folder / CARD).read_text("utf-8"))
    made = Exported(name, version, folder, version in known, card)
    session.publish(
        base,
        making.table,
        pins={},
        fingerprints={making.table: version},
        digests={making.table: _digest(card)},
        reads=[] if seq else _reads(session),
        report=_report(made, count, time.perf_counter() - begun),
    )
    return made


def _plan(session: Session, head: Head) -> Plan:
    """The plan by which the corpus was made that stands in `head`."""
    row = session.lake.runs.standing(head, session.name, ["corpus"]).get("corpus")
    if row is None or row.recipe == recipe_text(session.plan.recipe):
        return session.plan
    return make_plan(build_recipe(tomllib.loads(row.recipe)))


def _version(making: Making, documents: pl.DataFrame, files: list[EvaluationFile]) -> str:
    """Digest of all that the bytes of the export depend on."""
    session, head = making.session, making.head
    clusters = documents.filter(pl.col("cluster") != pl.col("text_digest")).select("id", "cluster")
    made_from = [
        _VERSION,
        making.kind.version,
        making.options.model_dump(mode="json"),
        making.context,
        head.digests.get(session.key("corpus_rows"), ""),
        head.fingerprints.get(session.key("tokens"), ""),
        content_digest(clusters),
        [[file.name, file.digest] for file in files],
        head.live.get(session.name, "") if making.kind.payload == "pairs" else "",
    ]
    return digest_json(made_from)[:12]


def _make(making: Making, chosen: Chosen, folder: Path) -> None:
    """Write a folder that appears when it is whole."""
    with appearing(folder) as temporary:
        results = _write(making, chosen.plan, temporary / DATA)
        checks = [*chosen.checks, *check_shards(chosen.plan.shards, results, making.options)]
        _refuse_failed(making, checks)
        card = make_card(making, chosen, results, checks, folder.name)
        write_text(temporary / CARD, json.dumps(card, indent=2, ensure_ascii=False) + "\n")
        write_text(temporary / "README.md", readme(card))


def _write(making: Making, plan: ShufflePlan, data: Path) -> list[dict[str, Any]]:
    """Both passes of the shuffle; returns what became of each shard, in order."""
    session, shown = making.session, making.table
    columns = {"columns": list(making.kind.writer.COLUMNS), "own": making.context.get("columns", [])}
    session.progress.start(shown, plan.rows)
    tasks = [{**task, **columns} for task in plan.partition]
    for result in session.workers.map("curate.export.shuffle:partition_part", tasks):
        session.progress.advance(shown, result["rows"], note="shuffling")
    data.mkdir()
    common = {
        "kind": making.options.kind,
        "options": making.options.model_dump(mode="json"),
        "context": making.context,
    }
    tasks = [
        {**task, **common, "shard": number, "out": str(data / shard.name)}
        for number, (task, shard) in enumerate(zip(plan.write, plan.shards, strict=True))
    ]
    session.progress.start(shown, plan.rows)
    results = []
    for result in session.workers.map("curate.export.shuffle:write_shard", tasks):
        session.progress.advance(shown, result["rows"], note="writing")
        results.append(result)
    for task in plan.partition:
        Path(task["out"]).unlink()
    return sorted(results, key=lambda result: result["shard"])


def _refuse_failed(making: Making, checks: list[Check]) -> None:
    failed = [check for check in checks if not check.passed and check.severity == "blocking"]
    if failed:
        raise LakeError(
            f"{making.place} failed its check {failed[0].name}: {failed[0].message}",
            hint="This is a fault of curate: please report it.",
        )


def _reads(session: Session) -> list[str]:
    """Tables that an export is made from."""
    return ["corpus", "tokens", *(f"verdicts/{table.name}" for table in session.plan.tables)]


def _digest(card: dict[str, Any]) -> str:
    """Of the files with their contents."""
    return digest_json(card["files"])


def _checks(card: dict[str, Any]) -> list[Check]:
    return [Check(**check) for check in card["checks"]]


def _report(made: Exported, documents: int, seconds: float) -> TableReport:
    splits = made.card["splits"]
    taken = min(sum(split["documents"] for split in splits), made.card["documents"])  # some may be repeated
    return TableReport(
        table=table_name(made.name),
        seconds=seconds,
        rows=documents,
        kept=taken,
        measured=0 if made.reused else taken,
        reused=taken if made.reused else 0,
        bytes_written=0 if made.reused else sum(split["bytes"] for split in splits),
        languages=made.card["languages"],
        counts={
            **{name: sum(split[name] for split in splits) for name in ("tokens", "bytes", "files")},
            **{f"rows.{split['split']}": split["rows"] for split in splits},
        },
        checks=_checks(made.card),
    )
