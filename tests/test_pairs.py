"""Pairs for embedders: queries that documents answer themselves, and negatives that the index finds near."""

import json

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.engine.corpus import corpus_rows
from curate.engine.plan import make_plan
from curate.engine.progress import Progress
from curate.engine.run import session_of
from curate.export.make import make_export
from curate.export.pairs_rows import training_columns, write
from indexing.negatives import Pool, mine
from indexing.pairs import pair_files
from indexing.queries import ask, find_queries
from indexing.snapshot import Snapshot
from schemas.errors import IndexingError
from schemas.export import PairsExport
from schemas.recipe import load_recipe
from tests import lakes
from tests.indexes import EMBEDDER, OPTIONS, build

ANSWER = "It takes twenty words to answer anything here, so this passage goes on until it surely has more than that, which is now."
OTHER = ANSWER.replace("anything", "something else")


def passages(*documents):
    """One passage a document, or several: (title, text, text ...)."""
    rows = []
    for document, (title, *texts) in enumerate(documents):
        end = 0
        for text in texts:
            rows.append(
                {
                    "row": len(rows),
                    "document": document,
                    "title": title,
                    "text": text,
                    "start": end,
                    "end": end + len(text),
                }
            )
            end += len(text) + 1
    kinds = {
        "row": pl.UInt32,
        "document": pl.UInt32,
        "title": pl.String,
        "text": pl.String,
        "start": pl.Int64,
        "end": pl.Int64,
    }
    return pl.DataFrame(rows, schema=kinds)


def asked(*documents, torn=False, count=0):
    """(query, answer) of each query that documents have."""
    table = passages(*documents)
    found = find_queries(table, torn=torn)
    queries, _ = ask(found.queries, found.names, count or len(documents))
    texts = table.get_column("text")
    return [
        (row["query"], texts[row["row"]][row["offset"] : row["offset"] + row["length"]])
        for row in queries.iter_rows(named=True)
    ]


def queries(*documents, **more):
    return [query for query, _ in asked(*documents, **more)]


def test_a_heading_asks_and_the_text_under_it_answers_without_the_heading():
    text = f"# Reset the VPN client\n\n{ANSWER}\n\n## Ask for help\n\n{OTHER}\n"
    assert asked(("", text)) == [("Reset the VPN client", ANSWER), ("Ask for help", OTHER)]


def test_a_title_asks_for_the_first_passage_that_is_not_only_the_title():
    text = "# How it is done\n\nIn short.\n\n## What is too short for an answer\n\nSee there.", ANSWER
    assert asked(("How to reset the VPN", *text)) == [
        ("What is too short for an answer", ANSWER),
        ("How to reset the VPN", ANSWER),
    ]


def test_the_answer_is_the_text_of_one_section_in_one_passage():
    first, second = f"# Reset the VPN\n\n{ANSWER}", f"{OTHER}\n\n## Ask for help\n\nShort."
    assert asked(("", first, second)) == [("Reset the VPN", ANSWER)]
    # What is too short to answer leaves that to the next passage.
    late = ("# Reset the VPN\n\nIn short:", ANSWER)
    assert asked(("", *late)) == [("Reset the VPN", ANSWER)]


@pytest.mark.parametrize(
    ("heading", "query"),
    [
        (
            "## 26.1.2. Restoring the dump",
            "Restoring the dump",
        ),  # numbers of chapters are no words of a question
        ("## Chapter 26. Backup and restore", "Backup and restore"),
        ("## A.3 Error codes of SQL", "Error codes of SQL"),
        ("## 3 ways to restart", "3 ways to restart"),
        ("## Using the `_default_` **vhosts** ##", "Using the _default_ vhosts"),  # nor are marks of Markdown
        ("## [How it works](/how.html)¶", "How it works"),
        ("## How to program in C#", "How to program in C#"),
        ("## Notes", "SELECT INTO: Notes"),  # one or two words say little
        ("## SELECT INTO examples of use", "SELECT INTO examples of use"),
        (f"## {'far too long ' * 11}", None),
    ],
)
def test_a_heading_as_a_query(heading, query):
    assert [
        found for found in queries(("SELECT INTO", f"{heading}\n\n{ANSWER}")) if found != "SELECT INTO"
    ] == ([query] if query else [])


