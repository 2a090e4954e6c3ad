"""Small real corpora and recipes for tests."""

import json
import random
from pathlib import Path

from curate.engine.plan import make_plan
from curate.engine.run import run_tables
from schemas.recipe import load_recipe

WORDS = str.split(
    "the harbour opens early and boats leave before dawn while gulls circle over pier by noon market hall is full "
    "of noise salt visitors ask about price morning catch nobody knows who painted old blue lighthouse door in "
    "evening town quiet again lamps along quay burn until last ferry has gone"
)


def text(seed, words=60):
    """English-looking text that no other seed resembles."""
    chance = random.Random(seed)
    sentences = []
    while words > 0:
        count = min(words, chance.randint(6, 14))
        sentences.append(" ".join(chance.choice(WORDS) for _ in range(count)).capitalize() + ".")
        words -= count
    return " ".join(sentences)


def documents(count=30):
    """Rows with short texts, exact copies, near-copies and an address among them."""
    rows = []
    for n in range(count):
        row = {"id": f"doc-{n}", "text": text(n), "title": f"Page {n}", "topic": "sea" if n % 2 else "land"}
        if n % 10 == 3:
            row["text"] = "Too short."
        if n % 10 == 5:
            row["text"] = rows[n - 1]["text"]  # an exact copy
        if n % 10 == 7:
            row["text"] = rows[n - 1]["text"] + " And more."  # a near copy
        if n % 10 == 9:
            row["text"] += f" Write to person{n}@harbour.example for more."
        rows.append(row)
    return rows


def write_jsonl(path: Path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


RECIPE = """
name = "harbour"
extends = "docs"

[sources.files]
files = "docs.jsonl"
license = "CC0"
access = "public"
keep = { topic = "string" }
"""


def make_recipe(folder: Path, text: str = RECIPE, count: int = 30) -> Path:
    """A folder with a recipe and its documents."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "docs.jsonl").exists():
        write_jsonl(folder / "docs.jsonl", documents(count))
    (folder / "curate.toml").write_text(text)
    return folder / "curate.toml"


def run(recipe: Path, lake: Path | None = None, **options):
    """Run the tables of a recipe in this process."""
    overrides = options.pop("overrides", None)
    plan = make_plan(load_recipe(recipe, overrides))
    return run_tables(plan, lake or recipe.parent / "lake", workers=options.pop("workers", 1), **options)


def run_whole(recipe: Path, lake: Path | None = None, **options):
    """Run all tables of a recipe, those of its index too, in this process."""
    from indexing.way import make_table, tables_of

    tables = [table for table in tables_of(load_recipe(recipe)) if table != "finetune"]
    return run(recipe, lake, **{"tables": tables, "make": make_table, **options})


def digests(lake: Path) -> dict[str, str]:
    """Content digest of every table that stands."""
    from curate.lake.lake import Lake

    return Lake(lake).head().digests
