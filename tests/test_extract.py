"""HTML to text: what stays, what goes, and what hostile pages may cost."""

import json
import time

import pytest

pytest.importorskip("trafilatura")

from curate.sources.extract import ExtractOptions, extract
from curate.sources.readers import Fault, extract_pages
from curate.sources.values import iso_date, language_code
from schemas.tables import RECORD_SCHEMA

PROSE = "Backups are written every night at two, and kept for thirty days on another machine. " * 4


def fields(body, charset="", **options):
    body = body.encode() if isinstance(body, str) else body
    return extract(body, charset, ExtractOptions.model_validate(options))


def page(content, head="<title>Backups | Acme</title>", lang="en"):
    return f'<!doctype html><html lang="{lang}"><head><meta charset="utf-8">{head}</head><body>{content}</body></html>'


DOCUMENTATION = page(f"""
<header><a href="/">Acme</a> <a href="/docs">Documentation</a></header>
<nav class="menu"><ul><li><a href="/a">Install</a></li><li><a href="/b">Configure</a></li></ul></nav>
<div id="page-content"><h1>Backups<a class="headerlink" href="#backups">¶</a></h1>
<p>{PROSE}Write to <a href="mailto:ops@acme.example">ops@acme.example</a>.</p>
<h2>Restoring <a href="#restoring">#</a></h2>
<p>Call <code class="command"><a href="/cmd">acme restore</a></code> with <em>--from</em> and <code>--to</code>, at 10<sup>6</sup> rows a second:</p>
<pre>acme restore \\
    --from <em>yesterday</em>

# then check
acme check</pre>
<p>What may go wrong:</p>
<ul><li>no space, <b>or</b> no rights</li><li>a lock</li></ul>
<ol><li>Stop it.</li><li>Start it.</li></ol>
<dl><dt><code>keep</code></dt><dd>How many days.</dd></dl>
<table><tr><th>Option</th><th>Default</th></tr><tr><td>keep</td><td>30</td></tr></table>
</div>
<footer>© Acme <a href="/imprint">Imprint</a></footer>
""")


def test_a_page_of_documentation_becomes_readable_markdown():
    assert fields(DOCUMENTATION)["text"] == (
        "# Backups\n\n"
        f"{PROSE}Write to ops@acme.example.\n\n"
        "## Restoring\n\n"
        "Call `acme restore` with --from and `--to`, at 10^6 rows a second:\n\n"
        "```\nacme restore \\\n    --from yesterday\n\n# then check\nacme check\n```\n\n"
        "What may go wrong:\n\n"
        "- no space, or no rights\n- a lock\n\n"
        "1. Stop it.\n2. Start it.\n\n"
        "`keep`\n: How many days.\n\n"
        "| Option | Default |\n|---|---|\n| keep | 30 |"
    )


def test_options_leave_out_tables_and_code_and_keep_links():
    plain = fields(DOCUMENTATION, tables=False, code=False)["text"]
    assert "| keep |" not in plain
    assert "```" not in plain
    assert "`" not in plain
    assert "[ops@acme.example](mailto:ops@acme.example)" in fields(DOCUMENTATION, links=True)["text"]


def test_a_heading_goes_with_the_navigation_below_it():
    links = "".join(f'<li><a href="/{n}">Chapter {n}</a></li>' for n in range(20))
    text = fields(
        page(f"<h1>Manual</h1><p>{PROSE}</p><h2>Contents</h2><ul>{links}</ul><h2>Scope</h2><p>{PROSE}</p>")
    )["text"]
    assert "Contents" not in text
    assert "## Scope" in text


def test_a_short_page_is_not_filled_with_its_navigation():
    menu = '<div class="navheader"><a href="/p">Prev</a> <a href="/n">Next</a> <a href="/h">Home</a></div>'
    assert (
        fields(page(f"{menu}<h1>Chapter 2</h1><p>Not written yet.</p>"))["text"]
        == "Chapter 2\nNot written yet."
    )


