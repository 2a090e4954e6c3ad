"""`curate check`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from curate.cli.options import Count, Json, Settings, read_settings

if TYPE_CHECKING:
    from rich.console import RenderableType

    from schemas.answers import CanaryOutcome, Finding, RecipeCheck, RuleFired
    from schemas.recipe import Recipe

_BESIDE = 28  # characters for numbers and the name of a canary, in two lines


def check(
    recipe: str = "curate.toml",
    /,
    *,
    sample: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="")],
    limit: Count = 1_000,
    settings: Settings = (),
    as_json: Json = False,
) -> int:
    """Try a recipe on a sample, and say what is wrong with it.

    Runs it in a folder that is thrown away: on the sample, on texts that its rules should catch, and on a
    copy, a near copy and an e-mail address planted into the sample. Finds rules that never fire, rules that
    take more than half, options without effect and steps without use. Exits with 1 if something is wrong.

    **Example:**

    ```console
    $ curate check --sample posts.jsonl
    ```

    Parameters
    ----------
    recipe
        The recipe, or a packaged one.
    sample
        Files that its sources could hold.
    limit
        Documents of the sample that are taken.
    """
    from curate.cli.terminal import show, show_json
    from curate.engine.canaries import check_recipe

    found = check_recipe(_load(recipe, read_settings(settings)), sample, limit=limit)
    if as_json:
        show_json(found.model_dump())
    else:
        show(*_shown(found))
    return 1 if found.wrong else 0


def _load(recipe: str, settings: dict[str, object]) -> Recipe:
    from schemas.recipe import build_recipe, load_recipe, packaged_recipes

    if recipe in packaged_recipes():
        return build_recipe(
            {"name": recipe, "extends": recipe, "sources": {"sample": {"files": "*"}}}, settings
        )
    return load_recipe(recipe, settings)


def _shown(found: RecipeCheck) -> list[RenderableType]:
    from rich.text import Text

    from curate.cli.terminal import text
    from curate.reports.numbers import plural

    lines: list[RenderableType] = [_rules(found.rules)] if found.rules else []
    lines += [_canary(canary) for canary in found.canaries]
    lines += [_finding(finding) for finding in found.findings]
    notes = len(found.findings) - found.wrong
    mark = ("✗ ", "bold red") if found.wrong else ("✓ ", "bold green")
    kept = f"{found.kept:,} of {plural(found.documents, 'document')} kept"
    said = f"{found.name}: {plural(found.wrong, 'fault')}, {plural(notes, 'note')}; {kept}, {plural(len(found.rules), 'rule')}"
    return [
        *lines,
        Text.assemble(mark, text(f"{said}, {plural(len(found.canaries), 'canary', 'canaries')} planted")),
    ]


def _rules(rules: list[RuleFired]) -> RenderableType:
    from curate.cli.terminal import results, table, text
    from curate.reports.numbers import share

    # The name of a rule in one piece is copied easily, but must leave room for what stands beside it.
    longest = max(len(rule.rule) for rule in rules)
    whole = ("rule",) if longest + _BESIDE <= results().width else ()
    made = table("rule", "sample", "share", "catches", right=("sample", "share"), whole=whole)
    for rule in rules:
        caught = rule.canaries[0] if rule.canaries else ""
        made.add_row(
            text(rule.rule, 120), f"{rule.failed:,}" if rule.failed else "",
            share(rule.failed, rule.rows) if rule.failed else "", text(caught, 60),
        )  # fmt: skip
    return made


def _canary(canary: CanaryOutcome) -> RenderableType:
    from rich.text import Text

    from curate.cli.terminal import text

    mark = ("✓ ", "green") if canary.passed else ("✗ ", "bold red")
    return Text.assemble(mark, text(f"{canary.name}: {canary.message or canary.expected}", 400))


def _finding(finding: Finding) -> RenderableType:
    from rich.text import Text

    from curate.cli.terminal import text

    mark = ("✗ ", "bold red") if finding.level == "wrong" else ("! ", "bold yellow")
    said = text(f"{finding.place} {finding.what}. ", 400)
    return Text.assemble(mark, said, text(finding.fix, 200, "dim"))
