"""Near-duplicates beside other libraries, on the same documents, in turn, each on one core.

    python benchmarks/dedup.py [--data FILE] [--megabytes 3] [--part speed scaling]

`speed`: `sketch_*`: texts to sketches of word 5-grams. `sketch_ratio_*` is a peer's processor time over that of
`curate.dedup.sketch`; 86 % of datatrove's is its tokenizer, so `no_tokenizer` is its time with all words looked up, and
`compatible_*` compares what is left then: our copy of its sketch, from the same words, with the same hash (and `equal`,
the share of documents whose 112 numbers are equal). `flow`: Parquet to Parquet, ours with every pair verified
exactly, datatrove's four steps and text-dedup's MinHash with none, and semhash with vectors instead of words, from texts.

`scaling`: processor time of a document, in microseconds, for 10,000 to 1,000,000 of them: sketches, candidates, and exact
verification with leaders. The documents are pieces of real ones, of about 60 words; in those after the first round of
the file words are shuffled, but for one in ten, which gets one more word: a near-duplicate. `ratio` is the last over the
first. What is found and what is missed: dedup_quality.py.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from measuring import Figures, arguments, finish, interleaved, machine
from peers import HERE, PACKAGES, can_be_made, environment, is_made
from texts import add_data, bulk_file, read_texts, size_of

from curate.dedup import warm
from curate.dedup.candidates import candidates
from curate.dedup.compatible import minhash_values, signatures, word_spans
from curate.dedup.leaders import leaders
from curate.dedup.presets import PEER_SKETCHES
from curate.dedup.sketch import SketchOptions, sketch
from curate.dedup.verify import similarities

PACKAGES["sketches"] = [
    ["rensa==0.5.0", "daft==0.7.26", "gaoya==0.2.2", "datasketch==2.0.0", "pyarrow", "numpy"]
]
LIBRARIES = ("datasketch", "rensa", "gaoya", "daft")
OPTIONS = SketchOptions()
THRESHOLD, BANDS, ROWS = 0.8, 20, 6
_ONE = dict.fromkeys(("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "POLARS_MAX_THREADS", "DAFT_NUM_THREADS"), "1")


def main() -> None:
    """Speed beside peers, or how the cost of a document grows with their number."""
    parser = arguments(__doc__)
    add_data(parser)
    parser.add_argument("--megabytes", type=float, default=3, help="of texts; datatrove takes 1.5 s for each")
    parts = {"speed": _speed, "scaling": _scaling}
    parser.add_argument("--part", nargs="+", choices=list(parts), default=["speed"])
    parser.add_argument("--documents", nargs="+", type=int, default=[10_000, 100_000, 1_000_000])
    options = parser.parse_args()
    where, notes, figures = machine("numba", "numpy", "pyarrow"), list[str](), Figures()
    for part in parts if options.quick else options.part:
        with tempfile.TemporaryDirectory(prefix="curate-bench-") as folder:
            figures |= parts[part](options, Path(folder), notes)
    for note in notes:
        print(note, file=sys.stderr)
    finish(options, where, figures, joint="_")


# Speed


def _speed(options: argparse.Namespace, folder: Path, notes: list[str]) -> Figures:
    megabytes = 0.3 if options.quick else options.megabytes
    texts = read_texts(bulk_file(options, folder), int(megabytes * 1e6))
    file = folder / "texts.parquet"
    pq.write_table(pa.table({"id": pa.array(map(str, range(len(texts)))), "text": texts}), file)
    warm()
    asked: dict[str, list[dict[str, float]]] = {}

    def peer(name: str, *words: str | Path) -> Callable[[], None]:
        def one() -> None:
            asked.setdefault(name, []).append(_ask(name, file, *words))

        return one

    steps: dict[str, Callable[[], object]] = {
        "curate": lambda: sketch(texts, OPTIONS),
        "curate_minhash": lambda: minhash_values(texts, OPTIONS),
        "curate_flow": lambda: _flow(file, folder / "kept.parquet"),
        **{
            f"datatrove:{by}": peer(f"datatrove:{by}", folder / f"{by}.parquet")
            for by in ("sha1-64", "xxh64")
        },
    }
    if _is_there("sketches", options, notes):
        steps |= {name: peer(name) for name in LIBRARIES}
    _flow(file, folder / "kept.parquet")
    own = interleaved(steps, 1 if options.quick else 3)
    flows = {"flow": "datatrove"} | {
        name: name for name in ("textdedup", "semhash") if _is_there(name, options, notes)
    }
    for number in range(1 if options.quick else 2):
        for name in flows:
            asked.setdefault(name, []).append(_ask(name, file, folder / f"{name}{number}"))
    size = size_of(texts) / 1e6
    seconds = {name: own[name].median.cpu_s for name in ("curate", "curate_minhash", "curate_flow")}
    seconds |= {name: _median(found, "cpu_s") for name, found in asked.items()}
    figures: Figures = {
        name.replace(":", "_").replace("-64", ""): {"mb": size, "cpu_s": cpu, "mb_per_cpu_s": size / cpu}
        for name, cpu in seconds.items()
    }
    figures["sketch_ratio"] = {
        "datatrove": seconds["datatrove:sha1-64"] / seconds["curate"],
        "datatrove_no_tokenizer": _median(asked["datatrove:sha1-64"], "ready_cpu_s") / seconds["curate"],
        **{name: seconds[name] / seconds["curate"] for name in LIBRARIES if name in seconds},
    }
    for by, preset in (("sha1-64", "fineweb"), ("xxh64", "fineweb-2")):
        figures[f"compatible_{by.removesuffix('-64')}"] = _compatible(
            folder / f"{by}.parquet", preset, _median(asked[f"datatrove:{by}"], "hashed_cpu_s"), options.quick
        )
    figures["flow_ratio"] = {peer: seconds[name] / seconds["curate_flow"] for name, peer in flows.items()}
    return figures


def _is_there(name: str, options: argparse.Namespace, notes: list[str]) -> bool:
    """Whether a peer can be asked; `--quick` installs none."""
    return is_made(name) if options.quick else can_be_made(name, notes)


def _median(found: list[dict[str, float]], name: str) -> float:
    return statistics.median(one[name] for one in found)


def _ask(name: str, file: Path, *words: str | Path) -> dict[str, float]:
    """What a peer says, run with one thread."""
    home = "sketches" if name in LIBRARIES else name if name in PACKAGES else "datatrove"
    command = [environment(home), HERE / "plain_dedup.py", name, file, *words]
    env = {**os.environ, **_ONE}
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=env)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-4000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _compatible(file: Path, preset: str, theirs: float, quick: bool) -> dict[str, float]:
    """Our copy of datatrove's sketch, from its own words."""
    said = pq.read_table(file).combine_chunks()
    words, identity = said.column("words").chunk(0), PEER_SKETCHES[preset]
    ours = signatures(word_spans(words, 5), identity)  # compiles
    cpu = interleaved({"ours": lambda: signatures(word_spans(words, 5), identity)}, 1 if quick else 5)[
        "ours"
    ].median.cpu_s
    nothing = [
        np.iinfo(np.uint64).max
    ] * identity.slots  # it writes no signature for a text of under five words
    pairs = zip(ours.tolist(), said.column("signature").to_pylist(), strict=True)
    equal = np.mean([one == (other or nothing) for one, other in pairs])
    return {"cpu_s": cpu, "ratio": theirs / cpu, "equal": float(equal)}