def test_sections_named_after_their_headings_are_no_frame_whatever_the_heading_is():
    """As Sphinx, docutils and pandoc write them: ids of shared memory, a menu, the main content, comments."""
    headings = ["4.1. Shared memory", "The main content", "Menu attributes", "Comments", "Hidden files"]
    sections = "".join(
        f'<section id="{"-".join(name.lower().split()).lstrip("4.1-")}"><h2>{name}<a href="#x">¶</a></h2>'
        f"<p>{name}: {PROSE}</p></section>"
        for name in headings
    )
    text = fields(page(f'<div role="main"><section id="manual"><h1>Manual</h1>{sections}</section></div>'))[
        "text"
    ]
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == headings
    assert all(f"{name}: {PROSE.strip()}" in text for name in headings)


def test_comments_below_an_article_are_left_out():
    comments = (
        '<div id="comments"><h2>Comments</h2><p>First! And this is what I think about all of it.</p></div>'
    )
    article = (
        f'<main><section id="manual"><h1>Manual</h1><p>{PROSE}</p><p>{PROSE}</p></section>{comments}</main>'
    )
    text = fields(page(article))["text"]
    assert PROSE.strip() in text
    assert "First!" not in text


def test_lines_of_verse_stand_in_a_documentation_beside_its_paragraphs():
    lines = "".join(f'<div class="line">Line {n} of a poem.</div>' for n in range(3))
    paragraphs = "".join(f"<p>{n}. {PROSE}</p>" for n in range(9))
    body = f'<section id="verse"><h1>Verse</h1>{paragraphs}<div class="line-block">{lines}</div></section>'
    assert "Line 0 of a poem.\n\nLine 1 of a poem.\n\nLine 2 of a poem." in fields(page(body))["text"]


def test_footnotes_of_a_documentation_are_text_and_other_asides_are_not():
    notes = (
        '<aside class="footnote-list"><aside role="doc-footnote"><p>It was not always so.</p></aside></aside>'
    )
    aside = "<aside><p>Read also: ten more manuals.</p></aside>"
    body = (
        f'<section id="locks"><h1>Locks</h1><p>{PROSE}[1]</p>{notes}{aside}<p>{PROSE}At last.</p></section>'
    )
    text = fields(page(body))["text"]
    assert "It was not always so." in text
    assert "Read also" not in text


def test_the_choice_of_a_language_is_no_text():
    menu = '<div class="language-selection">English<ul><li><a href="/it">Italian</a></li></ul></div>'
    body = f'{menu}<section id="locks"><h1>Locks</h1><p>Not written yet.</p></section>'
    assert fields(page(f'<div role="main">{body}</div>'))["text"] == "Locks\nNot written yet."
    assert fields(page(f"{menu}<p>未完成。</p><p>此文件的目的是讓中文讀者更容易閱讀。</p>"))[
        "text"
    ].startswith("未完成")


def test_a_frame_that_is_named_after_its_navigation_keeps_the_text_in_it():
    theme = (
        '<div class="wy-grid-for-nav"><nav class="wy-nav-side"><a href="/a">Install</a></nav>'
        '<section class="wy-nav-content-wrap"><div role="main"><h1>Locks</h1><p>Not written yet.</p></div></section></div>'
    )
    assert fields(page(theme))["text"] == "Locks\nNot written yet."


@pytest.mark.parametrize(
    ("head", "content", "expected"),
    [
        ('<meta property="og:title" content="Stated">', "<h1>Heading</h1>", {"title": "Stated"}),
        ("<title>In the head - Site</title>", "<h1>Heading</h1>", {"title": "Heading"}),
        ("<title>In the head</title>", "<h1>One</h1><h1>Two</h1>", {"title": "In the head"}),
        ('<meta name="author" content="Ada  Lovelace">', "", {"author": "Ada Lovelace"}),
        (
            '<meta property="article:published_time" content="2024-03-05T10:00:00Z">',
            "",
            {"date": "2024-03-05T10:00:00Z"},
        ),
        # a date in the text is an example more often than it is the page's own
        (
            "",
            "<p>Last seen 2011-03-02, © 2020</p><span class=author>Select an author</span>",
            {"date": "", "author": ""},
        ),
    ],
)
def test_metadata_is_what_the_page_states(head, content, expected):
    found = fields(page(content + f"<p>{PROSE}</p>", head=head))
    assert {name: found[name] for name in expected} == expected


def test_metadata_from_json_ld():
    data = {
        "@graph": [
            {
                "@type": "Article",
                "datePublished": "2023-01-02",
                "author": [{"name": "Ada"}, {"name": "Grace"}],
            }
        ]
    }
    found = fields(
        page(f"<p>{PROSE}</p>", head=f'<script type="application/ld+json">{json.dumps(data)}</script>')
    )
    assert (found["author"], found["date"]) == ("Ada, Grace", "2023-01-02")


