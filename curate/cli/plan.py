"""`curate plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from curate.cli.options import Json, Lake, Name, Settings, read_settings

if TYPE_CHECKING:
    from rich.console import RenderableType

    from schemas.recipe import Recipe

_DEFAULT = "curate.toml"


def plan(
    recipe: str = _DEFAULT,
    /,
    *,
    new: Annotated[str, Parameter(name="--recipe", show_default=False)] = "",
    lake: Lake = "lake",
    name: Name = "",
    settings: Settings = (),
    as_json: Json = False,
) -> None:
    """Show a recipe as it resolves, and what it would change.

    Nothing is written. Everything in the recipe is checked; what it would do is judged from what the lake has
    measured: documents that go and come back by each rule, those at the edge of a changed limit, the corpus by
    language, and what a run would have to measure, embed and write. Where there is no curate.toml, the recipe that
    the lake has stored is taken.

    **Example:**

    ```console
    $ curate plan --set "filtered.length.drop.too_short=words < 5"
    ```

    Parameters
    ----------
    recipe
        The recipe.
    new
        Another recipe, a file or a packaged one, judged over what stands of the first.
    """
    from curate.cli.plan_index import index_change
    from curate.cli.plan_shown import changes
    from curate.cli.terminal import show, show_json
    from curate.engine.plan import make_plan
    from curate.engine.preview import preview

    loaded = _load(recipe, new, lake, name, read_settings(settings))
    found = preview(make_plan(loaded), lake)
    index = index_change(loaded, lake) if found.tables else ""
    if as_json:
        show_json({
            "recipe": loaded.resolved, "runs_code": code_of(loaded), **found.model_dump(), "index": index,
        })  # fmt: skip
        return
    show(*_resolved(loaded), *changes(found, index, lake))


def _load(recipe: str, new: str, lake: str, name: str, settings: dict[str, Any]) -> Recipe:
    """The recipe that is meant, with the name and at least the sources of the one that stands."""
    from pathlib import Path

    from curate.engine.stored_recipe import in_place_of
    from schemas.recipe import build_recipe, load_recipe

    stored = _stored(lake, name) if recipe == _DEFAULT and not Path(recipe).is_file() else None
    if not new:
        return build_recipe(stored.resolved, settings) if stored else load_recipe(recipe, settings)
    return in_place_of(stored or load_recipe(recipe), new, settings)


def _stored(lake: str, name: str) -> Recipe | None:
    """The recipe that the lake has stored; None where there is no lake."""
    from curate.engine.stored_recipe import stored_recipe
    from curate.lake.lake import open_lake
    from schemas.errors import LakeError

    try:
        home = open_lake(lake)
    except LakeError:
        return None
    return stored_recipe(home, home.head(), home.require(name))


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
