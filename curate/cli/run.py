"""`curate run`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from curate.cli.options import Json, Lake, Limit, Memory, Settings, Strict, Workers, read_settings

if TYPE_CHECKING:
    from schemas.report import RunReport


def run(
    recipe: str = "curate.toml",
    /,
    *,
    lake: Lake = "lake",
    limit: Limit = 0,
    strict: Strict = False,
    settings: Settings = (),
    workers: Workers = None,
    memory: Memory = "",
    no_index: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    as_json: Json = False,
) -> None:
    """Make a recipe's tables and index; only what is missing.

    A run that was stopped or killed goes on where it was. Ctrl-C finishes what is being worked on.

    **Example:**

    ```console
    $ curate run --limit 100
    ```

    Parameters
    ----------
    recipe
        The recipe.
    no_index
        Stop at the corpus.
    """
    from curate.cli.terminal import show_json
    from curate.cli.whole import run as run_whole
    from curate.cli.working import working

    overrides = read_settings(settings)
    with working(f"curate run {recipe}".removesuffix(" curate.toml")) as progress:
        report = run_whole(
            recipe,
            lake=lake,
            limit=limit,
            strict=strict,
            overrides=overrides,
            workers=workers,
            memory=memory,
            index=not no_index,
            progress=progress,
        )
    if as_json:
        show_json(report.model_dump())
    else:
        _show(report, lake)
    if report.blocked():
        raise SystemExit(1)


def _show(report: RunReport, lake: str) -> None:
    """What the run did, and what to type next."""
    from curate.cli.outcome import at_lake, largest_reason, near, show_outcome

    if not report.table("corpus").kept:
        then = f"curate show --dropped {largest_reason(report)}" if largest_reason(report) else "curate show"
    else:
        then = 'curate search "How do I ...?"' if report.live else "curate show corpus"
    where = {"report": near(report.report_path)} if report.report_path else {}
    show_outcome(report, where=where, then=at_lake(then, lake), lake=lake)
