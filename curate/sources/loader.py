"""Documents from a Python function: `package.module:function` in a recipe.

The function yields dicts, or objects as LangChain (`page_content`, `metadata`) and LlamaIndex (`text`,
`metadata`) have them. Its code runs in this process, with all rights: a recipe is a program.
"""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from curate.sources.record import MAX_BYTES, Columns, Read, from_rows, resolve
from schemas.errors import UsageError, did_you_mean

_SAMPLE = 100
_BATCH = 1_000


def load(function: str, columns: Columns, base: Path) -> Iterator[Read]:
    """The records of all that the function yields; their ordinals count from 0.

    Args:
        function: "package.module:function", called without arguments.
        columns: role → column of the dicts; dotted for nested ones.
        base: folder that modules are also looked for in, that of the recipe.

    Raises:
        UsageError: there is no such function, or it yields something else.
        SourceError: the text column is missing.
    """
    rows = _rows(function, find_function(function, base))
    sample = list(itertools.islice(rows, _SAMPLE))
    names = list(dict.fromkeys(name for row in sample for name in row))
    if not sample:
        return
    roles = resolve(columns, names, f"What {function} yields", all_known=False)
    batch: list[dict[str, Any]] = []
    first = size = 0
    for row in itertools.chain(sample, rows):
        batch.append(row)
        size += sum(len(value) for value in row.values() if isinstance(value, str))
        if len(batch) >= _BATCH or size >= MAX_BYTES:
            yield from_rows(batch, range(first, first + len(batch)), roles)
            first, size, batch = first + len(batch), 0, []
    if batch:
        yield from_rows(batch, range(first, first + len(batch)), roles)


def find_function(function: str, base: Path) -> Callable[[], Any]:
    """The function that the recipe names; its module is imported, which runs it.

    Raises:
        UsageError: no such module or function.
    """
    module_name, _, name = function.partition(":")
    if not module_name or not name:
        raise UsageError(
            f'loader = "{function}" names no function.', hint='Write loader = "package.module:function".'
        )
    folder = str(base.resolve())
    if folder not in sys.path:
        sys.path.append(folder)  # last: a file beside the recipe must not stand before an installed package
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = "" if error.name == module_name else f" (it imports {error.name}, which is not installed)"
        near = did_you_mean(module_name, [file.stem for file in base.glob("*.py")])
        raise UsageError(
            f'loader = "{function}": there is no module {module_name}{missing}.',
            hint=f"Modules beside the recipe: {near}",
        ) from None
    found = getattr(module, name, None)
    if not callable(found):
        functions = [
            key for key, value in vars(module).items() if callable(value) and not key.startswith("_")
        ]
        raise UsageError(
            f'loader = "{function}": {module_name} has no function {name}.',
            hint=did_you_mean(name, functions),
        )
    return found  # type: ignore[no-any-return]


def _rows(function: str, call: Callable[[], Any]) -> Iterator[dict[str, Any]]:
    yielded = call()
    if not isinstance(yielded, Iterable) or isinstance(yielded, str | bytes | Mapping):
        raise _no_documents(function, yielded, "gives")
    for item in yielded:
        row = _row(item)
        if row is None:
            raise _no_documents(function, item, "yields")
        yield row


def _row(item: Any) -> dict[str, Any] | None:
    """A dict of one's own: a document's text and its metadata's columns side by side."""
    if isinstance(item, Mapping):
        return {str(key): value for key, value in item.items()}
    text = getattr(item, "page_content", getattr(item, "text", None))
    metadata = getattr(item, "metadata", None)
    if isinstance(text, str) and isinstance(metadata, Mapping):
        return {"text": text, **{str(key): value for key, value in metadata.items() if key != "text"}}
    return None


def _no_documents(function: str, found: Any, verb: str) -> UsageError:
    hint = 'Let it yield dicts, for example {"text": "…", "title": "…"}, or documents of LangChain or LlamaIndex.'
    return UsageError(f'loader = "{function}" {verb} {type(found).__name__}, not documents.', hint=hint)
