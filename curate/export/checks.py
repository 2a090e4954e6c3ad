"""Checks of an export: nothing lies in two splits, nothing is lost, and what was asked for was reached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from curate.export.mix import Portion
from curate.export.shuffle import Shard
from curate.export.written import Written
from curate.reports.numbers import share
from schemas.checks import Check, judged
from schemas.export import TRAIN, ExportOptions

_SHARE = 0.01  # of the tokens, by which a source of the mixture may miss its weight without a word
_LARGE = 2.0  # times the size asked for


def check_rows(rows: pl.DataFrame, portions: list[Portion]) -> list[Check]:
    """Checks of what was chosen: rows with cluster, text_digest and split."""
    return [_no_leak(rows), _mixture(portions)]


def _no_leak(rows: pl.DataFrame) -> Check:
    several = {
        what: rows.select(column, "split").unique().select(pl.col(column).is_duplicated().sum()).item()
        for column, what in (("cluster", "near-duplicates"), ("text_digest", "equal_texts"))
    }
    numbers = {"rows": len(rows), **several}
    told = f"{several['near-duplicates']:,} clusters of near-duplicates lie in more than one split"
    return judged("no_leak", not any(several.values()), numbers, told)


def _mixture(portions: list[Portion]) -> Check:
    tokens, weights = sum(p.tokens for p in portions), sum(p.weight for p in portions)
    missed = {p.source: p.tokens / tokens - p.weight / weights for p in portions if p.source}
    if not missed:
        return judged("mixture", passed=True)
    worst = max(portions, key=lambda p: abs(missed[p.source]))
    found, wanted = share(worst.tokens, tokens), share(worst.weight, weights)
    told = f"{worst.source} has {found} of the tokens, its weight asks for {wanted}"
    return judged("mixture", abs(missed[worst.source]) <= _SHARE, missed, told)


def check_shards(shards: list[Shard], results: list[dict[str, Any]], options: ExportOptions) -> list[Check]:
    """Checks of what was written."""
    planned, gathered = sum(shard.rows for shard in shards), sum(result["rows"] for result in results)
    written = [Written(**result["written"]) for result in results]
    taken, dropped = sum(w.taken for w in written), sum(sum(w.dropped.values()) for w in written)
    largest = max((file["bytes"] for result in results for file in result["files"]), default=0)
    filled = {shards[result["shard"]].split for result in results if result["written"]["rows"]}
    empty = sorted({TRAIN, *options.splits} - filled)
    return [
        judged(
            "rows_accounted",
            planned == gathered == taken + dropped,
            {"planned": planned, "gathered": gathered, "written": taken, "left_out": dropped},
            f"{planned:,} rows were planned, {gathered:,} gathered, {taken:,} written and {dropped:,} left out",
        ),
        judged("splits_filled", not empty, {"empty": len(empty)}, f"no document fell to {', '.join(empty)}"),
        judged(
            "file_size",
            largest <= _LARGE * options.shard_mb * 1e6,
            {"largest": largest},
            f"a file has {largest:,} bytes, and shard_mb is {options.shard_mb}",
        ),
    ]


def combined(checks: Mapping[str, list[Check]]) -> list[Check]:
    """The checks of several exports, each name once: passed if it passed in all."""
    names = list(dict.fromkeys(check.name for found in checks.values() for check in found))
    together = []
    for name in names:
        found = {export: check for export, made in checks.items() for check in made if check.name == name}
        failed = [export for export, check in found.items() if not check.passed]
        told = "; ".join(f"{export}: {found[export].message}" for export in failed)
        numbers = {f"{e}.{key}": value for e, check in found.items() for key, value in check.numbers.items()}
        together.append(judged(name, not failed, numbers, told))
    return together
