"""Pairs of nearly equal vectors beside `semhash` on the same vectors, and what share of all such pairs each finds.

    python benchmarks/semantic.py
    python benchmarks/semantic.py --labelled SET.parquet     # id, text, label: documents of a label say the same

`documents` are vectors of real documents, each the sum of a fixed direction for each of its words by its rarity, as
static embedders make them; `topics` are vectors of 500 topics, `none` has no cluster at all, the worst case; a tenth of
these two are near-copies of others, with cosines of 0.9 to 1. `recall` is the share of the pairs from the threshold on
that exact search finds for 1,000 of the vectors. semhash, in an environment of its own, gets the vectors ready-made
(`from_embeddings`, then `self_deduplicate`); its imports are not timed, nor are the pairs asked for again to count
them. `kept` is what each keeps of the rows. Each runs on one core, with one thread.

`--labelled` embeds the first and last document of some labels with the embedder of the step, and tells which pairs reach
a threshold: `found` of those of one label, and `other` of two, with the vector of the first passage alone and with the
mean of all, which the step takes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ |= {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}  # before NumPy is imported, here and in the peer

import numpy as np
from measuring import CACHE, Cost, Figures, arguments, cpu_seconds, finish, machine

PACKAGES = ("semhash==0.5.0",)
THRESHOLD, TOPICS = 0.9, 500
THRESHOLDS, LABELS = (0.85, 0.9, 0.93, 0.95, 0.97, 0.99), 110
_CHARS = 4_000  # of a document, for its words


def main() -> None:
    """Measure both in turn on each kind of vectors."""
    if sys.argv[1:2] == ["peer"]:
        print(json.dumps(_semhash(Path(sys.argv[2]))))
        return
    from texts import (
        add_data,
        bulk_file,
        read_texts,
    )  # not in the peer's environment, nor are Polars and PyArrow

    parser = arguments(__doc__)
    parser.add_argument("--vectors", type=int, default=50_000)
    parser.add_argument("--labelled", type=Path, help="a Parquet file with id, text and label")
    add_data(parser)
    options = parser.parse_args()
    if options.labelled:
        finish(options, machine("numpy", "onnxruntime"), _labelled(options.labelled))
        return
    where = machine("numpy")
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    count, rounds = (2_000, 1) if options.quick else (options.vectors, 3)
    python = _environment(make=not options.quick)
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="curate-bench-") as folder:
        texts = read_texts(bulk_file(options, Path(folder)), count * _CHARS).slice(0, count)
        kinds = {
            "documents": _word_vectors(texts),
            "topics": _vectors(count, TOPICS),
            "none": _vectors(count, 0),
        }
        for name, vectors in kinds.items():
            file = Path(folder, f"{name}.npy")
            np.save(file, vectors)
            figures |= {f"{who}_{name}": row for who, row in _compared(file, python, rounds).items()}
    finish(options, where, figures)


def _environment(*, make: bool) -> Path | None:
    """Python with semhash, made once and kept in the cache; None if it is not there and not to be made."""
    folder = CACHE / "peers" / "semhash"
    python = folder / "bin" / "python"
    if make and not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
    return python if python.exists() else None


def _vectors(count: int, topics: int, dimensions: int = 256) -> np.ndarray:
    rng = np.random.default_rng(1)
    vectors = _unit(rng.standard_normal((count, dimensions)))
    if topics:
        middles = _unit(rng.standard_normal((topics, dimensions)))
        chosen = middles[rng.choice(topics, count, p=rng.dirichlet(np.ones(topics)))]
        vectors = _near(rng, chosen, rng.uniform(0.5, 0.85, (count, 1)))
    copies = count // 10
    vectors[-copies:] = _near(rng, vectors[:copies], rng.uniform(0.9, 1, (copies, 1)))
    return vectors[rng.permutation(count)]


def _word_vectors(texts: Any, dimensions: int = 256) -> np.ndarray:
    """Vectors of texts, each word a random direction, by its count and its rarity."""
    import polars as pl

    words = pl.DataFrame({"text": pl.Series(texts)}).with_row_index("row")
    tokens = pl.col("text").str.slice(0, _CHARS).str.to_lowercase().str.extract_all(r"\w+")
    counted = words.select("row", word=tokens).explode("word").drop_nulls().group_by("row", "word").len()
    numbered = counted.with_columns(number=pl.col("word").rank("dense") - 1, of=pl.len().over("word"))
    numbered = numbered.sort("row", "number")
    rarity = np.log(len(texts) / numbered.get_column("of").to_numpy())
    weight = (1 + np.log(numbered.get_column("len").to_numpy())) * (rarity + 1e-3)
    number, row = (numbered.get_column(name).to_numpy() for name in ("number", "row"))
    directions = np.random.default_rng(2).standard_normal((int(number.max()) + 1, dimensions), np.float32)
    there, starts = np.unique(row, return_index=True)
    sums = np.empty((len(there), dimensions), np.float32)
    for at, (start, stop) in enumerate(zip(starts, [*starts[1:], len(row)], strict=True)):
        sums[at] = weight[start:stop] @ directions[number[start:stop]]
    return _unit(sums)


def _near(rng: np.random.Generator, vectors: np.ndarray, cosine: np.ndarray) -> np.ndarray:
    """Vectors with about that cosine to the given ones."""
    noise = _unit(rng.standard_normal(vectors.shape))
    return _unit(vectors + noise * np.sqrt(1 / cosine**2 - 1))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _labelled(file: Path) -> Figures:
    """Pairs of one label and of two that reach each threshold."""
    import polars as pl
    import pyarrow as pa

    from indexing.chunkers import chunk
    from indexing.embedder import open_embedder
    from indexing.semantic import document_vectors
    from schemas.index import IndexOptions

    rows = pl.read_parquet(file).filter(pl.len().over("label") > 1).sort("label", "id")
    chosen = rows.get_column("label").unique().sort().sample(LABELS, seed=0, shuffle=True)
    ends = rows.filter(pl.col("label").is_in(chosen.implode())).group_by("label", maintain_order=True)
    docs = ends.agg(pl.col("text").first(), last=pl.col("text").last())
    texts = pa.array(
        [text for pair in docs.select("text", "last").iter_rows() for text in pair], pa.large_string()
    )
    embedder = open_embedder("all-MiniLM-L6-v2")
    cut = chunk(texts, IndexOptions(chunker="tokens", chunk_tokens=embedder.max_tokens), embedder)
    first = np.flatnonzero(cut.column("ordinal").to_numpy() == 0)
    vectors = {
        "first_passage": embedder.embed(cut.column("text").take(pa.array(first)).to_pylist()),
        "mean": document_vectors(texts, embedder)[1],
    }
    one, two = np.triu_indices(len(texts), 1)
    same = one // 2 == two // 2
    figures: Figures = {}
    for name, found in vectors.items():
        cosine = np.einsum("ij,ij->i", found[one], found[two])
        for threshold in THRESHOLDS:
            reach = cosine >= threshold
            figures[f"{name}_{threshold}"] = {
                "pairs": float(same.sum()), "found": float((reach & same).sum()), "other": float((reach & ~same).sum()),
            }  # fmt: skip
    return figures


def _compared(file: Path, python: Path | None, rounds: int) -> dict[str, dict[str, float]]:
    """Medians over rounds that take turns, and what both found."""
    from curate.dedup.semantic import recall_of

    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(_curate(file))
        if python:
            command = [str(python), __file__, "peer", str(file)]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            theirs.append(json.loads(said.splitlines()[-1]))
    vectors = np.load(file)
    found = {}
    for name, runs in (("curate", ours), ("semhash", theirs)):
        if runs:
            pairs = np.load(file.with_suffix(f".{name}.npy"))
            figures = {key: float(np.median([run[key] for run in runs])) for key in runs[0]}
            found[name] = {**figures, "recall": recall_of(vectors, pairs, THRESHOLD)}
    if theirs:
        found["curate"]["semantic_ratio"] = found["semhash"]["cpu_s"] / found["curate"]["cpu_s"]
    return found


def _curate(file: Path) -> dict[str, float]:
    from curate.dedup.leaders import leaders
    from curate.dedup.semantic import semantic_pairs

    vectors = np.load(file)
    order = np.arange(len(vectors))
    leaders(order[:2], order[None, :2], np.ones(1), 1)  # compiles, or loads what is
    with _timed() as cost:
        pairs, cosine = semantic_pairs(vectors, THRESHOLD)
        keeper, _ = leaders(order, pairs, cosine, THRESHOLD)
    np.save(file.with_suffix(".curate.npy"), pairs)
    return {"seconds": cost.seconds, "cpu_s": cost.cpu_s, "kept": int((keeper == order).sum())}


def _semhash(file: Path) -> dict[str, float]:
    from semhash import SemHash

    vectors = np.load(file)
    records = [str(row) for row in range(len(vectors))]
    with _timed() as cost:
        index: Any = SemHash.from_embeddings(vectors, records, model=None)
        kept = index.self_deduplicate(THRESHOLD).selected
    neighbours = index.index.query_threshold(vectors, THRESHOLD)
    pairs = [
        (row, int(other)) for row, (found, _) in enumerate(neighbours) for other in found if other != row
    ]
    np.save(file.with_suffix(".semhash.npy"), np.array(pairs, np.int64).reshape(-1, 2))
    return {"seconds": cost.seconds, "cpu_s": cost.cpu_s, "kept": len(kept)}


class _timed:  # noqa: N801 - a context manager
    """Wall clock and processor time of a block."""

    def __enter__(self) -> Cost:
        self._begun, self._cpu, self._cost = time.perf_counter(), cpu_seconds(), Cost()
        return self._cost

    def __exit__(self, *error: object) -> None:
        self._cost.seconds, self._cost.cpu_s = time.perf_counter() - self._begun, cpu_seconds() - self._cpu


if __name__ == "__main__":
    main()
