"""What the commands that look answer: `curate why`, `plan`, `diff` and `check`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from schemas.report import Reason


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