@pytest.mark.parametrize("heading", ["Notes", "1.2.3", "2.4.6 (2019-09-12)", "***"])
def test_a_heading_without_words_asks_nothing(heading):
    assert queries(("", f"## {heading}\n\n{ANSWER}")) == []


def test_a_heading_that_says_little_is_put_under_those_above_it():
    text = f"# Setting up\n\n## On old systems of Windows\n\n### The installer\n\n{ANSWER}\n\n## Notes\n\n{OTHER}"
    assert queries(("Manual of the client", text)) == [
        "On old systems of Windows: The installer",
        "Manual of the client: Setting up: Notes",
        "Manual of the client",
    ]


def test_a_heading_of_many_documents_asks_nothing():
    documents = [(f"Page {n} of the manual", f"## See the other pages\n\n{ANSWER} {n}") for n in range(4)]
    assert queries(*documents[:2])[0] == "Page 0 of the manual: See the other pages"  # of two: it says little
    assert all("See the other" not in query for query in queries(*documents[:3]))  # of three: it says nothing
    assert any("See the other" in query for query in queries(*documents, count=400))  # 1 % of the documents
    found = find_queries(passages(*documents), torn=False)
    assert ask(found.queries, found.names, 4)[1] == {"of many documents": 4}


def test_comments_in_code_are_no_headings():
    code = (
        f"# Reset the VPN\n\n{ANSWER}\n\n```sh\n# stop the service now",
        f"# start the service again\n```\n\n## Ask for more help\n\n{OTHER}",
    )
    assert queries(("", *code)) == ["Reset the VPN", "Ask for more help"]


def test_a_passage_that_repeats_the_end_of_the_one_before_adds_nothing():
    first = f"# Reset the VPN\n\n{ANSWER}\n\n```\ncode\n```"
    table = passages(("", first, f"```\n\n## Ask for more help\n\n{OTHER}")).with_columns(
        start=pl.Series([0, len(first) - 3]), end=pl.Series([len(first), len(first) + 200])
    )
    found = find_queries(table, torn=False)
    assert found.queries.get_column("heading").to_list() == ["Reset the VPN", "Ask for more help"]


def test_a_heading_at_a_torn_edge_is_not_trusted():
    texts = (
        f"{ANSWER}\n\n## How to reset",
        f"the client\n\n{OTHER}\n\n## Ask for more help\n\n{ANSWER} Again.",
    )
    assert queries(("", *texts), torn=True) == ["Ask for more help"]


def test_words_of_chinese_are_counted_without_spaces():
    answer = "服务器启动后会读取配置文件并打开日志然后等待客户端的请求" * 2
    assert asked(("", f"# 启动服务器的方法\n\n{answer}")) == [("启动服务器的方法", answer)]


# --- negatives


def pool(tmp_path, rows):
    """A pool over passages with text, document, split, language and cluster."""
    table = pa.Table.from_pylist(
        [
            {
                "chunk_id": f"{n:04d}",
                "document_id": str(row["document"]),
                "text": row["text"],
                "start": 0,
                "end": len(row["text"]),
            }
            for n, row in enumerate(rows)
        ]
    )
    snapshot = Snapshot.open(build(tmp_path / "indexes", table, OPTIONS).path, "size")
    known = pl.DataFrame(rows).with_columns(
        pl.col("document").cast(pl.UInt32),
        offset=pl.lit(0, pl.UInt32),
        length=pl.col("text").str.len_chars(),
        text_hash=pl.col("text").hash(),
    )
    return Pool(
        snapshot,
        known.select("document", "cluster", "offset", "length", "text_hash", "group"),
        pl.DataFrame(
            {"query_hash": [7], "document": [9]}, schema={"query_hash": pl.UInt64, "document": pl.UInt32}
        ),
    )


