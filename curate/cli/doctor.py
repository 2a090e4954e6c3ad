"""`curate doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curate.cli.options import Json

if TYPE_CHECKING:
    from rich.text import Text

    from curate.cli.installation import Finding


def doctor(*, as_json: Json = False) -> int:
    """Check the installation, and say how to mend it.

    Exit code 1 if something is broken; extras that are not installed are not.

    **Example:**

    ```console
    $ curate doctor
    ```
    """
    from dataclasses import asdict

    from curate.cli.installation import findings
    from curate.cli.terminal import show, show_json, text

    found = findings()
    broken = [finding for finding in found if finding.state == "broken"]
    if as_json:
        show_json([asdict(finding) for finding in found])
    else:
        for finding in found:
            show(*_lines(finding))
        show(
            text(
                f"{len(broken)} of {len(found)} checks failed."
                if broken
                else "Everything that is installed works."
            )
        )
    return 1 if broken else 0


def _lines(finding: Finding) -> list[Text]:
    from rich.text import Text

    from curate.cli.terminal import text

    marks = {"good": ("✓ ", "green"), "absent": ("- ", "dim"), "broken": ("✗ ", "bold red")}
    lines = [Text.assemble(marks[finding.state], text(f"{finding.name:<18}  {finding.found}"))]
    if finding.fix:
        lines.append(Text.assemble(("    fix  ", "dim"), text(finding.fix)))
    return lines
