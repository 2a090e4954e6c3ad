"""Labelling at the edge of a rule: what is shown, what keys do, what labels say, and other tools' files."""

import json
import os
import pty
import subprocess
import sys

import pytest

from curate.cli import main
from curate.engine.annotations import append_labels, export_cases, import_labels, read_labels
from curate.engine.labels import Labelled, find_cases, judge_labels
from schemas.errors import LakeError, UsageError
from tests.lakes import make_recipe, run, text, write_jsonl

RULE = '\n[filtered.length]\ndrop.short = "words < 40"\ndrop.dense = "words < 30 AND characters > 5000"\n'


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """Documents of 21, 22 ... 60 words, and a rule that drops those of fewer than 40."""
    folder = tmp_path_factory.mktemp("label")
    write_jsonl(folder / "docs.jsonl", [{"text": text(n, n), "id": str(n)} for n in range(21, 61)])
    recipe = make_recipe(folder)
    recipe.write_text(recipe.read_text() + RULE)
    run(recipe, overrides={"filtered": {"length": {"drop": {"too_short": False}}}})
    return folder / "lake"


def labelled(value, label, **more):
    case = {"rule": "filtered.length.short", "measure": "words", "op": "<", "limit": 40.0, "text": "t"}
    return Labelled(**{**case, "id": f"doc-{value}", "value": float(value), **more}, label=label)


def test_the_documents_nearest_to_a_limit_come_first_from_both_sides(lake):
    cases = find_cases(lake, "", "filtered.length.short", count=6)
    assert sorted(case.value for case in cases[:2]) == [39, 40]
    assert sorted(case.value for case in cases) == [37, 38, 39, 40, 41, 42]
    assert [case.dropped for case in cases].count(True) == 3
    assert all(len(case.text.split()) == case.value for case in cases)
    again = find_cases(
        lake, "", "filtered.length.short", count=2, known=[(case.id, case.rule) for case in cases[:2]]
    )
    assert [(case.id, case.value) for case in again] == [(case.id, case.value) for case in cases[2:4]]


def test_a_step_stands_for_all_limits_of_its_rules(lake):
    cases = find_cases(lake, "", "filtered.length", count=60)
    assert {(case.rule.split(".")[-1], case.measure) for case in cases} == {
        ("short", "words"),
        ("dense", "words"),
        ("dense", "characters"),
    }
    assert {(case.rule.split(".")[-1], case.measure) for case in cases[:4]} >= {
        ("short", "words"),
        ("dense", "words"),
    }


def test_what_has_no_edge_is_told(lake, tmp_path):
    with pytest.raises(UsageError, match="is no step or rule") as caught:
        find_cases(lake, "", "filtered.lenght", count=5)
    assert "filtered.length" in caught.value.hint
    with pytest.raises(LakeError):
        find_cases(tmp_path / "none", "", "filtered.length", count=5)


def test_precision_and_a_better_limit():
    # People keep from 33 words on; the rule drops below 40.
    labels = [labelled(value, "keep" if value >= 33 else "drop") for value in range(25, 50)]
    (found,) = judge_labels(labels)
    assert (found.labelled, found.dropped, found.errors) == (25, 15, 7)
    assert found.precision == pytest.approx(8 / 15)
    assert found.kept_right == 1
    assert (found.suggested, found.errors_suggested) == (33, 0)
    (found,) = judge_labels([labelled(value, "keep" if value >= 40 else "drop") for value in range(25, 50)])
    assert (found.suggested, found.errors, found.precision) == (None, 0, 1)
    (few,) = judge_labels(labels[4:10])
    assert few.suggested is None, "six labels say little"
    (high,) = judge_labels(
        [labelled(value, "drop" if value > 45 else "keep", op=">", limit=30.0) for value in range(25, 60)]
    )
    assert (high.suggested, high.errors_suggested) == (45, 0)


def test_the_last_label_of_a_document_counts_and_the_newest_limit():
    labels = [labelled(30, "keep"), labelled(30, "drop"), labelled(50, "keep", limit=35.0)]
    (found,) = judge_labels(labels)
    assert (found.labelled, found.errors, found.limit) == (2, 0, 35)


def test_labels_are_a_file_for_train_classifier_too(tmp_path):
    path = tmp_path / "labels.jsonl"
    assert read_labels(path) == []
    labels = [labelled(30, "drop", text="two\nlines"), labelled(50, "keep")]
    assert append_labels(path, labels) == 2
    path.open("a").write('\n{"text": "somebody else\'s", "label": "keep"}\n')
    assert read_labels(path) == labels
    assert list(json.loads(path.read_text().splitlines()[0]))[:5] == ["id", "text", "label", "rule", "value"]
    path.open("a").write("{\n")
    with pytest.raises(UsageError, match=r"labels\.jsonl, line 5 is no JSON"):
        read_labels(path)


