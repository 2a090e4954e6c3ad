"""Near-duplicates of labelled documents: what is found, missed and dropped wrongly, beside datatrove and semhash.

    python benchmarks/dedup_quality.py --data FOLDER [--part labelled translations html]

`labelled`: each FOLDER/SET.parquet (id, text, label) beside which SET.pairs.parquet names all pairs that are alike
(a, b: ids; jaccard from 0.5 on). `curate dedup` with its defaults, datatrove's four steps with FineWeb's parameters and
semhash with its defaults get the same file; records of persons (`febrl`) have shingles of one word.
`recall`: pairs at or above 0.8, by our definition of words, of which not both are kept; `edge_recall` is that of pairs
below 0.85, and `_low` the lower end of Wilson's interval at 95 %. `compared` is the share of those pairs that ours
compared exactly or that are equal: less where thousands are alike and each is compared with a few, as among licences.
`removed_below_threshold`: documents that went
whose keeper is less alike than 0.8 by plain Python sets; of another tool, than which no kept document is more alike.
`ari`: adjusted Rand index of clusters against labels.

`translations`: FOLDER/multilingual.parquet (text, group, lang) by `curate dedup`; `merged` are documents that went for one
of another language, `merged_group` those that went for a translation of the same page.

`html`: the pages of two releases of the kernel's documentation, packages of Debian, once as HTML files, so with our
extraction, once so with every number taken for the same (`digits`), once as their visible text. A page is found if the other release's page of the same path has the same
keeper (`recall`); a removal is right if the keeper has the same path (`precision`). Pages that moved (`arm` became
`arch/arm`) count as the same page in `moved_*`: one that only one release has, and whose title and file name only one
page of the other has, which the first has not.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from data.common import Packages, deb_files, decode, html_to_text
from measuring import CACHE, Figures, arguments, curate, finish, machine, run
from peers import can_be_made, environment, is_made
from texts import site_texts

from curate import open_lake
from curate.dedup.error import in_pairs
from curate.dedup.intervals import wilson
from curate.dedup.plain import plain_similarity
from curate.dedup.shingles import ShingleOptions
from curate.dedup.verify import similarities

THRESHOLD, EDGE = 0.8, 0.85
PEERS = {"datatrove": ("datatrove", "clusters"), "semhash": ("semhash", "semhash")}
RECIPE = """
name = "releases"
extends = "dedup"
[deduplicated.minhash]
digits = "{digits}"
threshold = {threshold}
"""
RELEASES = ("linux-doc-6.1", "linux-doc-6.12")
_LISTS = re.compile(r"genindex|search\.html|py-modindex")
_TITLE = re.compile(r"<title>(.*?)(?:&#8212;|&mdash;|—|</title>)", re.DOTALL)


@dataclass(frozen=True)
class Outcome:
    """What a tool made of n documents: the row that stands for each, and the pairs of rows that it compared."""

    keeper: np.ndarray
    compared: np.ndarray | None = None
    cpu_s: float = 0.0

    @property
    def gone(self) -> np.ndarray:
        """Rows that were removed."""
        found: np.ndarray = np.flatnonzero(self.keeper != np.arange(len(self.keeper)))
        return found

    def settled(self, pairs: np.ndarray) -> int:
        """How many pairs do not stand beside each other in what is kept."""
        return int((self.keeper[pairs] != pairs).any(axis=1).sum())


def main() -> None:
    """Measure each part."""
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, help="folder of labelled sets")
    parts: dict[str, Callable[[argparse.Namespace, Path, list[str]], Figures]] = {
        "labelled": _labelled,
        "translations": _translations,
        "html": _html,
    }
    parser.add_argument("--part", nargs="+", choices=list(parts), default=list(parts))
    parser.add_argument("--sets", nargs="+", help="only these labelled sets")
    options = parser.parse_args()
    if options.quick:
        options.part = ["labelled"]
    elif options.data is None and options.part != ["html"]:
        raise SystemExit("--data FOLDER names the labelled sets.")
    where, notes, figures = machine("numba", "polars", "pyarrow"), list[str](), Figures()
    for part in options.part:
        with tempfile.TemporaryDirectory(prefix="curate-bench-") as folder:
            figures |= parts[part](options, Path(folder), notes)
    for note in notes:
        print(note, file=sys.stderr)
    finish(options, where, figures, joint="_")


# Labelled sets


def _labelled(options: argparse.Namespace, folder: Path, notes: list[str]) -> Figures:
    sets = _quick_set(folder / "sets") if options.quick else Path(options.data).expanduser()
    peers = {
        name: how
        for name, how in PEERS.items()
        if (is_made(how[0]) if options.quick else can_be_made(how[0], notes))
    }
    figures: Figures = {}
    for file in sorted(sets.glob("*.pairs.parquet")):
        name = file.name.removesuffix(".pairs.parquet")
        if options.sets and name not in options.sets:
            continue
        print(name, file=sys.stderr, flush=True)
        words = ShingleOptions(ngram=1 if name == "febrl" else 5)
        source, work = sets / f"{name}.parquet", folder / name
        work.mkdir()
        outcomes = {"curate": _ours(source, work, "--ngram", str(words.ngram))}
        for peer, (home, what) in peers.items():
            outcomes[peer] = _theirs(home, what, source, work / peer, words)
        figures |= {f"{name}_{tool}": row for tool, row in _judged(source, file, words, outcomes).items()}
    return figures | _pooled(figures)


def _ours(source: Path, work: Path, *words: str) -> Outcome:
    """`curate dedup` on the rows of a file."""
    cost = run(curate("dedup", source, "-o", work / "out.parquet", *words))
    verdicts, pairs = _verdicts(work / "out.parquet")
    row = pl.col("place").str.extract(r"#(\d+)$").cast(pl.Int64)
    verdicts = verdicts.with_columns(row=row - row.min()).sort("row")
    if verdicts.get_column("row").to_list() != list(range(pq.read_metadata(source).num_rows)):
        raise SystemExit(f"{source}: some rows have no verdict.")
    return Outcome(_rows_of(verdicts), _compared(verdicts, pairs), cost.cpu_s)


def _verdicts(out: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Verdicts on the documents with their places, and the compared pairs of digests with their similarity."""
    lake = open_lake(f"{out}.curate/lake")
    head = lake.head()
    places = lake.read("clean", "verdicts/documents", head).select("id", "place")
    verdicts = lake.read("clean", "verdicts/deduplicated", head).join(places, on="id")
    pairs = lake.content("pairs", head.fingerprints["clean/deduplicated/minhash/pairs"]).scan()
    return verdicts.collect(), pairs.select("a", "b", "similarity").collect()


