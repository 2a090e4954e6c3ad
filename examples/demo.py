"""The whole way on the site that ships in examples/site, served on loopback: `make demo`."""

from __future__ import annotations

import functools
import http.server
import sys
import threading
from pathlib import Path

from curate.cli import main

HERE = Path(__file__).resolve().parent
QUESTION = "How do I restrict access to a directory by IP address?"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the crawl has a display of its own."""


def serve(folder: Path) -> http.server.ThreadingHTTPServer:
    """A web server for a folder on a free port of loopback, in a thread."""
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def demo() -> int:
    """Crawl, clean, index, ask; returns the exit code."""
    server = serve(HERE / "site")
    connect = f"127.0.0.1:{server.server_address[1]}"
    code = main(
        ["run", str(HERE / "curate.toml"), "--lake", "demo-lake", "--set", f"sources.site.connect={connect}"]
    )
    return code or main(["search", QUESTION, "--lake", "demo-lake"])


if __name__ == "__main__":
    sys.exit(demo())
