"""What near-duplicates of n documents will take, before anything is read.

The constants of memory and disk are sizes of arrays as `bandindex.py` and `indexed.py` hold them; those of time
were measured by `benchmarks/dedup_memory.py` (10 million sketches, one core).
"""

from __future__ import annotations

from dataclasses import dataclass

from curate.dedup.bands import bands as bands_of
from curate.dedup.compare import record_words
from schemas.errors import UsageError

ENTRY = 12  # bytes of a key and the number of its text, in the index and while it is put aside
DIGEST = 16
BUDGET = 512 * 2**20  # bytes, where none is given
_ENTRY_AT_WORK = 72  # bytes of a key while its partition is searched
_MEMBER_AT_WORK = 120  # of a row of a bucket beside its record: numbers, and the pairs that it is found in
_DOCUMENT = 60  # of a text, throughout: digest, number, rank, row, keeper, similarity
_PROGRAM = 250 * 2**20  # Python, NumPy, PyArrow, kernels
_PARTITIONS = 512  # files open at once: systems allow a process 1,024
_LARGEST = 2**31 - 1  # positions are int32
# Seconds of one core a key: to derive and append it; to find its equals and compare.
_SPILL, _SEARCH = 0.07e-6, 0.16e-6


@dataclass(frozen=True)
class Plan:
    """How candidates of so many new documents are found within a budget, and what that takes."""

    documents: int
    """Those that are new to the index."""
    slots: int
    threshold: float
    bands: int
    rows: int
    budget: int
    """Bytes that the search may hold at once."""
    partitions: int
    """Parts into which the keys are spilled; one is held at once."""
    members: int
    """Rows of buckets whose records are held at once."""
    stored: int = 0
    """Documents that are in the index."""

    @property
    def memory(self) -> int:
        """Bytes resident at most: a partition, records of its buckets, 60 a document, and the program."""
        entries = self.documents * self.bands // self.partitions
        members = min(self.members, entries) * (8 * record_words(self.slots) + _MEMBER_AT_WORK)
        return entries * _ENTRY_AT_WORK + members + _DOCUMENT * (self.stored + self.documents) + _PROGRAM

    @property
    def disk(self) -> int:
        """Bytes that stay in the index: keys, records, digests. While it runs `spilled` comes on top; pairs are 10 each."""
        return self.documents * (self.bands * ENTRY + 8 * record_words(self.slots) + DIGEST)

    @property
    def spilled(self) -> int:
        """Bytes of keys that are put aside while it runs."""
        return self.documents * self.bands * ENTRY

    @property
    def seconds(self) -> float:
        """Time of one core to find the candidates; signing and exact comparison come on top."""
        return self.documents * self.bands * (_SPILL + _SEARCH)

    def lines(self) -> list[str]:
        """For the command line.

        >>> for line in plan_memory(10_000_000, threshold=0.8, slots=128, budget=2**30).lines(): print(line)
        10,000,000 documents, threshold 0.8: 20 bands of 6 of 128 slots
        memory  1.5 GiB, with 32 partitions searched one by one
        disk    3.7 GiB for the index, 2.2 GiB more while it runs
        time    1 min of one core, beside signing and exact comparison
        """
        shape = f"{self.bands} bands of {self.rows} of {self.slots} slots"
        search = f"with {self.partitions} partitions searched one by one"
        beside = f" beside {self.stored:,} in the index" if self.stored else ""
        return [
            f"{self.documents:,} documents{beside}, threshold {self.threshold:g}: {shape}",
            f"memory  {_gib(self.memory)}, {search}",
            f"disk    {_gib(self.disk)} for the index, {_gib(self.spilled)} more while it runs",
            f"time    {self.seconds / 60:,.0f} min of one core, beside signing and exact comparison",
        ]


def _gib(size: int) -> str:
    return f"{size / 2**30:,.1f} GiB"


def plan_memory(
    documents: int,
    *,
    threshold: float,
    slots: int,
    budget: int,
    stored: int = 0,
    recall: float = 0.995,
    shape: tuple[int, int] | None = None,
) -> Plan:
    """Bands, partitions and predicted cost for `documents` new texts with sketches of `slots` numbers.

    `budget` is in bytes; `stored` texts are in the index; `shape` are bands and rows where they are given, else threshold and recall set
    them. Half of the budget holds a partition's keys, a quarter records of its buckets. The prediction
    takes keys to be spread evenly: a bucket of a share p of all documents may add 80 p bytes a document.

    Raises:
        UsageError: more than 2^31 - 1 documents, a budget that would need more than 512 partitions, or
            threshold, slots and recall that do not fit (see `bands`).
    """
    b, r = shape or bands_of(threshold, slots, recall)
    need = -(-2 * documents * b * _ENTRY_AT_WORK // max(budget, 1))
    partitions = 1 << max(need - 1, 0).bit_length()
    if documents + stored > _LARGEST or partitions > _PARTITIONS:
        least = 2 * documents * b * _ENTRY_AT_WORK // _PARTITIONS
        raise UsageError(
            f"{documents:,} new documents in {b} bands with a budget of {budget / 2**20:,.0f} MiB.",
            hint=f"At most {_LARGEST:,} documents; these need {least / 2**20:,.0f} MiB.",
        )
    members = max(1024, budget // 4 // (8 * record_words(slots) + _MEMBER_AT_WORK))
    return Plan(documents, slots, threshold, b, r, budget, partitions, members, stored)
