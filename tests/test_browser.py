"""Dagster's page as users meet it: a browser that presses "Materialize all" and looks at what was made."""

import json

import pytest

from curate.lake.lake import Lake
from indexing.way import tables_of
from schemas.recipe import load_recipe
from tests.browser import CHROMIUM, browse, curate_ui, materialize_all, open_graph, show
from tests.lakes import make_recipe

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium on the PATH: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def ui(tmp_path_factory):
    """The recipe, and the address of the page on it."""
    recipe = make_recipe(tmp_path_factory.mktemp("ui"))
    with curate_ui(recipe.parent) as url:
        yield recipe, url


def test_materialize_all_makes_every_table_and_shows_what_it_made(ui):
    recipe, url = ui
    tables = [table for table in tables_of(load_recipe(recipe))]
    with browse() as page:
        broken = []
        page.on("pageerror", lambda error: broken.append(str(error)))
        open_graph(page, url)
        assert materialize_all(page, url) == "Success"
        assert Lake(recipe.parent / "lake").head().live["harbour"]

        open_graph(page, url)
        page.get_by_text("index_live").first.wait_for()
        shown = page.locator("foreignObject").all_text_contents()
        print(json.dumps(shown))

        show(page, f"{url}/assets/harbour/corpus", "Row count")
        print(page.locator("body").inner_text())
        assert not broken
