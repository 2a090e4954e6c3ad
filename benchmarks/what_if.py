"""What a changed rule costs where all is measured: `curate plan` says what it would do, `curate run` does it.

    python benchmarks/what_if.py [--data FILE] [--recipe web]

A lake of 100,000 documents is made by `curate run` without an index. Then a limit of `gopher_quality` is changed, from 50
words to 60: `plan` judges every document by it and shows what would go and come, three times (the median is told), and
`run` makes the new corpus. Nothing new is measured by either. Each is a process of its own.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from measuring import Figures, arguments, curate, finish, machine, run
from texts import add_data, bulk_file

RECIPE = """
name = "texts"
extends = "{recipe}"
index = false

[sources.texts]
files = "{data}"
"""
CHANGED = "filtered.gopher_quality.drop.gopher_short_doc=words < 60"
PLANS = 3


def main() -> None:
    """One lake, some plans and a run."""
    parser = arguments(__doc__)
    add_data(parser)
    parser.add_argument("--recipe", choices=("web", "fineweb"), default="web")
    options = parser.parse_args()
    where = machine("polars", "pyarrow", "deltalake")
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="curate-bench-") as name:
        folder = Path(name)
        recipe, lake = folder / "curate.toml", folder / "lake"
        recipe.write_text(RECIPE.format(recipe=options.recipe, data=bulk_file(options, folder)))
        figures["first run"] = run(curate("run", recipe, "--lake", lake)).figures()
        plan = curate("plan", recipe, "--lake", lake, "--set", CHANGED)
        plans = [run(plan).figures() for _ in range(PLANS)]
        figures["plan"] = {key: statistics.median(one[key] for one in plans) for key in plans[0]}
        figures["run"] = run(curate("run", recipe, "--lake", lake, "--set", CHANGED)).figures()
    finish(options, where, figures)


if __name__ == "__main__":
    main()
