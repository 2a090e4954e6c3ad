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

PICTURES = Path(__import__("os").environ.get("PICS") or Path(__file__).resolve().parent / "pictures")
# The last one is the recipe's own; the plots over runs need the others.
RULES = ("words < 60", "words < 30", "words < 10")
HEAD, MARGIN = 110, 25  # pixels: of the page above the graph, and around the graph


def main() -> int:
    """Make the example three times in Dagster, then take the pictures."""
    server = serve(EXAMPLES / "site")
    text = (EXAMPLES / "curate.toml").read_text()
    with tempfile.TemporaryDirectory(prefix="curate-") as folder:
        recipe = Path(folder, "curate.toml")
        source = f'{text}connect = "127.0.0.1:{server.server_address[1]}"\n'
        recipe.write_text(source)
        with curate_ui(recipe.parent) as url:
            for rule in RULES:
                recipe.write_text(f'{source}\n[filtered.length]\ndrop.too_short = "{rule}"\n')
                with browse() as page:
                    open_graph(page, url)
                    if (ended := materialize_all(page, url)) != "Success":
                        sys.exit(f"The run ended with {ended}.")
            take(url, "demo")
    return 0


def take(url: str, name: str) -> None:
    """All pictures of the recipe of that name."""
    with browse(1300, 700, scale=2) as page:
        open_graph(page, url)
        _shoot(page, "graph", _moved_up(page))
    with browse(1280, 1000) as page:
        show(page, f"{url}/assets/{name}/filtered", "Row count")
        _shoot(page, "asset")
        page.get_by_role("button", name="Plots").click()
        page.get_by_text("Metadata", exact=True).evaluate("heading => heading.scrollIntoView()")
        _shoot(page, "plots")
        show(page, f"{url}/assets/{name}/index_candidate?view=checks&checkDetail=recall", "blocking")
        _shoot(page, "checks")
        show(page, f"{url}/runs", "Success")
        page.locator("a[href^='/runs/']").first.click()
        page.get_by_text("RUN_SUCCESS").wait_for()
        _shoot(page, "run")


def _moved_up(page: Page) -> float:
    """Drag the graph to the head of its page, away from the tools at the foot; returns where it ends."""
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
