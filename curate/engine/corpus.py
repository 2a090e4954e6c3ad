"""Makes `corpus`, the product: kept documents with their final text and redacted metadata.

Files are immutable. A run appends what is new, and rewrites only files that hold a document which left
or changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.engine.buckets import Buckets, found_in_parts
from curate.engine.checks import Pinned, anonymize_steps
from curate.engine.located import located_parts
from curate.engine.measure import MeasuredTable, measured_table, publish_measured
from curate.engine.personal_data import personal_data_check
from curate.engine.plan import Plan, PlannedTable
from curate.engine.session import Session
from curate.engine.shard import read_rows, read_texts, write_plan
from curate.engine.standing import range_of
from curate.engine.stands_for import sizes, with_sizes
from curate.lake.content import new_file
from curate.lake.digest import ContentDigest, digest_json, digest_rows
from curate.lake.keyset import KeySet
from curate.lake.parquet import write_parquet
from curate.lake.runs import Head
from curate.lake.state import State
from schemas.tables import TABLES

_SHARD_CHARS = 32_000_000  # about 8 to 16 MB on disk
_SHARD_ROWS = 50_000
_SMALL_BYTES, _SMALL_FILES = 4 * 2**20, 8  # that many files below that size are merged
_REDACTED = ("title", "url", "place", "extra")
_ARROW = {pl.String: pa.string(), pl.Int64: pa.int64(), pl.Float64: pa.float64(), pl.Boolean: pa.bool_()}


def make_corpus(session: Session) -> Head:
    """Run the last steps, write the product, publish both."""
    with measured_table(session, "corpus", again=True) as made:
        return _publish_product(session, made)


def _publish_product(session: Session, made: MeasuredTable) -> Head:
    state = session.lake.state(session.name, "corpus", corpus_schema(session))
    pin = made.base.pins.get(session.key("corpus"))
    product = _Product(session, made, state, pin)
    version = product.update()
    made.report.counts.update(
        {f"redacted.{kind}": product.redacted[kind] for kind in sorted(product.redacted)}
    )
    pinned = Pinned(state, version)
    made.report.checks = personal_data_check(session, made.base, pinned, _redacted_columns(session))
    if not made.report.kept:
        made.report.notes.append(nothing_left(session, made))
    return publish_measured(session, made, {"corpus": pinned}, {"corpus_rows": product.digest.value})


def corpus_rows(session: Session, head: Head) -> pl.DataFrame:
    """The product as pinned, without its texts, with where each lies (file, row); in order of source and place."""
    state = session.lake.state(session.name, "corpus", corpus_schema(session))
    files = sorted(str(state.folder / name) for name in state.files(head.pins.get(session.key("corpus"))))
    if not files:
        return pl.DataFrame()
    scan = pl.scan_parquet(files, glob=False, include_file_paths="file", missing_columns="insert")
    rows = scan.drop("text", "extra", "redactions").collect()
    numbered = rows.with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64).over("file"))
    return numbered.sort("source", "place", "id")


def corpus_schema(session: Session) -> pa.Schema:
    """Columns of the product: the fixed ones, then the user's own."""
    own = [pa.field(name, _ARROW[type(kind)]) for name, kind in session.plan.keep.items()]
    return pa.schema([*TABLES["corpus"].schema, *own])


def nothing_left(session: Session, made: MeasuredTable) -> str:
    """Which rules took everything."""
    reports = [*session.report.tables, made.report]
    reasons = sorted(
        (reason for report in reports for reason in report.reasons if reason.dropped),
        key=lambda reason: -reason.dropped,
    )
    named = ", ".join(f"{reason.step}.{reason.reason} ({reason.dropped})" for reason in reasons[:3])
    return f"No document is left. What took them: {named or 'there was none to begin with'}."


def _rows_of_product(
    session: Session, table: PlannedTable, rows: pl.DataFrame, sized: pl.DataFrame
) -> pl.DataFrame:
    """The rows of `corpus` without text and extra, with where their text lies."""
    rewritten = pl.col("digest_out") != pl.col("text_digest")
    rows = rows.with_columns(
        home=pl.when(rewritten).then(pl.lit("corpus")).otherwise("home"),
        home_key=pl.when(rewritten).then("key").otherwise("home_key"),
        text_digest="digest_out",
        language=_language(session),
        redactions=_redactions(session),
    )
    spec = digest_json(
        [
            table.fingerprint,
            session.plan.recipe.resolved.get("sources", {})
            and {name: _kept_as(session.plan, name) for name in session.plan.keep},
            *[other.fingerprint for other in session.plan.before("corpus") if anonymize_steps([other])],
        ]
    )
    rows = with_sizes(session, rows, sized)
    made_from = [
        "document_key", "text_digest", "language", "source", "place", "url", "license", "access", "stands_for", "weight",
    ]  # fmt: skip
    key = digest_rows([pl.repeat(spec, len(rows), eager=True), *rows.select(made_from).get_columns()])
    written = [name for name in corpus_schema(session).names if name not in {"text", "extra"}]
    columns = dict.fromkeys([*written, "document_key", "home", "home_key", "chars"])
    return rows.with_columns(key=key).select(*columns)


