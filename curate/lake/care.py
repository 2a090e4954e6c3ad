"""Keeping a lake: verify what is on disk, collect what nobody needs, go back, and name a version."""

from __future__ import annotations

import hashlib
import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from curate.lake.delta import file_names, open_table
from curate.lake.lake import Lake
from curate.lake.mirror import mirror_of
from curate.lake.runs import Head
from schemas.checks import Check
from schemas.errors import LakeError, UsageError


def verify(lake: str | Path) -> list[Check]:
    """Read every file that the newest version pins, to its last page; one check per table.

    Where the newest row of `runs` is damaged, nothing tells what else must be there: then that is the only check.
    """
    home = Lake(lake)
    checks = [_verify_folder("runs", home.root / "runs", None)]
    try:
        head = home.head()
    except LakeError:
        return checks
    checks += [_verify_folder(key, home.root / key, pin) for key, pin in sorted(head.pins.items())]
    for folder in home.content_folders():
        if folder.name in _fingerprints([head]) and (folder / "manifest.json").exists():
            checks.append(_verify_index(f"content/{folder.parent.name}/{folder.name}", folder))
        elif folder.name in _fingerprints([head]) | {"bodies"}:
            checks.append(_verify_folder(f"content/{folder.parent.name}/{folder.name}", folder, None))
    exports = [key for key in sorted(head.fingerprints) if key.split("/")[1] == "exports"]
    return checks + [_verify_export(home, key, head.fingerprints[key]) for key in exports]


def _verify_export(lake: Lake, key: str, version: str) -> Check:
    """Every file of an export has the hash that its card names."""
    folder = lake.root / key / version
    mirror = mirror_of(folder)
    try:
        if mirror is not None:
            mirror.refresh(mirror.files(folder))
        card = json.loads((folder / "card.json").read_text("utf-8"))
        for file in card["files"]:
            with (folder / file["path"]).open("rb") as opened:
                if hashlib.file_digest(opened, "sha256").hexdigest() != file["sha256"]:
                    message = f"{version}/{file['path']}: another hash than in its card"
                    return Check(name=key, passed=False, severity="blocking", message=message)
        numbers = {name: sum(split[name] for split in card["splits"]) for name in ("rows", "bytes")}
    except (OSError, ValueError, KeyError) as error:
        message = f"{version}: {type(error).__name__}: {str(error).splitlines()[0]}"
        return Check(name=key, passed=False, severity="blocking", message=message)
    return Check(name=key, passed=True, numbers=numbers)


def _verify_index(name: str, folder: Path) -> Check:
    """Every file of an index of bands has its checksums; a damaged one is no loss, for the next run makes it anew."""
    from curate.dedup.bandindex import verify_index

    try:
        return Check(name=name, passed=True, numbers=verify_index(folder))
    except LakeError as error:
        message = f"{error.message} The next run makes it anew."
        return Check(name=name, passed=False, severity="warning", message=message)


def _verify_folder(name: str, folder: Path, version: int | None) -> Check:
    """Every file of a version is there and can be read."""
    try:
        table = open_table(folder, version)
    except LakeError as error:
        return Check(name=name, passed=False, severity="blocking", message=error.message)
    if table is None:
        return Check(name=name, passed=False, severity="blocking", message="the table is missing")
    rows = size = 0
    mirror = mirror_of(folder)
    for file in sorted(file_names(table)):
        try:
            if mirror is not None:
                mirror.refresh([folder / file])
            parquet = pq.ParquetFile(folder / file, page_checksum_verification=True)
            rows += sum(len(batch) for batch in parquet.iter_batches(batch_size=1000))
            size += (folder / file).stat().st_size
        except Exception as error:  # noqa: BLE001 - whatever a damaged file raises, it is damaged
            message = f"{file}: {type(error).__name__}: {str(error).splitlines()[0]}"
            return Check(name=name, passed=False, severity="blocking", message=message)
    return Check(name=name, passed=True, numbers={"rows": rows, "bytes": size})


def gc(lake: str | Path, keep: int = 10) -> dict[str, int]:
    """Delete what only versions before the last `keep` runs of each name need; tagged versions stay.

    Returns bytes_before, bytes_after, folders (of content deleted) and files. Old rows of `runs` stay:
    they are history, and cannot be opened any more.

    Raises:
        UsageError: `keep` is under 1.
        LakeError: a run is active.
    """
    if keep < 1:
        raise UsageError(
            f"gc cannot keep {keep} runs; at least 1 is needed.", hint="keep=1 leaves what stands now."
        )
    home = Lake(lake)
    before = home.size()
    kept = _kept_rows(home, keep)
    wanted = _fingerprints(kept) | {"bodies"}
    folders = files = 0
    with ExitStack() as locks:
        for name in home.names():
            locks.enter_context(home.lock(name))
        for folder in home.content_folders():
            if folder.name in wanted:
                files += _vacuum(folder, None)
            else:
                home.drop(folder)
                folders += 1
        for name in home.names():
            files += _vacuum_state(home, name, kept)
            folders += _drop_indexes(home, name, kept) + _drop_exports(home, name, kept)
    home.forget()
    return {"bytes_before": before, "bytes_after": home.size(), "folders": folders, "files": files}


