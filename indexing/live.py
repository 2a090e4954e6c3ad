"""Which index answers: versions of a name, promotion through the gates, and the way back.

A promotion is a row in `runs`, through whatever door it comes; a version that failed a gate is refused here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from curate.lake.lake import Lake
from indexing.checks import made_of_failed
from indexing.gates import refuse_failed
from indexing.manifest import MANIFEST, read_manifest
from schemas.checks import Check
from schemas.errors import IndexingError, did_you_mean


@dataclass(frozen=True)
class IndexVersion:
    """One index version as `curate index list` shows it."""

    version: str
    created: str
    chunks: int
    documents: int
    corpus_version: str
    live: bool
    checks: list[Check]


def live_version(lake: str | Path, name: str) -> Path:
    """Folder of the version that is live.

    Raises:
        LakeError: no such lake or name.
        IndexingError: no version is live.
    """
    home = Lake(lake)
    name = home.require(name)
    live = home.head().live.get(name, "")
    if not live:
        raise IndexingError(
            f"{name} has no live index.", hint="curate run builds one, if the recipe has [index]."
        )
    return home.bring(home.root / name / "indexes" / live)


def versions(lake: str | Path, name: str) -> list[IndexVersion]:
    """All versions of a name, newest first."""
    home = Lake(lake)
    name = home.require(name)
    live = home.head().live.get(name, "")
    manifests = [read_manifest(folder) for folder in home.folders(home.root / name / "indexes", MANIFEST)]
    found = [
        IndexVersion(
            m.version, m.created, m.chunks, m.documents, m.corpus_version, m.version == live, list(m.checks)
        )
        for m in manifests
    ]
    return sorted(found, key=lambda version: version.created, reverse=True)


def promote(lake: str | Path, name: str, version: str, *, kind: str = "promote") -> str:
    """Make a version live, if it passed its gates.

    Raises:
        IndexingError: no such version, or a gate refused it.
    """
    home = Lake(lake)
    name = home.require(name)
    folder = home.root / name / "indexes"
    known = [path.name for path in home.folders(folder, MANIFEST)]
    if version not in known:
        raise IndexingError(f"{name} has no index version {version}.", hint=did_you_mean(version, known))
    base = home.head()
    refuse_failed(folder / version, made_of_failed(home.runs, base, name, version))
    row = replace(
        base,
        run=f"{kind}-{version}",
        name=name,
        kind=kind,
        table="",
        report="",
        live={name: version},
        message=version,
    )
    home.runs.publish(base, row, [], [])
    return version


def rollback(lake: str | Path, name: str) -> str:
    """Make live again what was live before; returns that version.

    Raises:
        IndexingError: nothing was live before, or gc took it.
    """
    home = Lake(lake)
    name = home.require(name)
    live = home.head().live.get(name, "")
    kept = {folder.name for folder in home.folders(home.root / name / "indexes", MANIFEST)}
    for seq in range(home.head().seq - 1, 0, -1):
        before = home.runs.at(seq).live.get(name, "")
        if before and before != live and before in kept:
            return promote(lake, name, before, kind="rollback")
    raise IndexingError(f"{name} has no earlier index.", hint="curate index list shows the versions.")
