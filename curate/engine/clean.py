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
from curate.engine.shard import read_texts
from curate.engine.write import check_output, write_rows
from curate.lake.parquet import write_parquet
from curate.lake.runs import Head
from schemas.errors import RecipeError, did_you_mean
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
    column holds what, as in a recipe. `OUT.curate/` receives dropped.parquet, measurements.parquet, and
    the tables from which a clean that was stopped goes on.

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

    return run_tables(
        make_plan(planned), beside / "lake", limit=limit, workers=workers, progress=progress, then=write
    )


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
    return build_recipe(
        {key: value for key, value in data.items() if key != "index"}, {**overrides, "index": False}
    )


def _kept_rows(session: Session, head: Head) -> Iterator[pl.DataFrame]:
    """The corpus in the order of the input, in batches: text, stated metadata, and the input's columns."""
    order = _input_order(session, head)
    files = sorted(session.lake.state(NAME, "corpus").files(head.pins[f"{NAME}/corpus"]))
    folder = session.lake.root / NAME / "corpus"
    if not files:
        return
    paths = [str(folder / file) for file in files]
    rows = pl.scan_parquet(paths, glob=False, include_file_paths="file").select("id", "file").collect()
    rows = rows.with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64).over("file"))
    rows = order.join(rows, on="id", maintain_order="left")
    types = _extra_types(paths)
    for start in range(0, len(rows), _BATCH):
        part = rows.slice(start, _BATCH)
        scan = pl.scan_parquet(sorted(set(part.get_column("file"))), glob=False)
        meta = (
            scan.select("id", "title", "url", "date", "extra")
            .join(part.lazy().select("id"), on="id", how="semi")
            .collect()
        )
        batch = part.select("id").join(meta, on="id", maintain_order="left")
        batch = batch.insert_column(1, pl.Series("text", read_texts(part)))
        yield _shaped(batch, types)


def _input_order(session: Session, head: Head) -> pl.DataFrame:
    """Ids in the order of files and of records in them."""
    kept = session.lake.read(NAME, "verdicts/corpus", head).filter("kept").select("id")
    places = session.lake.read(NAME, "verdicts/documents", head).select("id", "place")
    split = pl.col("place").str.split("#")
    numbered = places.with_columns(
        path=split.list.first(), number=split.list.get(1, null_on_oob=True).cast(pl.Int64)
    )
    return numbered.join(kept, on="id", how="semi").sort("path", "number").select("id").collect()


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
    dropped = pl.concat(parts).join(places, on="id").sort("place").collect()
    content = session.lake.content("documents", head.fingerprints[f"{NAME}/documents"])
    schema = pa.schema([*dropped.drop("document_key").to_arrow().schema, pa.field("text", pa.large_string())])

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, len(dropped), _BATCH):
            part = dropped.slice(start, _BATCH)
            texts = content.scan().select(document_key="key", text="text")
            joined = part.lazy().join(
                texts.join(part.lazy().select("document_key"), on="document_key", how="semi"),
                on="document_key",
                how="left",
                maintain_order="left",
            )
            yield from joined.drop("document_key").collect().to_arrow().cast(schema).to_batches()

    write_parquet(batches(), schema, out)


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
