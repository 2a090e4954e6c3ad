"""What `curate init` found out about a source, and the recipe that follows from it."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from curate.cli.options import quoted
from schemas.recipe import RESERVED

_LEAST_SHARE = 0.02  # of a sample: languages below that are not named
_LONG_TEXTS = 100  # words in the median, from which on rules for web pages make sense
# Of the recipe `docs`, on one core: 12,000 English texts, 17 MB, in 16 s (November 2026).
_CHARS_A_SECOND = 1_000_000


@dataclass
class Found:
    """A source: lines for its table in the recipe, and facts to show, in order."""

    name: str
    extends: str
    why_extends: str
    source: str  # name of its table
    lines: list[str]
    facts: list[tuple[str, str]] = field(default_factory=list)
    languages: dict[str, float] = field(default_factory=dict)  # share of a sample, largest first
    short: int = 0  # words that a quarter of the texts does not reach; 0: not known


def recipe_of(found: Found, extends: str = "") -> str:
    """The recipe as commented TOML: under 25 lines, and it loads."""
    base = extends or found.extends
    why = f"packaged; {found.why_extends}" if not extends else "as you asked"
    written = [
        "# Written by curate init. `curate plan` shows all that it resolves to.",
        f"name = {quoted(found.name)}",
        f"extends = {quoted(base)}".ljust(30) + f"  # {why}",
        "",
        f"[sources.{found.source}]",
        *found.lines,
        '# license = "CC-BY-4.0"          # carried to every document and passage',
    ]
    named = [code for code in found.languages if code]
    if named:
        shares = ", ".join(f"{code} {share:.0%}" for code, share in found.languages.items() if code)
        listed = ", ".join(f"'{code}'" for code in named)
        written += [
            "",
            f"# Languages of a sample: {shares}. To keep only these:",
            "# [filtered.langid]",
            f'# drop.wrong_language = "language NOT IN ({listed}) OR score < 0.5"',
        ]
    if found.short:
        written += [
            "",
            f"# A quarter of the texts has under {found.short} words. {_shortest(base)}:",
            "# [filtered.length]",
            '# drop.too_short = "words < 5"',
        ]
    if "index" in _packaged(base) and named != ["en"]:
        written += [
            "",
            "# The packaged embedder reads English; for other languages:",
            "# [index]",
            '# embedder = "intfloat/multilingual-e5-small"',
        ]
    return "\n".join(written) + "\n"


def _shortest(base: str) -> str:
    """What a recipe does to short texts, and what one might want."""
    rule = _packaged(base).get("filtered", {}).get("length", {}).get("drop", {}).get("too_short", "")
    return f"Dropped are those with {rule}; to keep more of them" if rule else "To drop the shortest"


def _packaged(name: str) -> dict[str, Any]:
    file = resources.files("schemas").joinpath("recipes", f"{name}.toml")
    return tomllib.loads(file.read_text("utf-8")) if file.is_file() else {}


def name_from(words: str) -> str:
    """A recipe name from a host, a file or a folder."""
    name = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:40].strip("-")
    return f"my-{name}".strip("-") if not name or name in RESERVED else name


def choose_recipe(median_words: int) -> tuple[str, str]:
    """Packaged recipe for files of records, and why."""
    if median_words >= _LONG_TEXTS:
        return "web", "long texts: Gopher's rules fit"
    return "docs", "gentle: keeps short texts"


def languages_of(texts: Sequence[str]) -> dict[str, float]:
    """Share of each language that a sample holds, the largest first."""
    import pyarrow as pa

    from curate.engine.stage import Batch
    from curate.stages.langid import LangidOptions, langid

    if not texts:
        return {}
    measured = langid(Batch(pa.array(texts, pa.large_string())), LangidOptions.model_validate({}))
    counts = Counter(measured.measures["language"].to_pylist())
    shares = {code: count / len(texts) for code, count in counts.most_common(6)}
    return {code: share for code, share in shares.items() if share >= _LEAST_SHARE}


def quartiles(texts: Sequence[str]) -> tuple[int, int, int]:
    """Words that a quarter, a half and three quarters of the texts do not reach."""
    lengths = sorted(len(text.split()) for text in texts)
    if not lengths:
        return 0, 0, 0
    first, second, third = (lengths[min(len(lengths) * part // 4, len(lengths) - 1)] for part in (1, 2, 3))
    return first, second, third


def cleaning_seconds(characters: float, cores: int) -> float:
    """What cleaning so much text will take, very roughly, without embedding."""
    return characters / (_CHARS_A_SECOND * cores)
