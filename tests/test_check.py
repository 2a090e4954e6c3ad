"""`curate check`: a recipe that cannot lie."""

import json

import pytest

from curate.cli import main
from curate.engine.canaries import check_recipe
from curate.engine.canary_texts import canary_texts
from curate.engine.check_findings import rule_findings
from schemas.answers import RuleFired
from schemas.recipe import build_recipe
from tests.lakes import documents, text, write_jsonl

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    file = tmp_path_factory.mktemp("check") / "sample.jsonl"
    write_jsonl(file, documents(40))
    return file


def tried(sample, extends="docs", **more):
    recipe = build_recipe(
        {
            "name": "tried",
            "extends": extends,
            "sources": {"files": {"files": "x", "keep": {"topic": "string"}}},
        },
        more,
    )
    return check_recipe(recipe, [sample])


def found(check, level="wrong"):
    return {one.place: one.what for one in check.findings if one.level == level}


@pytest.fixture(scope="module")
def sound(sample):
    return tried(
        sample, filtered={"langid": {"drop": {"foreign": "language <> 'en'"}}}, deduplicated={"minhash": {"threshold": 0.9}}
    )  # fmt: skip


@pytest.fixture(scope="module")
def faulty(sample):
    """A recipe with a fault of every kind in its filters."""
    return tried(
        sample,
        filtered={
            "repair": {"unescape_html": False},
            "langid": {"drop": {"foreign": "language = 'english'"}},
            "length": {"drop": {"never": "words < 0", "most": "words = 60", "own": "topic = 'sea' AND source = 'files' AND words < 40"}},
            "gopher_quality": {},
        },
        corpus={"anonymize": {"allow": ["harbour-office.com"]}},
    )  # fmt: skip


def test_a_sound_recipe_has_no_fault_and_catches_what_is_planted(sound):
    assert sound.wrong == 0
    assert {canary.name: canary.passed for canary in sound.canaries} == {
        "an exact copy": True, "a near copy": True, "an e-mail address": True, "a text in another language": True,
    }  # fmt: skip
    assert (sound.documents, sound.kept) == (40, 28)
    (rule,) = [rule for rule in sound.rules if rule.rule == "filtered.length.too_short"]
    assert (rule.failed, rule.canaries[:2]) == (4, ["an empty text", "one word"])


def test_a_rule_that_never_fires_is_a_fault(faulty):
    assert (
        found(faulty)["filtered.length.never"]
        == "never fired: no document of the sample and no canary fails it"
    )
    assert "filtered.length.own" not in found(faulty)  # rules may name sources and columns of one's own


def test_a_rule_that_takes_more_than_half_is_a_fault(faulty):
    assert found(faulty)["filtered.length.most"] == "takes 70 % of the sample"


def test_an_option_without_effect_is_a_note_and_one_with_effect_is_none(faulty, sound):
    assert found(faulty, "note")["filtered.repair.unescape_html"] == "changes nothing on the sample"
    assert "corpus.anonymize.allow" in found(faulty, "note")
    assert "filtered.repair.unescape_html" not in found(sound, "note")


def test_a_step_whose_measurements_nothing_uses_is_a_note(faulty):
    assert (
        found(faulty, "note")["filtered.gopher_quality"] == "has no rule, and nothing uses what it measures"
    )
    assert "filtered.langid" not in found(faulty, "note")


def test_a_rule_on_a_language_must_catch_some_other_one(faulty):
    assert {"filtered.langid.foreign", "the canary a text in another language"} <= set(found(faulty))


def test_an_address_that_stays_is_a_fault(faulty):
    assert found(faulty)["the canary an e-mail address"] == "stands in the corpus"


def test_of_many_rules_that_caught_canaries_alone_three_are_named():
    rules = [
        RuleFired(rule=f"filtered.a.{n}", condition="x", rows=9, failed=0, canaries=["one"]) for n in range(5)
    ]
    (note,) = rule_findings(rules)
    assert (note.level, note.place) == ("note", "filtered.a.0, filtered.a.1, filtered.a.2 and 2 more")


def test_every_finding_says_what_to_do(faulty, sound):
    assert all(one.fix for one in [*faulty.findings, *sound.findings])


def test_a_copy_that_passes_is_a_fault_and_a_threshold_with_effect_no_note(sample):
    check = tried(sample, deduplicated={"exact": False, "minhash": {"threshold": 1.0}})
    assert found(check)["the canary a near copy"].startswith("passes")
    assert "deduplicated.minhash.threshold" not in found(check, "note")


def test_a_recipe_that_keeps_nothing_is_a_fault(sample):
    faults = found(tried(sample, filtered={"length": {"drop": {"all": "words >= 0"}}}))
    assert faults == {
        "filtered.length.all": "takes 100 % of the sample",
        "the sample": "none of its 40 documents is kept",
    }


@pytest.mark.parametrize("name", ["docs", "web", "gopher"])
def test_every_rule_of_a_packaged_recipe_catches_a_canary(name, tmp_path):
    write_jsonl(tmp_path / "sample.jsonl", [{"text": text(n, 200)} for n in range(30)])
    check = tried(tmp_path / "sample.jsonl", name)
    assert [rule.rule for rule in check.rules if not rule.canaries] == []


def test_canaries_have_names_of_their_own_and_are_small():
    texts = canary_texts()
    assert len(texts) > 30
    assert sum(map(len, texts.values())) < 2_000_000


def test_the_command_exits_with_1_where_something_is_wrong(sample, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert main(["check", "docs", "--sample", str(sample)]) == 0
    shown = capsys.readouterr().out
    assert "✓ an exact copy: dropped as a duplicate" in shown
    assert shown.splitlines()[-1].startswith("✓ docs: 0 faults")
    rule = "filtered.length.drop.never=words < 0"
    assert main(["check", "docs", "--sample", str(sample), "--set", rule]) == 1
    assert "✗ filtered.length.never never fired" in capsys.readouterr().out
    assert main(["check", "docs", "--sample", str(sample), "--set", rule, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["findings"][0]["place"] == "filtered.length.never"
    assert list(tmp_path.iterdir()) == []
