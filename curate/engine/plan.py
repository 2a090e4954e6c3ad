"""Planning: a recipe's steps with their stages, options and rules, all checked, and fingerprints.

Everything that can be wrong in a recipe is found here, before the first document is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
import pyarrow as pa
from pydantic import ValidationError

from curate.dedup.options import OPTIONS, CorpusOptions
from curate.engine.keepers import check_corpus_options
from curate.engine.rules import Rule, read_rule
from curate.engine.stage import BESIDE_RECIPE, Options, Stage, find_stage, stage_names
from curate.lake.digest import digest_json
from schemas.errors import RecipeError, RuleError, UsageError, did_you_mean
from schemas.recipe import Recipe, Step
from schemas.source import ROLES
from schemas.tables import DOCUMENT_COLUMNS, TABLES, content_schema

T = TypeVar("T", bound=Options)

CORPUS_STAGES = tuple(OPTIONS)  # need the whole corpus at once
# Columns that the engine and the index put beside a document's own.
_TAKEN = {column.name for table in ("corpus", "filtered", "chunks") for column in TABLES[table].columns} | {
    *DOCUMENT_COLUMNS, "document_key", "home", "home_key", "file", "row", "document_id", "chunk_id",
}  # fmt: skip
PASSAGES = "passages"  # what a step may read of the whole corpus: see curate/engine/passages.py
KEEP_TYPES = {"string": pl.String, "int": pl.Int64, "float": pl.Float64, "bool": pl.Boolean}


@dataclass(frozen=True)
class PlannedStep:
    """A step whose stage, options and rules are known to be right."""

    name: str
    stage: Stage | None  # None for `extract` and what compares documents
    options: Options
    rules: dict[str, Rule]


@dataclass(frozen=True)
class PlannedTable:
    """A table with its steps. `kind`: documents, measured, or deduplicated."""

    name: str
    kind: str
    steps: tuple[PlannedStep, ...]

    @cached_property
    def measured(self) -> list[tuple[str, pa.StructType]]:
        """Name and measurements of each step."""
        return [(step.name, step.stage.measures) for step in self.steps if step.stage]

    @property
    def schema(self) -> pa.Schema:
        """Arrow schema of the content of a measured table."""
        return content_schema(self.measured)

    @property
    def own(self) -> set[str]:
        """Names of its steps."""
        return {step.name for step in self.steps}

    @property
    def reads(self) -> list[str]:
        """What its steps read beside the text and each other: part of the key of its rows."""
        names = [name for step in self.steps if step.stage for name in step.stage.reads]
        return sorted({name for name in names if name.split(".")[0] not in self.own})

    @cached_property
    def fingerprint(self) -> str:
        """Digest of all that makes its rows, but for their input; not of rules."""
        return digest_json([_step_fingerprint(step) for step in self.steps])


@dataclass(frozen=True)
class Plan:
    """A recipe that can be run."""

    recipe: Recipe
    tables: tuple[PlannedTable, ...]
    keep: dict[str, pl.DataType]  # the user's own columns, typed

    def table(self, name: str) -> PlannedTable:
        """A table by name.

        Raises:
            RecipeError: no such table.
        """
        for table in self.tables:
            if table.name == name:
                return table
        raise RecipeError(
            f'There is no table "{name}".', hint=did_you_mean(name, [table.name for table in self.tables])
        )

    def before(self, name: str) -> tuple[PlannedTable, ...]:
        """The tables before that one, from `documents` on."""
        names = [table.name for table in self.tables]
        return self.tables[: names.index(name)]

    def steps_asked_by(self, table: PlannedTable) -> set[str]:
        """Steps whose measurements a measured table asks for: its rules and keys, the language, what was redacted."""
        named = {column for step in table.steps for rule in step.rules.values() for column in rule.columns}
        told = {
            step.name
            for other in self.tables
            for step in other.steps
            if step.stage and step.stage.name in ("langid", "anonymize")
        }
        return {name.split(".")[0] for name in {*named, *table.reads}} | told

    def columns_of(self, name: str) -> list[str]:
        """Where the sources have a column of one's own: under its name, or as their `columns` say."""
        sources = self.recipe.sources.values()
        return list(dict.fromkeys(source.columns.get(name, name) for source in sources)) or [name]

    @property
    def document_schema(self) -> dict[str, pl.DataType]:
        """Columns of a document that rules may name."""
        base = {name: pl.Int32() if name == "chars" else pl.String() for name in DOCUMENT_COLUMNS}
        return {**base, **self.keep}


def make_plan(recipe: Recipe) -> Plan:
    """Check every stage, option and rule of a recipe.

    Raises:
        RecipeError: unknown stage or option, or a value of the wrong type.
        RuleError: a rule that cannot be judged.
    """
    keep = _kept_columns(recipe)
    tables: list[PlannedTable] = []
    plan = Plan(recipe, (), keep)
    for name in recipe.order:
        steps = tuple(
            _planned(recipe, name, step, plan, recipe.tables[name][:number])
            for number, step in enumerate(recipe.tables[name])
        )
        _refuse_taken_names(recipe, name, steps, tables)
        tables.append(PlannedTable(name, _kind(recipe, name, steps), steps))
        plan = Plan(recipe, tuple(tables), keep)
    _refuse_unknown_groups(plan)
    return plan


