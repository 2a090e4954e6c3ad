"""One-off cleaning of files, with no lake of the user's: `curate clean FILES -o kept.parquet`.

The same tables are made in a folder beside the result, so a killed clean goes on where it was, and `why`
and `plan` can be asked about it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from curate.engine.plan import make_plan
from curate.engine.progress import Progress
from curate.engine.run import run_tables
from curate.engine.session import Session
from curate.engine.shard import read_texts, take_rows
from curate.engine.write import check_output, write_rows
from curate.lake.parquet import write_parquet
from curate.lake.runs import Head
from curate.reports.html import write_report
from curate.reports.samples import corpus_samples
from schemas.errors import CheckError, RecipeError, did_you_mean
from schemas.recipe import Recipe, build_recipe, load_recipe, packaged_recipes
from schemas.report import RunReport

NAME = "clean"
_BATCH = 5_000


def clean(
    files: Sequence[str | Path],
    out: str | Path,
    *,
    recipe: str = "web",
    columns: Mapping[str, str] | None = None,
    limit: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
    overrides: dict[str, Any] | None = None,
) -> RunReport:
    """Clean files into one file (.parquet, .jsonl, .jsonl.gz, .jsonl.zst or .csv), in their order.

    `recipe` is a packaged name or a TOML file, whose sources and index are not used; `columns` tells which
    column holds what, as in a recipe. `OUT.curate/` receives dropped.parquet, measurements.parquet,
    report.html, and the tables from which a clean that was stopped goes on.

    Raises:
        CurateError: what went wrong, and what to do.
    """
    target = check_output(Path(out))
    planned = _recipe(
        [str(Path(file).expanduser().absolute()) for file in files], recipe, columns or {}, overrides or {}
    )
    beside = beside_output(target)

    def write(session: Session) -> None:
        head = session.lake.head()
        write_rows(target, _kept_rows(session, head))
        _write_dropped(session, head, beside / "dropped.parquet")
        _write_measurements(session, head, beside / "measurements.parquet")

    report = run_tables(
        make_plan(planned), beside / "lake", limit=limit, workers=workers, progress=progress, then=write
    )
    if report.blocked():
        raise CheckError(
            f"{target} was not written: {'; '.join(report.blocked())}",
            hint=f"curate why and curate show --lake {beside / 'lake'}.",
        )
    report.version = 0  # versions are for lakes that somebody keeps
    page = beside / "report.html"
    report.report_path = str(page)
    write_report(report, corpus_samples(beside / "lake", NAME), page)
    return report


def beside_output(out: Path) -> Path:
    """The folder beside a result: OUT.curate."""
    return out.with_name(out.name + ".curate")


def _recipe(files: list[str], recipe: str, columns: Mapping[str, str], overrides: dict[str, Any]) -> Recipe:
    source = {"files": files, **({"columns": dict(columns)} if columns else {})}
    if recipe.endswith(".toml"):
        base = load_recipe(recipe, overrides).resolved
        data = {**base, "name": NAME, "sources": {"input": source}}
        overrides = {}
    elif recipe in packaged_recipes():
        data = {"name": NAME, "extends": recipe, "sources": {"input": source}}
    else:
        raise RecipeError(f'There is no recipe "{recipe}".', hint=did_you_mean(recipe, packaged_recipes()))
    documents = {key: value for key, value in data.items() if key not in {"index", "tokens", "exports"}}
    return build_recipe(documents, {**overrides, "index": False})


def _kept_rows(session: Session, head: Head) -> Iterator[pl.DataFrame]:
    """The corpus in the order of the input, in batches: text, stated metadata, and the input's columns."""
    files = sorted(session.lake.state(NAME, "corpus").files(head.pins[f"{NAME}/corpus"]))
    if not files:
        return
    paths = [str(session.lake.root / NAME / "corpus" / file) for file in files]
    rows = (
        pl.scan_parquet(paths, glob=False, include_file_paths="file").select("id", "place", "file").collect()
    )
    rows = in_input_order(rows.with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64).over("file")))
    types = _extra_types(paths)
    for part in rows.iter_slices(_BATCH):
        yield _shaped(pl.DataFrame(take_rows(part, ["id", "text", "title", "url", "date", "extra"])), types)


