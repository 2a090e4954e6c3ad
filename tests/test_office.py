"""PDF, DOCX, PPTX and EPUB: text with headings and tables, metadata, and what becomes of broken ones."""

import importlib.util
import zipfile

import pytest

from curate.sources import pages
from curate.sources.readers import ExtractOptions, read_slice, reader_fingerprint, split
from schemas.errors import MissingExtraError
from tests.lakes import run, text
from tests.office_files import ENCRYPT, bomb, docx, epub, pdf, pptx

for package in ("pypdfium2", "docx", "pptx", "lxml"):
    pytest.importorskip(package)

OPTIONS = ExtractOptions.model_validate({})


def read(path):
    """The record of a file, or its fault."""
    (piece,) = split(path)
    (found,) = read_slice(piece, {}, OPTIONS)
    return found.records.to_pylist()[0] if found.records.num_rows else found.faults[0]


def test_a_pdf(tmp_path):
    file = pdf(
        tmp_path / "a.pdf", [["The harbour opens", "early."], [], ["Boats leave."]],
        title="The harbour", author="Ada", created="D:20240105100000+01'00'",
    )  # fmt: skip
    row = read(file)
    assert row["text"] == "The harbour opens\nearly.\n\nBoats leave."
    assert (row["title"], row["author"], row["date"]) == ("The harbour", "Ada", "2024-01-05T10:00:00+01:00")


def test_a_pdf_without_metadata_is_called_like_its_file(tmp_path):
    row = read(pdf(tmp_path / "tides.pdf", [["High water."]]))
    assert (row["title"], row["author"], row["date"], row["text"]) == ("tides", "", "", "High water.")


def test_a_word_document(tmp_path):
    def fill(document):
        document.add_heading("Harbour", 0)
        document.add_paragraph("Boats leave before dawn.")
        document.add_heading("Depths", 2)
        document.add_paragraph("nets", style="List Bullet")
        document.add_paragraph("ropes", style="List Number")
        table = document.add_table(2, 2)
        for cell, value in zip(
            (cell for row in table.rows for cell in row.cells),
            ("port", "depth", "Emden", "9\nm"),
            strict=True,
        ):
            cell.text = value
        document.add_page_break()
        document.add_paragraph("The end.")

    row = read(docx(tmp_path / "a.docx", fill))
    assert (
        row["text"]
        == "# Harbour\n\nBoats leave before dawn.\n\n## Depths\n\n- nets\n- ropes\n\nport | depth\nEmden | 9 m\n\nThe end."
    )
    assert (row["title"], row["author"], row["date"], row["declared_language"]) == (
        "The harbour",
        "Ada",
        "2024-01-05T10:00:00+00:00",
        "en",
    )


def test_a_presentation(tmp_path):
    row = read(
        pptx(tmp_path / "a.pptx", [("Ebb", ["water falls"]), ("Flood", ["water rises", "boats float"])])
    )
    assert (
        row["text"]
        == "# Ebb\n\nwater falls\n\n# Flood\n\nwater rises\nboats float\n\nport | depth\nEmden | 9 m"
    )
    assert row["title"] == "Tides"


def test_a_book(tmp_path):
    two = (
        "<div>loose <b>text</b><h2>Two</h2><table><tr><th>port</th><th>depth</th></tr>"
        "<tr><td>Emden</td><td><p>9 m</p></td></tr></table></div>"
        "<pre>a\n  b</pre><blockquote><p>said</p><p>twice</p></blockquote>"
    )
    chapters = [
        "<h1>One</h1><p>Boats <em>leave</em>&#160;early.</p><ul><li>nets</li><li>ropes<ul><li>thin</li></ul></li></ul><script>x()</script>",
        two,
    ]
    row = read(epub(tmp_path / "a.epub", chapters))
    assert row["text"] == (
        "# One\n\nBoats leave early.\n\n- nets\n- ropes\n  - thin\n\nloose text\n\n## Two\n\nport | depth\nEmden | 9 m\n\n"
        "```\na\n  b\n```\n\n> said\n>\n> twice"
    )
    assert (row["title"], row["author"], row["date"], row["declared_language"]) == (
        "A Voyage",
        "Ada, Grace",
        "2019-05-01",
        "en",
    )


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])
    return path


def repacked(path, name, body):
    """The zip with another body for one of its parts."""
    with zipfile.ZipFile(path) as packed:
        parts = {part: packed.read(part) for part in packed.namelist()} | {name: body}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for part, content in parts.items():
            packed.writestr(part, content)
    return path


