"""`curate ui` and Chromium on it, for the browser test and docs/screenshots.py.

    with curate_ui(folder) as url, browse() as page:
        open_graph(page, url)
        materialize_all(page, url)

The page of Dagster names nothing for tests: it is found by roles, labels and words. It asks its server all
the time, so it is never idle: what is waited for is a word.
"""

import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Page, sync_playwright

CHROMIUM = shutil.which("chromium") or ""
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
WAIT = 180_000  # milliseconds: CI machines are slow to start Dagster's processes


@contextmanager
def curate_ui(folder: Path) -> Iterator[str]:
    """The address of `curate ui` on the recipe and the lake of a folder; its processes end with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "curate", "ui", "--port", str(port)]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        said = list(_until(url, iter(process.stderr.readline, "")))
        assert url in said[-1], "".join(said)
        yield url
    finally:
        for _ in range(2):  # the second one breaks off
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                continue
            break


def _until(word: str, lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield line
        if word in line:
            return


@contextmanager
def browse(width: int = 1440, height: int = 900, scale: int = 1) -> Iterator[Page]:
    """An empty page of Chromium, so large, with `scale` pixels for each; its navigation folded."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(
            viewport={"width": width, "height": height}, device_scale_factor=scale, reduced_motion="reduce"
        )
        page.add_init_script("localStorage.setItem('dagster-nav-collapsed', 'true')")
        page.set_default_timeout(WAIT)
        yield page
        browser.close()


def show(page: Page, url: str, word: str) -> None:
    """Open an address, and wait for a word on its page."""
    page.goto(url, wait_until="domcontentloaded")
    page.get_by_text(word).first.wait_for()


def open_graph(page: Page, url: str) -> None:
    """All tables of a recipe, their groups unfolded."""
    groups = ",".join(f"global@global:{group}" for group in ("ingest", "curation", "training", "retrieval"))
    show(page, f"{url}/asset-groups?expanded={quote(groups)}", "Materialize all")
    page.locator("foreignObject", has_text="documents").wait_for()


def materialize_all(page: Page, url: str) -> str:
    """Press the button of the open graph, and stay on the page of the run until it ends; returns how."""
    page.get_by_role("button", name="Materialize all").click()
    page.get_by_text("Launched run").first.wait_for()
    page.goto(f"{url}/runs", wait_until="domcontentloaded")
    page.locator("a[href^='/runs/']").first.click()
    ended = page.get_by_text(re.compile("^(Success|Failure|Canceled)$")).first
    ended.wait_for(timeout=5 * WAIT)
    return ended.text_content() or ""
