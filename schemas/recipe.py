"""The recipe: a whole way from sources to an index, as one TOML file.

`load_recipe` reads the file, follows `extends`, merges key by key, and checks every name. Stages, their
options and rules are checked by `curate.engine.plan`, which knows them. A recipe is a program (a source
may name a `loader`): run one as you would a Makefile.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.errors import RecipeError, did_you_mean
from schemas.export import EXPORTS, Export
from schemas.index import IndexOptions
from schemas.source import Source

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
RESERVED = {"content", "runs", "con", "nul", "aux", "prn"}
DEFAULT_ORDER = ("documents", "filtered", "deduplicated", "corpus")
_MAX_BYTES, _MAX_LINE, _MAX_EXTENDS = 256 * 1024, 8 * 1024, 8
_ROOT_KEYS = {"name", "extends", "order", "sources", "tokens", "index", "exports", "checks", "report"}
_STEP_WORDS = {"use", "after", "before", "drop"}


class Bounds(BaseModel):
    """What share of the documents a table may keep: `[checks.TABLE]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_kept: float = Field(0.0, ge=0, le=1, description="a run that keeps a smaller share stops there")
    max_kept: float = Field(1.0, ge=0, le=1, description="a run that keeps a larger share stops there")
    max_change: float = Field(
        0.2, ge=0, le=1, description="warn where the share differs by more than this from the last run"
    )


class ReportOptions(BaseModel):
    """What reports look at: `[report]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: list[str] = Field(
        [], description="columns by whose values drop rates are told, as by language and source"
    )


class Step(BaseModel):
    """A stage with its options and rules, at its place in a table."""

    model_config = ConfigDict(frozen=True)

    name: str
    stage: str
    options: dict[str, Any]
    drop: dict[str, str]


class Recipe(BaseModel):
    """A resolved recipe: `extends` followed, steps in their order."""

    model_config = ConfigDict(frozen=True)

    name: str
    path: str
    order: tuple[str, ...]
    sources: dict[str, Source]
    tables: dict[str, tuple[Step, ...]]
    tokens: dict[str, Any] | None
    index: IndexOptions | None
    exports: dict[str, Export]
    checks: dict[str, Bounds]
    report: ReportOptions
    resolved: dict[str, Any]

    @property
    def folder(self) -> Path:
        """Where relative paths of the recipe start."""
        return Path(self.path).parent if self.path else Path.cwd()


def packaged_recipes() -> dict[str, str]:
    """Name → first comment line of every recipe in the package."""
    found = {}
    for file in sorted(resources.files("schemas").joinpath("recipes").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".toml"):
            found[file.name.removesuffix(".toml")] = file.read_text("utf-8").split("\n")[0].removeprefix("# ")
    return found


def load_recipe(path: str | Path, overrides: dict[str, Any] | None = None) -> Recipe:
    """The recipe in a TOML file, with `overrides` merged over it.

    Raises:
        RecipeError: the file, and the first thing in it that is wrong, with its line.
    """
    file = Path(path)
    if not file.is_file():
        raise RecipeError(f"There is no recipe {file}.", hint=_other_recipe(file))
    text = _read(file)
    return build_recipe(_parse(text, str(file)), overrides, str(file), text)


def _other_recipe(file: Path) -> str:
    """What to type where there is no recipe of that name."""
    packaged = packaged_recipes()
    if str(file) in packaged:
        return f"It is a packaged one, without sources: curate init URL|FILES... --extends {file} writes one that has them."
    beside = [str(file.with_name(other.name)) for other in file.parent.glob("*.toml")]
    near = difflib.get_close_matches(str(file), [*packaged, *beside], n=1)
    asked = f'Did you mean "{near[0]}"? ' if near else ""
    return f"{asked}curate init URL|FILES... writes one."


def build_recipe(
    data: dict[str, Any], overrides: dict[str, Any] | None = None, path: str = "", text: str = ""
) -> Recipe:
    """The recipe that a parsed TOML document describes; `path` and `text` are for places in errors."""
    given = overrides or {}
    layers = [{**data, "extends": given["extends"]} if "extends" in given else data]
    seen: list[str] = []
    while "extends" in layers[0]:
        layers.insert(0, _base(layers[0]["extends"], path, seen))
    merged: dict[str, Any] = {}
    for layer in [*layers, given]:
        own = {key: value for key, value in layer.items() if key != "extends"}
        merged = _merge(merged, own, path or "the recipe")
    return _checked(merged, path, text)


def _read(file: Path) -> str:
    size = file.stat().st_size
    if size > _MAX_BYTES:
        raise RecipeError(
            f"{file} has {size:,} bytes; a recipe has at most {_MAX_BYTES:,}.", hint="Is this the right file?"
        )
    text = file.read_text("utf-8", errors="replace")
    if any(len(line) > _MAX_LINE for line in text.split("\n")):
        raise RecipeError(
            f"{file} has a line of over {_MAX_LINE:,} characters.", hint="Break the list over several lines."
        )
    return text


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        hint = "See docs/reference/recipes.md for the form of a recipe."
        if "\\" in str(error) or "escape" in str(error):
            hint = "Backslashes need three single quotes: drop.x = '''title ~ '\\d+' '''"
        raise RecipeError(f"{where} is no TOML: {error}", hint=hint) from None
    except RecursionError:
        raise RecipeError(f"{where} is nested too deep.", hint="Is this the right file?") from None


