"""`curate export`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from curate.cli.options import Json, Lake, Settings, Workers, read_settings

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import RenderableType

    from curate.engine.plan import Plan
    from curate.export.make import Exported


def export(
    name: str = "",
    recipe: str = "curate.toml",
    /,
    *,
    lake: Lake = "lake",
    output: Annotated[str, Parameter(name=["--output", "-o"], show_default=False)] = "",
    version: Annotated[int, Parameter(show_default=False)] = 0,
    settings: Settings = (),
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Make a training set of the corpus, with a data card.

    Without a name, the exports of the recipe are listed. An export that is there already is not made again.

    **Example:**

    ```console
    $ curate export pretrain -o pretrain
    ```

    Parameters
    ----------
    name
        Name of the export: `[exports.NAME]` in the recipe.
    recipe
        The recipe.
    output
        Folder for a copy, which must be new or empty. Without it, the export lies in the lake only.
    version
        Export what stood at a version that `curate log` shows, not what stands now.
    """
    from pathlib import Path

    from curate.cli.terminal import show, show_json
    from curate.engine.plan import make_plan
    from curate.export.folder import check_free, put
    from curate.export.make import find_export
    from schemas.recipe import load_recipe

    plan = make_plan(load_recipe(recipe, read_settings(settings)))
    if not name:
        _list(plan, lake, as_json)
        return
    find_export(plan.recipe, name)
    if output:
        check_free(Path(output))
    made = _made(plan, name, lake, version, workers)
    if output:
        put(made.folder, Path(output))
    folder = output or str(made.folder)
    if as_json:
        facts = {"name": name, "version": made.version, "folder": folder, "reused": made.reused}
        show_json(
            {**facts, **{key: made.card[key] for key in ("kind", "splits", "left_out", "checks", "configs")}}
        )
    else:
        show(*_told(made, folder))


def _made(plan: Plan, name: str, lake: str, version: int, workers: int | None) -> Exported:
    from curate.cli.working import working
    from curate.engine.run import session_of
    from curate.export.make import make_export
    from curate.lake.lake import Lake as OpenLake

    OpenLake(lake)  # an export makes no lake
    try:
        with (
            working(f"curate export {name}") as progress,
            session_of(plan, lake, workers=workers, progress=progress) as session,
        ):
            return make_export(session, name, pairs=_pair_files, seq=version)
    except KeyboardInterrupt:
        message = f"stopped: nothing is left of it; curate export {name} begins again"
        raise KeyboardInterrupt(message) from None


def _pair_files(*arguments: Any) -> list[Path]:
    from indexing.pairs import pair_files

    return pair_files(*arguments)


def _list(plan: Plan, lake: str, as_json: bool) -> None:
    """What the recipe can export, and what of it was made."""
    from curate.cli.terminal import show, show_json, table_of, text
    from curate.export.choose import table_name
    from curate.lake.lake import Lake as OpenLake
    from schemas.errors import LakeError

    try:
        head = OpenLake(lake).head()
    except LakeError:
        head = None
    found = []
    for name, options in plan.recipe.exports.items():
        made = head.fingerprints.get(f"{plan.recipe.name}/{table_name(name)}", "") if head else ""
        found.append({"name": name, "kind": options.kind, "formats": list(options.formats), "version": made})
    if as_json:
        show_json(found)
    elif found:
        rows = [
            {**row, "formats": ", ".join(row["formats"]), "version": row["version"] or "not made yet"}
            for row in found
        ]
        show(table_of(rows, whole=("name", "version")))
    else:
        show(text('The recipe has no export. Add one: [exports.pretrain] and kind = "text"'))


def _told(made: Exported, folder: str) -> list[RenderableType]:
    from rich.text import Text

    from curate.cli.outcome import near
    from curate.cli.terminal import table, text
    from curate.export.card import padding_share
    from curate.reports.numbers import plural, size

    card, columns = made.card, ("rows", "documents", "tokens", "size", "files")
    shown = table("split", *columns, right=columns)
    for split in card["splits"]:
        counts = [
            f"{split['rows']:,}",
            f"{split['documents']:,}",
            f"{split['tokens']:,}" if split["tokens"] else "",
        ]
        shown.add_row(split["split"], *counts, size(split["bytes"]), f"{split['files']:,}")
    lines: list[RenderableType] = [shown]
    for reason, count in card["left_out"].items():
        lines.append(
            Text.assemble("  left out  ", text(f"{plural(count, 'document')}: {reason.replace('_', ' ')}"))
        )
    if padding := padding_share(card):
        lines.append(Text.assemble("  padding   ", text(f"{padding} of the tokens in sequences")))
    failed = [check for check in card["checks"] if not check["passed"]]
    lines += [
        Text.assemble(("! ", "bold yellow"), text(f"{check['name']}: {check['message']}", 400))
        for check in failed
    ]
    rows = sum(split["rows"] for split in card["splits"])
    there = ", which was there already" if made.reused else ""
    sentence = f"{made.name}: {plural(rows, 'row')}, version {made.version}{there}"
    lines.append(Text.assemble(("✓ ", "bold green"), text(sentence)))
    places = {
        "folder": near(folder),
        "card": f"{near(folder)}/README.md",
        "open": _opened(card, near(folder)),
    }
    lines += [Text.assemble((f"  {what:<6}  ", "dim"), text(place)) for what, place in places.items()]
    return lines


def _opened(card: dict[str, Any], folder: str) -> str:
    """How the export is read."""
    if card["configs"]:
        more = f', name="{card["configs"][1]["config_name"]}"' if len(card["configs"]) > 1 else ""
        return f'datasets.load_dataset("{folder}", split="train")' + (f"   (or {more[2:]})" if more else "")
    first = next((file["path"] for file in card["files"] if ".boundaries." not in file["path"]), "")
    if first.endswith(".npy"):
        return f'np.load("{folder}/{first}", mmap_mode="r")'
    return f"--data-path {folder}/{first.rsplit('.', 1)[0]}   (Megatron)"
