"""The kinds of training sets, and what each one's module has."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

import pyarrow as pa

from curate.export.written import Written

if TYPE_CHECKING:
    from curate.engine.session import Session
    from curate.lake.runs import Head


class Writer(Protocol):
    """The module of a kind."""

    COLUMNS: tuple[str, ...]
    """Columns of the payload that it reads, beside those that every row has."""

    def prepare(self, session: Session, head: Head, options: Any) -> dict[str, Any]:
        """What the writer needs that is found once: numbers, strings, lists. It is in the version of an export.

        Under "columns" it may name more columns of the payload, which come as `own.NAME`; under "trained" the
        only ones of the result that a trainer may be given; under "facts" what the data card tells.
        """

    def write(self, rows: pa.Table, options: Any, out: Path, context: dict[str, Any]) -> Written:
        """Write one shard, in the order given, to files called `out` and an ending of the kind's own.

        `rows` has the columns id, source, language, license (string), epoch (int32, from 0), tokens (int64,
        of the document; 0 without a table of tokens), then those of the payload. The same rows give the same
        bytes.
        """


@dataclass(frozen=True)
class Kind:
    """A kind: its module, where its payload lies, and what of the corpus it shows, in which evaluation data is looked for.

    `version` goes up when the same rows give other bytes.
    """

    module: str
    payload: Literal["corpus", "tokens", "pairs"]
    texts: tuple[str, ...]
    version: int

    @property
    def writer(self) -> Writer:
        """The module."""
        return cast("Writer", importlib.import_module(self.module))


KINDS = {
    "text": Kind("curate.export.text", "corpus", ("text",), 2),
    "chat": Kind("curate.export.chat", "corpus", ("text", "extra"), 1),
    "packed": Kind("curate.export.packed", "tokens", ("text",), 1),
    "pairs": Kind("curate.export.pairs_rows", "pairs", ("text",), 1),
}
