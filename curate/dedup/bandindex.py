"""A stored index of bands: what is like the documents of a batch, at a cost that follows the batch.

Documents are numbers in order of arrival, which is their rank: who came first stays. The index is a few
immutable runs (`bandrun.py`) and `manifest.json`, which is replaced last; what an append leaves that did
not end, the next one deletes. One process at a time opens it: the lock is the caller's.

What holds, for any texts and any cut of their sequence into batches (tests hold each):

1. The pairs and counts of all batches together are those of `candidates` over all documents with rank =
   arrival. What a row of a bucket is compared with depends on the rows before it alone (`compare.py`), and
   a row that was not among the first 64 of a list of its bucket is never compared with a later one, so it
   has no entry in that band: a key has at most 256 entries, whatever its bucket's size.
2. So `lead` over the pairs of the batches removes what a full run removes, and no batch changes what was
   decided before: a kept document stays kept.

Documents that leave (or change, or change places) end this: then the index is made anew. `keys` tells.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.dedup.bandrun import (
    OpenRun,
    Run,
    documents_schema,
    read_documents,
    read_entries,
    write_run,
)
from curate.dedup.candidates import all_keys, least_slots
from curate.dedup.compare import compare, fill_records, record_words
from curate.dedup.shingles import I64, U32, U64, read_only
from schemas.errors import LakeError, MovedError

I32 = npt.NDArray[np.int32]

_FORMAT = 1
_MOST_RUNS = 8  # above, the newest are merged: a search costs a little for each run
_LARGEST = 2**31 - 1


@dataclass(frozen=True)
class IndexOptions:
    """What the entries of an index depend on; `identity` says how the sketches were made."""

    slots: int
    bands: int
    rows: int
    threshold: float
    identity: Mapping[str, str | int | float]
    """Scheme, seed, n-gram, version of the normalizer, whatever else: JSON values, compared for equality."""


@dataclass(frozen=True)
class Probed:
    """What a batch is like, and what its append will store."""

    pairs: I64
    """(m, 2) document numbers, the earlier first, sorted by the later, then the earlier; the later is of the batch."""
    unresolved: I32
    """(n,) bands in which the document was left over in a giant bucket."""
    first: int
    """Number of the batch's first document."""
    keys: U64
    documents: U32
    records: U64


