"""`curate ui`: Dagster on one recipe and one lake, in processes that end with this one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from curate.cli.options import Lake
from schemas.errors import CurateError, UsageError, missing_extra

_HOST = "127.0.0.1"
_PATIENCE = 10.0  # seconds that Dagster and a run that is under way have to end
_SETTINGS = """\
# Dagster's settings for this lake. curate ui writes this file once; it is yours to edit.
telemetry:
  enabled: false
nux:  # the dialog of a first visit
  enabled: false
concurrency:
  runs:
    max_concurrent_runs: 2
  pools:  # tables that share a pool are made one at a time, whatever runs them
    default_limit: 1
    granularity: op
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
  config:
    dequeue_interval_seconds: 1
    # A mended recipe: the daemon that starts runs looks for it once a minute, a run of before waits for that.
    max_user_code_failure_retries: 6
    user_code_failure_retry_delay: 15
retention:
  sensor:
    purge_after_days: 7
"""


def ui(
    recipe: str = "curate.toml",
    /,
    *,
    lake: Lake = "lake",
    port: Annotated[
        int,
        Parameter(
            help="Port of the web page, on this machine only.", validator=validators.Number(gte=1, lte=65535)
        ),
    ] = 3000,
) -> None:
    """Open a recipe and its lake in Dagster, until Ctrl-C.

    Dagster keeps its history in LAKE/.dagster. Schedule and sensors are off until you switch them on.

    **Example:**

    ```sh
    curate ui --port 3001
    ```

    Parameters
    ----------
    recipe
        The recipe.
    """
    import importlib.util

    from curate.cli.terminal import tell
    from curate.engine.plan import make_plan
    from curate.lake.lake import Lake as OpenLake
    from schemas.recipe import load_recipe

    for package in ("dagster", "dagster_webserver"):
        if importlib.util.find_spec(package) is None:
            raise missing_extra("dagster", "curate ui", package)
    make_plan(load_recipe(recipe))
    with socket.socket() as probe:
        if probe.connect_ex((_HOST, port)) == 0:
            raise UsageError(f"Port {port} is taken.", hint=f"curate ui --port {port + 1}")
    opened = OpenLake(lake, create=True)
    home = opened.root / ".dagster"
    home.mkdir(exist_ok=True)
    if not (home / "dagster.yaml").exists():
        (home / "dagster.yaml").write_text(_SETTINGS)
    paths = {"CURATE_RECIPE": str(Path(recipe).resolve()), "CURATE_LAKE": opened.place}
    tell("starting Dagster ...")
    with suppress(KeyboardInterrupt), _dagster(home, port, paths) as process:
        _wait_until_up(process, port, home)
        tell(f"http://{_HOST}:{port} shows {recipe} and {lake}; Ctrl-C ends it")
        process.wait()
        raise _ended(home)


@contextmanager
def _dagster(home: Path, port: int, paths: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Dagster's processes, in a group of their own that ends with the block."""
    # A closed window ends it too. Before the start: what a process ignores, its children ignore.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    command = ["-m", "dagster", "dev", "-m", "dagster_defs.definitions", "-h", _HOST, "-p", str(port)]
    with (home / "dagster.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=home,  # Dagster imports from its working directory first: a user's folder would hide packages
            env={
                **os.environ,
                **paths,
                "DAGSTER_HOME": str(home),
                "DAGSTER_CODE_SERVER_AUTO_RESTART_INTERVAL": "1",
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask all processes of the group to end, and end what is left at the deadline."""
    deadline = time.monotonic() + _PATIENCE
    with suppress(ProcessLookupError, KeyboardInterrupt):  # nobody is left; Ctrl-C was pressed again
        os.killpg(process.pid, signal.SIGINT)
        while time.monotonic() < deadline:
            process.poll()
            os.killpg(process.pid, 0)
            time.sleep(0.1)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _wait_until_up(process: subprocess.Popen[bytes], port: int, home: Path) -> None:
    while process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://{_HOST}:{port}/server_info", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise _ended(home)


def _ended(home: Path) -> CurateError:
    log = home / "dagster.log"
    last = log.read_text("utf-8", "replace").strip().rpartition("\n")[2]
    return CurateError(f"Dagster has ended: {last}", hint=f"{log} holds all that it said.")
