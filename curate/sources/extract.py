"""How HTML becomes records: the options, and the pure function that the killable worker runs with them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from curate.engine.stage import Options

EXTRACT_VERSION = 3  # goes up when the same page gives another record
_LIMITS = {"seconds", "memory_mb"}  # options of the worker: they decide whether there is a text, not which


class ExtractOptions(Options):
    """How an HTML page becomes text, and what one page may cost."""

    focus: Literal["balanced", "precision", "recall"] = Field(
        "balanced", description="when unsure, leave out or keep"
    )
    tables: bool = Field(True, description="keep tables, as Markdown")
    code: bool = Field(True, description="keep code blocks, fenced, with their line breaks")
    links: bool = Field(False, description="keep the targets of links, as Markdown")
    seconds: float = Field(10.0, gt=0, le=600, description="processor seconds for one page")
    memory_mb: int = Field(1500, ge=200, description="memory of the process that extracts")
    max_bytes: int = Field(5_000_000, ge=1_000, description="a longer page is skipped")

    def of_page(self) -> dict[str, Any]:
        """The options that shape the text of a page."""
        return self.model_dump(exclude=_LIMITS)


def extract(body: bytes, charset: str, options: ExtractOptions) -> dict[str, str]:
    """The fields of a page's record, or reason and message: see `webpage.read_page`.

    Runs in this process, without limits on time and memory: for trusted pages and tests.
    """
    from curate.sources.webpage import read_page

    return read_page(body, charset=charset, **options.of_page())
