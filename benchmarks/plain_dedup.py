"""Near-duplicates by a peer, in an environment of its own: python plain_dedup.py PEER TEXTS.parquet [OUT]

Prints JSON with `cpu_s` of this process. PEER is `datatrove` (the signature step: get_shingles and get_signature of each
text, without its files; `ready_cpu_s` is the same with all words looked up, `hashed_cpu_s` with all words given, so that
only hashing and numpy are left, `words_cpu_s` its tokenizer; OUT gets the words and signatures), `flow` (its four steps;
OUT is a folder to work in), or `datasketch`, `rensa`, `gaoya`, `daft`: from texts to sketches of word 5-grams.

`textdedup` is the whole of text-dedup's MinHash (OUT is a folder), `semhash` its deduplication at its own threshold, with
static vectors of WordLlama, which come in a wheel: its own model is a download. `clusters` is `flow` again. Of these two
OUT/keeper.parquet says for each text which row stands for it; a fourth word is the number of words in a shingle.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_WORD = re.compile(r"\w+")
NGRAM, SLOTS = 5, 128


def shingles(text: str) -> list[str]:
    """Word 5-grams as users of these libraries make them."""
    words = _WORD.findall(text.lower())
    return [" ".join(words[at : at + NGRAM]) for at in range(max(len(words) - NGRAM, 0) + 1)]


def timed(work: Callable[[], object]) -> float:
    """Processor time of a call."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def datatrove(texts: list[str], hash_name: str, out: str) -> dict[str, float]:
    """The signature step with FineWeb's settings, and what is left of it without its tokenizer."""
    from datatrove.pipeline.dedup import MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.utils.hashing import HashConfig
    from datatrove.utils.text import simplify_text

    name, bits = hash_name.removesuffix("-64").replace("xxh64", "xxhash"), 64
    step = MinhashDedupSignature("/tmp", MinhashConfig(hash_config=HashConfig(precision=bits, hash_fc=name)))
    tokenizer, config = step.word_tokenizer, step.config.norm_config

    def sign(text: str) -> list[int]:
        found = step.get_shingles(text)
        return [value for bucket in step.get_signature(found) for value in bucket] if found.size else []

    sign("Loads what is loaded at first. It is not timed.")
    words: dict[str, list[str]] = {}

    def tokenize() -> None:
        for text in texts:
            simple = simplify_text(text, config)
            words[simple] = tokenizer.word_tokenize(simple)

    signatures: list[list[int]] = []
    figures = {"cpu_s": timed(lambda: signatures.extend(map(sign, texts))), "words_cpu_s": timed(tokenize)}
    step.word_tokenizer = type("Ready", (), {"word_tokenize": staticmethod(words.__getitem__)})
    figures["ready_cpu_s"] = timed(lambda: list(map(sign, texts)))
    simple = {text: simplify_text(text, config) for text in texts}
    sys.modules["datatrove.pipeline.dedup.minhash"].simplify_text = lambda text, _: simple[text]
    figures["hashed_cpu_s"] = timed(lambda: list(map(sign, texts)))
    columns = {
        "words": pa.array([words[simple[text]] for text in texts], pa.large_list(pa.large_string())),
        "signature": pa.array(signatures, pa.large_list(pa.uint64())),
    }
    pq.write_table(pa.table(columns), out)
    return figures


def flow(file: Path, work: Path, ngram: int = NGRAM) -> dict[str, float]:
    """datatrove's four steps with FineWeb's settings, Parquet to Parquet."""
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.writers import ParquetWriter
    from datatrove.utils.hashing import HashConfig
    from whole_datatrove import rows, run

    config = MinhashConfig(hash_config=HashConfig(hash_fc="sha1", precision=64), n_grams=ngram)
    folders = {name: str(work / name) for name in ("signatures", "buckets", "remove", "out")}
    source = {"data_folder": str(file.parent), "glob_pattern": file.name}
    signatures = MinhashDedupSignature(folders["signatures"], config)
    signatures.get_shingles("Loads what is loaded at first. It is not timed.")

    def steps() -> None:
        run(work / "logs" / "1", ParquetReader(**source), signatures)
        buckets = MinhashDedupBuckets(folders["signatures"], folders["buckets"], config=config)
        run(work / "logs" / "2", buckets, tasks=config.num_buckets)
        clusters = MinhashDedupCluster(folders["buckets"], folders["remove"], config, save_cluster_id=True)
        run(work / "logs" / "3", clusters)
        run(
            work / "logs" / "4",
            ParquetReader(**source),
            MinhashDedupFilter(folders["remove"]),
            ParquetWriter(folders["out"]),
        )

    return {"cpu_s": timed(steps), "kept": rows(folders["out"])}


