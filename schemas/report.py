"""What a run reports: counts, reasons, histograms, seconds. Stored as JSON in `runs`, shown by every door."""

from __future__ import annotations

from typing import Literal

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


class Rewrite(BaseModel):
    """What the steps of one table made of a text."""

    table: str
    steps: list[str]  # those that may rewrite
    diff: list[str]  # of a unified diff: lines that begin with "@@", " ", "-" or "+"
    left_out: int = 0  # further lines


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
    measure: str = ""  # what it is, if not the share of common shingles: cosine, containment
    estimate: float = 0.0  # what the sketches said of it
    band: int = -1  # in which it was found; -1: by other means
    stands_for: int = 0  # documents that a kept one stands for, itself included
    tables: list[TableOutcome] = []
    rewritten: list[Rewrite] = []  # from the text as read to that of the corpus
    to_keep: str = ""  # the lines of the recipe that would keep it
    to_preview: str = ""  # the command that shows what else that would do


class RuleEffect(BaseModel):
    """What a changed recipe makes of one rule, beside what stands."""

    step: str
    reason: str
    rule: str = ""  # as it would be; "" where it is gone, and for errors and duplicates
    was: str = ""  # as it stands; "" where it is new
    dropped_before: int = 0
    dropped: int = 0
    goes: int = 0  # kept by the table as it stands, dropped for this reason
    comes_back: int = 0  # dropped for this reason as it stands, kept by the table


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
    rules: list[RuleEffect] = []  # those that change, or are changed
    sample: list[tuple[str, str]] = []  # place, and what becomes of it


class AtTheEdge(BaseModel):
    """A document near the limit of a changed rule."""

    table: str
    rule: str  # STEP.REASON
    place: str
    column: str
    op: str
    limit: float
    value: float
    fails: bool  # the changed rule
    kept: bool  # by the table, under the changed recipe
    was_kept: bool


class LanguageEffect(BaseModel):
    """The corpus of one language, as it stands and as it would be."""

    language: str
    documents_before: int = 0
    documents: int = 0
    amount_before: int = 0  # in the unit of the preview
    amount: int = 0


class Work(BaseModel):
    """What a run would do in one table, at the rates of the last run that measured there."""

    table: str
    rows: int  # to measure, cut or embed
    seconds: float = 0.0  # of one worker
    bytes: int = 0


class Preview(BaseModel):
    """What a run with a recipe would change: `curate plan`."""

    tables: list[TablePreview] = []
    edge: list[AtTheEdge] = []  # the nearest on both sides of each limit
    unit: str = "characters"  # or tokens, where the recipe makes them
    languages: list[LanguageEffect] = []
    work: list[Work] = []
    seconds: float = 0.0  # of a run, with a worker for each core
    memory_bytes: int = 0  # of the process that judges; workers come on top
    bytes: int = 0  # written
    notes: list[str] = []


class MovedDocument(BaseModel):
    """One document that one version has and another has not, or has with another text."""

    id: str
    place: str
    twin: str = ""  # place of the document that stands for it where it is a duplicate


class Moved(BaseModel):
    """Documents that moved in the same way for the same cause."""

    how: Literal["added", "removed", "rewritten"]
    cause: Literal["new page", "changed page", "gone page", "rule", "duplicate", "step", "unknown"]
    by: str = ""  # TABLE.STEP.REASON that drops them in one of both, TABLE.STEP that rewrites; "" for pages
    documents: int
    sample: list[MovedDocument] = []  # the first by place


class Difference(BaseModel):
    """What lies between two versions of a corpus, or between what two recipes make of one lake: `curate diff`."""

    name: str
    a: str
    b: str
    documents_a: int
    documents_b: int
    added: int = 0
    removed: int = 0
    rewritten: int = 0
    unmeasured: int = 0  # documents that a recipe would have to measure first: kept for now
    moved: list[Moved] = []


class Finding(BaseModel):
    """What is wrong with a recipe, or worth a look, and what to do."""

    level: Literal["wrong", "note"]
    place: str  # TABLE.STEP.REASON, TABLE.STEP.OPTION, TABLE.STEP, or what else is meant
    what: str
    fix: str


class RuleFired(BaseModel):
    """A rule, and what it caught of a sample and of the canaries."""

    rule: str  # TABLE.STEP.REASON
    condition: str
    rows: int  # documents of the sample that reached its table
    failed: int
    canaries: list[str] = []  # those that fail it, the shortest text first


class CanaryOutcome(BaseModel):
    """A planted document, what should become of it, and whether it did."""

    name: str
    expected: str
    passed: bool
    message: str = ""
    fix: str = ""


class RecipeCheck(BaseModel):
    """Whether a recipe does what it says: `curate check`."""

    name: str
    documents: int  # of the sample
    kept: int
    rules: list[RuleFired] = []
    canaries: list[CanaryOutcome] = []
    findings: list[Finding] = []  # what is wrong first

    @property
    def wrong(self) -> int:
        """How many findings are faults."""
        return sum(finding.level == "wrong" for finding in self.findings)


class Sample(BaseModel):
    """A document as an example in a report; its text is masked and cut before it gets here."""

    id: str
    place: str  # URL, or path and number of the record
    title: str = ""
    table: str = "corpus"  # the table whose verdict it shows
    step: str = ""  # what dropped it, or "" for a document that is kept
    reason: str = ""
    text: str = ""
