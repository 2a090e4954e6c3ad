"""Tokens a second of packing and of writing each format of token ids, and what a whole packed export takes.

    python benchmarks/export.py [--gigabytes 10] [--megabytes 256] [--workers 2]

First one shard on one core: `pack` is the best-fit packing of it alone, `parquet`, `npy` and `megatron` pack
(but the last) and write it. Then a process of `curate export` with every format in turn, over a lake whose
token ids have `--gigabytes` at four bytes each: the shuffle, the files and the card. Lengths of documents are
log-normal (median 400 tokens, mean about 820; in the lake ten times as long, so that it is made in minutes),
ids are drawn so that small ones are frequent; real text compresses better. `padding_share` is that of
sequences of 2,048 tokens, `in_order` of a packer that begins a new one whenever the next document does not fit.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from measuring import Figures, arguments, curate, finish, interleaved, machine, run
from tokenizers import Tokenizer, models

from curate.engine.corpus import corpus_rows
from curate.engine.plan import make_plan
from curate.engine.run import run_tables
from curate.engine.session import Session
from curate.engine.tokens import make_tokens, tokenize_options, tokens_fingerprint
from curate.export.packed import write
from curate.export.packing import best_fit, cut, warm
from curate.export.token_ids import token_ids
from curate.lake.content import new_file
from curate.lake.parquet import write_parquet
from schemas.export import PackedExport
from schemas.recipe import load_recipe
from schemas.tables import TABLES

VOCABULARY, LENGTH = 32_000, 2_048
FORMATS = ("parquet", "npy", "megatron")
_FILE = 10_000_000  # tokens of a file of the lake
RECIPE = """
name = "tokens"

[sources.files]
files = "docs.jsonl"

