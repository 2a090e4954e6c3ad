"""`curate diff`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from curate.cli.options import Json, Lake, Name

if TYPE_CHECKING:
    from rich.console import RenderableType

    from schemas.answers import Difference, Moved


def diff(
    a: str,
    b: Annotated[str, Parameter(show_default=False)] = "",
    /,
    *,
    lake: Lake = "lake",
    name: Name = "",
    as_json: Json = False,
) -> None:
    """Show what changed between two versions or recipes, and why.

    Documents that were added, removed and rewritten, and which rule or page moved each. A recipe is judged
    over what the lake has measured.

    **Example:**

    ```console
    $ curate diff 5
    ```

    Parameters
    ----------
    a
        A version (its number in `curate log`, or a tag), or a recipe: a file, or a packaged one.
    b
        Another one; what stands if it is not given.
    """
    from curate.cli.terminal import show, show_json
    from curate.engine.diff import difference

    found = difference(lake, name, a, b)
    if as_json:
        show_json(found.model_dump())
    else:
        show(*_shown(found))


def _shown(found: Difference) -> list[RenderableType]:
    from curate.cli.terminal import text

    lines: list[RenderableType] = []
    if found.moved:
        lines += [_causes(found.moved), *_samples(found.moved)]
    if found.unmeasured:
        lines.append(
            text(f"{found.unmeasured:,} would have to be measured first, and count as kept and as they are.")
        )
    counts = f"{found.added:,} added, {found.removed:,} removed, {found.rewritten:,} rewritten"
    said = counts if found.moved else "no difference"
    sizes = f"{found.documents_a:,} and {found.documents_b:,} documents"
    return [*lines, text(f"{found.name}, from {found.a} to {found.b} ({sizes}): {said}.")]


def _causes(moved: list[Moved]) -> RenderableType:
    from curate.cli.terminal import table, text

    made = table("documents", "moved", "by", right=("documents",))
    styles = {"added": "green", "removed": "red", "rewritten": "yellow"}
    for one in moved:
        made.add_row(f"{one.documents:,}", text(one.how, style=styles[one.how]), text(_cause(one), 200))
    return made


def _cause(moved: Moved) -> str:
    """Why they moved, in words."""
    if moved.cause in ("rule", "duplicate"):
        return f"{moved.by} dropped before" if moved.how == "added" else moved.by
    if moved.cause == "changed page" and moved.by:
        return f"changed page; {moved.by} dropped it {'before' if moved.how == 'added' else 'now'}"
    if moved.cause == "unknown":
        return "was not judged"
    return moved.by or moved.cause


def _samples(moved: list[Moved]) -> list[RenderableType]:
    from rich.text import Text

    from curate.cli.terminal import text

    lines: list[RenderableType] = []
    for one in moved:
        for document in one.sample:
            twin = f", as a duplicate of {document.twin}" if document.twin else ""
            lines.append(
                Text.assemble("  ", f"{one.how}  ", text(document.place, 300), (text(twin, 300, "dim")))
            )
    return lines
