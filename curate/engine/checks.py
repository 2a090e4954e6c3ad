"""The checks of the tables up to `corpus`: each looks at what was written, before it is published.

What could go live wrong is blocking: a run ends after the table that fails. A check that would read texts again
is not made again over what it has passed: files are immutable, so its answer in `runs` stands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.dedup.options import NORMALIZED, TEXT, ExactOptions, MinhashOptions
from curate.engine.alike import Comparing
from curate.engine.buckets import Buckets
from curate.engine.keepers import is_fixed
from curate.engine.near import NearDuplicates
from curate.engine.near_error import CHANGED
from curate.engine.plan import CORPUS_STAGES, PlannedStep, PlannedTable
from curate.engine.read import EMPTY
from curate.engine.session import Session, recipe_text
from curate.engine.standing import id_ranges, range_of
from curate.lake.delta import plain_schema
from curate.lake.keyset import KeySet
from curate.lake.runs import Head
from curate.lake.state import State
from curate.reports.numbers import plural, share
from curate.sources.record import REPLACED
from schemas.checks import CHECKS, Check, judged
from schemas.recipe import Bounds, Recipe, Step
from schemas.report import NearError, TableReport

_SAMPLE = 200  # documents whose nearest other one is looked for
_SAMPLE_EACH_RUN = 20_000  # documents up to which that is done in each run: a fraction of a second


@dataclass(frozen=True)
class Pinned:
    """A state table at the version that is about to be published."""

    state: State
    version: int

    def scan(self) -> pl.LazyFrame:
        """Its rows."""
        return self.state.scan(self.version)

    def files(self) -> list[Path]:
        """Its files."""
        return [self.state.folder / name for name in sorted(self.state.files(self.version))]


def check_names(recipe: Recipe, table: str) -> dict[str, str]:
    """Check → severity of all that a report of this table can carry."""
    steps = recipe.tables.get(table, ())
    kinds = {table}
    if table in recipe.tables and table != "documents":
        kinds.add("deduplicated" if any(step.stage in CORPUS_STAGES for step in steps) else "measured")
    needed = {
        "no_exact_duplicate": _has(steps, "exact"),
        "no_near_duplicate": _has(steps, "minhash"),
        "semantic_recall": _has(steps, "semantic"),
        "no_personal_data": any(_has(all_steps, "anonymize") for all_steps in recipe.tables.values()),
    }
    return {
        name: known.severity
        for name, known in CHECKS.items()
        if kinds & set(known.tables) and needed.get(name, True)
    }


def _has(steps: tuple[Step, ...], stage: str) -> bool:
    return any(step.stage == stage for step in steps)


def table_checks(
    session: Session, base: Head, report: TableReport, pinned: Mapping[str, Pinned]
) -> list[Check]:
    """The checks that every table with verdicts has. `pinned` are its state tables, by name."""
    table = session.plan.table(report.table)
    checks = [schema_check(pinned), *_kept_share(session, base, report)]
    verdicts = pinned[f"verdicts/{table.name}"].scan()
    checks.append(_every_drop_has_reason(verdicts, report.rows))
    if table.kind != "documents":
        checks.append(_nothing_lost(session, base, table, verdicts, report.rows, pinned.get("corpus")))
    if table.kind != "deduplicated":
        checks += [_rules_judged(report), _errors(report)]
    return checks


def schema_check(pinned: Mapping[str, Pinned]) -> Check:
    """Every file has the columns and types of its table: footers only."""
    files, wrong = 0, []
    for name, table in pinned.items():
        wanted = plain_schema(table.state.schema)
        for file in sorted(table.state.files(table.version)):
            files += 1
            found = plain_schema(pq.read_schema(table.state.folder / file))
            if found != wanted:
                wrong.append(f"{name}/{file} has {_difference(found, wanted)}")
    return judged(
        "schema",
        not wrong,
        {"files": files, "wrong": len(wrong)},
        f"{plural(len(wrong), 'file')}: {'; '.join(wrong[:1])}.",
    )


def _difference(found: pa.Schema, wanted: pa.Schema) -> str:
    """The first column in which two schemas differ."""
    for field in wanted:
        if field.name not in found.names:
            return f"no column {field.name}"
        if found.field(field.name).type != field.type:
            return f"a column {field.name} of type {found.field(field.name).type}, not {field.type}"
    more = [name for name in found.names if name not in wanted.names]
    return f"a column {more[0]} that the table does not have" if more else "its columns in another order"


def _kept_share(session: Session, base: Head, report: TableReport) -> list[Check]:
    """The share kept, within its bounds and beside the last run's."""
    bounds = session.plan.recipe.checks.get(report.table, Bounds.model_validate({}))
    kept = report.kept / report.rows if report.rows else 0.0
    numbers = {
        "rows": report.rows, "kept": report.kept, "share": kept,
        "min_kept": bounds.min_kept, "max_kept": bounds.max_kept, "limit": session.limit,
    }  # fmt: skip
    side = "less than min_kept" if kept < bounds.min_kept else "more than max_kept"
    bound = bounds.min_kept if kept < bounds.min_kept else bounds.max_kept
    told = f"{report.kept:,} of {plural(report.rows, 'document')} kept ({share(report.kept, report.rows)})"
    within = judged(
        "kept_share",
        bounds.min_kept <= kept <= bounds.max_kept,
        numbers,
        f"{told}, {side} = {bound:g} of [checks.{report.table}].",
    )
    last = session.last_report(base, report.table).check("kept_share")
    # A first look with --limit says nothing about the whole.
    if last is None or last.numbers["limit"] != session.limit:
        return [within]
    before = last.numbers["share"]
    numbers = {
        "share": kept, "before": before, "change": kept - before, "max_change": bounds.max_change,
        "rows": report.rows, "rows_before": last.numbers["rows"],
    }  # fmt: skip
    message = f"{told}, {share(before, 1)} in the last run: max_change = {bounds.max_change:g} of [checks.{report.table}]."
    return [within, judged("kept_share_change", abs(kept - before) <= bounds.max_change, numbers, message)]


