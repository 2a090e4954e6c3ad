"""The tests of Gopher, C4 and FineWeb: values, verdicts and first reasons, those of datatrove for English.

Values of other projects were computed from their sources (allenai/dolma, togethercomputer/RedPajama-Data,
mlfoundations/dclm, NVIDIA-NeMo/Curator).
"""

import inspect
import random
from functools import cache
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import settings

from curate.engine.plan import make_plan
from curate.engine.shard import measure_shard, step_tasks, write_plan
from curate.engine.stage import Batch, find_stage
from curate.text.ngrams import DUPLICATED, TOP
from curate.text.tokens import find_tokens
from schemas.recipe import build_recipe
from tests.test_stages import HARBOUR as H

checked = settings(deadline=None, max_examples=80)

FIRST, *_, LAST = H.split("\n")
V1 = "I am Frank, I am Frank, I am Frank"
V2 = "I am Frank, you are Jhon. I am Frank. I am Frank you are Jhon"
V3 = (
    "alpha beta gamma delta epsilon zeta. " * 2
    + "one two three four five six seven eight nine ten eleven twelve."
)
V5 = " ".join(f"w{number:02}" for number in range(12))
GROOT = "I am groot.\n\nYou are a wizard.\n\nI am your father.\n\n"


def strings(texts):
    return pa.array(texts, pa.large_string())


def run(name, texts, **options):
    """Measures of each text as a dict, and the texts after the stage."""
    stage = find_stage(name)
    result = stage.run(Batch(strings(texts)), stage.options(**options))
    rows = zip(*(result.measures[field.name].to_pylist() for field in stage.measures), strict=True)
    names = [field.name for field in stage.measures]
    text = texts if result.text is None else result.text.to_pylist()
    return [dict(zip(names, row, strict=True)) for row in rows], text


def one(name, text, **options):
    return run(name, [text], **options)[0][0]


@cache
def filtered(recipe):
    """The steps of a packaged recipe's table `filtered` that look at text alone."""
    given = {"name": "x", "extends": recipe, "sources": {"s": {"files": ["f"]}}}
    steps = make_plan(build_recipe(given)).table("filtered").steps
    return tuple(step for step in steps if step.name != "langid")


def reasons(steps, frame):
    """The first rule of all steps, in their order, that each row fails: "step.reason", or "" if it is kept."""
    failed = []
    for step in steps:
        seen = frame.with_columns(pl.col(step.name).struct.unnest())
        failed += [
            seen.select(
                pl.when(rule.expr).then(pl.lit(f"{step.name}.{reason}")).alias(f"{step.name}.{reason}")
            )
            for reason, rule in step.rules.items()
        ]
    return pl.concat(failed, how="horizontal").select(pl.coalesce("*").fill_null("")).to_series().to_list()


def verdicts(texts, tmp_path, steps):
    """First reason and final text of each text, by the engine."""
    pl.DataFrame({"text": texts}).write_parquet(tmp_path / "texts.parquet")
    rows = pl.DataFrame({"row": range(len(texts))}).select(
        key=pl.col("row").cast(pl.String), file=pl.lit(str(tmp_path / "texts.parquet")), row="row"
    )
    write_plan(rows, tmp_path / "plan.parquet")
    task = {
        "plan": str(tmp_path / "plan.parquet"), "start": 0, "stop": len(texts), "reads": [],
        "steps": step_tasks(steps), "out": str(tmp_path / "out.parquet"),
    }  # fmt: skip
    assert measure_shard(task)["errors"] == []
    frame = pl.read_parquet(tmp_path / "out.parquet")
    after = [new if new is not None else old for new, old in zip(frame["text"], texts, strict=True)]
    return list(zip(reasons(steps, frame), after, strict=True))


# What datatrove gives


@cache
def english():
    """Skips a test where the splitter english-exact or datatrove are missing."""
    pytest.importorskip("curate.text.english")
    return pytest.importorskip("datatrove.pipeline.filters", reason="datatrove is in the group dev")


