"""Whether a recipe does what it says: tried on a sample, and on texts that it should catch. `curate check`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from curate.dedup.options import MinhashOptions
from curate.engine.canary_texts import canary_texts
from curate.engine.check_findings import (
    ADDRESS,
    canary_findings,
    dropped,
    fired,
    language_canary,
    masked,
    rule_findings,
    unused_steps,
)  # fmt: skip
from curate.engine.checks import anonymize_steps
from curate.engine.judge import judge
from curate.engine.measure import with_keys
from curate.engine.passages import with_passages
from curate.engine.plan import CORPUS_STAGES, Plan, PlannedStep, make_plan
from curate.engine.progress import Progress
from curate.engine.run import run_tables
from curate.engine.session import Session
from curate.engine.standing import standing
from curate.engine.workers import Workers
from curate.lake.lake import Lake
from curate.reports.numbers import plural
from schemas.answers import CanaryOutcome, Finding, RecipeCheck
from schemas.recipe import Recipe, build_recipe

_NAME = "check"
_BASES = 3  # kept documents of the sample that canaries are made of


def check_recipe(recipe: Recipe, sample: Sequence[str | Path], *, limit: int = 1_000) -> RecipeCheck:
    """Try a recipe in a folder that is thrown away: on at most `limit` documents of a sample, and on canaries.

    Raises:
        CurateError: the recipe cannot be run at all.
    """
    files = [str(Path(file).expanduser().absolute()) for file in sample]
    with tempfile.TemporaryDirectory(prefix="curate-check-") as folder:
        trial = _Trial(recipe, files, Path(folder), limit)
        return trial.outcome()


class _Trial:
    """A recipe, a sample, and lakes of their own in a folder."""

    def __init__(self, recipe: Recipe, files: list[str], folder: Path, limit: int) -> None:
        self.recipe, self.folder, self.limit = recipe, folder, limit
        sources = [source for source in recipe.resolved["sources"].values() if isinstance(source, dict)]
        keep: dict[str, str] = {}
        for source in sources:
            keep.update(source.get("keep", {}))
        columns: dict[str, str] = next((source["columns"] for source in sources if source.get("columns")), {})
        name = next(iter(recipe.sources))  # rules may name it
        self.source = {name: {"files": files, "columns": columns, "keep": keep}}
        self.plan = self.planned(self.source)

    def outcome(self) -> RecipeCheck:
        """Run everything, and say what is wrong."""
        report = run_tables(self.plan, self.folder / "sample", workers=1, limit=self.limit)
        read, kept = report.table("documents").rows, report.table("corpus").kept
        caught = self.caught()
        rules = [
            fired(
                table.table,
                reason,
                table.rows,
                caught.get(f"{table.table}.{reason.step}.{reason.reason}", []),
            )
            for table in report.tables
            for reason in table.reasons
            if reason.rule
        ]
        canaries = [*self.planted(), *language_canary(self.plan, caught)] if kept else []
        findings = [
            *_sample_findings(read, kept),
            *rule_findings(rules),
            *canary_findings(canaries),
            *unused_steps(self.plan),
            *(self.idle_options() if kept else ()),
        ]
        return RecipeCheck(
            name=self.recipe.name,
            documents=read,
            kept=kept,
            rules=rules,
            canaries=canaries,
            findings=sorted(findings, key=lambda finding: finding.level != "wrong"),
        )

    def planned(self, sources: Mapping[str, Any], change: Mapping[str, Any] | None = None) -> Plan:
        """The recipe over other sources, with nothing after the corpus; `change` replaces whole tables."""
        left_out = {"index", "tokens", "exports", "checks", "report"}
        data = {key: value for key, value in self.recipe.resolved.items() if key not in left_out}
        data = {**data, **(change or {}), "name": _NAME, "sources": dict(sources)}
        return make_plan(build_recipe(data, None, self.recipe.path))

    def rows(self, name: str, texts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """A source of rows, in place of the sample."""
        file = self.folder / f"{name}.jsonl"
        file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in texts), "utf-8")
        (source,) = self.source.items()
        return {source[0]: {**source[1], "files": [str(file)], "columns": {}}}

    def caught(self) -> dict[str, list[str]]:
        """TABLE.STEP.REASON → canaries that it catches, the shortest first; every rule sees all of them."""
        texts = sorted(canary_texts().items(), key=lambda item: len(item[1]))
        sources = self.rows("canaries", [{"text": text, "title": name} for name, text in texts])
        tables = {
            table: {step: _without_rules(value) for step, value in self.recipe.resolved.get(table, {}).items() if step not in self.deduplicating(table)}
            for table in self.recipe.order
        }  # fmt: skip
        plan = self.planned(sources, tables)
        run_tables(plan, self.folder / "canaries", workers=1)
        home = Lake(self.folder / "canaries")
        session, head = Session(home, plan, Workers(1), Progress()), home.head()
        found: dict[str, list[str]] = {}
        for table, open_table in zip(self.plan.tables, plan.tables, strict=True):
            if table.kind == "deduplicated":
                continue
            rows = standing(session, head, table.name if table.kind != "documents" else plan.tables[1].name)
            if table.kind == "measured":
                rows = with_keys(with_passages(session, head, open_table, rows), open_table)
                content = home.content(table.name, open_table.fingerprint, open_table.schema).scan()
                rows = (
                    rows.lazy()
                    .join(content.drop("text", "digest_out"), on="key", maintain_order="left")
                    .collect()
                )
            else:
                rows = rows.with_columns(key="document_key")
            verdicts, _ = judge(rows, table)
            for title, failed in rows.select("title").with_columns(verdicts.get_column("failed")).iter_rows():
                for name in failed:
                    found.setdefault(f"{table.name}.{name}", []).append(title)
        names = [name for name, _ in texts]
        return {rule: sorted(titles, key=names.index) for rule, titles in found.items()}

    def deduplicating(self, table: str) -> set[str]:
        """Names of the steps that need the whole corpus."""
        return {step.name for step in self.recipe.tables[table] if step.stage in CORPUS_STAGES}

    def planted(self) -> Iterator[CanaryOutcome]:
        """A copy, a near copy, and an address, planted into documents of the sample that are kept."""
        bases = self.bases()
        texts = {"an exact copy": bases[0]["text"], "a near copy": f"{bases[0]['text']} And one more."}
        rows = [{**bases[0], "title": "original"}] + [
            {**bases[0], "text": text, "title": name} for name, text in texts.items()
        ]
        rows.append(
            {
                **bases[-1],
                "text": f"{bases[-1]['text']}\n\nWrite to {ADDRESS} for more.",
                "title": "an e-mail address",
            }
        )
        plan = self.planned(self.rows("planted", rows))
        run_tables(plan, self.folder / "planted", workers=1)
        home = Lake(self.folder / "planted")
        head = home.head()
        corpus = home.read(_NAME, "corpus", head).select("title", "text").collect()
        kept = dict(corpus.iter_rows())
        fate = _fates(home, plan, rows)
        steps = [step for table in self.plan.tables if table.kind == "deduplicated" for step in table.steps]
        names = {step.name for step in steps}
        if steps:
            yield dropped("an exact copy", fate, names)
        if any(isinstance(step.options, MinhashOptions) for step in steps):
            yield dropped("a near copy", fate, names)
        if any("email" in step.options.kinds for step in anonymize_steps(self.plan.tables)):  # type: ignore[attr-defined]
            yield masked(kept, fate)

    def bases(self) -> list[dict[str, Any]]:
        """Kept documents of the sample, the longest first, with the text as read and the columns that rules may name."""
        home = Lake(self.folder / "sample")
        head = home.head()
        session = Session(home, self.plan, Workers(1), Progress())
        kept = home.read(_NAME, "verdicts/corpus", head).filter("kept").select("id").collect()
        rows = standing(session, head, self.plan.tables[1].name).join(kept, on="id", how="semi")
        rows = rows.sort(pl.col("chars").clip(0, 20_000), "place", descending=[True, False]).head(_BASES)
        content = home.content("documents", session.fingerprint(self.plan.tables[0], head)).scan()
        texts = content.select(document_key="key", text="text").join(
            rows.lazy().select("document_key"), on="document_key", how="semi"
        )
        named = rows.join(texts.collect(), on="document_key", maintain_order="left")
        return named.select("text", "url", "date", "author", *self.plan.keep).to_dicts()

    def idle_options(self) -> Iterator[Finding]:
        """Options that are set, and change nothing on the sample."""
        home = Lake(self.folder / "sample")
        for table in self.plan.tables[1:]:
            for step in table.steps:
                given = self.recipe.tables[table.name]
                options = next(one.options for one in given if one.name == step.name)
                for option in options:
                    if getattr(step.options, option) == type(step.options).model_fields[option].get_default(
                        call_default_factory=True
                    ):
                        continue
                    if not self.matters(home, table.name, step, option):
                        yield Finding(
                            level="note",
                            place=f"{table.name}.{step.name}.{option}",
                            what="changes nothing on the sample",
                            fix="Take a sample with what it is for, or leave the line out.",
                        )

    def matters(self, home: Lake, table: str, step: PlannedStep, option: str) -> bool:
        """Whether the sample is measured or judged otherwise with the option's default."""
        steps = {
            name: {key: value for key, value in given.items() if (name, key) != (step.name, option)}
            for name, given in self.recipe.resolved[table].items()
        }
        plan = self.planned(self.source, {table: steps})
        before = _measured_and_judged(home, self.plan, table)
        run_tables(
            plan,
            home.root,
            tables=[name.name for name in plan.tables if name.name == table],
            workers=1,
            limit=self.limit,
        )
        after = _measured_and_judged(home, plan, table)
        # As it was, for the next option.
        run_tables(self.plan, home.root, tables=[table], workers=1, limit=self.limit)
        return not before.equals(after)