def _kept_as(plan: Plan, name: str) -> str:
    """Type of a column of the user's own, and where it comes from if it is not called so there."""
    others = [column for column in plan.columns_of(name) if column != name]
    return " ".join([str(plan.keep[name]), *others])


def _language(session: Session) -> pl.Expr:
    """As measured by the last langid step, else as declared."""
    steps = [
        step.name
        for table in session.plan.tables
        for step in table.steps
        if step.stage and step.stage.name == "langid"
    ]
    if not steps:
        return pl.col("declared_language")
    measured = pl.col(steps[-1]).struct.field("language")
    return pl.when(measured != "").then(measured).otherwise("declared_language")


def _redactions(session: Session) -> pl.Expr:
    """How many values of each kind the anonymize steps replaced, as list<struct<key, value>>."""
    counted: dict[str, list[pl.Expr]] = {}
    for step in anonymize_steps(session.plan.tables):
        for field in step.stage.measures if step.stage else ():
            if pa.types.is_int32(field.type):
                counted.setdefault(field.name, []).append(pl.col(step.name).struct.field(field.name))
    entries = [
        pl.struct(key=pl.lit(name), value=pl.sum_horizontal(counts)) for name, counts in counted.items()
    ]
    if not entries:
        return pl.lit([], dtype=pl.List(pl.Struct({"key": pl.String, "value": pl.Int32})))
    return pl.concat_list(entries).list.eval(pl.element().filter(pl.element().struct.field("value") > 0))


def _redacted_columns(session: Session) -> list[str]:
    """Columns of strings beside the text, in which anybody may have written anything."""
    return [*_REDACTED, *(name for name, kind in session.plan.keep.items() if kind == pl.String)]


def _redaction_counts(product: pl.DataFrame) -> dict[str, int]:
    """How many values of each kind were replaced in the texts."""
    entries = product.lazy().select(pl.col("redactions").explode()).drop_nulls().unnest("redactions")
    totals = entries.group_by("key").agg(pl.col("value").cast(pl.Int64).sum()).collect()
    return dict(totals.iter_rows())


