"""One immutable run of a band index: Parquet as the truth, and a flat file beside it that is mapped.

`NAME.bands.parquet` has an entry (key, document) for each band of each document, sorted by both; document
numbers go up in order of arrival. `NAME.documents.parquet` has a row for each document: its key (the digest
of its text) and its record (number of shingles, one byte a slot).

`NAME.flat` holds the same in 64-bit words, so that a search touches what it needs: starts (where in the keys
each prefix of the key begins; up to 16 keys share one on average), keys, documents (two a word), records, and a
checksum for every 4 KB of these. Each stretch is checked when it is first touched; if one byte differs, the
file is made anew from the Parquet files, whose pages have checksums of their own.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from curate.dedup.compare import Flags
from curate.dedup.shingles import I64, U64, mix
from curate.text.jit import kernel
from schemas.errors import LakeError

U32 = npt.NDArray[np.uint32]

BANDS = pa.schema([pa.field("key", pa.uint64(), False), pa.field("document", pa.uint32(), False)])
_BLOCK = 512  # words with a checksum of their own: a page of memory
_SHARED = 16  # keys that share a prefix on average, at most: walking them is faster than halving
_AHEAD = 64  # keys that are looked up at once
_GROUP = 2**18  # entries of a row group
_ODD = np.uint64(0x9FB21C651E98DF25)


def documents_schema(words: int) -> pa.Schema:
    """Of the table of documents whose records have so many words."""
    return pa.schema([pa.field("key", pa.string(), False), pa.field("record", pa.binary(8 * words), False)])


@kernel
def _checksum(flat: U64, block: int) -> np.uint64:
    """Four lanes, each a chain of bijections: a change of one word always shows."""
    a = b = c = d = np.uint64(block)
    for i in range(block * _BLOCK, (block + 1) * _BLOCK, 4):
        a = (a ^ flat[i]) * _ODD
        b = (b ^ flat[i + 1]) * _ODD
        c = (c ^ flat[i + 2]) * _ODD
        d = (d ^ flat[i + 3]) * _ODD
    return mix(a) ^ mix(b + np.uint64(1)) * _ODD ^ mix(c + np.uint64(2)) ^ d


@kernel
def _checksums(flat: U64, sums: U64) -> None:
    for block in range(len(sums)):
        sums[block] = _checksum(flat, block)


@kernel
def _sound(flat: U64, sums: U64, seen: Flags, first: np.int64 | int, last: np.int64 | int) -> bool:
    """Whether words `first` to `last` are as they were written."""
    for block in range(first // _BLOCK, last // _BLOCK + 1):
        if not seen[block]:
            if _checksum(flat, block) != sums[block]:
                return False
            seen[block] = True
    return True


@kernel
def _find(
    flat: U64, sums: U64, seen: Flags, bits: int, entries: int, wanted: U64, low: I64, high: I64
) -> bool:
    """Where the entries of each wanted key begin and end, keys sorted; False if what was read is damaged."""
    shift = np.uint64(64 - bits)
    base = (1 << bits) + 1
    at = sound = starts_sound = np.int64(0)  # what lies before these was checked, as far as it was read
    for begin in range(0, len(wanted), _AHEAD):
        some = range(begin, min(begin + _AHEAD, len(wanted)))
        for i in some:  # all loads at once: in the walk each waits for the one before
            prefix = np.int64(wanted[i] >> shift)
            if prefix >= starts_sound:
                if not _sound(flat, sums, seen, prefix, prefix):
                    return False
                starts_sound = (prefix // _BLOCK + 1) * _BLOCK
            low[i] = np.int64(flat[prefix])
        for i in some:
            high[i] = np.int64(flat[base + low[i]])  # written over below: the load is what counts
        for i in some:
            start = at = max(at, low[i])
            while at < entries and flat[base + at] < wanted[i]:
                at += 1
            low[i] = high[i] = at
            while high[i] < entries and flat[base + high[i]] == wanted[i]:  # at most 256 have the same
                high[i] += 1
            if high[i] >= sound:  # only now, since the walk says how far
                if entries and not _sound(flat, sums, seen, base + start, base + min(high[i], entries - 1)):
                    return False
                sound = ((base + high[i]) // _BLOCK + 1) * _BLOCK - base
    return True


@kernel
def _copy_documents(
    flat: U64, sums: U64, seen: Flags, first: int, low: I64, high: I64, at: I64, out: I64
) -> bool:
    """Documents of entries `low[i]` to `high[i]` to `out[at[i]]` and on, which moves on."""
    for i in range(len(low)):
        if low[i] < high[i] and not _sound(flat, sums, seen, first + low[i] // 2, first + (high[i] - 1) // 2):
            return False
        for e in range(low[i], high[i]):
            out[at[i]] = np.int64(flat[first + e // 2] >> np.uint64(32 * (e % 2)) & np.uint64(0xFFFFFFFF))
            at[i] += 1
    return True


@kernel
def _copy_records(flat: U64, sums: U64, seen: Flags, first: int, rows: I64, out: U64) -> bool:
    words = out.shape[1]
    for i in range(len(rows)):
        start = first + rows[i] * words
        if not _sound(flat, sums, seen, start, start + words - 1):
            return False
        out[i] = flat[start : start + words]
    return True


@dataclass(frozen=True)
class Run:
    """Documents `first` to `first + documents`, and their entries."""

    name: str
    first: int
    documents: int
    entries: int


class OpenRun:
    """A run whose flat file is mapped; it is made anew when it is missing or damaged."""

    def __init__(self, folder: Path, run: Run, words: int) -> None:
        self.folder, self.run, self.words = folder, run, words
        self._bits = max(1, (run.entries // _SHARED).bit_length())
        self._keys = (1 << self._bits) + 1
        self._documents = self._keys + run.entries
        self._records = self._documents + (run.entries + 1) // 2
        self._blocks = -(-(self._records + run.documents * words) // _BLOCK)
        self._path = folder / f"{run.name}.flat"
        if not self._path.exists() or self._path.stat().st_size != 8 * self._blocks * (_BLOCK + 1):
            self._make()
        self._map()

    def find(self, wanted: U64) -> tuple[I64, I64]:
        """First entry and the one behind the last, (g,) each, of sorted keys (g,)."""
        low, high = np.empty(len(wanted), np.int64), np.empty(len(wanted), np.int64)
        flat, sums, seen = self._flat, self._sums, self._seen
        if not _find(flat, sums, seen, self._bits, self.run.entries, wanted, low, high):
            self._mend()
            return self.find(wanted)
        return low, high

    def documents_of(self, low: I64, high: I64, at: I64, out: I64) -> None:
        """Document numbers of entries `low[i]` to `high[i]` to `out` from `at[i]`, which moves on."""
        start = at.copy()
        if not _copy_documents(self._flat, self._sums, self._seen, self._documents, low, high, at, out):
            self._mend()
            at[:] = start
            self.documents_of(low, high, at, out)

    def records_of(self, numbers: I64) -> U64:
        """Records of documents by number, (n, words)."""
        out = np.empty((len(numbers), self.words), np.uint64)
        rows = numbers - self.run.first
        if not _copy_records(self._flat, self._sums, self._seen, self._records, rows, out):
            self._mend()
            return self.records_of(numbers)
        return out

    def _map(self) -> None:
        words = np.memmap(self._path, np.uint64, mode="r").view(np.ndarray)
        self._flat, self._sums = words[: self._blocks * _BLOCK], words[self._blocks * _BLOCK :]
        self._seen = np.zeros(self._blocks, np.bool_)

    def _mend(self) -> None:
        self._make()
        self._map()

    def _make(self) -> None:
        """Write the flat file from the Parquet files; it appears whole or not at all."""
        temporary = self._path.with_name(f".{self._path.name}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            mapped = np.memmap(temporary, np.uint64, "w+", shape=(self._blocks * (_BLOCK + 1),))
            words: U64 = mapped.view(np.ndarray)
            counts = np.zeros(self._keys, np.int64)
            entry = 0
            documents = words[self._documents : self._records].view(np.uint32)
            for keys, numbers in read_entries(self.folder, self.run):
                words[self._keys + entry : self._keys + entry + len(keys)] = keys
                documents[entry : entry + len(keys)] = numbers
                prefixes = (keys >> np.uint64(64 - self._bits)).astype(np.int64)
                counts[1:] += np.bincount(prefixes, minlength=self._keys - 1)
                entry += len(keys)
            words[: self._keys] = np.cumsum(counts)
            at = self._records
            for batch in read_documents(self.folder, self.run):
                record = batch.column("record")
                data = np.frombuffer(record.buffers()[1], np.uint64)
                size = len(record) * self.words
                words[at : at + size] = data[record.offset * self.words :][:size]
                at += size
            _checksums(words, words[self._blocks * _BLOCK :])
            mapped.flush()
            temporary.replace(self._path)
        finally:
            temporary.unlink(missing_ok=True)


def read_entries(folder: Path, run: Run) -> Iterator[tuple[U64, U32]]:
    """Keys and documents of a run in order, some at once, from the Parquet file.

    Raises:
        LakeError: the file is missing or damaged.
    """
    for batch in _read(folder / f"{run.name}.bands.parquet", run.entries, _GROUP):
        yield batch.column("key").to_numpy(), batch.column("document").to_numpy()


def read_documents(folder: Path, run: Run) -> Iterator[pa.RecordBatch]:
    """Keys and records of the documents of a run in order, from the Parquet file.

    Raises:
        LakeError: the file is missing or damaged.
    """
    yield from _read(folder / f"{run.name}.documents.parquet", run.documents, 50_000)


def _read(path: Path, rows: int, size: int) -> Iterator[pa.RecordBatch]:
    read = 0
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for batch in file.iter_batches(batch_size=size):
                read += len(batch)
                yield batch
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, str(error)) from error
    if read != rows:
        raise _damaged(path, f"it has {read:,} rows, not {rows:,}")


def _damaged(path: Path, what: str) -> LakeError:
    return LakeError(
        f"{path} cannot be read: {what}",
        hint=f"Delete the folder {path.parent}: the index is made anew from the stored signatures.",
    )


def write_run(
    folder: Path,
    first: int,
    entries: Iterable[tuple[U64, U32]],
    documents: Iterable[pa.RecordBatch],
    words: int,
) -> Run:
    """Write the Parquet files of a run; entries come sorted, in parts."""
    name = f"run-{first:010d}-{uuid.uuid4().hex[:8]}"
    bands = (pa.record_batch([pa.array(keys), pa.array(numbers)], schema=BANDS) for keys, numbers in entries)
    # Keys are random: a dictionary or compression would only cost time.
    found = _write(folder / f"{name}.bands.parquet", BANDS, bands)
    rows = _write(folder / f"{name}.documents.parquet", documents_schema(words), documents)
    return Run(name, first, rows, found)


def _write(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
    rows = 0
    with pq.ParquetWriter(
        path,
        schema,
        compression="none",
        use_dictionary=False,
        write_page_checksum=True,
        write_statistics=False,
    ) as writer:
        for batch in batches:
            writer.write_table(pa.Table.from_batches([batch]), row_group_size=_GROUP)
            rows += len(batch)
    return rows
