"""Makes the training sets of a recipe: `[exports.NAME]`, from what stands to a finished folder.

    documents → where → clusters → evaluation data out → splits → mixture → order → shards → card

Each arrow is a function of what stands and of the options alone, so the same version has the same bytes, however
the lake came about and whatever the number of workers.
"""

from __future__ import annotations

import json
import time
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from curate.engine.session import Session, recipe_text
from curate.export.card import configurations, known_misses, readme
from curate.export.checks import check_rows, check_shards, combined
from curate.export.clusters import with_clusters
from curate.export.evaluation import EvaluationFile, evaluation_files, runs_of_words
from curate.export.folder import CARD, DATA, appearing, write_text
from curate.export.kinds import KINDS, Kind
from curate.export.measure import measure
from curate.export.mix import Portion, check_mix, split_names, with_copies, with_splits
from curate.export.rows import at_tokens, corpus_documents, with_tokens
from curate.export.shuffle import Shard, ShufflePlan, plan_shuffle
from curate.export.written import Written, add_up
from curate.lake.digest import content_digest, digest_json
from curate.lake.runs import Head
from schemas.checks import Check
from schemas.errors import LakeError, UsageError, did_you_mean
from schemas.export import Export
from schemas.recipe import Recipe
from schemas.report import TableReport

PairFiles = Callable[[Session, Head, Any, pl.DataFrame, Path], list[Path]]
"""Rows of the kind `pairs`, made by the live index: see `indexing.pairs.pair_files`."""

_VERSION = 1  # goes up when the same documents would give other rows, splits or orders


@dataclass(frozen=True)
class Exported:
    """A finished export."""

    name: str
    version: str
    folder: Path
    reused: bool  # it was there already
    card: dict[str, Any]  # as card.json


@dataclass
class _Making:
    """One export while it is made."""

    session: Session
    head: Head
    name: str
    options: Export
    context: dict[str, Any]
    checks: list[Check]
    left_out: dict[str, int]

    @property
    def shown(self) -> str:
        """The table, as `runs` and the progress call it."""
        return table_name(self.name)

    @property
    def place(self) -> str:
        """Where its options stand in the recipe."""
        return f"[exports.{self.name}]"

    @property
    def kind(self) -> Kind:
        """Its kind."""
        return KINDS[self.options.kind]


def table_name(name: str) -> str:
    """How `runs` calls an export."""
    return f"exports/{name}"


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
    making = _Making(session, head, name, options, {}, [], {})
    check_mix(session.plan.recipe, options, making.place)
    files = evaluation_files(options.decontaminate, session.plan.recipe.folder)
    documents = _documents(making)
    making.context = making.kind.writer.prepare(session, head, options)
    version = _version(making, documents, files)
    folder = session.lake.root / session.name / "exports" / name / version
    known = {path.name for path in session.lake.folders(folder.parent, CARD)}
    if version in known:
        session.lake.bring(folder)
    else:
        _make(making, documents, files, pairs, folder)
        session.lake.keep(folder, CARD)
    card = json.loads((folder / CARD).read_text("utf-8"))
    made = Exported(name, version, folder, version in known, card)
    session.publish(
        base,
        making.shown,
        pins={},
        fingerprints={making.shown: version},
        digests={making.shown: _digest(card)},
        reads=[] if seq else _reads(session),
        report=_report(made, len(documents), time.perf_counter() - begun),
    )
    return made


def _documents(making: _Making) -> pl.DataFrame:
    """The documents with all that decides where they go: tokens and cluster."""
    session, head, options = making.session, making.head, making.options
    documents = corpus_documents(session, head, options.where)
    counted = f"{making.place} {'mix' if options.mix else 'budget'}" if options.mix or options.budget else ""
    return with_clusters(session, head, with_tokens(session, head, documents, needed=counted))


def _version(making: _Making, documents: pl.DataFrame, files: list[EvaluationFile]) -> str:
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