def filters(**options):
    """datatrove's filter of each step, as FineWeb sets them."""
    module = english()
    return {
        "gopher_repetition": module.GopherRepetitionFilter(),
        "gopher_quality": module.GopherQualityFilter(**options),
        "c4": module.C4QualityFilter(filter_no_terminal_punct=False),
        "fineweb": module.FineWebQualityFilter(),
    }


def theirs(chain, text):
    """First reason and final text: what datatrove's filters say, one after the other."""
    from datatrove.data import Document

    document = Document(text=text, id="x")
    for name, judge in chain.items():
        result = judge.filter(document)
        if result is not True:
            return f"{name}.{result[1]}", document.text
    return "", document.text


def agree(texts, tmp_path, recipe="fineweb", only=None):
    """Every text gets datatrove's verdict, first reason, and (if it is kept) text."""
    chain = {name: judge for name, judge in filters().items() if only in (None, name)}
    if only == "c4" and recipe == "c4":
        chain["c4"] = english().C4QualityFilter()
    steps = [step for step in filtered(recipe) if step.name in chain]
    for text, (reason, after) in zip(texts, verdicts(texts, tmp_path, steps), strict=True):
        expected, rewritten = theirs(chain, text)
        assert reason == expected, text
        assert reason or after == rewritten, text


GOLDEN = [  # step, text, first reason; after c4 the text
    ("gopher_repetition", H, "", None),
    ("gopher_repetition", "", "empty", None),
    ("gopher_repetition", "hello", "", None),
    ("gopher_repetition", "hello world", "top_2_gram", None),
    ("gopher_repetition", "I am your father.\n" * 4, "dup_line_frac", None),
    ("gopher_repetition", "I am your father.\n\n" * 4, "dup_para_frac", None),
    ("gopher_repetition", GROOT + ("x" * 30 + ".\n\n") * 2, "dup_para_char_frac", None),
    ("gopher_repetition", GROOT.replace("\n\n", "\n") + ("x" * 40 + ".\n") * 2, "dup_line_char_frac", None),
    ("gopher_repetition", V1, "top_2_gram", None),
    ("gopher_repetition", V2, "top_3_gram", None),
    ("gopher_repetition", "we go to an extraordinarily " * 4 + H, "duplicated_5_n_grams", None),
    ("gopher_repetition", "cats like warm red bricks " * 4 + H, "top_4_gram", None),
    ("gopher_repetition", " ".join(f"w{number:02}" for number in range(60)), "", None),
    ("gopher_repetition", " ".join(f"x{number}" for number in range(10, 15)), "top_2_gram", None),
    ("gopher_repetition", " ".join(f"x{number}" for number in range(10, 20)), "top_3_gram", None),
    ("gopher_repetition", " ".join(f"x{number}" for number in range(10, 28)), "top_4_gram", None),
    ("gopher_repetition", " ".join(f"x{number}" for number in range(10, 35)), "", None),
    ("gopher_quality", H, "", None),
    ("gopher_quality", "I am too small...", "gopher_short_doc", None),
    ("gopher_quality", "I am " * 30, "gopher_below_avg_threshold", None),
    ("gopher_quality", "interconnection " * 50, "gopher_above_avg_threshold", None),
    ("gopher_quality", "# comment " * 50, "gopher_too_many_hashes", None),
    ("gopher_quality", "... comment " * 50, "gopher_too_many_ellipsis", None),
    ("gopher_quality", "THE AND OF " * 20, "gopher_below_avg_threshold", None),
    ("gopher_quality", "- the quick brown fox and that\n" * 19 + "have a look with me", "gopher_too_many_bullets", None),
    ("c4", H, "", H),
    ("c4", "\n".join(H.split("\n")[:5]), "", "\n".join(H.split("\n")[:5])),
    ("c4", "\n".join(H.split("\n")[:4]), "too_few_sentences", None),
    ("c4", H + "\nlorem ipsum dolor sit amet", "lorem_ipsum", None),
    ("c4", H + "\nThis is lorem ipsum dolor.", "lorem_ipsum", None),
    ("c4", H + "\nfunction foo() { return 1 }", "curly_bracket", None),
    ("c4", "function foo() { return 1 }\n" + H + "\nlorem ipsum dolor sit amet", "curly_bracket", None),
    ("c4", H + "\nfoo {.", "", H),
    ("c4", H + "\nThis line trails off...", "", H + "\nThis line trails off..."),
    ("c4", H + "\nPlease enable JavaScript to continue.", "", H),
    ("c4", H + "\nRead our Privacy Policy for details.", "", H),
    ("c4", H + "\nThis site uses coo\u212aies of all kinds.", "", H),
    ("c4", H + "\n" + "x" * 1001 + " is here.", "", H),
    ("c4", H + "\n" + "é" * 1000 + " is here.", "", H + "\n" + "é" * 1000 + " is here."),
    ("c4", H.replace("noise", "noise[12]"), "", H),
    ("c4", H.replace("noise", "noise[edit][citation needed][][٣]"), "", H),
    ("c4", H.replace("noise", "noise[Edit]"), "", H.replace("noise", "noise[Edit]")),
    ("c4", H + "\nSee [1] [2].", "", H + "\nSee  ."),
    ("c4", "[1] [2] [3] \n" + H + "\n [1]  [2] and [3]", "", H + "\n   and"),
    ("c4", H + "\nWrite java[1]script here.", "", H),
    ("c4", H + "\nShe said 'this is fine'", "", H + "\nShe said 'this is fine'"),
    ("c4", H + "\nThis ends with a quote.”", "", H + "\nThis ends with a quote.”"),
    ("c4", H.replace("\n", "\r\n"), "", H),
    ("c4", H.replace("\n", "\u2028"), "", H),
    ("fineweb", H, "", None),
    ("fineweb", H + "\n" + FIRST, "char_dup_ratio", None),
    ("fineweb", H.replace("\n", " \n") + " ", "line_punct_ratio", None),
    ("fineweb", H.replace("\n", '"\n') + '"', "line_punct_ratio", None),
    ("fineweb", H.replace(".", "…"), "line_punct_ratio", None),
    ("fineweb", H.replace(".", "。"), "", None),
    ("fineweb", "\n".join(line[:29] + "." for line in H.split("\n")), "short_line_ratio", None),
    ("fineweb", "\n".join(line[:30] + "." for line in H.split("\n")), "", None),
    ("fineweb", "", "empty", None),
    ("fineweb", " \n \n", "empty", None),
    ("fineweb", "a.\n" * 50, "short_line_ratio", None),
]  # fmt: skip


