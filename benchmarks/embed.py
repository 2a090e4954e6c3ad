"""Passages embedded a second by `indexing.embedder` and by `SentenceTransformer.encode`, in turn on the same texts.

    python benchmarks/embed.py

Both use all cores and the same model with float32 weights. `cosine_min` is the least cosine between the two
vectors of a passage. Loading is measured in processes of their own: from start to the vector of one question.
"""

from __future__ import annotations

import sys

import numpy as np
import pyarrow as pa
from measuring import Cost, Figures, arguments, finish, interleaved, machine, run
from texts import site_texts

from indexing.chunkers import chunk
from indexing.embedder import open_embedder
from indexing.model import read_model
from schemas.index import IndexOptions

COLD = {
    "curate": "from indexing.embedder import open_embedder; open_embedder({model!r}).embed(['cold'], kind='query')",
    "sentence_transformers": "from sentence_transformers import SentenceTransformer; "
    "SentenceTransformer({folder!r}, device='cpu', local_files_only=True).encode(['cold'])",
}


def main() -> None:
    """Measure speed in turn, then loading."""
    parser = arguments(__doc__)
    parser.add_argument(
        "--model", default=IndexOptions.model_fields["embedder"].default, help="name or folder"
    )
    parser.add_argument("--passages", type=int, default=200)
    options = parser.parse_args()
    where = machine("onnxruntime", "torch", "sentence-transformers", "tokenizers")
    passages, rounds = (20, 1) if options.quick else (options.passages, 3)
    folder = str(read_model(options.model).folder)
    texts = _passages(options.model, passages)
    figures = _speed(options.model, folder, texts, rounds)
    for name, program in COLD.items():
        command = [sys.executable, "-c", program.format(model=options.model, folder=folder)]
        if not options.quick:
            run(command)  # reads the files from the disk, and makes bytecode
        cost = run(command)
        figures[name] |= {
            "cold_seconds": cost.seconds,
            "cold_cpu_s": cost.cpu_s,
            "cold_peak_mb": cost.peak_mb,
        }
    finish(options, where, figures)


def _passages(model: str, count: int) -> list[str]:
    """Passages of examples/site as an index would hold them, of all lengths."""
    pages = pa.array(site_texts("manual/en") + site_texts("postgresql"), pa.large_string())
    found = chunk(pages, IndexOptions(), open_embedder(model)).column("text").to_pylist()
    order = np.random.default_rng(0).permutation(len(found))
    return [found[row] for row in order[:count]]


def _speed(model: str, folder: str, texts: list[str], rounds: int) -> Figures:
    from sentence_transformers import SentenceTransformer

    ours = open_embedder(model)
    theirs = SentenceTransformer(folder, device="cpu", local_files_only=True)
    candidates = {
        "curate": lambda: ours.embed(texts),
        "sentence_transformers": lambda: theirs.encode(
            texts, normalize_embeddings=True, show_progress_bar=False
        ),
    }
    for candidate in candidates.values():
        candidate()
    found = interleaved(candidates, rounds)
    vectors = [np.asarray(one.result, np.float32) for one in found.values()]
    cosine = float((vectors[0] * vectors[1]).sum(axis=1).min())
    return {name: {**_rates(one.median, len(texts)), "cosine_min": cosine} for name, one in found.items()}


def _rates(cost: Cost, count: int) -> dict[str, float]:
    return {
        "passages": count,
        "seconds": cost.seconds,
        "cpu_s": cost.cpu_s,
        "passages_per_s": count / cost.seconds,
        "passages_per_cpu_s": count / cost.cpu_s,
    }


if __name__ == "__main__":
    main()
