"""`curate label`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from curate.cli.options import Count, Json, Lake, Name
from schemas.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from curate.engine.labels import Case, Labelled

_SHOWN = 1_500  # characters of a text
_KEYS = {"k": "keep", "d": "drop", "s": "skip", "q": "quit"}


def label(
    *,
    near: Annotated[str, Parameter(show_default=False)] = "",
    labels: Annotated[str, Parameter(name=["--output", "-o"])] = "labels.jsonl",
    limit: Count = 20,
    report: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    to: Annotated[str, Parameter(name="--export", show_default=False)] = "",
    back: Annotated[str, Parameter(name="--import", show_default=False)] = "",
    form: Annotated[Literal["argilla", "label-studio"], Parameter(name="--format")] = "label-studio",
    lake: Lake = "lake",
    name: Name = "",
    as_json: Json = False,
) -> None:
    """Label documents at the edge of a rule, and test it so.

    Shows the documents nearest to a rule's limits, as many dropped as kept, one after the other: k keeps, d drops, s
    skips, q stops. In a pipe a line is a key. Labels are added to a file, which `curate train classifier` reads too;
    what is labelled is not shown again.

    **Example:**

    ```sh
    curate label --near filtered.length --limit 10
    ```

    Parameters
    ----------
    near
        TABLE.STEP, or TABLE.STEP.REASON for one of its rules.
    labels
        The file of labels.
    limit
        How many documents.
    report
        Show for each rule how often the labels agree with it, and the limit with which they agree most.
    to
        Write the documents to this file for a labelling tool instead of showing them.
    back
        Add the labels of a labelling tool's file.
    form
        The labelling tool of the file that is exported; an imported one tells itself.
    """
    if sum(map(bool, (near, report, back))) != 1 or (to and not near):
        raise UsageError(
            "Nothing to do, or too much at once.",
            hint="One of --near TABLE.STEP (with --export FILE or without), --import FILE and --report.",
        )
    from curate.engine.annotations import append_labels, export_cases, import_labels, read_labels
    from curate.engine.labels import find_cases

    file = Path(labels)
    if report:
        return _report(read_labels(file), file, as_json=as_json)
    if back:
        found, without = import_labels(Path(back))
        append_labels(file, found)
        return _tell({"imported": len(found), "without_label": without, "file": str(file)}, as_json=as_json)
    known = {(one.id, one.rule) for one in read_labels(file)}
    cases = find_cases(lake, name, near, count=limit, known=known)
    if to:
        export_cases(Path(to), cases, form)
        then = f"curate label --import FILE adds what the tool gives back to {file}."
        return _tell({"exported": len(cases), "file": to}, as_json=as_json, then=then)
    return _tell({**_ask(cases, file), "file": str(file)}, as_json=as_json)


_THEN = "curate label --report tells what the labels say."


def _tell(counts: dict[str, int | str], *, as_json: bool, then: str = _THEN) -> None:
    from curate.cli.terminal import show, show_json, text

    if as_json:
        show_json(counts)
    else:
        file = counts.pop("file")
        told = ", ".join(f"{value} {key.replace('_', ' ')}" for key, value in counts.items())
        show(text(f"{told}: {file}"), text(then, style="dim"))


def _ask(cases: Sequence[Case], file: Path) -> dict[str, int | str]:
    """Show one case after the other and write each answer at once."""
    from curate.cli.terminal import messages
    from curate.engine.annotations import append_labels
    from curate.engine.labels import Labelled

    counts: dict[str, int | str] = {"keep": 0, "drop": 0, "skipped": 0}
    for number, case in enumerate(cases, 1):
        for line in _shown(case, f"{number} of {len(cases)}"):
            messages().print(line, soft_wrap=True)
        answer = _answer()
        if answer == "quit":
            break
        if answer == "skip":
            counts["skipped"] = int(counts["skipped"]) + 1
            continue
        append_labels(file, [Labelled(**vars(case), label=answer)])
        counts[answer] = int(counts[answer]) + 1
    return counts


def _shown(case: Case, number: str) -> list[RenderableType]:
    from rich.text import Text

    from curate.cli.terminal import text
    from curate.reports.numbers import number as figure

    fate = ("dropped", "red") if case.dropped else ("kept", "green")
    told = f"  {case.measure} {figure(case.value)}, drops {case.op} {figure(case.limit)}"
    cut = case.text[:_SHOWN] + "…" * (len(case.text) > _SHOWN)
    return [
        Text.assemble("\n", (number, "dim"), "  ", (case.rule, "bold"), "  ", fate, text(told)),
        *[text(line) for line in cut.split("\n")],
        Text("k keep   d drop   s skip   q stop", style="dim"),
    ]


def _answer() -> str:
    """keep, drop, skip or quit: one key in a terminal, one line in a pipe. The end of a pipe is quit."""
    while True:
        key = _key()
        if key in _KEYS:
            return _KEYS[key]


def _key() -> str:
    import os
    import sys

    if not sys.stdin.isatty():
        line = sys.stdin.readline()
        return line.strip().lower()[:1] if line else "q"
    try:
        import termios
        import tty
    except ImportError:  # Windows: a key and Enter
        return input().strip().lower()[:1]
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal, termios.TCSADRAIN)  # keeps what was typed ahead; Ctrl-C still stops
        key = os.read(terminal, 1)
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
    return key.decode("ascii", "replace").lower() if key not in (b"", b"\x04") else "q"


def _report(found: Sequence[Labelled], file: Path, *, as_json: bool) -> None:
    from dataclasses import asdict

    from rich.text import Text

    from curate.cli.terminal import show, show_json, text
    from curate.engine.labels import judge_labels
    from curate.reports.numbers import number, plural

    rules = judge_labels(found)
    if as_json:
        return show_json([asdict(rule) for rule in rules])
    if not rules:
        raise UsageError(f"{file} has no labels of rules.", hint="curate label --near TABLE.STEP makes some.")
    for rule in rules:
        kept = rule.labelled - rule.dropped
        drops = f"drops {rule.measure} {rule.op} {number(rule.limit)}"
        agree = [f"dropped rightly {rule.precision:.0%} of {rule.dropped}"] * (rule.dropped > 0)
        agree += [f"kept rightly {rule.kept_right:.0%} of {kept}"] * (kept > 0)
        lines = [f"  {', '.join(agree)}; {plural(rule.errors, 'label')} against it"]
        if rule.suggested is not None:
            better = f"{rule.measure} {rule.op} {number(rule.suggested)}"
            lines.append(f"  {better} would have {rule.errors_suggested} against it")
        show(
            Text.assemble((rule.rule, "bold"), text(f"  {drops}  ({plural(rule.labelled, 'label')})")),
            *map(text, lines),
        )
    note = "Of documents at the edge of a rule, where it errs most; other limits are suggested from ten labels on."
    show(text(note, style="dim"))
    return None
