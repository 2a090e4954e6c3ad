"""Training a classifier: the same file from the same rows, honest numbers, and refusals that say why."""

import gzip
import json
import random

import pytest

from curate.cli import main
from curate.engine.classify import train_classifier
from curate.models.opening import model_labels
from curate.models.training import Fit, as_line, is_held_out
from schemas.errors import UsageError
from tests.lakes import make_recipe, run, text, write_jsonl

QUICK = Fit(epochs=10, dimensions=4, buckets=2_000)


def labelled(count=60):
    """Prose to keep and buttons to drop, in a random order."""
    chance = random.Random(1)
    rows = [{"text": text(n, 30), "label": "keep"} for n in range(count)]
    buttons = ["login", "cart", "menu", "share", "cookies", "accept", "privacy", "sign up"]
    rows += [
        {"text": " | ".join(chance.choices(buttons, k=12)) + f" {n}", "label": "drop"}
        for n in range(count // 2)
    ]
    chance.shuffle(rows)
    return rows


def test_two_trainings_give_the_same_file_and_card_in_any_order_of_rows(tmp_path):
    rows = labelled()
    write_jsonl(tmp_path / "labels.jsonl", rows)
    first = train_classifier(tmp_path / "labels.jsonl", tmp_path / "one" / "model.ftz", fit=QUICK)
    write_jsonl(tmp_path / "labels.jsonl", rows[::-1] + rows[:5])
    second = train_classifier(tmp_path / "labels.jsonl", tmp_path / "two" / "model.ftz", fit=QUICK)
    assert (tmp_path / "one" / "model.ftz").read_bytes() == (tmp_path / "two" / "model.ftz").read_bytes()
    assert first.labels == second.labels == {"keep": 60, "drop": 30}
    assert first.trained + first.held_out == 90
    assert first.table == second.table
    card = json.loads((tmp_path / "one" / "model.json").read_text())
    assert (card["sha256"], card["labels"]) == (first.sha256, first.labels)
    assert set(model_labels(tmp_path / "one" / "model.ftz")) == {"keep", "drop"}


def test_scores_are_counted_on_texts_that_were_not_trained_on(tmp_path):
    rows = labelled()
    write_jsonl(tmp_path / "labels.jsonl", rows)
    found = train_classifier(tmp_path / "labels.jsonl", tmp_path / "model.ftz", fit=QUICK)
    assert found.held_out == sum(is_held_out(row["text"]) for row in rows)
    half = next(score for score in found.table["keep"] if score.threshold == 0.5)
    assert half.precision > 0.9
    assert half.recall > 0.9
    # Labels that say nothing cannot be learned, however well the model knows the texts it was trained on.
    chance = random.Random(2)
    for row in rows:
        row["label"] = chance.choice(["keep", "drop"])
    write_jsonl(tmp_path / "noise.jsonl", rows)
    found = train_classifier(tmp_path / "noise.jsonl", tmp_path / "noise.ftz", fit=QUICK)
    half = next(score for score in found.table["keep"] if score.threshold == 0.5)
    assert half.precision < 0.9


def test_labels_may_be_numbers_and_files_packed(tmp_path):
    rows = [{"body": row["text"], "good": row["label"] == "keep"} for row in labelled()]
    packed = tmp_path / "labels.jsonl.gz"
    packed.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    found = train_classifier(packed, tmp_path, text="body", label="good", fit=QUICK)
    assert found.labels == {"true": 60, "false": 30}
    assert (tmp_path / "classifier.ftz").exists()


def test_what_fasttext_would_take_for_a_label_is_text():
    assert as_line("a\nb\r\n__label__keep </s> \0c") == "a b labelkeep    c"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["{"], r"labels\.jsonl, line 1 is no JSON"),
        (['{"text": "a"}'], r'line 1 has no "text" and "label": text'),
        (["[1]"], r'line 1 has no "text" and "label": list'),
        (['{"text": "a", "label": "two words"}'], "'two words', which is not one word"),
        (["", '{"text": "a", "label": "keep"}'], 'has only the label "keep"'),
        ([], "has no rows"),
        (
            [json.dumps({"text": str(n), "label": "a" if n else "b"}) for n in range(30)],
            '1 different text of "b"',
        ),
    ],
)
def test_rows_that_cannot_be_used_are_told(tmp_path, rows, message):
    (tmp_path / "labels.jsonl").write_text("\n".join(rows))
    with pytest.raises(UsageError, match=message):
        train_classifier(tmp_path / "labels.jsonl", tmp_path / "model.ftz", fit=QUICK)
    assert not (tmp_path / "model.ftz").exists()


def test_a_file_that_is_there_stays_unless_it_is_the_same(tmp_path):
    write_jsonl(tmp_path / "labels.jsonl", labelled())
    train_classifier(tmp_path / "labels.jsonl", tmp_path / "model.ftz", fit=QUICK)
    assert train_classifier(tmp_path / "labels.jsonl", tmp_path / "model.ftz", fit=QUICK).unchanged
    with pytest.raises(UsageError, match="is there, and is another file"):
        train_classifier(tmp_path / "labels.jsonl", tmp_path / "model.ftz", fit=Fit(seed=1))
    with pytest.raises(UsageError, match="There is no file"):
        train_classifier(tmp_path / "absent.jsonl", tmp_path / "model.ftz")


@pytest.mark.slow
def test_the_command_trains_and_tells_the_lines_for_the_recipe(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "labels.jsonl", labelled())
    assert main(["train", "classifier", "labels.jsonl", "-o", "quality.ftz"]) == 0
    shown = capsys.readouterr().out
    assert "score from  precision  recall" in shown
    assert "quality.json" in shown
    lines = [line.strip() for line in shown.splitlines()[-4:]]
    recipe = make_recipe(tmp_path, count=12)
    recipe.write_text(recipe.read_text() + "\n" + "\n".join(lines) + "\n")
    assert run(recipe).table("filtered").measured > 0
    assert main(["train", "classifier", "labels.jsonl", "-o", "quality.ftz", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unchanged"]
    assert main(["train", "classifier", "labels.jsonl", "--epochs", "0"]) == 2
    assert '"0" for --epochs' in capsys.readouterr().err
