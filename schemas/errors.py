"""Every error that a user can meet, and what to do about it.

CurateError                     something failed; the command exits with 1
├── UsageError                  the call itself is wrong; exit 2
│   ├── RecipeError             a recipe that cannot be run, with file and place
│   ├── RuleError               a rule or a `where` that cannot be judged
│   └── MissingExtraError       a feature whose packages are not installed
├── SourceError                 a source that gives nothing that can be read
├── StageError                  too many documents broke a stage
├── LakeError                   a lake that cannot be read or written
│   └── MovedError              another run changed what this one stood on
├── CheckError                  a table failed a blocking check: what follows was not made
└── IndexingError               an index that must not be built, promoted or opened
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_TOLD = 60  # known names that a hint lists: all columns and steps of a recipe, but not a folder of files


class CurateError(Exception):
    """A failure that names what was found and, in `hint`, what to do next."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders: pickle would call the class without its keyword.
        return _rebuild, (type(self), self.message, self.hint)


def _rebuild(kind: type[CurateError], message: str, hint: str) -> CurateError:
    return kind(message, hint=hint)


class UsageError(CurateError):
    """The command, option or argument is wrong."""

    exit_code = 2


class RecipeError(UsageError):
    """The recipe cannot be run; the message names file, table, step and key."""


class RuleError(UsageError):
    """A rule or `where` does not parse, names an unknown column, or does what rules may not."""


class MissingExtraError(UsageError):
    """A feature was asked for whose packages are not installed."""


class SourceError(CurateError):
    """A source cannot be reached or holds nothing that can be read."""


class StageError(CurateError):
    """More than 1 % (and more than 20) of the documents broke a stage."""


class LakeError(CurateError):
    """The lake cannot be opened, read or written."""


class MovedError(LakeError):
    """Another run changed a table that this one made or read."""


class CheckError(CurateError):
    """A table failed a blocking check; what is made from it was not made."""


class IndexingError(CurateError):
    """An index is missing, does not fit its embedder, or failed a gate."""


def did_you_mean(found: str, candidates: Iterable[str]) -> str:
    """One sentence for an unknown name: the nearest candidates, else all of them.

    >>> did_you_mean("langidd", ["langid", "length"])
    'Did you mean "langid"?'
    """
    names = sorted(set(candidates))
    near = difflib.get_close_matches(found, names, n=2, cutoff=0.6)
    if near:
        return "Did you mean " + " or ".join(f'"{name}"' for name in near) + "?"
    if not names:
        return "None is known."
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return f"Known: {', '.join(names[:_TOLD])}{more}."


def missing_extra(extra: str, feature: str, package: str) -> MissingExtraError:
    """The error for an optional package: what needs it, and the command that installs it."""
    command = f"pip install '.[{extra}]'   (in the folder of curate's source)"
    if extra in {"index", "gpu"}:
        command += "\n      on Linux without a GPU, PyTorch's small CPU build: "
        command += f"uv pip install --torch-backend=cpu '.[{extra}]'"
    return MissingExtraError(f"{feature} needs the package {package}, which is not installed.", hint=command)
