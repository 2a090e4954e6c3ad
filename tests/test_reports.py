"""Funnel, sentence and HTML page: what a run says of itself, whatever stands in titles and texts."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import html as lxml_html
from rich.console import Console

from curate.reports.funnel import Funnel, bars
from curate.reports.histogram_card import histogram_card
from curate.reports.html import render, write_report
from curate.reports.numbers import duration, share, size
from curate.reports.summary import funnel_rows, nothing_changed, sentence
from schemas.checks import Check
from schemas.report import Failure, Histogram, Limit, Reason, RunReport, Sample, TableReport

HOSTILE = "</script><img src=x onerror=alert(1)><a href=javascript:1>\x1b[2J\u202e]]><!--"


def a_report(**corpus):
    """380 pages, of which 8 are empty and 63 in the wrong language."""
    empty = Reason(step="extract", reason="empty_text", rule="chars = 0", dropped=8, failed=8, alone=8)
    language = Reason(
        step="langid", reason="wrong_language", rule="score < 0.5", dropped=38, failed=40, alone=30
    )
    histogram = Histogram(
        step="langid", measure="score", edges=[n / 10 for n in range(11)], counts=[4, 4, 4, 8, 20, 30, 40, 60, 80, 122],
        limits=[Limit(reason="wrong_language", op="<", value=0.5)],
    )  # fmt: skip
    return RunReport(
        name="acme-docs", run="20261122T071200-ab12cd", version=8, live="i1", seconds=3.14,
        tables=[
            TableReport(table="pages", rows=380, kept=380, measured=2, reused=378),
            TableReport(table="documents", rows=380, kept=372, reasons=[empty]),
            TableReport(
                table="filtered", rows=372, kept=334, reused=370, reasons=[language], histograms=[histogram],
                languages={"en": 300, "de": 72}, step_seconds={"langid": 2.0, "length": 0.5}, came_back=12,
            ),
            TableReport(table="corpus", rows=334, kept=334, arrived=12, bytes_written=9, **corpus),
            TableReport(table="vectors", rows=1235, kept=1235, measured=31, reused=1204),
        ],
    )  # fmt: skip


def shown(report, width=80, encoding="utf-8"):
    import io

    raw = io.BytesIO()
    console = Console(file=io.TextIOWrapper(raw, encoding=encoding, write_through=True), width=width)
    console.print(Funnel(report))
    return raw.getvalue().decode(encoding).rstrip("\n").split("\n")


def test_the_funnel_shows_each_table_after_the_reasons_that_led_to_it():
    assert [(row.name, row.count) for row in funnel_rows(a_report())] == [
        ("pages", 380),
        ("extract.empty_text", 8),
        ("documents", 372),
        ("langid.wrong_language", 38),
        ("filtered", 334),
        ("corpus", 334),
    ]


def test_the_funnel_in_the_terminal():
    lines = shown(a_report())
    assert [" ".join(line.split()[:3]) for line in lines[:3]] == [
        "pages 380 ██████████████████████████████", "extract.empty_text −8 ▋", "documents 372 98",
    ]  # fmt: skip
    assert lines[3].split()[:2] == ["langid.wrong_language", "−38"]
    assert lines[4].split()[:4] == ["filtered", "334", "88", "%"]


def test_many_documents_of_few_files_begin_a_new_scale():
    report = RunReport(name="x", run="r", tables=[
        TableReport(table="pages", rows=2, kept=2), TableReport(table="documents", rows=1000, kept=1000),
        TableReport(table="corpus", rows=1000, kept=900, reasons=[Reason(step="a", reason="b", dropped=100)]),
    ])  # fmt: skip
    rows = [(row.name, row.count) for row in funnel_rows(report)]
    assert rows == [("pages", 2), ("records", 1000), ("documents", 1000), ("a.b", 100), ("corpus", 900)]
    assert "0.2 %" not in render(report)  # pages are no share of records
    assert "90 %" in render(report)


def test_pages_that_were_lost_and_documents_not_taken_are_accounted_for():
    report = RunReport(name="x", run="r", tables=[
        TableReport(table="pages", rows=100, kept=90, reasons=[Reason(step="fetch", reason="http_404", dropped=10)]),
        TableReport(table="documents", rows=50, kept=50),
    ])  # fmt: skip
    rows = [(row.name, row.count) for row in funnel_rows(report)]
    assert rows == [
        ("asked", 100),
        ("fetch.http_404", 10),
        ("pages", 90),
        ("(not taken)", 40),
        ("documents", 50),
    ]


def test_of_more_than_six_reasons_the_five_largest_are_named():
    reasons = [Reason(step="s", reason=f"r{n}", dropped=n) for n in range(1, 10)]
    report = RunReport(
        name="x", run="r", tables=[TableReport(table="filtered", rows=100, kept=55, reasons=reasons)]
    )
    named = [row for row in funnel_rows(report) if row.kind == "reason"]
    assert [row.name for row in named] == ["s.r5", "s.r6", "s.r7", "s.r8", "s.r9", "4 others"]
    assert named[-1].count == 1 + 2 + 3 + 4


@pytest.mark.parametrize("width", [20, 40, 60, 88, 200])
def test_no_line_of_the_funnel_wraps_and_numbers_stay_whole(width):
    lines = shown(a_report(), width)
    assert len(lines) == 6
    assert all(len(line) <= width for line in lines)
    if width >= 40:
        assert any("−38" in line for line in lines)


def test_where_the_terminal_knows_ascii_only_bars_are_ascii():
    assert "#" in shown(a_report(), encoding="ascii")[0]
    assert all(line.isascii() for line in shown(a_report(), encoding="ascii"))


def test_an_empty_report_has_no_funnel():
    assert shown(RunReport(name="x", run="r")) == [""]


@given(st.floats(0, 1), st.integers(1, 60))
def test_a_bar_has_the_length_of_its_share(fraction, width):
    drawn = bars(fraction, width)
    assert len(drawn) <= width
    assert bool(drawn) == (fraction > 0)
    eighths = 8 * drawn.count("█") + (" ▏▎▍▌▋▊▉".index(drawn[-1]) if drawn and drawn[-1] != "█" else 0)
    assert abs(eighths - fraction * width * 8) <= 1


def test_the_sentence_tells_what_changed_and_what_was_reused():
    assert sentence(a_report()) == (
        "acme-docs version 8: 12 documents came back, 31 chunks embedded, 1,204 reused, 3.1 s"
    )


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"arrived": 5, "kept": 5}, "5 documents"),  # the first run
        ({"arrived": 5, "kept": 9}, "5 documents new"),
        ({"gone": 1, "kept": 9}, "1 document gone"),
        ({"arrived": 2, "changed": 3, "gone": 4, "kept": 9}, "2 documents new, 3 changed, 4 gone"),
        ({"kept": 9, "measured": 1}, "9 documents as before"),
    ],
)
def test_the_sentence_names_each_kind_of_change(counts, said):
    report = RunReport(
        name="x", run="r", version=2, seconds=1, tables=[TableReport(table="corpus", **counts)]
    )
    assert sentence(report) == f"x version 2: {said}, 1.0 s"


def test_a_run_that_changed_nothing_says_so():
    table = TableReport(table="corpus", rows=12, kept=12, reused=12)
    report = RunReport(name="x", run="r", version=8, seconds=0.4, tables=[table])
    assert nothing_changed(report)
    assert sentence(report) == "x: nothing changed since version 8, 12 documents, 0.4 s"
    assert not nothing_changed(a_report())


@given(st.integers(0, 10**7), st.integers(1, 10**7))
def test_a_share_is_0_or_100_only_if_it_is(part, whole):
    part = min(part, whole)
    percent = float(share(part, whole).removesuffix(" %"))
    assert (percent == 0) == (part == 0)
    assert (percent == 100) == (part == whole)
    assert abs(percent - 100 * part / whole) <= 0.5


def test_units_change_where_people_change_them():
    assert [duration(seconds) for seconds in (0, 9.94, 59.6, 60, 3600, 5400)] == [
        "0.0 s", "9.9 s", "1 min", "1 min", "1 h", "1 h 30 min",
    ]  # fmt: skip
    assert [size(count) for count in (1, 1500, 999_600, 25_000_000_000)] == [
        "1 byte",
        "1.5 kB",
        "1.0 MB",
        "25 GB",
    ]


def test_a_bar_beyond_a_limit_is_marked():
    report = a_report()
    card = histogram_card(report.table("filtered").histograms[0], report.table("filtered"))
    assert [bar["out"] for bar in card["bars"]] == [True] * 5 + [False] * 5
    assert card["rules"] == ["score < 0.5: 40 documents"]
    assert [limit["percent"] for limit in card["limits"]] == [50.0]


def test_of_a_rule_with_several_conditions_only_what_failed_is_marked():
    histogram = Histogram(
        step="s", measure="m", edges=[0, 1, 2], counts=[10, 4], failed=[5, 0],
        limits=[Limit(reason="a", op="<", value=2), Limit(reason="b", op="<", value=1.9)],
    )  # fmt: skip
    card = histogram_card(histogram, TableReport(table="t"))
    assert [(bar["height"], bar["left"], bar["out"]) for bar in card["bars"]] == [
        (100, 50, True),
        (40, 0, False),
    ]


def test_labels_of_limits_that_are_near_each_other_stand_in_rows():
    limits = [Limit(reason="r", op="<", value=value) for value in (50, 52, 90, 50)]
    histogram = Histogram(step="s", measure="m", edges=[0, 50, 100], counts=[1, 1], limits=limits)
    card = histogram_card(histogram, TableReport(table="t"))
    assert [(limit["label"], limit["row"]) for limit in card["limits"]] == [
        ("< 50", 0),
        ("< 52", 1),
        ("< 90", 0),
    ]


def elements(page):
    """How many elements of each kind the browser would make."""
    tree = lxml_html.document_fromstring(page)
    kinds = ("script", "img", "iframe", "link", "a", "object", "form", "style", "meta")
    return {kind: len(tree.findall(f".//{kind}")) for kind in kinds}


def test_the_page_holds_everything_and_asks_for_nothing(tmp_path):
    sample = Sample(
        id="ab12", place="https://docs.acme.example/vpn", title="Reset the VPN", text="Open the client."
    )
    write_report(a_report(counts={"redacted.email": 7}), [sample], tmp_path / "reports" / "run.html")
    page = (tmp_path / "reports" / "run.html").read_text("utf-8")
    words = " ".join(lxml_html.document_fromstring(page).text_content().split())
    for expected in (
        "12 documents came back", "of 380 documents read", "langid.wrong_language", "score < 0.5: 40 documents",
        "The slowest step was filtered.langid: 2.0 s, 80 %", "Reset the VPN", "email", "Open the client.",
    ):  # fmt: skip
        assert expected in words
    found = elements(page)
    assert (found["script"], found["img"], found["link"], found["iframe"]) == (1, 0, 0, 0)
    assert not re.search(r"""(?:src|url\()\s*=?\s*["']?https?:""", page)
    assert len(list((tmp_path / "reports").iterdir())) == 1


def test_the_script_of_the_page_is_the_one_that_its_policy_allows():
    import base64
    import hashlib

    page = render(a_report())
    script = lxml_html.document_fromstring(page).find(".//script").text
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = lxml_html.document_fromstring(page).find(".//meta").get("content")
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


def test_hostile_words_stay_words():
    clean_report, hostile = a_report(), a_report()
    hostile.name = HOSTILE
    for table in hostile.tables:
        table.notes = [HOSTILE]
        table.checks = [Check(name=HOSTILE, passed=False, message=HOSTILE)]
        table.failures = [Failure(id=HOSTILE, place=HOSTILE, reason=HOSTILE, message=HOSTILE)]
        for reason in table.reasons:
            reason.reason = reason.rule = HOSTILE
        for histogram in table.histograms:
            histogram.measure = HOSTILE
        table.languages = {HOSTILE: 3}
        table.step_seconds = {HOSTILE: 1.0}
    samples = [
        Sample(
            id=HOSTILE,
            place=place,
            title=HOSTILE,
            text=f"{HOSTILE}\nsecond line",
            step=HOSTILE,
            reason=HOSTILE,
        )
        for place in (HOSTILE, "javascript:alert(1)", " https://a.example/", "data:text/html,x")
    ]
    page = render(hostile, samples)
    assert elements(page) == elements(render(clean_report))
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", page)
    assert not lxml_html.document_fromstring(page).xpath("//@onerror | //@src")
    assert "second line" in page


def test_only_web_places_become_links():
    good = Sample(id="a", place="https://a.example/?q=1&b=2", text="x")
    tree = lxml_html.document_fromstring(render(a_report(), [good]))
    (link,) = tree.findall(".//a")
    assert link.get("href") == good.place
    assert link.get("rel") == "noreferrer noopener"


def test_what_was_masked_is_told_only_where_it_was_counted():
    assert "personal details masked" not in render(a_report())
    assert '>0</b><span class="muted">personal details masked' in render(
        a_report(counts={"redacted.email": 0})
    )


def test_a_page_of_nothing_is_a_page():
    page = render(RunReport(name="x", run="r"))
    assert elements(page)["script"] == 1
    assert "nan" not in page.lower().split()