def _every_drop_has_reason(verdicts: pl.LazyFrame, rows: int) -> Check:
    """Of about so many verdicts (id, kept, step, reason, duplicate_of)."""
    dropped, unnamed, twins, kept = 0, [], [], KeySet()
    for ids in id_ranges(rows):
        part = verdicts.filter(ids).select("id", "kept", "step", "reason", "duplicate_of").collect()
        gone = part.filter(~pl.col("kept"))
        dropped += len(gone)
        unnamed.append(gone.filter((pl.col("step") == "") | (pl.col("reason") == "")).select("id"))
        twins.append(gone.filter(pl.col("duplicate_of") != "").select("id", "duplicate_of"))
        kept.add(part.filter("kept").get_column("id"))
    without, copies = pl.concat(unnamed), pl.concat(twins)
    alone = copies.filter(~pl.Series(kept.has(copies.get_column("duplicate_of")), dtype=pl.Boolean))
    numbers = {"dropped": dropped, "without_reason": len(without), "without_twin": len(alone)}
    first = pl.concat([without, alone.select("id")]).get_column("id").head(1).to_list()
    return judged(
        "every_drop_has_reason",
        not first,
        numbers,
        f"{plural(len(without), 'document')} dropped without a reason, {len(alone):,} for a document that is not kept: "
        f"{', '.join(first)}.",
    )


def _nothing_lost(
    session: Session,
    base: Head,
    table: PlannedTable,
    verdicts: pl.LazyFrame,
    rows: int,
    product: Pinned | None,
) -> Check:
    """Ids that reached a table are those that the one before kept, each once; so is the product."""
    before = session.plan.before(table.name)[-1].name
    stood_in = session.lake.read(session.name, f"verdicts/{before}", base)
    stood = stood_in.filter("kept").select("id")
    found: Counter[str] = Counter(documents=0, missing=0, unknown=0, twice=0)
    made: Counter[str] = Counter(missing=0, unknown=0, twice=0)
    most = max(rows, stood_in.select(pl.len()).collect().item())  # so that a part of either table is small
    ranges = id_ranges(most)
    with _ids_by_range(session, product, len(ranges)) as own:
        for number, ids in enumerate(ranges):
            kept_before = stood.filter(ids).collect()
            part = verdicts.filter(ids).select("id", "kept").collect()
            found.update({"documents": len(kept_before), **_compare(kept_before, part)})
            if product is not None:
                made.update(_compare(part.filter("kept"), own.read(number)))
    message = f"{_told(found)} of {plural(found['documents'], 'document')} kept in {before}"
    numbers = dict(found)
    if product is not None:
        numbers.update({f"rows_{name}": count for name, count in made.items()})
        message += f"; {_told(made)} in the rows of corpus"
    lost = any(count for name, count in numbers.items() if name != "documents")
    return judged("nothing_lost", not lost, numbers, f"{message}.")