def _refuse_unknown_groups(plan: Plan) -> None:
    for column in plan.recipe.report.by:
        if column not in plan.document_schema:
            raise RecipeError(
                f'{plan.recipe.path or "the recipe"}: [report] by names "{column}", which no document has.',
                hint=f"{did_you_mean(column, plan.document_schema)} Columns of one's own are listed under keep.",
            )


def refuse_idle_columns(plan: Plan) -> None:
    """Where the result has the shape of the input, a column of one's own is for what names it, else a slip.

    Raises:
        RecipeError: a source's `columns` give a name that is no role, and no rule, key or keeper names it.
    """
    named = {
        column
        for table in plan.tables
        for step in table.steps
        for rule in step.rules.values()
        for column in rule.columns
    }
    named |= {column for table in plan.tables for column in table.reads} | set(plan.recipe.report.by)
    compared = [
        step.options
        for table in plan.tables
        for step in table.steps
        if isinstance(step.options, CorpusOptions)
    ]
    texts = [getattr(options, key, "") for options in compared for key in ("within", "keeper", "by")]
    for source in plan.recipe.sources.values():
        for name, column in source.columns.items():
            if name in ROLES or name in named or any(name in text for text in texts):
                continue
            raise RecipeError(
                f'columns say that "{name}" is in "{column}", and nothing asks for a column {name}.',
                hint=f"{did_you_mean(name, ROLES)} Another name is for a rule, for within or for a keeper.",
            )


def _refuse_taken_names(
    recipe: Recipe, table: str, steps: tuple[PlannedStep, ...], before: list[PlannedTable]
) -> None:
    """The name of a step is that of its measurements: no other column, and no earlier step, may bear it.

    Nor one that differs in capital letters only: Delta Lake takes both for the same column.
    """
    earlier = {name.lower(): other.name for other in before for name, _ in other.measured}
    for step in steps:
        if step.stage is None:
            continue
        own = {field.name for field in step.stage.measures}
        name = step.name.lower()
        if name in _TAKEN | own or name in earlier:
            what = f"a step of {earlier[name]}" if name in earlier else "a column of every document"
            raise RecipeError(
                f"{recipe.path or 'the recipe'}: [{table}.{step.name}] is called like {what}.",
                hint=f'Give it a name of its own: [{table}.my_{step.name}] and use = "{step.stage.name}"',
            )
        earlier[name] = table


def _kept_columns(recipe: Recipe) -> dict[str, pl.DataType]:
    kept: dict[str, pl.DataType] = {}
    for source, options in recipe.sources.items():
        for column, kind in options.kept.items():
            if column.lower() in _TAKEN or any(
                step.name.lower() == column.lower() for steps in recipe.tables.values() for step in steps
            ):
                raise RecipeError(
                    f'[sources.{source}] keeps "{column}", a name that every document has.',
                    hint="Rename the column in the file, or leave it out of keep.",
                )
            if same := [other for other in kept if other != column and other.lower() == column.lower()]:
                raise RecipeError(
                    f'[sources.{source}] keeps "{column}" beside "{same[0]}", which Delta Lake takes for the same column.',
                    hint="Rename one of them in the file, or leave it out of keep.",
                )
            if kept.setdefault(column, KEEP_TYPES[kind]()) != KEEP_TYPES[kind]():
                raise RecipeError(
                    f'Two sources keep "{column}" with different types.', hint="Give it one type in both."
                )
    return kept


def _kind(recipe: Recipe, table: str, steps: tuple[PlannedStep, ...]) -> str:
    if table == "documents":
        return "documents"
    corpus = [step for step in recipe.tables[table] if step.stage in CORPUS_STAGES]
    whole = [step for step in steps if step.stage and PASSAGES in step.stage.reads]
    if (corpus and len(corpus) < len(steps)) or (whole and len(steps) > 1):
        name = (corpus or whole)[0].name
        raise RecipeError(
            f"{table} mixes {name}, which needs all documents at once, with steps for one document.",
            hint=f'Give them tables of their own: order = ["documents", ..., "{table}", "my_table", "corpus"]',
        )
    return "deduplicated" if corpus else "measured"


def _planned(recipe: Recipe, table: str, step: Step, plan: Plan, before: tuple[Step, ...]) -> PlannedStep:
    where = f"{recipe.path or 'the recipe'}: [{table}.{step.name}]"
    model, stage = _stage(table, step, where)
    options = read_options(recipe, model, step.options, where)
    schema = _rule_schema(plan, table, step, stage, before)
    if isinstance(options, CorpusOptions):
        check_corpus_options(options, schema, recipe.sources, where)
    return PlannedStep(
        step.name,
        stage,
        options,
        {reason: _rule(sql, schema, f"{where} drop.{reason}") for reason, sql in step.drop.items()},
    )


