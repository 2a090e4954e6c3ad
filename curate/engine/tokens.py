"""Makes `tokens`: ids of every text of the corpus, under any tokenizer."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from curate.engine.corpus import corpus_rows
from curate.engine.session import Session
from curate.engine.shard import plan_shards, read_rows, read_texts, write_plan
from curate.lake.content import new_file
from curate.lake.digest import digest_json
from curate.lake.parquet import write_parquet
from curate.lake.runs import Head
from schemas.errors import RecipeError, did_you_mean
from schemas.report import TableReport
from schemas.tables import TABLES


def make_tokens(session: Session) -> Head:
    """Tokenize texts of the corpus that were never tokenized so, and publish."""
    from curate.stages.tokenize import TokenizeOptions, tokenizer_digest

    begun, base = time.perf_counter(), session.lake.head()
    options = TokenizeOptions.model_validate(_options(session))
    report = TableReport(table="tokens")
    fingerprint = digest_json(
        [tokenizer_digest(options), options.model_dump(mode="json", exclude={"tokenizer"})]
    )
    content = session.lake.content("tokens", fingerprint)
    appender = content.append()
    corpus = corpus_rows(session, base)
    if corpus.is_empty():
        return base
    texts = corpus.unique("text_digest", keep="first", maintain_order=True).with_columns(key="text_digest")
    missing = texts.join(appender.known.to_frame("key"), on="key", how="anti").sort("file", "row")
    session.progress.start("tokens", len(corpus))
    session.progress.advance("tokens", len(corpus) - len(missing))
    if len(missing):
        plan = session.work / f"tokens-{session.run}.parquet"
        write_plan(missing.select("key", "file", "row"), plan)
        common = {"plan": str(plan), "options": options.model_dump(mode="json")}
        tasks = [
            {**common, "start": start, "stop": stop, "out": str(new_file(content.folder))}
            for start, stop in plan_shards(missing)
        ]
        for result in session.workers.map("curate.engine.tokens:tokenize_shard", tasks):
            appender.add(Path(result["file"]))
            session.progress.advance("tokens", result["rows"])
        content.compact()
    report.rows = report.kept = len(corpus)
    report.measured, report.reused, report.bytes_written = (
        len(missing),
        len(corpus) - len(missing),
        appender.bytes,
    )
    counts = (
        content.scan()
        .select("key", "count")
        .join(corpus.lazy().select(key="text_digest"), on="key")
        .select(pl.col("count").sum())
    )
    report.counts["tokens"] = int(counts.collect().item() or 0)
    report.seconds = time.perf_counter() - begun
    return session.publish(
        base,
        "tokens",
        pins={},
        fingerprints={"tokens": fingerprint},
        digests={"tokens": base.digests.get(session.key("corpus"), "")},
        reads=["corpus"],
        report=report,
    )


def _options(session: Session) -> dict[str, Any]:
    """Options of the one step that the table has: [tokens.tokenize]."""
    tokens = session.plan.recipe.tokens or {}
    for name in tokens:
        if name != "tokenize":
            raise RecipeError(f"[tokens.{name}] is no step of tokens.", hint=did_you_mean(name, ["tokenize"]))
    return dict(tokens.get("tokenize", {}))


def tokenize_shard(task: dict[str, Any]) -> dict[str, Any]:
    """Tokenize the texts of rows `start` to `stop` of a plan file."""
    from curate.stages.tokenize import TokenizeOptions, token_ids

    rows = read_rows(task)
    ids = token_ids(read_texts(rows), TokenizeOptions.model_validate(task["options"]))
    schema = TABLES["tokens"].schema
    table = pa.table(
        [
            rows.get_column("key").to_arrow().cast(pa.string()),
            ids.cast(schema.field("ids").type),
            pc.list_value_length(ids).cast(pa.int32()),
        ],
        schema=schema,
    )
    return {"file": task["out"], "rows": write_parquet(table, schema, Path(task["out"]))}
