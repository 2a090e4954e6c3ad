"""A site that nobody looked at while the stages were written: the same promises as for the example site.

What is true of each page follows from how the site was made (`second_site.py`).
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from curate.lake.care import verify
from tests.lakes import digests
from tests.second_site import HOST, UNFETCHED, second_site
from tests.site_checks import MadeSite, run_site
from tests.sites import Page, serve

pytest.importorskip("scrapy")
pytest.importorskip("trafilatura")

NONE_KEPT = {
    path: [] for path in ("empty.html", "tag/0.html", "tag/1.html", "tag/2.html")
}  # too short to be of use


@pytest.fixture(scope="module")
def site():
    """The site, up; tests that change a page change it back."""
    made = second_site()
    with serve(made.pages) as server:
        server.truth = made.truth
        yield server


@pytest.fixture(scope="module")
def first(site, tmp_path_factory):
    """The report of the first run, and what it made."""
    lake = tmp_path_factory.mktemp("second") / "lake"
    report = run_site(site, HOST, lake)
    return report, MadeSite(lake, HOST, site.truth)


def test_every_page_is_fetched_that_may_be(first):
    report, made = first
    assert made.unfetched() == set()
    assert made.answers["archive/orphan.html"]["depth"] == 0  # only the sitemap names it
    assert made.answers["deep/7.html"]["depth"] == 7
    assert "guide/3.html?utm_source=mail" not in made.answers
    assert {path for path, row in made.answers.items() if row["status"] == 404} == {
        "guide/missing.html",
        "nothing/here.html",
    }
    reasons = {reason.reason: reason.dropped for reason in report.table("pages").reasons}
    assert reasons == {"http_404": 2, "redirect": 4, "noindex": 2, "robots_txt": 1}


def test_redirects_lead_on(first):
    _, made = first
    told = {page.path: made.answers[page.path] for page in made.truth if page.kind == "redirect"}
    assert {path: made.path(row["location"]) for path, row in told.items()} == {
        "home": "", "news": "latest", "latest": "guide/1.html", "start.html": "",
    }  # fmt: skip
    assert {row["status"] for row in told.values()} == {301, 302}
    assert not told.keys() & made.verdicts("documents").keys()


def test_of_what_is_forbidden_only_the_answer_is_known(site, first):
    _, made = first
    assert made.forbidden() == {}
    assert "/staff/rota.html" not in site.paths
    assert UNFETCHED not in made.stored_texts()
    assert UNFETCHED.encode() not in made.bodies()


def test_every_language_is_right(first):
    _, made = first
    count, wrong = made.wrong_languages()
    assert count >= 45
    assert wrong == {}


def test_old_encodings_are_read_right(first):
    _, made = first
    assert {
        made.verdicts("documents")[f"latin/{name}.html"]["digest"]
        for name in ("told", "meta", "silent", "utf8")
    } == {made.verdicts("documents")["latin/told.html"]["digest"]}
    text = made.corpus.filter(made.corpus["url"].str.contains("latin"))["text"].item()
    assert "perché" in text


def test_a_page_without_the_tags_of_head_and_body_is_read(first):
    _, made = first
    assert made.verdicts("documents")["bare/guide/4.html"]["kept"]


def test_one_page_of_every_cluster_is_kept(first):
    _, made = first
    assert made.miscounted_clusters() == NONE_KEPT
    assert made.wrong_twins() == {}
    assert made.verdicts("documents")["empty.html"]["reason"] == "empty_text"
    assert made.verdicts("filtered")["tag/1.html"]["failed"] == ["length.too_short"]


def test_personal_data_is_gone_and_counted(first):
    _, made = first
    assert made.personal_data_left() == set()
    counted = dict.fromkeys(("emails", "phones", "ibans", "ips", "cards"), 0)
    for row in made.corpus.to_arrow()["redactions"].to_pylist():
        counted |= {kind: counted[kind] + count for kind, count in dict(row).items()}
    assert counted == {
        "emails": 3 + 1,
        "phones": 2,
        "ibans": 2,
        "ips": 0,
        "cards": 0,
    }  # one address stands twice


def test_source_and_licence_are_carried(first):
    _, made = first
    for column, value in {"source": "web", "license": "CC0-1.0", "access": "public"}.items():
        assert set(made.corpus[column]) == {value}
    assert set(made.corpus["place"]) == set(made.corpus["url"])


@pytest.fixture
def again(site, first, tmp_path):
    """Runs the site again in a copy of the first run's lake, and puts the pages back at the end."""
    pages = dict(site.pages)
    lake = shutil.copytree(first[1].lake, tmp_path / "lake")

    def run(**source):
        return run_site(site, HOST, lake, **source), MadeSite(lake, HOST, site.truth)

    yield run
    site.pages = pages