def clusters(file: Path, work: Path, ngram: int = NGRAM) -> dict[str, float]:
    """datatrove's four steps, and which document of each cluster stays."""
    figures = flow(file, work, ngram)
    keeper = np.arange(pq.read_metadata(file).num_rows)
    told = work / "remove" / "000000.clusters"
    if told.exists():
        member, cluster = np.fromfile(told, "<u4").reshape(-1, 2).astype(np.int64).T
        stays = member[~np.isin(member, np.fromfile(work / "remove" / "000000.remove", "<u4"))]
        of_cluster = np.zeros(cluster.max() + 1, np.int64)
        of_cluster[cluster[np.isin(member, stays)]] = stays
        keeper[member] = of_cluster[cluster]
    pq.write_table(pa.table({"keeper": keeper}), work / "keeper.parquet")
    return figures


def semhash(file: Path, work: Path) -> dict[str, float]:
    """Its way from texts to what stays, all defaults but the model."""
    import wordllama
    from semhash import SemHash

    model = wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)
    encoder = type("Encoder", (), {"encode": staticmethod(lambda texts, **_: model.embed(list(texts)))})()
    texts = pq.read_table(file, columns=["text"]).column("text").to_pylist()
    records = [{"text": text, "row": row} for row, text in enumerate(texts)]
    keeper = np.arange(len(records))

    def work_through() -> None:
        found = SemHash.from_records(records, model=encoder, columns=["text"]).self_deduplicate()
        for gone in found.filtered:
            keeper[gone.record["row"]] = gone.duplicate_of["row"]

    cpu = timed(work_through)
    work.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"keeper": keeper}), work / "keeper.parquet")
    return {"cpu_s": cpu, "kept": int((keeper == np.arange(len(keeper))).sum())}


def textdedup(file: Path, work: Path) -> dict[str, float]:
    """Its MinHash command in one process, with FineWeb's bands and words in a shingle."""
    from datasets import load_from_disk
    from text_dedup.minhash import main as command

    words = {
        "path": "parquet", "data_files": str(file), "split": "train", "column": "text", "cache_dir": str(work / "cache"),
        "output": str(work / "out"), "num_proc": "1", "ngram": str(NGRAM), "num_perm": "112", "b": "14", "r": "8",
    }  # fmt: skip
    given = [part for name, value in words.items() for part in (f"--{name}", value)]
    with contextlib.redirect_stdout(sys.stderr):
        cpu = timed(lambda: command(given, standalone_mode=False))
    return {"cpu_s": cpu, "kept": len(load_from_disk(str(work / "out")))}


def datasketch(texts: list[str]) -> None:
    """SHA-1, its default."""
    from datasketch import MinHash

    for text in texts:
        MinHash(num_perm=SLOTS).update_batch([shingle.encode() for shingle in shingles(text)])


def rensa(texts: list[str]) -> None:
    """R-MinHash."""
    from rensa import RMinHash

    for text in texts:
        made = RMinHash(num_perm=SLOTS, seed=1)
        made.update(shingles(text))
        made.digest()


def gaoya(texts: list[str]) -> None:
    """Its index in memory, which makes the shingles too."""
    from gaoya.minhash import MinHashStringIndex

    index = MinHashStringIndex(32, 0.8, 20, 6, None, "word", True, (NGRAM, NGRAM))
    for number, text in enumerate(texts):
        index.insert_document(number, text)


def daft(texts: list[str]) -> None:
    """Normalized, then its expression."""
    import daft as engine
    from daft.functions import minhash, normalize

    folded = normalize(
        engine.col("text"), remove_punct=True, lowercase=True, nfd_unicode=True, white_space=True
    )
    made = minhash(folded, num_hashes=SLOTS, ngram_size=NGRAM, seed=1)
    engine.from_arrow(pa.table({"text": texts})).select(made).to_arrow()


FLOWS: dict[str, Callable[..., dict[str, float]]] = {
    "flow": flow,
    "clusters": clusters,
    "semhash": semhash,
    "textdedup": textdedup,
}
LIBRARIES = {"datasketch": datasketch, "rensa": rensa, "gaoya": gaoya, "daft": daft}


def main() -> None:
    """Time one peer."""
    peer, file, *out = sys.argv[1:]
    if peer in FLOWS:
        figures = FLOWS[peer](Path(file), Path(out[0]), *map(int, out[1:]))
    else:
        texts = pq.read_table(file, columns=["text"]).column("text").to_pylist()
        if peer.startswith("datatrove"):
            figures = datatrove(texts, peer.partition(":")[2], out[0])
        else:
            LIBRARIES[peer](texts[:1])
            figures = {"cpu_s": timed(lambda: LIBRARIES[peer](texts))}
    print(json.dumps(figures), flush=True)
    os._exit(0)  # Daft 0.7.26 ends in a segmentation fault, with its result long written


if __name__ == "__main__":
    main()
