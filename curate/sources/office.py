"""DOCX and PPTX as Markdown: headings, paragraphs, lists, tables as rows with " | "."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from curate.sources.fields import Fields, UnreadableError, joined, open_zip, table_rows

_HEADING = re.compile(r"heading (\d)", re.IGNORECASE)
_MAX_DEPTH = 20  # of tables in tables, and shapes in groups


def read_docx(path: str) -> Fields:
    """The body of a Word document, with its properties.

    Raises:
        UnreadableError: no zip, a bomb, or no Word document.
    """
    import docx

    open_zip(path, "docx").close()
    document = _opened(docx.Document, path, "Word document")
    # Styles are looked up once: python-docx searches them anew for every paragraph.
    headings = {style.style_id: _level(style.name or "") for style in document.styles}
    blocks = list(_blocks(document, headings, 0))
    return _fields(document.core_properties, blocks)


def _opened(call: Any, path: str, what: str) -> Any:
    from lxml.etree import XMLSyntaxError

    try:
        return call(path)
    except (KeyError, ValueError, AttributeError, XMLSyntaxError) as error:
        raise UnreadableError(f"It is no {what} ({type(error).__name__}: {error}).") from None


def _level(style: str) -> int:
    if style.lower() == "title":
        return 1
    match = _HEADING.fullmatch(style)
    return min(int(match[1]), 6) if match else 0


def _fields(properties: Any, blocks: list[str]) -> Fields:
    heading = next((block.lstrip("# ") for block in blocks if block.startswith("#")), "")
    created = properties.created
    return {
        "title": properties.title or heading, "author": properties.author or "", "date": created.isoformat() if created else "",
        "declared_language": properties.language or "", "text": joined(blocks),
    }  # fmt: skip


def _blocks(parent: Any, headings: dict[str, int], depth: int) -> Iterator[str]:
    """Paragraphs and tables of a body or a cell, in their order."""
    for block in parent.iter_inner_content():
        if hasattr(block, "rows"):
            yield table_rows(_rows(block, headings, depth))
        else:
            yield _paragraph(block, headings)


def _paragraph(paragraph: Any, headings: dict[str, int]) -> str:
    text = str(paragraph.text).strip()
    properties = paragraph._p.pPr
    style = properties.style if properties is not None else None
    if text and (level := headings.get(style or "", 0)):
        return f"{'#' * level} {' '.join(text.split())}"
    listed = (properties is not None and properties.numPr is not None) or (style or "").startswith("List")
    return "- " + text.replace("\n", "\n  ") if text and listed else text


def _rows(table: Any, headings: dict[str, int], depth: int) -> Iterator[list[str]]:
    from docx.table import _Cell

    if depth > _MAX_DEPTH:
        return
    # table.rows[n].cells builds the whole grid for every row.
    for row in table._tbl.tr_lst:
        yield [" ".join(_blocks(_Cell(cell, table), headings, depth + 1)) for cell in row.tc_lst]


def read_pptx(path: str) -> Fields:
    """The slides of a presentation: titles as headings, a blank line between slides.

    Raises:
        UnreadableError: no zip, a bomb, or no presentation.
    """
    import pptx

    open_zip(path, "pptx").close()
    presentation = _opened(pptx.Presentation, path, "presentation")
    blocks = [block for slide in presentation.slides for block in _slide(slide)]
    return _fields(presentation.core_properties, blocks)


def _slide(slide: Any) -> Iterator[str]:
    title = slide.shapes.title
    if title is not None and title.has_text_frame and title.text_frame.text.strip():
        yield f"# {' '.join(title.text_frame.text.split())}"
    own = title.shape_id if title is not None else None
    for shape in slide.shapes:
        if shape.shape_id != own:
            yield from _shape(shape, 0)


def _shape(shape: Any, depth: int) -> Iterator[str]:
    if hasattr(shape, "shapes"):  # a group
        if depth < _MAX_DEPTH:
            for inner in shape.shapes:
                yield from _shape(inner, depth + 1)
    elif getattr(shape, "has_table", False):
        yield table_rows([cell.text_frame.text for cell in row.cells] for row in shape.table.rows)
    elif shape.has_text_frame:
        lines = [paragraph.text.replace("\v", "\n").strip() for paragraph in shape.text_frame.paragraphs]
        yield "\n".join(line for line in lines if line)
