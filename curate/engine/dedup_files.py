"""One-off deduplication: `curate dedup NEW -o kept.parquet --against OLD`.

It is a clean with a recipe that only compares. What NEW is compared with is a second source, whose documents
the steps never drop; a rule of `corpus` leaves the side out that is not asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from curate.dedup.options import ExactOptions, MinhashOptions
from curate.engine.clean import NAME, SOURCE, clean_by
from curate.engine.progress import Progress
from curate.lake.lake import Lake
from curate.sources.remote import is_url
from schemas.errors import UsageError
from schemas.recipe import Recipe, build_recipe
from schemas.report import RunReport

AGAINST = "against"
Drop = Literal["new", "old", "both"]


def dedup(
    files: Sequence[str | Path],
    out: str | Path,
    *,
    against: Sequence[str | Path] = (),
    drop: Drop = "new",
    options: Mapping[str, Any] | None = None,
    columns: Mapping[str, str] | None = None,
    add: Sequence[str] = (),
    shard_size: str = "",
    strict: bool = False,
    limit: int = 0,
    workers: int | None = None,
    memory: str = "",
    progress: Progress | None = None,
) -> RunReport:
    """Drop exact copies and near-duplicates of files or lakes into one file, in their order and shape.

    `options` are those of the steps (`keeper`, `threshold` ...); `add` names columns of the result beside those of the
    files: `stands_for`, `weight`. With `against`, files or lakes, what is
    dropped is each document of `files` that is like one of `against` or of `files` before it (`drop` "new");
    or each of `against` that is like one of `files` ("old"), and `out` holds what is left of `against`; or
    all but one of what is alike on both sides ("both"), and `out` holds both.

    Raises:
        CurateError: what went wrong, and what to do.
    """
    if drop != "new" and not against:
        raise UsageError(
            f"--drop {drop} says from which side to drop, and there is one side.", hint="Give --against OLD."
        )
    _refuse_longer(options or {})
    old, new = _sources(AGAINST, against, columns), [SOURCE]
    sides = {"new": {"against": [*old]}, "old": {"against": new}, "both": {"prefer": [*old]}}[drop]
    written = {"new": new, "old": [*old], "both": [*new, *old]}[drop]

    def recipe(inputs: list[str]) -> Recipe:
        found = _sources(SOURCE, inputs, columns)
        if len(found) > 1:
            raise UsageError(
                "Files and a lake cannot be written into one result.", hint="Deduplicate one of them."
            )
        data: dict[str, Any] = {
            "name": NAME, "extends": "dedup", "index": False, "sources": {SOURCE: found.popitem()[1], **old},
            "deduplicated": _steps({**sides, **(options or {})}),
        }  # fmt: skip
        if old and drop != "both":
            names = ", ".join(f"'{name}'" for name in (old if drop == "new" else new))
            data["corpus"] = {"side": {"use": "length", "drop": {"other_side": f"source IN ({names})"}}}
        return build_recipe(data)

    report = clean_by(
        recipe, files, out, written=written, add=add, shard_size=shard_size, strict=strict, limit=limit, workers=workers,
        memory=memory, progress=progress,
    )  # fmt: skip
    report.name = "dedup"
    return report


def _sources(
    name: str, places: Sequence[str | Path], columns: Mapping[str, str] | None
) -> dict[str, dict[str, Any]]:
    """Sources for files as they are named, and for lakes (or LAKE/NAME) the files of their corpus.

    Raises:
        LakeError: a lake that holds several recipes, or has no corpus.
    """
    files, corpora = [], []
    for place in map(str, places):
        lake, recipe = _lake_of(place)
        if lake is None:
            files.append(place)
            continue
        recipe, head = lake.require(recipe), lake.head()
        lake.read(recipe, "corpus", head)  # is refused where there is none
        corpus = lake.state(recipe, "corpus")
        corpora += [str(corpus.folder / file) for file in sorted(corpus.files(head.pins[f"{recipe}/corpus"]))]
    sources: dict[str, dict[str, Any]] = {}
    if files:
        sources[name] = {"files": files, **({"columns": dict(columns)} if columns else {})}
    if corpora:
        sources[f"{name}_lake"] = {"files": corpora}
    return sources


def _lake_of(place: str) -> tuple[Lake | None, str]:
    """The lake at a place, and the name of a recipe in it or ""."""
    path = Path(place).expanduser()
    if is_url(place) or not path.is_dir():
        return None, ""
    if (path / "runs").is_dir():
        return Lake(path), ""
    if (path.parent / "runs").is_dir() and (path / "corpus").is_dir():
        return Lake(path.parent), path.name
    return None, ""


def read_options(options: Mapping[str, Any]) -> MinhashOptions:
    """Options of the step `minhash`, checked.

    Raises:
        UsageError: one that there is not, a value that it cannot have, or one that means nothing here.
    """
    _refuse_longer(options)
    try:
        return MinhashOptions.model_validate(options)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"]))
        raise UsageError(
            f"{key or 'options'}: {fault['msg'].removeprefix('Value error, ')}.", hint="curate dedup --help"
        ) from None


def _refuse_longer(options: Mapping[str, Any]) -> None:
    if "longer" in options and options.get("similarity", "jaccard") == "jaccard":
        raise UsageError(
            "--longer is about texts that stand in longer ones, which jaccard does not look for.",
            hint="Add --similarity containment, or leave --longer out.",
        )


def _steps(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of both steps: those of `minhash` alone are no options of `exact`."""
    shared = {name: value for name, value in options.items() if name in ExactOptions.model_fields}
    return {"exact": shared, "minhash": dict(options)}
