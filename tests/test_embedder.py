"""Embedding: the same vectors as sentence-transformers, without importing it for the packaged model."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from indexing.embedder import TOLERANCE, language_warning, open_embedder
from indexing.model import read_model
from schemas.errors import IndexingError

pytest.importorskip("onnxruntime")

# First six numbers of SentenceTransformer.encode (6.2, torch 2.13, float32).
REFERENCE = {
    "How do I reset the VPN?": [-0.02608, 0.00962, 0.00699, 0.00049, -0.03156, 0.09948],
    "日本の首都は東京です。": [0.12134, 0.09683, 0.09142, -0.02208, -0.04206, 0.03956],
    "word " * 400: [-0.00812, -0.09559, -0.03867, 0.04966, -0.04379, 0.02372],
}


@pytest.fixture(scope="module")
def minilm():
    return open_embedder("all-MiniLM-L6-v2")


def model_copy(tmp_path, **changed):
    """The packaged model in a folder of its own, with other JSON files."""
    folder = tmp_path / "model"
    shutil.copytree(read_model("all-MiniLM-L6-v2").folder, folder, copy_function=os.symlink)
    for name, content in changed.items():
        file = folder / f"{name}.json"
        file.unlink(missing_ok=True)
        file.write_text(json.dumps(content))
    return folder


def test_vectors_are_those_of_sentence_transformers(minilm):
    vectors = minilm.embed(list(REFERENCE), kind="query")  # a question that is too long is cut, as there
    assert vectors.dtype == np.float32
    assert vectors.shape == (3, minilm.dimension) == (3, 384)
    np.testing.assert_allclose(vectors[:, :6], list(REFERENCE.values()), atol=2e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_a_vector_does_not_depend_on_its_neighbours(minilm):
    texts = [f"{word} " * length for word in ("alpha", "beta") for length in (1, 7, 40, 200)]
    together = minilm.embed(texts)
    alone = np.concatenate([minilm.embed([text]) for text in texts])
    assert (together * alone).sum(axis=1).min() > 0.999999


def test_nothing_gives_nothing(minilm):
    assert minilm.embed([]).shape == (0, 384)


def test_a_passage_that_would_be_cut_is_refused(minilm):
    with pytest.raises(IndexingError, match="Passage 1 has 302 tokens; all-MiniLM-L6-v2 reads 256"):
        minilm.embed(["short", "word " * 300])


def test_the_packaged_model_needs_no_torch_and_no_network():
    program = (
        "import sys; from indexing.embedder import open_embedder;"
        "open_embedder('all-MiniLM-L6-v2').embed(['a question'], 'query');"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'numba', 'polars'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run(
        [sys.executable, "-c", program], check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}, timeout=60
    )


def test_a_model_that_cannot_be_had_says_what_to_do(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(IndexingError, match="'nobody/no-such-model' cannot be had") as error:
        open_embedder("nobody/no-such-model")
    assert "all-MiniLM-L6-v2" in error.value.hint


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(IndexingError, match=r"neither config\.json nor modules\.json"):
        open_embedder(str(tmp_path))


def test_weights_that_are_none_of_a_bert_are_named(tmp_path):
    folder = model_copy(tmp_path, config={**read_model("all-MiniLM-L6-v2").config, "num_hidden_layers": 7})
    with pytest.raises(IndexingError, match=r"encoder\.layer\.6"):
        open_embedder(str(folder)).embed(["text"])


def test_the_fingerprint_is_of_what_vectors_depend_on(tmp_path, minilm):
    assert open_embedder(str(model_copy(tmp_path))).fingerprint == minilm.fingerprint  # not of the place
    others = [
        open_embedder("all-MiniLM-L6-v2", query_prompt="query: "),
        open_embedder("all-MiniLM-L6-v2", passage_prompt="passage: "),
        open_embedder("all-MiniLM-L6-v2", dtype="bfloat16"),
        open_embedder(str(model_copy(tmp_path / "shorter", sentence_bert_config={"max_seq_length": 128}))),
    ]
    assert len({minilm.fingerprint, *(other.fingerprint for other in others)}) == 5


def test_prompts_stand_before_the_text():
    prompted = open_embedder("all-MiniLM-L6-v2", query_prompt="query: ", passage_prompt="passage: ")
    plain = open_embedder("all-MiniLM-L6-v2").embed(["query: vpn", "passage: vpn"])
    np.testing.assert_allclose(prompted.embed(["vpn"], "query")[0], plain[0], atol=1e-6)
    np.testing.assert_allclose(prompted.embed(["vpn"])[0], plain[1], atol=1e-6)


def test_prompts_are_read_from_the_model_or_known_by_its_family(tmp_path):
    stated = model_copy(
        tmp_path, config_sentence_transformers={"prompts": {"query": "Q: ", "document": "D: "}}
    )
    assert (read_model(str(stated)).query_prompt, read_model(str(stated)).passage_prompt) == ("Q: ", "D: ")
    family = model_copy(tmp_path / "family").rename(tmp_path / "multilingual-e5-small")
    assert (read_model(str(family)).query_prompt, read_model(str(family)).passage_prompt) == (
        "query: ",
        "passage: ",
    )


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        ({"en": 100}, None),
        ({"en": 95, "de": 5}, None),  # a tenth is let pass
        ({"en": 60, "de": 30, "fr": 10, "": 50}, "40% of the documents"),
        ({}, None),
    ],
)
def test_languages_that_the_model_does_not_know_are_said(minilm, documents, said):
    warning = language_warning(minilm, documents)
    assert (
        (warning is None) if said is None else (said in warning and "de 30%" in warning and "e5" in warning)
    )


@pytest.mark.slow  # imports sentence-transformers: 13 to 25 seconds
def test_every_kind_of_model_agrees_with_sentence_transformers(tmp_path):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    modules = pytest.importorskip("sentence_transformers.models")
    import transformers

    folder = str(read_model("all-MiniLM-L6-v2").folder)
    tiny = transformers.BertConfig(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96
    )
    transformers.BertModel(tiny).save_pretrained(tmp_path / "bert")
    transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path / "bert")
    texts = ["one", "How do I reset the VPN?", "word " * 100, "日本の首都は東京です。"]
    for name, pooling, more in (
        ("cls", "cls", []),
        ("mean", "mean", []),
        ("dense", "mean", [modules.Dense(48, 16)]),
    ):
        parts = [
            modules.Transformer(str(tmp_path / "bert")),
            modules.Pooling(48, pooling_mode=pooling),
            *more,
        ]
        model = sentence_transformers.SentenceTransformer(modules=parts, device="cpu")
        model.max_seq_length = 200
        model.save(str(tmp_path / name))
        embedder = open_embedder(str(tmp_path / name))
        assert read_model(str(tmp_path / name)).pooling == ("" if more else pooling)
        assert (embedder.dimension, embedder.max_tokens) == (16 if more else 48, 200)
        expected = model.encode(texts, normalize_embeddings=True)
        assert (embedder.embed(texts) * expected).sum(axis=1).min() > 0.99999
    model = sentence_transformers.SentenceTransformer(folder, device="cpu")
    expected = model.encode(texts, normalize_embeddings=True)
    assert (open_embedder("all-MiniLM-L6-v2").embed(texts) * expected).sum(axis=1).min() > 0.99999
    halved = open_embedder("all-MiniLM-L6-v2", dtype="bfloat16").embed(texts)
    assert (halved * expected).sum(axis=1).min() > TOLERANCE
    np.testing.assert_allclose(np.linalg.norm(halved, axis=1), 1, atol=1e-6)
