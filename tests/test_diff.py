"""`curate diff`: what lies between two versions or recipes, and what moved each document."""

import json
import shutil

import pytest

from curate.cli import main
from curate.engine.diff import difference
from curate.lake.care import gc, tag
from curate.lake.lake import Lake
from schemas.errors import LakeError, UsageError
from tests.lakes import RECIPE, make_recipe, run, text


def page(folder, name, words):
    (folder / "pages" / f"{name}.md").write_text(words)


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """Two versions: pages that stay, come, go and change, and a rule that is tighter; the first is tagged."""
    folder = tmp_path_factory.mktemp("diff")
    (folder / "pages").mkdir()
    recipe = make_recipe(
        folder, RECIPE.replace("docs.jsonl", "pages").replace('keep = { topic = "string" }', "")
    )
    for n in range(6):
        page(folder, f"stays{n}", f"# Stays\n\n{text(n)}\n")
    page(folder, "gone", text(20))
    page(folder, "edited", text(21))
    page(folder, "shrinks", text(22))
    page(folder, "brief", text(23, 20))
    page(folder, "keeper", text(24))
    page(folder, "mail", f"{text(25)} Write to a@harbour.example.")
    run(recipe)
    tag(folder / "lake", "harbour", "first")
    (folder / "pages" / "gone.md").unlink()
    page(folder, "edited", text(31))
    page(folder, "shrinks", "Three short words.")
    page(folder, "twin", text(24))
    page(folder, "a-new", text(32))
    recipe.write_text(
        recipe.read_text()
        + '[filtered.length]\ndrop.too_short = "words < 30"\n[corpus.anonymize]\nallow = ["a@harbour.example"]\n'
    )
    run(recipe)
    return folder


def causes(found):
    return {
        (moved.how, moved.cause, moved.by): sorted(one.place.split("/")[-1] for one in moved.sample)
        for moved in found.moved
    }


def test_every_document_that_moved_has_its_cause(versions):
    found = difference(versions / "lake", "harbour", "5")
    assert causes(found) == {
        ("added", "new page", ""): ["a-new.md"],
        ("removed", "gone page", ""): ["gone.md"],
        ("removed", "changed page", "filtered.length.too_short"): ["shrinks.md"],
        ("removed", "rule", "filtered.length.too_short"): ["brief.md"],
        ("rewritten", "changed page", ""): ["edited.md"],
        ("rewritten", "step", "corpus.anonymize"): ["mail.md"],
    }
    assert (found.added, found.removed, found.rewritten) == (1, 3, 2)
    assert (found.documents_a, found.documents_b) == (12, 10)


def test_the_way_back_adds_what_was_removed(versions):
    newest = str(Lake(versions / "lake").head().seq)
    found = difference(versions / "lake", "", newest, "first")
    assert found.b == "first"
    assert causes(found)["added", "rule", "filtered.length.too_short"] == ["brief.md"]
    assert causes(found)["added", "changed page", "filtered.length.too_short"] == ["shrinks.md"]
    assert causes(found)["added", "new page", ""] == ["gone.md"]
    assert (found.added, found.removed, found.rewritten) == (3, 1, 2)


def test_a_version_does_not_differ_from_itself(versions):
    assert difference(versions / "lake", "harbour", "first", "5").moved == []
    assert difference(versions / "lake", "harbour", str(Lake(versions / "lake").head().seq)).moved == []


def test_a_duplicate_names_the_document_that_stands_for_it(versions):
    (versions / "twins.toml").write_text(
        (versions / "curate.toml").read_text() + "[deduplicated]\nexact = false\nminhash = false\n"
    )
    found = difference(versions / "lake", "harbour", str(versions / "twins.toml"))
    (moved,) = found.moved
    assert (moved.how, moved.cause, moved.by) == ("removed", "duplicate", "deduplicated.exact.duplicate")
    assert moved.sample[0].place.endswith("twin.md")
    assert moved.sample[0].twin.endswith("keeper.md")
    assert found.unmeasured > 0  # the copy never came so far as to be anonymized


def test_what_a_recipe_would_do_is_what_a_run_does(versions, tmp_path):
    lake = tmp_path / "lake"
    shutil.copytree(versions / "lake", lake)
    strict = versions / "strict.toml"
    strict.write_text((versions / "curate.toml").read_text().replace("words < 30", "words < 61"))
    before = str(Lake(lake).head().seq)
    foretold = difference(lake, "harbour", before, str(strict))
    run(strict, lake)
    done = difference(lake, "harbour", before)
    assert causes(foretold) == causes(done)
    assert foretold.removed == done.removed > 0


def test_what_is_neither_version_nor_recipe_is_said_to_be_so(versions):
    with pytest.raises(UsageError, match='"frist" is no version, tag or recipe'):
        difference(versions / "lake", "harbour", "frist")
    with pytest.raises(UsageError, match="no version 99"):
        difference(versions / "lake", "harbour", "99")
    with pytest.raises(UsageError, match="holds no corpus"):
        difference(versions / "lake", "harbour", "1")


def test_a_version_that_gc_took_is_said_to_be_gone(versions, tmp_path):
    lake = tmp_path / "lake"
    shutil.copytree(versions / "lake", lake)
    run(
        versions / "curate.toml",
        lake,
        overrides={"filtered": {"length": {"drop": {"too_short": "words < 70"}}}},
    )
    untagged = str(Lake(lake).head().seq - 3)
    gc(lake, 1)
    with pytest.raises(LakeError, match="is gone") as error:
        difference(lake, "harbour", untagged)
    assert "curate lake gc took it" in error.value.hint
    assert difference(lake, "harbour", "first").removed > 0  # a tagged one stays


def test_the_command_shows_causes_and_samples(versions, capsys):
    capsys.readouterr()
    assert main(["diff", "first", "--lake", str(versions / "lake")]) == 0
    shown = capsys.readouterr().out
    assert "1  removed    filtered.length.too_short" in shown
    assert "changed page; filtered.length.too_short dropped it now" in shown
    assert shown.splitlines()[-1].endswith("(12 and 10 documents): 1 added, 3 removed, 2 rewritten.")
    assert main(["diff", "first", "--lake", str(versions / "lake"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["a"], found["removed"]) == ("first", 3)