def _base(extends: Any, path: str, seen: list[str]) -> dict[str, Any]:
    """The recipe that another extends: a packaged name, or a file beside it."""
    packaged = packaged_recipes()
    if not isinstance(extends, str):
        raise RecipeError(
            f"extends in {path or 'the recipe'} is {extends!r}, not a name.", hint=did_you_mean("", packaged)
        )
    if extends in seen or len(seen) >= _MAX_EXTENDS:
        raise RecipeError(
            f"extends goes in a circle: {' → '.join([*seen, extends])}.", hint="Remove one of them."
        )
    seen.append(extends)
    if extends in packaged:
        text = resources.files("schemas").joinpath("recipes", f"{extends}.toml").read_text("utf-8")
        return tomllib.loads(text)
    file = Path(path).parent / extends
    if not (extends.endswith(".toml") and file.is_file()):
        raise RecipeError(
            f'{path or "The recipe"} extends "{extends}", which is neither packaged nor a file.',
            hint=did_you_mean(extends, packaged),
        )
    return _parse(_read(file), str(file))


def _merge(base: dict[str, Any], over: dict[str, Any], where: str, at: str = "") -> dict[str, Any]:
    """`over` on top of `base`, key by key; lists are replaced.

    `false` removes a table, a step or a reason that the base has; elsewhere it is a value.
    """
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        is_reason = at.endswith(".drop")
        is_step = bool(at) and "." not in at and at not in {"sources", "index"}
        if isinstance(value, dict):
            merged[key] = _merge(
                old if isinstance(old, dict) else {}, value, where, f"{at}.{key}" if at else key
            )
        elif value is False and (isinstance(old, dict) or is_reason or is_step):
            if key not in merged:
                raise RecipeError(
                    f"{where} switches {at}.{key} off, which is not there.", hint=did_you_mean(key, base)
                )
            del merged[key]
        else:
            merged[key] = value
    return merged


def _checked(data: dict[str, Any], path: str, text: str) -> Recipe:
    where = path or "the recipe"
    order = tuple(data.get("order", DEFAULT_ORDER))
    if order[:1] != ("documents",) or order[-1:] != ("corpus",):
        raise RecipeError(
            f"order in {where} is {list(order)}.", hint='It starts with "documents" and ends with "corpus".'
        )
    known = _ROOT_KEYS | set(order)
    for key in data:
        if key not in known:
            raise RecipeError(
                f'{_at(path, text, key)}: there is no table or key "{key}" in a recipe.',
                hint=did_you_mean(key, known),
            )
    name = data.get("name", "")
    if not isinstance(name, str) or not NAME.fullmatch(name) or name in RESERVED:
        raise RecipeError(
            f"{_at(path, text, 'name')}: name is {name!r}.",
            hint='Put name = "acme-docs" above the first [header]: small letters, digits, - and _, at most 64.',
        )
    sources = {key: _source(key, value, path, text) for key, value in _table(data, "sources", where).items()}
    if not sources:
        raise RecipeError(
            f"{where} has no source.",
            hint='Add one: [sources.site] and url = "https://docs.example.org/", or files = "docs/**/*.md".',
        )
    tables = {table: _steps(table, _table(data, table, where), where) for table in order}
    index = _index(data.get("index"), path, text)
    tokens = _table(data, "tokens", where) if data.get("tokens") else None
    return Recipe(
        name=name,
        path=path,
        order=order,
        sources=sources,
        tables=tables,
        tokens=tokens,
        index=index,
        exports=_exports(data, path, text),
        checks=_checks(data, order, path, text),
        report=_report(data, path, text),
        resolved=data,
    )