@pytest.mark.parametrize(
    ("label", "code"),
    [("pt-BR", "pt"), ("de", "de"), ("zh_CN", "zh"), ("EN", "en"), ("x-default", ""), ("ceb", ""), ("", "")],
)
def test_language_is_iso_639_1(label, code):
    assert language_code(label) == code
    assert fields(page(PROSE, lang=label))["declared_language"] == code


@pytest.mark.parametrize(
    ("value", "date"),
    [
        ("2024-01-05", "2024-01-05"), ("2024/01/05", "2024-01-05"), ("20240105", "2024-01-05"), ("2024-01", "2024-01"),
        ("2024-01-05 10:00:00+00:00", "2024-01-05T10:00:00+00:00"), ("Fri, 05 Jan 2024 10:00:00 GMT", "2024-01-05T10:00:00+00:00"),
        (1704448800, "2024-01-05T10:00:00+00:00"), (1704448800000, "2024-01-05T10:00:00+00:00"),
        ("2024-13-05", ""), ("01/05/24", ""), ("soon", ""), (True, ""), (None, ""), (7, ""),
    ],
)  # fmt: skip
def test_dates_are_iso_8601_or_empty(value, date):
    assert iso_date(value) == date


JAPANESE = "<p>" + "バックアップは毎晩二時に書き込まれます。" * 20
GERMAN = "<p>" + "Die Größe der Änderungen prüft für uns später niemand. " * 20


@pytest.mark.parametrize(
    ("body", "charset", "expected"),
    [
        (GERMAN.encode("latin-1"), "", "Größe"),  # nothing is declared
        (GERMAN.encode("latin-1"), "iso-8859-1", "Größe"),
        (GERMAN.encode("latin-1"), "utf-8", "Größe"),  # the server is wrong
        (GERMAN.encode(), "iso-8859-1", "Größe"),  # the other way about
        (GERMAN.encode() + b"\xff", "iso-8859-1", "Größe"),  # one broken byte
        (GERMAN.encode(), "no-such-charset", "Größe"),
        (GERMAN.encode(), "punycode", "Größe"),
        (b"\xff\xfe" + GERMAN.encode("utf-16-le"), "utf-8", "Größe"),
        (GERMAN.encode("utf-16-le"), "", "Größe"),
        (b"<meta charset=windows-1252>" + GERMAN.encode("cp1252"), "", "Größe"),
        (b'<?xml version="1.0" encoding="iso-8859-1"?>' + GERMAN.encode("latin-1"), "", "Größe"),
        (JAPANESE.encode("shift_jis"), "shift_jis", "バックアップ"),
        (JAPANESE.encode("euc_jp"), "", "バックアップ"),
    ],
)
def test_charsets(body, charset, expected):
    assert (
        expected
        in fields(
            b"<html><body>" + body if not body.startswith((b"\xff\xfe", b"<?xml", b"<\0")) else body, charset
        )["text"]
    )


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"%PDF-1.7 text", "PDF"),
        (b"\xff\xd8\xff\xe0 JFIF", "JPEG"),
        (b"PK\x03\x04 docx", "ZIP"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"abc\x00\x00\x01" * 50, "binary data"),
    ],
)
def test_what_is_sent_as_html_and_is_not(body, kind):
    assert fields(body) == {"reason": "skipped:not_html", "message": f"The first bytes are those of {kind}."}


@pytest.mark.parametrize("body", [b"", b"  \n", b"<!-- nothing -->", b"<html></html>", page("").encode()])
def test_an_empty_page_is_a_record_without_text(body):
    assert fields(body)["text"] == ""


def test_a_page_that_javascript_writes_is_told():
    script = '<script>window.state = "' + "x" * 5_000 + '"</script>'
    shell = page(
        f'<div id="root"></div><noscript>You need to enable JavaScript to run this app.</noscript>{script}'
    )
    assert fields(shell)["reason"] == "empty:javascript"
    # A page that is short is not such a page, even with scripts.
    assert fields(page(f"<h1>Not found</h1><p>There is no such page.</p>{script}"))["text"].endswith(
        "There is no such page."
    )


def test_a_page_over_the_limit_is_skipped():
    assert fields(b"<p>" + b"x" * 2_000, max_bytes=1_000)["reason"] == "skipped:too_large"


