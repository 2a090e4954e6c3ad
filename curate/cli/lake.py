"""`curate lake verify|gc|rollback|tag`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curate.cli.options import Count, Json, Lake, Name

if TYPE_CHECKING:
    from rich.text import Text

    from schemas.checks import Check


def verify(*, lake: Lake = "lake", as_json: Json = False) -> int:
    """Check that everything the lake refers to is there and whole.

    Reads every file to its end. Exit code 1 if something is broken.

    **Example:**

    ```console
    $ curate lake verify
    ```
    """
    from curate.cli.terminal import show, show_json, text
    from curate.lake.care import verify as verify_lake

    checks = verify_lake(lake)
    broken = [check for check in checks if not check.passed]
    if as_json:
        show_json([check.model_dump() for check in checks])
    else:
        show(*[_line(check) for check in checks])
        show(text(f"{len(checks) - len(broken)} of {len(checks)} tables are whole."))
    return 1 if broken else 0


def _line(check: Check) -> Text:
    from rich.text import Text

    from curate.cli.terminal import text
    from curate.reports.numbers import plural, size

    if not check.passed:
        return Text.assemble(("✗ ", "bold red"), text(f"{check.name}: {check.message}"))
    rows, count = int(check.numbers.get("rows", 0)), check.numbers.get("bytes", 0)
    return Text.assemble(("✓ ", "green"), text(f"{check.name}: {plural(rows, 'row')}, {size(count)}"))


def gc(*, keep: Count = 10, lake: Lake = "lake", as_json: Json = False) -> None:
    """Delete what no kept version needs.

    Tagged versions and the live index always stay. Refused while a run is active.

    **Example:**

    ```console
    $ curate lake gc --keep 3
    ```

    Parameters
    ----------
    keep
        Runs of each name whose versions can still be opened.
    """
    from curate.cli.terminal import show, show_json, text
    from curate.lake.care import gc as collect
    from curate.reports.numbers import plural, size

    found = collect(lake, keep)
    if as_json:
        show_json(found)
        return
    # To delete is a commit, which takes some bytes.
    freed = size(max(0, found["bytes_before"] - found["bytes_after"]))
    deleted = f"{plural(found['folders'], 'folder')} and {plural(found['files'], 'file')}"
    show(text(f"{freed} freed ({deleted}); {size(found['bytes_after'])} are left."))


def rollback(version: int, /, *, lake: Lake = "lake", name: Name = "", as_json: Json = False) -> None:
    """Publish an earlier version again.

    A new version is made that stands where the old one stood; no data moves, and it can be undone.

    **Example:**

    ```console
    $ curate lake rollback 7
    ```

    Parameters
    ----------
    version
        Its number, as `curate log` shows it.
    """
    from curate.cli.terminal import show, show_json, text
    from curate.lake.care import rollback as roll_back

    head = roll_back(lake, name, version)
    if as_json:
        show_json({"name": head.name, "version": head.seq, "message": head.message})
    else:
        show(text(f"{head.name} version {head.seq}: {head.message}"))


def tag(label: str, /, *, lake: Lake = "lake", name: Name = "", as_json: Json = False) -> None:
    """Name the newest version.

    `curate lake gc` never takes a tagged version.

    **Example:**

    ```console
    $ curate lake tag release-1
    ```

    Parameters
    ----------
    label
        The tag.
    """
    from curate.cli.terminal import show, show_json, text
    from curate.lake.care import tag as tag_head

    head = tag_head(lake, name, label)
    if as_json:
        show_json({"name": head.name, "version": head.seq, "tag": label})
    else:
        show(text(f"{head.name} version {head.seq} is tagged {label}"))
