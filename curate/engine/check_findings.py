"""What `curate check` finds in what a recipe did: each finding says what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from curate.engine.canary_texts import LANGUAGE_NAMES
from curate.engine.plan import Plan
from curate.reports.numbers import share
from schemas.answers import CanaryOutcome, Finding, RuleFired
from schemas.report import Reason

ADDRESS = "anna.berg@harbour-office.com"
_HALF = 0.5
_NAMED = 3  # rules in one line


def fired(table: str, reason: Reason, rows: int, canaries: list[str]) -> RuleFired:
    """What a rule caught of the sample and of the canaries."""
    return RuleFired(
        rule=f"{table}.{reason.step}.{reason.reason}",
        condition=reason.rule,
        rows=rows,
        failed=reason.failed,
        canaries=canaries,
    )


def rule_findings(rules: list[RuleFired]) -> Iterator[Finding]:
    """Rules that take more than half, that never fire, and that caught nothing but canaries."""
    for rule in rules:
        if rule.failed > _HALF * rule.rows:
            yield Finding(
                level="wrong", place=rule.rule, what=f"takes {share(rule.failed, rule.rows)} of the sample",
                fix="Look at its histogram in the report of curate clean; is the limit meant so?",
            )  # fmt: skip
        if not rule.failed and not rule.canaries:
            yield Finding(
                level="wrong", place=rule.rule, what="never fired: no document of the sample and no canary fails it",
                fix="Put a document that it should drop into the sample, or mend the condition.",
            )  # fmt: skip
    idle = [rule.rule for rule in rules if rule.canaries and not rule.failed]
    if idle:
        more = f" and {len(idle) - _NAMED} more" if len(idle) > _NAMED else ""
        yield Finding(
            level="note", place=", ".join(idle[:_NAMED]) + more, what="caught canaries, and nothing of the sample",
            fix="A larger sample tells whether that is needed.",
        )  # fmt: skip


def canary_findings(canaries: list[CanaryOutcome]) -> Iterator[Finding]:
    """Canaries that were planted and not caught."""
    for one in canaries:
        if not one.passed:
            yield Finding(level="wrong", place=f"the canary {one.name}", what=one.message, fix=one.fix)


def unused_steps(plan: Plan) -> Iterator[Finding]:
    """Steps that only measure, and whose measurements nothing names."""
    named = {
        name
        for table in plan.tables
        for step in table.steps
        for name in [
            *(column for rule in step.rules.values() for column in rule.columns),
            *(step.stage.reads if step.stage else ()),
        ]
    }
    used = {name.split(".")[0] for name in named if "." in name}
    for table in plan.tables:
        for step in table.steps:
            # The corpus takes its language from langid.
            alone = (
                step.stage is not None
                and not step.rules
                and not step.stage.rewrites
                and step.stage.name != "langid"
            )
            if alone and step.name not in used:
                yield Finding(
                    level="note", place=f"{table.name}.{step.name}", what="has no rule, and nothing uses what it measures",
                    fix=f"Give it one, drop.REASON under [{table.name}.{step.name}], or leave the step out.",
                )  # fmt: skip


def language_canary(plan: Plan, caught: Mapping[str, list[str]]) -> Iterator[CanaryOutcome]:
    """Rules that name a language must catch a text in some other one."""
    rules = {
        f"{table.name}.{step.name}.{reason}"
        for table in plan.tables
        for step in table.steps
        for reason, rule in step.rules.items()
        if any(column.split(".")[-1] == "language" for column in rule.columns)
    }
    if rules:
        texts = {f"{name} text" for name in LANGUAGE_NAMES}
        hits = {rule for rule in rules if texts & set(caught.get(rule, ()))}
        yield CanaryOutcome(
            name="a text in another language",
            expected=f"dropped by {', '.join(sorted(rules))}",
            passed=bool(hits),
            message=""
            if hits
            else f"passes: none of the texts in {', '.join(LANGUAGE_NAMES)} is dropped for its language",
            fix="" if hits else "Write the languages as ISO 639-1 codes: language NOT IN ('en', 'de')",
        )


def dropped(name: str, fate: Mapping[str, str], steps: set[str]) -> CanaryOutcome:
    """Whether a planted copy was dropped by one of the steps that look for copies."""
    by = fate.get(name, "")
    passed = bool(by) and by.split(".")[1] in steps
    told = f"dropped by {by}, not as a duplicate" if by else "passes: it is kept beside what it copies"
    return CanaryOutcome(
        name=name,
        expected="dropped as a duplicate",
        passed=passed,
        message="" if passed else told,
        fix=""
        if passed
        else f"Look at {' and '.join(sorted(steps))}: the threshold, and what stands before.",
    )


def masked(kept: Mapping[str, str], fate: Mapping[str, str]) -> CanaryOutcome:
    """Whether a planted e-mail address was replaced. `kept`: title → text of the corpus."""
    name = "an e-mail address"
    text = kept.get(name)
    passed = text is not None and ADDRESS not in text
    lost = f"cannot be tried: dropped by {fate.get(name, 'nothing that is known')}"
    told = lost if text is None else "stands in the corpus"
    return CanaryOutcome(
        name=name,
        expected="replaced by anonymize",
        passed=passed,
        message="" if passed else told,
        fix="" if passed else "Look at allow and kinds of anonymize, and at the rules that took it.",
    )
