"""What a run reports: counts, reasons, histograms, seconds. Stored as JSON in `runs`, shown by every door."""

from __future__ import annotations

from pydantic import BaseModel

from schemas.checks import Check


class Reason(BaseModel):
    """One rule of a table: how many it dropped, and how many it alone dropped."""

    step: str
    reason: str
    rule: str = ""  # as written in the recipe; "" for errors and duplicates
    dropped: int = 0  # documents of which it was the first failing rule
    failed: int = 0  # documents that failed it
    alone: int = 0  # documents that failed nothing else in this table
    unjudged: int = 0  # documents for which it was NULL: kept


class Limit(BaseModel):
    """A number in a rule, drawn in a histogram: documents for which `value op limit` are dropped."""

    reason: str
    op: str
    value: float


class Histogram(BaseModel):
    """Distribution of one measurement over the documents that reached the table."""

    step: str
    measure: str
    edges: list[float]  # one more than counts
    counts: list[int]
    limits: list[Limit] = []


class Failure(BaseModel):
    """A document that broke a stage or could not be read."""

    id: str
    place: str
    reason: str
    message: str


class TableReport(BaseModel):
    """One table of one run."""

    table: str
    seconds: float = 0.0
    rows: int = 0  # documents that reached the table
    kept: int = 0
    measured: int = 0  # rows made in this run
    reused: int = 0  # rows that were there
    bytes_written: int = 0
    step_seconds: dict[str, float] = {}  # summed over workers
    reasons: list[Reason] = []
    histograms: list[Histogram] = []
    languages: dict[str, int] = {}
    failures: list[Failure] = []  # at most 20, as a sample
    arrived: int = 0  # not there in the version before
    came_back: int = 0  # dropped in the version before, kept now
    changed: int = 0  # another text at the same place
    gone: int = 0  # kept in the version before, not now
    counts: dict[str, int] = {}  # what only this table counts: fetched, not_modified, redactions, pairs ...
    rates: dict[str, float] = {}  # what is no count: bytes_per_token, bytes_per_token.LANGUAGE
    checks: list[Check] = []
    notes: list[str] = []  # sentences for the user

    def check(self, name: str) -> Check | None:
        """A check by name, if the table has it."""
        return next((check for check in self.checks if check.name == name), None)

    def failed(self) -> list[Check]:
        """The blocking checks that failed: what follows this table must not be made."""
        return [check for check in self.checks if check.severity == "blocking" and not check.passed]


class RunReport(BaseModel):
    """One execution of a recipe."""

    name: str
    run: str
    version: int = 0  # seq of the last row in `runs`
    live: str = ""  # the live index version
    seconds: float = 0.0
    tables: list[TableReport] = []
    report_path: str = ""

    def table(self, name: str) -> TableReport:
        """The report of one table; an empty one if the run did not make it."""
        return next((table for table in self.tables if table.table == name), TableReport(table=name))

    def blocked(self) -> list[str]:
        """Failed blocking checks as TABLE: CHECK: message; what follows such a table was not made."""
        return [
            f"{table.table}: {check.name}: {check.message}"
            for table in self.tables
            for check in table.failed()
        ]


class LimitOutcome(BaseModel):
    """A measured value beside the limit that a rule sets; margin is value minus limit."""

    column: str
    op: str
    limit: float
    value: float
    margin: float


class RuleOutcome(BaseModel):
    """One rule for one document."""

    reason: str
    rule: str
    failed: bool
    limits: list[LimitOutcome] = []
    values: dict[str, str | float | bool] = {}  # of the columns that it names without a limit


class StepOutcome(BaseModel):
    """What one step measured of a document, and how its rules judged that."""

    step: str
    measures: dict[str, str | float | bool] = {}
    rules: list[RuleOutcome] = []


class TableOutcome(BaseModel):
    """One table for one document."""

    table: str
    kept: bool
    failed: list[str] = []
    message: str = ""
    steps: list[StepOutcome] = []


class Explanation(BaseModel):
    """Why a document is in the corpus or not: `curate why`."""

    name: str
    id: str = ""
    place: str = ""
    url: str = ""
    title: str = ""
    source: str = ""
    license: str = ""
    status: int = 0  # of the last answer about its place
    fetched_at: str = ""
    fetch_error: str = ""
    kept: bool = False
    table: str = ""  # that dropped it
    step: str = ""
    reason: str = ""
    message: str = ""
    duplicate_of: str = ""
    duplicate_url: str = ""
    duplicate_title: str = ""
    similarity: float = 0.0
    tables: list[TableOutcome] = []
    to_keep: str = ""  # the lines of the recipe that would keep it
    to_preview: str = ""  # the command that shows what else that would do


class TablePreview(BaseModel):
    """What a recipe would change in one table: `curate plan`."""

    table: str
    rows: int = 0
    kept: int = 0
    would_measure: int = 0  # documents that have to be measured first: their verdict is not known yet
    first_measured: int = 0  # those of them that no table before would measure
    comes_back: int = 0
    goes: int = 0
    reasons: list[Reason] = []
    sample: list[tuple[str, str]] = []  # place, and what becomes of it


class Sample(BaseModel):
    """A document as an example in a report; its text is masked and cut before it gets here."""

    id: str
    place: str  # URL, or path and number of the record
    title: str = ""
    table: str = "corpus"  # the table whose verdict it shows
    step: str = ""  # what dropped it, or "" for a document that is kept
    reason: str = ""
    text: str = ""
