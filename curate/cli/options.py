"""Options that several commands share, and how `--set` is read."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import Parameter, validators

from schemas.errors import UsageError

Lake = Annotated[str, Parameter(help="Folder of the lake.")]
Name = Annotated[str, Parameter(help="Name of the recipe, where the lake holds several.", show_default=False)]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.", show_default=False)]
Settings = Annotated[
    tuple[str, ...],
    Parameter(
        name="--set",
        negative="",
        consume_multiple=False,
        help="A key of the recipe with another value, as in TOML. May be given again.",
        show_default=False,
    ),
]
Count = Annotated[int, Parameter(validator=validators.Number(gte=1))]
Limit = Annotated[
    int,
    Parameter(
        help="Take at most so many documents of each source; 0 takes all.",
        validator=validators.Number(gte=0),
        show_default=False,
    ),
]
Strict = Annotated[
    bool,
    Parameter(negative="", help="Stop at the first input that cannot be read.", show_default=False),
]
Memory = Annotated[
    str,
    Parameter(
        help="Memory that the search for near-duplicates may take, such as 4GB; 512MiB if not given.",
        show_default=False,
    ),
]
Out = Annotated[
    str,
    Parameter(
        name=["--out", "-o"],
        help="Where the kept documents go: .parquet, .jsonl, .jsonl.gz, .jsonl.zst or .csv; a folder (kept/) of Parquet "
        "files; or - for JSON lines on stdout, of which nothing else is kept.",
        allow_leading_hyphen=True,
        show_default=False,
    ),
]
Columns = Annotated[
    tuple[str, ...],
    Parameter(
        help="Which column holds what: text=body, url=metadata.url; or one that a rule, --within or --keeper names: "
        "dump=metadata.dump. May be given again.",
        negative="",
        consume_multiple=False,
        show_default=False,
    ),
]
Add = Annotated[
    tuple[str, ...],
    Parameter(
        help="A column beside those of the input: stands_for, how many documents each one stands for, or weight, how often "
        "to read it in training (--set deduplicated.minhash.weights=fineweb-2, or --weights of dedup). May be given again.",
        negative="",
        consume_multiple=False,
        show_default=False,
    ),
]
ShardSize = Annotated[
    str,
    Parameter(
        help="Write several files of about this size: 512MB makes kept-00000.parquet, kept-00001.parquet ...",
        show_default=False,
    ),
]
Workers = Annotated[
    int | None,
    Parameter(
        help="Worker processes; one for each core if not given.",
        validator=validators.Number(gte=1),
        show_default=False,
    ),
]


def read_settings(settings: Sequence[str]) -> dict[str, Any]:
    """`KEY=VALUE` as nested dicts; a value that is no TOML is a string, so rules need no second quotes.

    >>> read_settings(["deduplicated.minhash.threshold=0.7", "filtered.length.drop.short=words < 5"])
    {'deduplicated': {'minhash': {'threshold': 0.7}}, 'filtered': {'length': {'drop': {'short': 'words < 5'}}}}

    Raises:
        UsageError: no `=`, or a key that is none.
    """
    merged: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(
                f"--set {setting} has no value.",
                hint="Write --set KEY=VALUE: --set deduplicated.minhash.threshold=0.7",
            )
        _merge(merged, _parsed(key.strip(), value.strip()))
    return merged


def read_columns(columns: Sequence[str]) -> dict[str, str]:
    """`text=body` as a dict.

    Raises:
        UsageError: no `=`, nothing on one side of it, or the same on the left of two.
    """
    named: dict[str, str] = {}
    for column in columns:
        what, _, name = (part.strip() for part in column.partition("="))
        if not what or not name:
            raise UsageError(f"--columns {column} names no column.", hint="Write --columns text=body")
        if named.setdefault(what, name) != name:
            raise UsageError(
                f'--columns says that {what} is in "{named[what]}" and in "{name}".', hint="Give one of them."
            )
    return named


def quoted(value: str) -> str:
    """A TOML string."""
    # Every JSON string is a TOML string, but for DEL, which TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")


def _parsed(key: str, value: str) -> dict[str, Any]:
    for written in (value, quoted(value)):
        try:
            return tomllib.loads(f"{key} = {written}")
        except tomllib.TOMLDecodeError:
            continue
    raise UsageError(
        f"--set {key}={value}: {key} is no key of a recipe.",
        hint="A key is written as in the recipe, with dots: filtered.langid.drop.wrong_language",
    )


def _merge(into: dict[str, Any], other: dict[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value
