"""The report of a run as one HTML file: no request, no chart library, right on a telephone and in the dark.

Every string that reaches the page is made printable and escaped in one place (`finalize`), so a title
cannot become markup. The design is that of the terminal: blue stays, red leaves, green is the product.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from curate.reports.attribution_cards import group_cards, pairs_failed
from curate.reports.histogram_card import histogram_card
from curate.reports.near_error_card import near_error_cards
from curate.reports.near_plan import near_plan_rows
from curate.reports.numbers import duration, number, plural, share
from curate.reports.printable import printable
from curate.reports.summary import document_tables, funnel_rows, sentence
from schemas.checks import Check
from schemas.report import Reason, RunReport, Sample, TableReport

_FOLDER = Path(__file__).parent
_LONGEST_LINE = 2_000
_REDACTED = "redacted."
_LANGUAGES = 12


def write_report(report: RunReport, samples: Sequence[Sample] | None, path: Path) -> None:
    """Write the page of a run; `samples` must be masked already. The file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(render(report, samples or ()), "utf-8")
    temporary.replace(path)


def render(report: RunReport, samples: Sequence[Sample] = ()) -> str:
    """The page as a string."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, finalize=_shown, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(parts=_parts, is_link=_is_link, counted="{:,}".format)
    script = (_FOLDER / "report.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    tables = document_tables(report)
    return environment.get_template("report.html").render(
        report=report, samples=samples, sentence=sentence(report), numbers=_numbers(report), warnings=_warnings(report),
        funnel=_funnel(report), histograms=[histogram_card(one, table) for table in tables for one in table.histograms],
        reasons=[_rule(reason, table) for table in tables for reason in table.reasons], meters=_meters(report),
        pairs=[pair for table in tables for pair in pairs_failed(table)],
        groups=[card for table in tables for card in group_cards(table)],
        near_errors=[card for table in tables for card in near_error_cards(table)],
        near_plans=[row for table in tables for row in near_plan_rows(table)],
        checks=[_check(check, table) for table in report.tables for check in table.checks],
        slowest=_slowest(report), footer=_footer(report), script=Markup(script), script_hash=f"sha256-{digest}",
    )  # fmt: skip


def _shown(value: Any) -> Any:
    """What every expression of the template passes: foreign strings lose what a browser could obey."""
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    return "\n".join(printable(line, _LONGEST_LINE) for line in value.split("\n"))


def _parts(words: str) -> list[str]:
    """Where a long rule name may break: after dots and underscores."""
    return re.findall(r"[^._/]*[._/]|[^._/]+", words)


def _is_link(place: str) -> bool:
    return re.match(r"https?://[^\s]+$", place) is not None


def _numbers(report: RunReport) -> list[tuple[str, str]]:
    product, tables = report.table("corpus"), document_tables(report)
    read = report.table("documents").rows
    twins = sum(reason.dropped for table in tables for reason in table.reasons if _is_twin(reason))
    dropped = sum(reason.dropped for table in tables for reason in table.reasons) - twins
    masked = [count for key, count in product.counts.items() if key.startswith(_REDACTED)]
    return [
        (f"{product.kept:,}", "documents kept"),
        (share(product.kept, read), f"of {plural(read, 'document')} read"),
        (f"{dropped:,}", "dropped by rules"),
        (f"{twins:,}", "duplicates removed"),
        *([(f"{sum(masked):,}", "personal details masked")] if masked else []),
        *_tokens(report.table("tokens")),
        (duration(report.seconds), "for the whole run"),
    ]


def _tokens(tokens: TableReport) -> list[tuple[str, str]]:
    rate = tokens.rates.get("bytes_per_token")
    if rate is None:
        return []
    return [(f"{tokens.counts['tokens']:,}", "tokens"), (f"{rate:.2f}", "bytes per token")]


def _is_twin(reason: Reason) -> bool:
    return reason.reason in {"duplicate", "near_duplicate", "semantic_duplicate"}


def _warnings(report: RunReport) -> list[str]:
    found = []
    for table in report.tables:
        found += [f"{table.table}: {note}" for note in table.notes]
        found += [
            f"{table.table}: {check.name} failed. {check.message}"
            for check in table.checks
            if not check.passed
        ]
        found += [
            f"{table.table}: {fault.place}: {fault.reason}: {fault.message}" for fault in table.failures[:5]
        ]
    idle = [
        f"{one.step}.{one.reason}"
        for table in report.tables
        for one in table.reasons
        if one.rule and not one.failed
    ]
    if idle:
        found.append(f"{plural(len(idle), 'rule')} took nothing: {', '.join(idle)}.")
    return found


def _funnel(report: RunReport) -> list[dict[str, Any]]:
    rows = funnel_rows(report)
    scale = max((row.count for row in rows), default=0) or 1
    # A file of many documents is no share of them.
    base = next((number for number, row in enumerate(rows) if row.count == scale), 0)
    last = max((number for number, row in enumerate(rows) if row.kind == "table"), default=0)
    return [
        {
            "kind": f"{row.kind} product" if number == last else row.kind,
            "name": row.name,
            "count": f"{row.count:,}" if row.kind == "table" else f"−{row.count:,}",
            "share": share(row.count, scale) if number >= base else "",
            "percent": round(100 * row.count / scale, 3),
        }
        for number, row in enumerate(rows)
    ]


def _rule(reason: Reason, table: TableReport) -> dict[str, Any]:
    fraction = reason.dropped / table.rows if table.rows else 0.0
    return {
        **reason.model_dump(),
        "name": f"{table.table}.{reason.step}.{reason.reason}",
        "share": share(reason.dropped, table.rows),
        "fraction": round(fraction, 6),
    }


def _check(check: Check, table: TableReport) -> dict[str, Any]:
    outcome = "passed" if check.passed else "stopped the run" if check.severity == "blocking" else "failed"
    numbers = ", ".join(f"{name} {number(value)}" for name, value in check.numbers.items())
    return {
        "name": f"{table.table}.{check.name}",
        "outcome": outcome,
        "kind": "kept" if check.passed else "left",
        "numbers": numbers,
        "message": check.message,
    }


def _below(start: str, values: Mapping[str, float]) -> dict[str, float]:
    """What is counted under names that begin so, by the rest of the name."""
    return {
        key.removeprefix(start): value for key, value in values.items() if key.startswith(start) and value
    }


def _meters(report: RunReport) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """Small tables with bars, each with what its colour means: languages, duplicates, redactions, seconds."""
    tables = document_tables(report)
    languages: dict[str, int] = next((table.languages for table in reversed(tables) if table.languages), {})
    named = sorted(
        ((key or "not known", count) for key, count in languages.items()), key=lambda item: -item[1]
    )
    if len(named) > _LANGUAGES:
        rest = sum(count for _, count in named[_LANGUAGES - 1 :])
        named = [*named[: _LANGUAGES - 1], ("others", rest)]
    twins = {
        f"{reason.step}.{reason.reason}": reason.dropped
        for table in tables
        for reason in table.reasons
        if _is_twin(reason)
    }
    seconds = {table.table: table.seconds for table in report.tables if table.seconds}
    steps = {
        f"{table.table}.{step}": spent
        for table in report.tables
        for step, spent in table.step_seconds.items()
    }
    redacted, tokens = _below(_REDACTED, report.table("corpus").counts), report.table("tokens")
    found = [
        ("Languages", "stay", _meter(dict(named), "{:,}".format)),
        ("Tokens by language", "stay", _meter(_below("tokens.", tokens.counts), "{:,}".format)),
        ("Bytes per token", "plain", _meter(_below("bytes_per_token.", tokens.rates), "{:.2f}".format)),
        ("Duplicates", "leave", _meter(twins, "{:,}".format)),
        ("Masked personal data", "plain", _meter(redacted, "{:,}".format)),
        ("Time by table", "plain", _meter(seconds, duration)),
        ("Time by step, all workers together", "plain", _meter(steps, duration)),
    ]
    return [(title, kind, rows) for title, kind, rows in found if rows]


def _meter(values: dict[str, Any], format_value: Any) -> list[dict[str, Any]]:
    scale = max(values.values(), default=0) or 1
    return [
        {"name": name, "value": format_value(value), "percent": round(100 * value / scale, 3)}
        for name, value in values.items()
    ]


def _slowest(report: RunReport) -> str:
    steps = [
        (spent, f"{table.table}.{step}")
        for table in report.tables
        for step, spent in table.step_seconds.items()
    ]
    if not steps or max(steps)[0] <= 0:
        return ""
    spent, name = max(steps)
    total = sum(other for other, _ in steps)
    return f"{name}: {duration(spent)}, {share(spent, total)} of the time in steps"


def _footer(report: RunReport) -> str:
    from curate.lake.runs import environment

    versions = ", ".join(f"{name} {version}" for name, version in json.loads(environment()).items())
    return f"Run {report.run}. Made with curate {metadata.version('curate')} and {versions}."