def _make(
    making: _Making,
    documents: pl.DataFrame,
    files: list[EvaluationFile],
    pairs: PairFiles | None,
    folder: Path,
) -> None:
    session, options = making.session, making.options
    rows, decontamination = _without_evaluation_data(making, documents, files)
    rows = _payload(making, with_splits(rows, options), pairs)
    rows, portions = with_copies(rows, options, making.place)
    unwanted = int((rows.get_column("copies") == 0).sum())
    if unwanted:
        making.left_out["not drawn for the mixture"] = unwanted
    rows = rows.filter(pl.col("copies") > 0)
    if rows.is_empty():
        raise LakeError(
            f"Nothing is left for {making.place}.", hint="See what where, decontaminate and mix leave."
        )
    making.checks += check_rows(rows, portions)
    labels = _labels(rows)
    plan = plan_shuffle(session, rows.drop("text_digest", "cluster", "chars"), options)
    del rows, documents
    with appearing(folder) as temporary:
        results = _write(making, plan, temporary / DATA)
        card = _card(making, plan, results, labels, portions, decontamination, folder.name)
        write_text(temporary / CARD, json.dumps(card, indent=2, ensure_ascii=False) + "\n")
        write_text(temporary / "README.md", readme(card))


def _without_evaluation_data(
    making: _Making, documents: pl.DataFrame, files: list[EvaluationFile]
) -> tuple[pl.DataFrame, dict[str, Any] | None]:
    """The documents, with `bytes` of their payload in the corpus, without those that hold evaluation data."""
    kind, options = making.kind, making.options
    columns = [*kind.writer.COLUMNS, *making.context.get("columns", [])] if kind.payload == "corpus" else []
    if not files and not columns:
        return documents, None
    runs = runs_of_words(files, options.ngram)
    making.session.progress.start(making.shown, len(documents))
    measured = measure(
        making.session, making.shown, documents, columns, list(kind.texts), runs, options.ngram
    )
    if not files:
        return measured.drop("hits"), None
    found = measured.select(pl.col("hits").explode()).drop_nulls().to_series().value_counts()
    taken = dict(found.iter_rows())
    clean = measured.filter(pl.col("hits").list.len() == 0).drop("hits")
    if len(clean) < len(documents):
        making.left_out["evaluation data"] = len(documents) - len(clean)
    named = [
        {"file": file.name, "digest": file.digest, "documents": taken.get(number, 0)}
        for number, file in enumerate(files)
    ]
    return clean, {"ngram": options.ngram, "documents": len(documents) - len(clean), "files": named}


def _payload(making: _Making, documents: pl.DataFrame, pairs: PairFiles | None) -> pl.DataFrame:
    """Rows with `ordinal`, and with the size and place of the payload."""
    session, head = making.session, making.head
    zero = pl.lit(0, pl.Int64)
    if making.kind.payload == "corpus":
        return documents.with_columns(ordinal=zero)
    if making.kind.payload == "tokens":
        return at_tokens(session, head, documents).with_columns(ordinal=zero, bytes=pl.col("tokens") * 4)
    if pairs is None:
        raise UsageError(f"{making.place} needs the index.", hint="curate export makes it.")
    folder = session.work / "export-pairs"
    folder.mkdir(exist_ok=True)
    known = documents.select("id", "text_digest", "split", "cluster")
    files = pairs(session, head, making.options, known.with_columns(pl.col("split").cast(pl.String)), folder)
    if not files:
        raise LakeError(
            f"No query was found for {making.place}.", hint="Queries are titles and Markdown headings."
        )
    names = pl.Enum([str(file) for file in files])
    texts = pl.col("query").str.len_bytes() + pl.col("positive").str.len_bytes()
    texts = texts + pl.col("negatives").list.eval(pl.element().str.len_bytes()).list.sum()
    parts = [
        pl.scan_parquet(file, glob=False)
        .with_row_index("row")
        .select(
            "id",
            "ordinal",
            pl.lit(str(file)).cast(names).alias("file"),
            "row",
            texts.cast(pl.Int64).alias("bytes"),
        )
        .collect()
        for file in files
    ]
    return pl.concat(parts).join(
        documents.drop("file", "row", "bytes", strict=False), on="id", maintain_order="left"
    )