def _sample_findings(read: int, kept: int) -> Iterator[Finding]:
    if not read:
        yield Finding(
            level="wrong", place="the sample", what="holds no document",
            fix="Name a file that a source of the recipe could hold.",
        )  # fmt: skip
    elif not kept:
        yield Finding(
            level="wrong", place="the sample", what=f"none of its {plural(read, 'document')} is kept",
            fix="The rules above take them.",
        )  # fmt: skip


def _measured_and_judged(home: Lake, plan: Plan, name: str) -> pl.DataFrame:
    """Verdicts of a table with what was measured, by id."""
    table = plan.table(name)
    verdicts = home.read(_NAME, f"verdicts/{name}").select("id", "key", "failed", "duplicate_of")
    if table.kind == "measured":
        content = home.content(name, table.fingerprint, table.schema).scan()
        steps = [step for step, _ in table.measured]
        verdicts = verdicts.join(content.select("key", "digest_out", *steps), on="key", how="left")
    return verdicts.collect().sort("id")


def _without_rules(step: Any) -> Any:
    return {key: value for key, value in step.items() if key != "drop"} if isinstance(step, dict) else step


def _fates(home: Lake, plan: Plan, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Title of a planted row → TABLE.STEP.REASON that dropped it."""
    places = home.read(_NAME, "verdicts/documents").select("id", "place").collect()
    number = pl.col("place").str.extract(r"#(\d+)$").cast(pl.Int64)
    titles = {at + 1: row["title"] for at, row in enumerate(rows)}
    named = dict(places.select("id", number).iter_rows())
    found = {}
    for table in plan.tables:
        dropped = (
            home.read(_NAME, f"verdicts/{table.name}")
            .filter(~pl.col("kept"))
            .select("id", "step", "reason")
            .collect()
        )
        for row, step, reason in dropped.iter_rows():
            found[titles[named[row]]] = f"{table.name}.{step}.{reason}"
    return found