@pytest.mark.parametrize("splitter", ["plain", "english-exact"])
def test_golden_verdicts(splitter, tmp_path):
    """Where they differ, the splitter makes the difference: the plain one has no tokens of punctuation."""
    if splitter == "english-exact":
        english()
    steps = {step.name: step for step in filtered("fineweb")}
    for name in steps:
        cases = [case for case in GOLDEN if case[0] == name]
        step = steps[name]
        texts = [text for _, text, _, _ in cases]
        rows, after = run(name, texts, **{**step.options.model_dump(), "splitter": splitter})
        frame = pl.DataFrame({name: rows})
        for (_, text, reason, rewritten), found, new in zip(
            cases, reasons([step], frame), after, strict=True
        ):
            if splitter == "english-exact" or name in ("c4", "fineweb"):
                assert found == (f"{name}.{reason}" if reason else ""), text
            if rewritten is not None:
                assert new == rewritten


def test_golden_verdicts_are_those_of_datatrove(tmp_path):
    for name in filters():
        agree([text for step, text, _, _ in GOLDEN if step == name], tmp_path, only=name)
    agree([text for _, text, _, _ in GOLDEN], tmp_path)
    agree([text for _, text, _, _ in GOLDEN], tmp_path, recipe="c4", only="c4")


def test_golden_values():
    english()
    (row,), _ = run("gopher_repetition", [H], splitter="english-exact")
    assert row["characters"] == 314
    assert [row[f"top_{n}_gram"] for n in TOP] == [11 / 314, 17 / 314, 23 / 314]
    assert [row[f"duplicated_{n}_n_grams"] for n in DUPLICATED] == [0] * 6
    row = one("gopher_quality", H, splitter="english-exact")
    assert (row["words"], row["stop_words"]) == (57, 3)
    assert row["mean_word_length"] == pytest.approx(4.42105, abs=1e-5)
    assert row["alpha_word_ratio"] == pytest.approx(0.904762, abs=1e-6)
    assert one("fineweb", H, splitter="english-exact")["list_ratio"] == 5 / 63
    row = one("gopher_repetition", "we go to an extraordinarily " * 4 + H, splitter="english-exact")
    assert row["duplicated_5_n_grams"] == 69 / 426
    row = one("gopher_repetition", "cats like warm red bricks " * 4 + H, splitter="english-exact")
    assert row["top_4_gram"] == pytest.approx(0.1722, abs=1e-4)
    assert one("gopher_quality", "I am too small...", splitter="english-exact")["words"] == 4


