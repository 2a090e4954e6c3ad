"""Two steps that compare texts in one table: each keeps what it sketched and compared, for whoever reads it later."""

import polars as pl

from curate.engine.plan import make_plan
from curate.engine.preview import preview
from curate.engine.run import session_of
from curate.export.clusters import with_clusters
from curate.lake.care import gc
from schemas.recipe import load_recipe
from tests.lakes import run, text, write_jsonl

BASE = text(1, 200)
CHAIN = [BASE, BASE + " " + text(2, 30), BASE + " " + text(2, 30) + " " + text(3, 30), text(4, 100)]
RECIPE = """
name = "twice"
order = ["documents", "deduplicated", "corpus"]
[documents.extract]
[deduplicated.phrases]
use = "minhash"
error_sample = 0
[deduplicated.words]
use = "minhash"
error_sample = 0
ngram = 1
threshold = 0.97
[sources.posts]
files = "posts.jsonl"
"""


def test_each_step_keeps_its_sketches_and_pairs_for_splits_preview_and_the_next_run(tmp_path):
    """Of a chain of three texts the first step drops the middle one: that its ends belong together its pairs alone say."""
    recipe = tmp_path / "curate.toml"
    recipe.write_text(RECIPE)
    write_jsonl(tmp_path / "posts.jsonl", [{"text": words} for words in CHAIN])
    table = run(recipe).table("deduplicated")
    assert (table.rows, table.kept, table.measured) == (4, 3, 4 + 3)
    gc(tmp_path / "lake", keep=1)
    assert all(
        not one.would_measure for one in preview(make_plan(load_recipe(recipe)), tmp_path / "lake").tables
    )
    assert run(recipe).table("deduplicated").measured == 0
    with session_of(make_plan(load_recipe(recipe)), tmp_path / "lake", workers=1) as session:
        stands = session.lake.read("twice", "corpus").select("id", "text_digest", "place").collect()
        rows = with_clusters(session, session.lake.head(), session.plan, stands)
    cluster = dict(rows.select(pl.col("place").str.extract(r"#(\d+)"), "cluster").iter_rows())
    assert cluster["1"] == cluster["3"] != cluster["4"]