def in_input_order(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with a `place` (path#number) in the order of files and of records in them."""
    number = r"#(\d+)$"  # the path may have a # of its own
    return rows.sort(
        pl.col("place").str.replace(number, ""), pl.col("place").str.extract(number).cast(pl.Int64)
    )


def _extra_types(paths: list[str]) -> dict[str, pl.DataType]:
    """The input's other columns and their types, inferred from all rows' JSON."""
    sample = pl.scan_parquet(paths, glob=False).select("extra").head(10_000).collect().get_column("extra")
    if (sample == "{}").all():
        return {}
    decoded = pl.DataFrame([json.loads(value) for value in sample], infer_schema_length=None)
    return dict(decoded.schema)


def _shaped(batch: pl.DataFrame, types: dict[str, pl.DataType]) -> pl.DataFrame:
    """`extra` as columns again; the input's own id wins over ours."""
    if not types:
        return batch.drop("extra")
    columns = batch.get_column("extra").str.json_decode(pl.Struct(types)).struct.unnest()
    own = [name for name in batch.columns if name not in columns.columns and name != "extra"]
    return pl.concat([batch.select(own), columns], how="horizontal")


def _write_dropped(session: Session, head: Head, out: Path) -> None:
    """Dropped documents with their text as read, the table, step and reason."""
    parts = []
    for table in session.plan.tables:
        verdicts = session.lake.read(NAME, f"verdicts/{table.name}", head).filter(~pl.col("kept"))
        parts.append(
            verdicts.select(
                "id",
                pl.lit(table.name).alias("table"),
                "step",
                "reason",
                "failed",
                "message",
                "duplicate_of",
                "similarity",
            )
        )
    places = session.lake.read(NAME, "verdicts/documents", head).select("id", "place", document_key="key")
    dropped = in_input_order(pl.concat(parts).join(places, on="id").collect())
    content = session.lake.content("documents", head.fingerprints[f"{NAME}/documents"])
    located = dropped.join(
        content.places(), left_on="document_key", right_on="key", how="left", maintain_order="left"
    )
    told = dropped.drop("document_key").columns
    schema = pa.schema([*dropped.select(told).to_arrow().schema, pa.field("text", pa.large_string())])

    def batches() -> Iterator[pa.RecordBatch]:
        for part in located.iter_slices(_BATCH):
            yield from _with_texts(part, told).cast(schema).to_batches()

    write_parquet(batches(), schema, out)


def _with_texts(rows: pl.DataFrame, columns: list[str]) -> pa.Table:
    """Columns of the rows and their texts; a record that could not be read has none."""
    readable = rows.filter(pl.col("file").is_not_null())
    texts = pl.DataFrame(
        {"id": readable.get_column("id"), "text": pl.Series(read_texts(readable), dtype=pl.String)}
    )
    return rows.select(columns).join(texts, on="id", how="left", maintain_order="left").to_arrow()


def _write_measurements(session: Session, head: Head, out: Path) -> None:
    """Every measured number of every document that was measured: id, place, one struct per step."""
    frame = session.lake.read(NAME, "verdicts/documents", head).select("id", "place")
    for table in session.plan.tables:
        if table.kind == "measured" and table.measured:
            keys = session.lake.read(NAME, f"verdicts/{table.name}", head).select("id", "key")
            steps = [step for step, _ in table.measured]
            content = (
                session.lake.content(table.name, table.fingerprint, table.schema).scan().select("key", *steps)
            )
            frame = frame.join(keys.join(content, on="key").drop("key"), on="id", how="left")
    rows = frame.sort("place").collect().to_arrow()
    write_parquet(rows, rows.schema, out)
