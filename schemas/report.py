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
    failed: list[int] = []  # of the counts, documents that failed a rule with one of the limits
    limits: list[Limit] = []


class FailTogether(BaseModel):
    """Two rules of a table, as STEP.REASON, and how many documents failed both."""

    one: str  # stands before the other in the recipe
    two: str
    documents: int


class DropRate(BaseModel):
    """How much of one group of documents a table dropped, with the 95 % interval of Wilson (1927)."""

    by: str  # language, source, or a column that [report] names
    value: str  # of that column; "" where it is not known
    rows: int
    dropped: int
    low: float
    high: float
    differs: bool  # the interval leaves out the rate of the whole table

    @property
    def rate(self) -> float:
        """Share that was dropped."""
        return self.dropped / self.rows


class Failure(BaseModel):
    """A document that broke a stage or could not be read."""

    id: str
    place: str
    reason: str
    message: str


class Recall(BaseModel):
    """Of pairs that are alike, how many a step that compares documents finds; the interval is at 95 %."""

    length: str  # words of the texts, as "20 to 100", or how they differ in it; empty: all
    similarity: float  # least exact similarity of the pairs
    to: float  # up to this one, or about 0.025 above the least for planted pairs
    pairs: int
    theory: float  # what the curve of the bands promises
    found: float
    low: float
    high: float


class NearError(BaseModel):
    """How many near-duplicates a `minhash` step misses, measured on the corpus itself."""

    step: str
    made_from: str  # digest of the options that count
    documents: int  # that reached the step when it was measured
    threshold: float
    bands: int
    rows: int
    wanted: float  # recall at the threshold
    longer: float = 0.0  # by containment: promised up to so many times the length; 0: by Jaccard similarity
    curve: list[tuple[float, float]]  # similarity, probability to be compared
    planted: list[Recall]  # texts of the corpus, changed until the exact similarity is known
    anchors: int  # documents that were compared exactly with all others
    real: list[Recall]  # pairs of those: found, or one of both is gone
    looked_again: int  # documents that were dropped, compared with their keeper in plain Python
    wrong: int  # of them below the threshold


class NearPlan(BaseModel):
    """What a search for near-duplicates was to take, and what it took: sketching and exact comparison come on top."""

    documents: int  # new to the index of bands
    stored: int  # in it before
    bands: int
    rows: int
    partitions: int  # searched one by one
    memory: int  # bytes, the program included
    disk: int  # bytes of the index
    seconds: float  # of one core
    took_memory: int  # bytes: the most that the process has held since it began
    took_seconds: float


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
    fail_together: list[FailTogether] = []  # the most frequent first
    drop_rates: list[DropRate] = []  # by column, the largest group first
    near_errors: list[NearError] = []  # one for each `minhash` step
    near_plans: list[NearPlan] = []  # one for each that verifies
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


class Sample(BaseModel):
    """A document as an example in a report; its text is masked and cut before it gets here."""

    id: str
    place: str  # URL, or path and number of the record
    title: str = ""
    table: str = "corpus"  # the table whose verdict it shows
    step: str = ""  # what dropped it, or "" for a document that is kept
    reason: str = ""
    text: str = ""
