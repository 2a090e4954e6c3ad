"""The tree of a page: parsed within limits, made ready for trafilatura, and read without it."""

from __future__ import annotations

import logging
import re
import unicodedata
from typing import Any

import lxml.etree
import lxml.html
from trafilatura import bare_extraction

from curate.sources.markdown import CLOSE, OPEN, hide, show, to_markdown

Tree = Any  # lxml.html.HtmlElement: lxml has no types

# Above this, plain text: trafilatura takes 8 s for 40,000 headings, 41 s and 1.3 GB for 300,000 div.
_MANY_ELEMENTS = 30_000
# Above this, only its fast heuristics, without the comparison with readability and justext.
_SOME_ELEMENTS = 10_000
_INLINE = (
    "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "data", "del", "dfn", "em", "font", "i", "ins", "label", "mark", "nobr",
    "q", "ruby", "s", "small", "span", "strike", "strong", "sub", "time", "tt", "u", "var", "wbr",
)  # fmt: skip
_BLOCKS = (
    "address", "article", "aside", "blockquote", "dd", "details", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer",
    "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section", "summary", "table",
    "td", "th", "tr", "ul",
)  # fmt: skip
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_INVISIBLE = (
    "script", "style", "noscript", "template", "svg", "iframe", "object", "head", "select", "textarea", "title",
)  # fmt: skip
_HEAD = {"base", "basefont", "link", "meta", "noscript", "script", "style", "template", "title"}
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff\ud800-\udfff]")
_REFERENCE = re.compile(r"&#(?:x([0-9a-f]{1,8})|([0-9]{1,8}));?", re.IGNORECASE)
_PERMALINK = re.compile(r"[\s¶#§🔗⚓]*")
_LINE_NUMBERS = lxml.etree.XPath(
    "//*[@class='linenos' or @class='linenodiv' or @class='lineno' or @class='gutter' or @class='line-numbers-rows']"
)
# Where documentation keeps its text; trafilatura knows what articles and blogs use.
_MAIN = lxml.etree.XPath(
    ".//*[@role='main'] | .//*[@id='content' or @id='page-content' or @id='main-content' or @id='main']"
)
_NAMES = "(^|[^a-z])(nav|menu|breadcrumb|footer|sidebar|toc)"
_FRAME = lxml.etree.XPath(
    "//nav | //footer | //aside | //button | //*[contains(@role, 'navigation')]"
    " | //body//*[self::div or self::ul or self::ol or self::table or self::section or self::p]"
    f"[re:test(@class, '{_NAMES}', 'i') or re:test(@id, '{_NAMES}', 'i')]",
    namespaces={"re": "http://exslt.org/regular-expressions"},
)
_LANGUAGES = re.compile(r"(^|[^a-z])lang(uage)?s?[-_]?(select|switch|choose|choice|pick)", re.IGNORECASE)
_LITTLE = 250  # characters: MIN_EXTRACTED_SIZE of trafilatura, below which it takes the whole page
_LINKS = 0.8  # share of a block's text that stands in links
_SPACE = re.compile(r"[ \t\r\f\v\u00a0]+")

logging.getLogger("trafilatura").setLevel(logging.CRITICAL)


def parse(page: str) -> Tree | str | None:
    """The tree of a page; None if there is nothing in it; a message if it is nested too deep.

    libxml2 stops at a depth of 2,048 and drops the rest: such a page is refused, not cut.
    """
    parser = lxml.html.HTMLParser(encoding="utf-8", huge_tree=True, remove_comments=True, remove_pis=True)
    try:
        tree = lxml.html.document_fromstring(_without_controls(page).encode(), parser=parser)
    except lxml.etree.ParserError:  # nothing but space and comments
        return None
    if any(error.type_name == "ERR_RESOURCE_LIMIT" for error in parser.error_log):
        return "Elements are nested more than 2,000 deep."
    _mend_head(tree)
    return tree if tree.find("body") is not None else None


