"""A report of a real run, and Chromium on it in both widths and schemes: for its test and docs/report_pictures.py."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from curate.cli.whole import run as run_whole
from tests.browser import CHROMIUM, FLAGS
from tests.lakes import WORDS, text, write_jsonl

VIEWS = [(width, scheme) for width in (390, 1440) for scheme in ("light", "dark")]  # a telephone, a desk
RECIPE = """
name = "harbour"
extends = "web"
index = false
sources.a-source-with-a-rather-long-name.files = "a.jsonl"
sources.b.files = "b.jsonl"
sources.b.keep = { topic = "string" }
report.by = ["topic"]

[filtered.gopher_quality]
drop.a_rule_with_a_name_that_nobody_would_want_to_read_on_a_telephone = "words < 60 AND hash_ratio < 0.5"
"""
GERMAN = str.split(
    "der hafen öffnet früh und die boote fahren vor der dämmerung hinaus während möwen über dem steg kreisen am mittag ist "
    "die markthalle voll von lärm und salz niemand weiß wer die alte tür gestrichen hat"
)


def make_report(folder: Path) -> Path:
    """Run a recipe over 1,500 documents of several kinds; the path of its report."""
    rows = []
    for n in range(1_500):
        body = text(n, 20 + (n * 37) % 180)
        if n % 7 == 3:
            body = " ".join(GERMAN[(n * k) % len(GERMAN)] for k in range(1, 90))
        if n % 11 == 5:
            body = rows[-1]["text"] + " And a little more."
        if n % 13 == 1:
            body = " ".join(f"#{word} ..." for word in WORDS)
        if n % 17 == 2:
            body += f" Write to person{n}@harbour.example, or call +1 202-555-0{n % 1000:03d}."
        rows.append(
            {
                "text": body,
                "title": f"Page {n}",
                "topic": ("sea", "land", "https://x.example/" + "y" * 90)[n % 3],
            }
        )
    write_jsonl(folder / "a.jsonl", rows[:500])
    write_jsonl(folder / "b.jsonl", rows[500:])
    (folder / "curate.toml").write_text(RECIPE)
    report = run_whole(folder / "curate.toml", folder / "lake", workers=1)
    return Path(report.report_path)


@contextmanager
def opened(report: Path, width: int, scheme: str) -> Iterator[Page]:
    """The report in Chromium, `width` pixels wide, in a light or dark scheme."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.goto(report.as_uri())
        yield page
        browser.close()


# Elements that are wider than their box, the page itself among them; what scrolls on its own counts, too.
OVERFLOWS = """() => [...document.querySelectorAll("html, body, body *")]
  .filter(one => one.clientWidth && one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).display !== "inline")
  .map(one => `${one.tagName}.${one.className} ${one.scrollWidth} > ${one.clientWidth}: ${one.textContent.trim().slice(0, 40)}`)"""

# [contrast (WCAG 2.2, 1.4.3), words] of every element with text of its own, against the nearest ground below it.
CONTRASTS = """() => {
  const channels = color => color.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = one => {
    for (; one; one = one.parentElement) {
      const color = channels(getComputedStyle(one).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const one of document.querySelectorAll("body *")) {
    const words = [...one.childNodes].filter(node => node.nodeType === 3).map(node => node.data).join("").trim();
    if (!words || ["SCRIPT", "STYLE", "TITLE", "title"].includes(one.tagName) || !one.getClientRects().length) continue;
    const pair = [light(channels(getComputedStyle(one).color)), light(ground(one))].sort((a, b) => b - a);
    found.push([(pair[0] + 0.05) / (pair[1] + 0.05), words.slice(0, 40)]);
  }
  return found;
}"""