LAUGHS = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "' + b"&a;" * 1000 + b'"><!ENTITY c "' + b"&b;" * 1000 + b'"><!ENTITY d "' + b"&c;" * 1000 + b'">]><x>&d;</x>'  # fmt: skip
PROTECTED = '<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><EncryptedData xmlns="http://www.w3.org/2001/04/xmlenc#"><CipherData><CipherReference URI="book/chapter%200.xhtml"/></CipherData></EncryptedData></encryption>'


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "reason", "words"),
    [
        (lambda f: pdf(f / "a.pdf", [[], []]), "skipped:no_text", "None of its 2 pages has text"),
        (lambda f: pdf(f / "a.pdf", [["x"]], encrypt=ENCRYPT), "error:read", "encrypted"),
        (lambda f: cut(pdf(f / "a.pdf", [["x"]]), 300), "error:read", "no PDF that can be opened"),
        (lambda f: cut(pdf(f / "a.pdf", [["x"]]), 0), "error:read", "no PDF that can be opened"),
        (lambda f: cut(docx(f / "a.docx", lambda d: d.add_paragraph("x")), 9_000), "error:read", "It is no DOCX file (no zip): damaged"),
        (lambda f: repacked(docx(f / "a.docx", lambda d: None), "word/document.xml", b" " * 300_000_000), "error:read", "decompression bomb"),
        (lambda f: repacked(docx(f / "a.docx", lambda d: None), "word/document.xml", LAUGHS), "error:read", "It is no Word document"),
        (lambda f: repacked(docx(f / "a.docx", lambda d: None), "[Content_Types].xml", b"<x/>"), "error:read", "It is no Word document"),
        (lambda f: epub(f / "a.epub", ["<p>x</p>"], {"META-INF/encryption.xml": PROTECTED}), "error:read", "copy protection"),
        (lambda f: epub(f / "a.epub", ["<p> </p>"]), "skipped:no_text", "None of its chapters"),
        (lambda f: repacked(epub(f / "a.epub", ["<p>x</p>"]), "book/content.opf", LAUGHS), "error:read", "book/content.opf is no XML"),
        (lambda f: repacked(epub(f / "a.epub", ["<p>x</p>"]), "META-INF/container.xml", b"no"), "error:read", "META-INF/container.xml is no XML"),
    ],
    ids=range(12),
)  # fmt: skip
def test_what_cannot_be_read_is_a_fault_with_its_cause(tmp_path, make, reason, words):
    found = read(make(tmp_path))
    assert (found.ordinal, found.reason) == (0, reason)
    assert words in found.message


@pytest.mark.parametrize("suffix", [".docx", ".pptx", ".epub"])
def test_what_is_no_zip_says_what_it_may_be(tmp_path, suffix):
    (tmp_path / f"a{suffix}").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500))
    assert "an old Office file, or one with a password" in read(tmp_path / f"a{suffix}").message
    (tmp_path / f"gone{suffix}").symlink_to(tmp_path / "nothing")
    assert read(tmp_path / f"gone{suffix}").reason == "error:read"


@pytest.mark.slow
def test_a_file_that_unpacks_to_gigabytes_costs_only_itself(tmp_path):
    """The worker's memory is limited, and the next file is read."""
    pdf(tmp_path / "a.pdf", [["bomb"]], compress=bomb)
    pdf(tmp_path / "b.pdf", [["fine"]])
    files = [(name, tmp_path / name, "pdf") for name in ("a.pdf", "b.pdf")]
    options = ExtractOptions.model_validate({"memory_mb": 600})
    first, second = [read for _, read in pages.extract_files(files, options, workers=1)]
    assert (
        first.faults[0].reason in {"error:memory", "error:extract", "error:read", "skipped:no_text"}
        or first.records.num_rows
    )
    assert second.records.column("text").to_pylist() == ["fine"]


def test_a_file_that_takes_too_long_is_a_fault(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "_FILE_SECONDS", 0.1)
    pdf(tmp_path / "a.pdf", [["word"] * 100] * 1_000)
    ((_, found),) = pages.extract_files([("a", tmp_path / "a.pdf", "pdf")], OPTIONS, workers=1)
    assert found.faults[0].reason == "error:timeout"


@pytest.mark.parametrize(("suffix", "package"), [("pdf", "pypdfium2"), ("docx", "docx"), ("epub", "lxml")])
def test_a_missing_package_is_named_with_what_to_type(tmp_path, monkeypatch, suffix, package):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else find(name))
    (tmp_path / f"a.{suffix}").write_bytes(b"x")
    with pytest.raises(MissingExtraError, match=package) as caught:
        read(tmp_path / f"a.{suffix}")
    assert "pip install '.[office]'" in caught.value.hint


@pytest.mark.slow
def test_a_run_reads_them_beside_others_and_counts_what_it_could_not(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    pdf(folder / "a.pdf", [[text(1)]], title="One")
    docx(folder / "b.docx", lambda document: document.add_paragraph(text(2)))
    (folder / "c.md").write_text(text(3))
    (folder / "d.pdf").write_bytes(b"no PDF")
    (tmp_path / "curate.toml").write_text(
        'name = "mixed"\nextends = "docs"\n[sources.files]\nfiles = "docs"\n'
    )
    report = run(tmp_path / "curate.toml").table("documents")
    assert (report.rows, report.kept) == (4, 3)
    assert [(failure.place, failure.reason) for failure in report.failures] == [("docs/d.pdf", "error:read")]
    again = run(tmp_path / "curate.toml").table("documents")
    assert (again.measured, again.kept) == (0, 3)


def test_another_version_of_a_library_reads_such_files_anew():
    assert {"pypdfium2", "python-docx", "fields"} <= set(reader_fingerprint("pdf"))
    assert "pypdfium2" not in reader_fingerprint("html", OPTIONS)
