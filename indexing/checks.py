"""The checks of passages and vectors, before they are stored, and of the tables that an index is made from."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from curate.engine.shard import plan_shards, read_texts, take_rows
from curate.lake.content import Content
from curate.lake.parquet import ROW_GROUP_ROWS
from curate.lake.runs import Head, Runs
from curate.reports.numbers import plural
from curate.text.arrow import buffers, normalised
from schemas.checks import Check, judged
from schemas.recipe import Recipe
from schemas.report import TableReport

Bools = npt.NDArray[np.bool_]

_SAMPLE, _GROUPS = 200, 4  # texts whose stored passages are looked at, out of so many row groups
_AT_ONCE = 2_000_000  # characters compared at once, in about 60 MB
_NORM = 1e-3  # how far the length of a vector may be from 1
_BLANK = np.array([chr(code).isspace() for code in range(0x3001)])  # U+3000 is the last white space


def covered(texts: pa.LargeStringArray, passages: pa.Table) -> Bools:
    """Whether the passages of each text are its slices and leave out nothing but white space, (n,).

    `passages` has row (of `texts`, ascending), start and end (characters), and text.
    """
    lengths = pc.utf8_length(texts).to_numpy()
    groups = np.cumsum(lengths) // _AT_ONCE
    borders = [0, *(np.flatnonzero(np.diff(groups)) + 1).tolist(), len(texts)]
    rows = passages.column("row").to_numpy()
    found = np.ones(len(texts), np.bool_)
    for first, last in itertools.pairwise(borders):
        at, end = np.searchsorted(rows, [first, last])
        found[first:last] = _covered(
            texts[first:last], lengths[first:last], passages.slice(at, end - at), first
        )
    return found


def _covered(
    texts: pa.LargeStringArray, lengths: npt.NDArray[np.int32], passages: pa.Table, first: int
) -> Bools:
    """`covered` of some texts, the first of which has the row `first`."""
    codes, ends_of = _code_points(texts), np.cumsum(lengths, dtype=np.int64)
    row = passages.column("row").to_numpy() - first
    starts, ends = (passages.column(name).to_numpy().astype(np.int64) for name in ("start", "end"))
    pieces = normalised(passages.column("text"))
    sizes = pc.utf8_length(pieces).to_numpy().astype(np.int64)
    right = (starts >= 0) & (ends <= lengths[row]) & (ends - starts == sizes) & (sizes > 0)
    wrong = np.bincount(row[~right], minlength=len(texts)) > 0
    row, sizes, base = row[right], sizes[right], (ends_of - lengths)[row[right]]
    starts, ends = base + starts[right], base + ends[right]
    # Position of every character of the passages in the joined texts.
    places = np.repeat(starts - (np.cumsum(sizes) - sizes), sizes) + np.arange(sizes.sum())
    differs = codes[places] != _code_points(pieces.filter(pa.array(right)))
    wrong |= np.bincount(np.repeat(row, sizes)[differs], minlength=len(texts)) > 0
    inside = np.zeros(len(codes) + 1, np.int32)
    np.add.at(inside, starts, 1)
    np.add.at(inside, ends, -1)
    blank = _BLANK[np.minimum(codes, len(_BLANK) - 1)] & (codes < len(_BLANK))
    bare = np.flatnonzero((np.cumsum(inside[:-1]) == 0) & ~blank)
    return ~(wrong | (np.bincount(np.searchsorted(ends_of, bare, "right"), minlength=len(texts)) > 0))


def _code_points(texts: pa.LargeStringArray) -> npt.NDArray[np.uint32]:
    """The characters of all texts together."""
    data, offsets = buffers(texts)
    joined = data[offsets[0] : offsets[-1]].tobytes().decode("utf-8", "surrogatepass")
    return np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)


@dataclass
class Seen:
    """How many texts were looked at, and of how many the passages were wrong."""

    texts: int = 0
    wrong: int = 0
    first: str = ""

    def add(self, digests: pl.Series, good: Bools) -> None:
        """Count some texts."""
        self.texts += len(good)
        self.wrong += int((~good).sum())
        if not good.all() and not self.first:
            self.first = str(digests[int(np.argmin(good))])


def chunks_check(
    cut: Seen, content: Content, corpus: pl.DataFrame, last: Check | None, *, same: bool
) -> Check:
    """`chunks_cover`: of the texts cut in this run, and of a sample of what is stored.

    `last` is the check as it stands. If it passed and the passages are the `same`, no text is read; if it failed, all are.
    """
    if last is not None and last.passed and same and not cut.texts:
        return last
    stored, sample = Seen(), corpus
    if len(corpus):
        texts = corpus.unique("text_digest", keep="first", maintain_order=True)
        sample = (_drawn(texts) if last is None or last.passed else texts).sort("file", "row")
    for start, stop in plan_shards(sample):
        part = sample.slice(start, stop - start)
        stored.add(part.get_column("text_digest"), covered(read_texts(part), _passages_of(content, part)))
    wrong = cut.wrong + stored.wrong
    return judged(
        "chunks_cover",
        not wrong,
        {"cut": cut.texts, "sampled": stored.texts, "wrong": wrong},
        f"The passages of {plural(wrong, 'text')} do not cover it, the first has the digest {cut.first or stored.first}.",
    )


def _drawn(rows: pl.DataFrame) -> pl.DataFrame:
    """A sample by hash, out of few row groups: a text is read with its whole group."""
    grouped = rows.with_columns(_group=pl.col("row") // ROW_GROUP_ROWS).sort("text_digest")
    groups = grouped.select("file", "_group").unique(keep="first", maintain_order=True).head(_GROUPS)
    return (
        grouped.join(groups, on=["file", "_group"], how="semi", maintain_order="left")
        .head(_SAMPLE)
        .drop("_group")
    )


def _passages_of(content: Content, texts: pl.DataFrame) -> pa.Table:
    """Stored passages of some texts, as `covered` takes them; only their row groups are read."""
    rows = texts.select(key="text_digest", row=pl.int_range(pl.len(), dtype=pl.Int32))
    places = content.places().join(rows.select("key"), on="key", how="semi")
    stored = pl.DataFrame(take_rows(places, ["key", "start", "end", "text"]))
    return stored.join(rows, on="key").sort("row", "start").select("row", "start", "end", "text").to_arrow()


def sound(vectors: npt.NDArray[np.float32], dimension: int) -> tuple[Bools, float]:
    """Whether each vector is finite and has length 1, (n,), and how far the worst is from that."""
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        return np.zeros(len(vectors), np.bool_), 1.0
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    off = np.where(np.isfinite(norms), np.abs(norms - 1), np.inf)
    return off <= _NORM, min(float(off.max(initial=0.0)), 1e30)


def vectors_check(embedded: int, wrong: int, worst: float) -> Check:
    """`vectors_sound`: of the passages embedded in this run."""
    return judged(
        "vectors_sound",
        not wrong,
        {"embedded": embedded, "wrong": wrong, "worst": worst},
        f"{wrong:,} of {plural(embedded, 'vector')} are not finite, or do not have length 1 or the embedder's dimension.",
    )


def tables_check(runs: Runs, head: Head, recipe: Recipe) -> Check:
    """`tables_passed`: what failed a blocking check of the tables that stand before a candidate."""
    tables = ["pages", *recipe.order, "chunks", "vectors"]
    rows = runs.standing(head, recipe.name, tables)
    reports = {table: _report(rows[table]) for table in tables if table in rows}
    failed = [
        f"{table}: {check.name}: {check.message}"
        for table, report in reports.items()
        for check in report.failed()
    ]
    return judged("tables_passed", not failed, {"tables": len(rows), "failed": len(failed)}, " ".join(failed))


def made_of_failed(runs: Runs, head: Head, name: str, version: str) -> list[Check]:
    """`tables_passed` of a candidate as it was made, if it failed."""
    key = f"{name}/index_candidate"
    made = replace(head, fingerprints={key: version}, digests={key: version})
    row = runs.standing(made, name, ["index_candidate"]).get("index_candidate")
    check = _report(row).check("tables_passed") if row is not None else None
    return [check] if check is not None and not check.passed else []


def _report(row: Head) -> TableReport:
    return TableReport.model_validate_json(row.report) if row.report else TableReport(table=row.table)
