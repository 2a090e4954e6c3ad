"""What the first stages measure and repair."""

import hashlib
import math
import tomllib
import unicodedata
from pathlib import Path

import ftfy
import ftfy.badness
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import schemas
from curate.engine.stage import Batch, find_stage
from curate.models import opening
from curate.stages.gopher_quality import GopherQualityOptions
from curate.stages.langid import LangidOptions, langid
from curate.stages.repair import RepairOptions, repair, repaired
from curate.text.detect import BROKEN, find_suspects
from schemas.errors import CurateError, RecipeError
from schemas.tables import DOCUMENT_COLUMNS

NAMES = ("repair", "langid", "length", "gopher_repetition", "gopher_quality", "c4", "fineweb")
checked = settings(deadline=None, max_examples=80)

HARBOUR = """The harbour opens early and the boats leave before dawn.
Fishermen check their nets while gulls circle over the pier.
By noon the market hall is full of noise and salt.
Visitors ask about the price of the morning catch.
Nobody knows who painted the old blue lighthouse door.
In the evening the town is quiet again."""

CHINESE = (
    "港口一大早就开放，渔船在黎明前离开。渔民检查渔网，海鸥在码头上空盘旋。到了中午，市场大厅里充满了喧闹声。"
    * 4
)
JAPANESE = (
    "港は朝早くから開き、船は夜明け前に出港する。漁師たちは網を点検し、カモメが桟橋の上を旋回している。" * 4
)
THAI = "ท่าเรือเปิดแต่เช้าตรู่และเรือออกก่อนรุ่งสาง ชาวประมงตรวจสอบอวนของพวกเขาในขณะที่นกนางนวลบินวนอยู่เหนือท่าเรือ " * 4


def batch(*texts):
    return Batch(pa.array(texts, pa.large_string()))


def measured(name, *texts, **options):
    stage = find_stage(name)
    measures = stage.run(batch(*texts), stage.options(**options)).measures
    rows = zip(*(measures[field.name].to_pylist() for field in stage.measures), strict=True)
    return [dict(zip(measures, row, strict=True)) for row in rows]


