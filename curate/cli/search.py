"""`curate search`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from curate.cli.options import Count, Json, Lake, Name

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from indexing.hits import Hit, Hits
    from indexing.manifest import Manifest

_PASSAGE = 1200  # characters shown


def search(
    question: str,
    /,
    *,
    k: Count = 3,
    where: Annotated[str, Parameter(show_default=False)] = "",
    mode: Literal["hybrid", "dense", "lexical"] = "hybrid",
    exact: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    lake: Lake = "lake",
    name: Name = "",
    as_json: Json = False,
) -> None:
    """Ask the live index a question.

    **Example:**

    ```console
    $ curate search "How do I reset the VPN?" --where "language = 'en'"
    ```

    Parameters
    ----------
    question
        In your own words.
    k
        How many passages.
    where
        An SQL condition over the columns of the corpus.
    mode
        By meaning, by words, or both.
    exact
        Compare the question with every passage.
    """
    from curate.cli.terminal import show, show_json
    from indexing import open_index

    index = open_index(lake, name)
    hits = index.search(question, k, mode, where or None, exact=exact)
    if as_json:
        show_json({
            "question": question, "index_version": hits.index_version, "corpus_version": hits.corpus_version,
            "exact": hits.exact, "took_ms": hits.took_ms, "hits": [vars(hit) for hit in hits],
        })  # fmt: skip
    else:
        show(*answer(question, hits), *_about(hits, index.manifest, lake, name))


def answer(question: str, hits: Hits) -> list[RenderableType]:
    """The hits as they are shown: title, score, place, passage with the words of the question bold."""
    from curate.cli.terminal import text

    words = [re.escape(word) for word in re.findall(r"\w{3,}", question)]
    pattern = re.compile(rf"\b(?:{'|'.join(words)})", re.IGNORECASE) if words else None
    lines: list[RenderableType] = []
    for hit in hits:
        lines += _hit(hit, pattern)
    if not hits:
        lines.append(text("No passage answers. Try other words, --mode hybrid, or a wider --where."))
    return lines


def _about(hits: Hits, manifest: Manifest, lake: str, name: str) -> list[Text]:
    """What was asked, and whether the corpus is another one by now."""
    from curate.cli.terminal import text
    from curate.lake.lake import Lake as OpenLake
    from curate.reports.numbers import plural

    home = OpenLake(lake)
    stands = home.head().corpus_version(home.require(name))
    made, compared = manifest.created[:16].replace("T", " "), "exact" if hits.exact else "approximate"
    asked = f"{len(hits)} of {plural(manifest.chunks, 'passage')}, index {hits.index_version} made {made}"
    lines = [text(f"{asked}, {compared}, {hits.took_ms:.0f} ms", style="dim")]
    if stands != hits.corpus_version:
        lines.append(text("The corpus has changed since: curate run builds its index.", style="yellow"))
    return lines


def _hit(hit: Hit, pattern: re.Pattern[str] | None) -> list[RenderableType]:
    from rich.padding import Padding
    from rich.text import Text

    from curate.cli.terminal import text

    title = text(hit.title or hit.place or hit.document_id, 200, "bold")
    head = Text.assemble((f"{hit.rank}  ", "bold green"), title, (f"  {hit.score:.3f}", "dim"))
    place = Text.assemble("   ", text(hit.url or hit.place, 500, "blue"))
    passage = text(" ".join(hit.text.split()), _PASSAGE)
    if pattern:
        for match in pattern.finditer(passage.plain):
            passage.stylize("bold", *match.span())
    return [head, place, Padding(passage, (0, 0, 1, 3))]
