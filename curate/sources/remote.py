"""Files on an object store as sources: `s3://bucket/docs/**/*.jsonl`, `gs://...`, `az://...`.

Credentials and the endpoint come from the environment, by the names that the store's own tools use. An
object is known by its URL, and another one when its size or etag is.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from curate.sources.files import KINDS, OURS, kind_of
from schemas.errors import SourceError, missing_extra

_URL = re.compile(r"(?:s3|s3a|gs|gcs|az|abfs|abfss)://[^/]+")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_PART = 8 * 2**20  # bytes read at once
_RETRIES, _PATIENCE, _TIMEOUT = 4, 15, 60  # tries; seconds of trying; seconds for one request
_SETTINGS = (
    "Is the bucket there, and are its settings in the environment? For S3: AWS_ACCESS_KEY_ID, "
    "AWS_SECRET_ACCESS_KEY, AWS_REGION; with a server of one's own AWS_ENDPOINT_URL and AWS_ALLOW_HTTP=true."
)


def is_url(pattern: str) -> bool:
    """Whether a source names objects of a store, not files."""
    return "://" in pattern


def find_objects(patterns: list[str]) -> dict[str, str]:
    """URL → state (size and etag) of all objects that the patterns name, sorted.

    A prefix stands for all objects of a known suffix below it, hidden ones left out; in a glob
    ("s3://bucket/docs/**/*.md") objects of unknown suffix are passed over.

    Raises:
        SourceError: no such object; the store cannot be reached, or refuses.
        MissingExtraError: the extra `cloud` is not installed.
    """
    found: dict[str, str] = {}
    for pattern in patterns:
        matched = dict(_matches(pattern))
        if not matched:
            raise SourceError(
                f"{pattern} matches no object that a reader knows.", hint=f"Known: {' '.join(KINDS)}."
            )
        found |= matched
    return dict(sorted(found.items()))


def _matches(pattern: str) -> Iterator[tuple[str, str]]:
    bucket, key = _split(pattern)
    wild = re.search(r"[*?\[]", key)
    prefix = key[: wild.start()].rpartition("/")[0] if wild else key.rstrip("/")
    wanted = re.compile(_regex(key)) if wild else None
    for entry in _entries(bucket, prefix, whole=kind_of(Path(key)) is not None and not wild):
        path = entry["path"]
        below = path.removeprefix(prefix)
        hidden = any(part.startswith(".") or part.endswith(OURS) for part in below.split("/"))
        if kind_of(Path(path)) and not hidden and (wanted is None or wanted.fullmatch(path)):
            yield f"{bucket}/{path}", _state(entry)


def _split(url: str) -> tuple[str, str]:
    """`s3://bucket` and the key.

    Raises:
        SourceError: it is no URL of an object store.
    """
    match = _URL.match(url)
    if not match:
        raise SourceError(
            f"{url} is no place of files.",
            hint="Files, folders, globs, or s3://bucket/..., gs://..., az://...",
        )
    return match[0], url[match.end() :].lstrip("/")


def _regex(glob: str) -> str:
    """As globs of files are read: "**/" is any number of folders, "*" stays within one."""
    pieces = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", glob)
    meaning = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(
        meaning.get(piece) or (piece.replace("[!", "[^") if piece.startswith("[") else re.escape(piece))
        for piece in pieces
    )


def _state(meta: Any) -> str:
    return f"{meta['size']}-{(meta.get('e_tag') or str(meta['last_modified'])).strip(chr(34))}"


def _entries(bucket: str, prefix: str, *, whole: bool) -> Iterator[Any]:
    """The object of that name, or all below it."""
    store, client = _store(bucket)
    with told(bucket):
        if whole:
            try:
                yield client.head(store, prefix)
                return
            except FileNotFoundError:
                pass
        for page in client.list(store, f"{prefix}/" if prefix else None):
            yield from page


@lru_cache(maxsize=8)
def _store(bucket: str) -> tuple[Any, Any]:
    try:
        import obstore
        from obstore.store import from_url
    except ImportError:
        raise missing_extra("cloud", f"Reading {bucket}", "obstore") from None
    allow_http = os.environ.get("AWS_ALLOW_HTTP", "").lower() in {"1", "true", "yes"}
    try:
        store = from_url(
            bucket,
            client_options={"allow_http": allow_http, "timeout": timedelta(seconds=_TIMEOUT)},
            retry_config={"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=_PATIENCE)},
        )
    except (obstore.exceptions.BaseError, ValueError) as error:
        raise SourceError(f"{bucket}: {_first_line(error)}", hint=_SETTINGS) from None
    return store, obstore


@contextmanager
def told(place: str) -> Iterator[None]:
    """What the store refuses, as an error of ours; a missing object stays a FileNotFoundError."""
    import obstore

    try:
        yield
    except obstore.exceptions.BaseError as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise SourceError(f"{place}: {_first_line(error)}", hint=_SETTINGS) from None


def _first_line(error: Exception) -> str:
    return " ".join(_COLOUR.sub("", str(error)).split("\n\nDebug source")[0].split())[:300]


def download(url: str, state: str, file: Path) -> None:
    """Bring an object to a file, which appears whole or not at all.

    Raises:
        OSError: it is gone, or not the one of that state any more.
        SourceError: the store cannot be reached, or refuses.
    """
    bucket, key = _split(url)
    store, client = _store(bucket)
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with told(url):
            try:
                answer = client.get(store, key)
            except FileNotFoundError:
                raise OSError("It is gone since it was looked at.") from None
            if _state(answer.meta) != state:
                raise OSError("It changed since it was looked at; the next run reads it again.")
            with temporary.open("wb") as out:
                for part in answer.stream(min_chunk_size=_PART):
                    out.write(part)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