def _rows_of(verdicts: pl.DataFrame) -> np.ndarray:
    """The row that stands for each."""
    ids = verdicts.select("id").with_row_index("keeper")
    stands = pl.when("kept").then("id").otherwise("duplicate_of").alias("id")
    found = verdicts.select(stands).join(ids, on="id", how="left", maintain_order="left")
    return found.get_column("keeper").to_numpy().astype(np.int64)


def _compared(verdicts: pl.DataFrame, pairs: pl.DataFrame) -> np.ndarray:
    """Pairs of rows (m, 2) that were found: texts compared and alike, and texts that are equal."""
    rows = verdicts.select("key").with_row_index("row")
    alike = pairs.filter(pl.col("similarity") >= THRESHOLD).select("a", "b")
    alike = pl.concat([alike, rows.select(a="key", b="key").unique()])
    found = alike.join(rows, left_on="a", right_on="key").join(rows, left_on="b", right_on="key", suffix="_b")
    return found.filter(pl.col("row") != pl.col("row_b")).select("row", "row_b").to_numpy().astype(np.int64)


def _theirs(home: str, what: str, source: Path, work: Path, words: ShingleOptions) -> Outcome:
    script = Path(__file__).with_name("plain_dedup.py")
    given = [what, source, work, *([words.ngram] if what == "clusters" else [])]
    done = run([environment(home), script, *map(str, given)], env={"OMP_NUM_THREADS": "1"})
    figures = json.loads(done.output.splitlines()[-1])
    return Outcome(pq.read_table(work / "keeper.parquet").column("keeper").to_numpy(), None, figures["cpu_s"])


def _judged(
    source: Path, pairs_file: Path, words: ShingleOptions, outcomes: dict[str, Outcome]
) -> dict[str, dict[str, float]]:
    """Figures of each tool on one set."""
    table = pq.read_table(source)
    texts = table.column("text").combine_chunks().cast(pa.large_string())
    near = _known_pairs(pairs_file, table)
    exact = similarities(texts, near, words)
    due, edge = near[exact >= THRESHOLD], near[(exact >= THRESHOLD) & (exact < EDGE)]
    figures: dict[str, dict[str, float]] = {}
    for tool, outcome in outcomes.items():
        kept = outcome.keeper == np.arange(len(outcome.keeper))
        wrong = _below(texts, outcome, words) if tool == "curate" else _without_like(outcome, due)
        figures[tool] = {
            "documents": len(kept),
            "kept": int(kept.sum()),
            "removed_below_threshold": wrong,
            **_shares("", outcome.settled(due), len(due)),
            **_shares("edge_", outcome.settled(edge), len(edge)),
            "ari": adjusted_rand(outcome.keeper, table.column("label")),
            "cpu_s": outcome.cpu_s,
        }
        if outcome.compared is not None:
            figures[tool]["compared"] = float(in_pairs(due, outcome.compared).mean())
    return figures