class _Product:
    """Makes the state hold exactly what is kept, a part after the other."""

    def __init__(self, session: Session, made: MeasuredTable, state: State, pin: int | None) -> None:
        self._session, self._made, self._state, self._pin = session, made, state, pin
        self._stood = {str(state.folder / name): 0 for name in state.files(pin)}  # rows of a file that stay
        self._stay = KeySet()
        self.redacted: Counter[str] = Counter()
        self.digest = ContentDigest(("id", "key"))

    def update(self) -> int:
        """Write the files that are new or lose a row; returns the version."""
        report, own = self._made.report, {"corpus": self._made.content}
        report.counts.update({"rows_written": 0, "rows_kept": 0})
        located = located_parts(self._session, self._made.base, self._arrivals(), own)
        tasks = self._tasks(located)
        rewritten, files = self._split_files()
        files |= {name for group in rewritten if (name := self._rewrite(group))}
        written = self._session.workers.map("curate.engine.corpus:write_product", tasks)
        files |= {Path(result["file"]).name for result in written}
        before = self._state.files(self._pin)
        report.bytes_written += sum((self._state.folder / name).stat().st_size for name in files - before)
        return self._state.replace(files, self._pin)

    def _arrivals(self) -> Iterator[pl.DataFrame]:
        """The rows that do not stand just so, part by part; counts them and the others."""
        sized, counts = sizes(self._session, self._made.base), self._made.report.counts
        with Buckets(self._session.work) as stood:
            self._put_stood(stood)
            for number, kept in enumerate(self._made.kept()):
                product = _rows_of_product(self._session, self._made.table, kept, sized)
                self.digest.add(product.select("id", "key"))
                self.redacted.update(_redaction_counts(product))
                same = self._same(product, stood.read(number))
                arrivals = product.join(same, on="id", how="anti", maintain_order="left")
                counts["rows_written"] += len(arrivals)
                counts["rows_kept"] += len(product) - len(arrivals)
                yield arrivals

    def _put_stood(self, stood: Buckets) -> None:
        """Put what stands (id, key, file) into buckets by ranges of ids."""
        stood.add(pl.DataFrame(schema={"id": pl.String, "key": pl.String, "file": pl.String}), 0)
        for file in self._stood:
            rows = pl.read_parquet(file, columns=["id", "key"], glob=False).with_columns(file=pl.lit(file))
            stood.add(rows, range_of(rows.get_column("id"), len(self._made.ranges)))

    def _same(self, product: pl.DataFrame, stood: pl.DataFrame) -> pl.DataFrame:
        """Ids of rows that stand just so; counts and remembers them."""
        same = stood.join(product.select("id", "key"), on=["id", "key"], how="semi")
        for file, count in same.group_by("file").len().iter_rows():
            self._stood[file] += count
        self._stay.add(same.get_column("id"))
        return same.select("id")

    def _split_files(self) -> tuple[list[list[str]], set[str]]:
        """Groups of files to rewrite (each into one file), and files to leave alone, by name."""
        lost = {file for file, stay in self._stood.items() if stay < pq.read_metadata(file).num_rows}
        rewritten = [[Path(file).name] for file in sorted(lost)]
        untouched = sorted(Path(file).name for file in self._stood.keys() - lost)
        small = [name for name in untouched if (self._state.folder / name).stat().st_size < _SMALL_BYTES]
        if len(small) >= _SMALL_FILES:
            rewritten.append(small)
            untouched = [name for name in untouched if name not in small]
        return rewritten, set(untouched)

    def _rewrite(self, names: list[str]) -> str:
        """The rows that stay of these files, in one new file; "" if none does."""
        state = self._state

        def batches() -> Iterator[pa.RecordBatch]:
            for name in names:
                for batch in pq.ParquetFile(state.folder / name).iter_batches(batch_size=1000):
                    kept = batch.filter(pa.array(self._stay.has(pl.Series(batch.column("id")))))
                    if len(kept):
                        yield pa.Table.from_batches([kept]).select(list(state.schema.names)).to_batches()[0]

        file = new_file(state.folder)
        if write_parquet(batches(), state.schema, file):
            return file.name
        file.unlink()
        return ""

    def _tasks(self, located: Iterable[pl.DataFrame]) -> list[dict[str, Any]]:
        """Shards of rows to be written, of which plan files tell where their texts lie."""
        session, tasks = self._session, []
        with Buckets(session.work) as arrivals:
            parts = 0
            for rows in located:
                arrivals.add(rows, parts)
                parts += 1
            first = session.plan.tables[0]
            documents = session.lake.content("documents", session.fingerprint(first, self._made.base))
            keys = (arrivals.read(number).get_column("document_key") for number in range(parts))
            with found_in_parts(session.work, documents, ["key", "extra"], keys) as found:
                for number in range(parts):
                    extra = found.read(number).rename({"key": "document_key"})
                    rows = arrivals.read(number).join(extra, on="document_key", maintain_order="left")
                    tasks += self._tasks_of(rows, number)
        return tasks

    def _tasks_of(self, rows: pl.DataFrame, number: int) -> list[dict[str, Any]]:
        session, state = self._session, self._state
        columns = [name for name in state.schema.names if name != "text"]
        plan = session.work / f"product-{session.run}-{number}.parquet"
        write_plan(rows.select(*columns, "file", "row"), plan)
        state.folder.mkdir(parents=True, exist_ok=True)
        schema = session.work / "corpus-schema.arrow"
        schema.write_bytes(state.schema.serialize().to_pybytes())
        common = {
            "plan": str(plan),
            "redact": [step.options.model_dump(mode="json") for step in anonymize_steps(session.plan.tables)],
            "columns": _redacted_columns(session),
            "schema": str(schema),
        }
        return [
            {**common, "start": start, "stop": stop, "out": str(new_file(state.folder))}
            for start, stop in _cut(rows)
        ]


def _cut(located: pl.DataFrame) -> list[tuple[int, int]]:
    """Shards of about 32 M characters."""
    shards, start, total = [], 0, 0
    for position, chars in enumerate(located.get_column("chars").to_list()):
        if position > start and (total + chars > _SHARD_CHARS or position - start >= _SHARD_ROWS):
            shards.append((start, position))
            start, total = position, 0
        total += chars
    return [*shards, (start, len(located))]


def write_product(task: dict[str, Any]) -> dict[str, Any]:
    """Write one file of `corpus`: texts joined, metadata redacted, sorted by source and url."""
    schema = pa.ipc.read_schema(pa.py_buffer(Path(task["schema"]).read_bytes()))
    rows = read_rows(task).sort("source", "url", "place")
    columns = {name: rows.get_column(name).to_arrow() for name in rows.columns if name not in {"file", "row"}}
    for step in task["redact"]:
        from curate.stages.anonymize import AnonymizeOptions, redact_strings

        options = AnonymizeOptions(**step)
        for name in task["columns"]:
            columns[name] = redact_strings(columns[name].cast(pa.large_string()), options)
    columns["text"] = read_texts(rows)
    entries = [[(entry["key"], entry["value"]) for entry in row] for row in columns["redactions"].to_pylist()]
    columns["redactions"] = pa.array(entries, schema.field("redactions").type)
    table = pa.table([columns[name].cast(schema.field(name).type) for name in schema.names], schema=schema)
    del columns
    write_parquet(table, schema, Path(task["out"]))
    return {"file": task["out"], "rows": len(table)}
