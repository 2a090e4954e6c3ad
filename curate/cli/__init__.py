"""The command `curate`: parses, calls the library, and says what went wrong and what to do about it.

Exit code: 0 done, 1 failed or stopped by Ctrl-C, 2 wrong use.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from curate.resident import hold_little

try:
    from schemas.errors import CurateError
except ImportError:  # `schemas` is a common name: another package may stand before ours on sys.path
    import schemas

    sys.exit(
        f"error: {next(iter(schemas.__path__))} is imported instead of curate's own module schemas.\n"
        "hint: Run curate from another folder, or rename or uninstall that module."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (by default that of the process); returns the exit code."""
    hold_little()
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in tokens
    tokens = [token for token in tokens if token != "--debug"]
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # what the terminal cannot show must not end the command
            stream.reconfigure(errors="replace")
    try:
        return _run(tokens)
    except KeyboardInterrupt as stopped:
        _tell(str(stopped) or "stopped")
        return 1
    except BrokenPipeError:  # curate log | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # the last place where a person can still be told
        if debug:
            raise
        return _explain(error)


def _run(tokens: list[str]) -> int:
    from cyclopts import CycloptsError

    from curate.cli.app import make_app, misuse

    app = make_app(tokens)
    try:
        result = app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        raise misuse(error) from None
    sys.stdout.flush()
    return result if isinstance(result, int) else 0


def _explain(error: Exception) -> int:
    """Say what went wrong and what to do; returns the exit code."""
    if isinstance(error, CurateError):
        _tell(f"error: {error.message}")
        _tell(f"hint: {error.hint}")
        return error.exit_code
    _tell(f"error: {type(error).__name__}: {error}")
    _tell("hint: --debug shows the traceback.")
    return 1


def _tell(message: str) -> None:
    from curate.cli.terminal import tell

    tell(message)