@pytest.mark.parametrize("name", NAMES)
def test_a_stage_gives_what_it_declares(name):
    stage = find_stage(name)
    texts = ["", " \n", HARBOUR, "\x00", "#", "中", "naïve cafÃ©"]
    result = stage.run(batch(*texts), stage.options())
    assert stage.purpose
    assert list(result.measures) == [field.name for field in stage.measures]
    for field in stage.measures:
        array = result.measures[field.name]
        assert array.type == field.type
        assert len(array) == len(texts)
        assert array.null_count == 0
        assert not any(isinstance(value, float) and math.isnan(value) for value in array.to_pylist())
        assert not array[0].as_py(), "an empty text measures 0"
    assert (result.text is not None) == stage.rewrites
    assert [len(array) for array in stage.run(batch(), stage.options()).measures.values()] == [0] * len(
        stage.measures
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_row_does_not_depend_on_its_batch(name):
    texts = [HARBOUR, "", "cafÃ© #...", CHINESE, "Ein Satz auf Deutsch, mit Umlauten: äöü."]
    assert measured(name, *texts) == [measured(name, text)[0] for text in texts]


@pytest.mark.parametrize("name", NAMES)
def test_measures_can_be_named_in_rules(name):
    for field in find_stage(name).measures:
        assert pl.sql_expr(f"{field.name} > 0").meta.root_names() == [field.name]
        assert field.name not in DOCUMENT_COLUMNS


@pytest.mark.parametrize(
    ("broken", "whole"),
    [
        ("cafÃ© â€œquotedâ€\x9d", "café “quoted”"),  # UTF-8 that was read as Windows-1252
        ("cafe\u0301 \u1112\u1161\u11ab", "café 한"),  # NFC
        ("caf&eacute; &amp; bar", "café & bar"),
        ("if a &lt; b: <code>", "if a &lt; b: <code>"),  # entities stay where there is markup
        ("a\x00b\x07c\ufeffd", "abcd"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("one\r\ntwo\rthree\u2028four\x0cfive", "one\ntwo\nthree\nfour\nfive"),
        ("trailing  \t\nspace\u3000", "trailing\nspace"),
        ("\n\n  def f():\n\n\n    pass\n\n\n\n\nend\n", "  def f():\n\n\n    pass\n\n\nend"),
        (
            "x" + "\u0338\u0301" * 20000,
            "x" + "\u0338" * 15 + "\u0301" * 15,
        ),  # no script has such rows of marks
        ("x" + "\u0f73" * 100_000, "x" + "\u0f71" * 30),  # nor of letters that are marks when taken apart
        ("“curly” ﬁ ＡＢＣ x² …", "“curly” ﬁ ＡＢＣ x² …"),  # neither quotes nor width nor ligatures
    ],
)
def test_repair(broken, whole):
    result = repair(batch("before", broken, "after"), RepairOptions())
    assert result.text.to_pylist() == ["before", whole, "after"]
    assert result.measures["changed"].to_pylist() == [False, broken != whole, False]
    assert result.measures["removed"].to_pylist() == [0, max(len(broken) - len(whole), 0), 0]


def test_entities_stay_if_the_recipe_says_so():
    assert repair(batch("write &amp;"), RepairOptions(unescape_html=False)).text.to_pylist() == [
        "write &amp;"
    ]


def test_bytes_that_are_not_utf8_break_the_document():
    text = pa.array([b"fine", b"caf\xe9"], pa.large_binary()).view(pa.large_string())
    with pytest.raises(UnicodeDecodeError):
        repair(Batch(text), RepairOptions())


def mojibake(text, encoding):
    return text.encode().decode(encoding, "replace")


CATEGORIES = "".join(ftfy.badness.MOJIBAKE_CATEGORIES.values()).replace("-", "")
PIECES = [
    *CATEGORIES,
    *"aZ .?!0&;#<\n\r\t\v\f\x1b\x1c\x85\xa0\u3000\u200b\ufeff\u2028",
    *"\u0301\u0323\u05b8\u05bc\u0e38\u0e48\u1161\u0958中가😀ÂÃС",
    *(
        "&amp;",
        "&lt;",
        "&amp;lt;",
        "&#133;",
        "&#10;",
        "&nbsp;",
        "&quot",
        "&#x1F600;",
        "\n\n\n",
        "\x1b[1m",
        " \n",
    ),
    *(
        mojibake(text, encoding)
        for text in "é“яη中"
        for encoding in ("latin-1", "cp1252", "cp1251", "cp1253")
    ),
]
broken_texts = st.lists(st.lists(st.sampled_from(PIECES), max_size=90).map("".join), min_size=1, max_size=6)


@checked
@given(broken_texts)
def test_what_is_not_suspicious_would_not_be_repaired(texts):
    suspects = find_suspects(pa.array(texts, pa.large_string()), entities=True)
    for text, suspect in zip(texts, suspects, strict=True):
        whole = repaired(text, unescape_html=True, every_line=True)
        assert repaired(whole, unescape_html=True, every_line=True) == whole, "repairing is idempotent"
        assert suspect or whole == text
        if not suspect & BROKEN:
            assert whole == unicodedata.normalize("NFC", text)


@checked
@given(broken_texts, st.booleans())
def test_the_stage_gives_what_repairing_every_text_gives(texts, unescape):
    expected = [repaired(text, unescape_html=unescape, every_line=True) for text in texts]
    assert repair(batch(*texts), RepairOptions(unescape_html=unescape)).text.to_pylist() == expected


def test_every_pair_that_ftfy_minds_is_suspicious():
    # All neighbours out of its categories, within letters, spaces and line ends that its rules mention.
    characters = sorted({*CATEGORIES, *map(chr, range(0xC0, 0x100)), *"aZ .?!0\nСўЂ"})
    for before, after in [("", ""), ("a", "a"), ("A", " "), ("С", "С"), ("Γ", "Γ"), (".", "“")]:
        texts = [before + a + b + after for a in characters for b in characters if ftfy.badness.is_bad(a + b)]
        assert find_suspects(pa.array(texts, pa.large_string()), entities=False).all()


def test_running_text_of_many_languages_is_not_suspicious():
    texts = [
        HARBOUR,
        CHINESE,
        JAPANESE,
        THAI.strip(),
        "Größe, façade « déjà vu », año, größer",
        "Съешь же ещё этих",
    ]
    assert not find_suspects(pa.array(texts, pa.large_string()), entities=True).any()


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (HARBOUR, "en"),
        ("Der Hafen öffnet früh, und die Boote fahren vor der Dämmerung hinaus.", "de"),
        ("Le port ouvre tôt et les bateaux partent avant l'aube.", "fr"),
        ("Порт открывается рано, и лодки уходят до рассвета.", "ru"),
        (CHINESE, "zh"),
        (JAPANESE, "ja"),
        (THAI, "th"),
    ],
)
def test_langid(text, language):
    (row,) = measured("langid", text)
    assert row["language"] == language
    assert 0.5 < row["score"] <= 1
    assert 0 < row["margin"] <= row["score"]