@pytest.mark.slow
def test_a_second_run_asks_everything_and_measures_nothing(again, first):
    report, made = again()
    assert {row["status"] for path, row in made.answers.items() if path in made.verdicts("documents")} == {
        304
    }
    assert [table.measured for table in report.tables] == [0] * 5
    assert digests(made.lake) == digests(first[1].lake)


@pytest.mark.slow
def test_a_changed_page_costs_one_document(again, first, site):
    body = site.pages["/deep/3.html"].body
    site.pages["/deep/3.html"] = Page(
        body.replace("</h1>", "</h1><p>From now on the brine is changed on Mondays.</p>")
    )
    report, made = again()
    assert [table.measured for table in report.tables] == [1] * 5
    assert report.table("corpus").changed == 1
    before = first[1].corpus.select("id", "key").join(made.corpus.select("id", "key"), on=["id", "key"])
    assert len(before) == len(made.corpus) - 1
    assert made.corpus.filter(pl.col("url") == HOST + "deep/3.html")["text"].str.contains("on Mondays").all()


@pytest.mark.slow
def test_a_page_that_is_gone_gives_its_place_to_its_copy(again, first, site):
    gone = "guide/1.html"
    assert gone in first[1].kept
    site.pages["/" + gone] = Page("not here any more", status=410)
    report, made = again()
    assert made.kept - first[1].kept == {"mirror/guide/1.html"}
    assert first[1].kept - made.kept == {gone}
    assert report.table("filtered").measured == 0


@pytest.mark.slow
def test_an_error_of_the_server_says_nothing_about_a_page(again, first, site):
    for path in ("/guide/4.html", "/guida/4.html"):
        site.pages[path] = Page("later", status=503, headers={"Retry-After": "0"})
    report, made = again()
    assert made.answers["guide/4.html"]["status"] == 503
    assert digests(made.lake) == digests(first[1].lake)
    assert {reason.reason: reason.dropped for reason in report.table("pages").reasons}["http_503"] == 2


@pytest.mark.slow
def test_what_the_recipe_denies_leaves_the_corpus(again, first):
    report, made = again(deny=["/guida/*"])
    assert not [path for path in made.kept if path.startswith("guida/")]
    assert made.verdicts("deduplicated")["2025/guida/8.html"]["kept"]  # its twin stands no more
    assert report.table("filtered").measured == 0


@pytest.mark.slow
def test_another_seed_makes_another_site_with_the_same_outcome(tmp_path):
    made = second_site(seed=11)
    with serve(made.pages) as server:
        run_site(server, HOST, tmp_path / "lake")
    outcome = MadeSite(tmp_path / "lake", HOST, made.truth)
    assert outcome.miscounted_clusters() == NONE_KEPT
    assert outcome.wrong_languages()[1] == {}
    assert outcome.personal_data_left() == set()


@pytest.mark.slow
def test_a_first_look_at_a_few_pages_does_not_shape_what_comes_after(first, site, tmp_path):
    assert run_site(site, HOST, tmp_path / "lake", limit=5).table("documents").rows == 5
    run_site(site, HOST, tmp_path / "lake")
    assert digests(tmp_path / "lake") == digests(first[1].lake)


CHILD = """
import sys, types
from pathlib import Path
from tests.site_checks import run_site
run_site(types.SimpleNamespace(address=sys.argv[1]), sys.argv[2], Path(sys.argv[3]), delay=0.1)
"""


@pytest.mark.slow
@pytest.mark.parametrize("answered", [1, 20, 45, 60])
def test_a_crawl_that_is_killed_goes_on_where_it_was(answered, first, site, tmp_path):
    lake = tmp_path / "lake"
    del site.requests[:]
    command = [sys.executable, "-c", CHILD, site.address, HOST, str(lake)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[1]) as child:
        while child.poll() is None and len(site.requests) < answered:
            time.sleep(0.02)
        child.kill()
    run_site(site, HOST, lake)
    assert digests(lake) == digests(first[1].lake)
    assert all(check.passed for check in verify(lake))
