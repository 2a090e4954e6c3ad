"""`curate why`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curate.cli.options import Json, Lake, Name

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from schemas.answers import Explanation, RuleOutcome, StepOutcome

_DIFF = {"-": "red", "+": "green", "@": "cyan"}
_ANSWERS = {0: "no answer", 1: "banned by robots.txt or noindex", 2: "a limit of the crawl"}


def why(what: str, /, *, lake: Lake = "lake", name: Name = "", as_json: Json = False) -> None:
    """Explain why a document is in the corpus or not.

    Shows what every step measured, each rule with its limit and how far the document is from it, what
    was rewritten, and what to write into the recipe to keep it. For a one-off clean the lake is
    OUT.curate/lake.

    **Example:**

    ```console
    $ curate why https://docs.acme.example/vpn
    ```

    Parameters
    ----------
    what
        An id, a URL, a path (path#17 for a record of a file), or the end of one that only one document has.
    """
    from curate.cli.terminal import show, show_json
    from curate.engine.explain import explain

    found = explain(lake, name, what)
    if as_json:
        show_json(found.model_dump())
    else:
        show(*_card(found, lake))


def _card(found: Explanation, lake: str) -> list[RenderableType]:
    lines: list[RenderableType] = [_verdict(found), *_origin(found)]
    if found.tables:
        lines.append(_measured(found))
    return [*lines, *_rewritten(found), *_advice(found, lake)]


def _verdict(found: Explanation) -> Text:
    from rich.text import Text

    from curate.cli.terminal import text

    title = text(found.title or found.place, 200)
    if found.kept:
        return Text.assemble(("kept", "bold green"), "  ", title)
    if not found.id:
        return Text.assemble(
            ("no document", "bold red"), f" was made of this page ({_answer(found)})  ", title
        )
    if not found.table:
        return Text.assemble(("not judged yet", "bold yellow"), "  ", title)
    by = text(f" by {found.table}.{found.step}: {found.reason}  ")
    return Text.assemble(("dropped", "bold red"), by, title)


def _answer(found: Explanation) -> str:
    """The last answer about a page, in words."""
    if "://" not in found.place and found.status == 404:
        return "the file is gone"
    return _ANSWERS.get(found.status, f"HTTP {found.status}")


def _origin(found: Explanation) -> list[Text]:
    from rich.text import Text

    from curate.cli.terminal import text

    answer = _answer(found)
    when = "read" if "://" not in found.place and found.status in (200, 304) else "asked"
    fetched = found.fetched_at if when == "read" else f"{found.fetched_at}, {answer}"
    problem = found.fetch_error.replace("skipped:", "skipped: ") or found.message
    twin = " ".join(filter(None, [found.duplicate_url or found.duplicate_of, found.duplicate_title]))
    facts = {
        "id": found.id, "place": found.place, "url": found.url if found.url != found.place else "", "source": found.source,
        "license": found.license, when: fetched if found.fetched_at else "", "problem": problem if problem != answer else "",
        "duplicate of": f"{twin}, {_alike(found)}{_sketched(found)}" if twin else "",
        "stands for": f"{found.stands_for:,} documents" if found.kept and found.stands_for > 1 else "",
    }  # fmt: skip
    return [
        Text.assemble((f"  {what:<12}  ", "dim"), text(value, 500)) for what, value in facts.items() if value
    ]


def _alike(found: Explanation) -> str:
    return f"{found.measure or 'similarity'} {found.similarity:.3f}"


def _sketched(found: Explanation) -> str:
    """How the pair was found, where sketches found it."""
    return f" (estimated {found.estimate:.3f}, found by band {found.band})" if found.band >= 0 else ""


def _measured(found: Explanation) -> Table:
    """A line for every step with what it measured, and below it one for each of its rules."""
    from rich.padding import Padding

    from curate.cli.terminal import table, text

    made = table("step and rules", "value", "margin", right=("margin",))
    for outcome in found.tables:
        for step in outcome.steps:
            decides = (outcome.table, step.step) == (found.table, found.step)
            if not (step.measures or step.rules or decides):
                continue
            made.add_row(text(f"{outcome.table}.{step.step}", 80, "bold"))
            if step.measures:
                made.add_row(Padding(text(_measures(step), 400, "dim"), (0, 0, 0, 2)))
            for rule in step.rules:
                _add_rule(made, rule)
            if decides and not step.rules:  # duplicates: the step decides without a rule of the recipe
                made.add_row(text(f"  {found.reason}"), _alike(found), style="bold red")
    return made


def _measures(step: StepOutcome) -> str:
    return ", ".join(f"{name} {_value(value)}" for name, value in step.measures.items())


def _add_rule(made: Table, rule: RuleOutcome) -> None:
    from curate.cli.terminal import text
    from curate.reports.numbers import number

    style = "bold red" if rule.failed else ""
    held = [f"{limit.column} {number(limit.value)}" for limit in rule.limits]
    held += [f"{name} {_value(value)}" for name, value in rule.values.items()]
    margins = ", ".join(f"{'+' if limit.margin > 0 else ''}{number(limit.margin)}" for limit in rule.limits)
    made.add_row(
        text(f"  {rule.reason}: {rule.rule}", 400), text(", ".join(held), 120), text(margins), style=style
    )


def _rewritten(found: Explanation) -> list[Text]:
    """What each table made of the text, as a diff."""
    from rich.text import Text

    from curate.cli.terminal import text
    from curate.reports.numbers import plural

    lines: list[Text] = []
    for rewrite in found.rewritten:
        lines.append(Text(f"rewritten by {rewrite.table}: {', '.join(rewrite.steps)}", style="dim"))
        lines += [Text.assemble("  ", text(line, 400, _DIFF.get(line[:1], ""))) for line in rewrite.diff]
        if rewrite.left_out:
            lines.append(Text(f"  ... {plural(rewrite.left_out, 'line')} more", style="dim"))
    return lines


def _value(value: str | float | bool) -> str:
    from curate.reports.numbers import number

    return number(value) if isinstance(value, float | int) and not isinstance(value, bool) else str(value)


def _advice(found: Explanation, lake: str) -> list[Text]:
    from rich.text import Text

    from curate.cli.outcome import at_lake
    from curate.cli.terminal import text

    if not found.to_keep:
        return []
    cleaned = _cleaned(lake) if found.name == "clean" else ""
    advice = {"to keep it": found.to_keep, "to see the effect first": at_lake(found.to_preview, lake)}
    if cleaned:  # there is no recipe to write into
        again = found.to_preview.replace("curate plan", f"curate clean ... -o {cleaned}", 1)
        advice = {"to see the effect first": at_lake(found.to_preview, lake), "to keep it": again}
    lines: list[Text] = []
    for title, words in advice.items():
        lines.append(Text(title, style="dim"))
        lines += [Text.assemble("  ", text(line)) for line in words.split("\n")]
    return lines


def _cleaned(lake: str) -> str:
    """The file beside whose folder OUT.curate/lake a clean made this lake; "" if none did."""
    from pathlib import Path

    beside = Path(lake).parent
    return str(beside.with_suffix("")) if beside.suffix == ".curate" else ""
