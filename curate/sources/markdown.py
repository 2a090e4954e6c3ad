"""Trafilatura's tree of a page's content, written as Markdown.

Readable for people and retrieval rather than exact: characters are not escaped, so addresses, names and
code stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

Element = Any  # lxml.etree._Element: this module never makes one

# Code passes through trafilatura inside a paragraph. It tidies white space and drops control characters,
# so these five stand for it on the way: Aegean numerals, which are printable and which nobody writes.
_NEWLINE, _SPACE, _TAB, OPEN, CLOSE = "\U00010107", "\U00010108", "\U00010109", "\U0001010a", "\U0001010b"
_HIDE = str.maketrans({"\n": _NEWLINE, " ": _SPACE, "\t": _TAB, "\r": None, OPEN: None, CLOSE: None})
_SHOW = str.maketrans({_NEWLINE: "\n", _SPACE: " ", _TAB: "\t"})
_CODE = re.compile(f"{OPEN}([^{CLOSE}]*){CLOSE}")
_HEADING = re.compile("(#{1,6}) ")
_BLOCK_TAGS = {"p", "head", "list", "table", "quote", "code"}


def hide(code: str) -> str:
    """A code block as one word."""
    return code.translate(_HIDE)


def to_markdown(body: Element) -> str:
    """Headings, paragraphs, lists, tables and fenced code, a blank line between them."""
    return show("\n\n".join(_without_bare_headings(list(_blocks(body)))))


def show(text: str) -> str:
    """The text with its code blocks fenced."""
    pieces = _CODE.split(text)
    pieces[1::2] = map(_fence, pieces[1::2])
    return "\n\n".join(piece for piece in map(str.strip, pieces) if piece)


def _fence(hidden: str) -> str:
    code = "\n".join(line.rstrip() for line in hidden.translate(_SHOW).split("\n")).strip("\n")
    fence = "````" if "```" in code else "```"
    return f"{fence}\n{code}\n{fence}"


def _without_bare_headings(blocks: list[str]) -> Iterator[str]:
    """Leave out headings whose section is empty: what stood there was navigation."""
    following = 0  # rank of the next heading if no text comes before it; the end outranks all
    kept: list[str] = []
    for block in reversed(blocks):
        heading = _HEADING.match(block)
        rank = len(heading[1]) if heading else 7
        if heading and following <= rank:
            continue
        kept.append(block)
        following = rank
    return reversed(kept)


def _blocks(element: Element) -> Iterator[str]:
    """The blocks of an element that holds blocks, text, or both."""
    run: list[str] = [element.text or ""]
    for child in element:
        if child.tag in _BLOCK_TAGS or len(child):
            yield from _paragraph(run)
            yield from _block(child)
            run = [child.tail or ""]
        else:
            run.append(_inline(child) + (child.tail or ""))
    yield from _paragraph(run)


def _paragraph(run: list[str]) -> Iterator[str]:
    lines = [" ".join(line.split()) for line in "".join(run).split("\v")]
    if text := "\n".join(line for line in lines if line):
        yield text


def _inline(element: Element) -> str:
    """An element without blocks in it. Its line breaks are told from the source's by a vertical tab."""
    if element.tag == "lb":
        return "\v"
    text = "".join(element.itertext())
    target = element.get("target") if element.tag == "ref" else None
    return f"[{' '.join(text.split())}]({target})" if target and text.strip() else text


def _block(element: Element) -> Iterator[str]:
    if element.tag == "head":
        if text := " ".join("".join(element.itertext()).split()):
            level = element.get("rend", "h2")[1:]
            yield f"{'#' * (int(level) if level.isdecimal() else 2)} {text}"
    elif element.tag == "list":
        if lines := list(_list(element)):
            yield "\n".join(lines)
    elif element.tag == "table":
        if rows := list(_table(element)):
            yield "\n".join(rows)
    elif element.tag == "quote":
        yield from ("> " + block.replace("\n", "\n> ") for block in _blocks(element))
    else:
        yield from _blocks(element)


def _list(element: Element) -> Iterator[str]:
    number = 0
    for item in element.iterchildren("item"):
        blocks = list(_blocks(item))
        if not blocks:
            continue
        number += 1
        rend = item.get("rend", "")
        mark = (
            ""
            if rend.startswith("dt")
            else ": "
            if rend.startswith("dd")
            else f"{number}. "
            if element.get("rend") == "ol"
            else "- "
        )
        nested = "\n".join(blocks).replace("\n", "\n  ")
        yield mark + nested


def _table(element: Element) -> Iterator[str]:
    rows = [
        (row, cells)
        for row in element.iterchildren("row")
        if any(cells := [_cell(cell) for cell in row.iterchildren("cell")])
    ]
    heads = [any(cell.get("role") == "head" for cell in row.iterchildren("cell")) for row, _ in rows]
    if all(heads):  # what it listed was links
        return
    for (_, cells), head in zip(rows, heads, strict=True):
        yield f"| {' | '.join(cells)} |"
        if head:
            yield "|" + "---|" * len(cells)


def _cell(cell: Element) -> str:
    text = " ".join(" ".join(_blocks(cell)).split())
    text = _CODE.sub(lambda match: " `" + " ".join(match[1].translate(_SHOW).split()) + "` ", text)
    return text.strip().replace("|", "\\|")