def _flow(file: Path, out: Path) -> None:
    """Parquet to Parquet: the first of near-duplicates stays."""
    table = pq.read_table(file)
    texts = table.column("text").combine_chunks()
    keeper = _keepers(texts)
    kept = table.filter(pa.array(keeper == np.arange(len(keeper))))
    pq.write_table(kept, out, compression="zstd", compression_level=1)


def _keepers(texts: pa.LargeStringArray) -> np.ndarray:
    """Keeper of each text."""
    sketches, rank = sketch(texts, OPTIONS), np.arange(len(texts))
    found = candidates(sketches.slots, sketches.shingles, rank, threshold=THRESHOLD, bands=BANDS, rows=ROWS)
    return _led(texts, rank, found.pairs)


def _led(texts: pa.LargeStringArray, rank: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Keeper of each text, every pair verified exactly."""
    named, at = np.unique(pairs, return_inverse=True)
    similarity = similarities(texts.take(pa.array(named)), at.reshape(-1, 2), OPTIONS)
    return leaders(rank, pairs, similarity, THRESHOLD)[0]


# Scaling


def _scaling(options: argparse.Namespace, folder: Path, notes: list[str]) -> Figures:
    sizes = (1_000, 2_000) if options.quick else tuple(options.documents)
    pieces = _pieces(read_texts(bulk_file(options, folder), 10**9), max(sizes))
    warm()
    figures = {str(count): _cost_of(_documents(pieces, count)) for count in sizes}
    first, last = (figures[str(count)] for count in (sizes[0], sizes[-1]))
    kinds = ("sketch_us", "candidates_us", "verify_us", "all_us")
    return {**figures, "ratio": {kind: last[kind] / first[kind] for kind in kinds}}


def documents_of(texts: pa.LargeStringArray, count: int, words: int = 60) -> pa.LargeStringArray:
    """So many documents of so many words: pieces of texts, one in ten a near-copy of another."""
    return _documents(_pieces(texts, count, words), count)


def _pieces(texts: pa.LargeStringArray, most: int, length: int = 60) -> list[list[str]]:
    """Texts of about 60 words: what these steps cost is a matter of bytes, and so a million fit."""
    found: list[list[str]] = []
    for text in texts:
        words = text.as_py().split()
        found += [words[at : at + length] for at in range(0, len(words) - length + 1, length)]
        if len(found) >= most:
            break
    return found


def _documents(pieces: list[list[str]], count: int) -> pa.LargeStringArray:
    """So many documents, of which those after the first round are made from the same pieces."""
    chance = random.Random(1)
    made = []
    for number in range(count):
        words = pieces[number % len(pieces)]
        if number % 10 == 0:
            words = [*pieces[(number + 1) % len(pieces)], "once"]
        elif number >= len(pieces):
            words = chance.sample(words, len(words))
        made.append(" ".join(words))
    return pa.array(made, pa.large_string())


def _cost_of(texts: pa.LargeStringArray) -> dict[str, float]:
    """Microseconds of processor time for a document, step by step."""
    rank, begun = np.arange(len(texts)), time.process_time()
    sketches = sketch(texts, OPTIONS)
    signed = time.process_time()
    found = candidates(sketches.slots, sketches.shingles, rank, threshold=THRESHOLD, bands=BANDS, rows=ROWS)
    compared = time.process_time()
    keeper = _led(texts, rank, found.pairs)
    done = time.process_time()
    each = 1e6 / len(texts)
    return {
        "mb": size_of(texts) / 1e6,
        "sketch_us": (signed - begun) * each,
        "candidates_us": (compared - signed) * each,
        "verify_us": (done - compared) * each,
        "all_us": (done - begun) * each,
        "candidates": len(found.pairs),
        "kept": int((keeper == rank).sum()),
    }


if __name__ == "__main__":
    main()
