"""Takes pictures of a run's report, for looking at: `python docs/report_pictures.py FOLDER`.

One for each of 390 and 1440 pixels, light and dark. It needs Chromium on the PATH.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.report_pages import VIEWS, make_report, opened


def main(folder: Path) -> int:
    """Write report-WIDTH-SCHEME.png."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="curate-") as work:
        report = make_report(Path(work))
        for width, scheme in VIEWS:
            with opened(report, width, scheme) as page:
                page.screenshot(path=folder / f"report-{width}-{scheme}.png", full_page=True)
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("python docs/report_pictures.py FOLDER")
    sys.exit(main(Path(sys.argv[1])))
