"""What to write into a recipe so that a document which was dropped is kept: the smallest change that does it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from curate.engine.plan import PlannedTable

_COMPARISON = re.compile(r"\s*([A-Za-z_][\w.]*)\s*(<=|>=|<|>)\s*-?\d+(?:\.\d+)?\s*")
_DIGITS = 4  # of a new limit that is no integer, rounded to the side that keeps the document


def looser_rules(
    table: PlannedTable, failed: list[str], named: Mapping[str, Mapping[str, Any]]
) -> tuple[str, str]:
    """Lines of a recipe under which rules that failed (STEP.REASON) keep the document, and the command to try them.

    `named` has for each step what its rules may name of the document.
    """
    lines: dict[str, list[str]] = {}
    settings = []
    for name in failed:
        step, reason = name.split(".", 1)
        rule = next(
            (one.rules[reason] for one in table.steps if one.name == step and reason in one.rules), None
        )
        if rule is None:  # a stage that broke
            continue
        looser = looser_rule(rule.sql, named[step])
        header, key = f"[{table.name}.{step}]", f"drop.{reason}"
        lines.setdefault(header, []).append(f"{key} = {json.dumps(looser) if looser else 'false'}")
        settings.append(f"{table.name}.{step}.{key}={looser or 'false'}")
    written = [line for header, keys in lines.items() for line in (header, *keys)]
    return "\n".join(written), try_with(settings)


def higher_threshold(table: str, step: str, similarity: float) -> tuple[str, str]:
    """The same for a near-duplicate of that similarity."""
    higher = min(1.0, round(similarity + 0.01, 2))
    return f"[{table}.{step}]\nthreshold = {higher}", try_with([f"{table}.{step}.threshold={higher}"])


def try_with(settings: list[str]) -> str:
    """The command that shows what settings would do, as a shell takes it; "" without any."""
    return " ".join(["curate plan", *[f"--set {shlex.quote(one)}" for one in settings]]) if settings else ""


def looser_rule(sql: str, values: Mapping[str, Any]) -> str:
    """A comparison of one column with a number, its limit moved just so far that `values` pass; else "".

    >>> looser_rule("words < 10", {"words": 9}), looser_rule("words >= 10", {"words": 12})
    ('words < 9', 'words >= 13')
    >>> looser_rule("score < 0.65", {"score": 0.41239}), looser_rule("ratio > 0.1", {"ratio": 0.41239})
    ('score < 0.4123', 'ratio > 0.4124')
    >>> looser_rule("language <> 'en'", {"language": "de"})
    ''
    """
    match = _COMPARISON.fullmatch(sql)
    value = values.get(match[1]) if match else None
    if match is None or isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    column, op = match.groups()
    return f"{column} {op} {_limit(op, value)}"


def _limit(op: str, value: float) -> str:
    """The limit nearest to a value for which `value op limit` is false."""
    exact, below = Decimal(repr(value)), op in ("<", "<=")
    digits = 0 if isinstance(value, int) else _DIGITS - 1 - exact.adjusted()
    unit = Decimal(1).scaleb(-digits)
    limit = exact.quantize(unit, ROUND_FLOOR if below else ROUND_CEILING)
    if limit == exact and op in ("<=", ">="):
        limit += -unit if below else unit
    return f"{limit.normalize():f}"
