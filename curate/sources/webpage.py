"""A page as fetched to the fields of a record: what runs inside the killable worker.

Trafilatura decides what of a page is its content. Before it sees the tree, code blocks are made opaque
and inline markup is dissolved (it loses or moves words around `<code>` and `<em>`, and is quadratic in
them); after it, the content is written as Markdown. What is not covered: formulas, images, text that
scripts write, frames.

Imports neither pydantic nor Arrow, so that a worker is small and quickly forked.
"""

from __future__ import annotations

import codecs
import contextlib
import re

from charset_normalizer import from_bytes

from curate.sources import html_tree
from curate.sources.metadata import metadata

Fields = dict[str, str]  # title, author, date, declared_language, text; or reason, message

# First bytes of what servers send as text/html and is not.
_MAGIC = {
    b"%PDF-": "PDF", b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n": "PNG", b"GIF8": "GIF", b"RIFF": "RIFF", b"PK\x03\x04": "ZIP",
    b"PK\x05\x06": "ZIP", b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"7z\xbc\xaf": "7-Zip", b"\x28\xb5\x2f\xfd": "Zstandard",
    b"\x7fELF": "an ELF program", b"MZ\x90\x00": "a Windows program", b"OggS": "Ogg", b"ID3": "MP3", b"%!PS": "PostScript",
    b"\xd0\xcf\x11\xe0": "an old Office file", b"wOFF": "a font", b"wOF2": "a font", b"{\\rtf": "RTF", b"SQLite format 3": "SQLite",
}  # fmt: skip
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_META_CHARSET = re.compile(
    rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.\-]{2,40})|<\?xml[^>]{0,100}?encoding\s*=\s*[\"']([A-Za-z0-9_:.\-]{2,40})",
    re.IGNORECASE,
)
# The encodings standard (encoding.spec.whatwg.org): these labels mean the wider set on the web.
_WIDER = {
    "ascii": "cp1252", "iso8859-1": "cp1252", "iso8859-9": "cp1254", "iso8859-11": "cp874", "gb2312": "gb18030", "gbk": "gb18030",
    "shift_jis": "cp932", "euc_kr": "cp949",
}  # fmt: skip
_NO_CHARSETS = {"idna", "punycode", "unicode_escape", "raw_unicode_escape", "utf-7", "undefined"}
_BROKEN = 0.5  # share of characters beyond ASCII that may be broken for UTF-8 still to be believed
_NUL_SHARE = 0.1  # binary data has more NULs than this
_ALMOST_NO_TEXT = 100  # characters


def sniff(body: bytes) -> str:
    """What the bytes are if they are not text ("PDF"), else ""."""
    start = body[:1024].lstrip(b"\r\n\t ")
    for magic, name in _MAGIC.items():
        if start.startswith(magic):
            return name
    head = body[:4096]
    has_mark = body.startswith(tuple(mark for mark, _ in _BOMS))
    if not has_mark and not _utf16(body) and head.count(0) > _NUL_SHARE * len(head):
        return "binary data"
    return ""


def decode(body: bytes, charset: str) -> str:
    """The page as a string: by its byte order mark, else the server's charset, else <meta>, else detection.

    Bytes that are UTF-8, but for a few, are UTF-8 whatever is declared: nothing else looks like it by
    chance. Bytes that do not fit become U+FFFD.
    """
    for mark, codec in _BOMS:
        if body.startswith(mark):
            return body.decode(codec, "replace").removeprefix("\ufeff")
    if codec := _utf16(body):
        return body.decode(codec, "replace")
    meta = _META_CHARSET.search(body[:4096])
    named = (meta[1] or meta[2]).decode("ascii") if meta else ""
    declared = [codec for label in (charset, named) if (codec := _codec(label))]
    if _is_utf8(body):
        declared = ["utf-8"]
    elif body.isascii():
        declared.append("utf-8")
    else:  # whoever calls it UTF-8 is wrong
        declared = [codec for codec in declared if codec != "utf-8"]
    for codec in declared:
        with contextlib.suppress(UnicodeError):
            return body.decode(codec)
    return body.decode(declared[0] if declared else _detect(body), "replace")


def _utf16(body: bytes) -> str:
    """UTF-16 without a mark, as told by the NULs that every second byte of "<html" has; else ""."""
    even, odd = body[:8:2], body[1:8:2]
    if len(odd) < 4:
        return ""
    if not any(odd) and all(even):
        return "utf-16-le"
    return "utf-16-be" if not any(even) and all(odd) else ""


def _is_utf8(body: bytes) -> bool:
    """Whether there is something beyond ASCII, and at most half of it is broken UTF-8."""
    if body.isascii():
        return False
    text = body.decode("utf-8", "replace")
    return text.count("\ufffd") <= _BROKEN * (len(text) - len(text.encode("ascii", "ignore")))


def _codec(label: str) -> str:
    """Python's name for a charset label, widened as browsers do; "" if it is none."""
    try:
        name = codecs.lookup(label.strip("\"' ")).name
        b"".decode(name)  # refuses what is no encoding of text, like "zip"
    except (LookupError, ValueError):
        return ""
    return "" if name in _NO_CHARSETS else _WIDER.get(name, name)


def _detect(body: bytes) -> str:
    best = from_bytes(body[:100_000]).best()
    return _codec(best.encoding) or "cp1252" if best else "cp1252"


def read_page(
    body: bytes, *, charset: str, focus: str, tables: bool, code: bool, links: bool, max_bytes: int
) -> Fields:
    """The fields of a page's record: title, author, date, declared_language, text; or reason and message.

    Reasons: skipped:not_html, skipped:too_large, error:too_deep, empty:javascript. An empty page is a
    record with an empty text. `charset` is as the server stated it, or ""; the other arguments are those
    of `ExtractOptions`.
    """
    if len(body) > max_bytes:
        return _fault("skipped:too_large", f"The page has more than {max_bytes:,} bytes (max_bytes).")
    if kind := sniff(body):
        return _fault("skipped:not_html", f"The first bytes are those of {kind}.")
    page = decode(body, charset)
    tree = html_tree.parse(page)
    if tree is None:
        return {"title": "", "author": "", "date": "", "declared_language": "", "text": ""}
    if isinstance(tree, str):
        return _fault("error:too_deep", tree)
    found = metadata(tree)
    text = html_tree.content(tree, focus, tables=tables, code=code, links=links)
    if len(text) < _ALMOST_NO_TEXT and (scripts := html_tree.hiding_scripts(html_tree.parse(page))):
        message = (
            f"The page seems to be written by JavaScript: {scripts:,} characters of script, almost no text."
        )
        return _fault("empty:javascript", message)
    return {**found, "text": text}


def _fault(reason: str, message: str) -> Fields:
    return {"reason": reason, "message": message}
