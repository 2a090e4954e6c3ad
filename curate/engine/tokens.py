"""Makes `tokens`: ids of every text of the corpus, under any tokenizer."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from curate.engine.corpus import corpus_rows
from curate.engine.plan import PlannedStep, PlannedTable, read_options
from curate.engine.session import Session
from curate.engine.shard import plan_shards, read_rows, read_texts, take_rows, write_plan
from curate.engine.stage import find_stage
from curate.lake.content import Appender, Content, new_file
from curate.lake.digest import digest_json
from curate.lake.parquet import write_parquet
from curate.lake.runs import Head
from curate.reports.numbers import plural
from schemas.checks import Check, judged
from schemas.errors import RecipeError, did_you_mean
from schemas.recipe import Recipe
from schemas.report import TableReport
from schemas.tables import TABLES

if TYPE_CHECKING:
    from curate.stages.tokenize import TokenizeOptions

_SCHEMA = TABLES["tokens"].schema
_LANGUAGES = 10  # with counts of their own
_NO_CORPUS = dict.fromkeys(("text_digest", "language", "file"), pl.String) | dict.fromkeys(
    ("chars", "row"), pl.Int64
)
_UNDETERMINED = "und"  # ISO 639 for a language that is not known
_SAMPLE, _SAMPLE_CHARS = 200, 1_000_000  # texts that the check tokenizes again: about a second


def make_tokens(session: Session) -> Head:
    """Tokenize texts of the corpus that were never tokenized so, check a sample of all, and publish."""
    begun, base = time.perf_counter(), session.lake.head()
    options = tokenize_options(session.plan.recipe)
    fingerprint = tokens_fingerprint(options)
    content = session.lake.content("tokens", fingerprint)
    appender = content.append()
    corpus = corpus_rows(session, base)
    if corpus.is_empty():
        corpus = pl.DataFrame(schema=_NO_CORPUS)
    report = TableReport(table="tokens", rows=len(corpus), kept=len(corpus))
    _tokenize_missing(session, report, appender, corpus, options)
    content.compact()
    _count(report, corpus, content)
    report.checks = [round_trip_check(content, corpus, options)]
    report.seconds = time.perf_counter() - begun
    return session.publish(
        base,
        "tokens",
        pins={},
        fingerprints={"tokens": fingerprint},
        digests={"tokens": digest_json([base.digests.get(session.key("corpus"), ""), fingerprint])},
        reads=["corpus"],
        report=report,
    )


def tokenize_options(recipe: Recipe) -> TokenizeOptions:
    """Options of the one step that the table has: [tokens.tokenize]. The tokenizer's path is absolute.

    Raises:
        RecipeError: the table has another step, or an option that there is none of.
    """
    from curate.stages.tokenize import TokenizeOptions

    where = f"{recipe.path or 'the recipe'}: [tokens.tokenize]"
    tokens: object = recipe.tokens or {}
    given = tokens.get("tokenize", {}) if isinstance(tokens, dict) else tokens
    if not isinstance(tokens, dict) or not isinstance(given, dict):
        raise RecipeError(
            f"{where} is {given!r}, not a step.", hint="Write [tokens.tokenize] and its options below."
        )
    for name in tokens:
        if name != "tokenize":
            raise RecipeError(f"[tokens.{name}] is no step of tokens.", hint=did_you_mean(name, ["tokenize"]))
    return read_options(recipe, TokenizeOptions, given, where)


def tokens_fingerprint(options: TokenizeOptions) -> str:
    """Digest of what makes token ids of a text."""
    step = PlannedStep("tokenize", find_stage("tokenize"), options, {})
    return digest_json([PlannedTable("tokens", "tokens", (step,)).fingerprint, _SCHEMA.names])


def _tokenize_missing(
    session: Session, report: TableReport, appender: Appender, corpus: pl.DataFrame, options: TokenizeOptions
) -> None:
    """Tokenize texts whose key is not in the content."""
    unknown = corpus.filter(~appender.has(corpus.get_column("text_digest")))
    missing = unknown.unique("text_digest", keep="first").sort("file", "row")
    report.measured, report.reused = len(missing), len(corpus) - len(unknown)
    session.progress.start("tokens", len(corpus))
    session.progress.advance("tokens", len(corpus) - len(missing))
    if missing.is_empty():
        return
    plan = session.work / f"tokens-{session.run}.parquet"
    write_plan(missing.select("file", "row", key="text_digest"), plan)
    common = {"plan": str(plan), "options": options.model_dump(mode="json")}
    tasks = [
        {**common, "start": start, "stop": stop, "out": str(new_file(appender.content.folder))}
        for start, stop in plan_shards(missing)
    ]
    differed = False
    for result in session.workers.map("curate.engine.tokens:tokenize_shard", tasks):
        appender.add(Path(result["file"]))
        differed |= result["differed"]
        report.step_seconds["tokenize"] = report.step_seconds.get("tokenize", 0.0) + result["seconds"]
        session.progress.advance("tokens", result["rows"])
    if differed:
        report.notes.append(
            "A fast library gave other ids than tokenizers for a text of a sample, and was given up. Please report it."
        )
    report.bytes_written = appender.bytes


def tokenize_shard(task: dict[str, Any]) -> dict[str, Any]:
    """Tokenize the texts of rows `start` to `stop` of a plan file."""
    from curate.stages.tokenize import TokenizeOptions, open_encoder, token_ids

    begun = time.perf_counter()
    rows, options = read_rows(task), TokenizeOptions.model_validate(task["options"])
    texts = read_texts(rows)
    ids = token_ids(texts, options)
    columns = {
        "key": rows.get_column("key").to_arrow(),
        "ids": ids,
        "count": pc.list_value_length(ids),
        "bytes": pc.binary_length(texts),
    }
    table = pa.table([columns[field.name].cast(field.type) for field in _SCHEMA], schema=_SCHEMA)
    return {
        "file": task["out"],
        "rows": write_parquet(table, _SCHEMA, Path(task["out"])),
        "differed": open_encoder(options).differed,
        "seconds": time.perf_counter() - begun,
    }


def _count(report: TableReport, corpus: pl.DataFrame, content: Content) -> None:
    """Tokens, and bytes per token, of all documents and of each of the languages with most tokens."""
    known = content.scan().select("key", "count", "bytes")
    sums = (
        corpus.lazy()
        .select("language", key="text_digest")
        .join(known, on="key")
        .group_by("language")
        .agg(pl.col("count", "bytes").sum())
        .sort("count", "language", descending=[True, False])
        .collect()
    )
    total = sums.select(pl.lit("").alias("ending"), pl.col("count", "bytes").sum())
    named = pl.format(".{}", pl.col("language").replace("", _UNDETERMINED))
    each = sums.head(_LANGUAGES).select(named.alias("ending"), "count", "bytes")
    for ending, tokens, size in pl.concat([total, each]).iter_rows():
        report.counts[f"tokens{ending}"] = tokens
        if tokens:
            report.rates[f"bytes_per_token{ending}"] = size / tokens


def round_trip_check(content: Content, corpus: pl.DataFrame, options: TokenizeOptions) -> Check:
    """`tokens_round_trip`: stored ids of a sample, drawn by hash, are those that `tokenizers` gives for the text alone.

    Decoded and encoded again they are the same. A tokenizer that is not over bytes may lose what it has no token for:
    its texts are counted, but do not fail.
    """
    from curate.stages.tokenize import read_tokenizer, tokenizer_path

    tokenizer = read_tokenizer(tokenizer_path(options))
    size = int(tokenizer.get_vocab_size(with_added_tokens=True))
    drawn = (
        corpus.unique("text_digest", keep="first")
        .sort("text_digest")
        .head(_SAMPLE)
        .sort("chars", "text_digest")
    )
    drawn = drawn.filter((pl.col("chars").cum_sum() <= _SAMPLE_CHARS) | (pl.int_range(pl.len()) == 0))
    places = drawn.select(key="text_digest").join(
        content.places(), on="key", how="left", maintain_order="left"
    )
    stored = take_rows(places.drop_nulls(), ["ids"]).column("ids").to_pylist()
    others = lost = 0
    largest = -1
    texts = read_texts(drawn.filter(places.get_column("file").is_not_null())).to_pylist()
    for text, ids in zip(texts, stored, strict=True):
        largest = max(largest, *ids, -1)
        others += ids != tokenizer.encode(text, add_special_tokens=options.special_tokens).ids
        bare = tokenizer.encode(text, add_special_tokens=False).ids
        again = tokenizer.decode(bare, skip_special_tokens=False)
        lost += bare != tokenizer.encode(again, add_special_tokens=False).ids
    missing = places.get_column("file").null_count()
    over_bytes = type(tokenizer.decoder).__name__ == "ByteLevel"
    numbers = {
        "texts": len(places), "missing": missing, "other_ids": others, "not_given_back": lost,
        "largest_id": largest, "vocabulary": size,
    }  # fmt: skip
    return judged(
        "tokens_round_trip",
        not missing and not others and largest < size and not (lost and over_bytes),
        numbers,
        f"Of {plural(len(places), 'text')} drawn by hash {missing:,} have no ids, {others:,} have other ids than tokenizers "
        f"gives, {lost:,} are not given back by their ids; the largest id is {largest:,} of {size:,} tokens. To have the "
        f"ids made anew, delete {content.folder}.",
    )
