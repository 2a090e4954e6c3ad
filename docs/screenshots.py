"""Takes docs/pictures/ui-*.png: `curate ui` on the site in examples/site. `python docs/screenshots.py`.

Look at every picture before it is committed. It needs Chromium on the PATH.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page

from examples.demo import HERE as EXAMPLES
from examples.demo import serve
from tests.browser import browse, curate_ui, materialize_all, open_graph, show

PICTURES = Path(__file__).resolve().parent / "pictures"
# The last one is the recipe's own; the plots over runs need the others.
RULES = ("words < 60", "words < 30", "words < 10")
HEAD, MARGIN = 110, 25  # pixels: of the page above the graph, and around the graph


def main() -> int:
    """Make the example three times in Dagster, then take the pictures."""
    connect = f"127.0.0.1:{serve(EXAMPLES / 'site').server_address[1]}"
    text = f"extends = '{EXAMPLES / 'curate.toml'}'\nsources.site.connect = '{connect}'\n"
    with tempfile.TemporaryDirectory(prefix="curate-") as folder:
        recipe = Path(folder, "curate.toml")
        recipe.write_text(text)
        with curate_ui(recipe.parent) as url:
            for rule in RULES:
                recipe.write_text(f"{text}filtered.length.drop.too_short = '{rule}'\n")
                _make(url)
            take(url, "demo")
    return 0


def _make(url: str) -> None:
    with browse() as page:
        open_graph(page, url)
        ended = materialize_all(page, url)
    if ended != "Success":
        sys.exit(f"The run ended with {ended}.")


def take(url: str, name: str) -> None:
    """All pictures of the recipe of that name."""
    with browse(1300, 700, scale=2) as page:
        show(page, f"{url}/asset-groups", "Materialize all")
        _shoot(page, "graph", _open_wide(page))
    with browse(1280, 1000) as page:
        show(page, f"{url}/assets/{name}/filtered", "Row count")
        _shoot(page, "asset")
        page.get_by_role("button", name="Plots").click()
        page.get_by_text("bytes written").wait_for()
        page.get_by_text("Metadata", exact=True).evaluate("heading => heading.scrollIntoView()")
        _shoot(page, "plots")
        show(page, f"{url}/assets/{name}/index_candidate?view=checks&checkDetail=coverage", "blocking")
        _shoot(page, "checks")
        show(page, f"{url}/runs", "Success")
        page.locator("a[href^='/runs/']").first.click()
        page.get_by_text("RUN_SUCCESS").wait_for()
        _shoot(page, "run")


def _open_wide(page: Page) -> float:
    """Let the unfolded graph fill the width of its page, at the head of it; returns where it ends."""
    page.locator("foreignObject", has_text="retrieval").wait_for()
    page.get_by_label("panel_show_right").click()  # folds the list beside it
    page.get_by_label("settings").last.click()
    page.get_by_role("menuitem").filter(has_text="Expand all groups").click()
    page.keyboard.press("Escape")
    page.locator("foreignObject", has_text="documents").wait_for()
    page.wait_for_timeout(2_000)  # until it has its place
    box = page.locator("foreignObject").first.bounding_box() or {}
    page.mouse.move(600, 600)
    page.mouse.down()
    page.mouse.move(600, 600 + HEAD + MARGIN - box["y"], steps=5)
    page.mouse.up()
    return HEAD + MARGIN + box["height"] + MARGIN


def _shoot(page: Page, name: str, height: float = 0) -> None:
    page.mouse.move(5, 5)  # nothing is under it
    page.wait_for_timeout(2_000)  # what was drawn has come to rest
    size = page.viewport_size or {}
    clip = {"x": 0, "y": 0, "width": size["width"], "height": height or size["height"]}
    page.screenshot(path=PICTURES / f"ui-{name}.png", clip=clip)


if __name__ == "__main__":
    sys.exit(main())
