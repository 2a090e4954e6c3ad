"""Shares of characters as NeMo Curator counts them, against slow and obvious Python."""

import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.engine.stage import Batch
from curate.stages.character_shares import CharacterSharesOptions, character_shares

PIECES = st.sampled_from(
    ["word ", "12", "\n", "\n\n", "(a) ", "Ends.", "https://a.example/porn?x=1 ", "é", "\t", "Our Privacy Policy", "{⟨]", "!", " ", "日本"]
)  # fmt: skip


def measured(text):
    found = character_shares(Batch(pa.array([text], pa.large_string())), CharacterSharesOptions()).measures
    return {name: column[0].as_py() for name, column in found.items()}


def share(pieces, holds):
    pieces = [piece.strip() for piece in pieces if piece.strip()]
    return sum(map(holds, pieces)) / max(len(pieces), 1)


@given(st.lists(PIECES, max_size=30).map("".join))
@settings(max_examples=200, deadline=None)
def test_shares_are_those_of_slow_python(text):
    size = max(len(text), 1)
    found = measured(text)
    assert found["non_alphanumeric"] == len(re.findall(r"[^a-zA-Z0-9\n?!,.]", text)) / size
    assert found["digits"] == sum(char in "0123456789" for char in text) / size
    assert found["white_space"] == sum(char in " \t\n" for char in text) / size
    assert found["brackets"] == sum(char in "{}⟨⟩[]()" for char in text) / size
    assert found["longest_word"] == max(map(len, text.split()), default=0)
    assert found["boilerplate"] == share(text.split("\n\n"), lambda part: "privacy policy" in part.lower())
    assert found["no_end_mark"] == share(text.split("\n"), lambda line: line[-1] not in ".?!\"'")
    assert found["pornographic_url"] == ("porn" in text)


@pytest.mark.parametrize(
    ("text", "measure", "value"),
    [
        ("See https://a.example/b now", "urls", 19 / 27),
        ("Lorem ipsum dolor.", "boilerplate", 1.0),
        ('A line.\nNo mark\n\n"Quoted."', "no_end_mark", 1 / 3),
        ("", "non_alphanumeric", 0.0),
    ],
)
def test_golden_values(text, measure, value):
    assert measured(text)[measure] == pytest.approx(value)
