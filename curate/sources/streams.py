"""Opens plain and compressed files as streams of bytes, in bounded memory."""

from __future__ import annotations

import io
import lzma
from pathlib import Path
from typing import Any

import pyarrow as pa

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".xz": "xz"}
_CHUNK = 1 << 16
_BLOCK = 1 << 18
_XZ_MEMORY = 256_000_000  # bytes of a decoder; xz -9 needs 65 MB, and a header may ask for 4 GB


def is_packed(path: str | Path) -> bool:
    """Whether the name is that of a compressed file."""
    return Path(path).suffix.lower() in COMPRESSIONS


def open_stream(path: str | Path) -> Any:
    """The bytes of a file, decompressed as its suffix says.

    Raises:
        OSError: it cannot be opened; when it is read, it is damaged or ends too early ("Truncated ...").
    """
    compression = COMPRESSIONS.get(Path(path).suffix.lower())
    if compression == "xz":
        return io.BufferedReader(_Xz(Path(path)), 1 << 20)
    return pa.input_stream(str(path), compression=compression)


class WholeLines(io.RawIOBase):
    """A stream that ends with the last whole line before it breaks, and keeps the error.

    For parsers that read ahead, to whom an error means that all they have read is lost.
    """

    def __init__(self, stream: Any, longest: int) -> None:
        self._stream, self._longest = stream, longest
        self._ready, self._rest, self._ended = b"", b"", False
        self.error: Exception | None = None

    def readable(self) -> bool:  # noqa: D102 - as every stream of io
        return True

    def close(self) -> None:  # noqa: D102
        self._stream.close()
        super().close()

    def readinto(self, buffer: Any) -> int:  # noqa: D102
        while not self._ready and not self._ended:
            self._fill()
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _fill(self) -> None:
        try:
            block = self._stream.read(_BLOCK)
        except (OSError, pa.ArrowInvalid) as error:
            self.error, self._ended = error, True
            return
        data = self._rest + block
        self._ended = not block
        cut = len(data) if self._ended or len(data) > self._longest else data.rfind(b"\n") + 1
        self._ready, self._rest = data[:cut], data[cut:]


class _Xz(io.RawIOBase):
    """An .xz file, of one stream or several: Arrow has no decoder, and lzma.open no limit on memory."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._decoder = _decoder()

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        while True:
            data = self._next_input()
            if data is None:
                return 0
            try:
                out = self._decoder.decompress(data, len(buffer))
            except lzma.LZMAError as error:
                raise OSError(f"damaged xz data ({error})") from None
            if out:
                buffer[: len(out)] = out
                return len(out)

    def _next_input(self) -> bytes | None:
        """What the decoder needs next; None at the end of the file."""
        if self._decoder.eof:
            rest = self._decoder.unused_data.lstrip(b"\0")  # streams are padded with NULs
            while not rest and (block := self._file.read(_CHUNK)):
                rest = block.lstrip(b"\0")
            self._decoder = _decoder() if rest else self._decoder
            return rest or None
        if not self._decoder.needs_input:
            return b""
        data = self._file.read(_CHUNK)
        if not data:
            raise OSError("Truncated xz stream")
        return data


def _decoder() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
