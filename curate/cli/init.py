"""`curate init`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from curate.cli.options import quoted
from schemas.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from curate.cli.found import Found


def init(
    what: list[str] | None = None,
    /,
    *,
    out: Annotated[str, Parameter(name=["--out", "-o"])] = "curate.toml",
    extends: Annotated[str, Parameter(show_default=False)] = "",
    force: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    list_recipes: Annotated[bool, Parameter(name="--list", negative="", show_default=False)] = False,
    demo: Annotated[bool, Parameter(negative="", show_default=False)] = False,
) -> None:
    """Look at a site or at files, and write a recipe that fits.

    Of a site, about twenty pages are fetched. The recipe has under 25 lines, each with its reason.

    **Example:**

    ```console
    $ curate init posts.jsonl
    ```

    Parameters
    ----------
    what
        The start of a site, or files, folders and globs.
    out
        Where the recipe goes.
    extends
        The packaged recipe to build on; chosen by what is found if not given.
    force
        Replace a recipe that is there.
    list_recipes
        List the packaged recipes.
    demo
        Look at the example site that comes with the source: 380 pages in 13 languages.
    """
    from curate.cli.terminal import show, table, text
    from schemas.recipe import packaged_recipes

    if list_recipes:
        made = table("recipe", "for")
        for name, purpose in packaged_recipes().items():
            made.add_row(name, text(purpose))
        show(made)
        return
    _check_output(out, extends, force)
    _write(_look([_example_site()] if demo else what or [], out), out, extends)


def _example_site() -> str:
    from pathlib import Path

    site = Path(__file__).resolve().parents[2] / "examples" / "site"
    if not site.is_dir():
        raise UsageError(
            "The example site comes with the source, not with the package.",
            hint="Clone the repository and type make demo, or curate init --demo there.",
        )
    return str(site)


def _check_output(out: str, extends: str, force: bool) -> None:
    from pathlib import Path

    from schemas.recipe import packaged_recipes

    path = Path(out)
    if extends and extends not in packaged_recipes() and not (path.parent / extends).is_file():
        raise UsageError(
            f'There is no recipe "{extends}" to extend.', hint=did_you_mean(extends, packaged_recipes())
        )
    if path.exists() and not force:
        raise UsageError(
            f"{out} is there already.", hint="-o NAME.toml writes another one; --force replaces it."
        )


def _look(what: list[str], out: str) -> Found:
    """What the site or the files hold."""
    if not what:
        raise UsageError(
            "Nothing to look at.", hint="Name a site or files: curate init https://docs.example.org/"
        )
    sites = [one for one in what if one.startswith(("http://", "https://"))]
    if sites and len(what) > 1:
        raise UsageError(
            f"{len(what)} sources at once.",
            hint=f"Start with one: curate init {sites[0]}; add another [sources.NAME] to the recipe by hand.",
        )
    if sites:
        from curate.cli.found_site import look_at_site
        from curate.cli.working import working

        with working("the same command") as progress:
            return look_at_site(sites[0], progress)
    from curate.cli.found_files import look_at_files
    from curate.sources.remote import is_url

    if objects := [one for one in what if is_url(one)]:
        raise UsageError(
            f"{objects[0]} lies on an object store, where init does not look.",
            hint=f"Download one of its files, type curate init with it, and write files = {quoted(objects[0])} into the recipe.",
        )

    return look_at_files(what, out)


def _write(found: Found, out: str, extends: str) -> None:
    from pathlib import Path

    from rich.text import Text

    from curate.cli.found import recipe_of
    from curate.cli.terminal import show, text
    from schemas.recipe import load_recipe

    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(recipe_of(found, extends), "utf-8")
    load_recipe(path)
    width = max(len(fact) for fact, _ in found.facts)
    show(*[Text.assemble((f"  {fact:<{width}}  ", "dim"), text(value, 300)) for fact, value in found.facts])
    show(Text.assemble(("✓ ", "bold green"), text(f"{out} is written: read it, it is short.")))
    run = "curate run" if out == "curate.toml" else f"curate run {out}"
    show(Text.assemble(("  next  ", "dim"), text(f"{run} --limit 100")))
