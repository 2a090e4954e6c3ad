"""Vectors and the search over them. The one file that knows FAISS.

`index.faiss` holds all: below `exact_below` passages a plain IndexFlatIP; from there on
`IVF1,PQ96x4fs,RFlat`: one list of 4-bit product-quantized codes (48 bytes a passage, scanned from the registers
of the CPU), and the raw vectors, memory-mapped, by which the best k * k_factor candidates are compared again.
It is read by any FAISS, without this library.

On 35,652 passages this scan took a fifth of the CPU of HNSW at recall 0.996 and was built 6 times as fast; and it
takes a mask without losing recall, which HNSW does not. IVF1 instead of plain PQ because only it takes a mask, at
the same speed. PQ: Jegou et al. 2011, doi:10.1109/TPAMI.2010.57; fast scan: Andre et al. 2015.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.errors import IndexingError, missing_extra

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

# A mask that leaves a smaller share is searched exactly: as fast as the codes at 5 % of 56,000 passages.
_FEW = 0.05
_FACTORS = (20, 50, 100, 200)  # k_factor: 20 reached recall 0.998 on 107,000 passages, 50 on 357,000
_TRAINED_ON = 16_384  # vectors that train the codebooks: 16 centroids each, 256 vectors a centroid are plenty
_MUCH = 50_000_000  # comparisons from which on all cores work together: about a second's work
_QUESTIONS = 200  # sampled to choose k_factor


@cache
def load_faiss() -> Any:
    """The module faiss, set up once.

    Raises:
        MissingExtraError: it is not installed.
        IndexingError: what is installed is an empty shell, as when one of two FAISS packages was removed.
    """
    try:
        import faiss
    except ImportError:
        raise missing_extra("index", "Searching", "faiss-cpu") from None
    if not hasattr(faiss, "IndexFlatIP"):
        raise IndexingError(
            "The package faiss is an empty shell: two FAISS distributions shared its folder and one was removed.",
            hint="pip uninstall -y faiss-cpu faiss-gpu && pip install --force-reinstall faiss-cpu",
        )
    # Since 1.15 it counts questions * dimensions and is 128,000: a batch of 128 then takes 8.7 times as long.
    if faiss.cvar.distance_compute_blas_threshold > 10_000:
        faiss.cvar.distance_compute_blas_threshold = 8 * 384
    return faiss


def build_vectors(path: Path, vectors: Floats, exact_below: int, target: float) -> dict[str, float]:
    """Write `index.faiss`.

    Args:
        path: the file.
        vectors: float32 (n, d) of length 1.
        exact_below: fewer vectors than this are stored for exact search.
        target: recall at 10 that k_factor is chosen for, at the least.

    Returns:
        What was measured: k_factor and recall at 10 against exact search; 1 and 1.0 for an exact index.
    """
    faiss = load_faiss()
    count, dimension = vectors.shape
    width = _subvector(dimension)
    flat = faiss.IndexFlatIP(dimension)
    flat.add(np.ascontiguousarray(vectors, np.float32))
    # Vectors that are not finite cannot be coded; the gate `vectors` refuses them.
    if count < max(exact_below, 1000) or not width or not np.isfinite(vectors).all():
        faiss.write_index(flat, str(path))
        return {"k_factor": 1.0, "recall": 1.0}
    with _threads(faiss, count * 500):  # training and coding a vector cost as much as about 500 comparisons
        codes = faiss.index_factory(dimension, f"IVF1,PQ{dimension // width}x4fs", faiss.METRIC_INNER_PRODUCT)
        codes.train(vectors[_sample(count, _TRAINED_ON)])
        codes.add(vectors)
        index = faiss.IndexRefine(codes, flat)
        found = _calibrate(index, flat, vectors, target)
    faiss.write_index(index, str(path))
    return found


def _calibrate(index: Any, flat: Any, vectors: Floats, target: float) -> dict[str, float]:
    """Set the smallest k_factor that reaches the recall, or the largest."""
    questions = _as_questions(vectors[_sample(len(vectors), _QUESTIONS)])
    exact = flat.search(questions, 10)[1]
    recall = 0.0
    for factor in _FACTORS:
        index.k_factor = factor
        recall = overlap(index.search(questions, 10)[1], exact)
        if recall >= max(target, 0.995):
            break
    return {"k_factor": float(index.k_factor), "recall": recall}


def _as_questions(passages: Floats) -> Floats:
    """Half passages, half points midway between two of them, which are off topic and hard for an approximate search."""
    questions = np.array(passages, np.float32)
    half = len(passages) // 2
    questions[:half] += passages[1 : half + 1]
    questions /= np.maximum(np.linalg.norm(questions, axis=1, keepdims=True), 1e-12)
    return questions


def overlap(found: Rows, exact: Rows) -> float:
    """Mean share of each row of `exact` that is in the same row of `found`; -1 stands for nothing."""
    shares = [len(set(a) & set(b)) / len(b) for a, b in zip(_lists(found), _lists(exact), strict=True) if b]
    return float(np.mean(shares)) if shares else 1.0


def _lists(rows: Rows) -> list[list[int]]:
    return [[row for row in line if row >= 0] for line in rows.tolist()]


def _sample(count: int, most: int) -> Rows:
    """Sorted rows, the same ones in every run."""
    return np.sort(np.random.default_rng(0).choice(count, min(count, most), replace=False))


def _subvector(dimension: int) -> int:
    """Dimensions in one 4-bit code: four, or the next larger divisor; 0 if only exact search is possible."""
    return next((width for width in range(4, 17) if dimension % width == 0), 0)


@dataclass(frozen=True)
class Vectors:
    """An open `index.faiss`: memory-mapped, read only, shared by any number of threads."""

    count: int
    dimension: int
    approximate: bool
    _index: Any
    _flat: Any

    @classmethod
    def open(cls, path: Path) -> Vectors:
        """Map a file.

        Raises:
            IndexingError: it is no FAISS index.
        """
        faiss = load_faiss()
        try:
            # No add or remove may ever reach an index that is mapped so: FAISS aborts the process.
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            raise IndexingError(
                f"{path} cannot be opened: {str(error)[:200]}.",
                hint="Its file is damaged: roll back, and build the index again.",
            ) from None
        flat = faiss.downcast_index(index.refine_index) if hasattr(index, "refine_index") else index
        return cls(index.ntotal, index.d, flat is not index, index, flat)

    def search(
        self, questions: Floats, k: int, mask: Mask | None = None, *, exact: bool = False
    ) -> tuple[Floats, Rows, bool]:
        """The k nearest rows of each question.

        Args:
            questions: float32 (n, d) of length 1.
            k: how many; never more than the mask leaves.
            mask: bool (count), the rows that may be found.
            exact: compare with every row.

        Returns:
            Cosines float32 (n, k) and rows int64 (n, k), the nearest first; and whether that is exact.
        """
        faiss = load_faiss()
        left = self.count if mask is None else int(np.count_nonzero(mask))
        k = min(k, left)
        if not k:
            return np.empty((len(questions), 0), np.float32), np.empty((len(questions), 0), np.int64), True
        exact = exact or not self.approximate or (mask is not None and left <= _FEW * self.count)
        selector = None
        if mask is not None:
            bits = np.packbits(mask, bitorder="little")
            selector = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
        params = (
            faiss.SearchParameters(sel=selector)
            if exact
            else _refined(faiss, selector, self._compared(k) / k)
        )
        with _threads(faiss, len(questions) * self.count):
            scores, rows = (self._flat if exact else self._index).search(
                np.ascontiguousarray(questions, np.float32), k, params=params
            )
        return scores, rows, exact

    def _compared(self, k: int) -> float:
        """Candidates that are compared again exactly: k_factor is calibrated for ten hits; deep lists need less."""
        return float(max(10 * self._index.k_factor, 4 * k))

    def scores(self, question: Floats, rows: Rows) -> Floats:
        """Exact cosines of one question (d) to some rows, float32."""
        faiss = load_faiss()
        found = np.empty(len(rows), np.float32)
        if len(rows):
            labels, question = (
                np.ascontiguousarray(rows, np.int64),
                np.ascontiguousarray(question, np.float32),
            )
            pointer = faiss.swig_ptr
            self._flat.compute_distance_subset(
                1, pointer(question), len(rows), pointer(found), pointer(labels)
            )
        return found

    def sample_questions(self, count: int) -> Floats:
        """Questions made of the vectors themselves, the same ones every time: float32 (count or fewer, d)."""
        return _as_questions(self._flat.reconstruct_batch(_sample(self.count, count)))

    def read(self, start: int, stop: int) -> Floats:
        """Raw vectors of rows start to stop, float32 (stop - start, d)."""
        found: Floats = self._flat.reconstruct_n(start, stop - start)
        return found


@contextmanager
def _threads(faiss: Any, comparisons: int) -> Iterator[None]:
    """One OpenMP thread for little work: on a busy machine waking a team took 5 to 20 times the work itself."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(before if comparisons >= _MUCH else 1)  # of this thread only
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _refined(faiss: Any, selector: Any, factor: float) -> Any:
    inner = faiss.SearchParametersIVF(sel=selector, nprobe=1)
    outer = faiss.IndexRefineSearchParameters(k_factor=factor, base_index_params=inner)
    outer.held = (inner, selector)  # SWIG keeps no reference to what parameters point to
    return outer
