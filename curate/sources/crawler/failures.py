"""Why there is no answer, in words; and when it is worth asking again."""

from __future__ import annotations

from scrapy.exceptions import (
    CannotResolveHostError,
    DownloadCancelledError,
    DownloadConnectionRefusedError,
    DownloadTimeoutError,
    IgnoreRequest,
    ResponseDataLossError,
)

from schemas.tables import STATUS_LIMIT, STATUS_NONE

MAX_TRIES = 2  # again, after the first
MAX_PAUSE = 60.0  # seconds that a server may ask for

_TEMPORARY = (408, 429, 500, 502, 503, 504, 522, 524)


def explain(error: Exception, timeout: float, max_bytes: int) -> tuple[int, str]:
    """Status (no answer, or a limit) and the reason, without the URL."""
    if isinstance(error, DownloadCancelledError | IgnoreRequest):  # both say: beyond DOWNLOAD_MAXSIZE
        return STATUS_LIMIT, f"larger than {max_bytes:,} bytes"
    if isinstance(error, DownloadTimeoutError):
        return STATUS_NONE, f"no complete answer within {timeout:g} s"
    if isinstance(error, CannotResolveHostError):
        return STATUS_NONE, "the name of the host does not resolve"
    if isinstance(error, DownloadConnectionRefusedError):
        return STATUS_NONE, "connection refused"
    if isinstance(error, ResponseDataLossError):
        return STATUS_NONE, "the connection broke off in the middle"
    text = f"{type(error).__name__}: {error}"[:300]
    if "certificate" in text.lower():
        return STATUS_NONE, f"its TLS certificate is not trusted ({text})"
    return STATUS_NONE, text


def pause_before_retry(status: int, retry_after: bytes | None, tries: int) -> float | None:
    """Seconds until a temporary failure is tried again; None if it is none, or was tried enough."""
    if status not in _TEMPORARY or tries >= MAX_TRIES:
        return None
    asked = (retry_after or b"").strip()
    if asked.isdigit() and len(asked) < 6:
        return min(float(asked), MAX_PAUSE)
    return float(4**tries)
