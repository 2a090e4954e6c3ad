"""`curate plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curate.cli.options import Json, Lake, Settings, read_settings

if TYPE_CHECKING:
    from rich.console import RenderableType

    from schemas.recipe import Recipe
    from schemas.report import TablePreview


def plan(
    recipe: str = "curate.toml",
    /,
    *,
    lake: Lake = "lake",
    settings: Settings = (),
    as_json: Json = False,
) -> None:
    """Show a recipe as it resolves, and what it would change.

    Nothing is written. Everything in the recipe is checked; what it would do is judged from what the lake has measured.

    **Example:**

    ```console
    $ curate plan --set "filtered.length.drop.too_short=words < 5"
    ```

    Parameters
    ----------
    recipe
        The recipe.
    """
    from curate.cli.plan_index import index_change
    from curate.cli.terminal import show, show_json
    from curate.engine.plan import make_plan
    from curate.engine.preview import preview
    from schemas.recipe import load_recipe

    loaded = load_recipe(recipe, read_settings(settings))
    previews = preview(make_plan(loaded), lake)
    index = index_change(loaded, lake) if previews else ""
    if as_json:
        show_json({
            "recipe": loaded.resolved, "runs_code": code_of(loaded), "tables": [table.model_dump() for table in previews],
            "index": index,
        })  # fmt: skip
        return
    show(*_resolved(loaded), *_changes(previews, index, lake))


def code_of(recipe: Recipe) -> list[str]:
    """Functions of the user's own that the recipe calls, as module:function."""
    return [source.loader for source in recipe.sources.values() if source.loader]


def _resolved(recipe: Recipe) -> list[RenderableType]:
    from rich.text import Text

    from curate.cli.terminal import text
    from curate.engine.session import recipe_text

    written = recipe_text(recipe).rstrip().split("\n")
    lines = [text(line, style="bold" if line.startswith("[") else "") for line in written]
    code = [Text.assemble(("runs code: ", "bold yellow"), text(function)) for function in code_of(recipe)]
    return [*lines, *code, Text()]


def _changes(previews: list[TablePreview], index: str, lake: str) -> list[RenderableType]:
    from rich.text import Text

    from curate.cli.terminal import text

    if not previews:
        return [text(f"Nothing of it stands in {lake} yet: curate run makes everything.")]
    lines: list[RenderableType] = [_table(previews)]
    told = set()
    for preview in previews:
        for place, fate in preview.sample:
            if place not in told:  # what one table changes, the next ones change too
                style = "green" if fate.startswith("comes back") else "red"
                lines.append(
                    Text.assemble(f"  {preview.table}  ", text(fate, 100, style), "  ", text(place, 300))
                )
            told.add(place)
    last = previews[-1]
    unknown = sum(preview.first_measured for preview in previews)
    changed = unknown or last.comes_back or last.goes
    if not (changed or index):
        return [*lines, text("A run would change nothing.")]
    fates = [f"{last.comes_back:,} would come back", f"{last.goes:,} would go"]
    if unknown:
        has = (
            "has to be measured first, and counts" if unknown == 1 else "have to be measured first, and count"
        )
        fates.append(f"{unknown:,} {has} as kept until then")
    said = "; ".join(fates) if changed else "a run would change nothing"
    return [*lines, text(f"{last.table}: {said}."), *([text(f"index: {index}.")] if index else [])]


def _table(previews: list[TablePreview]) -> RenderableType:
    from curate.cli.terminal import table

    numbers = ("reach it", "kept", "measure", "come back", "go")
    made = table("table", *numbers, right=numbers)
    for preview in previews:
        counts = (preview.rows, preview.kept, preview.would_measure, preview.comes_back, preview.goes)
        made.add_row(preview.table, *[f"{count:,}" if count else "" for count in counts])
    return made
