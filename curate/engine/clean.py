"""One-off cleaning of files, with no lake of the user's: `curate clean FILES -o kept.parquet`.

The same tables are made in a folder beside the result, so a killed clean goes on where it was, and `why`
and `plan` can be asked about it.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from curate.engine.buckets import Buckets, found_in_parts, in_buckets, places_in_parts
from curate.engine.plan import Plan, PlannedTable, make_plan
from curate.engine.progress import Progress
from curate.engine.run import run_tables
from curate.engine.session import Session, read_memory
from curate.engine.shape import Shape, in_input_order, in_parts
from curate.engine.shard import read_texts
from curate.engine.standing import id_ranges
from curate.engine.write import Output, check_output, read_size, write_rows
from curate.lake.digest import widen
from curate.lake.disk import disk_errors
from curate.lake.parquet import QUICK, write_parquet
from curate.lake.runs import Head
from curate.reports.html import write_report
from curate.reports.samples import corpus_samples
from curate.sources.files import OURS, find_files
from curate.sources.remote import is_url
from schemas.errors import CheckError, RecipeError, UsageError, did_you_mean
from schemas.recipe import Recipe, build_recipe, load_recipe, packaged_recipes
from schemas.report import RunReport

NAME = "clean"
SOURCE = "input"
STDIN = "-"
ADDED = ("stands_for", "weight")  # columns that a result may have beside those of its input
_SPOOL = "stdin"
_MAGIC_BYTES = 6
_MAGIC = {  # what stdin may be besides JSON lines
    b"\x1f\x8b": ".jsonl.gz", b"\x28\xb5\x2f\xfd": ".jsonl.zst", b"\xfd7zXZ\x00": ".jsonl.xz", b"PAR1": ".parquet",
}  # fmt: skip
_BATCH = 5_000


def clean(
    files: Sequence[str | Path],
    out: str | Path,
    *,
    recipe: str = "web",
    columns: Mapping[str, str] | None = None,
    add: Sequence[str] = (),
    shard_size: str = "",
    strict: bool = False,
    limit: int = 0,
    workers: int | None = None,
    memory: str = "",
    progress: Progress | None = None,
    overrides: dict[str, Any] | None = None,
) -> RunReport:
    """Clean files into one file (.parquet, .jsonl, .jsonl.gz, .jsonl.zst or .csv), in their order and shape.

    Of a file with columns the output has its rows with all their columns and types, and only the text is
    another; other files give id, place, title, url, date, language, text. "-" is stdin among the files
    (JSON lines, or Parquet, packed or not), and stdout as `out` (JSON lines). With `shard_size` ("512MB")
    there are several files, kept-00000.parquet and so on; `out` may be a folder then ("kept/").

    `recipe` is a packaged name or a TOML file, whose sources and index are not used; `columns` tells which
    column holds what, as in a recipe; `add` names columns that the output has beside those of the input:
    `stands_for`, `weight`; a `strict` clean ends at the first input that cannot be read; `memory` ("4GB") is what the
    search for near-duplicates may take.
    `OUT.curate/` receives dropped.parquet, measurements.parquet, report.html, and the tables from which a
    clean that was stopped goes on; beside stdout nothing is kept.

    Raises:
        CurateError: what went wrong, and what to do.
    """
    return clean_by(
        lambda inputs: _recipe(inputs, recipe, columns or {}, overrides or {}),
        files, out, add=add, shard_size=shard_size, strict=strict, limit=limit, workers=workers, memory=memory,
        progress=progress,
    )  # fmt: skip


def clean_by(
    make_recipe: Callable[[list[str]], Recipe],
    files: Sequence[str | Path],
    out: str | Path,
    *,
    written: Sequence[str] = (SOURCE,),
    add: Sequence[str] = (),
    shard_size: str = "",
    strict: bool = False,
    limit: int = 0,
    workers: int | None = None,
    memory: str = "",
    progress: Progress | None = None,
) -> RunReport:
    """`clean` by a recipe that is made of the files, as they are named.

    What was dropped is written out for the sources in `written`.

    Raises:
        UsageError: `add` names what is no column of duplicates.
    """
    output = check_output(out, read_size(shard_size))
    for name in add:
        if name not in ADDED:
            raise UsageError(f"--add {name}: there is no such column.", hint=did_you_mean(name, ADDED))
    with _beside(output) as beside:
        inputs = [_input(file, beside) for file in files]
        plan = make_plan(make_recipe(inputs))
        if [str(file) for file in files] == [STDIN]:  # its places are stdin.jsonl#4, wherever the copy lies
            plan = replace(plan, recipe=plan.recipe.model_copy(update={"path": str(beside / STDIN)}))
        _refuse_own_output(plan, output)

        def write(session: Session) -> None:
            head = session.lake.head()
            shape = Shape(session, head, add)
            if output.stdout:
                write_rows(output, shape.types, shape.files)
                return
            with ThreadPoolExecutor(1) as thread:  # while the workers make the rows
                told = thread.submit(_write_told, session, head, written)
                write_rows(output, shape.types, shape.files)
                for file in told.result():
                    file.replace(beside / file.name)

        report = run_tables(
            plan, beside / "lake", limit=limit, workers=workers, memory=read_memory(memory), progress=progress,
            strict=strict, one_off=True, then=write,
        )  # fmt: skip
        if report.blocked():
            raise CheckError(
                f"{output.path} was not written: {'; '.join(report.blocked())}",
                hint=f"curate why and curate show --lake {beside / 'lake'}.",
            )
        report.version = 0  # versions are for lakes that somebody keeps
        if not output.stdout:
            page = beside / "report.html"
            report.report_path = str(page)
            write_report(report, corpus_samples(beside / "lake", NAME), page)
        for spool in beside.glob(f"{_SPOOL}.*"):
            spool.unlink()
    return report


@contextmanager
def _beside(output: Output) -> Iterator[Path]:
    """The folder beside the result; beside stdout one that is gone in the end."""
    if not output.stdout:
        yield beside_output(output.path)
        return
    with tempfile.TemporaryDirectory(prefix="curate-") as folder:
        yield Path(folder)


def _input(file: str | Path, beside: Path) -> str:
    """A file, folder, glob or URL as the recipe names it; "-" is written to a file beside the result first."""
    if str(file) == STDIN:
        return str(_spooled(beside).absolute())
    return str(file) if is_url(str(file)) else str(Path(file).expanduser().absolute())


def _spooled(beside: Path) -> Path:
    """Stdin as a file: it is read in slices by several processes, and once more when rows are written.

    Raises:
        UsageError: nothing is piped in.
    """
    stream = sys.stdin.buffer
    if stream.isatty():
        raise UsageError(
            "- is stdin, and nothing is piped into it.", hint="cat posts.jsonl | curate clean - -o kept.jsonl"
        )
    first = stream.read(_MAGIC_BYTES)
    suffix = next((suffix for magic, suffix in _MAGIC.items() if first.startswith(magic)), ".jsonl")
    spool = beside / f"{_SPOOL}{suffix}"
    beside.mkdir(parents=True, exist_ok=True)
    with disk_errors(beside), spool.open("wb") as out:
        out.write(first)
        shutil.copyfileobj(stream, out, 1 << 20)
    return spool


def _refuse_own_output(plan: Plan, output: Output) -> None:
    """The result must not be read as input, now or by the next clean.

    Raises:
        UsageError: it is among the files that are read.
    """
    patterns = [pattern for pattern in plan.recipe.sources[SOURCE].files if not is_url(pattern)]
    if output.stdout or not (output.path.exists() or output.shard_bytes):
        return
    for file in find_files(patterns, Path.cwd()):
        if file == output.path.resolve() or output.path.resolve() in file.parents or output.is_shard(file):
            raise UsageError(
                f"{file} is read as input, and would be written.",
                hint="-o with another place, outside of the folders that are read.",
            )


def beside_output(out: Path) -> Path:
    """The folder beside a result: OUT.curate."""
    return out.with_name(out.name + OURS)


def _recipe(files: list[str], recipe: str, columns: Mapping[str, str], overrides: dict[str, Any]) -> Recipe:
    source = {"files": files, **({"columns": dict(columns)} if columns else {})}
    if recipe.endswith(".toml"):
        there = {**overrides, "sources": {SOURCE: source}}  # it need not have any
        base = load_recipe(recipe, there).resolved
        data = {**base, "name": NAME, "sources": {SOURCE: source}}
        overrides = {}
    elif recipe in packaged_recipes():
        data = {"name": NAME, "extends": recipe, "sources": {SOURCE: source}}
    else:
        raise RecipeError(f'There is no recipe "{recipe}".', hint=did_you_mean(recipe, packaged_recipes()))
    documents = {key: value for key, value in data.items() if key not in {"index", "tokens", "exports"}}
    return build_recipe(documents, {**overrides, "index": False})


def _write_told(session: Session, head: Head, written: Sequence[str]) -> list[Path]:
    """What is told beside the result, in files that are moved there when the result is."""
    dropped, measurements = session.work / "dropped.parquet", session.work / "measurements.parquet"
    _write_dropped(session, head, written, dropped)
    _write_measurements(session, head, measurements)
    return [dropped, measurements]


def _write_dropped(session: Session, head: Head, written: Sequence[str], out: Path) -> None:
    """Dropped documents of some sources with their text as read, the table, step and reason."""
    documents = session.lake.read(NAME, "verdicts/documents", head)
    documents = documents.filter(pl.col("source").is_in(list(written)))
    places = documents.select("id", "place", document_key="key")
    content = session.lake.content("documents", head.fingerprints[f"{NAME}/documents"])
    parts, dropped = in_parts(places), _dropped(session, head)
    none = pl.concat([dropped.head(0), places.head(0).select("place")], how="horizontal").collect()
    schema = pa.schema([*none.to_arrow().schema, pa.field("text", pa.large_string())])

    def batches() -> Iterator[pa.RecordBatch]:
        with (
            _in_parts_by_id(session, places, parts) as placed,
            _in_parts_by_id(session, dropped, parts) as told,
            Buckets(session.work) as both,
        ):
            for number in range(len(parts)):
                rows = told.read(number).join(placed.read(number), on="id")
                both.add(in_input_order(rows), number)
            keys = (both.read(number).get_column("document_key") for number in range(len(parts)))
            with places_in_parts(session.work, content, keys) as found:
                for number in range(len(parts)):
                    located = both.read(number).join(
                        found.read(number),
                        left_on="document_key",
                        right_on="key",
                        how="left",
                        maintain_order="left",
                    )
                    for part in located.iter_slices(_BATCH):
                        yield from _with_texts(part, none.columns).cast(schema).to_batches()

    write_parquet(batches(), schema, out, level=QUICK)


def _dropped(session: Session, head: Head) -> pl.LazyFrame:
    """What was dropped, by which table."""
    told = ["id", "table", "step", "reason", "failed", "message", "duplicate_of", "similarity"]
    return pl.concat(
        session.lake.read(NAME, f"verdicts/{table.name}", head)
        .filter(~pl.col("kept"))
        .with_columns(table=pl.lit(table.name))
        .select(told)
        for table in session.plan.tables
    )


def _in_parts_by_id(
    session: Session, rows: pl.LazyFrame, parts: Sequence[pl.Series]
) -> AbstractContextManager[Buckets]:
    """Rows with an `id` in a bucket for each part (ids as numbers)."""
    ranges = id_ranges(sum(map(len, parts)))
    batches = (rows.filter(ids).collect() for ids in ranges)
    return in_buckets(session.work, rows.head(0).collect(), batches, map(widen, parts), on="id")


def _with_texts(rows: pl.DataFrame, columns: list[str]) -> pa.Table:
    """Columns of the rows and their texts; a record that could not be read has none."""
    there = pl.col("file").is_not_null()
    texts = read_texts(rows.filter(there))
    if len(texts) < len(rows):
        places = rows.select(pl.when(there).then(there.cum_sum().cast(pl.Int64) - 1)).to_series()
        texts = texts.take(places.to_arrow())
    return rows.select(columns).to_arrow().append_column("text", texts)


def _write_measurements(session: Session, head: Head, out: Path) -> None:
    """Every measured number of every document: id, place, one struct per step, NULL where it was not measured."""
    tables = [table for table in session.plan.tables if table.kind == "measured" and table.measured]
    documents = session.lake.read(NAME, "verdicts/documents", head).select("id", "place")
    schema = pa.schema([("id", pa.large_string()), ("place", pa.large_string())])
    for table in tables:
        schema = pa.unify_schemas([schema, pa.schema(table.measured)])

    def batches() -> Iterator[pa.RecordBatch]:
        parts = in_parts(documents)
        with ExitStack() as stack:
            placed = stack.enter_context(_in_parts_by_id(session, documents, parts))
            found = [_found(stack, session, head, table, parts) for table in tables]
            for number, ids in enumerate(parts):
                order = widen(ids).to_frame("id")
                rows = order.join(placed.read(number), on="id", maintain_order="left")
                columns = rows.to_arrow().columns
                for table, (keys, measured) in zip(tables, found, strict=True):
                    known = keys.read(number).join(measured.read(number), on="key")
                    columns += _measurements(order, known, table.measured)
                whole = pa.table(columns, names=schema.names).cast(schema).combine_chunks()
                yield from whole.to_batches(max_chunksize=_BATCH)

    write_parquet(batches(), schema, out)


def _found(
    stack: ExitStack, session: Session, head: Head, table: PlannedTable, parts: Sequence[pl.Series]
) -> tuple[Buckets, Buckets]:
    """The keys (id, key) and the measurements (key, steps) of the documents of some parts."""
    verdicts = session.lake.read(NAME, f"verdicts/{table.name}", head).select("id", "key")
    keys = stack.enter_context(_in_parts_by_id(session, verdicts, parts))
    content = session.lake.content(table.name, table.fingerprint, table.schema)
    columns = ["key", *(step for step, _ in table.measured)]
    asked = (keys.read(number).get_column("key") for number in range(len(parts)))
    return keys, stack.enter_context(found_in_parts(session.work, content, columns, asked))


def _measurements(
    documents: pl.DataFrame, known: pl.DataFrame, steps: list[tuple[str, pa.StructType]]
) -> list[pa.ChunkedArray]:
    """A struct per step for documents (id); NULL for those that are not among the `known` (id, steps)."""
    at = documents.join(
        known.with_row_index("_at").select("id", "_at"), on="id", how="left", maintain_order="left"
    )
    rows, index = known.to_arrow(compat_level=pl.CompatLevel.oldest()), at.get_column("_at").to_arrow()
    return [rows.column(step).take(index) for step, _ in steps]
