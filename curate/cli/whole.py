"""The whole way: every table of a recipe, its index, and the report. The top floor of the `curate` room."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curate.engine.progress import Progress
    from schemas.report import RunReport


def run(
    recipe: str | Path = "curate.toml",
    lake: str | Path = "lake",
    *,
    limit: int = 0,
    overrides: Mapping[str, Any] | None = None,
    workers: int | None = None,
    index: bool = True,
    progress: Progress | None = None,
) -> RunReport:
    """Run a recipe: what is done already is not done again.

    Makes every table in the folder `lake`, then the index if the recipe has one, puts it live if it
    passes its gates, and writes the report page. `overrides` is merged over the recipe.

    Raises:
        CurateError: what went wrong, and what to do; finished work is kept.
    """
    from curate.engine.plan import make_plan
    from curate.engine.run import run_tables
    from curate.engine.session import Session
    from curate.reports.html import write_report
    from curate.reports.samples import corpus_samples
    from schemas.recipe import load_recipe

    plan = make_plan(load_recipe(recipe, dict(overrides or {})))

    def build(session: Session) -> None:
        if plan.recipe.tokens:
            from curate.engine.tokens import make_tokens

            make_tokens(session)
        if plan.recipe.index and index:
            from indexing.tables import make_index

            make_index(session)

    report = run_tables(plan, lake, limit=limit, workers=workers, progress=progress, then=build)
    page = Path(lake).resolve() / plan.recipe.name / "reports" / f"{report.run}.html"
    report.report_path = str(page)
    write_report(report, corpus_samples(lake, plan.recipe.name), page)
    return report
