"""EPUB: the chapters of a book in their order, as Markdown. An EPUB is a zip of XHTML."""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from curate.sources.fields import Fields, UnreadableError, joined, open_zip, table_rows

Element = Any  # lxml.etree._Element
_DC = "{http://purl.org/dc/elements/1.1/}"
_BLOCKS = {
    "address", "article", "aside", "blockquote", "body", "center", "dd", "div", "dl", "dt", "figcaption", "figure", "footer",
    "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section", "table", "ul",
}  # fmt: skip
_SILENT = {"script", "style", "head", "template", "svg", "math"}


def read_epub(path: str) -> Fields:
    """The chapters of a book's spine, with its metadata.

    Raises:
        UnreadableError: no zip, a bomb, copy protection, or no book.
    """
    with open_zip(path, "epub") as packed:
        opf = _opf_name(packed)
        package = _xml(packed, opf)
        manifest = {item.get("id"): item for item in package.iter("{*}item")}
        chapters = [
            manifest[ref.get("idref")] for ref in package.iter("{*}itemref") if ref.get("idref") in manifest
        ]
        names = [
            posixpath.normpath(posixpath.join(posixpath.dirname(opf), unquote(item.get("href", ""))))
            for item in chapters
        ]
        _refuse_protected(packed, set(names))
        blocks = [block for name in names for block in _chapter(packed, name) if block.strip()]
    if not blocks:
        raise UnreadableError("None of its chapters has text.", "skipped:no_text")
    stated = {
        name: [found.text.strip() for found in package.iter(_DC + name) if found.text]
        for name in ("title", "creator", "date", "language")
    }
    return {
        "title": next(iter(stated["title"]), ""), "author": ", ".join(stated["creator"]), "date": next(iter(stated["date"]), ""),
        "declared_language": next(iter(stated["language"]), ""), "text": joined(blocks),
    }  # fmt: skip


def _opf_name(packed: zipfile.ZipFile) -> str:
    container = _xml(packed, "META-INF/container.xml")
    root = next(container.iter("{*}rootfile"), None)
    if root is None or not root.get("full-path"):
        raise UnreadableError("META-INF/container.xml names no book.")
    return str(root.get("full-path"))


def _part(packed: zipfile.ZipFile, name: str) -> bytes:
    try:
        return packed.read(name)
    except KeyError:
        raise UnreadableError(f"It has no part {name}.") from None
    except (zipfile.BadZipFile, RuntimeError, EOFError, NotImplementedError, ValueError) as error:
        raise UnreadableError(f"{name}: {error}.") from None
    except Exception as error:
        if type(error).__module__ == "zlib":
            raise UnreadableError(f"{name}: {error}.") from None
        raise


def _xml(packed: zipfile.ZipFile, name: str) -> Element:
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        return etree.fromstring(_part(packed, name), parser)
    except etree.XMLSyntaxError as error:
        raise UnreadableError(f"{name} is no XML: {error}.") from None


def _refuse_protected(packed: zipfile.ZipFile, chapters: set[str]) -> None:
    """Fonts may be obfuscated; chapters that are encrypted cannot be read."""
    if "META-INF/encryption.xml" not in packed.namelist():
        return
    encrypted = {
        unquote(found.get("URI", ""))
        for found in _xml(packed, "META-INF/encryption.xml").iter("{*}CipherReference")
    }
    if encrypted & chapters:
        raise UnreadableError("It is encrypted: a book with copy protection.")


def _chapter(packed: zipfile.ZipFile, name: str) -> Iterator[str]:
    from lxml import etree

    parser = etree.HTMLParser(encoding="utf-8", no_network=True)
    body = _part(packed, name)
    if not body.strip():
        return
    root = etree.fromstring(body, parser)
    found = root.find(".//body") if root is not None else None
    if found is not None:
        yield from _blocks(found)


def _blocks(element: Element) -> Iterator[str]:
    """The blocks below an element, and the text between them."""
    run = [element.text or ""]
    for child in element:
        tag = _tag(child)
        if tag in _BLOCKS or (tag not in _SILENT and _holds_blocks(child)):
            yield " ".join("".join(run).split())
            yield from _block(child, tag)
            run = [child.tail or ""]
        else:
            run.append(_inline(child, tag) + (child.tail or ""))
    yield " ".join("".join(run).split())


def _tag(element: Element) -> str:
    """ "" for comments and the like."""
    return element.tag.rpartition("}")[2].lower() if isinstance(element.tag, str) else ""


def _holds_blocks(element: Element) -> bool:
    return any(_tag(inner) in _BLOCKS for inner in element.iter())


def _inline(element: Element, tag: str) -> str:
    if not tag or tag in _SILENT:
        return ""
    return " " if tag == "br" else "".join(element.itertext())


def _block(element: Element, tag: str) -> Iterator[str]:
    if tag in {"h1", "h2", "h3", "h4", "h5", "h6"}:
        if text := " ".join("".join(element.itertext()).split()):
            yield f"{'#' * int(tag[1])} {text}"
    elif tag == "table":
        yield table_rows(
            [" ".join(_blocks(cell)) for cell in row.iter("td", "th")] for row in element.iter("tr")
        )
    elif tag == "pre":
        yield "```\n" + "".join(element.itertext()).strip("\n") + "\n```"
    elif tag == "li":
        inner = joined(_blocks(element))
        yield "- " + inner.replace("\n\n", "\n").replace("\n", "\n  ") if inner else ""
    elif tag == "blockquote":
        yield "\n".join(f"> {line}" if line else ">" for line in joined(_blocks(element)).split("\n"))
    else:
        yield from _blocks(element)