def mined(tmp_path, rows, query="reset the vpn", **options):
    """Texts of the negatives of a query whose answer is row 0."""
    found = pool(tmp_path, rows)
    vectors = EMBEDDER.embed([query])
    score = float((vectors * EMBEDDER.embed([rows[0]["text"]])).sum())
    table = pl.DataFrame({"at": [0], "row": [0], "query_hash": [7], "score": [score]}).with_columns(
        pl.col("at", "row").cast(pl.UInt32),
        pl.col("query_hash").cast(pl.UInt64),
        pl.col("score").cast(pl.Float32),
        text_hash=found.passages.get_column("text_hash").head(1),
    )
    hits = mine(found, table, vectors, PairsExport(kind="pairs", **options))
    assert hits.get_column("score").is_sorted(descending=True)
    assert (hits.get_column("score") <= options.get("margin", 0.95) * score + 1e-6).all()
    return [rows[row]["text"] for row in hits.get_column("row")]


def row(text, document, cluster=None, group=1):
    return {
        "text": text,
        "document": document,
        "cluster": document if cluster is None else cluster,
        "group": group,
    }


ROWS = [
    row("reset the vpn client", 0),
    row("reset the router", 1),
    row("the vpn is slow", 2),
    row("the coffee is ready", 3),
    row("roast beans", 4),
]


def test_negatives_are_the_nearest_passages_of_other_documents(tmp_path):
    assert mined(tmp_path, ROWS, negatives=2) == ["reset the router", "the vpn is slow"]
    assert mined(tmp_path, ROWS, negatives=9)[:2] == ["reset the router", "the vpn is slow"]


@pytest.mark.parametrize(
    "other",
    [
        row("reset the vpn tunnel", 0),  # of the same document
        row("reset the vpn tunnel", 5, cluster=0),  # of a near-duplicate
        row("reset the vpn client", 5),  # the same text
        row("reset the vpn", 5),  # nearer than the answer: it may answer too
        row("reset the vpn now", 5, group=2),  # of another split or language
        row("reset the vpn now", 5, group=None),  # nothing to take
        row("reset the vpn now", 9),  # its document has the same query
    ],
)
def test_what_may_answer_is_no_negative(tmp_path, other):
    assert other["text"] not in mined(tmp_path, [*ROWS, other], negatives=3)


def test_the_margin_leaves_out_what_is_nearly_as_similar_as_the_answer(tmp_path):
    scores = {
        text: float((EMBEDDER.embed(["reset the vpn"]) * EMBEDDER.embed([text])).sum())
        for text in ("reset the vpn client", "reset the router")
    }
    ratio = scores["reset the router"] / scores["reset the vpn client"]
    assert "reset the router" in mined(tmp_path / "wide", ROWS, margin=ratio + 0.01)
    assert "reset the router" not in mined(tmp_path / "narrow", ROWS, margin=ratio - 0.01)


def test_equal_negatives_stand_once(tmp_path):
    found = mined(tmp_path, [*ROWS, row("reset the router", 6)], negatives=3)
    assert found.count("reset the router") == 1


def test_a_document_that_fills_the_first_hundred_hits_starves_no_query(tmp_path):
    own = [row(f"reset the vpn client n{n}", 0) for n in range(150)]
    assert mined(tmp_path, [ROWS[0], *own, *ROWS[1:]], negatives=2) == ["reset the router", "the vpn is slow"]


# --- the rows of a lake with a live index

THINGS = ("kettle", "bicycle", "tent", "camera", "piano", "stove", "ladder", "lantern")
TASKS = ("Cleaning the {} before winter", "Replacing worn parts of a {}", "Notes")
RECIPE = """
name = "manuals"
extends = "docs"

[sources.files]
files = "docs.jsonl"
license = "CC0"
access = "public"

[index]
"""


def manual(number, thing):
    sections = [
        f"## {task.format(thing)}\n\nHere the {thing} is what matters. {lakes.text(10 * number + place, 50)}"
        for place, task in enumerate(TASKS)
    ]
    return {"title": f"Manual of the {thing}", "text": "\n\n".join([f"# Manual of the {thing}", *sections])}


def make_lake(folder):
    folder.mkdir()
    lakes.write_jsonl(folder / "docs.jsonl", [manual(number, thing) for number, thing in enumerate(THINGS)])
    (folder / "curate.toml").write_text(RECIPE)
    return folder / "curate.toml"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """A lake with eight manuals and a live index. Nobody may change it."""
    recipe = make_lake(tmp_path_factory.mktemp("pairs") / "lake")
    lakes.run_whole(recipe)
    return recipe


