"""One execution of a recipe against a lake: what every table's function needs, and how it publishes."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import tomli_w

from curate.dedup.memory import BUDGET
from curate.engine.plan import Plan, PlannedTable
from curate.engine.progress import Progress
from curate.engine.workers import Workers
from curate.lake.content import MANY
from curate.lake.lake import Lake
from curate.lake.runs import Head
from schemas.checks import Check
from schemas.errors import UsageError
from schemas.recipe import Recipe
from schemas.report import RunReport, TableReport

V = TypeVar("V")
LEAST = 64 * 10**6  # bytes
_MANY_ONE_OFF = 32  # small files; a look-up costs the keys that are asked for in each


@dataclass
class Session:
    """A run: the lake, the plan, the workers, and what stood when the current table began."""

    lake: Lake
    plan: Plan
    workers: Workers
    progress: Progress
    limit: int = 0
    memory: int = BUDGET  # bytes that a search for near-duplicates may take
    strict: bool = False  # the first input that cannot be read ends the run
    one_off: bool = False  # few read this lake again: it is to be written quickly rather than small
    run: str = field(default_factory=lambda: time.strftime("%Y%m%dT%H%M%S-") + uuid.uuid4().hex[:6])
    report: RunReport = field(init=False)
    _reports: dict[tuple[int, str], TableReport] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.report = RunReport(name=self.name, run=self.run)

    @property
    def name(self) -> str:
        """Name of the recipe."""
        return self.plan.recipe.name

    @property
    def work(self) -> Path:
        """A folder for plan files, emptied when the run ends."""
        folder = self.lake.root / self.name / ".work"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def many_files(self) -> int:
        """So many small files are merged: a one-off run reads each twice, and merging costs a reading and a writing."""
        return _MANY_ONE_OFF if self.one_off else MANY

    def key(self, table: str) -> str:
        """How `runs` names a table of this recipe."""
        return f"{self.name}/{table}"

    def fingerprint(self, table: PlannedTable, head: Head) -> str:
        """Under which fingerprint a table's content stands (as published, which may be an older recipe's)."""
        return head.fingerprints.get(self.key(table.name), table.fingerprint)

    def last_report(self, base: Head, table: str) -> TableReport:
        """The report of a table as it stands in `base`; an empty one where it was never made."""
        if (base.seq, table) not in self._reports:
            row = self.lake.runs.standing(base, self.name, [table]).get(table)
            stored = row.report if row is not None else ""
            self._reports[base.seq, table] = (
                TableReport.model_validate_json(stored) if stored else TableReport(table=table)
            )
        return self._reports[base.seq, table]

    def _keyed(self, values: dict[str, V]) -> dict[str, V]:
        return {self.key(table): value for table, value in values.items()}

    def publish(
        self,
        base: Head,
        table: str,
        *,
        pins: dict[str, int],
        fingerprints: dict[str, str],
        digests: dict[str, str],
        reads: list[str],
        report: TableReport,
        live: str = "",
        kind: str = "run",
    ) -> Head:
        """Make a table visible: the one row in `runs`, committed last.

        A table that did not change in any pin, fingerprint or digest gets no row, unless other blocking checks fail
        than did before: what is made of it asks that row.
        """
        pins, fingerprints, digests = (self._keyed(values) for values in (pins, fingerprints, digests))
        self.report.tables.append(report)
        recipe = recipe_text(self.plan.recipe)
        same = all(
            now.items() <= then.items()
            for now, then in ((pins, base.pins), (fingerprints, base.fingerprints), (digests, base.digests))
        )
        if same and not live and _names(report.failed()) == _names(self.last_report(base, table).failed()):
            self.progress.finish(report)
            self.report.version = max(self.report.version, self.lake.head().seq)
            return base
        row = Head(
            run=self.run,
            name=self.name,
            kind=kind,
            table=table,
            pins=pins,
            fingerprints=fingerprints,
            digests=digests,
            live={self.name: live} if live else {},
            recipe=recipe,
            report=report.model_dump_json(),
        )
        made = [*pins, *fingerprints, *digests]
        head = self.lake.runs.publish(base, row, made, [self.key(name) for name in reads])
        self.report.version = head.seq
        self.progress.finish(report)
        return head


def read_memory(size: str) -> int:
    """Bytes that "4GB" allows a search for near-duplicates; those of a default where it is "".

    Raises:
        UsageError: it is no size, or less than a search needs.
    """
    from curate.engine.write import read_size

    given = read_size(size, "--memory 4GB") or BUDGET
    if given < LEAST:
        raise UsageError(
            f"--memory {size} is less than a search can do with.", hint="--memory 64MB is the least."
        )
    return given


def _names(checks: list[Check]) -> set[str]:
    return {check.name for check in checks}


def recipe_text(recipe: Recipe) -> str:
    """The resolved recipe as TOML; secrets stay `${NAME}`."""
    return tomli_w.dumps(json.loads(json.dumps(recipe.resolved, default=str)))