def _mend_head(tree: Tree) -> None:
    """Move what stands in the head and belongs to the body there.

    A page may leave out <body>, as HTML allows; libxml2 then keeps everything up to the first <p> in the head.
    """
    head, body = tree.find("head"), tree.find("body")
    first = next((child for child in ([] if head is None else head) if child.tag not in _HEAD), None)
    if first is None:
        return
    moved = [first, *first.itersiblings()]
    if body is None:
        body = lxml.etree.SubElement(tree, "body")
    moved[-1].tail = (moved[-1].tail or "") + (body.text or "")
    body.text = None
    body[:0] = moved


def _without_controls(page: str) -> str:
    """The page without characters that no XML tree may hold, written as they are or as &#1;"""
    clean = _CONTROL.sub("", page)
    return _REFERENCE.sub(_allowed, clean) if "&#" in clean else clean


def _allowed(reference: re.Match[str]) -> str:
    number = int(reference[1], 16) if reference[1] else int(reference[2])
    return "" if number > 0x10FFFF or _CONTROL.match(chr(number)) else reference[0]


def hiding_scripts(tree: Tree) -> int:
    """Characters of script in a page that shows no text without them; 0 if it is no such page.

    A script from elsewhere counts as 1,000. The tree is used up.
    """
    scripts = [script for script in tree.iter("script") if "json" not in script.get("type", "")]
    size = sum(1_000 if script.get("src") else len(script.text or "") for script in scripts)
    asks = any("javascript" in "".join(element.itertext()).lower() for element in tree.iter("noscript"))
    shown = len(plain_text(tree))
    return size if size >= 1_000 and (shown < 20 or (asks and shown < 200)) else 0


def content(tree: Tree, focus: str, *, tables: bool, code: bool, links: bool) -> str:
    """What the page says, as Markdown without the frame around it. The tree is used up.

    A page of more than 30,000 elements is read as plain text, and so is one with little content, but for
    its navigation: there trafilatura would dump the whole page into one paragraph.
    """
    _dissolve(tree, code=code)
    count = sum(1 for _ in tree.iter())
    if count > _MANY_ELEMENTS:
        return plain_text(tree)
    # A second opinion on what is content is none where the page says it: it leaves out most of a long reference.
    certain = _outlined(tree)
    _mark_main(tree)
    text, blocks = _extracted(tree, focus, fast=certain or count > _SOME_ELEMENTS, tables=tables, links=links)
    if focus == "precision" or (blocks > 1 and len(text) >= _LITTLE):
        return text
    rest = _without_frame(tree, links=focus == "recall")
    return text if len(text) >= _LITTLE and len(rest) > 1.5 * len(text) else rest


def _extracted(tree: Tree, focus: str, *, fast: bool, tables: bool, links: bool) -> tuple[str, int]:
    """What trafilatura takes for the content, and in how many blocks."""
    try:
        found = bare_extraction(
            tree, fast=fast, favor_precision=focus == "precision", favor_recall=focus == "recall", include_comments=False,
            include_tables=tables, include_links=links, include_formatting=False, output_format="xml",
        )  # fmt: skip
        return ("", 0) if found is None else (to_markdown(found.body), len(found.body))
    except RecursionError:  # lists in lists, hundreds deep
        return "", 0


def _without_frame(tree: Tree, *, links: bool) -> str:
    """The text outside of navigation, and of blocks that are little but links."""
    for element in _FRAME(tree):
        # Themes name the frame around everything after what it makes room for: Read the Docs has `wy-grid-for-nav`.
        if element.find(".//main") is None:
            element.drop_tree()
    for block in [] if links else list(tree.iter("li", "p", "td", "dt", "dd")):
        linked = sum(len("".join(link.itertext()).strip()) for link in block.iter("a"))
        if linked > _LINKS * len("".join(block.itertext()).strip()):
            block.drop_tree()
    return plain_text(tree)


def plain_text(tree: Tree) -> str:
    """All visible text, a line per block, in linear time. The tree is used up."""
    body = tree.find("body")
    lxml.etree.strip_elements(body, *_INVISIBLE, with_tail=False)
    for element in body.iter("br", *_BLOCKS):
        element.text = "\n" + (element.text or "")
        element.tail = "\n" + (element.tail or "")
    lines = (_SPACE.sub(" ", line).strip() for line in "".join(body.itertext()).split("\n"))
    return show("\n".join(line for line in lines if line))