def mine_lake(recipe, validation=(), told=None, **options):
    """Rows of the pairs of a lake, with the title of their document; titles in `validation` are of that split."""
    progress = Told(told) if told is not None else None
    with session_of(
        make_plan(load_recipe(recipe)), recipe.parent / "lake", workers=1, progress=progress
    ) as session:
        head = session.lake.head()
        corpus = corpus_rows(session, head)
        split = (
            pl.when(pl.col("title").is_in(list(validation)))
            .then(pl.lit("validation"))
            .otherwise(pl.lit("train"))
        )
        documents = corpus.select("id", "text_digest", split.alias("split"), cluster="id")
        files = pair_files(session, head, PairsExport(kind="pairs", **options), documents, session.work)
        rows = pl.concat(pl.from_arrow(pq.read_table(file)) for file in files)
        return rows.join(corpus.select("id", "title"), on="id", maintain_order="left")


class Told(Progress):
    def __init__(self, lines):
        self.lines = lines

    def say(self, message):
        self.lines.append(message)


def test_every_heading_and_title_asks_and_is_answered_by_its_section(recipe):
    told = []
    rows = mine_lake(recipe, negatives=3, told=told)
    assert rows.columns[:6] == ["id", "ordinal", "query", "positive", "negatives", "scores"]
    assert rows.select("id", "ordinal").is_unique().all()
    assert set(rows.get_column("query")) == {
        *(f"Cleaning the {thing} before winter" for thing in THINGS),
        *(f"Replacing worn parts of a {thing}" for thing in THINGS),
    }  # "Notes" is of all documents; the title asks for what the first heading asked for already
    assert told == ["Titles and headings that are no queries: 8 of many documents, 8 repeated."]
    for row in rows.iter_rows(named=True):
        thing = row["title"].removeprefix("Manual of the ")
        assert thing in row["query"]
        assert row["positive"].startswith(f"Here the {thing} is what matters.")
        assert "#" not in row["positive"]


def test_negatives_are_of_other_documents_and_less_similar(recipe):
    rows = mine_lake(recipe, negatives=3)
    assert rows.get_column("negatives").list.len().to_list() == [3] * 16
    for row in rows.iter_rows(named=True):
        thing = row["title"].removeprefix("Manual of the ")
        assert not any(thing in negative or "#" in negative for negative in row["negatives"])
        positive, *others = row["scores"]
        assert others == sorted(others, reverse=True)
        assert others[0] <= 0.95 * positive + 1e-6


def test_negatives_never_come_from_another_split(recipe):
    validation = [f"Manual of the {thing}" for thing in THINGS[:4]]
    rows = mine_lake(recipe, validation, negatives=2)
    for row in rows.iter_rows(named=True):
        inside = THINGS[:4] if row["title"] in validation else THINGS[4:]
        assert all(any(thing in negative for thing in inside) for negative in row["negatives"])


def test_without_negatives_nothing_is_mined(recipe):
    rows = mine_lake(recipe, negatives=0)
    assert rows.get_column("negatives").list.len().to_list() == [0] * 16
    assert rows.get_column("scores").list.len().to_list() == [1] * 16


def test_the_same_lake_gives_the_same_rows(recipe):
    assert mine_lake(recipe, negatives=2).equals(mine_lake(recipe, negatives=2))


@pytest.mark.slow
def test_an_index_that_is_older_than_the_corpus_gives_only_what_still_stands(tmp_path):
    recipe = make_lake(tmp_path / "lake")
    lakes.run_whole(recipe)
    rows = [manual(number, thing) for number, thing in enumerate(THINGS)][1:]
    rows[0]["text"] += "\n\nOne sentence more about bicycles."
    lakes.write_jsonl(recipe.parent / "docs.jsonl", rows)
    lakes.run(recipe)  # up to the corpus: the kettle is gone, the text of the bicycle is another
    told = []
    found = mine_lake(recipe, negatives=1, told=told)
    assert set(found.get_column("title")) == {f"Manual of the {thing}" for thing in THINGS[2:]}
    assert not any("kettle" in text or "bicycle" in text for text in found.get_column("negatives").explode())
    assert "The live index is older than the corpus" in told[0]


