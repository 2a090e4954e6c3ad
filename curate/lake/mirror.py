"""A lake on an object store: `s3://bucket/prefix`, `gs://...`, `az://...`.

All files of a lake but its Delta logs are immutable. So such a lake has a mirror, a local folder in which
everything reads and writes; the store is asked where a file must be here (it is fetched once), where one
must be there (it is sent before the commit that names it), and for the logs, which are never mirrored.
Credentials and the endpoint come from the environment, by the names that the store's own tools use.
"""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from curate.cache import cache_folder
from schemas.errors import LakeError, UsageError, missing_extra

_URL = re.compile(r"(s3|s3a|gs|gcs|az|abfs|abfss)://[^/]+")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # delta-rs draws its errors
_THREADS = 16  # transfers at once
_PART = 8 * 2**20  # bytes read at once
_RETRIES, _PATIENCE, _TIMEOUT = 4, 15, 60  # tries; seconds of trying; seconds for one request
_MIRRORS: dict[Path, Mirror] = {}


def is_url(root: str | Path) -> bool:
    """Whether a lake lies on an object store."""
    return "://" in str(root)


def mirror_of(path: Path) -> Mirror | None:
    """The mirror that a path lies in; None on a local lake."""
    return next((mirror for root, mirror in _MIRRORS.items() if path.is_relative_to(root)), None)


def open_mirror(url: str) -> Mirror:
    """The mirror of a URL: a folder below $CURATE_CACHE or ~/.cache/curate.

    Raises:
        UsageError: no URL of an object store, or one whose settings are missing.
        MissingExtraError: the extra `cloud` is not installed.
    """
    url = url.rstrip("/")
    root = (cache_folder() / "lakes" / hashlib.sha256(url.encode()).hexdigest()[:16]).resolve()
    if root not in _MIRRORS:
        _MIRRORS[root] = Mirror(url, root)
    return _MIRRORS[root]


class Mirror:
    """A prefix of an object store, and the local folder that mirrors it."""

    def __init__(self, url: str, root: Path) -> None:
        if not _URL.match(url):
            raise UsageError(
                f"No lake can be opened at {url}.",
                hint="A lake is a folder, or s3://bucket/prefix, gs://... or az://...",
            )
        try:
            import obstore
            from obstore.store import from_url
        except ImportError:
            raise missing_extra("cloud", f"The lake {url}", "obstore") from None
        self.url, self.root, self._client = url, root, obstore
        try:
            self._store = from_url(
                url,
                client_options={"allow_http": _allows_http(), "timeout": timedelta(seconds=_TIMEOUT)},
                retry_config={"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=_PATIENCE)},
            )
        except (obstore.exceptions.BaseError, ValueError) as error:
            raise UsageError(f"{url}: {_first_line(error)}", hint=_SETTINGS) from None
        root.mkdir(parents=True, exist_ok=True)

    @property
    def delta_options(self) -> dict[str, str]:
        """What delta-rs needs beside the environment."""
        return {
            "allow_http": str(_allows_http()).lower(),
            "max_retries": str(_RETRIES),
            "retry_timeout": f"{_PATIENCE}s",
            "timeout": f"{_TIMEOUT}s",
        }

    def url_of(self, path: Path) -> str:
        """URL of a file or folder of the mirror."""
        return f"{self.url}/{self._key(path)}".rstrip("/")

    def fetch(self, files: Iterable[Path]) -> None:
        """Bring here the files that are not here yet.

        Raises:
            FileNotFoundError: the store has no such file.
            LakeError: it cannot be reached, or refuses.
        """
        self._each(self._get, [file for file in files if not file.exists()])

    def refresh(self, files: Iterable[Path]) -> None:
        """Bring files here again."""
        self._each(self._get, list(files))

    def send(self, files: Iterable[Path]) -> None:
        """Write local files to the store."""
        self._each(self._put, list(files))

    def fetch_folder(self, folder: Path) -> None:
        """Bring a finished, immutable folder here."""
        self.fetch(self.files(folder))

    def send_folder(self, folder: Path, last: str) -> None:
        """Write a finished folder, the file `last` after all others: with it the folder is there."""
        if self.has(folder / last):
            return
        files = [file for file in folder.rglob("*") if file.is_file()]
        self.send(file for file in files if file != folder / last)
        self.send([folder / last])

    def has(self, file: Path) -> bool:
        """Whether the store has a file."""
        with self._told():
            try:
                self._client.head(self._store, self._key(file))
            except FileNotFoundError:
                return False
        return True

    def files(self, folder: Path) -> list[Path]:
        """Where the files below a folder of the store lie, or would lie, in the mirror."""
        return [self.root / entry["path"] for entry in self._entries(folder)]

    def size(self) -> int:
        """Bytes of all files of the store."""
        return sum(entry["size"] for entry in self._entries(self.root))

    def _entries(self, folder: Path) -> Iterator[Any]:
        with self._told():
            for page in self._client.list(self._store, f"{self._key(folder)}/".lstrip("/")):
                yield from page

    def delete(self, files: Iterable[Path]) -> None:
        """Remove files from the store, and from the mirror."""
        for file in files:
            file.unlink(missing_ok=True)
            with self._told(), suppress(FileNotFoundError):
                self._client.delete(self._store, self._key(file))

    def _key(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix().removeprefix(".")

    def _each(self, move: Any, files: list[Path]) -> None:
        if len(files) == 1:
            move(files[0])
        elif files:
            with ThreadPoolExecutor(min(_THREADS, len(files))) as pool:
                list(pool.map(move, files))

    def _get(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            with self._told(), temporary.open("wb") as out:
                for part in self._client.get(self._store, self._key(file)).stream(min_chunk_size=_PART):
                    out.write(part)
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)

    def _put(self, file: Path) -> None:
        with self._told():
            self._client.put(self._store, self._key(file), file)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What the store refuses, as an error of ours; a missing file stays a FileNotFoundError."""
        try:
            yield
        except self._client.exceptions.BaseError as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise self.error(error) from None

    def error(self, error: Exception) -> LakeError:
        """What the store, or delta-rs in it, refuses."""
        return LakeError(f"{self.url}: {_first_line(error)}", hint=_SETTINGS)


_SETTINGS = (
    "Is the bucket there, and are its settings in the environment? For S3: AWS_ACCESS_KEY_ID, "
    "AWS_SECRET_ACCESS_KEY, AWS_REGION; with a server of one's own AWS_ENDPOINT_URL and AWS_ALLOW_HTTP=true."
)


def _allows_http() -> bool:
    return os.environ.get("AWS_ALLOW_HTTP", "").lower() in {"1", "true", "yes"}


def _first_line(error: Exception) -> str:
    words = _COLOUR.sub("", str(error)).split("\n\nDebug source")[0]
    return " ".join(words.split())[:300]