class BandIndex:
    """An index in a folder, open: made if there is none.

    Raises:
        LakeError: it was made with other options, or its files are missing or damaged.
    """

    def __init__(self, folder: Path, options: IndexOptions) -> None:
        self.folder, self.options = folder, options
        self._words = record_words(options.slots)
        self._runs = [OpenRun(folder, run, self._words) for run in _read_manifest(folder, options)]

    @property
    def documents(self) -> int:
        """How many documents are in it; the next has this number."""
        return sum(run.run.documents for run in self._runs)

    def keys(self) -> Iterator[pa.StringArray]:
        """The keys of all documents in order of their numbers, some at once."""
        for run in self._runs:
            for batch in read_documents(self.folder, run.run):
                yield batch.column("key")

    def probe(self, slots: U32, shingles: I32) -> Probed:
        """Pairs of the documents of a batch with earlier ones, stored or of the batch.

        `slots` (n, K) and `shingles` (n,) in order of arrival. Nothing is stored. Memory: about
        50 bytes a document and band.
        """
        slots, shingles = read_only(slots, np.uint32), read_only(shingles, np.int32)
        first = self.documents
        if first + len(slots) > _LARGEST:
            raise LakeError(
                f"The index would hold more than {_LARGEST:,} documents.", hint="Split the corpus."
            )
        own = np.empty((len(slots), self._words), np.uint64)
        fill_records(slots, shingles, read_only(np.arange(len(slots)), np.int64), own)
        keys, rows = _sorted_entries(all_keys(slots, self.options.bands, self.options.rows))
        begins = np.flatnonzero(np.diff(keys, prepend=np.uint64(0)))
        counts = np.diff(begins, append=len(keys))
        ranges = [run.find(keys[begins]) for run in self._runs]
        stored = sum((high - low for low, high in ranges), np.zeros(len(begins), np.int64))
        shared = stored + counts > 1
        entries = np.repeat(shared, counts)  # of the batch, in a bucket of two or more
        members, borders, own_places = self._buckets(
            [(low[shared], high[shared]) for low, high in ranges], stored[shared], counts[shared],
            first + rows[entries],
        )  # fmt: skip
        old = np.unique(members[members < first])
        local = np.where(members < first, np.searchsorted(old, members), members - first + len(old))
        records = np.concatenate([*(run.records_of(_within(old, run.run)) for run in self._runs), own])
        unresolved = np.zeros(len(records), np.int32)
        pairs, head = compare(
            local.astype(np.int32), borders, records, self.options.slots, self.options.threshold,
            least_slots(self.options.threshold, self.options.slots), len(old), unresolved,
        )  # fmt: skip
        keep = np.ones(len(keys), np.bool_)
        keep[entries] = head[own_places]
        numbers = np.concatenate([old, first + np.arange(len(slots))])
        return Probed(
            _by_later(pairs, numbers), unresolved[len(old) :], first, keys[keep],
            (first + rows[keep]).astype(np.uint32), own,
        )  # fmt: skip

    def append(self, probed: Probed, keys: pa.StringArray) -> None:
        """Store a batch that was probed, with the keys of its documents (digests of their texts).

        Raises:
            MovedError: something else was appended since.
        """
        runs = _read_manifest(self.folder, self.options)
        if probed.first != self.documents or runs != [run.run for run in self._runs]:
            raise MovedError(
                f"The index in {self.folder} changed since this batch was looked up.",
                hint="Open it again and probe again.",
            )
        if len(probed.records) == 0:
            return
        data = pa.py_buffer(np.ascontiguousarray(probed.records))
        record = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(8 * self._words), len(probed.records), [None, data]
        )
        table = pa.record_batch([keys.cast(pa.string()), record], schema=documents_schema(self._words))
        self.folder.mkdir(parents=True, exist_ok=True)
        added = write_run(self.folder, probed.first, [(probed.keys, probed.documents)], [table], self._words)
        runs.append(added)
        start = _merged_from([run.entries for run in runs])
        merged = self._merge(runs[start:])
        _write_manifest(self.folder, self.options, [*runs[:start], merged])
        kept = [run for run in self._runs if run.run in runs[:start]]
        self._runs = [*kept, OpenRun(self.folder, merged, self._words)]
        self._delete_unnamed()

    def _buckets(
        self, ranges: list[tuple[I64, I64]], stored: I64, counts: I64, own: I64
    ) -> tuple[I64, I64, I64]:
        """Documents of each bucket, stored ones first, the borders, and where those of the batch stand."""
        borders = np.concatenate([[0], np.cumsum(stored + counts)])
        members = np.empty(borders[-1], np.int64)
        at = borders[:-1].copy()
        for run, (low, high) in zip(self._runs, ranges, strict=True):
            run.documents_of(low, high, at, members)
        before = np.cumsum(counts) - counts
        places = np.repeat(at - before, counts) + np.arange(len(own))
        members[places] = own
        return members, borders, places

    def _delete_unnamed(self) -> None:
        """Files of runs that were merged, and of appends that did not end."""
        named = {run.run.name for run in self._runs}
        for file in self.folder.glob("*run-*"):
            if file.name.split(".")[0] not in named:
                file.unlink(missing_ok=True)

    def _merge(self, runs: list[Run]) -> Run:
        if len(runs) == 1:
            return runs[0]
        documents = (batch for run in runs for batch in read_documents(self.folder, run))
        entries = _merged([read_entries(self.folder, run) for run in runs])
        return write_run(self.folder, runs[0].first, entries, documents, self._words)


