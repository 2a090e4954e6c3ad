"""The data card of an export: what is in it, where it comes from, how it was made, and what it is known to miss.

`card.json` is for programs; `README.md` says the same to people, with the front matter by which Hugging Face's
`datasets` finds the files. Neither holds a time or the name of a run: the same data have the same card.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from curate.dedup.options import MinhashOptions
from curate.engine.plan import Plan
from curate.export.folder import DATA
from curate.reports.numbers import share
from schemas.checks import CHECKS
from schemas.export import ExportOptions

# Names that the Hub knows (https://huggingface.co/docs/hub/repositories-licenses); all others are "other".
_LICENSES = frozenset(
    str.split(
        "apache-2.0 mit afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause cc cc0-1.0 cc-by-2.0 "
        "cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 "
        "cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 "
        "cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 "
        "eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc lppl-1.3c ms-pl "
        "mpl-2.0 odc-by odbl ofl-1.1 postgresql ncsa pddl unlicense wtfpl zlib "
    )
)
_SAME = {"cc0": "cc0-1.0", "": "unknown"}
_UNITS = "KMBT"


def size_category(rows: int) -> str:
    """As the Hub groups data sets.

    >>> size_category(12), size_category(1_000), size_category(5_000_000)
    ('n<1K', '1K<n<10K', '1M<n<10M')
    """
    if rows < 1_000:
        return "n<1K"
    power = min(len(str(rows)) - 1, 12)
    if power == 12:
        return "n>1T"
    borders = [f"{10 ** (exponent % 3)}{_UNITS[exponent // 3 - 1]}" for exponent in (power, power + 1)]
    return f"{borders[0]}<n<{borders[1]}"


def configurations(files: Iterable[dict[str, Any]], trained: Sequence[str] = ()) -> list[dict[str, Any]]:
    """What `datasets` can load: the files of one format, in a configuration for each form of them.

    It takes all of a folder for Parquet, or all for JSON lines: where an export has both, the README names Parquet.
    Where a trainer reads the columns `trained` and no other, "default" has only those, and "all" has all.
    """
    splits: dict[str, dict[str, str]] = {}
    for file in files:
        ending = file["path"].split(".", 1)[1]
        if ending.split(".")[-1] in ("parquet", "jsonl"):
            splits.setdefault(ending, {})[file["split"]] = f"{DATA}/{file['split']}-*.{ending}"
    ordered = sorted(splits.items(), key=lambda item: (item[0] != "parquet", item[0]))
    ordered = [item for item in ordered if item[0].split(".")[-1] == ordered[0][0].split(".")[-1]]
    configs: list[dict[str, Any]] = [
        {
            "config_name": "default" if not number else ending.removesuffix(".jsonl"),
            "data_files": [{"split": split, "path": path} for split, path in found.items()],
        }
        for number, (ending, found) in enumerate(ordered)
    ]
    if trained and "parquet" in splits:  # of JSON lines it cannot take some columns
        return [{**configs[0], "columns": list(trained)}, {**configs[0], "config_name": "all"}]
    return configs


def known_misses(plan: Plan, options: ExportOptions, unlicensed: int) -> list[str]:
    """What nobody may conclude from the card."""
    steps = [step for table in plan.tables for step in table.steps]
    near = [step.options for step in steps if isinstance(step.options, MinhashOptions)]
    misses = [
        f"Near-duplicates are pairs with a similarity of at least {least.threshold:g}, found with a probability of "
        f"{least.recall:g} or more: others may lie in two splits."
        for least in near
    ] or [
        "Only equal texts count as duplicates, for the recipe has no step minhash: near-duplicates may lie in two splits."
    ]
    misses.append(
        f"Evaluation data is found by {options.ngram} words in a row: not what was paraphrased, translated or is shorter. "
        "Runs are compared as hashes of 64 bits, so a document may be left out by chance."
        if options.decontaminate
        else "No evaluation data was looked for."
    )
    redacted = any(step.stage and step.stage.name == "anonymize" for step in steps)
    misses.append(
        "Personal data that has a form (e-mail, phone, IP address, card, IBAN) was replaced; names and postal addresses "
        "were not."
        if redacted
        else "Personal data was not looked for."
    )
    misses.append("Languages are as measured or declared for a whole document; nobody checked them.")
    if unlicensed:
        misses.append(f"The recipe states no licence for {unlicensed:,} of the rows.")
    return misses


def readme(card: dict[str, Any]) -> str:
    """The card as a page, in the form that the Hub shows."""
    parts = [_front_matter(card), f"# {card['name']}: {card['export']}", _opening(card), *_tables(card)]
    if card["left_out"]:
        rows = [[reason, f"{count:,}"] for reason, count in card["left_out"].items()]
        parts += ["## Left out", _table(["reason", "documents"], rows)]
    if card["facts"]:
        parts += ["## Facts", "\n".join(f"- {name}: `{value}`" for name, value in card["facts"].items())]
    parts += ["## Checks", "\n".join(_check(check) for check in card["checks"])]
    parts += ["## Known misses", "\n".join(f"- {miss}" for miss in card["known_misses"])]
    parts += [
        "## How it was made",
        _code("json", json.dumps({"exports": {card["export"]: card["options"]}}, indent=2)),
    ]
    parts += ["The recipe of the corpus:", _code("toml", card["recipe"].rstrip())]
    return "\n\n".join(parts) + "\n"


def _check(check: dict[str, Any]) -> str:
    meaning = CHECKS[check["name"]].meaning
    return f"- passed: {meaning}" if check["passed"] else f"- warning: {check['message']} ({meaning})"


def padding_share(card: dict[str, Any]) -> str:
    """Share of the padding in the sequences of all splits, in percent; "" of a kind without sequences."""
    padding, places = (
        sum(split["numbers"].get(name, 0) for split in card["splits"])
        for name in ("padding_tokens", "all_tokens")
    )
    return share(padding, places) if places else ""


def _front_matter(card: dict[str, Any]) -> str:
    licenses = sorted({_license(name) for name in card["licenses"]})
    languages = sorted(language for language in card["languages"] if language)
    rows = sum(split["rows"] for split in card["splits"])
    title = json.dumps(f"{card['name']}: {card['export']}", ensure_ascii=False)
    lines = ["---", f"pretty_name: {title}"]
    if licenses:
        lines += ["license:", *(f"- {name}" for name in licenses)]
    if languages:
        lines += ["language:", *(f"- {json.dumps(language)}" for language in languages)]
    lines += ["size_categories:", f"- {size_category(rows)}"]
    if card["configs"]:
        lines.append("configs:")
    for config in card["configs"]:
        lines += [f"- config_name: {config['config_name']}", "  data_files:"]
        for found in config["data_files"]:
            lines += [f"  - split: {found['split']}", f"    path: {json.dumps(found['path'])}"]
        if "columns" in config:
            lines += ["  columns:", *(f"  - {name}" for name in config["columns"])]
    return "\n".join([*lines, "---"])


def _license(name: str) -> str:
    plain = name.strip().lower().replace(" ", "-")
    plain = _SAME.get(plain, plain)
    return plain if plain in _LICENSES | {"unknown"} else "other"


def _opening(card: dict[str, Any]) -> str:
    what = {
        "text": "a document",
        "chat": "a conversation",
        "packed": "a sequence of token ids",
        "pairs": "a query with passages",
    }
    rows = sum(split["rows"] for split in card["splits"])
    return (
        f"{rows:,} rows; a row is {what[card['kind']]}. Version `{card['version']}`, made of the corpus "
        f"`{card['corpus']}` by curate. `card.json` has the same facts for programs, and the SHA-256 of every file."
    )


def _tables(card: dict[str, Any]) -> Iterable[str]:
    columns = ("rows", "documents", "tokens", "bytes", "files")
    counted = any(split["tokens"] for split in card["splits"])
    rows = [
        [
            split["split"],
            *(f"{split[name]:,}" if counted or name != "tokens" else "not counted" for name in columns),
        ]
        for split in card["splits"]
    ]
    yield "## Splits\n\n" + _table(["split", *columns], rows)
    numbers = sorted({name for split in card["splits"] for name in split["numbers"]})
    if numbers:
        rows = [
            [split["split"], *(f"{split['numbers'].get(name, 0):,.10g}" for name in numbers)]
            for split in card["splits"]
        ]
        yield _table(["split", *(name.replace("_", " ") for name in numbers)], rows)
    if padding := padding_share(card):
        yield f"Padding is {padding} of the tokens in sequences."
    sources = [
        [row["source"], row["license"] or "not stated", row["from"], f"{row['rows']:,}"]
        for row in card["sources"]
    ]
    yield "## Sources and licences\n\n" + _table(["source", "licence", "from", "rows"], sources)
    if card["mixture"]:
        columns = ("wanted", "tokens", "available", "documents", "epochs")
        rows = [
            [part["source"] or "all", f"{part['weight']:g}", *(f"{part[name]:,}" for name in columns)]
            for part in card["mixture"]
        ]
        yield "## Mixture of the train split, in tokens\n\n" + _table(["source", "weight", *columns], rows)
    total = sum(card["languages"].values())
    rows = [
        [language or "not known", f"{count:,}", share(count, total)]
        for language, count in card["languages"].items()
    ]
    yield "## Languages\n\n" + _table(["language", "documents", "share"], rows)
    if card["decontamination"]:
        rows = [[f"`{file['file']}`", f"{file['documents']:,}"] for file in card["decontamination"]["files"]]
        yield "## Evaluation data looked for\n\n" + _table(["file", "documents left out"], rows)


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(_cell(value) for value in line)} |" for line in lines)


def _cell(value: str) -> str:
    return " ".join(value.split()).replace("|", "\\|")


def _code(language: str, text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"
