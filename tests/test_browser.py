"""Dagster's page as users meet it: a browser that presses "Materialize all" and looks at what was made."""

import re

import pytest

from curate.engine.checks import check_names
from curate.lake.lake import Lake
from indexing.way import tables_of
from schemas.recipe import load_recipe
from tests.browser import CHROMIUM, browse, curate_ui, materialize_all, open_graph, show
from tests.lakes import make_recipe

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not CHROMIUM, reason="there is no chromium on the PATH: apt-get install chromium"),
]


def test_materialize_all_makes_every_table_and_shows_what_it_made(tmp_path):
    recipe = load_recipe(make_recipe(tmp_path))
    broken = []
    with curate_ui(tmp_path) as url, browse(3000, 600) as page:  # so wide that nodes show their details
        page.on("pageerror", lambda error: broken.append(str(error)))
        open_graph(page, url)
        assert materialize_all(page, url) == "Success"
        assert Lake(tmp_path / "lake").head().live["harbour"]

        open_graph(page, url)
        page.locator("foreignObject", has_text="Materialized").nth(len(tables_of(recipe)) - 1).wait_for()
        nodes = page.locator("foreignObject").all_text_contents()
        for table in tables_of(recipe):
            (node,) = [text for text in nodes if re.match(rf"{table}(?![_a-z])", text)]
            checks = len(check_names(recipe, table))
            assert "Materialized" in node
            assert f"{checks} / {checks} Passed" in node or not checks

        show(page, f"{url}/assets/harbour/corpus", "Row count")
        page.get_by_text("the text: clean").first.wait_for()  # columns come after the counts
        shown = page.locator("body").inner_text()
        assert "Row count\n21\n" in shown
        assert re.search(r"^text\s+string\s+the text: clean", shown, re.MULTILINE)
        assert "Replaces e-mail addresses" in shown
        assert "docs.jsonl#17" in shown  # samples
        assert "@harbour.example" not in shown
        page.get_by_role("button", name="Plots").click()
        page.get_by_text("bytes written").wait_for()

        show(page, f"{url}/assets/harbour/filtered?view=checks&checkDetail=kept_share", "blocking")
        succeeded = page.get_by_text("Succeeded", exact=True)
        succeeded.nth(
            len(check_names(recipe, "filtered")) - 1
        ).wait_for()  # each is fetched after its name is shown
        assert succeeded.count() == len(check_names(recipe, "filtered"))
    assert not broken
