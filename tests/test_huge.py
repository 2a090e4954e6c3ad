"""Inputs that are huge in one way only: a million empty documents, one of 200 MB, one word again and again.

Measured on 22 November 2026, two shared cores, one worker: the million empty documents took 17 s of the processor and
1.2 GB, the document of 200 MB 2.5 GB.
"""

import json
import sys

import pytest

from tests.hostile_texts import TEXTS
from tests.lakes import text
from tests.large import peak_memory

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def clean(tmp_path, monkeypatch):
    """Cleans texts with a packaged recipe in a process; gives the texts kept and the most memory in bytes."""
    monkeypatch.chdir(tmp_path)

    def call(texts, recipe):
        with (tmp_path / "in.jsonl").open("w") as file:
            file.writelines(json.dumps({"text": one}) + "\n" for one in texts)
        command = [
            sys.executable,
            "-m",
            "curate",
            "clean",
            "in.jsonl",
            "-o",
            "kept.jsonl",
            "--recipe",
            recipe,
        ]
        most, _, code = peak_memory([*command, "--workers", "1"])
        assert code == 0
        return [json.loads(line)["text"] for line in (tmp_path / "kept.jsonl").open()], most

    return call


def test_a_million_empty_documents(clean):
    kept, most = clean(("" for _ in range(1_000_000)), "docs")
    assert kept == []
    assert most < 2.5e9


def test_a_document_of_200_megabytes(clean):
    part = text(1, 200_000) + "\n"
    long = part * (200_000_000 // len(part)) + "The end."
    kept, most = clean([long, text(2)], "docs")
    assert kept == [long, text(2)]
    assert most < 6e9


@pytest.mark.parametrize("recipe", ["docs", "web", "fineweb"])
def test_one_word_a_million_times_and_40_megabytes_without_a_space(recipe, clean):
    kinds = (
        "emoji",
        "right to left",
        "hangul jamo",
        "combining marks",
        "words that collide",
        "lines that collide",
    )
    long = [
        "word " * 1_000_000,
        "abcdefghij" * 4_000_000,
        "a" * 40_000_000,
        "line\n" * 1_000_000,
        "\n" * 5_000_000,
    ]
    good = " ".join(text(n, 80) for n in range(3))
    kept, most = clean([*long, *(TEXTS[kind](2_000_000) for kind in kinds), good], recipe)
    assert recipe != "docs" or good in kept
    assert most < 4e9
