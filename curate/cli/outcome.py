"""What a run or a clean prints at its end: funnel, warnings, one sentence, and where to go on."""

from __future__ import annotations

import shlex
import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path

from rich.console import RenderableType
from rich.text import Text

from curate.cli.terminal import show, show_json, text
from curate.reports.funnel import Funnel
from curate.reports.summary import document_tables, sentence
from schemas.report import RunReport


def show_written(report: RunReport, out: str, shard_size: str, *, as_json: bool) -> None:
    """What became of the documents of a one-off command; with OUT "-" on stderr, for stdout has rows."""
    from curate.engine.clean import beside_output
    from curate.engine.write import check_output, read_size

    with redirect_stdout(sys.stderr) if out == "-" else nullcontext():
        if as_json:
            show_json(report.model_dump())
            return
        if out == "-":
            then = "-o kept.jsonl instead of -o - keeps what was dropped, and why"
            show_outcome(report, where={}, then=then)
            return
        output, beside = check_output(out, read_size(shard_size)), beside_output(Path(out))
        reason = largest_reason(report)
        several = output.shard_bytes and not output.folder
        kept = f"{Path(out).with_name(output.shard(0))} ..." if several else out
        then = at_lake(
            f"curate show --dropped {reason}" if reason else "curate show corpus", f"{beside}/lake"
        )
        where = {"kept": kept, "dropped": f"{beside}/dropped.parquet"}
        show_outcome(report, where=where, then=then, lake=f"{beside}/lake")


def show_outcome(report: RunReport, *, where: dict[str, str], then: str, lake: str = "") -> None:
    """Print what a run did; `where` names what it wrote, `then` is the next command, `lake` what can be asked why."""
    lines: list[RenderableType] = [Funnel(report), *warnings(report, lake)]
    unwell = not report.table("corpus").kept or report.blocked()
    mark = ("! ", "bold yellow") if unwell else ("✓ ", "bold green")
    lines.append(Text.assemble(mark, text(sentence(report))))
    width = max(map(len, ["next", *where]))
    for what, place in [*where.items(), ("next", then)]:
        lines.append(Text.assemble((f"  {what:<{width}}  ", "dim"), text(place)))
    show(*lines)


def warnings(report: RunReport, lake: str) -> list[Text]:
    """Notes, failed checks and failures of the tables, each in one line; without a lake there is nobody to ask."""
    found = []
    for table in report.tables:
        found += [f"{table.table}: {note}" for note in table.notes]
        found += [
            f"{table.table}: {check.name}: {check.message}" for check in table.checks if not check.passed
        ]
        if table.failures:
            first = table.failures[0]
            ask = f" ({at_lake(f'curate why {first.id}', lake)})" if lake else ""
            found.append(f"{table.table}: {first.place}: {first.message}{ask}")
    return [Text.assemble(("! ", "bold yellow"), text(line, 400)) for line in found]


def largest_reason(report: RunReport) -> str:
    """The reason that dropped most documents, as STEP.REASON; "" if nothing was dropped."""
    reasons = [reason for table in document_tables(report)[1:] for reason in table.reasons if reason.dropped]
    if not reasons:
        return ""
    largest = max(reasons, key=lambda reason: reason.dropped)
    return f"{largest.step}.{largest.reason}"


def near(path: str) -> str:
    """A path as it is typed from here, where it lies below."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


def at_lake(command: str, lake: str) -> str:
    """A command with --lake where it is not the default."""
    return command if lake == "lake" else f"{command} --lake {shlex.quote(lake)}"