def test_label_studio_gives_back_what_it_was_given(lake, tmp_path):
    cases = find_cases(lake, "", "filtered.length", count=4)
    export_cases(tmp_path / "tasks.json", cases, "label-studio")
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    assert tasks[0]["data"]["text"] == cases[0].text

    def annotation(choice, **more):
        value = {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": [choice]}}
        return {"result": [value], **more}

    tasks[0]["annotations"] = [annotation("keep"), annotation("drop"), annotation("keep", was_cancelled=True)]
    tasks[1]["annotations"] = [annotation("maybe")]
    tasks[2]["annotations"] = []
    (tmp_path / "back.json").write_text(json.dumps(tasks))
    labels, without = import_labels(tmp_path / "back.json")
    assert labels == [Labelled(**vars(cases[0]), label="drop")]
    assert without == 3
    with pytest.raises(UsageError, match="is there"):
        export_cases(tmp_path / "tasks.json", cases, "label-studio")


def test_argilla_gives_back_what_it_was_given(lake, tmp_path):
    cases = find_cases(lake, "", "filtered.length", count=4)
    export_cases(tmp_path / "records.json", cases, "argilla")
    records = json.loads((tmp_path / "records.json").read_text())
    assert len({record["id"] for record in records}) == 4
    facts = [{key: value for key, value in record.items() if key not in ("id", "text")} for record in records]
    nested = {
        "id": records[0]["id"],
        "fields": {"text": records[0]["text"]},
        "metadata": facts[0],
        "responses": {"label": [{"value": "keep", "user_id": "1"}]},
    }
    flat = {**records[1], "label.responses": ["drop"], "label.responses.users": ["1"]}
    prefixed = {f"metadata.{key}": value for key, value in facts[2].items()}
    prefixed |= {"id": records[2]["id"], "text": records[2]["text"], "label.responses": None}
    (tmp_path / "back.json").write_text(json.dumps([nested, flat, prefixed]))
    labels, without = import_labels(tmp_path / "back.json")
    assert labels == [Labelled(**vars(cases[0]), label="keep"), Labelled(**vars(cases[1]), label="drop")]
    assert without == 1
    for wrong in ("{}", "[1]", "no"):
        (tmp_path / "back.json").write_text(wrong)
        with pytest.raises(UsageError, match=r"back\.json"):
            import_labels(tmp_path / "back.json")


@pytest.mark.slow
def test_the_command_in_a_pipe(lake, tmp_path):
    command = [sys.executable, "-m", "curate", "label", "--lake", str(lake), "-o", "labels.jsonl"]
    near = [*command, "--near", "filtered.length.short", "--limit", "4"]
    done = subprocess.run(
        near, input="k\nx\nd\ns\n", capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 keep, 1 drop, 1 skipped: labels.jsonl")  # the end of the pipe stops
    assert "1 of 4  filtered.length.short" in done.stderr
    assert "drops < 40" in done.stderr
    labels = read_labels(tmp_path / "labels.jsonl")
    assert [one.label for one in labels] == ["keep", "drop"]
    again = subprocess.run(near, input="q\n", capture_output=True, text=True, cwd=tmp_path, check=False)
    assert again.stdout.startswith("0 keep, 0 drop, 0 skipped")
    assert not any(one.text[:60] in again.stderr for one in labels), "what is labelled is not shown again"


@pytest.mark.slow
def test_one_key_is_enough_in_a_terminal(lake, tmp_path):
    outside, inside = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "curate",
        "label",
        "--lake",
        str(lake),
        "--near",
        "filtered.length.short",
    ]
    process = subprocess.Popen(
        command, stdin=inside, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    os.write(outside, b"kxdq")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.startswith("1 keep, 1 drop, 0 skipped")
    os.close(outside)
    os.close(inside)


def test_the_report_and_wrong_calls(lake, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    append_labels(
        tmp_path / "labels.jsonl", [labelled(n, "keep" if n >= 33 else "drop") for n in range(25, 50)]
    )
    assert main(["label", "--report"]) == 0
    shown = capsys.readouterr().out
    assert "dropped rightly 53% of 15, kept rightly 100% of 10; 7 labels against it" in shown
    assert "words < 33 would have 0 against it" in shown
    assert main(["label", "--report", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["suggested"] == 33
    assert main(["label", "--near", "filtered.length", "--export", "tasks.json", "--lake", str(lake)]) == 0
    assert "20 exported: tasks.json" in capsys.readouterr().out
    assert main(["label", "--import", "tasks.json"]) == 0
    assert "0 imported, 20 without label" in capsys.readouterr().out
    for wrong in ([], ["--report", "--near", "filtered.length"], ["--export", "x.json"]):
        assert main(["label", *wrong]) == 2
        assert "One of --near" in capsys.readouterr().err
    assert main(["label", "--report", "-o", "none.jsonl"]) == 2
