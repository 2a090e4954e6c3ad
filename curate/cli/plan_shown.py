"""What `curate plan` prints of a preview."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

    from schemas.answers import AtTheEdge, LanguageEffect, Preview, TablePreview

_LANGUAGES = 12


def changes(found: Preview, index: str, lake: str) -> list[RenderableType]:
    """Tables, rules, documents at the edge, languages, work, and a last sentence."""
    from curate.cli.terminal import text

    notes = [text(note, style="yellow") for note in found.notes]
    if not found.tables:
        return [text(f"Nothing of it stands in {lake} yet: curate run makes everything."), *notes]
    lines: list[RenderableType] = [_tables(found.tables), *_samples(found.tables), *notes]
    last = found.tables[-1]
    unknown = sum(preview.first_measured for preview in found.tables)
    changed = unknown or last.comes_back or last.goes
    if any(table.rules for table in found.tables):
        lines.append(_rules(found.tables))
    if any(len(table.sample) < table.comes_back + table.goes for table in found.tables):
        lines += [_edge(found.edge)] if found.edge else []  # else all that moves is named already
    if changed and found.languages:
        lines.append(_languages(found.languages, found.unit))
    if not (changed or index):
        return [*lines, text("A run would change nothing.")]
    if changed:
        lines.append(text(_work(found)))
    fates = [f"{last.comes_back:,} would come back", f"{last.goes:,} would go"]
    if unknown:
        has = (
            "has to be measured first, and counts" if unknown == 1 else "have to be measured first, and count"
        )
        fates.append(f"{unknown:,} {has} as kept until then")
    said = "; ".join(fates) if changed else "a run would change nothing"
    return [*lines, text(f"{last.table}: {said}."), *([text(f"index: {index}.")] if index else [])]


def _tables(previews: list[TablePreview]) -> RenderableType:
    from curate.cli.terminal import table

    numbers = ("reach it", "kept", "measure", "come back", "go")
    made = table("table", *numbers, right=numbers)
    for preview in previews:
        counts = (preview.rows, preview.kept, preview.would_measure, preview.comes_back, preview.goes)
        made.add_row(preview.table, *[f"{count:,}" if count else "" for count in counts])
    return made


def _samples(previews: list[TablePreview]) -> list[RenderableType]:
    from rich.text import Text

    from curate.cli.terminal import text

    lines: list[RenderableType] = []
    told = set()
    for preview in previews:
        for place, fate in preview.sample:
            if place not in told:  # what one table changes, the next ones change too
                style = "green" if fate.startswith("comes back") else "red"
                lines.append(
                    Text.assemble(f"  {preview.table}  ", text(fate, 100, style), "  ", text(place, 300))
                )
            told.add(place)
    return lines


def _rules(previews: list[TablePreview]) -> RenderableType:
    """Rules that are changed or move a document: dropped before and after, what goes and comes back by each."""
    from curate.cli.terminal import table, text

    numbers = ("dropped", "would be", "come back", "go")
    made = table("rule", *numbers, right=numbers)
    for preview in previews:
        for rule in preview.rules:
            counts = (rule.dropped_before, rule.dropped, rule.comes_back, rule.goes)
            made.add_row(
                text(f"{preview.table}.{rule.step}.{rule.reason}", 120),
                *[f"{count:,}" if count else "" for count in counts],
            )
    return made


def _edge(edge: list[AtTheEdge]) -> RenderableType:
    """The documents nearest to changed limits, with their distance to it and what becomes of them."""
    from curate.cli.terminal import table, text
    from curate.reports.numbers import number

    made = table("at the edge", "value", "margin", "", right=("margin",))
    for one in edge:
        margin = number(round(one.value - one.limit, 6))
        fate = "kept" if one.kept else "dropped"
        moved = {(True, False): "comes back", (False, True): "goes"}.get((one.kept, one.was_kept), fate)
        style = {"comes back": "green", "goes": "red"}.get(moved, "")
        made.add_row(
            text(one.place, 120),
            text(f"{one.column} {number(one.value)}", 80),
            margin if one.value <= one.limit else f"+{margin}",
            text(moved, style=style),
        )
    return made


def _languages(effects: list[LanguageEffect], unit: str) -> RenderableType:
    from curate.cli.terminal import table, text

    numbers = ("documents", "would be", unit, f"{unit} then")
    made = table("language", *numbers, right=numbers)
    for one in effects[:_LANGUAGES]:
        counts = (one.documents_before, one.documents, one.amount_before, one.amount)
        made.add_row(text(one.language or "not known", 40), *[f"{count:,}" for count in counts])
    return made


def _work(found: Preview) -> str:
    """What a run would do, in one sentence."""
    from curate.reports.numbers import duration, plural, size

    rows = {work.table: work.rows for work in found.work}
    measured = sum(table.first_measured for table in found.tables)
    done = [f"measure {plural(measured, 'document')}"] if measured else []
    done += [f"embed {plural(rows['vectors'], 'passage')}"] if "vectors" in rows else []
    done.append(f"write about {size(found.bytes)}" if found.bytes else "write verdicts only")
    return f"A run would {', '.join(done)}: about {duration(found.seconds)}, {size(found.memory_bytes)} of memory."
