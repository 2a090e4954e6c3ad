"""The site of `make demo`, from its pages to the corpus, held against what is known about each page.

`data/example-site-truth.jsonl` was written when the site was put together: path, language, kind, cluster
(pages of which one is enough) and the e-mail addresses on the page. What is tolerated has a name here.
"""

import json
import shutil
from pathlib import Path

import pytest

from tests.lakes import digests
from tests.site_checks import MadeSite, Truth, run_site
from tests.sites import Page, serve

pytest.importorskip("scrapy")
pytest.importorskip("trafilatura")

pytestmark = pytest.mark.slow  # test_second_site.py holds the same promises in seconds

HOST = "http://docs.example.test/"
EXAMPLE = Path(__file__).parents[1] / "examples" / "site"
TRUTH = Path(__file__).parent / "data" / "example-site-truth.jsonl"

# Clusters of which nothing is kept, and why that is right.
NONE_KEPT = {
    "misc/empty.html": "no text",
    **dict.fromkeys(
        [
            "misc/construction.html",
            "misc/login.html",
            "misc/test.html",
            *[f"tag/t{n}.html" for n in range(8)],
        ],
        "junk and listings of fewer than ten words",
    ),
    **dict.fromkeys(
        [
            "pg:tutorial-advanced.html",
            "pg:tutorial-sql.html",
            "pg:tutorial-start.html",
            "python/faq/index.html",
        ],
        "a heading and a table of contents: links are no text, and the heading is shorter than ten words",
    ),
}
# Clusters of which two pages are kept: the print version of a short page differs from it by a fifth.
TWO_KEPT = {"apache:en:howto/public_html.html", "apache:en:vhosts/index.html"}
# Little but links and names of languages: too little text to tell its language, and alike in all of them.
CONTENTS = {
    f"manual/{language}/index.html"
    for language in ("da", "de", "en", "es", "fr", "ja", "ko", "pt-br", "ru", "tr", "zh-cn")
}


def truth():
    rows = [json.loads(line) for line in TRUTH.read_text().splitlines()]
    pages = [
        Truth(
            row["path"],
            row["kind"],
            row["lang"],
            row["cluster"] or "",
            tuple(row["emails"]),
            row["text_chars"],
        )
        for row in rows
    ]
    return [*pages, Truth("", "listing", "en", "index.html")]  # "/" is served as well


@pytest.fixture(scope="module")
def site():
    with serve(EXAMPLE) as server:
        yield server


@pytest.fixture(scope="module")
def made(site, tmp_path_factory):
    """The site, run once."""
    lake = tmp_path_factory.mktemp("example") / "lake"
    report = run_site(site, HOST, lake)
    assert not [note for table in report.tables for note in table.notes if "stopped answering" in note]
    return MadeSite(lake, HOST, truth())


def test_every_page_is_fetched_that_may_be(made):
    assert len(made.truth) == 380 + 1
    assert made.unfetched() == set()
    assert made.answers["start.html"]["status"] == 302
    assert made.answers["start.html"]["location"] == HOST + "index.html"


def test_of_what_is_forbidden_only_the_answer_is_known(made, site):
    assert made.forbidden() == {}
    assert "/private/staff.html" not in site.paths
    assert "secret.person" not in made.stored_texts()
    assert b"draft.author" not in made.bodies()


def test_languages_are_right(made):
    count, wrong = made.wrong_languages()
    assert count > 340
    assert len(wrong) <= 0.02 * count
    assert wrong.keys() <= CONTENTS


def test_one_page_of_every_cluster_is_kept(made):
    clusters = {page.cluster for page in made.truth if page.path in CONTENTS}
    found = {cluster: kept for cluster, kept in made.miscounted_clusters().items() if cluster not in clusters}
    assert {cluster for cluster, kept in found.items() if not kept} == set(NONE_KEPT)
    assert {cluster for cluster, kept in found.items() if kept} == TWO_KEPT


def test_every_copy_names_a_page_like_it(made):
    assert {path for path in made.wrong_twins() if path not in CONTENTS} == set()


def test_no_address_is_left(made):
    assert sum(len(page.secrets) for page in made.truth) > 25
    assert made.personal_data_left() == set()


def test_source_and_licence_are_carried(made):
    assert set(made.corpus["source"]) == {"web"}
    assert set(made.corpus["license"]) == {"CC0-1.0"}


def test_a_second_run_measures_nothing_and_a_changed_page_costs_one_document(made, site, tmp_path):
    lake = shutil.copytree(made.lake, tmp_path / "lake")
    report = run_site(site, HOST, lake)
    again = MadeSite(lake, HOST, made.truth)
    assert {again.answers[path]["status"] for path in again.verdicts("documents")} == {304}
    assert [table.measured for table in report.tables] == [0] * 5
    assert digests(lake) == digests(made.lake)

    path = "/python/tutorial/venv.html"
    page = site.pages[path]
    try:
        changed = page.data.replace(
            b"</h1>", b"</h1><p>From now on a module is loaded before it is named.</p>", 1
        )
        site.pages[path] = Page(changed, page.type)
        report = run_site(site, HOST, lake)
    finally:
        site.pages[path] = page
    assert [table.measured for table in report.tables] == [1] * 5
    before = made.corpus.select("id", "key").join(
        MadeSite(lake, HOST, []).corpus.select("id", "key"), on=["id", "key"]
    )
    assert len(before) == len(made.corpus) - 1