def _table(data: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    value = data.get(key, {})
    if not isinstance(value, dict):
        raise RecipeError(
            f"{key} in {where} is {value!r}, not a table.", hint=f"Write [{key}.NAME] and its keys below."
        )
    return value


def _source(name: str, value: Any, path: str, text: str) -> Source:
    if not NAME.fullmatch(name):
        raise RecipeError(
            f'{_at(path, text, name, "sources")}: a source is called "{name}".',
            hint="Use small letters, digits, - and _.",
        )
    try:
        return Source.model_validate(value)
    except ValidationError as error:
        raise _first(error, f"sources.{name}", Source, path, text) from None


def _index(value: Any, path: str, text: str) -> IndexOptions | None:
    if value is None or value is False:
        return None
    try:
        return IndexOptions.model_validate(value)
    except ValidationError as error:
        raise _first(error, "index", IndexOptions, path, text) from None


def _exports(data: dict[str, Any], path: str, text: str) -> dict[str, Export]:
    found: dict[str, Export] = {}
    for name, value in _table(data, "exports", path or "the recipe").items():
        place = f"exports.{name}"
        if not NAME.fullmatch(name):
            raise RecipeError(
                f'{_at(path, text, name, "exports")}: an export is called "{name}".',
                hint="Use small letters, digits, - and _.",
            )
        kind = value.get("kind", "text") if isinstance(value, dict) else value
        if not isinstance(kind, str) or kind not in EXPORTS:
            raise RecipeError(
                f"{_at(path, text, 'kind', place)}: [{place}] kind is {kind!r}.",
                hint=did_you_mean(str(kind), EXPORTS),
            )
        try:
            found[name] = EXPORTS[kind].model_validate(value)
        except ValidationError as error:
            raise _first(error, place, EXPORTS[kind], path, text) from None
    return found


def _checks(data: dict[str, Any], order: tuple[str, ...], path: str, text: str) -> dict[str, Bounds]:
    found = {}
    for table, value in _table(data, "checks", path or "the recipe").items():
        if table not in order:
            raise RecipeError(
                f"{_at(path, text, table, 'checks')}: [checks.{table}] is about no table of the recipe.",
                hint=did_you_mean(table, order),
            )
        try:
            found[table] = Bounds.model_validate(value)
        except ValidationError as error:
            raise _first(error, f"checks.{table}", Bounds, path, text) from None
    return found


def _report(data: dict[str, Any], path: str, text: str) -> ReportOptions:
    try:
        return ReportOptions.model_validate(_table(data, "report", path or "the recipe"))
    except ValidationError as error:
        raise _first(error, "report", ReportOptions, path, text) from None


def _steps(table: str, steps: dict[str, Any], where: str) -> tuple[Step, ...]:
    """Steps in the order of the file; `after` and `before` move one (needed with `extends` only)."""
    ordered: list[str] = []
    for name in steps:
        step = steps[name]
        if not isinstance(step, dict):
            raise RecipeError(
                f"{table}.{name} in {where} is {step!r}, not a step.",
                hint=f"Write [{table}.{name}] and its options below, or remove it.",
            )
        anchor = step.get("after", step.get("before"))
        if anchor is None:
            ordered.append(name)
            continue
        if anchor not in steps or anchor == name:
            raise RecipeError(
                f'{table}.{name} stands after or before "{anchor}", which is no other step of {table}.',
                hint=did_you_mean(str(anchor), steps),
            )
    for name, step in steps.items():
        if "after" in step or "before" in step:
            anchor = step.get("after", step.get("before"))
            place = ordered.index(anchor) if anchor in ordered else len(ordered)
            ordered.insert(place + ("after" in step), name)
    return tuple(_step(table, name, steps[name], where) for name in ordered)


def _step(table: str, name: str, step: dict[str, Any], where: str) -> Step:
    drop = step.get("drop", {})
    if not isinstance(drop, dict) or not all(isinstance(rule, str) for rule in drop.values()):
        raise RecipeError(
            f"drop of {table}.{name} in {where} is {drop!r}.",
            hint='Name each reason: drop.too_short = "words < 50"',
        )
    options = {key: value for key, value in step.items() if key not in _STEP_WORDS}
    return Step(name=name, stage=step.get("use", name), options=options, drop=drop)


def _first(error: ValidationError, place: str, model: type[BaseModel], path: str, text: str) -> RecipeError:
    """The first fault of a model, with its place and a near name."""
    fault = error.errors()[0]
    key = ".".join(str(part) for part in fault["loc"])
    at = _at(path, text, str(fault["loc"][0]) if fault["loc"] else "", place)
    if fault["type"] == "extra_forbidden":
        moved = key in _ROOT_KEYS | set(DEFAULT_ORDER)
        hint = "Put this line above the first [header]." if moved else did_you_mean(key, model.model_fields)
        return RecipeError(f'{at}: [{place}] has no key "{key}".', hint=hint)
    message = fault["msg"].removeprefix("Value error, ")
    found = f"{key} = {fault['input']!r}: " if key else ""
    field = model.model_fields.get(str(fault["loc"][0])) if fault["loc"] else None
    return RecipeError(
        f"{at}: [{place}] {found}{message}.",
        hint=f"{key}: {field.description}." if field else "See docs/reference/recipes.md.",
    )


def _at(path: str, text: str, key: str, table: str = "") -> str:
    """`file:line` of a key, found by its text (tomllib tells no positions)."""
    header, inside = re.compile(r"\s*\[+\s*([^\]]+?)\s*\]"), ""
    for number, line in enumerate(text.split("\n"), 1):
        match = header.match(line)
        if match:
            inside = match.group(1)
            if key and inside in {key, f"{table}.{key}"}:
                return f"{path}:{number}"
        elif key and inside == table and re.match(rf"\s*\"?{re.escape(key)}\"?\s*[.=]", line):
            return f"{path}:{number}"
    return path or "the recipe"