def _ids_by_range(session: Session, product: Pinned | None, ranges: int) -> Buckets:
    """The ids of the product, which lie in any order in its files, in a bucket for each range."""
    own = Buckets(session.work)
    own.add(pl.DataFrame(schema={"id": pl.String}), 0)
    for file in product.files() if product is not None else ():
        rows = pl.read_parquet(file, columns=["id"], glob=False)
        own.add(rows, range_of(rows.get_column("id"), ranges))
    return own


def _compare(wanted: pl.DataFrame, found: pl.DataFrame) -> dict[str, int]:
    """How many ids are missing, unknown, or there more than once."""
    return {
        "missing": len(wanted.join(found, on="id", how="anti")),
        "unknown": len(found.join(wanted, on="id", how="anti")),
        "twice": len(found) - found.get_column("id").n_unique(),
    }


def _told(found: Mapping[str, int]) -> str:
    return f"{found['missing']:,} missing, {found['unknown']:,} unknown, {found['twice']:,} twice"


def records_check(session: Session, pages: pl.DataFrame, records: pl.LazyFrame, verdicts: Pinned) -> Check:
    """`nothing_lost` of `documents`: every record of every standing page (source, url, page) has its verdict.

    A URL that two sources have stands once, and so is looked for by place alone. With --limit pages are read in part.
    """
    read = records.filter(~pl.col("reason").is_in([EMPTY, REPLACED]))
    stored = read.group_by("page").len("records").collect()
    counted = stored.join(pages, on="page")
    wanted = counted.group_by("url").agg(pl.col("records").max())
    path = pl.col("place").str.replace(r"#\d+$", "")
    known = pl.when(path.is_in(wanted.get_column("url").implode())).then(path).otherwise("place")
    parts, documents, twice = [], 0, 0
    for ids in id_ranges(int(stored.get_column("records").sum())):
        places = verdicts.scan().filter(ids).select("id", url=known).collect()
        parts.append(places.group_by("url").len("reached"))
        documents += len(places)
        twice += len(places) - places.get_column("id").n_unique()
    reached = pl.concat(parts).group_by("url").sum()
    lost = wanted.join(reached, on="url", how="left").filter(
        pl.col("reached").fill_null(0) < pl.col("records")
    )
    missing = 0 if session.limit else len(lost)
    return judged(
        "nothing_lost",
        missing == 0 and twice == 0,
        {"pages": len(wanted), "documents": documents, "missing": missing, "twice": twice},
        f"Records are missing of {plural(missing, 'page')}: {', '.join(lost.get_column('url').head(1))}; {twice:,} ids twice.",
    )


def _rules_judged(report: TableReport) -> Check:
    unjudged = {f"{one.step}.{one.reason}": one.unjudged for one in report.reasons if one.unjudged}
    told = ", ".join(f"{name} for {plural(count, 'document')}" for name, count in unjudged.items())
    return judged(
        "rules_judged", not unjudged, unjudged, f"Rules were NULL, and the documents stayed: {told}."
    )


def _errors(report: TableReport) -> Check:
    errors = {
        f"{one.step}.{one.reason}": one.dropped
        for one in report.reasons
        if one.reason.startswith("error:") and one.dropped
    }
    told = ", ".join(f"{name} {count:,}" for name, count in errors.items())
    return judged("errors", not errors, errors, f"Documents were dropped by errors: {told}.")


def duplicate_checks(
    session: Session,
    base: Head,
    report: TableReport,
    rows: pl.DataFrame,
    verdicts: Pinned,
    fingerprints: Mapping[str, str],
) -> list[Check]:
    """Checks of a deduplicated table: `rows` are those that reached it, as `standing` gives them."""
    table = session.plan.table(report.table)
    kept = verdicts.scan().filter("kept").select("id", "key").collect()
    checks = []
    near = {step.name: step.options for step in table.steps if isinstance(step.options, MinhashOptions)}
    exact = [step.options for step in table.steps if isinstance(step.options, ExactOptions)]
    if any(options.by in (TEXT, NORMALIZED) for options in exact):
        again = _copies(rows.join(kept, on="id", how="semi"), exact)
        message = f"{plural(again, 'document')} kept with the text of another one that is kept."
        checks.append(judged("no_exact_duplicate", not again, {"kept": len(kept), "copies": again}, message))
    if near:
        last = session.last_report(base, report.table).check("no_near_duplicate")
        threshold = min(options.threshold for options in near.values())
        key = session.key(f"verdicts/{report.table}")
        same = base.pins.get(key) == verdicts.version and all(
            base.fingerprints.get(session.key(name)) == found for name, found in fingerprints.items()
        )
        if last is not None and same and last.numbers["threshold"] == threshold:
            return [*checks, last]
        if last is not None and _still_holds(session, base, report.table, last, len(kept)):
            return [*checks, last]
        checks.append(_no_near_duplicate(session, base, report, near, rows.join(kept, on="id", how="semi")))
    return checks


