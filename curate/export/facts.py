"""The facts of an export, as its card tells them: put together when the files are written."""

from __future__ import annotations

import re
import tomllib
from dataclasses import asdict
from typing import Any

from curate.engine.session import recipe_text
from curate.export.card import configurations, known_misses
from curate.export.choose import Chosen, Making
from curate.export.folder import DATA
from curate.export.mix import split_names
from curate.export.shuffle import Shard
from curate.export.written import Written, add_up
from schemas.checks import Check

_PASSWORD = re.compile(r"(?<=//)[^/@\s\"']*@")  # user and password in a URL


def make_card(
    making: Making, chosen: Chosen, results: list[dict[str, Any]], checks: list[Check], version: str
) -> dict[str, Any]:
    """What stands in card.json; `results` are those of the shards, in order."""
    session, options, shards = making.session, making.options, chosen.plan.shards
    total = add_up(Written(**result["written"]) for result in results)
    recipe = _recipe(making)
    files = [
        {"path": f"{DATA}/{file['name']}", "split": shard.split, "bytes": file["bytes"], "sha256": file["sha256"]}
        for shard, result in zip(shards, results, strict=True)
        for file in result["files"]
    ]  # fmt: skip
    licenses: dict[str, int] = {}
    for label in chosen.labels:
        licenses[label["license"]] = licenses.get(label["license"], 0) + label["rows"]
    splits = [_split(name, shards, results, files) for name in split_names(options)]
    filled = {split["split"] for split in splits if split["rows"]}
    loaded = [file for file in files if file["split"] in filled]
    return {
        "name": session.name,
        "export": making.name,
        "kind": options.kind,
        "version": version,
        "documents": chosen.documents,
        "corpus": making.head.digests.get(session.key("corpus_rows"), ""),
        "splits": splits,
        "configs": configurations(loaded, making.context.get("trained", ())),
        "sources": _sources(chosen.labels, tomllib.loads(recipe)),
        "licenses": dict(sorted(licenses.items())),
        "languages": total.languages,
        "left_out": {**chosen.left_out, **total.dropped},
        "decontamination": chosen.evaluation,
        "mixture": [asdict(portion) for portion in chosen.portions],
        "facts": making.context.get("facts", {}),
        "checks": [check.model_dump() for check in checks],
        "known_misses": known_misses(making.plan, options, licenses.get("", 0)),
        "options": options.model_dump(mode="json"),
        "recipe": recipe,
        "files": files,
    }


def _split(
    name: str, shards: list[Shard], results: list[dict[str, Any]], files: list[dict[str, Any]]
) -> dict[str, Any]:
    mine = [file["bytes"] for file in files if file["split"] == name]
    written = add_up(
        Written(**result["written"])
        for shard, result in zip(shards, results, strict=True)
        if shard.split == name
    )
    return {
        "split": name,
        "rows": written.rows,
        "documents": written.taken,
        "tokens": written.tokens,
        "bytes": sum(mine),
        "files": len(mine),
        "numbers": written.numbers,
    }


def _sources(labels: list[dict[str, Any]], recipe: dict[str, Any]) -> list[dict[str, Any]]:
    """Where the rows come from, as the recipe says."""
    sources = []
    for label in labels:
        source = recipe.get("sources", {}).get(label["source"], {})
        given = source.get("url") or source.get("files") or source.get("loader") or ""
        origin = ", ".join(given) if isinstance(given, list) else str(given)
        sources.append({**label, "access": source.get("access", ""), "from": origin})
    return sources


def _recipe(making: Making) -> str:
    """The recipe by which the corpus was made, without passwords in URLs."""
    return _PASSWORD.sub("", recipe_text(making.plan.recipe))
