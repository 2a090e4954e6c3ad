"""Limits by language: FineWeb-2's numbers as measurements that rules compare with."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

import curate.stages
from curate.engine.stage import Batch
from curate.stages.limits import LimitsOptions, limits
from schemas.errors import RecipeError

PACKAGED = json.loads((Path(curate.stages.__path__[0]) / "data" / "fineweb-2.json").read_text("utf-8"))
FRENCH = "Le port ouvre tôt et les bateaux partent avant l'aube, dans la nuit."


def measured(texts, languages, **options):
    batch = Batch(pa.array(texts, pa.large_string()), {"langid.language": pa.array(languages)})
    found = limits(batch, LimitsOptions(**options)).measures
    return [
        dict(zip(found, row, strict=True))
        for row in zip(*(column.to_pylist() for column in found.values()), strict=True)
    ]


def test_a_language_has_its_own_limits_and_another_none():
    french, glot, danish, nothing = measured([FRENCH] * 3 + [""], ["fr", "fra_Latn", "da", ""])
    assert french == glot
    assert (french["known"], french["language_score"], french["dup_line_frac"]) == (True, 0.824, 0.264)
    assert (french["top_2_gram"], french["duplicated_10_n_grams"], french["list_ratio"]) == (
        0.161,
        0.1,
        0.185,
    )
    assert (french["least_word_length"], french["most_word_length"], french["alpha_word_ratio"]) == (
        2,
        11,
        0.812,
    )
    assert (danish["known"], danish["stop_words"]) == (False, 0)
    assert {danish[name] for name in danish.keys() - {"known", "stop_words"}} == {1e9, -1e9}
    assert nothing == danish


def test_stop_words_are_those_of_the_language_of_the_text():
    french, german = measured([FRENCH, FRENCH], ["fr", "de"])
    assert french["stop_words"] == 5  # et les dans la l'
    assert german["stop_words"] == 0


def test_zero_and_minus_one_switch_a_test_off():
    (german,) = measured(["Der Hafen."], ["de"])  # line_punct_thr and min_avg_word_length are 0
    assert (german["line_punct_ratio"], german["least_word_length"]) == (-1e9, -1e9)


def test_a_language_without_stop_words_is_not_judged_by_them():
    (thai,) = measured(["ท่าเรือ"], ["th"])
    assert thai["least_stop_words"] == -1e9


def test_files_of_fineweb_2_are_read(tmp_path):
    given = {**PACKAGED["nld_Latn"], "line_punct_thr": -1, "dup_line_frac": 0, "stopwords": ["à", "l'"]}
    (tmp_path / "afr_Latn.yml").write_text(yaml.safe_dump(given))
    for files in (tmp_path, tmp_path / "afr_Latn.yml"):
        own, packaged = measured(["Il va à l'eau."] * 2, ["afr_Latn", "nl"], files=str(files))
        assert (own["known"], own["dup_line_frac"], own["line_punct_ratio"]) == (True, 1e9, -1e9)
        assert own["stop_words"] == 2
        assert not packaged["known"]


@pytest.mark.parametrize("content", ["language_score: 1", "- a", "a: [", "language_score: x\n"])
def test_a_file_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "x.yml").write_text(content)
    with pytest.raises(RecipeError, match=r"x\.yml is no file of FineWeb-2"):
        measured(["a"], ["x"], files=str(tmp_path / "x.yml"))
    with pytest.raises(RecipeError, match="There is no"):
        measured(["a"], ["x"], files=str(tmp_path / "none"))
