"""What a stage is: a function over a batch of documents that measures and, if it says so, rewrites.

A stage is one file in `curate/stages/`, named as its function:

    class LengthOptions(Options):
        pass

    @stage(measures=pa.struct([("chars", pa.int32())]), version=1)
    def length(batch: Batch, options: LengthOptions) -> Measured:
        return Measured({"chars": pc.utf8_length(batch.text)})

It never drops anything (rules in the recipe do), never keeps state, and gives the same row for the same
text whatever else is in the batch. An exception means that some document broke it: the engine finds out
which one by halving the batch.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_type_hints

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from schemas.errors import RecipeError, did_you_mean

T = TypeVar("T")

_LARGE = 32_000_000  # bytes of a batch, which is one long text then
BESIDE_RECIPE = "path, relative to the recipe"  # Annotated[str, BESIDE_RECIPE]: an option that names a file


class Options(BaseModel):
    """Base of every stage's options: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Batch:
    """Some documents: their text, and the columns that the stage declared in `reads`.

    `text` is a large_string array without NULL and without offset; so are all columns of `columns`
    free of NULL ("" and 0 stand for what is missing). `columns` is keyed as declared: "url",
    "langid.language".
    """

    text: pa.LargeStringArray
    columns: Mapping[str, pa.Array] = field(default_factory=dict)
    _found: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.text)

    def remember(self, name: str, find: Callable[[], T]) -> T:
        """What a kernel found in these texts (words, lines), found once and shared by later steps.

        In a large text it is found again: it may be five times the text, and each step needs some of its own.
        """
        if name in self._found:
            known: T = self._found[name]
            return known
        found = find()
        if self.text.nbytes <= _LARGE:
            self._found[name] = found
        return found


@dataclass(frozen=True)
class Measured:
    """A stage's result: one array per measurement (no NULL, no NaN), and the text where it rewrites.

    `text` has the length of the batch; rows that did not change hold the same text again. `found` is what
    the stage knows about that text, for `Batch.remember` of the steps that follow.
    """

    measures: Mapping[str, pa.Array]
    text: pa.LargeStringArray | None = None
    found: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """A registered stage: what it measures and all that its result depends on."""

    name: str
    run: Callable[[Batch, Any], Measured]
    options: type[Options]
    measures: pa.StructType
    version: int
    reads: tuple[str, ...]
    rewrites: bool
    libraries: tuple[str, ...]
    models: Callable[[Any], tuple[str, ...]] | None

    @property
    def purpose(self) -> str:
        """The first line of the stage's docstring."""
        return (inspect.getdoc(self.run) or "").split("\n")[0]


_REGISTRY: dict[str, Stage] = {}


def stage(
    *,
    measures: pa.StructType,
    version: int,
    reads: tuple[str, ...] = (),
    rewrites: bool = False,
    libraries: tuple[str, ...] = (),
    models: Callable[[Any], tuple[str, ...]] | None = None,
) -> Callable[[Callable[[Batch, Any], Measured]], Callable[[Batch, Any], Measured]]:
    """Register a stage under its function's name.

    `version` goes up when results change; `libraries` are distributions whose version changes results;
    `models` gives the sha256 of each model file that the options name. All of them, and the options,
    are the fingerprint under which the stage's rows are stored.
    """

    def register(function: Callable[[Batch, Any], Measured]) -> Callable[[Batch, Any], Measured]:
        name = function.__name__
        options = get_type_hints(function)["options"]
        _REGISTRY[name] = Stage(
            name, function, options, measures, version, reads, rewrites, libraries, models
        )
        return function

    return register


def stage_names() -> list[str]:
    """The packaged stages and those that a program has registered itself."""
    import curate.stages

    packaged = {module.name for module in pkgutil.iter_modules(curate.stages.__path__)}
    return sorted(packaged | set(_REGISTRY))


def find_stage(name: str) -> Stage:
    """The stage of that name, its file imported only now.

    Raises:
        RecipeError: no such stage.
    """
    if name not in _REGISTRY:
        names = stage_names()
        if name not in names:
            raise RecipeError(f'There is no stage "{name}".', hint=did_you_mean(name, names))
        importlib.import_module(f"curate.stages.{name}")
    return _REGISTRY[name]