def _sorted_entries(keys: U64) -> tuple[U64, I64]:
    """Keys of bands (n, bands) other than 0, and their rows, sorted by both."""
    flat = keys.reshape(-1)
    order = np.argsort(flat)
    flat = flat[order]
    again = flat[1:] == flat[:-1]
    tied = np.flatnonzero(np.append(again, False) | np.append(False, again))
    # A stable sort takes six times as long; few keys are equal.
    order[tied] = order[tied[np.lexsort((order[tied], flat[tied]))]]
    some = int(np.searchsorted(flat, np.uint64(1)))
    return flat[some:], order[some:] // keys.shape[1]


def _within(numbers: I64, run: Run) -> I64:
    """Of sorted document numbers those of a run."""
    return numbers[slice(*np.searchsorted(numbers, [run.first, run.first + run.documents]))]


def _by_later(pairs: U64, numbers: I64) -> I64:
    """Distinct pairs of documents, sorted by the later, from packed pairs of places in `numbers`."""
    pairs = np.sort(pairs << np.uint64(32) | pairs >> np.uint64(32))
    pairs = pairs[np.flatnonzero(np.diff(pairs, prepend=np.uint64(0)))]
    ends = np.stack([pairs & np.uint64(0xFFFFFFFF), pairs >> np.uint64(32)], axis=1)
    return numbers[ends.astype(np.int64)]


def _merged_from(entries: list[int]) -> int:
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


def _merged(runs: list[Iterator[tuple[U64, U32]]]) -> Iterator[tuple[U64, U32]]:
    """Entries of runs in order of key, of equal keys in order of the runs; each run a part at a time."""
    heads = [next(run, None) for run in runs]
    while any(head is not None for head in heads):
        border = min(head[0][-1] for head in heads if head is not None)
        taken = []
        for number, head in enumerate(heads):
            # All with the border's key must be taken at once, also those of the next part.
            while head is not None and head[0][0] <= border:
                stop = int(np.searchsorted(head[0], border, "right"))
                taken.append((head[0][:stop], head[1][:stop]))
                head = (head[0][stop:], head[1][stop:]) if stop < len(head[0]) else next(runs[number], None)
            heads[number] = head
        keys, documents = (np.concatenate(side) for side in zip(*taken, strict=True))
        order = np.argsort(keys, kind="stable")
        yield keys[order], documents[order]


def _described(options: IndexOptions) -> dict[str, Any]:
    described = asdict(options)
    return {"format": _FORMAT, **described.pop("identity"), **described}


def _read_manifest(folder: Path, options: IndexOptions) -> list[Run]:
    path = folder / "manifest.json"
    if not path.exists():
        return []
    anew = f"Delete the folder {folder}: the index is made anew from the stored signatures"
    try:
        manifest = json.loads(path.read_text("utf-8"))
        made, runs = dict(manifest["made_with"]), [Run(**run) for run in manifest["runs"]]
    except (ValueError, KeyError, TypeError) as error:
        raise LakeError(f"{path} cannot be read: {error}", hint=f"{anew}.") from error
    wanted = _described(options)
    differing = [name for name in sorted({*made, *wanted}) if made.get(name) != wanted.get(name)]
    if differing:
        found = ", ".join(f"{name} {made.get(name)} and not {wanted.get(name)}" for name in differing)
        raise LakeError(
            f"The band index in {folder} was made with {found}.",
            hint=f"{anew}; where sketches differ, `curate run` signs all texts again first. Or set the options back.",
        )
    return runs


def _write_manifest(folder: Path, options: IndexOptions, runs: list[Run]) -> None:
    manifest = {"made_with": _described(options), "runs": [asdict(run) for run in runs]}
    temporary = folder / ".manifest.json.tmp"
    temporary.write_text(json.dumps(manifest, indent=1), "utf-8")
    temporary.replace(folder / "manifest.json")
