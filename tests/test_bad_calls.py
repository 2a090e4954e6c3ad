"""Names, rules and models that are wrong, through the command line: 2, an error and a hint, and nothing is begun."""

import re

import pytest

from tests.lakes import RECIPE, make_recipe

# What each rule, setting and call is answered with: the error and the hint.

RULES = {
    "word < 3": ("'word', which is no column", 'Did you mean "words"'),
    "lpad(title, 4000000000, 'x') = ''": (
        "uses PadStart, which rules may not",
        "A rule looks at one document",
    ),
    "repeat('x', 4000000000) = ''": ("unsupported function 'repeat'", "A rule is true for"),
    "replace(title, '', 'xxxxxxxx') = ''": (
        "uses Replace, which rules may not",
        "A rule looks at one document",
    ),
    "words IN (SELECT 1)": ("uses Agg, which rules may not", "A rule looks at one document"),
    "words <": (r"\[filtered.length\] drop.x: .* no SQL", "for example"),
    "NULL": (r"\[filtered.length\] drop.x: .* gives Null", "comparison"),
    "words < NULL": ("gives NULL for an empty document", "COALESCE"),
    "words > AVG(words)": ("AVG.* may not", "one document"),
}
SETTINGS = {
    "extends=doc": ('extends "doc", which is neither packaged nor a file', 'Did you mean "docs"'),
    "filterd.length.drop.x=TRUE": ("filterd", 'Did you mean "filtered"'),
    "filtered.lenght.drop.x=TRUE": ('no stage "lenght"', 'Did you mean "length"'),
    "deduplicated.minhash.treshold=1": ('no option "treshold"', 'Did you mean "threshold"'),
    "deduplicated.minhash.threshold=2": ("threshold = 2", "similarity"),
    "sources.files.fils=x": ('no key "fils"', 'Did you mean "files"'),
    'sources.files.keep={file="string"}': ('keeps "file"', "Rename the column"),
    'sources.files.keep={length="int"}': ('keeps "length"', "Rename the column"),
    "filtered.title.use=length": (r"\[filtered.title\] is called like a column", "my_title"),
    "corpus.length={}": (r"\[corpus.length\] is called like a step of filtered", "my_length"),
    "filtered.langid.max_chars=-1": (r"\[filtered.langid\] max_chars = -1", "characters read"),
    "filtered.perplexity={}": (r"\[filtered.perplexity\] has no model", "path of a KenLM model"),
    # Delta Lake would not tell them apart.
    'filtered.LENGTH={use="length"}': (r"\[filtered.LENGTH\] is called like a step of filtered", "my_LENGTH"),
    'sources.files.keep={Topic="string",topic="string"}': (
        'keeps "topic" beside "Topic"|keeps "Topic" beside "topic"',
        "Rename",
    ),
}
CALLS = {
    "run curat.toml": ("There is no recipe curat.toml", "curate init"),
    "run --wrokers 1": ("--wrokers", "--help"),
    "init s3://bucket/*.jsonl -o new.toml": (
        "s3://bucket/.* object store",
        r'files = "s3://bucket/\*.jsonl"',
    ),
}


def settings(found, key=""):
    return [pytest.param(["run", "--set", key + one], *told, id=one) for one, told in found.items()]


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        *settings(RULES, "filtered.length.drop.x="),
        *settings(SETTINGS),
        *[pytest.param(call.split(), *told, id=call) for call, told in CALLS.items()],
    ],
)
def test_what_is_misspelt_or_forbidden_is_said_before_anything_begins(
    arguments, message, hint, curate, tmp_path
):
    make_recipe(tmp_path, count=2)
    said = curate(*arguments)
    assert (said.code, said.out) == (2, "")
    assert re.search(message, said.error)
    assert re.search(hint, said.hint)
    assert not (tmp_path / "lake").exists()


def test_a_step_that_is_there_twice_is_told_with_its_line(curate_run, tmp_path):
    make_recipe(tmp_path, count=2)
    said = curate_run(RECIPE + "[filtered.length]\n[filtered.length]\n")
    assert (said.code, said.out) == (2, "")
    assert re.search(r"curate.toml is no TOML: .*'length'.* twice \(at line 11", said.error)
    assert "docs/reference/recipes.md" in said.hint


# Models and lists that are none: told as what they are, and no document is blamed.

NONE_OF_THEM = {
    "langid.model": ("junk", "fastText model that can be loaded", "Give the path"),
    "langid_paragraphs.model": ("junk", "fastText model that can be loaded", "Give the path"),
    "classifier.model": ("junk", "does not begin as one", "Give the path"),
    "perplexity.model": ("junk", "KenLM model that can be loaded", "lmplz"),
    "tokenize.tokenizer": ("junk", "no tokenizer", "tokenizer.json"),
    "url_filter.domains": ("latin", "no UTF-8 text", "one entry a line"),
    "bad_words.lists": ("junk", "no JSON", "A list is a JSON object"),
    "limits.files": ("junk", "no file of FineWeb-2's configs", "keys|configs"),
}


@pytest.mark.parametrize("found", ["gone", "none"])
@pytest.mark.parametrize(
    "option", [pytest.param(one, marks=[] if one == "url_filter.domains" else pytest.mark.slow) for one in NONE_OF_THEM]
)  # fmt: skip
def test_a_file_that_is_none_ends_the_run_and_drops_nothing(option, found, curate, curate_run, tmp_path):
    name, message, hint = NONE_OF_THEM[option]
    if option.startswith("perplexity"):
        pytest.importorskip("kenlm")
    (tmp_path / "junk").write_text("words, and no model " * 20)
    (tmp_path / "latin").write_bytes(b"caf\xe9.example\n")
    make_recipe(tmp_path, count=12)
    label = ("--set", 'filtered.classifier.label="x"') if option.startswith("classifier") else ()
    said = curate_run("", "--set", f"filtered.{option}={name if found == 'none' else 'nowhere'}", *label)
    assert (said.code, said.out) == (2, "")
    assert re.search(message if found == "none" else "nowhere", said.error)
    assert re.search(hint, said.hint)
    assert "no lake" in curate("show").error or "filtered" not in curate("show").out


@pytest.mark.slow
def test_a_model_that_is_none_is_told_by_worker_processes_too(curate, tmp_path):
    (tmp_path / "junk").write_text("words, and no model " * 20)
    make_recipe(tmp_path, count=30)
    said = curate("run", "--workers", "2", "--no-index", "--set", "filtered.langid.model=junk")
    assert said.code == 2
    assert "fastText model" in said.error
