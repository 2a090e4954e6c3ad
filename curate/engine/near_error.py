"""How many near-duplicates a `minhash` step misses on the corpus at hand, and whether what it drops is right.

Three looks, each at a sample drawn by hash: pairs planted at a known similarity, by length of text; documents compared
exactly with all others; and documents that were dropped, compared with their keeper in plain Python, which shares
no code with the kernels. It is measured again when the options change, or the corpus by a quarter.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from curate.dedup.anchors import anchor_recall
from curate.dedup.bands import probability
from curate.dedup.error import LENGTHS, planted_strata
from curate.dedup.plain import plain_similarity
from curate.dedup.presets import SIMILARITIES
from curate.engine.near import NearDuplicates
from curate.engine.shard import plan_shards, read_texts, write_plan
from curate.engine.standing import locate
from curate.lake.digest import digest_json
from schemas.report import NearError, Recall

_LEAST_PLANTED = 25  # three seeds of each: of 75 that are all found, Wilson's interval ends at 0.951
_PLANTED_OF = 40  # one of so many documents
CHANGED = 0.25  # share of the corpus that comes or goes before it is measured again
_CHARS_PER_WORD = 6
_NEIGHBOURS = 1_000  # of a drawn document that count: of 100,000 pages of one template each has all others


def near_error(
    near: NearDuplicates, step: str, rows: pl.DataFrame, verdicts: pl.DataFrame, last: NearError | None
) -> NearError:
    """The error of a step on `rows`, those that reached its table, with their `verdicts`; the last one if it still holds."""
    options = near.options
    made_from = digest_json(
        [options.sketch_options.model_dump(), options.threshold, options.band_shape, options.floor]
    )
    if last and last.made_from == made_from and abs(len(rows) - last.documents) <= CHANGED * last.documents:
        return last
    bands, per_band = options.band_shape
    distinct = rows.unique("text_digest", keep="first").sort("text_digest")
    alone = not options.within and not options.against  # what may not be compared is no miss
    drawn = distinct.head(options.error_sample if alone else 0)
    count = _to_plant_of_a_length(near, len(distinct))
    to_plant = _to_plant(distinct, count)
    gone = _dropped_pairs(near, step, rows, verdicts)
    texts = _texts(
        near, _of_digests(rows, to_plant, drawn.get_column("text_digest"), gone["one"], gone["two"])
    )
    with ThreadPoolExecutor(1) as thread:  # planting waits for nobody, and the workers compare meanwhile
        planted = thread.submit(
            _planted, near, texts.join(to_plant.to_frame(), on="text_digest", how="semi"), count
        )
        real = _real(near, distinct, drawn, texts, rows, verdicts) if len(drawn) else []
    looked, wrong = _looked_again(near, gone, texts)
    return NearError(
        step=step,
        made_from=made_from,
        documents=len(rows),
        threshold=options.threshold,
        bands=bands,
        rows=per_band,
        wanted=options.recall,
        longer=_longer(near),
        curve=[(one, _promised(near, one)) for one in SIMILARITIES],
        planted=planted.result(),
        anchors=len(drawn),
        real=real,
        looked_again=looked,
        wrong=wrong,
    )


def _longer(near: NearDuplicates) -> float:
    return near.options.longer if near.options.similarity == "containment" else 0.0


def _promised(near: NearDuplicates, similarity: float) -> float:
    """How likely bands compare a pair of this similarity; of a contained text, in one `longer` times as long."""
    return float(probability(near.options.jaccard_of(similarity), *near.options.band_shape))


def _of_digests(rows: pl.DataFrame, *digests: pl.Series) -> pl.DataFrame:
    """A row of each text that is asked for."""
    wanted = pl.concat(digests).unique().to_frame("text_digest")
    found = rows.select("text_digest", "home", "home_key", "chars").join(wanted, on="text_digest", how="semi")
    return found.unique("text_digest", keep="first")


def _texts(near: NearDuplicates, rows: pl.DataFrame) -> pl.DataFrame:
    """Text by digest, of all samples at once: they lie in every row group, each of which is read whole."""
    located = locate(near.comparing.session, near.comparing.base, rows)
    return pl.DataFrame(
        {"text_digest": located.get_column("text_digest"), "text": pl.Series(read_texts(located))}
    )


def _to_plant(distinct: pl.DataFrame, count: int) -> pl.Series:
    """Digests of the texts that pairs are planted of: so many of each length."""
    parts = [
        distinct.filter(pl.col("chars").is_between(least * _CHARS_PER_WORD, most * _CHARS_PER_WORD)).head(
            count
        )
        for least, most in LENGTHS.values()
    ]
    return pl.concat(parts).get_column("text_digest").unique()


def _to_plant_of_a_length(near: NearDuplicates, documents: int) -> int:
    """Fewer of a small corpus, whose deduplication they would outlast; the intervals say what is known."""
    follows = max(_LEAST_PLANTED, documents // _PLANTED_OF)
    return max(min(near.options.error_sample // 5, follows), 1)


def _planted(near: NearDuplicates, sample: pl.DataFrame, count: int) -> list[Recall]:
    """Recall of up to `count` planted pairs at the threshold and above, for each length that the corpus has."""
    options, (bands, per_band) = near.options, near.options.band_shape
    texts = sample.sort("text_digest").get_column("text").to_list()
    targets = [one for one in SIMILARITIES[::2] if one > options.threshold]
    strata = planted_strata(
        texts, options.sketch_options, threshold=options.threshold, bands=bands, rows=per_band,
        targets=[options.threshold, *targets], count=count, longer=_longer(near),
    )  # fmt: skip
    return [
        Recall(
            length=row["length"], similarity=row["target"], to=row["target"], pairs=row["pairs"], theory=row["theory"],
            found=row["found"], low=row["found_low"], high=row["found_high"],
        )
        for row in strata.filter(pl.col("found").is_not_null()).to_dicts()
    ]  # fmt: skip


def _real(
    near: NearDuplicates,
    distinct: pl.DataFrame,
    drawn: pl.DataFrame,
    texts: pl.DataFrame,
    rows: pl.DataFrame,
    verdicts: pl.DataFrame,
) -> list[Recall]:
    """Recall over the pairs that the drawn documents have with any other.

    Of a text that stands in one more than `longer` times as long nothing is promised, so those pairs come by themselves.
    """
    truth = _neighbours(near, distinct, texts.join(drawn.select("text_digest"), on="text_digest", how="semi"))
    kept = rows.select("id", "text_digest").join(verdicts.filter("kept").select("id"), on="id", how="semi")
    stays = kept.get_column("text_digest").unique()
    threshold = near.options.threshold
    stored = near.content("pairs").scan().filter(pl.col("similarity") >= threshold).select("a", "b").collect()
    ends = truth.select(a=pl.min_horizontal("one", "two"), b=pl.max_horizontal("one", "two"))
    there = ends.join(stored.with_columns(there=True), on=["a", "b"], how="left", maintain_order="left")
    found = there.get_column("there").fill_null(False).to_numpy()
    stand = ends.select(pl.col("a").is_in(stays.implode()) & pl.col("b").is_in(stays.implode()))
    both = stand.to_series().to_numpy()

    def strata(inside: np.ndarray) -> list[dict[str, Any]]:
        pairs = truth.select("anchor", "similarity").filter(inside)
        made = anchor_recall(pairs, found[inside], both[inside], threshold)
        return made.filter(pl.col("pairs") > 0).to_dicts()

    longer = _longer(near)
    beyond = truth.get_column("times").to_numpy() > (longer or np.inf)
    told = [
        (f"over {longer:g} times as long", row, 0.0) for row in strata(beyond)[-1:]
    ]  # first: the last one is all that is promised
    told += [("", row, _promised(near, row["from"])) for row in strata(~beyond)]
    return [
        Recall(
            length=length, similarity=row["from"], to=row["to"], pairs=row["pairs"], theory=theory,
            found=row["settled"], low=row["low"], high=row["high"],
        )
        for length, row, theory in told
    ]  # fmt: skip


def _neighbours(near: NearDuplicates, distinct: pl.DataFrame, drawn: pl.DataFrame) -> pl.DataFrame:
    """Pairs of a drawn document (text_digest, text) with others, all up to 1,000: anchor (number), one and two (digests), similarity, times."""
    session, base = near.comparing.session, near.comparing.base
    located = locate(session, base, distinct)
    name = f"{near.comparing.table}-anchors-{session.run}"
    plan, few = session.work / f"{name}.parquet", session.work / f"{name}-drawn.parquet"
    write_plan(located.select("text_digest", "file", "row"), plan)
    write_plan(drawn, few)  # with their texts, which lie in every file
    tasks = [
        {
            "plan": str(plan), "start": start, "stop": stop, "anchors": str(few), "threshold": near.options.threshold,
            "similarity": near.options.similarity, "most": _NEIGHBOURS + 1,
            "options": near.options.shingle_options.model_dump(), "out": str(session.work / f"{name}-{start}.parquet"),
        }
        for start, stop in plan_shards(located)
    ]  # fmt: skip
    files = [one["file"] for one in session.workers.map("curate.dedup.shards:neighbours_shard", tasks)]
    pairs = pl.concat([pl.read_parquet(file) for file in files])
    for file in (plan, few, *map(Path, files)):
        file.unlink()
    others = pairs.filter(pl.col("one") != pl.col("two"))
    return others.filter(pl.col("two").rank("ordinal").over("anchor") <= _NEIGHBOURS)


def _dropped_pairs(
    near: NearDuplicates, step: str, rows: pl.DataFrame, verdicts: pl.DataFrame
) -> pl.DataFrame:
    """Some dropped documents and their keepers, by digest of text: one, two."""
    digests, count = rows.select("id", "text_digest"), near.options.error_sample // 5
    gone = verdicts.filter(pl.col("step") == step).sort("key").head(count if near.options.verify else 0)
    pairs = gone.select("id", "duplicate_of").join(digests.select("id", one="text_digest"), on="id")
    pairs = pairs.join(digests.select(duplicate_of="id", two="text_digest"), on="duplicate_of")
    return pairs.select("one", "two")


def _looked_again(near: NearDuplicates, pairs: pl.DataFrame, texts: pl.DataFrame) -> tuple[int, int]:
    """How many dropped documents were compared with their keeper again, and how many are less alike than the threshold."""
    ends = pl.concat([pairs["one"], pairs["two"]]).unique().to_frame("text_digest")
    text = dict(texts.join(ends, on="text_digest", how="semi").iter_rows())
    options, measure = near.options.shingle_options, near.options.similarity
    alike = np.array(
        [plain_similarity(text[one], text[two], options, measure) for one, two in pairs.iter_rows()]
    )
    return len(alike), int((alike < near.options.threshold - 1e-9).sum())