def _shares(name: str, hits: int, trials: int) -> dict[str, float]:
    counts: dict[str, float] = {f"{name}pairs": trials, f"{name}found": hits}
    if not trials:
        return counts
    return counts | {f"{name}recall": hits / trials, f"{name}recall_low": wilson(hits, trials)[0]}


def _pooled(figures: Figures) -> Figures:
    """All sets together: a stratum of one may have too few pairs to say anything."""
    tools = dict.fromkeys(name.rpartition("_")[2] for name in figures)
    made: Figures = {}
    for tool in tools:
        rows = [row for name, row in figures.items() if name.endswith(f"_{tool}")]
        total = {
            key: int(sum(row[key] for row in rows)) for key in ("pairs", "found", "edge_pairs", "edge_found")
        }
        counts = ("documents", "kept", "removed_below_threshold")
        made[f"all_{tool}"] = {
            **{key: int(sum(row[key] for row in rows)) for key in counts},
            **_shares("", total["found"], total["pairs"]),
            **_shares("edge_", total["edge_found"], total["edge_pairs"]),
            "cpu_s": sum(row["cpu_s"] for row in rows),
        }
    return made


def _known_pairs(file: Path, table: pa.Table) -> np.ndarray:
    """Row numbers of pairs that are alike by another definition of words, from 0.7 on, to be measured again."""
    rows = {name: number for number, name in enumerate(table.column("id").to_pylist())}
    pairs = pl.read_parquet(file).filter(pl.col("jaccard") >= THRESHOLD - 0.1)
    ends = [[rows[name] for name in pairs.get_column(side)] for side in ("a", "b")]
    return np.array(ends, np.int64).T.reshape(-1, 2)


def _below(texts: pa.LargeStringArray, outcome: Outcome, words: ShingleOptions) -> int:
    """Removed documents that are less like their keeper than the threshold, by plain Python."""
    return sum(
        texts[int(row)] != texts[int(outcome.keeper[row])]
        and plain_similarity(texts[int(row)].as_py(), texts[int(outcome.keeper[row])].as_py(), words)
        < THRESHOLD
        for row in outcome.gone
    )


def _without_like(outcome: Outcome, due: np.ndarray) -> int:
    """Removed documents that are like no document that is kept."""
    kept = outcome.keeper == np.arange(len(outcome.keeper))
    like_kept = np.zeros(len(kept), bool)
    for one, other in ((0, 1), (1, 0)):
        like_kept[due[kept[due[:, other]], one]] = True
    return int((~like_kept[outcome.gone]).sum())


def adjusted_rand(found: np.ndarray, labels: pa.ChunkedArray) -> float:
    """Adjusted Rand index (Hubert and Arabie 1985): 1 where clusters are the labels, 0 by chance."""
    table = pl.DataFrame({"found": found, "label": pl.Series(labels.to_pylist())})

    def together(*columns: str) -> float:
        sizes = table.group_by(*columns).len().get_column("len").cast(pl.Float64)
        return float((sizes * (sizes - 1) / 2).sum())

    both, one, other = together("found", "label"), together("found"), together("label")
    by_chance = one * other / (len(table) * (len(table) - 1) / 2)
    return (both - by_chance) / ((one + other) / 2 - by_chance)


