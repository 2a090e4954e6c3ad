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
    strict: bool = False,
    overrides: Mapping[str, Any] | None = None,
    workers: int | None = None,
    memory: str = "",
    index: bool = True,
    progress: Progress | None = None,
) -> RunReport:
    """Run a recipe: what is done already is not done again.

    Makes every table in the folder `lake`, then the index if the recipe has one, puts it live if it
    passes its gates, and writes the report page. `overrides` is merged over the recipe; a `strict` run ends
    at the first input that cannot be read; `memory` ("4GB") is what the search for near-duplicates may take.

    Raises:
        CurateError: what went wrong, and what to do; finished work is kept.
    """
    from curate.engine.plan import make_plan
    from curate.engine.run import run_tables
    from curate.engine.session import read_memory
    from curate.lake.lake import open_lake
    from curate.reports.html import write_report
    from curate.reports.samples import corpus_samples
    from indexing.way import check_way, make_table, tables_of
    from schemas.recipe import load_recipe

    plan = make_plan(load_recipe(recipe, dict(overrides or {})))
    check_way(plan)
    tables = [table for table in tables_of(plan.recipe, index=index) if table != "finetune"]
    report = run_tables(
        plan,
        lake,
        tables=tables,
        make=make_table,
        limit=limit,
        workers=workers,
        memory=read_memory(memory),
        progress=progress,
        strict=strict,
    )
    home = open_lake(lake)
    page = home.root / plan.recipe.name / "reports" / f"{report.run}.html"
    report.report_path = str(page)
    # Of a run that was stopped there may be no corpus, or one with personal data left in it.
    samples = [] if report.blocked() else corpus_samples(lake, plan.recipe.name)
    write_report(report, samples, page)
    home.keep_file(page)
    return report
