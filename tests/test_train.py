"""Training a tokenizer: the same file from the same corpus, that knows every text, and refusals that say why."""

import json

import pytest
from tokenizers import Tokenizer

from curate.cli import main
from curate.engine.tokens import make_tokens
from curate.engine.vocabulary import SPECIAL, train_tokenizer
from schemas.errors import LakeError, RuleError, UsageError
from tests.lakes import RECIPE, documents, make_recipe, run, write_jsonl


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """A corpus of 40 documents in English and 8 in German."""
    folder = tmp_path_factory.mktemp("train")
    german = (
        "Der Hafen öffnet früh am Morgen, und die Boote fahren noch vor der Dämmerung hinaus auf das Meer."
    )
    rows = documents(50) + [
        {"text": f"{german} Das war der Tag Nummer {n}. {german[n:]}", "topic": "meer"} for n in range(8)
    ]
    write_jsonl(folder / "docs.jsonl", rows)
    overrides = {"deduplicated": {"minhash": False}, "documents": {"extract": {}}}
    run(make_recipe(folder), overrides=overrides)
    return folder / "lake"


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_two_trainings_give_the_same_file_which_knows_every_text(lake, tmp_path, kind):
    files = [tmp_path / "one.json", tmp_path / "two.json"]
    trained = [train_tokenizer(lake, file, vocab=340, kind=kind) for file in files]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert (trained[0].kind, trained[0].vocabulary, trained[0].unchanged) == (kind, 340, False)
    tokenizer = Tokenizer.from_file(str(files[0]))
    assert tokenizer.get_vocab_size() == 340
    assert sorted(tokenizer.get_vocab().values()) == list(range(340))
    assert [tokenizer.token_to_id(token) for token in SPECIAL] == [0, 1]
    for text in ("the harbour", "日本語 🎉\x00\n\t  Größe", "a<|endoftext|>b"):
        assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text
    assert tokenizer.encode("a<|endoftext|>b").ids[1] == 0
    assert len(tokenizer.encode("the harbour opens early").ids) < len("the harbour opens early")


def test_what_is_held_out_shows_how_it_does_by_language(lake, tmp_path):
    trained = train_tokenizer(lake, tmp_path / "t.json", vocab=300)
    held_out = trained.held_out
    assert sum(count.documents for count in held_out.values()) == 2  # one in 20 of 48
    assert set(held_out) <= {"en", "de"}
    for count in held_out.values():
        assert 1 < count.bytes / count.tokens < 8
    assert trained.documents + 2 == json.loads(report(lake))["kept"]


def report(lake):
    from curate.lake.lake import Lake

    return Lake(lake).head().report


def test_a_sample_is_smaller_and_the_same_each_time(lake, tmp_path):
    whole = train_tokenizer(lake, tmp_path / "whole.json", vocab=270)
    parts = [train_tokenizer(lake, tmp_path / f"{n}.json", vocab=270, sample_mb=0.005) for n in range(2)]
    assert 0 < parts[0].documents < whole.documents
    assert 5_000 < parts[0].bytes < 6_000 < whole.bytes
    assert (tmp_path / "0.json").read_bytes() == (tmp_path / "1.json").read_bytes()
    assert parts[0].held_out.keys() <= whole.held_out.keys()


def test_where_chooses_the_documents(lake, tmp_path):
    trained = train_tokenizer(
        lake, tmp_path / "t.json", vocab=300, where="language = 'de' AND topic = 'meer'"
    )
    assert set(trained.held_out) == {"de"}
    assert trained.documents == 7
    with pytest.raises(RuleError, match="No document satisfies"):
        train_tokenizer(lake, tmp_path / "u.json", vocab=300, where="language = 'fr'")
    with pytest.raises(RuleError, match="langage"):
        train_tokenizer(lake, tmp_path / "u.json", vocab=300, where="langage = 'fr'")


def test_a_file_that_is_there_stays_unless_it_is_the_same(lake, tmp_path):
    file = tmp_path / "tokenizer.json"
    train_tokenizer(lake, tmp_path, vocab=300)  # a folder takes a tokenizer.json
    written = file.read_bytes()
    assert train_tokenizer(lake, file, vocab=300).unchanged
    for options in (
        {"vocab": 301},
        {"vocab": 300, "kind": "unigram"},
        {"vocab": 300, "where": "language = 'de'"},
    ):
        with pytest.raises(UsageError, match="is there, and is another file"):
            train_tokenizer(lake, file, **options)
    assert file.read_bytes() == written
    file.write_text("notes of mine")
    with pytest.raises(UsageError, match="is there, and is another file"):
        train_tokenizer(lake, file, vocab=300)
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_too_little_text_says_how_many_tokens_it_gives(lake, tmp_path, kind):
    with pytest.raises(UsageError, match=r"is too little for 32,000 tokens: it gives \d[\d,]+\.") as caught:
        train_tokenizer(lake, tmp_path / "t.json", kind=kind)
    fewer = int(caught.value.hint.split("--vocab ")[1].split(")")[0])
    assert train_tokenizer(lake, tmp_path / "t.json", kind=kind, vocab=fewer).vocabulary == fewer


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocab": 257}, r"257 tokens are too few: 256 bytes and 2 special tokens are 258"),
        ({"sample_mb": 0}, "--sample-mb 0 leaves no text"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_read(tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        train_tokenizer(tmp_path / "no lake", tmp_path / "t.json", **options)


def test_an_empty_corpus_is_told(tmp_path):
    make_recipe(tmp_path)
    run(tmp_path / "curate.toml", overrides={"filtered": {"length": {"drop": {"all": "words >= 0"}}}})
    with pytest.raises(LakeError, match="The corpus of harbour holds no document"):
        train_tokenizer(tmp_path / "lake", tmp_path / "t.json", vocab=300)


@pytest.mark.slow
def test_the_command_trains_and_tells_the_lines_for_the_recipe(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    recipe = make_recipe(tmp_path)
    run(recipe)
    assert main(["train", "tokenizer", "--vocab", "300"]) == 0
    shown = capsys.readouterr().out
    assert "tokenizer.json: 300 tokens (bpe) of 20 documents" in shown
    assert "bytes per token" in shown
    lines = [line.strip() for line in shown.splitlines()[-2:]]
    recipe.write_text(RECIPE + "\n".join(lines) + "\n")
    assert run(recipe, then=make_tokens).table("tokens").checks[0].numbers["vocabulary"] == 300
    assert main(["train", "tokenizer", "--vocab", "300", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["unchanged"]
    assert found["held_out"]["en"]["documents"] == 1
    assert found["bytes_per_token"]["en"] > 1
    assert main(["train", "tokenizer", "--vocab", "300", "--kind", "unigram"]) == 2
    assert "is another file" in capsys.readouterr().err