def _kept_rows(lake: Lake, keep: int) -> list[Head]:
    """The rows of the last `keep` runs of each name, tagged rows, and the head."""
    rows = [lake.runs.at(seq) for seq in range(1, lake.head().seq + 1)]
    runs: dict[str, list[str]] = {}
    for row in reversed(rows):
        seen = runs.setdefault(row.name, [])
        if row.run not in seen:
            seen.append(row.run)
    return [
        row for row in rows if row.kind == "tag" or row.run in runs[row.name][:keep] or row.seq == len(rows)
    ]


def _fingerprints(rows: list[Head]) -> set[str]:
    """Content folders that these rows need: records and documents share one, as do chunks and vectors."""
    return {value for row in rows for value in row.fingerprints.values()}


def _vacuum(folder: Path, versions: list[int] | None) -> int:
    """Delete files that neither the head nor these versions hold, those of killed writers too."""
    table = open_table(folder)
    if table is None:
        return 0
    gone = table.vacuum(0, dry_run=False, enforce_retention_duration=False, full=True, keep_versions=versions)
    return len(gone)


def _vacuum_state(lake: Lake, name: str, kept: list[Head]) -> int:
    deleted = 0
    for key in lake.head().pins:
        if key.startswith(f"{name}/"):
            # The log of answers is never rolled back: its newest version is the one that counts.
            pinned = (
                None
                if key.endswith("/fetches")
                else sorted({row.pins[key] for row in kept if key in row.pins})
            )
            deleted += _vacuum(lake.root / key, pinned)
    return deleted


def _drop_indexes(lake: Lake, name: str, kept: list[Head]) -> int:
    wanted = {row.live.get(name, "") for row in kept}
    wanted |= {row.fingerprints.get(f"{name}/index_candidate", "") for row in kept}
    dropped = [
        folder
        for folder in lake.folders(lake.root / name / "indexes", "manifest.json")
        if folder.name not in wanted
    ]
    for folder in dropped:
        lake.drop(folder)
    return len(dropped)


def _drop_exports(lake: Lake, name: str, kept: list[Head]) -> int:
    """Exports that no kept row names, and what killed processes left of others."""
    folder = lake.root / name / "exports"
    dropped = list(folder.glob("*/.tmp-*"))
    for key in lake.head().fingerprints:
        if key.startswith(f"{name}/exports/"):
            wanted = {row.fingerprints.get(key, "") for row in kept}
            dropped += [
                made for made in lake.folders(lake.root / key, "card.json") if made.name not in wanted
            ]
    for export in dropped:
        lake.drop(export)
    return len(dropped)


def rollback(lake: str | Path, name: str, seq: int) -> Head:
    """Make an older version of a name stand again: a new row in `runs`; no data moves.

    Raises:
        UsageError: no such version.
        LakeError: gc has taken what it needs.
    """
    home = Lake(lake)
    name = home.require(name)
    base, old = home.head(), home.runs.at(seq)
    mine = [key for key in {*old.pins, *old.fingerprints, *old.digests} if key.startswith(f"{name}/")]
    if not mine:
        raise UsageError(f"Version {seq} holds nothing of {name}.", hint="curate log shows the versions.")
    for key in mine:
        table = open_table(home.root / key, old.pins[key]) if key in old.pins else None
        if table is not None and not file_names(table) <= home.file_names(home.root / key):
            raise LakeError(
                f"Version {seq} of {key} is gone.", hint="curate lake gc took it; choose a newer one."
            )
    live = {name: old.live[name]} if name in old.live else {}
    message = f"back to version {seq}"
    row = replace(
        old,
        run=f"rollback-{seq}",
        name=name,
        kind="rollback",
        table="",
        report="",
        live=live,
        message=message,
    )
    return home.runs.publish(base, row, mine, [])


def tag(lake: str | Path, name: str, message: str) -> Head:
    """Name what stands now; gc keeps it.

    Raises:
        UsageError: a tag that says nothing, or is the number of a version.
    """
    if not message.strip() or message.strip().isdecimal():
        raise UsageError(
            f'"{message}" cannot be a tag: it is empty, or a number as versions have.',
            hint="A tag is a name: curate lake tag release-1",
        )
    home = Lake(lake)
    name = home.require(name)
    base = home.head()
    row = replace(
        base, run=f"tag-{base.seq}", name=name, kind="tag", table="", report="", live={}, message=message
    )
    return home.runs.publish(base, row, [], [])