def test_values_of_lines_and_paragraphs():
    row = one("gopher_repetition", "I am your father.\n" * 4)
    assert (row["dup_line_frac"], row["dup_line_char_frac"]) == (3 / 5, 51 / 72)
    assert one("gopher_repetition", "I am your father.\n\n" * 4)["dup_para_frac"] == 3 / 4
    assert one("gopher_repetition", GROOT + ("x" * 30 + ".\n\n") * 2)["dup_para_char_frac"] == 31 / 117
    text = GROOT.replace("\n\n", "\n") + ("x" * 40 + ".\n") * 2
    assert one("gopher_repetition", text)["dup_line_char_frac"] == 41 / 132
    row = one("fineweb", H + "\n" + FIRST)
    assert row["char_dup_ratio"] == pytest.approx(0.1534, abs=1e-4)
    assert row["lines"] == 7


def test_c4_tells_why_lines_went():
    text = "\n".join(
        [H, "x" * 1001, "", "no end mark here", "Too few.", "JavaScript is needed.", "We use cookies here."]
    )
    row = one("c4", text)
    assert {name: row[f"lines_{name}"] for name in ("kept", "long_word", "no_punctuation", "few_words", "javascript", "policy")} == {
        "kept": 6, "long_word": 1, "no_punctuation": 2, "few_words": 1, "javascript": 1, "policy": 1,
    }  # fmt: skip
    assert (row["lines"], row["sentences"]) == (12, 6)
    assert one("c4", text, terminal_punctuation=False)["lines_kept"] == 7


@pytest.mark.parametrize(
    ("line", "datatrove", "tfds"),
    [
        ("She said 'this is the end'", True, False),
        ("See [1] [2] now.", True, False),  # two words are left
        ("This is a fine line.", True, True),
        ("This trails off...", False, False),
    ],
)
def test_dialects_of_c4(line, datatrove, tfds):
    rows = [
        one("c4", line, dialect=dialect, min_words_per_line=3)["lines_kept"]
        for dialect in ("datatrove", "tfds")
    ]
    assert rows == [datatrove, tfds]


def test_what_c4_would_drop_as_a_page_keeps_its_text():
    for text in (H + "\nA line of lorem ipsum.  ", " \n" + H + "\nif (x) { return; } else."):
        (row,), (after,) = run("c4", [text])
        assert after == text
        assert row["lorem_ipsum"] != row["curly_bracket"]


def test_the_sentences_of_the_plain_splitter_are_reasonable():
    assert one("c4", 'He came. "Really?" she asked! Yes (of course.) And so on.')["sentences"] == 5
    text = "港口一大早就开放。渔船在黎明前离开！渔民 检查渔网。 a b?"
    assert one("c4", text, min_words_per_line=1)["sentences"] == 4


# Parity


def site_texts():
    from curate.sources.extract import ExtractOptions, extract

    pages = sorted((Path(__file__).parents[1] / "examples" / "site").rglob("*.html"))
    found = [extract(page.read_bytes(), "", ExtractOptions()).get("text", "") for page in pages[::6]]
    return [text for text in found if text]


