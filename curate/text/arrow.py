"""Arrow text columns as the two buffers that kernels read, and back, without copying the text."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.errors import CurateError

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]

LIMIT = 2**31 - 1  # bytes of one text: positions in a text are int32


def normalised(text: pa.Array | pa.ChunkedArray) -> pa.LargeStringArray:
    """Any string column as one large_string array without offset; copied only where it must be."""
    if isinstance(text, pa.ChunkedArray):
        text = text.combine_chunks()
    if text.type != pa.large_string():
        text = text.cast(pa.large_string())
    return text if text.offset == 0 else pa.concat_arrays([text, text[:0]])


def buffers(text: pa.LargeStringArray) -> tuple[Bytes, Offsets]:
    """The text's bytes (UTF-8) and its n + 1 offsets into them: read-only views, sliced arrays too.

    Raises:
        CurateError: a text has 2 GiB or more.
    """
    _, offset_buffer, data_buffer = text.buffers()
    data = _view(b"" if data_buffer is None else data_buffer, np.uint8)
    if len(text) == 0:  # Arrow may leave out even the first offset
        return data, np.frombuffer(bytes(8), np.int64)
    offsets = _view(offset_buffer, np.int64, len(text) + 1, text.offset * 8)
    if offsets[-1] - offsets[0] > LIMIT and (sizes := np.diff(offsets)).max() > LIMIT:
        raise CurateError(
            f"Text {sizes.argmax()} of the batch has {sizes.max():,} bytes; the limit is {LIMIT:,}.",
            hint="Split the document before it is read: no step can work on a text of this size.",
        )
    return data, offsets


def _view(buffer: Any, dtype: npt.DTypeLike, count: int = -1, offset: int = 0) -> npt.NDArray[Any]:
    """A read-only view also where Arrow lets the buffer be written to: else kernels would be compiled twice."""
    view: npt.NDArray[Any] = np.frombuffer(buffer, dtype, count, offset)
    view.flags.writeable = False
    return view


def texts(data: Bytes, offsets: Offsets) -> pa.LargeStringArray:
    """The texts whose UTF-8 bytes and n + 1 offsets a kernel wrote; the arrays are shared, not copied."""
    array: pa.LargeStringArray = pa.LargeStringArray.from_buffers(
        len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(data)
    )
    return array
