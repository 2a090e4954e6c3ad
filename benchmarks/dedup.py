"""Near-duplicates beside other libraries, on the same documents, in turn, each on one core.

    python benchmarks/dedup.py [--data FILE] [--megabytes 3]
    python benchmarks/dedup.py --quality DIR     # labelled sets: SET.parquet (id, text, label) and SET.pairs.parquet

`sketch_*`: texts to sketches of word 5-grams. `sketch_ratio_*` is a peer's processor time over that of `curate.dedup.sketch`;
86 % of datatrove's is its tokenizer, so `no_tokenizer` is its time with all words looked up, and `compatible_*` compares
what is left then: our copy of its sketch, from the same words, with the same hash (and `equal`, the share of documents
whose 112 numbers are equal). `flow`: Parquet to Parquet, ours with every pair verified exactly, datatrove's four
steps with none. `--quality`: recall of pairs at or above 0.8 against all pairs of a set, documents removed whose
keeper is less alike than that (by plain Python sets), and the adjusted Rand index of clusters against labels;
`bands` is the rule of published pipelines, 14 bands of 8 and no verification.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from measuring import Figures, arguments, finish, interleaved, machine
from peers import HERE, PACKAGES, environment, is_made
from texts import add_data, bulk_file, read_texts, size_of

from curate.dedup import warm
from curate.dedup.candidates import candidates
from curate.dedup.compatible import minhash_values, signatures, word_spans
from curate.dedup.components import collisions, components
from curate.dedup.error import in_pairs
from curate.dedup.leaders import leaders
from curate.dedup.plain import plain_similarity
from curate.dedup.presets import PEER_SKETCHES, PRESETS
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
    """Speed, or quality on labelled sets."""
    parser = arguments(__doc__)
    add_data(parser)
    parser.add_argument("--megabytes", type=float, default=3, help="of texts; datatrove takes 1.5 s for each")
    parser.add_argument("--quality", type=Path, help="a folder of labelled sets")
    options = parser.parse_args()
    where = machine("numba", "numpy", "pyarrow")
    if options.quality:
        figures = {file.stem: _quality(file) for file in _sets(options.quality)}
    else:
        with tempfile.TemporaryDirectory(prefix="curate-bench-") as folder:
            figures = _speed(options, Path(folder))
    finish(options, where, figures, joint="_")


# Speed


def _speed(options: argparse.Namespace, folder: Path) -> Figures:
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
    if is_made("sketches") or not options.quick:
        steps |= {name: peer(name) for name in LIBRARIES}
    _flow(file, folder / "kept.parquet")
    own = interleaved(steps, 1 if options.quick else 3)
    for number in range(1 if options.quick else 2):
        asked.setdefault("flow", []).append(_ask("flow", file, folder / f"flow{number}"))
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
    figures["flow_ratio"] = {"datatrove": seconds["flow"] / seconds["curate_flow"]}
    return figures


def _median(found: list[dict[str, float]], name: str) -> float:
    return statistics.median(one[name] for one in found)


def _ask(name: str, file: Path, *words: str | Path) -> dict[str, float]:
    """What a peer says, run with one thread."""
    home = "sketches" if name in LIBRARIES else "datatrove"
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
    keeper = _removed(texts)[0]
    kept = table.filter(pa.array(keeper == np.arange(len(keeper))))
    pq.write_table(kept, out, compression="zstd", compression_level=1)


def _removed(texts: pa.LargeStringArray) -> tuple[np.ndarray, np.ndarray]:
    """Keeper of each text, and the pairs that were verified."""
    sketches, rank = sketch(texts, OPTIONS), np.arange(len(texts))
    found = candidates(sketches.slots, sketches.shingles, rank, threshold=THRESHOLD, bands=BANDS, rows=ROWS)
    named, at = np.unique(found.pairs, return_inverse=True)
    similarity = similarities(texts.take(pa.array(named)), at.reshape(-1, 2), OPTIONS)
    return leaders(rank, found.pairs, similarity, THRESHOLD)[0], found.pairs[similarity >= THRESHOLD]


# Quality


def _sets(folder: Path) -> list[Path]:
    """The labelled sets of words: records of persons (`febrl`) have too few for 5-grams."""
    files = sorted(folder.expanduser().glob("*.pairs.parquet"))
    if not files:
        raise SystemExit(f"There is no labelled set (SET.parquet with SET.pairs.parquet) in {folder}.")
    return [
        file.with_name(file.name.replace(".pairs", "")) for file in files if not file.name.startswith("febrl")
    ]


def _quality(file: Path) -> Mapping[str, float]:
    table = pq.read_table(file)
    texts = table.column("text").combine_chunks().cast(pa.large_string())
    near = _known_pairs(file, table)
    exact = similarities(texts, near, OPTIONS)
    due = near[exact >= THRESHOLD]
    keeper, pairs = _removed(texts)
    fineweb = PRESETS["fineweb"]
    rank = np.arange(len(texts))
    slots = sketch(texts, SketchOptions(digits="collapse")).slots
    root = components(rank, collisions(slots, rank, bands=fineweb["bands"], rows=fineweb["rows"]))
    at_edge = (exact >= THRESHOLD) & (exact < THRESHOLD + 0.05)
    hit = in_pairs(due, pairs)
    return {
        "documents": len(texts),
        "pairs": len(due),
        "recall": float(hit.mean()),
        "recall_at_threshold": float(in_pairs(near[at_edge], pairs).mean()),
        "pairs_at_threshold": int(at_edge.sum()),
        "both_kept": int((keeper[due] == due).all(axis=1).sum()),
        "removed": int((keeper != rank).sum()),
        "removed_below_threshold": _below(texts, keeper),
        "ari": _rand(keeper, table.column("label")),
        "bands_removed": int((root != rank).sum()),
        "bands_removed_below_threshold": _below(texts, root),
        "bands_ari": _rand(root, table.column("label")),
    }


def _known_pairs(file: Path, table: pa.Table) -> np.ndarray:
    """Row numbers of all pairs that are alike, by another definition of words: so from 0.7 on, to be measured again."""
    rows = {name: number for number, name in enumerate(table.column("id").to_pylist())}
    pairs = pl.read_parquet(file.with_name(f"{file.stem}.pairs.parquet")).filter(pl.col("jaccard") >= 0.7)
    ends = [[rows[name] for name in pairs.get_column(side)] for side in ("a", "b")]
    return np.array(ends, np.int64).T.reshape(-1, 2)


def _below(texts: pa.LargeStringArray, keeper: np.ndarray) -> int:
    """Removed documents whose similarity to their keeper is below the threshold, by plain Python."""
    gone = np.flatnonzero(keeper != np.arange(len(keeper)))
    return sum(
        plain_similarity(texts[int(row)].as_py(), texts[int(keeper[row])].as_py(), OPTIONS) < THRESHOLD
        for row in gone
    )


def _rand(found: np.ndarray, labels: pa.ChunkedArray) -> float:
    """Adjusted Rand index (Hubert and Arabie 1985): 1 where clusters are the labels, 0 by chance."""
    table = pl.DataFrame({"found": found, "label": pl.Series(labels.to_pylist())})

    def together(*columns: str) -> float:
        sizes = table.group_by(*columns).len().get_column("len").cast(pl.Float64)
        return float((sizes * (sizes - 1) / 2).sum())

    both, one, other = together("found", "label"), together("found"), together("label")
    by_chance = one * other / (len(table) * (len(table) - 1) / 2)
    return (both - by_chance) / ((one + other) / 2 - by_chance)


if __name__ == "__main__":
    main()