def test_langid_is_what_fasttext_predicts():
    texts = [HARBOUR, "zwei Wörter", "12 34", "a\x00b\r\fc", "\tx"]
    model = opening.open_model(opening.LID_176)
    for text, row in zip(texts, measured("langid", *texts), strict=True):
        labels, scores = model.predict(text.replace("\n", " "), 2)
        assert row["language"] == labels[0].removeprefix("__label__")
        assert row["score"] == pytest.approx(min(scores[0], 1), abs=1e-5)
        assert row["margin"] == pytest.approx(scores[0] - scores[1], abs=2e-5)


def test_langid_reads_beginning_middle_and_end():
    german = "Der Hafen öffnet früh, und die Boote fahren vor der Dämmerung hinaus. "
    text = "Home News Login Contact " + german * 200
    assert measured("langid", text, max_chars=60)[0]["language"] == "de"
    assert measured("langid", text, max_chars=0)[0]["language"] == "de"


@pytest.fixture
def own_model(tmp_path):
    import fasttext

    lines = [f"__label__{'fruit' if word in 'apple pear plum' else 'fish'} {word} {other}"
             for word in ("apple", "pear", "plum", "cod", "eel", "pike") for other in "abcdef"]  # fmt: skip
    source = tmp_path / "train.txt"
    source.write_text("\n".join(lines))
    model = fasttext.train_supervised(str(source), epoch=50, dim=4, thread=1, verbose=0)
    model.save_model(str(tmp_path / "own.bin"))
    return tmp_path / "own.bin"


def test_langid_with_a_model_of_ones_own(own_model):
    rows = measured("langid", "apple a", "cod b", model=str(own_model))
    assert [row["language"] for row in rows] == ["fruit", "fish"]
    digests = find_stage("langid").models(LangidOptions(model=str(own_model)))
    assert digests == (hashlib.sha256(own_model.read_bytes()).hexdigest(),)


@pytest.mark.parametrize("damage", ["absent", "not a model", "cut off"])
def test_langid_refuses_a_model_that_cannot_be_loaded(damage, tmp_path):
    path = tmp_path / "model.bin"
    if damage != "absent":
        whole = opening.LID_176.read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if damage == "cut off" else b"no model at all" * 9)
    with pytest.raises(RecipeError, match=r"model\.bin") as caught:
        langid(batch("text"), LangidOptions(model=str(path)))
    assert "lid.176.ftz" in caught.value.hint


def test_a_damaged_packaged_model_is_not_opened(tmp_path, monkeypatch):
    path = tmp_path / "lid.176.ftz"
    path.write_bytes(opening.LID_176.read_bytes()[:-1] + b"?")
    monkeypatch.setattr(opening, "LID_176", path)
    with pytest.raises(CurateError, match="sha256"):
        opening.open_model(path)


def test_length():
    assert measured("length", "Zwei Wörter\n\nund #\n", "") == [
        {"characters": 19, "words": 3, "lines": 3},
        {"characters": 0, "words": 0, "lines": 0},
    ]


def test_gopher_quality_of_plain_english():
    (row,) = measured("gopher_quality", HARBOUR)
    assert row == {
        "words": 57,
        "mean_word_length": pytest.approx(4.42105, abs=1e-5),  # as datatrove counts it
        "hash_ratio": 0,
        "ellipsis_ratio": 0,
        "bullet_line_ratio": 0,
        "ellipsis_line_ratio": 0,
        "alpha_word_ratio": 1,
        "stop_words": 3,  # the, and, of
        "unspaced": 0,
    }


