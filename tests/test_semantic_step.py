"""The step `semantic`: texts that say the same in other words, through a real embedder and the whole engine."""

import numpy as np
import pyarrow as pa
import pytest

from curate.engine.explain import explain
from curate.engine.plan import make_plan
from curate.engine.preview import preview
from curate.engine.run import session_of
from curate.export.clusters import with_clusters
from curate.lake.lake import Lake
from indexing import semantic
from indexing.embedder import open_embedder
from schemas.errors import IndexingError, RecipeError
from schemas.recipe import build_recipe, load_recipe
from tests.lakes import run, write_jsonl

BACKUP = (
    "Before you upgrade the server, make a full backup of the database. The upgrade changes the format of the tables, "
    "and there is no way back without a copy made before. Keep the copy on another machine until you have checked that "
    "everything works."
)
BACKUP_AGAIN = (
    "Make a complete backup of your database before upgrading the server. The format of the tables is changed by the "
    "upgrade, and without a copy made beforehand you cannot go back. Until you have verified that all is working, keep "
    "that copy on a different machine."
)
BACKUP_GERMAN = (
    "Machen Sie vor der Aktualisierung des Servers eine vollständige Sicherung der Datenbank. Die Aktualisierung ändert "
    "das Format der Tabellen, und ohne eine vorher angelegte Kopie gibt es keinen Weg zurück. Bewahren Sie die Kopie auf "
    "einem anderen Rechner auf, bis Sie geprüft haben, dass alles funktioniert."
)
RESTORE = (
    "If an upgrade of the server has failed, restore the database from your backup. The old version of the program reads "
    "the tables from the copy as they were; what was written since then is lost."
)
BREAD = (
    "Mix the flour with water, salt and yeast and knead the dough for ten minutes. Let it rise in a warm place for an "
    "hour, then shape a loaf and bake it at 220 degrees for forty minutes."
)
RECIPE = """
name = "words"
order = ["documents", "filtered", "deduplicated", "corpus"]
[documents.extract]
[filtered.length]
[deduplicated.semantic]
{options}
[sources.posts]
files = "posts.jsonl"
keep = {{ dump = "string" }}
"""
ROWS = [
    {"text": BACKUP, "dump": "a"},
    {"text": BACKUP_GERMAN, "dump": "a"},
    {"text": BACKUP_AGAIN, "dump": "b"},
    {"text": RESTORE, "dump": "a"},
    {"text": BREAD, "dump": "b"},
]


def make(folder, options="", rows=ROWS):
    folder.mkdir(exist_ok=True)
    write_jsonl(folder / "posts.jsonl", rows)
    (folder / "curate.toml").write_text(RECIPE.format(options=options))
    return folder / "curate.toml"


def verdicts(folder):
    """Verdicts by the number of the row, from 1."""
    lake = Lake(folder / "lake")
    places = lake.read("words", "verdicts/documents").select("id", "place")
    rows = lake.read("words", "verdicts/deduplicated").join(places, on="id").collect()
    number = {row["id"]: int(row["place"].partition("#")[2]) for row in rows.to_dicts()}
    return {
        number[row["id"]]: {**row, "duplicate_of": number.get(row["duplicate_of"])} for row in rows.to_dicts()
    }


def kept(folder):
    return sorted(number for number, row in verdicts(folder).items() if row["kept"])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("semantic")
    report = run(make(folder))
    return folder, report


def test_a_paraphrase_goes_and_a_translation_and_another_matter_stay(made):
    folder, _ = made
    assert kept(folder) == [1, 2, 4, 5]
    gone, stays = verdicts(folder)[3], verdicts(folder)[1]
    assert (gone["step"], gone["reason"], gone["duplicate_of"]) == ("semantic", "semantic_duplicate", 1)
    one, two = open_embedder("all-MiniLM-L6-v2").embed([BACKUP, BACKUP_AGAIN])
    assert gone["similarity"] == pytest.approx(float(one @ two), abs=1e-5)
    assert (gone["band"], gone["estimate"], stays["stands_for"]) == (-1, 0, 2)


def test_the_report_counts_pairs_and_what_exact_comparison_of_a_sample_finds(made):
    table = made[1].table("deduplicated")
    assert table.counts["semantic_pairs"] == 1
    assert (table.measured, table.reused) == (5, 0)
    check = table.check("semantic_recall")
    assert check.passed
    assert (check.numbers["pairs"], check.numbers["found"]) == (1, 1)
    assert table.step_seconds.keys() == {"semantic"}


def test_why_tells_the_cosine_and_the_threshold_that_would_keep_it(made, capsys):
    folder, _ = made
    answer = explain(folder / "lake", "words", "posts.jsonl#3")
    assert (answer.measure, answer.reason) == ("cosine", "semantic_duplicate")
    assert 0.95 < answer.similarity < 0.98
    assert "threshold = 0.97" in answer.to_keep
    from curate.cli import main

    main(["why", "posts.jsonl#3", "--lake", str(folder / "lake")])
    assert f"cosine {answer.similarity:.3f}" in capsys.readouterr().out


def test_a_second_run_embeds_nothing_and_changes_nothing(made):
    folder, _ = made
    before = Lake(folder / "lake").head()
    again = run(folder / "curate.toml")
    assert Lake(folder / "lake").head().seq == before.seq
    assert (again.table("deduplicated").measured, again.table("deduplicated").reused) == (0, 5)


