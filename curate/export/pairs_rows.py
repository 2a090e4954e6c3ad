"""The kind `pairs`: a row is a query, a passage that answers it, and passages that are near but do not.

The columns stand in the order that the trainers of sentence-transformers read, which goes by position: anchor,
positive, negative (negative_1, negative_2 ... where several are asked for), and then id, source and license, which are
not for training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate.engine.session import Session
from curate.export.text import write_jsonl
from curate.export.written import Written, counts
from curate.lake.parquet import write_parquet
from curate.lake.runs import Head
from schemas.export import PairsExport

COLUMNS = ("query", "positive", "negatives")
_FEW = "too few negatives"


def prepare(session: Session, head: Head, options: PairsExport) -> dict[str, Any]:
    """The index that mines, and the columns for training."""
    live = head.live.get(session.name, "")
    trained = training_columns(options)
    return {"trained": trained, "facts": {"index": live, "training_columns": ", ".join(trained)}}


def training_columns(options: PairsExport) -> list[str]:
    """Columns that a trainer is given, in its order."""
    several = options.negatives > 1
    negatives = [f"negative_{n}" if several else "negative" for n in range(1, options.negatives + 1)]
    return ["anchor", "positive", *negatives]


def write(rows: pa.Table, options: PairsExport, out: Path, context: dict[str, Any]) -> Written:
    """Write a shard in each format that is asked for; a query with too few negatives is left out."""
    enough = pc.greater_equal(pc.list_value_length(rows.column("negatives")), options.negatives)
    full = rows.filter(enough)
    table = _table(full, options)
    if "parquet" in options.formats:
        write_parquet(table, table.schema, Path(f"{out}.parquet"))
    if "jsonl" in options.formats:
        write_jsonl(table, Path(f"{out}.jsonl"))
    few = len(rows) - len(full)
    return Written(
        rows=len(full),
        taken=len(full),
        dropped={_FEW: few} if few else {},
        languages=counts(full.column("language")),
        sources=counts(full.column("source")),
    )


def _table(rows: pa.Table, options: PairsExport) -> pa.Table:
    """The columns of the result; no value is missing."""
    lists = rows.column("negatives")
    negatives = [pc.list_element(lists, number) for number in range(options.negatives)]
    values = [rows.column("query"), rows.column("positive"), *negatives]
    columns = dict(zip(training_columns(options), values, strict=True))
    columns |= {name: rows.column(name) for name in ("id", "source", "license")}
    return pa.table({name: column.cast(pa.large_string()).fill_null("") for name, column in columns.items()})
