"""Dagster on the site that ships in examples/site, in the lake of `make demo`: `make ui`."""

from __future__ import annotations

import sys
from pathlib import Path

from demo import HERE, serve

from curate.cli import main


def ui() -> int:
    """Serve the site and open its recipe, until Ctrl-C; returns the exit code."""
    server = serve(HERE / "site")
    recipe = Path("demo-lake", "ui.toml")
    recipe.parent.mkdir(exist_ok=True)
    connect = f"127.0.0.1:{server.server_address[1]}"
    recipe.write_text(f"extends = '{HERE / 'curate.toml'}'\n\n[sources.site]\nconnect = '{connect}'\n")
    return main(["ui", str(recipe), "--lake", "demo-lake"])


if __name__ == "__main__":
    sys.exit(ui())
