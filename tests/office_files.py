"""PDF, DOCX, PPTX and EPUB files, made as they are needed."""

import datetime
import zipfile
import zlib


def pdf(path, pages, *, title="", author="", created="", encrypt="", compress=None):
    """A PDF of pages of lines, written by hand; `encrypt` is put into the trailer as it is."""
    objects = {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        3: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    }
    kids = []
    for number, lines in enumerate(pages):
        page, content = 5 + 2 * number, 6 + 2 * number
        kids.append(f"{page} 0 R")
        shown = " ".join(f"({line}) Tj 0 -14 Td" for line in lines)
        stream = f"BT /F1 12 Tf 50 700 Td {shown} ET".encode() if lines else b"0 0 10 10 re f"
        extra = b""
        if compress:
            stream, extra = compress(stream), b" /Filter /FlateDecode"
        objects[page] = (
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >> /Contents {content} 0 R >>".encode()
        )
        objects[content] = b"<< /Length %d%s >>\nstream\n%s\nendstream" % (len(stream), extra, stream)
    objects[2] = f"<< /Type /Pages /Count {len(pages)} /Kids [{' '.join(kids)}] >>".encode()
    objects[4] = f"<< /Title ({title}) /Author ({author}) /CreationDate ({created}) >>".encode()
    out, offsets = bytearray(b"%PDF-1.7\n"), {}
    for number, body in sorted(objects.items()):
        offsets[number] = len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offsets[number] for number in sorted(objects))
    out += b"trailer\n<< /Size %d /Root 1 0 R /Info 4 0 R %s >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        encrypt.encode(),
        start,
    )
    path.write_bytes(out)
    return path


# Owner and user password set: nobody who does not know one reads it (RC4, revision 3).
ENCRYPT = f"/Encrypt << /Filter /Standard /V 2 /R 3 /Length 128 /P -3904 /O <{'ab' * 32}> /U <{'cd' * 32}> >> /ID [<{'11' * 16}> <{'11' * 16}>]"


def bomb(stream, size=800_000_000):
    """A stream of that many blanks behind the given one."""
    packer = zlib.compressobj(9)
    parts = [packer.compress(stream)]
    parts += [packer.compress(b" " * 1_000_000) for _ in range(size // 1_000_000)]
    return b"".join([*parts, packer.flush()])


def docx(path, fill):
    """A Word document that `fill` writes."""
    import docx

    document = docx.Document()
    document.core_properties.title, document.core_properties.author = "The harbour", "Ada"
    document.core_properties.created = datetime.datetime(2024, 1, 5, 10, tzinfo=datetime.UTC)
    document.core_properties.language = "en-GB"
    fill(document)
    document.save(str(path))
    return path


def pptx(path, slides):
    """A presentation of (title, lines) slides, with a table on the last one."""
    import pptx
    from pptx.util import Inches

    presentation = pptx.Presentation()
    presentation.core_properties.title = "Tides"
    for title, lines in slides:
        slide = presentation.slides.add_slide(presentation.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = "\n".join(lines)
    table = slide.shapes.add_table(2, 2, *[Inches(1)] * 4).table
    for row, values in enumerate((("port", "depth"), ("Emden", "9 m"))):
        for column, value in enumerate(values):
            table.cell(row, column).text = value
    presentation.save(str(path))
    return path


CONTAINER = '<?xml version="1.0"?><container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile full-path="book/content.opf"/></rootfiles></container>'


def epub(path, chapters, more=None):
    """A book of chapters (XHTML bodies) in their order; `more`: other parts by name."""
    names = [f"chapter {number}.xhtml" for number in range(len(chapters))]
    items = "".join(
        f'<item id="c{n}" href="{name.replace(" ", "%20")}" media-type="application/xhtml+xml"/>'
        for n, name in enumerate(names)
    )
    spine = "".join(f'<itemref idref="c{n}"/>' for n in range(len(names)))
    opf = f"""<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0">
      <metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>A Voyage</dc:title><dc:creator>Ada</dc:creator>
      <dc:creator>Grace</dc:creator><dc:date>2019-05-01</dc:date><dc:language>en-US</dc:language></metadata>
      <manifest>{items}<item id="i" href="cover.jpg" media-type="image/jpeg"/></manifest><spine>{spine}</spine></package>"""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("mimetype", "application/epub+zip")
        packed.writestr("META-INF/container.xml", CONTAINER)
        packed.writestr("book/content.opf", opf)
        for name, body in zip(names, chapters, strict=True):
            packed.writestr(
                f"book/{name}",
                f'<html xmlns="http://www.w3.org/1999/xhtml"><head><title>no</title></head><body>{body}</body></html>',
            )
        for name, body in (more or {}).items():
            packed.writestr(name, body)
    return path