@pytest.mark.parametrize(
    ("text", "measure", "value"),
    [  # texts of datatrove's own tests, with the value on which it drops them
        ("I am too small...", "words", 4),
        ("I am " * 20, "mean_word_length", 1.5),
        ("interconnection " * 20, "mean_word_length", 15),
        ("# comment " * 20, "hash_ratio", 20 / 40),
        ("... comment " * 20, "ellipsis_ratio", 20 / 40),
        ("- the quick brown fox and that\n" * 19 + "have a look with me", "bullet_line_ratio", 19 / 20),
        ("and so on...\n\nthe end", "ellipsis_line_ratio", 1 / 3),
        ("one 2 3 4", "alpha_word_ratio", 1 / 4),
        ("THE AND OF The", "stop_words", 0),
        ("(the) of, of to-day", "stop_words", 2),
    ],
)
def test_gopher_quality(text, measure, value):
    assert measured("gopher_quality", text)[0][measure] == pytest.approx(value)


def slow_gopher(text):
    """For text in scripts with spaces: the tests of Gopher as one would write them down."""
    letters = {c for c in text if unicodedata.category(c)[0] in "LMN"}
    symbols = "".join(set(text) - letters)
    words = [word for stretch in text.split() if (word := stretch.strip(symbols))]
    lines = text.splitlines()
    count, tokens, rows = max(len(words), 1), max(len(text.split()), 1), max(len(lines), 1)
    return {
        "words": len(words),
        "mean_word_length": sum(map(len, words)) / count,
        "hash_ratio": text.count("#") / tokens,
        "ellipsis_ratio": (text.count("...") + text.count("…")) / tokens,
        "bullet_line_ratio": sum(line.lstrip().startswith(("•", "-")) for line in lines) / rows,
        "ellipsis_line_ratio": sum(line.rstrip().endswith(("...", "…")) for line in lines) / rows,
        "alpha_word_ratio": sum(any(map(str.isalpha, word)) for word in words) / tokens,
        "stop_words": len({"the", "be", "to", "of", "and", "that", "have", "with"} & set(words)),
        "unspaced": 0.0,
    }


SPACED = [*"aé1Дא-•#.…,'\"  \n\r\t\u2003\u2028", "the", "be ", " of ", "...", "\n- "]


@checked
@given(st.lists(st.lists(st.sampled_from(SPACED), max_size=150).map("".join), max_size=5))
def test_gopher_quality_is_the_slow_definition(texts):
    assert measured("gopher_quality", *texts) == [slow_gopher(text) for text in texts]


def test_stop_words_must_be_words():
    assert (
        measured("gopher_quality", "le chat et la souris", stop_words=["le", "et", "un"])[0]["stop_words"]
        == 2
    )
    assert measured("gopher_quality", "le chat", stop_words=[])[0]["stop_words"] == 0
    for wrong in ("", "two words", "comma,"):
        with pytest.raises(ValidationError, match="is not one word"):
            GopherQualityOptions(stop_words=("the", wrong))


def dropped(recipe, step, row):
    """Which rules of a packaged recipe a row fails."""
    path = Path(schemas.__file__).parent / "recipes" / f"{recipe}.toml"
    rules = tomllib.loads(path.read_text())["filtered"][step]["drop"]
    frame = pl.DataFrame([row])
    return [reason for reason, rule in rules.items() if frame.select(pl.sql_expr(rule)).item()]


@pytest.mark.parametrize("text", [CHINESE, JAPANESE, THAI, CHINESE + "\n1 2 3 4 5 6 7 8 9 A B C"])
def test_packaged_recipes_keep_text_in_scripts_without_spaces(text):
    (row,) = measured("gopher_quality", text)
    assert row["unspaced"] > 0.7
    assert dropped("web", "gopher_quality", row) == []
    assert [*dropped("gopher", "gopher_quality", row)] == ["gopher_enough_stop_words"]  # it is for English
    assert dropped("docs", "length", measured("length", text)[0]) == []