def nested(tag, depth):
    return page(f"<p>{PROSE}</p>" + f"<{tag}>" * depth + "the deepest word" + f"</{tag}>" * depth)


@pytest.mark.parametrize(
    ("tag", "depth"), [("div", 100), ("div", 300), ("b", 2_000), ("ul", 200), ("blockquote", 300)]
)
def test_deep_nesting_gives_text(tag, depth):
    assert "the deepest word" in fields(nested(tag, depth))["text"]


@pytest.mark.parametrize("depth", [3_000, 100_000])
def test_nesting_that_the_parser_would_cut_is_refused(depth):
    assert fields(nested("div", depth)) == {
        "reason": "error:too_deep",
        "message": "Elements are nested more than 2,000 deep.",
    }


LAUGHS = (
    "<!DOCTYPE lolz ["
    + "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    + f"]><p>{PROSE}</p><p>&l11;</p>"
)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("<p>" + "<b>word</b> " * 20_000, "word word"),  # 23 s in trafilatura alone
        (f"<p>{PROSE}</p>" + "<p>short" * 60_000, "short\nshort"),
        (f"<p>{PROSE}</p>" + "<br>" * 200_000, "Backups"),
        (LAUGHS, "Backups"),
        (f"<p>{PROSE}</p><p>a\x00b\x01c &#1; &#xd800;</p>", "abc"),
        (f'<p>{PROSE}</p><script type="application/ld+json">{"[" * 100_000}</script>', "Backups"),
    ],
    ids=["inline", "paragraphs", "breaks", "laughs", "controls", "json"],
)
def test_hostile_pages_take_seconds_not_minutes(body, expected):
    start = time.process_time()
    text = fields(body)["text"]
    assert expected in text
    assert text.isprintable() or not set(text) & {"\x00", "\x01", "\ud800"}
    assert time.process_time() - start < 30


def pages(*bodies, media_type="text/html", workers=1, **options):
    items = [(number, body, media_type, "") for number, body in enumerate(bodies)]
    return [read for _, read in extract_pages(items, ExtractOptions.model_validate(options), workers)]


def test_pages_through_the_worker_give_the_same_records_as_without_it():
    (read,) = pages(DOCUMENTATION.encode())
    assert read.records.schema == RECORD_SCHEMA
    row = read.records.to_pylist()[0]
    assert {name: row[name] for name in ("title", "author", "date", "declared_language", "text")} == fields(
        DOCUMENTATION
    )
    assert (row["ordinal"], row["url"], row["extra"]) == (0, "", "{}")
    assert read.faults == ()


def test_a_page_that_takes_too_long_is_a_fault_and_its_neighbours_are_read():
    links = page("<p>" + '<a href="x">word</a> ' * 20_000)  # quadratic, within trafilatura
    good = DOCUMENTATION.encode()
    first, second, third = pages(good, links.encode(), good, seconds=0.5)
    assert second.faults == (Fault(0, "error:timeout", "It was not done after 0.5 seconds."),)
    assert len(second.records) == 0
    assert first.records == third.records


def test_pages_by_media_type():
    (text,) = pages("Größe\r\nzwei".encode(), media_type="text/plain; charset=utf-8")
    assert text.records.column("text").to_pylist() == ["Größe\nzwei"]
    (markdown,) = pages(b"# Title\n\ntext", media_type="text/markdown")
    assert markdown.records.column("title").to_pylist() == ["Title"]
    (pdf,) = pages(b"%PDF-1.7", media_type="application/pdf")
    assert pdf.faults == (Fault(0, "skipped:not_html", "The page is application/pdf, which is not read."),)


@pytest.mark.parametrize(
    "content", ["<main><p>{}</p></main>", "<main>{}</main>", "{}", "<x-app><div>{}</div></x-app>"]
)
def test_a_page_may_leave_out_head_and_body(content):
    found = fields("<!doctype html><html lang=en><title>Backups</title>" + content.format(PROSE))
    assert found["text"] == PROSE.strip()
    assert found["title"] == "Backups"


def test_a_few_broken_bytes_do_not_spoil_a_short_page_in_utf8():
    assert "naïve café" in fields(b"<p>" + f"A naïve café. {PROSE}".encode() + b"\xff</p>", "utf-8")["text"]