def read_options(recipe: Recipe, model: type[T], given: Mapping[str, Any], where: str) -> T:
    """Options of a stage as a recipe gives them, with paths that begin at the recipe's folder.

    Raises:
        RecipeError: an option that there is none of, or a value that it cannot have; `where` it stands.
    """
    try:
        options = model.model_validate(given)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            raise RecipeError(
                f'{where} has no option "{key}".', hint=did_you_mean(key, [*model.model_fields, "drop"])
            ) from None
        field = model.model_fields.get(str(fault["loc"][0])) if fault["loc"] else None
        hint = (
            f"{key}: {field.description}" if field and field.description else "See docs/reference/stages.md."
        )
        # What options are together has no key, and all of them are its input.
        what = f"{where} {key} = {fault['input']!r}" if key else where
        if fault["type"] == "missing":
            raise RecipeError(f"{where} has no {key}, which it needs.", hint=hint) from None
        raise RecipeError(f"{what}: {fault['msg'].removeprefix('Value error, ')}.", hint=hint) from None
    except UsageError as error:
        raise RecipeError(f"{where}: {error.message}", hint=error.hint) from None
    paths = {name: getattr(options, name) for name in _paths(model)}
    found = {name: str(recipe.folder / Path(path).expanduser()) for name, path in paths.items() if path}
    return options.model_copy(update=found)


def _paths(model: type[Options]) -> set[str]:
    """The options that name a file: what they stand for is in a fingerprint, not where it lies."""
    return {name for name, field in model.model_fields.items() if BESIDE_RECIPE in field.metadata}


def _stage(table: str, step: Step, where: str) -> tuple[type[Options], Stage | None]:
    """The options model of a step, and its stage if it looks at one document."""
    if table == "documents":
        if step.stage != "extract":
            raise RecipeError(
                f"{where}: the table documents only reads; stages begin at text.",
                hint=f"Move it: [filtered.{step.name}]",
            )
        from curate.sources.extract import ExtractOptions

        return ExtractOptions, None
    if step.stage in CORPUS_STAGES:
        return OPTIONS[step.stage], None
    try:
        stage = find_stage(step.stage)
    except RecipeError:
        names = [*stage_names(), *CORPUS_STAGES]
        raise RecipeError(
            f'{where}: there is no stage "{step.stage}".', hint=did_you_mean(step.stage, names)
        ) from None
    return stage.options, stage


def _rule_schema(
    plan: Plan, table: str, step: Step, stage: Stage | None, before: tuple[Step, ...]
) -> dict[str, pl.DataType]:
    """What a rule of this step may name: its own measurements, earlier steps, columns of the document."""
    schema = dict(plan.document_schema)
    for planned in plan.tables:
        schema.update({name: polars_type(kind) for name, kind in planned.measured})
    for earlier in before:
        if earlier.stage not in CORPUS_STAGES and table != "documents":
            schema[earlier.name] = polars_type(find_stage(earlier.stage).measures)
    if stage:
        _refuse_unmeasured(table, step, stage, schema)
        schema[step.name] = polars_type(stage.measures)
        schema.update({field.name: polars_type(field.type) for field in stage.measures})
    return schema


def _refuse_unmeasured(table: str, step: Step, stage: Stage, schema: Mapping[str, pl.DataType]) -> None:
    """What a stage reads is a column of the document, or a measurement of a step before it."""
    for name in set(stage.reads) - {PASSAGES}:
        owner, _, field = name.partition(".")
        kind = schema.get(owner)
        fields = [part.name for part in kind.fields] if isinstance(kind, pl.Struct) else []
        if kind is None or (field and field not in fields):
            raise RecipeError(
                f"[{table}.{step.name}] reads {name}, and no step before it measures that.",
                hint=f"Put [{table}.{owner}] before it.",
            )


def _rule(sql: str, schema: dict[str, pl.DataType], where: str) -> Rule:
    try:
        return read_rule(sql, schema)
    except RuleError as error:
        raise RuleError(f"{where}: {error.message}", hint=error.hint) from None


def polars_type(kind: pa.DataType) -> pl.DataType:
    """The Polars type of an Arrow type."""
    return pl.DataFrame(pa.table({"x": pa.nulls(0, kind)})).schema["x"]


def _step_fingerprint(step: PlannedStep) -> dict[str, Any]:
    stage = step.stage
    if stage is None:
        return {"name": step.name, "options": step.options.model_dump()}
    models = stage.models(step.options) if stage.models else ()
    return {
        "name": step.name,
        "stage": stage.name,
        "version": stage.version,
        "options": step.options.model_dump(exclude=_paths(type(step.options))),
        "models": list(models),
        "libraries": library_versions(stage.libraries),
    }


def library_versions(names: Iterable[str]) -> dict[str, str]:
    """Installed version of each distribution; "" if it is missing."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = ""
    return found
