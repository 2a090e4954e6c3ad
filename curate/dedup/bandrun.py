"""One immutable run of a band index: texts in order of arrival, and their bands in order of key.

A run is a few files NAME.KIND, each an array with checksums (`checked.py`):

- `records`, `digests`: of each text the number of its shingles and a byte a slot (`compare.py`), and its key in the
  lake, 128 bits. `wordless` has the numbers of those without a word, which are in no band.
- `keys`, `numbers`: an entry (key, number of the text) for each band of each text, sorted by both. `starts` says where
  each prefix of the key begins; up to 16 keys share one on average, so that a look-up touches a page or two.
- `pairs`, `counts`: pairs of texts that pass the comparison of records, and in how many keys they were found.
- `giants`: keys that passed 64 entries with this run.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from curate.dedup.checked import ArrayWriter, CheckedArray, Values, is_sound
from curate.dedup.compare import Flags
from curate.dedup.shingles import I64, U64, read_only
from curate.text.jit import kernel

U32 = npt.NDArray[np.uint32]
U16 = npt.NDArray[np.uint16]

_SHARED = 16  # keys that share a prefix on average, at most: walking them is faster than halving
_MOST_RUNS = 8  # above, the newest are merged: a search costs a little for each run
_AHEAD = 64  # keys that are looked up at once
_GATHER = 2048  # records between two releases of mapped pages: the kernel maps 64 KB around each


@kernel
def _find(
    starts: U64, starts_sums: U64, starts_seen: Flags, keys: U64, sums: U64, seen: Flags, entries: int, bits: int,
    wanted: U64, low: I64, high: I64,
) -> bool:  # fmt: skip
    """Where the entries of each wanted key begin and end, keys sorted; False if what was read is damaged."""
    shift = np.uint64(64 - bits)
    at = sound = starts_sound = np.int64(0)  # what lies before these was checked, as far as it was read
    for begin in range(0, len(wanted), _AHEAD):
        some = range(begin, min(begin + _AHEAD, len(wanted)))
        for i in some:  # all loads at once: in the walk each waits for the one before
            prefix = np.int64(wanted[i] >> shift)
            if prefix >= starts_sound:
                if not is_sound(starts, starts_sums, starts_seen, prefix, prefix):
                    return False
                starts_sound = prefix + 1
            low[i] = np.int64(starts[prefix])
        for i in some:
            high[i] = np.int64(keys[min(low[i], entries - 1)])  # written over below: the load is what counts
        for i in some:
            start = at = max(at, low[i])
            while at < entries and keys[at] < wanted[i]:
                at += 1
            low[i] = high[i] = at
            while high[i] < entries and keys[high[i]] == wanted[i]:
                high[i] += 1
            if high[i] >= sound:  # only now, since the walk says how far
                first, last = min(int(start), entries - 1), min(int(high[i]), entries - 1)
                if not is_sound(keys, sums, seen, first, last):
                    return False
                sound = np.int64(last + 1)
    return True


@kernel
def _copy_numbers(words: U64, sums: U64, seen: Flags, low: I64, high: I64, at: I64, out: I64) -> bool:
    """Numbers of entries `low[i]` to `high[i]` to `out[at[i]]` and on, which moves on."""
    for i in range(len(low)):
        if low[i] < high[i] and not is_sound(words, sums, seen, low[i] // 2, (high[i] - 1) // 2):
            return False
        for e in range(low[i], high[i]):
            out[at[i]] = np.int64(words[e // 2] >> np.uint64(32 * (e % 2)) & np.uint64(0xFFFFFFFF))
            at[i] += 1
    return True


@kernel
def _copy_records(words: U64, sums: U64, seen: Flags, rows: I64, out: U64) -> bool:
    size = out.shape[1]
    for i in range(len(rows)):
        start = rows[i] * size
        if not is_sound(words, sums, seen, start, start + size - 1):
            return False
        out[i] = words[start : start + size]
    return True


def records_at(found: CheckedArray, rows: I64, words: int) -> U64:
    """Records (n, words) at sorted rows of an array of records; mapped pages are let go on the way."""
    out = np.empty((len(rows), words), np.uint64)
    for start in range(0, len(rows), _GATHER):
        part = slice(start, start + _GATHER)
        found.require(_copy_records(found.words, found.sums, found.seen, rows[part], out[part]))
        found.release()
    return out


@dataclass(frozen=True)
class Run:
    """What a run holds: texts `first` to `first + documents`, and so many values of the other kinds."""

    name: str
    first: int
    documents: int
    wordless: int
    entries: int
    pairs: int
    giants: int


def _bits(entries: int) -> int:
    return max(1, (entries // _SHARED).bit_length())


class OpenRun:
    """A run whose files are mapped.

    Raises:
        DamagedError: a file is missing or damaged, now or when it is read.
    """

    def __init__(self, folder: Path, run: Run, words: int) -> None:
        def opened(kind: str, dtype: npt.DTypeLike, count: int) -> CheckedArray:
            return CheckedArray(folder / f"{run.name}.{kind}", dtype, count)

        self.run, self.words = run, words
        self.records = opened("records", np.uint64, run.documents * words)
        self.digests = opened("digests", np.uint64, run.documents * 2)
        self.wordless = opened("wordless", np.uint64, run.wordless)
        self.keys = opened("keys", np.uint64, run.entries)
        self.numbers = opened("numbers", np.uint32, run.entries)
        self.starts = opened("starts", np.uint64, (1 << _bits(run.entries)) + 1)
        self.pairs = opened("pairs", np.uint64, run.pairs)
        self.counts = opened("counts", np.uint16, run.pairs)
        self.giants = opened("giants", np.uint64, run.giants)

    def find(self, wanted: U64) -> tuple[I64, I64]:
        """First entry and the one behind the last, (g,) each, of sorted keys (g,)."""
        low, high = np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.int64)
        if self.run.entries:
            starts, keys = self.starts, self.keys
            sound = _find(
                starts.words, starts.sums, starts.seen, keys.words, keys.sums, keys.seen, self.run.entries,
                _bits(self.run.entries), read_only(wanted, np.uint64), low, high,
            )  # fmt: skip
            keys.require(sound)
        return low, high

    def numbers_of(self, low: I64, high: I64, at: I64, out: I64) -> None:
        """Numbers of the texts of entries `low[i]` to `high[i]` to `out` from `at[i]`, which moves on."""
        found = self.numbers
        found.require(_copy_numbers(found.words, found.sums, found.seen, low, high, at, out))

    def records_of(self, numbers: I64) -> U64:
        """Records of texts by number, sorted, (n, words)."""
        return records_at(self.records, numbers - self.run.first, self.words)

    def release(self) -> None:
        """Let go of pages that a search has read."""
        for found in (self.keys, self.numbers, self.starts):
            found.release()


class RunWriter:
    """Writes a run: all its texts, then its entries in order, then what was found."""

    def __init__(self, folder: Path, first: int, words: int) -> None:
        self.folder, self.first, self.words = folder, first, words
        self.name = f"run-{first:010d}-{uuid.uuid4().hex[:8]}"
        self._files: dict[str, ArrayWriter] = {}
        self._written: dict[str, int] = {}
        self._starts = np.zeros(0, np.int64)

    def texts(self, records: U64, digests: U64, wordless: Values) -> None:
        """Append texts: records (n, words), digests (n, 2), and the numbers of those without a word."""
        self._write("records", records)
        self._write("digests", digests)
        self._write("wordless", wordless.astype(np.uint64))

    def open_records(self) -> CheckedArray:
        """All records, once all texts are written."""
        self._close("records")
        return CheckedArray(self.folder / f"{self.name}.records", np.uint64, self._written.get("records", 0))

    def begin_entries(self, count: int) -> None:
        """So many entries will follow."""
        self._starts = np.zeros((1 << _bits(count)) + 1, np.int64)

    def entries(self, keys: U64, numbers: Values) -> None:
        """Append entries, sorted by key, then number, also from call to call."""
        self._write("keys", keys)
        self._write("numbers", numbers.astype(np.uint32))
        bits = (len(self._starts) - 1).bit_length() - 1
        prefixes = (keys >> np.uint64(64 - bits)).astype(np.int64)
        if len(prefixes):  # sorted: only what lies between the first and the last counts
            low = int(prefixes[0])
            self._starts[low + 1 : int(prefixes[-1]) + 2] += np.bincount(prefixes - low)

    def found(self, pairs: U64, counts: U16, giants: U64) -> None:
        """Append pairs with their counts, and giant keys."""
        self._write("pairs", pairs)
        self._write("counts", counts)
        self._write("giants", giants)

    def close(self) -> Run:
        """End the run."""
        self._write("starts", np.cumsum(self._starts).astype(np.uint64))
        for kind in (
            "records",
            "digests",
            "wordless",
            "keys",
            "numbers",
            "pairs",
            "counts",
            "giants",
            "starts",
        ):
            self._close(kind)
        written = self._written
        documents = written["digests"] // 2
        return Run(
            self.name, self.first, documents, written["wordless"], written["keys"], written["pairs"], written["giants"]
        )  # fmt: skip

    def _write(self, kind: str, values: Values) -> None:
        if kind not in self._written:
            self._files[kind] = ArrayWriter(self.folder / f"{self.name}.{kind}")
            self._written[kind] = 0
        self._files[kind].write(values)
        self._written[kind] += values.size

    def _close(self, kind: str) -> None:
        if kind not in self._written:
            self._write(kind, np.empty(0, np.uint64))
        if kind in self._files:
            self._files.pop(kind).close()


def merged_entries(runs: list[OpenRun], size: int) -> Iterable[tuple[U64, U32]]:
    """Entries of runs in order of key, of equal keys in order of the runs; `size` of each at a time."""
    parts = [zip(run.keys.parts(size), run.numbers.parts(size), strict=True) for run in runs]
    heads = [next(part, None) for part in parts]
    while any(head is not None for head in heads):
        border = min(head[0][-1] for head in heads if head is not None)
        taken = []
        for number, head in enumerate(heads):
            # All with the border's key must be taken at once, also those of the next part.
            while head is not None and head[0][0] <= border:
                stop = int(np.searchsorted(head[0], border, "right"))
                taken.append((head[0][:stop], head[1][:stop]))
                head = (head[0][stop:], head[1][stop:]) if stop < len(head[0]) else next(parts[number], None)
            heads[number] = head
        keys, numbers = (np.concatenate(side) for side in zip(*taken, strict=True))
        order = np.argsort(keys, kind="stable")
        yield keys[order], numbers[order]


def sorted_entries(entries: npt.NDArray[np.void]) -> tuple[U64, U32]:
    """Keys and numbers, sorted by both."""
    keys, numbers = np.ascontiguousarray(entries["key"]), np.ascontiguousarray(entries["number"])
    order = np.argsort(keys)
    keys, numbers = keys[order], numbers[order]
    again = keys[1:] == keys[:-1]
    tied = np.flatnonzero(np.append(again, False) | np.append(False, again))
    # A stable sort takes six times as long; few keys are equal.
    numbers[tied] = numbers[tied[np.lexsort((numbers[tied], keys[tied]))]]
    return keys, numbers


def merged_from(entries: list[int]) -> int:
    """Where the newest runs begin that are merged into one; the last run's own place if none are.

    With more than 8, the newer half, and each run before them that is not larger than all these together:
    so an entry is written again about once for every doubling of the index.
    """
    start = len(entries) - 1
    if len(entries) > _MOST_RUNS:
        start = len(entries) // 2
        while start and entries[start - 1] <= sum(entries[start:]):
            start -= 1
    return start