def _quick_set(folder: Path) -> Path:
    """A few pages of examples/site, each once more with another first line."""
    pages = [text for text in site_texts("manual") if len(text) > 2_000][:20]
    texts = [text for page in pages for text in (page, f"Printed on paper.\n{page}")]
    table = pa.table(
        {
            "id": [str(row) for row in range(len(texts))],
            "text": texts,
            "label": [row // 2 for row in range(len(texts))],
        }
    )
    ends = np.arange(len(texts)).reshape(-1, 2).astype(str).T
    folder.mkdir()
    pq.write_table(table, folder / "quick.parquet")
    pq.write_table(
        pa.table({"a": ends[0], "b": ends[1], "jaccard": [1.0] * len(pages)}), folder / "quick.pairs.parquet"
    )
    return folder


# Translations


def _translations(options: argparse.Namespace, folder: Path, notes: list[str]) -> Figures:
    source = Path(options.data).expanduser() / "multilingual.parquet"
    if not source.exists():
        notes.append(f"translations are left out, for there is no {source}.")
        return {}
    outcome = _ours(source, folder)
    rows = pq.read_table(source, columns=["lang", "group"]).to_pandas()
    gone, keeper = rows.iloc[outcome.gone], rows.iloc[outcome.keeper[outcome.gone]]
    other = gone["lang"].to_numpy() != keeper["lang"].to_numpy()
    same_page = gone["group"].to_numpy() == keeper["group"].to_numpy()
    return {
        "translations": {
            "documents": len(rows),
            "languages": int(rows["lang"].nunique()),
            "removed": len(gone),
            "merged": int(other.sum()),
            "merged_group": int((other & same_page).sum()),
        }
    }


# From raw HTML


def _html(options: argparse.Namespace, folder: Path, notes: list[str]) -> Figures:
    pages = folder / "html"
    plain = {"path": list[str](), "text": list[str]()}
    titles = _unpacked(pages, plain)
    pq.write_table(pa.table(plain), folder / "plain.parquet")
    figures: Figures = {}
    recipe = folder / "recipe.toml"
    variants = [
        ("html", pages, "keep"),
        ("digits", pages, "collapse"),
        ("plain", folder / "plain.parquet", "keep"),
    ]
    for name, source, digits in variants:
        out = folder / f"{source.stem}-out.parquet"  # the same: what was extracted is used again
        for threshold in ("0.8", "0.75", "0.7"):
            recipe.write_text(RECIPE.format(digits=digits, threshold=threshold))
            run(curate("clean", source, "-o", out, "--recipe", recipe))
            verdicts, _ = _verdicts(out)
            if source is pages:
                found = verdicts.get_column("place").str.extract(r"(linux-doc-[^/]+/.+)$")
                paths = found.to_list()
            else:
                order = verdicts.get_column("place").str.extract(r"#(\d+)$").cast(pl.Int64)
                paths = [plain["path"][row] for row in (order - order.min()).to_list()]
            figures[f"{name}_{threshold}"] = _against_paths(_rows_of(verdicts), paths, titles)
    return figures


def _unpacked(folder: Path, plain: dict[str, list[str]]) -> dict[str, str]:
    """Write the pages of both releases below `folder`; returns the title of each; `plain` gets paths and visible texts."""
    packages, titles = Packages(CACHE), {}
    for release in RELEASES:
        for name, data in deb_files(
            packages.deb(release), lambda name: "/html/" in name and name.endswith(".html")
        ):
            page = decode(data)
            path, text = f"{release}/{name.split('/html/', 1)[1]}", html_to_text(page)
            if len(text) >= 400 and not _LISTS.search(path):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(data)
                plain["path"].append(path)
                plain["text"].append(text)
                found = _TITLE.search(page)
                titles[path] = " ".join(found[1].split()) if found else ""
    return titles


def _against_paths(keeper: np.ndarray, paths: Sequence[str], titles: dict[str, str]) -> dict[str, float]:
    """Recall and precision against paths; also with pages that moved taken for the same."""
    gone = np.flatnonzero(keeper != np.arange(len(keeper)))
    figures: dict[str, float] = {"documents": len(paths), "removed": len(gone)}
    moved = _moved(titles)
    for prefix, labels in (
        ("", [path.partition("/")[2] for path in paths]),
        ("moved_", [moved.get(path, path).partition("/")[2] for path in paths]),
    ):
        label, rows = np.array(labels), defaultdict(list)
        for row, name in enumerate(labels):
            rows[name].append(row)
        both = np.array([found for found in rows.values() if len(found) == len(RELEASES)])
        figures |= {
            f"{prefix}pairs": len(both),
            f"{prefix}recall": float((keeper[both[:, 0]] == keeper[both[:, 1]]).mean()),
            f"{prefix}precision": float((label[gone] == label[keeper[gone]]).mean()),
        }
    return figures


def _moved(titles: dict[str, str]) -> dict[str, str]:
    """Where pages of the second release stood in the first."""
    older, newer = (
        {path.partition("/")[2] for path in titles if path.startswith(f"{release}/")} for release in RELEASES
    )
    named: dict[tuple[str, str], tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for side, (release, only) in enumerate(zip(RELEASES, (older - newer, newer - older), strict=True)):
        for path in only:
            full = f"{release}/{path}"
            named[path.rpartition("/")[2], titles[full]][side].append(full)
    return {new[0]: old[0] for old, new in named.values() if len(old) == len(new) == 1}


if __name__ == "__main__":
    main()
