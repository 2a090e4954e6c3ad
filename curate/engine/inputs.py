"""The files of a run's sources: where they lie, and whether they are still what was looked at.

Files of an object store are brought to a folder of the run, which holds a bounded number of bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from curate.engine.session import Session
from curate.sources.readers import kind_of
from curate.sources.record import Slice
from curate.sources.remote import download, is_url
from schemas.errors import SourceError

CHANGED = "It changed while it was read; the next run reads it again."
FETCHED_BYTES = 4_000_000_000  # of objects that lie here at once; one that is larger lies alone
_THREADS = 16  # transfers at once


class Inputs:
    """Files by their place in the lake: paths relative to the recipe, or URLs."""

    def __init__(self, session: Session) -> None:
        self._base = session.plan.recipe.folder.resolve()
        self._folder = session.work / "fetched"

    def file(self, place: str, etag: str) -> Path:
        """The file, here.

        Raises:
            OSError: it is gone, or not what was looked at.
        """
        if not is_url(place):
            file = self._base / place
            if changed(file, etag):
                file.stat()
                raise OSError(CHANGED)
            return file
        copy = self._copy(place, etag)
        if not copy.exists():
            self._make_room(_size(etag))
            download(place, _state(etag), copy)
        return copy

    def fetch(self, places: Iterable[tuple[str, str]]) -> None:
        """Bring several objects (place, etag) here at once; what fails is told when it is asked for."""
        copies = [(place, etag, self._copy(place, etag)) for place, etag in places if is_url(place)]
        wanted = [each for each in copies if not each[2].exists()]
        if len(wanted) > 1:
            self._make_room(sum(_size(etag) for _, etag, _ in wanted), {copy for *_, copy in copies})
            with ThreadPoolExecutor(min(_THREADS, len(wanted))) as pool:
                list(pool.map(lambda each: _tried(*each), wanted))

    def _copy(self, place: str, etag: str) -> Path:
        name = hashlib.sha256(f"{place} {etag}".encode()).hexdigest()[:32]
        return self._folder / name / _name(place)

    def _make_room(self, size: int, keep: Collection[Path] = ()) -> None:
        """Remove the oldest copies until so many bytes more may lie here."""
        copies = sorted(self._folder.glob("*/*"), key=lambda copy: copy.stat().st_mtime_ns)
        total = sum(copy.stat().st_size for copy in copies)
        for copy in copies:
            if total + size <= FETCHED_BYTES:
                return
            if copy not in keep:
                total -= copy.stat().st_size
                copy.unlink()

    def opened(self, place: str, etag: str) -> Slice:
        """A file as one slice.

        Raises:
            SourceError: it is another than the one that was read.
        """
        try:
            file = self.file(place, etag)
        except OSError as error:
            raise changed_error(place, error.strerror or str(error)) from None
        return Slice(str(file), kind_of(file) or "", url=place if is_url(place) else "")


def changed_error(place: str, cause: str) -> SourceError:
    """What is told of a file that is not what was looked at any more."""
    return SourceError(
        f"{place} changed while it was cleaned ({cause}).",
        hint="Run the same command again: it reads the file anew.",
    )


def _size(etag: str) -> int:
    return int(etag.partition("-")[0])


def _state(etag: str) -> str:
    return etag.rpartition("-")[0]  # what follows says how the file is read


def _tried(place: str, etag: str, copy: Path) -> None:
    with suppress(OSError):
        download(place, _state(etag), copy)


def groups(places: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """(place, etag) in their order, in groups that may lie here at once; files of a disk count nothing."""
    group: list[tuple[str, str]] = []
    total = 0
    for place, etag in places:
        size = _size(etag) if is_url(place) else 0
        if group and total + size > FETCHED_BYTES:
            yield group
            group, total = [], 0
        group.append((place, etag))
        total += size
    if group:
        yield group


def _name(url: str) -> str:
    """The last part of a URL, as a file name: its suffix tells the reader, its stem may be a title."""
    name = url.rpartition("/")[2]
    return name if len(name.encode()) < 200 else "object" + "".join(Path(name).suffixes[-2:])


def changed(file: Path, etag: str) -> bool:
    """Whether a file is another than the one that was looked at: its page would be keyed wrongly."""
    try:
        return not etag.startswith(file_state(file) + "-")
    except OSError:
        return True


def file_state(file: Path) -> str:
    """Size and time of change: what tells that a file may have other content."""
    stat = file.stat()
    return f"{stat.st_size}-{stat.st_mtime_ns}"