def _dissolve(tree: Tree, *, code: bool) -> None:
    """Turn inline markup into text, and code blocks into paragraphs that nothing looks into."""
    for element in _LINE_NUMBERS(tree):
        element.drop_tree()
    for choice in list(tree.iter("div", "ul", "form")):  # a page in several languages says so at its top
        if _LANGUAGES.search(f"{choice.get('class', '')} {choice.get('id', '')}"):
            choice.drop_tree()
    for link in list(tree.iter("a")):
        if link.get("href", "").startswith("#") and _PERMALINK.fullmatch("".join(link.itertext())):
            link.drop_tree()
    for power in tree.iter("sup"):
        if len(power) == 0 and (power.text or "").strip():  # a footnote has a link in it
            power.text = f"^{power.text}"
    lxml.etree.strip_tags(tree, "sup", *_INLINE)
    lxml.etree.strip_elements(tree.find("body"), "title", "button", with_tail=False)
    for pre in list(tree.iter("pre")):
        _opaque(pre, keep=code)
    for element in list(tree.iter("code", "kbd", "samp")):
        text = " ".join("".join(element.itertext()).split())
        element[:] = []
        element.text = f"`{text}`" if code and text and "`" not in text else text
    lxml.etree.strip_tags(tree, "code", "kbd", "samp")
    for heading in tree.iter(*_HEADINGS):
        lxml.etree.strip_tags(heading, "a")
    # What was stripped left runs of adjacent text nodes, in which XPath is quadratic: write each as one.
    for element in tree.iter():
        element.text, element.tail = element.text, element.tail


def _outlined(tree: Tree) -> bool:
    """Make plain what documentation says in nested sections, each with an id made of its heading; whether it does.

    Elsewhere an id names a part of the frame: a section on shared memory would be taken for buttons to share the page,
    and a <div> of text for one. A blog's <div id="comments"> is in no section that is named after the title.
    """
    for element in tree.iter("dt", *_HEADINGS):
        element.attrib.pop("id", None)
    sections, inside = set(), set()
    for block in tree.iter("section", "div"):
        parent = block.getparent()
        if _is_named_after_heading(block) and (block[0].tag == "h1" or parent in sections):
            del block.attrib["id"]
            sections.add(block)
        elif parent in sections or parent in inside:
            inside.add(block)
            if block.tag == "div" and not any(child.tag in _BLOCKS for child in block):
                block.tag = "p"
    for note in list(tree.iter("aside")) if sections else []:
        if note.get("role") in ("note", "doc-footnote"):  # other asides are frame
            note.tag = "div"
            if note.getparent().tag == "aside":  # the list of notes
                note.getparent().tag = "div"
    return bool(sections)


def _is_named_after_heading(block: Tree) -> bool:
    if "id" not in block.attrib or not len(block) or block[0].tag not in _HEADINGS:
        return False
    name = _letters(block.get("id"))
    return bool(name) and _letters("".join(block[0].itertext())).endswith(name)


def _letters(heading: str) -> str:
    """What all ways to make an id of a heading agree on; the number before it is in none."""
    plain = unicodedata.normalize("NFKD", heading.lower())
    return "".join(char for char in plain if char.isascii() and char.isalnum())


def _opaque(pre: Tree, *, keep: bool) -> None:
    for line_break in pre.iter("br"):
        line_break.text = "\n"
    block = "".join(pre.itertext()).strip("\n")
    table = next(pre.iterancestors("table"), None)
    if table is not None and sum(1 for _ in table.iter("tr")) == 1:  # a table for the layout of line numbers
        for element in table.iter("table", "tbody", "tr", "td"):
            element.tag = "div"
    pre[:] = []
    pre.attrib.clear()
    pre.tag = "p"
    pre.text = f"{OPEN}{hide(block)}{CLOSE}" if keep and block.strip() else None


def _mark_main(tree: Tree) -> None:
    """Name the container of the text <main>, so that trafilatura takes headings and lists from it too.

    Where it knows no container, it gathers paragraphs, code and tables from all over the page.
    """
    body = tree.find("body")
    if body.find(".//main") is not None:
        return
    found = _MAIN(body)
    if found:
        found[0].tag = "main"
        return
    main = lxml.etree.Element("main")
    main.text, body.text = body.text, None
    main.extend(list(body))
    body.append(main)
