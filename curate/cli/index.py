"""`curate index list|promote|rollback`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curate.cli.options import Json, Lake, Name

if TYPE_CHECKING:
    from indexing.live import IndexVersion


def list_(*, lake: Lake = "lake", name: Name = "", as_json: Json = False) -> None:
    """List the index versions.

    The newest first, with the gates that each passed or failed.

    **Example:**

    ```console
    $ curate index list
    ```
    """
    from dataclasses import asdict

    from curate.cli.terminal import show, show_json, table_of, text
    from curate.lake.lake import Lake as OpenLake
    from indexing.live import versions

    found, home = versions(lake, name), OpenLake(lake)
    corpus = home.head().corpus_version(home.require(name))
    if as_json:
        show_json(
            [
                {**asdict(version), "checks": [check.model_dump() for check in version.checks]}
                for version in found
            ]
        )
    elif not found:
        show(text("No index yet: curate run builds one, if the recipe has [index]."))
    else:
        show(
            table_of(
                [_row(version, corpus) for version in found],
                right=("passages", "documents"),
                whole=("version", "made"),
            )
        )


def _row(version: IndexVersion, corpus: str) -> dict[str, str]:
    failed = [check.name for check in version.checks if not check.passed]
    return {
        "version": version.version,
        "live": "live" if version.live else "",
        "made": version.created[:16].replace("T", " "),
        "documents": f"{version.documents:,}",
        "passages": f"{version.chunks:,}",
        "corpus": "current" if version.corpus_version == corpus else "another",
        "checks": f"failed: {', '.join(failed)}" if failed else f"{len(version.checks)} passed",
    }


def promote(version: str, /, *, lake: Lake = "lake", name: Name = "", as_json: Json = False) -> None:
    """Make an index version live, if its gates passed.

    **Example:**

    ```console
    $ curate index promote 3f2a90b1c4d7
    ```

    Parameters
    ----------
    version
        As `curate index list` shows it.
    """
    from indexing.live import promote as promote_version

    _tell_live(promote_version(lake, name, version), as_json)


def rollback(*, lake: Lake = "lake", name: Name = "", as_json: Json = False) -> None:
    """Make the index live that was live before.

    **Example:**

    ```console
    $ curate index rollback
    ```
    """
    from indexing.live import rollback as roll_back

    _tell_live(roll_back(lake, name), as_json)


def _tell_live(version: str, as_json: bool) -> None:
    from curate.cli.terminal import show, show_json, text

    if as_json:
        show_json({"live": version})
    else:
        show(text(f"Index {version} is live; open readers keep theirs until they refresh."))
