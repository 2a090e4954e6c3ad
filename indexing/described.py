"""What the tables of a recipe are, in words: said where each is defined, put together for a door that shows them."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from curate.dedup.options import OPTIONS as CORPUS_STAGES
from curate.engine.plan import Plan
from curate.engine.stage import find_stage
from indexing.candidate import make_candidate, make_live
from schemas.export import EXPORTS
from schemas.recipe import Step
from schemas.tables import TABLES, Column

_MAKERS = {"index_candidate": make_candidate, "index_live": make_live}


def description(plan: Plan, table: str) -> str:
    """What a row is, and what the steps of the recipe do, as Markdown."""
    if table in _MAKERS:
        return _first_line(_MAKERS[table])
    if table == "finetune":
        exports = plan.recipe.exports.items()
        return "\n".join(f"- `{name}`: {_first_line(EXPORTS[export.kind])}" for name, export in exports)
    lines = [line for step in plan.recipe.tables.get(table, ()) for line in _step(step)]
    return "\n".join([TABLES[table if table in TABLES else "verdicts"].meaning, "", *lines]).strip()


def columns(plan: Plan, table: str) -> list[Column]:
    """The columns of a table; of one that measures, its measurements too. None for an index or an export."""
    planned = next((one for one in plan.tables if one.name == table), None)
    known = TABLES.get(table, TABLES["verdicts"]) if planned or table in TABLES else None
    found = list(known.columns) if known else []
    if table == "corpus":
        own = pl.DataFrame(schema=plan.keep).to_arrow(compat_level=pl.CompatLevel.oldest()).schema
        return found + [Column(field.name, field.type, "kept from the source") for field in own]
    if planned and planned.kind == "measured":
        found += [Column(name, kind, "what this step measured") for name, kind in planned.measured]
    return found


def _step(step: Step) -> Iterable[str]:
    """A step as a line of a list, with its rules below."""
    if step.stage in CORPUS_STAGES:
        purpose = _first_line(CORPUS_STAGES[step.stage]).partition(": ")[2]
    else:
        purpose = "" if step.stage == "extract" else find_stage(step.stage).purpose
    yield f"- `{step.name}`: {purpose}" if purpose else f"- `{step.name}`"
    for reason, rule in step.drop.items():
        yield f"  - `{reason}` drops where `{rule}`"


def _first_line(described: object) -> str:
    return (described.__doc__ or "").strip().split("\n")[0]
