"""A recipe over files: what stands, why, what a second run does, and what a changed rule costs."""

import json

import polars as pl
import pytest

from curate.engine.explain import explain
from curate.engine.fetch import standing_pages
from curate.engine.plan import make_plan
from curate.engine.preview import preview
from curate.engine.progress import Progress
from curate.lake.lake import Lake
from schemas.errors import CurateError, UsageError
from schemas.recipe import load_recipe
from schemas.source import Source
from tests.lakes import RECIPE, digests, documents, make_recipe, run, write_jsonl


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A lake that was run once; tests read it and leave it as it is."""
    recipe = make_recipe(tmp_path_factory.mktemp("made"))
    report = run(recipe)
    return recipe, recipe.parent / "lake", report


def corpus(lake, name="harbour"):
    return Lake(lake).read(name, "corpus").collect()


def test_every_document_has_a_verdict_and_the_funnel_adds_up(made):
    _, lake, report = made
    assert [table.table for table in report.tables] == [
        "pages",
        "documents",
        "filtered",
        "deduplicated",
        "corpus",
    ]
    for before, after in zip(report.tables[1:], report.tables[2:], strict=False):
        assert after.rows == before.kept
        assert after.rows - after.kept == sum(reason.dropped for reason in after.reasons)
    assert report.table("documents").rows == 30
    reasons = {f"{r.step}.{r.reason}": r.dropped for t in report.tables for r in t.reasons if r.dropped}
    assert reasons == {"length.too_short": 3, "exact.duplicate": 3, "minhash.near_duplicate": 3}
    assert len(corpus(lake)) == 21


def test_the_product_carries_source_licence_and_the_users_columns(made):
    _, lake, _ = made
    rows = corpus(lake)
    assert set(rows["license"]) == {"CC0"}
    assert set(rows["access"]) == {"public"}
    assert set(rows["topic"]) == {"sea", "land"}
    assert set(rows["language"]) == {"en"}
    assert rows["title"].str.starts_with("Page ").all()
    assert json.loads(rows["extra"][0])["id"].startswith("doc-")


def test_no_address_is_left_and_it_is_counted(made):
    _, lake, _ = made
    rows = corpus(lake)
    assert not rows["text"].str.contains("@").any()
    assert sum(dict(row).get("emails", 0) for row in rows.to_arrow()["redactions"].to_pylist()) == 3


def test_a_second_run_does_nothing(made):
    recipe, lake, _ = made
    before = digests(lake)
    files = sorted(str(path) for path in lake.rglob("*.parquet"))
    report = run(recipe)
    assert digests(lake) == before
    assert sorted(str(path) for path in lake.rglob("*.parquet")) == files
    assert all(table.measured == 0 and table.bytes_written == 0 for table in report.tables)


def test_why_tells_value_limit_and_margin(made):
    _, lake, _ = made
    found = explain(lake, "harbour", "docs.jsonl#4")
    assert (found.kept, found.table, found.step, found.reason) == (False, "filtered", "length", "too_short")
    rule = next(rule for table in found.tables for step in table.steps for rule in step.rules if rule.failed)
    assert (rule.limits[0].value, rule.limits[0].limit, rule.limits[0].margin) == (2, 10, -8)
    assert found.to_keep == '[filtered.length]\ndrop.too_short = "words < 2"'
    assert found.to_preview == "curate plan --set 'filtered.length.drop.too_short=words < 2'"


def test_why_names_the_twin_that_stands_for_a_duplicate(made):
    _, lake, _ = made
    found = explain(lake, "harbour", "docs.jsonl#6")
    assert (found.reason, found.duplicate_url, found.similarity) == ("duplicate", "docs.jsonl#5", 1.0)
    near = explain(lake, "harbour", "docs.jsonl#8")
    assert near.reason == "near_duplicate"
    assert 0.8 <= near.similarity < 1


def test_why_of_a_kept_document_shows_every_step(made):
    _, lake, _ = made
    found = explain(lake, "harbour", "docs.jsonl#1")
    assert found.kept
    assert [table.table for table in found.tables] == ["documents", "filtered", "deduplicated", "corpus"]


def test_why_of_something_unknown_says_so(made):
    _, lake, _ = made
    with pytest.raises(CurateError, match="knows no document"):
        explain(lake, "harbour", "docs.jsonl#400")


def test_plan_shows_what_a_rule_would_bring_back_without_measuring(made):
    recipe, lake, _ = made
    files = sorted(str(path) for path in lake.rglob("*.parquet"))
    plan = make_plan(load_recipe(recipe, {"filtered": {"length": {"drop": {"too_short": False}}}}))
    found = {table.table: table for table in preview(plan, lake).tables}
    assert found["filtered"].comes_back == 3
    assert found["filtered"].would_measure == 0
    assert ("docs.jsonl#4", "comes back: too_short") in found["filtered"].sample
    assert sorted(str(path) for path in lake.rglob("*.parquet")) == files


def test_a_changed_rule_measures_only_what_comes_back(tmp_path):
    recipe = make_recipe(tmp_path)
    run(recipe)
    report = run(make_recipe(tmp_path, RECIPE + '[filtered.length]\ndrop.too_short = "words < 2"\n'))
    assert report.table("filtered").measured == 0
    assert report.table("filtered").came_back == 3
    assert report.table("deduplicated").measured == 1  # three equal texts
    assert report.table("corpus").measured == 1
    assert len(corpus(tmp_path / "lake")) == 22


@pytest.mark.slow
def test_new_changed_and_deleted_lines_cost_only_themselves(tmp_path):
    recipe = make_recipe(tmp_path)
    run(recipe)
    ids = dict(corpus(tmp_path / "lake").select("text", "id").iter_rows())
    rows = documents(30)
    rows[0]["text"] = rows[0]["text"].replace("the", "a")
    del rows[1]
    rows.insert(
        5,
        {
            "id": "new",
            "text": "An entirely new page about winter storms, rope, tar and patience on long nights.",
        },
    )
    write_jsonl(tmp_path / "docs.jsonl", rows)
    report = run(recipe)
    assert report.table("filtered").measured == 2
    after = dict(corpus(tmp_path / "lake").select("text", "id").iter_rows())
    same = ids.keys() & after.keys()
    assert len(same) == 19
    assert all(ids[text] == after[text] for text in same)


def test_the_result_is_a_function_of_what_stands_and_not_of_the_way_there(tmp_path):
    run(make_recipe(tmp_path / "once", count=30))
    grown = make_recipe(tmp_path / "grown", count=12)
    run(grown)
    write_jsonl(grown.parent / "docs.jsonl", documents(30))
    run(grown)
    one, two = digests(tmp_path / "once" / "lake"), digests(tmp_path / "grown" / "lake")
    assert one == two


def test_the_result_does_not_depend_on_the_number_of_workers(tmp_path, made):
    recipe = make_recipe(tmp_path)
    run(recipe, workers=2)
    assert digests(tmp_path / "lake") == digests(made[1])


def test_a_deleted_file_leaves_the_corpus_and_comes_back_without_work(tmp_path):
    recipe = make_recipe(tmp_path, RECIPE.replace('"docs.jsonl"', '["docs.jsonl", "more"]'))
    (tmp_path / "more").mkdir()
    page = tmp_path / "more" / "page.md"
    page.write_text(
        "# A page of its own\n\nIt says what no other page of this small harbour says about the weather today.\n"
    )
    run(recipe)
    assert len(corpus(tmp_path / "lake")) == 22
    body = page.read_text()
    page.unlink()
    (tmp_path / "more" / "other.md").write_text(
        "# Other\n\nSome other words that stand here so that the folder has a page to read at all.\n"
    )
    report = run(recipe)
    assert report.table("corpus").gone == 1
    assert [(reason.reason, reason.dropped) for reason in report.table("pages").reasons] == [("gone", 1)]
    page.write_text(body)
    assert run(recipe).table("filtered").measured == 0
    assert len(corpus(tmp_path / "lake")) == 23


@pytest.mark.slow
def test_limit_takes_a_first_look(tmp_path):
    recipe = make_recipe(tmp_path)
    assert run(recipe, limit=5).table("documents").rows == 5
    assert run(recipe).table("documents").rows == 30


@pytest.mark.parametrize("wrong", [{"limit": -1}, {"workers": 0}, {"workers": -2}])
def test_counts_that_make_no_sense_are_refused_before_anything_begins(wrong, tmp_path):
    with pytest.raises(UsageError, match="is needed"):
        run(make_recipe(tmp_path), **wrong)
    assert not (tmp_path / "lake").exists()


@pytest.mark.slow
def test_a_broken_line_is_a_row_and_the_rest_is_kept(tmp_path):
    recipe = make_recipe(tmp_path)
    with (tmp_path / "docs.jsonl").open("a") as file:
        file.write('{"text": broken\n')
    report = run(recipe)
    assert report.table("documents").rows == 31
    failure = report.table("documents").failures[0]
    assert (failure.reason, failure.place) == ("error:read", "docs.jsonl#31")
    assert "Line 31" in failure.message
    assert run(recipe).table("documents").rows == 31  # it is still told when nothing is read again


def test_a_rule_that_takes_everything_is_named(tmp_path):
    recipe = make_recipe(tmp_path, RECIPE + '[filtered.length]\ndrop.all = "words >= 0"\n')
    report = run(recipe)
    assert any("length.all" in note for note in report.table("corpus").notes)
    assert len(corpus(tmp_path / "lake")) == 0


def test_newest_keeps_the_document_with_the_later_date(tmp_path):
    rows = [
        {"text": documents(1)[0]["text"], "date": date, "title": date}
        for date in ("2023-01-01", "2025-01-01", "")
    ]
    make_recipe(tmp_path)
    write_jsonl(tmp_path / "docs.jsonl", rows)
    newest = RECIPE.replace('keep = { topic = "string" }\n', "") + '[deduplicated.exact]\nkeeper = "newest"\n'
    run(make_recipe(tmp_path, newest))
    assert corpus(tmp_path / "lake")["title"].to_list() == ["2025-01-01"]


@pytest.mark.slow
def test_two_names_share_a_lake_and_its_content(tmp_path):
    recipe = make_recipe(tmp_path)
    run(recipe)
    other = tmp_path / "other.toml"
    other.write_text(RECIPE.replace('"harbour"', '"second"').replace('"CC0"', '"MIT"'))
    report = run(other, tmp_path / "lake")
    assert report.table("filtered").measured == 0
    assert set(corpus(tmp_path / "lake", "second")["license"]) == {"MIT"}
    assert set(corpus(tmp_path / "lake")["license"]) == {"CC0"}
    assert Lake(tmp_path / "lake").names() == ["harbour", "second"]


def test_any_reader_reads_the_product(made):
    deltalake = pytest.importorskip("deltalake")
    _, lake, _ = made
    pin = Lake(lake).head().pins["harbour/corpus"]
    table = deltalake.DeltaTable(str(lake / "harbour" / "corpus"), version=pin)
    import pyarrow.compute as pc

    arrow = table.to_pyarrow_dataset().to_table(filter=pc.field("title") == "Page 1")
    assert len(arrow) == 1
    assert (
        pl.scan_delta(str(lake / "harbour" / "corpus"), version=pin)
        .filter(pl.col("topic") == "sea")
        .collect()
        .height
        > 5
    )


@pytest.mark.slow
def test_every_text_is_tokenized_once(tmp_path):
    from curate.engine.tokens import make_tokens

    recipe = make_recipe(tmp_path, RECIPE + "[tokens.tokenize]\n")
    report = run(recipe, then=make_tokens).table("tokens")
    assert (report.rows, report.measured) == (21, 21)
    head = Lake(tmp_path / "lake").head()
    ids = Lake(tmp_path / "lake").content("tokens", head.fingerprints["harbour/tokens"]).scan().collect()
    assert sorted(ids["key"]) == sorted(corpus(tmp_path / "lake")["text_digest"])
    assert (ids["ids"].list.len() == ids["count"]).all()
    assert ids["count"].sum() == report.counts["tokens"]
    assert run(recipe, then=make_tokens).table("tokens").measured == 0


def test_a_file_that_changes_while_it_is_read_is_read_again_by_the_next_run(tmp_path):
    recipe = make_recipe(tmp_path)
    file = tmp_path / "docs.jsonl"

    class Meddler(Progress):
        def start(self, table, total=0):
            if table == "documents":  # it was looked at, and is not read yet
                write_jsonl(file, documents(12))

    report = run(recipe, progress=Meddler())
    assert "changed while it was read" in report.table("documents").failures[0].message
    assert run(recipe).table("documents").rows == 12


def test_a_text_that_stands_twice_in_a_first_run_was_not_there_before(tmp_path):
    page = "A page of its own says what no other page of this small harbour says about today.\n"
    for name in ("one", "two"):
        (tmp_path / "pages").mkdir(parents=True, exist_ok=True)
        (tmp_path / "pages" / f"{name}.md").write_text(page)
    recipe = make_recipe(tmp_path, RECIPE.replace('"docs.jsonl"', '"pages"'))
    first, second = run(recipe), run(recipe)
    assert [table.reused for table in first.tables] == [0] * 5
    assert [table.reused for table in second.tables] == [2, 2, 2, 1, 1]


@pytest.mark.parametrize(
    ("deny", "left"),
    [
        ("*/archive/*", ["https://a.example/now/1"]),
        ("/archive/*", ["https://a.example/now/1"]),
        ("*/[an]*/?", []),
        ("*.pdf", ["https://a.example/archive/1", "https://a.example/now/1"]),
    ],
)
def test_pages_that_a_new_glob_denies_stand_no_more(deny, left):
    answers = [
        {"source": "site", "url": f"https://a.example/{path}", "at": 0, "status": 200, "page": "p", "etag": "", "last_modified": "",
         "error": "", "crawl": ""}
        for path in ("now/1", "archive/1")
    ]  # fmt: skip
    sources = {"site": Source(url="https://a.example/", deny=[deny])}
    assert standing_pages(pl.LazyFrame(answers), sources).get_column("url").to_list() == left