def _still_holds(session: Session, base: Head, table: str, last: Check, kept: int) -> bool:
    """Whether what a sample showed is not asked again: each one is compared with all, which a batch cannot pay.

    As `near_error`, it is asked again when the recipe changes, or what is kept by a quarter.
    """
    before = session.lake.runs.standing(base, session.name, [table]).get(table)
    grown = abs(kept - last.numbers["kept"]) / max(last.numbers["kept"], 1)
    same = before is not None and before.recipe == recipe_text(session.plan.recipe)
    return last.passed and same and kept > _SAMPLE_EACH_RUN and grown <= CHANGED


def _copies(kept: pl.DataFrame, steps: list[ExactOptions]) -> int:
    """Documents kept with the text of another one, which some step compares with it and may drop."""
    found = []
    for options in steps:
        if options.by in (TEXT, NORMALIZED):
            within = pl.sql_expr(options.within) if options.within else pl.lit(0)
            texts = kept.select("text_digest", within=within, fixed=is_fixed(options))
            groups = texts.group_by("text_digest", "within").agg(
                free=(~pl.col("fixed")).sum(), fixed=pl.col("fixed").any()
            )
            again = (
                pl.when("fixed")
                .then("free")
                .otherwise(pl.max_horizontal(0, pl.col("free").cast(pl.Int64) - 1))
            )
            found.append(int(groups.select(again.sum()).item() or 0))
    return max(found, default=0)


def recall_check(errors: list[NearError]) -> list[Check]:
    """`dedup_recall`: what a step was measured to miss is within what its bands promise, and nothing it drops is unlike."""
    if not errors:
        return []
    short = [
        (one.step, part)
        for one in errors
        for part in (*one.planted, *one.real)
        if part.similarity >= one.threshold and part.high < min(one.wanted, part.theory)
    ]
    wrong = sum(one.wrong for one in errors)
    real = [one.real[-1] for one in errors if one.real]
    numbers = {
        "anchors": sum(one.anchors for one in errors), "pairs": sum(one.pairs for one in real),
        "found": min((one.found for one in real), default=1.0), "low": min((one.low for one in real), default=0.0),
        "looked_again": sum(one.looked_again for one in errors), "wrong": wrong, "short": len(short),
    }  # fmt: skip
    told = [
        f"{step} finds {part.found:.1%} ({part.low:.1%} to {part.high:.1%}) of pairs of similarity {part.similarity:.2f}"
        for step, part in short
    ]
    if wrong:
        told.append(f"{plural(wrong, 'document')} dropped that are less alike than the threshold")
    return [judged("dedup_recall", not told, numbers, f"{'; '.join(told)}.")]


def _no_near_duplicate(
    session: Session, base: Head, report: TableReport, steps: Mapping[str, MinhashOptions], kept: pl.DataFrame
) -> Check:
    """Compare a sample of what is kept with all of it."""
    found, worst = 0, 0.0
    for name, options in steps.items():
        aside = TableReport(table=report.table)
        near = NearDuplicates(Comparing(session, base, report.table, name, aside, {}, dry=False), options)
        similarity = near.of_sample(kept, _SAMPLE)
        report.bytes_written += aside.bytes_written
        found += int((similarity >= options.threshold).sum())
        worst = max(worst, float(similarity.max(initial=0.0)))
    numbers = {
        "kept": len(kept), "sampled": min(len(kept), _SAMPLE), "found": found, "worst": worst,
        "threshold": min(options.threshold for options in steps.values()),
    }  # fmt: skip
    return judged(
        "no_near_duplicate",
        not found,
        numbers,
        f"Of {plural(min(len(kept), _SAMPLE), 'document')} kept, drawn by hash, {found:,} have a near-duplicate that is kept "
        f"too (similarity {worst:.3f} at most).",
    )


def anonymize_steps(tables: Iterable[PlannedTable]) -> list[PlannedStep]:
    """The steps that replace personal data, in their order."""
    return [step for table in tables for step in table.steps if step.stage and step.stage.name == "anonymize"]
