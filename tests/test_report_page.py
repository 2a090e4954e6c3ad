"""The report in a browser: nothing runs out of the page on a telephone, and every word can be read."""

import pytest

pytest.importorskip("playwright")
from tests.browser import CHROMIUM
from tests.report_pages import CONTRASTS, OVERFLOWS, VIEWS, make_report, opened

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not CHROMIUM, reason="there is no chromium on the PATH: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return make_report(tmp_path_factory.mktemp("report"))


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_nothing_scrolls_sideways_and_every_word_has_contrast(report, width, scheme):
    with opened(report, width, scheme) as page:
        assert page.get_by_text("Who is dropped").is_visible()
        assert page.get_by_text("What fails together").is_visible()
        assert page.evaluate(OVERFLOWS) == []
        found = page.evaluate(CONTRASTS)
        assert len(found) > 100
        assert [words for contrast, words in found if contrast < 4.5] == []


def test_rules_can_be_filtered_and_sorted(report):
    with opened(report, 1440, "light") as page:
        page.get_by_label("Filter the rules").fill("langid")
        shown = [row for row in page.locator("#rules tbody tr").all() if row.is_visible()]
        assert len(shown) == 1
        page.get_by_label("Filter the rules").fill("")
        page.get_by_role("button", name="failed").click()
        counts = [
            int(cell.replace(",", ""))
            for cell in page.locator("#rules tbody td:nth-child(4)").all_text_contents()
        ]
        assert counts == sorted(counts, reverse=True)