def docstrings():
    modules = "argparse ast asyncio collections contextlib csv dataclasses datetime decimal difflib email enum fractions functools heapq inspect io itertools json logging os pathlib pickle random re shutil socket statistics string subprocess tarfile textwrap threading typing unittest urllib.parse uuid zipfile"
    found = []
    for name in modules.split():
        module = __import__(name, fromlist=["x"])
        docs = [inspect.getdoc(member) or "" for _, member in sorted(vars(module).items(), key=str)]
        found += [doc for doc in docs if len(doc) > 300] + ["\n\n".join(docs)[:20_000]]
    return sorted(set(found))


PIECES = [
    "the ", "be ", "to ", "of ", "and that ", "have ", "with ", "I am ", "groot. ", "you are ", "\n", "\n\n", "\n \n",
    "\r\n", "\u2028", "\x0b", " ", "  ", "\t", "...", "…", " • ", "- ", "#", "{", "lorem ipsum ", "Lorem Ipsum",
    "javascript ", "privacy policy", "use cookies ", "uses coo\u212aies ", "terms of use ", " [1]", "[edit]",
    "[citation needed]", "[12[3]]", "[٣]", "a.", "Hello! ", "Really? ", "(e.g. U.S.A.) ", "don't ", "中文。", "日本 ",
    "é", "naïve ", "word word word ", "interesting ", "facilities ", ":) ", "\x00", "\x1f", "\xa0", "\u3000", "😀 ",
    "x" * 1001 + " ", "1234 ", "12.5% ", "A sentence here is good. ", FIRST + "\n", LAST, H, "\u0130",
]  # fmt: skip


def hostile(seed, count):
    chance = random.Random(seed)
    made = ["".join(chance.choices(PIECES, k=chance.choice([3, 10, 30, 100, 300]))) for _ in range(count)]
    return made + [H + "\n" + text for text in made[::2]] + [
        H.replace("\n", " " + chance.choice(PIECES) + "\n") for _ in range(count // 4)
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("step", [None, "gopher_repetition", "gopher_quality", "c4", "fineweb"])
def test_hostile_texts_get_the_verdict_of_datatrove(step, tmp_path):
    english()
    texts = [text for text in hostile(1, 80) if step is None or text.strip()]
    agree(texts, tmp_path, only=step)
    if step == "c4":
        agree(texts, tmp_path, recipe="c4", only="c4")


def test_real_texts_get_the_verdict_of_datatrove(tmp_path):
    english()
    pytest.importorskip("trafilatura")
    texts = site_texts() + docstrings()[::6]
    assert len(texts) > 100
    agree(texts, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("step", [None, "gopher_repetition", "gopher_quality", "c4", "fineweb"])
def test_many_texts_get_the_verdict_of_datatrove(step, tmp_path):
    english()
    agree([text for text in docstrings() + hostile(2, 400) if text.strip()], tmp_path, only=step)


# The same whatever else is in the batch


def test_a_row_does_not_depend_on_its_batch():
    texts = [text for _, text, _, _ in GOLDEN] + hostile(3, 30)
    for name in ("gopher_repetition", "gopher_quality", "c4", "fineweb"):
        rows, after = run(name, texts)
        assert [run(name, [text]) for text in texts] == [
            ([row], [new]) for row, new in zip(rows, after, strict=True)
        ]
        assert run(name, texts[::-1]) == (rows[::-1], after[::-1])


def test_the_tokens_that_c4_leaves_are_counted(tmp_path):
    """The step after c4 need not find them again, and gets the same number."""
    english()
    texts = hostile(4, 60)
    stage = find_stage("c4")
    result = stage.run(
        Batch(strings(texts)), stage.options(splitter="english-exact", terminal_punctuation=False)
    )
    known = result.found["token counts english-exact"]
    assert known.tolist() == find_tokens(result.text, "english-exact").tokens.tolist()
