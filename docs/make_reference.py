"""Writes docs/reference/*.md from the code: `make docs`. A test compares them with what the code says now.

Commands, options, columns and stages are described where they are defined; only the keys that frame a
recipe, which no model holds, are described here.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow as pa
from cyclopts import App
from pydantic import BaseModel

from curate.cli.app import COMMANDS, FAMILIES, FAMILY_SUMMARY, GROUPS, make_app
from curate.dedup.options import OPTIONS as CORPUS_STAGES
from curate.engine.stage import Stage, find_stage, stage_names
from curate.sources.extract import ExtractOptions
from curate.stages.tokenize import TokenizeOptions
from schemas.checks import CHECKS
from schemas.export import EXPORTS, ExportOptions
from schemas.index import IndexOptions
from schemas.recipe import Bounds, ReportOptions, packaged_recipes
from schemas.source import Source
from schemas.tables import TABLES, Table

FOLDER = Path(__file__).resolve().parent / "reference"
MADE = "<!-- Made from the code by `make docs`. Do not edit. -->\n"
ROOT_KEYS = {
    "name": "small letters, digits, `-` and `_`, at most 64: versions, tables and indexes carry it",
    "extends": "a packaged recipe, or a TOML file beside this one; what follows is merged over it, key by key",
    "order": 'the tables, if not `["documents", "filtered", "deduplicated", "corpus"]`; starts and ends as this does',
    "sources": "where documents come from, see `[sources.NAME]`; at least one",
    "tokens": "token ids of the corpus, see `[tokens.tokenize]`",
    "index": "the index, see `[index]`; without this table there is none",
    "exports": "training sets, see `[exports.NAME]`",
    "checks": "what share of its documents a table may keep, see `[checks.TABLE]`",
    "report": "what the report of a run looks at, see `[report]`",
}
STEP_KEYS = {
    "drop.REASON": "a rule: documents for which this condition is true are dropped for this reason",
    "use": "the stage, if the step is not called like it",
    "after": "the step of the same table that comes before this one; without it, the order of the file",
    "before": "the step of the same table that comes after this one",
}


def pages() -> dict[str, str]:
    """File name → text of every reference page."""
    made = {
        "cli.md": cli(),
        "recipes.md": recipes(),
        "stages.md": stages(),
        "tables.md": tables(),
        "checks.md": checks(),
    }
    return {name: f"{MADE}\n{text.rstrip()}\n" for name, text in made.items()}


def cli() -> str:
    """Every command: its docstring and its parameters."""
    parts = [
        "# The command line",
        (
            "Results go to stdout, everything else to stderr. `--json` prints JSON and nothing else on stdout. "
            "`--debug` shows the traceback of an error. Exit code: 0 done, 1 failed or stopped, 2 wrong use."
        ),
    ]
    for group, names in GROUPS.items():
        rows = [
            (f"[`curate {name}`](#curate-{name})", {**COMMANDS, **FAMILY_SUMMARY}[name]) for name in names
        ]
        parts.append(f"**{group}**\n\n{_grid(('command', 'purpose'), rows)}")
    for name in (name for names in GROUPS.values() for name in names):
        if name in FAMILIES:
            parts.append(f"## curate {name}\n\n{FAMILY_SUMMARY[name]}")
            parts += [
                _command(make_app([name, member])[name][member], f"### curate {name} {member}")
                for member in FAMILIES[name]
            ]
        else:
            parts.append(_command(make_app([name])[name], f"## curate {name}"))
    return "\n\n".join(parts)


def _command(app: App, heading: str) -> str:
    words = (inspect.getdoc(app.default_command) or "").split("\nParameters\n---")[0].strip()
    rows = []
    for argument in app.assemble_argument_collection(parse_docstring=True):
        default = argument.field_info.default
        told = argument.parameter.show_default is not False and default not in ("", None, ())
        shown = "required" if argument.required else f"`{default}`" if told else ""
        choices = f" One of {', '.join(argument.get_choices() or ())}." if argument.get_choices() else ""
        rows.append(
            (
                ", ".join(f"`{name}`" for name in argument.names),
                shown,
                f"{argument.parameter.help or ''}{choices}",
            )
        )
    return f"{heading}\n\n{words}\n\n{_grid(('parameter', 'default', 'meaning'), rows)}"


def recipes() -> str:
    """Keys of a recipe, and the packaged recipes as they are."""
    parts = [
        "# Recipes",
        (
            "How to write one is told in [recipes.md](../recipes.md); stages and their options are in "
            "[stages.md](stages.md). `curate plan` prints a recipe with all that it inherits."
        ),
        "## Keys above the first header\n\n" + _grid(("key", "meaning"), _coded(ROOT_KEYS.items())),
        (
            f"## [sources.NAME]\n\n{_first_line(Source)} `url`, `files` and `allow_private` also take one string "
            f"for a list of one.\n\n{_model(Source)}"
        ),
        "## [TABLE.STEP]\n\nA step: a stage with its options (see [stages.md](stages.md)) and its rules.\n\n"
        + _grid(("key", "meaning"), _coded(STEP_KEYS.items())),
        (
            "## [tokens.tokenize]\n\nToken ids of every text of the corpus, in the table "
            f"[`tokens`](tables.md#tokens): the stage [`tokenize`](stages.md#tokenize).\n\n{_model(TokenizeOptions)}"
        ),
        f"## [index]\n\n{_first_line(IndexOptions)}\n\n{_model(IndexOptions)}",
        (
            "## [checks.TABLE]\n\nWhat share of the documents that reach a table it may keep. All checks are in "
            f"[checks.md](checks.md).\n\n{_model(Bounds)}"
        ),
        f"## [report]\n\n{_first_line(ReportOptions)}\n\n{_model(ReportOptions)}",
        (
            "## [exports.NAME]\n\nA training set, made by `curate export NAME`: see [training.md](../training.md). `kind` "
            f"says what a row is, `text` if it is not given. All kinds have these keys:\n\n{_model(ExportOptions)}"
        ),
        *[_export(kind, model) for kind, model in EXPORTS.items()],
        "## Packaged recipes",
    ]
    for name, purpose in packaged_recipes().items():
        text = resources.files("schemas").joinpath("recipes", f"{name}.toml").read_text("utf-8")
        parts.append(f"### {name}\n\n{purpose}.\n\n```toml\n{text.strip()}\n```")
    return "\n\n".join(parts)


def _export(kind: str, model: type[ExportOptions]) -> str:
    """The keys that only this kind of export has."""
    return f'### kind = "{kind}"\n\n{_first_line(model)}\n\n{_model(model, {*ExportOptions.model_fields, "kind"})}'


def stages() -> str:
    """Every stage: docstring, measurements, options."""
    found = [find_stage(name) for name in stage_names()]
    parts = [
        "# Stages",
        (
            "A stage measures each document; a rule in the recipe decides what is dropped. Rules name measurements: "
            "bare in the step's own rules, as `step.measurement` in those of later steps."
        ),
        _grid(("stage", "purpose"), [(f"[`{stage.name}`](#{stage.name})", stage.purpose) for stage in found]),
        (
            "## extract\n\nReads pages and files; the only step of the table `documents`. Its rules name columns of "
            f"[documents](tables.md#documents).\n\n{_model(ExtractOptions)}"
        ),
        *[_stage(stage) for stage in found],
    ]
    for name, options in CORPUS_STAGES.items():
        purpose = _first_line(options).replace(f"`{name}`: ", "")
        parts.append(f"## {name}\n\nNeeds the whole corpus at once. Drops {purpose}\n\n{_model(options)}")
    return "\n\n".join(parts)


def _stage(stage: Stage) -> str:
    """One stage, without the blocks that would not stand in a page of their own."""
    facts = [f"version {stage.version}"]
    facts += ["rewrites the text"] if stage.rewrites else []
    facts += [f"reads {', '.join(f'`{name}`' for name in stage.reads)}"] if stage.reads else []
    measures = _grid(
        ("measurement", "type"), [(f"`{field.name}`", _type(field.type)) for field in stage.measures]
    )
    module = inspect.cleandoc(inspect.getmodule(stage.run).__doc__ or "")
    text = "\n\n".join([inspect.getdoc(stage.run) or "", module.partition("\n\n")[2]]).strip()
    return f"## {stage.name}\n\n{text}\n\n{'; '.join(facts).capitalize()}.\n\n{measures}\n\n{_model(stage.options)}"


def tables() -> str:
    """Every table: what a row is, its key, its columns."""
    kinds = {
        "content": "append-only, shared by all names, in `content/TABLE/FINGERPRINT/`",
        "state": "what stands for one name, in `NAME/TABLE/`, pinned by a version",
        "log": "append-only: what happened, in the order in which it did",
    }
    parts = [
        "# Tables",
        "Strings are never NULL unless the meaning says so. Ids, keys and digests are 32 hex digits.",
        _grid(("kind", "meaning"), kinds.items()),
        *[_table(table) for table in TABLES.values()],
    ]
    return "\n\n".join(parts)


def _table(table: Table) -> str:
    key = ", ".join(f"`{name}`" for name in table.key)
    rows = [(f"`{column.name}`", _type(column.type), column.meaning) for column in table.columns]
    head = f"## {table.name}\n\n{table.meaning} Kind: {table.kind}. Key: {key}."
    return f"{head}\n\n{_grid(('column', 'type', 'meaning'), rows)}"


def checks() -> str:
    """Every check: where it is made, what a failure does, what is tested."""
    rows = [
        (f"`{name}`", ", ".join(f"`{table}`" for table in known.tables), known.severity, known.meaning)
        for name, known in CHECKS.items()
    ]
    parts = [
        "# Checks",
        (
            "Every table is checked when it has been written, and what came out stands in its report: in the terminal "
            "where a check failed, on the report page, in `curate run --json`, and in Dagster. A **warning** is told. "
            "A **blocking** check that fails ends the run there with exit code 1: nothing is made of that table, and no "
            "index of it goes live. The next run makes the check again."
        ),
        (
            "`measured` stands for `filtered`, `corpus` and tables of your own, `deduplicated` for all that have a step "
            "`exact` or `minhash`. Files never change, so a check that reads texts looks at those that it has not passed "
            "yet; in a run with nothing new it reads none."
        ),
        _grid(("check", "tables", "failure", "what is tested"), rows),
    ]
    return "\n\n".join(parts)


def _model(model: type[BaseModel], told: Collection[str] = ()) -> str:
    """Options of a pydantic model, but for those told elsewhere: key, values, default, meaning."""
    schema = model.model_json_schema()
    rows = []
    for name, field in schema["properties"].items():
        if name in told:
            continue
        default = _value(field["default"]) if field.get("default") is not None else ""
        rows.append((f"`{name}`", _values(field), default, field.get("description", "")))
    return _grid(("option", "values", "default", "meaning"), rows) if rows else "No options."


def _values(field: dict[str, Any]) -> str:
    """What a field takes, in words."""
    if "anyOf" in field:
        return " or ".join(_values(one) for one in field["anyOf"] if one.get("type") != "null")
    if "enum" in field:
        return ", ".join(f'`"{value}"`' for value in field["enum"])
    if "const" in field:
        return f'`"{field["const"]}"`'
    if field["type"] == "array":
        return f"list of {_values(field['items'])}"
    if field["type"] == "object":
        return f"table of {_values(field['additionalProperties'])}"
    limits = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    return ", ".join(
        [field["type"], *(f"{sign} {field[name]:,}" for name, sign in limits.items() if name in field)]
    )


def _value(value: Any) -> str:
    """A default as TOML has it; nothing for what is empty."""
    if value in ("", [], {}):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, dict):
        return "`{ " + ", ".join(f"{name} = {item}" for name, item in value.items()) + " }`"
    if isinstance(value, list):
        return "`[" + ", ".join(f'"{item}"' for item in value) + "]`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value:_}`"


def _type(kind: pa.DataType) -> str:
    """An Arrow type, named alike by all versions of Arrow."""
    if pa.types.is_struct(kind):
        return f"struct of {', '.join(field.name for field in kind)}"
    if pa.types.is_map(kind):
        return f"map of {_type(kind.key_type)} to {_type(kind.item_type)}"
    if pa.types.is_list(kind):
        return f"list of {_type(kind.value_type)}"
    if pa.types.is_timestamp(kind):
        return "timestamp, UTC"
    return {"double": "float64"}.get(str(kind), str(kind).removeprefix("large_"))


def _first_line(model: type[BaseModel]) -> str:
    return (inspect.getdoc(model) or "").split("\n")[0]


def _coded(rows: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(f"`{key}`", meaning) for key, meaning in rows]


def _grid(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def main() -> None:
    """Write the pages."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