def test_pairs_need_a_live_index(tmp_path):
    recipe = make_lake(tmp_path / "lake")
    lakes.run(recipe)
    with pytest.raises(IndexingError, match="manuals has no live index") as caught:
        mine_lake(recipe)
    assert "curate run" in caught.value.hint


# --- the files


def shard(negatives=2, rows=3):
    """Rows as the shuffle hands them over; the last one has a negative too few."""
    numbers = range(rows)
    return pa.table(
        {
            "id": [f"d{n}" for n in numbers],
            "source": ["files"] * rows,
            "language": ["en"] * rows,
            "license": ["CC0"] * rows,
            "epoch": pa.array([0] * rows, pa.int32()),
            "tokens": pa.array([0] * rows, pa.int64()),
            "query": [f"query {n}" for n in numbers],
            "positive": [f"positive {n}" for n in numbers],
            "negatives": [[f"negative {n} {k}" for k in range(negatives - (n == rows - 1))] for n in numbers],
        }
    )


@pytest.mark.parametrize(
    ("negatives", "columns"),
    [
        (0, ["anchor", "positive"]),
        (1, ["anchor", "positive", "negative"]),
        (2, ["anchor", "positive", "negative_1", "negative_2"]),
    ],
)
def test_the_columns_of_a_file(tmp_path, negatives, columns):
    options = PairsExport(kind="pairs", negatives=negatives, formats=["parquet", "jsonl"])
    written = write(shard(negatives).slice(0, 2), options, tmp_path / "train", {})
    table = pq.read_table(tmp_path / "train.parquet")
    assert table.column_names == [*columns, "id", "source", "license"]
    assert training_columns(options) == columns
    lines = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert lines == table.to_pylist()
    assert (written.rows, written.taken, written.dropped) == (2, 2, {})
    assert (written.languages, written.sources) == ({"en": 2}, {"files": 2})


def test_a_query_with_too_few_negatives_is_left_out_and_counted(tmp_path):
    options = PairsExport(kind="pairs", negatives=2)
    written = write(shard(), options, tmp_path / "train", {})
    assert pq.read_table(tmp_path / "train.parquet").column("id").to_pylist() == ["d0", "d1"]
    assert (written.rows, written.taken, written.dropped) == (2, 2, {"too few negatives": 1})


@pytest.mark.slow
def test_sentence_transformers_trains_with_the_columns(tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    from indexing.model import read_model

    options = PairsExport(kind="pairs", negatives=2)
    write(shard(), options, tmp_path / "train", {})
    rows = pq.read_table(tmp_path / "train.parquet", columns=training_columns(options)).to_pylist()
    model = SentenceTransformer(str(read_model("all-MiniLM-L6-v2").folder), device="cpu")
    collate = SentenceTransformerDataCollator(model.preprocess)
    batch = collate(rows)
    features = [
        {key.removeprefix(f"{name}_"): value for key, value in batch.items() if key.startswith(f"{name}_")}
        for name in training_columns(options)
    ]
    loss = MultipleNegativesRankingLoss(model)(features, None)
    loss.backward()
    assert 0 < loss.item() < 10


def test_an_export_of_pairs_names_the_columns_for_training(recipe):
    recipe = recipe.with_name("export.toml")
    recipe.write_text(RECIPE + '[exports.pairs]\nkind = "pairs"\nsplits = { validation = 0.3 }\n')
    with session_of(make_plan(load_recipe(recipe)), recipe.parent / "lake", workers=1) as session:
        made = make_export(session, "pairs", pairs=pair_files)
    files = sorted((made.folder / "data").glob("*.parquet"))
    assert sum(split["rows"] for split in made.card["splits"]) == sum(
        pq.read_metadata(file).num_rows for file in files
    )
    assert made.card["configs"][0]["columns"] == ["anchor", "positive", "negative"]
    assert "columns" not in made.card["configs"][1]
    assert (
        "  columns:\n  - anchor\n  - positive\n  - negative\n- config_name: all\n"
        in (made.folder / "README.md").read_text()
    )