[tokens.tokenize]
tokenizer = "tokenizer.json"
"""


def main() -> None:
    """One shard, then a whole export."""
    parser = arguments(__doc__)
    parser.add_argument("--megabytes", type=float, default=256, help="token ids of the one shard")
    parser.add_argument(
        "--gigabytes", type=float, default=10, help="token ids of the whole export; 0: leave it out"
    )
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    where = machine("numba", "numpy", "polars", "pyarrow")
    tokens = 200_000 if options.quick else int(options.megabytes * 1e6 / 4)
    with tempfile.TemporaryDirectory(prefix="curate-bench-") as folder:
        figures = _one_shard(tokens, Path(folder), 1 if options.quick else 3)
        if options.gigabytes:
            whole = 1_000_000 if options.quick else int(options.gigabytes * 1e9 / 4)
            figures |= _whole_export(whole, Path(folder), options)
    finish(options, where, figures, ["mb: of token ids, four bytes each; out_mb: of the files written"])


def _one_shard(tokens: int, folder: Path, rounds: int) -> Figures:
    sizes = _sizes(tokens, seed=1)
    count = len(sizes)
    labels = {name: ["x"] * count for name in ("source", "language", "license")}
    names = [f"{number:032x}" for number in range(count)]
    rows = pa.table({"id": names, **labels, "ids": _ids(sizes, seed=2)})
    pieces = cut(token_ids(rows["ids"]).whole_documents(VOCABULARY), LENGTH).size
    context = {"vocabulary": VOCABULARY + 1, "end": VOCABULARY, "pad": VOCABULARY}
    warm()
    writers = {
        name: partial(write, rows, PackedExport(formats=[name], length=LENGTH), folder / name, context)
        for name in FORMATS
    }
    found = interleaved({"pack": partial(best_fit, pieces, LENGTH), **writers}, rounds)
    figures: Figures = {
        name: {
            "tokens": int(sizes.sum()),
            "mb": sizes.sum() * 4 / 1e6,
            **_speed(int(sizes.sum()), one.median.cpu_s),
        }
        for name, one in found.items()
    }
    sequences = len(found["pack"].result[1]) - 1
    figures["pack"] |= {
        "pieces_per_s": len(pieces) / found["pack"].median.cpu_s,
        "padding_share": 1 - pieces.sum() / (sequences * LENGTH),
        "in_order": 1 - pieces.sum() / (_in_order(pieces) * LENGTH),
    }
    for name in FORMATS:
        figures[name]["out_mb"] = sum(file.stat().st_size for file in folder.glob(f"{name}.*")) / 1e6
    return figures


def _speed(tokens: int, seconds: float) -> dict[str, float]:
    return {"tokens_per_s": tokens / seconds, "mb_per_s": tokens * 4 / 1e6 / seconds}


def _sizes(tokens: int, seed: int, scale: int = 1) -> np.ndarray:
    """Lengths of documents, about so many tokens in all."""
    chance = np.random.default_rng(seed)
    sizes = np.clip(scale * chance.lognormal(6, 1.2, tokens // (820 * scale) + 1), 1, 100_000)
    return sizes.astype(np.int64)


def _ids(sizes: np.ndarray, seed: int) -> pa.ListArray:
    chance = np.random.default_rng(seed)
    ids = VOCABULARY * chance.random(int(sizes.sum()), np.float32) ** 4
    offsets = np.append(0, np.cumsum(sizes)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(ids.astype(np.int32)))


def _in_order(sizes: np.ndarray) -> int:
    """Sequences of a packer that looks at the last one only."""
    sequences, room = 0, 0
    for size in sizes.tolist():
        if size > room:
            sequences, room = sequences + 1, LENGTH
        room -= size
    return sequences


def _whole_export(tokens: int, folder: Path, options: argparse.Namespace) -> Figures:
    recipe = _lake(tokens, folder)
    figures: Figures = {}
    for name in FORMATS:
        command = curate(
            "export", name, recipe, "--lake", folder / "lake", "--workers", str(options.workers), "--json"
        )
        cost = run(command, folder=folder)
        told = json.loads(cost.output)
        written = sum(split["tokens"] for split in told["splits"])
        size = sum(file.stat().st_size for file in Path(told["folder"]).rglob("*") if file.is_file())
        figures[f"export_{name}"] = {
            "tokens": written,
            "mb": written * 4 / 1e6,
            **_speed(written, cost.seconds),
            **cost.figures(),
            "out_mb": size / 1e6,
        }
    return figures


def _lake(tokens: int, folder: Path) -> Path:
    """A lake with documents of a few words, and token ids drawn for each. Returns the recipe."""
    sizes = _sizes(tokens, seed=3, scale=10)
    with (folder / "docs.jsonl").open("w") as file:
        file.writelines(json.dumps({"text": f"document {number}"}) + "\n" for number in range(len(sizes)))
    words = {f"w{number}": number for number in range(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(vocab=words, unk_token="w0"))
    tokenizer.add_special_tokens(["</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    exports = "".join(
        f'\n[exports.{name}]\nkind = "packed"\nlength = {LENGTH}\nformats = ["{name}"]\n' for name in FORMATS
    )
    recipe = folder / "curate.toml"
    recipe.write_text(RECIPE + exports)
    run_tables(make_plan(load_recipe(recipe)), folder / "lake", then=partial(_draw_tokens, sizes))
    return recipe


def _draw_tokens(sizes: np.ndarray, session: Session) -> None:
    content = session.lake.content("tokens", tokens_fingerprint(tokenize_options(session.plan.recipe)))
    appender = content.append()
    keys = corpus_rows(session, session.lake.head()).get_column("text_digest")
    borders = np.searchsorted(np.cumsum(sizes), np.arange(0, sizes.sum(), _FILE)).tolist()
    for number, (start, stop) in enumerate(zip(borders, [*borders[1:], len(keys)], strict=True)):
        part = sizes[start:stop]
        columns = {
            "key": keys[start:stop].to_arrow(compat_level=pl.CompatLevel.oldest()),
            "ids": _ids(part, seed=number),
            "count": pa.array(part),
            "bytes": pa.array(part * 4),
        }
        file, schema = new_file(content.folder), TABLES["tokens"].schema
        write_parquet(
            pa.table([columns[name] for name in schema.names], schema.names).cast(schema), schema, file
        )
        appender.add(file)
    make_tokens(session)


if __name__ == "__main__":
    sys.exit(main())