def _write(making: _Making, plan: ShufflePlan, data: Path) -> list[dict[str, Any]]:
    """Both passes of the shuffle; returns what became of each shard, in order."""
    session, shown = making.session, making.shown
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


def _labels(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows of each source and licence, repetitions counted."""
    names = [pl.col(name).cast(pl.String) for name in ("source", "license")]
    return rows.group_by(names).agg(rows=pl.col("copies").sum()).sort("source", "license").to_dicts()


def _card(
    making: _Making,
    plan: ShufflePlan,
    results: list[dict[str, Any]],
    labels: list[dict[str, Any]],
    portions: list[Portion],
    decontamination: dict[str, Any] | None,
    version: str,
) -> dict[str, Any]:
    session, options = making.session, making.options
    written = [Written(**result["written"]) for result in results]
    total = add_up(written)
    making.checks += check_shards(plan.shards, results, options)
    _refuse_failed(making)
    recipe = _recipe_of(session, making.head)
    files = [
        {
            "path": f"{DATA}/{file['name']}",
            "split": shard.split,
            "bytes": file["bytes"],
            "sha256": file["sha256"],
        }
        for shard, result in zip(plan.shards, results, strict=True)
        for file in result["files"]
    ]
    licenses = pl.DataFrame(labels).group_by("license").agg(pl.col("rows").sum()).sort("license")
    licensed = dict(licenses.iter_rows())
    return {
        "name": session.name,
        "export": making.name,
        "kind": options.kind,
        "version": version,
        "corpus": making.head.digests.get(session.key("corpus_rows"), ""),
        "splits": [_split(name, plan.shards, results, files) for name in split_names(options)],
        "configs": configurations(files, making.context.get("trained", ())),
        "sources": _sources(labels, tomllib.loads(recipe)),
        "licenses": licensed,
        "languages": total.languages,
        "left_out": {**making.left_out, **total.dropped},
        "decontamination": decontamination,
        "mixture": [asdict(portion) for portion in portions],
        "facts": making.context.get("facts", {}),
        "checks": [check.model_dump() for check in making.checks],
        "known_misses": known_misses(session.plan, options, licensed.get("", 0)),
        "options": options.model_dump(mode="json"),
        "recipe": recipe,
        "files": files,
    }


def _split(
    name: str, shards: list[Shard], results: list[dict[str, Any]], files: list[dict[str, Any]]
) -> dict[str, Any]:
    mine = [file["bytes"] for file in files if file["split"] == name]
    written = add_up(
        Written(**result["written"])
        for shard, result in zip(shards, results, strict=True)
        if shard.split == name
    )
    return {
        "split": name,
        "rows": written.rows,
        "documents": written.taken,
        "tokens": written.tokens,
        "bytes": sum(mine),
        "files": len(mine),
        "numbers": written.numbers,
    }


def _sources(labels: list[dict[str, Any]], recipe: dict[str, Any]) -> list[dict[str, Any]]:
    """Where the rows come from, as the recipe says."""
    sources = []
    for label in labels:
        source = recipe.get("sources", {}).get(label["source"], {})
        given = source.get("url") or source.get("files") or source.get("loader") or ""
        origin = ", ".join(given) if isinstance(given, list) else str(given)
        sources.append({**label, "access": source.get("access", ""), "from": origin})
    return sources


def _recipe_of(session: Session, head: Head) -> str:
    """The recipe by which the corpus was made that is pinned."""
    for seq in range(head.seq, 0, -1):
        row = session.lake.runs.at(seq)
        if row.table == "corpus" and row.name == session.name:
            return row.recipe
    return recipe_text(session.plan.recipe)


def _refuse_failed(making: _Making) -> None:
    failed = [check for check in making.checks if not check.passed and check.severity == "blocking"]
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
    taken = sum(split["documents"] for split in splits)
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