def test_a_plan_embeds_nothing_and_says_what_a_run_would(made):
    folder, _ = made
    content = Lake(folder / "lake").head().fingerprints["words/deduplicated/semantic/document_vectors"]
    rows = [*ROWS, {"text": "A text that nobody has embedded so far.", "dump": "a"}]
    plain = load_recipe(folder / "curate.toml", {"deduplicated": {"semantic": {"threshold": 0.99}}})
    judged = preview(make_plan(plain), folder / "lake").tables
    table = next(one for one in judged if one.table == "deduplicated")
    assert (table.kept, table.would_measure, table.comes_back) == (5, 0, 1)
    other = folder.parent / "other"
    report = run(make(other, "", rows), overrides={"deduplicated": {"semantic": False, "exact": {}}})
    assert report.table("deduplicated").kept == 6
    planned = preview(make_plan(load_recipe(other / "curate.toml")), other / "lake").tables
    table = next(one for one in planned if one.table == "deduplicated")
    assert (table.kept, table.would_measure) == (6, 6)
    assert not (other / "lake" / "content" / "document_vectors" / content).exists()


@pytest.mark.slow
def test_the_keeper_decides_and_a_deletion_promotes(tmp_path):
    recipe = make(tmp_path, 'keeper = "longest"\nthreshold = 0.9')
    run(recipe)
    assert kept(tmp_path) == [2, 3, 4, 5]  # the paraphrase is longer than what it says again
    write_jsonl(tmp_path / "posts.jsonl", [row for row in ROWS if row["text"] != BACKUP_AGAIN])
    assert run(recipe).table("deduplicated").measured == 0
    assert kept(tmp_path) == [1, 2, 3, 4]


@pytest.mark.slow
def test_groups_are_compared_by_themselves_and_a_text_without_a_word_with_none(tmp_path):
    empty = [{"text": " ", "dump": "a"}, {"text": "\n", "dump": "a"}]
    run(make(tmp_path, 'within = "dump"', [*ROWS, *empty]))
    found = verdicts(tmp_path)
    assert all(row["kept"] for number, row in found.items())
    assert run(tmp_path / "curate.toml").table("deduplicated").measured == 0


def test_two_texts_that_a_dropped_one_joins_are_not_parted_by_a_split(tmp_path):
    sentences, again = BACKUP.split(". "), BACKUP_AGAIN.split(". ")
    between = ". ".join(
        [sentences[0], again[1], sentences[2]]
    )  # 0.98 and more to both, which are 0.96 to each other
    rows = [{"text": text, "dump": "a"} for text in (BACKUP, between, BACKUP_AGAIN, RESTORE, BREAD)]
    recipe = make(tmp_path, "threshold = 0.975", rows)
    run(recipe)
    assert kept(tmp_path) == [1, 3, 4, 5]
    plan = make_plan(load_recipe(recipe))
    with session_of(plan, tmp_path / "lake", workers=1) as session:
        stands = session.lake.read("words", "corpus").select("id", "text_digest").collect()
        rows = with_clusters(session, session.lake.head(), plan, stands)
    number = {row["id"]: number for number, row in verdicts(tmp_path).items()}
    cluster = {number[row["id"]]: row["cluster"] for row in rows.to_dicts()}
    assert cluster[1] == cluster[3]
    assert len(set(cluster.values())) == 3


def test_all_of_a_long_text_counts_not_its_beginning_alone():
    embedder = open_embedder("all-MiniLM-L6-v2")
    same = " ".join(f"Clause {n}: the licence is granted as is, without warranty." for n in range(30))
    texts = [f"{same} {' '.join([BREAD] * 12)}", f"{same} {' '.join([BACKUP] * 12)}", " ", BREAD]
    passages, vectors = semantic.document_vectors(pa.array(texts, pa.large_string()), embedder)
    assert passages.tolist()[2:] == [0, 1]
    assert passages[0] > 2
    assert len(vectors) == 3
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert vectors[0] @ vectors[1] < 0.9  # the first passage is the same: 422 tokens are
    np.testing.assert_allclose(vectors[2], embedder.embed([BREAD])[0], atol=1e-6)


def test_what_differs_in_numbers_alone_is_the_same_to_an_embedder():
    notice = "The office in Leeds is open from {} to {} on weekdays. Call {} to make an appointment with the service team."
    one, two = open_embedder("all-MiniLM-L6-v2").embed(
        [notice.format(9, 17, "555 0101"), notice.format(8, 20, "555 0199")]
    )
    assert one @ two > 0.98  # docs/dedup.md warns of it


def test_options_are_held_before_the_first_document(tmp_path):
    from indexing.way import check_way

    base = {
        "name": "words",
        "order": ["documents", "deduplicated", "corpus"],
        "sources": {"a": {"files": "a"}},
    }
    with pytest.raises(RecipeError, match="threshold"):
        make_plan(build_recipe({**base, "deduplicated": {"semantic": {"threshold": 1.2}}}))
    plan = make_plan(build_recipe({**base, "deduplicated": {"semantic": {"embedder": str(tmp_path)}}}))
    with pytest.raises(IndexingError, match="no model"):
        check_way(plan)
