"""One table as a step of Dagster: its settings, and what becomes of a run that fails or is cancelled."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dagster as dg
from pydantic import Field

from curate.engine.plan import make_plan
from curate.engine.run import compiled_kernels, session_of
from curate.engine.workers import Workers, stoppable
from curate.reports.plain import PlainProgress
from dagster_defs.metadata import check_results, failure_of, metadata_of
from indexing.way import check_way, make_table
from schemas.errors import CurateError, RecipeError, SourceError
from schemas.recipe import load_recipe

_GRACE = 7.0  # seconds that workers have to finish a shard once a run is cancelled
_TRIES, _WAIT = 3, 10.0  # a site that gives nothing is asked again after 10, 20 and 40 seconds


class RunSettings(dg.ConfigurableResource):  # type: ignore[type-arg]
    """What one run does otherwise; set in the launchpad."""

    recipe: str = Field(
        default="", description="another recipe of the same name; empty: the one that was loaded"
    )
    limit: int = Field(default=0, ge=0, description="take at most so many documents of each source; 0: all")
    workers: int = Field(default=0, ge=0, description="worker processes; 0: one for each core")


@dataclass(frozen=True)
class Asset:
    """One table of one recipe in one lake."""

    recipe: str
    name: str
    lake: str
    table: str
    key: dg.AssetKey
    checks: dict[str, str]

    def make(self, context: dg.AssetExecutionContext, settings: RunSettings) -> dg.MaterializeResult[Any]:
        """Make the table of the recipe as it is now, and say what became of it."""
        recipe = load_recipe(settings.recipe or self.recipe)
        if recipe.name != self.name:
            raise RecipeError(
                f"{recipe.path} is the recipe of {recipe.name}; these are the tables of {self.name}.",
                hint="Reload the code location, or name a recipe of this name in the launchpad.",
            )
        plan, limit, workers = make_plan(recipe), settings.limit, settings.workers or None
        progress = PlainProgress(context.log.info)  # every line is a committed write: it tells few
        busy: list[Workers] = []
        deadline = threading.Timer(_GRACE, _kill, [busy])
        deadline.daemon = True
        with (
            # A run that is cancelled commits its shards and ends; a second signal breaks off at once.
            stoppable((signal.SIGINT, signal.SIGTERM), deadline.start),
            compiled_kernels(),
            session_of(plan, self.lake, limit=limit, workers=workers, progress=progress) as session,
        ):
            busy.append(session.workers)
            if self.table == "pages":
                check_way(plan)
            make_table(session, self.table)
            report, head = session.report.tables[-1], session.lake.head()
            return dg.MaterializeResult(
                asset_key=self.key,
                data_version=dg.DataVersion(head.digests.get(session.key(self.table), "")),
                metadata=metadata_of(session, head, self.table, report),
                check_results=list(check_results(report, self.checks, self.key)),
            )


def _kill(busy: list[Workers]) -> None:
    for workers in busy:
        workers.kill()


@contextmanager
def told(context: dg.OpExecutionContext | dg.AssetExecutionContext, *, again: bool = False) -> Iterator[None]:
    """Errors of ours as failures with their hint; with `again` a site that gave nothing is asked again.

    A retry policy would do that too, but Dagster applies one to a run that was cancelled as well.
    """
    try:
        yield
    except CurateError as error:
        failure = failure_of(error)
        if not (again and isinstance(error, SourceError)):
            raise failure from None
        wait = _WAIT * 2**context.retry_number
        raise dg.RetryRequested(max_retries=_TRIES, seconds_to_wait=wait) from failure
