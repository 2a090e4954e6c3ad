"""Looking URLs up in block lists: what matches, in whose way, and what a missing list does."""

import gzip

import polars as pl
import pyarrow as pa
import pytest

from curate.engine.stage import Batch, find_stage
from curate.text.entries import make_entries
from schemas.errors import RecipeError
from tests.lakes import make_recipe, run

LISTS = {
    "domains": "# a comment\nblocked.com\nbadsub.nice.com\nhttps://Listed.Example/\nbücher.test\n10.0.0.7\n",
    "urls": "https://nice.com/bad\nwww.other.org/Path/?a=1#part\n",
    "words": "hardword\nbad-phrase\n",
    "soft_words": "softone\nsofttwo\n",
    "sub_words": "subword\n",
}


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lists")
    for name, text in LISTS.items():
        (folder / name).write_text(text)
    return {name: str(folder / name) for name in LISTS}


def measured(urls, options):
    stage = find_stage("url_filter")
    texts = pa.array([""] * len(urls), pa.large_string())
    batch = Batch(texts, {"url": pa.array(urls, pa.large_string())})
    measures = stage.run(batch, stage.options(**options)).measures
    assert [field.type for field in stage.measures] == [measures[field.name].type for field in stage.measures]
    assert not any(array.null_count for array in measures.values())
    rows = zip(*(array.to_pylist() for array in measures.values()), strict=True)
    return [dict(zip(measures, row, strict=True)) for row in rows]


def reason(row):
    """The first reason in datatrove's order."""
    if row["soft_words"] >= 2:
        row = {**row, "soft": True}
    order = ("domain", "host", "page", "hard_word", "soft", "sub_word")
    return next((name for name in order if row.get(name)), "")


@pytest.mark.parametrize(
    ("url", "expected"),
    [  # as datatrove 0.10.1 decides
        ("https://blocked.com/a", "domain"),
        ("https://x.blocked.com/a", "domain"),
        ("https://badsub.nice.com/a", "host"),
        ("https://a.badsub.nice.com/a", ""),
        ("https://nice.com/bad", "page"),
        ("https://nice.com/bad/", ""),
        ("https://nice.com/hardword-x", "hard_word"),
        ("https://nice.com/HARDWORD", ""),
        ("http://BLOCKED.com", ""),
        ("https://nice.com/xhardwordx", ""),
        ("https://nice.com/softone", ""),
        ("https://nice.com/softone/softone", ""),
        ("https://nice.com/softone-softtwo", "soft"),
        ("https://nice.com/sub-word", "sub_word"),
        ("https://nice.com/SUB.WORD/", "sub_word"),
        ("https://nisub.word.com", "sub_word"),
    ],
)
def test_datatrove_s_way(lists, url, expected):
    assert reason(measured([url], {**lists, "dialect": "datatrove"})[0]) == expected


@pytest.mark.parametrize(
    ("url", "expected", "matched"),
    [
        ("https://x.y.blocked.com/a", "domain", "blocked.com"),
        ("http://user@BLOCKED.com.:8080", "domain", "blocked.com"),
        ("https://a.badsub.nice.com/", "domain", "badsub.nice.com"),  # all domains above a host
        ("https://notblocked.com/", "", ""),
        ("https://listed.example", "domain", "listed.example"),  # entries are spelled as URLs are
        ("https://www.Bücher.test/", "domain", "xn--bcher-kva.test"),
        ("https://xn--bcher-kva.test/", "domain", "xn--bcher-kva.test"),
        ("http://10.0.0.7/", "domain", "10.0.0.7"),
        ("http://1.10.0.0.7/", "", ""),  # numbers are no domains above each other
        ("http://nice.com:80/bad/#top", "page", "nice.com/bad"),
        ("https://nice.com/Bad", "", ""),  # paths have a case
        ("https://www.other.org/Path?a=1", "page", "www.other.org/Path?a=1"),
        ("https://nice.com/HardWord", "hard_word", "hardword"),
        ("https://nice.com/bad_phrase.html", "hard_word", "bad phrase"),
        ("https://nice.com/bad/phrase?no=badphrase", "hard_word", "bad phrase"),
        ("https://nice.com/badphrase", "", ""),
        ("https://nice.com/SoftOne,softtwo", "soft", "softone softtwo"),
        ("https://nice.com/a-sub/word", "sub_word", "subword"),
    ],
)
def test_the_plain_way(lists, url, expected, matched):
    (row,) = measured([url], lists)
    assert (reason(row), row["matched"]) == (expected, matched)
    assert not row["malformed"]


def test_no_url_is_not_malformed_and_matches_nothing(lists):
    for dialect in ("plain", "datatrove"):
        rows = measured(
            ["", "not a url", "https://", "http://a b/", "http://[::1]/", "localhost:80/x"],
            {**lists, "dialect": dialect},
        )
        assert [row["malformed"] for row in rows] == [False, True, True, True, False, False]
        assert not any(reason(row) for row in rows)


def test_without_lists_nothing_matches_and_a_row_is_that_of_its_url_alone(lists):
    urls = ["https://blocked.com/", "", "https://nice.com/softone", "https://blocked.com/", "ä b"]
    assert not any(reason(row) for row in measured(urls, {}))
    assert measured(urls, lists) == [measured([url], lists)[0] for url in urls]
    assert measured([], lists) == []


def test_a_packed_list_is_the_same_list(lists, tmp_path):
    packed = tmp_path / "domains.gz"
    packed.write_bytes(gzip.compress(LISTS["domains"].encode()))
    urls = ["https://blocked.com/", "https://nice.com/"]
    assert measured(urls, {"domains": str(packed)}) == measured(urls, {"domains": lists["domains"]})


def test_a_large_list_is_looked_up_exactly():
    entries = make_entries(pl.Series([f"site{n}.example" for n in range(200_000)] * 2))
    keys = pl.Series([f"site{n}.example" for n in range(199_990, 200_010)] + ["", "zz"])
    assert len(entries) == 200_000
    assert entries.has(keys).to_list() == [True] * 10 + [False] * 12


@pytest.mark.parametrize(
    ("content", "message"), [(None, "cannot be read"), (b"\xff\xfe\x00", "no UTF-8 text")]
)
def test_a_list_that_is_none_is_told(tmp_path, content, message):
    path = tmp_path / "domains.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecipeError, match=message):
        measured(["https://a.example/"], {"domains": str(path)})


@pytest.mark.slow
def test_a_run_tells_a_missing_list_before_the_first_document_and_notices_a_changed_one(tmp_path):
    recipe = make_recipe(tmp_path, count=12)
    text = (
        recipe.read_text()
        + '\n[filtered.url_filter]\ndomains = "lists/domains.txt"\ndrop.domain = "domain"\n'
    )
    recipe.write_text(text)
    with pytest.raises(RecipeError, match=r"lists/domains\.txt cannot be read"):
        run(recipe)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "domains.txt").write_text("blocked.com\n")
    assert run(recipe).table("filtered").measured > 0
    assert run(recipe).table("filtered").measured == 0
    (tmp_path / "lists" / "domains.txt").write_text("other.com\n")
    assert run(recipe).table("filtered").measured > 0
