"""The command line: what it says, what it answers to a program, and how it ends."""

import importlib
import inspect
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.cli import main
from curate.cli.app import COMMANDS, FAMILIES, GROUPS, make_app
from curate.cli.options import read_settings
from schemas.errors import UsageError
from schemas.recipe import load_recipe
from tests.lakes import documents, make_recipe, run, text, write_jsonl
from tests.sites import Page, serve

HEAVY = (
    "polars",
    "pyarrow",
    "numba",
    "numpy",
    "torch",
    "faiss",
    "deltalake",
    "dagster",
    "pydantic",
    "jinja2",
)
EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e[red][/foo]"
ALL = [
    *[(name, f"curate.cli.{name}:{name}") for name in COMMANDS],
    *[
        (f"{family} {name}", f"curate.cli.{family}:{'list_' if name == 'list' else name}")
        for family, members in FAMILIES.items()
        for name in members
    ],
]


def function(path):
    module, name = path.split(":")
    return getattr(importlib.import_module(module), name)


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """A lake of 30 documents, titled by somebody who means no good."""
    folder = tmp_path_factory.mktemp("cli")
    rows = [{**row, "title": f"{row['title']} {EVIL}"} for row in documents(30)]
    write_jsonl(folder / "docs.jsonl", rows)
    run(make_recipe(folder))
    return folder / "lake"


def answer(capsys, *arguments, code=0):
    """stdout of a command; what it says to people is on stderr."""
    assert main([str(argument) for argument in arguments]) == code
    return capsys.readouterr().out


def refusal(capsys, *arguments, code=2):
    assert main([str(argument) for argument in arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


# What the help says.


def test_every_command_stands_in_the_overview_under_its_group(capsys):
    shown = answer(capsys, "--help")
    assert re.findall(r"─ (\w+) ─", shown) == [*GROUPS, "Options"]
    for name, summary in COMMANDS.items():
        assert re.search(rf"│ {name} +{re.escape(summary)}", shown), name
    assert set(COMMANDS) | set(FAMILIES) == {name for names in GROUPS.values() for name in names}


@pytest.mark.parametrize(("name", "path"), ALL)
def test_the_summary_of_a_command_is_the_first_line_of_its_help(name, path):
    family, _, member = name.partition(" ")
    summary = FAMILIES[family][member] if member else COMMANDS[name]
    assert inspect.getdoc(function(path)).split("\n")[0] == summary


@pytest.mark.parametrize(("name", "path"), ALL)
def test_every_command_ends_its_description_with_an_example(name, path, capsys):
    described = inspect.getdoc(function(path))
    # What stands as `console` is run by tests/test_docs.py; a server would not end.
    (command,) = re.findall(r"\*\*Example:\*\*\n\n```(?:console\n\$ |sh\n)(curate .+)\n```", described)
    assert command.startswith(f"curate {name}")
    assert command in answer(capsys, *name.split(), "--help")


@pytest.mark.parametrize(("name", "path"), ALL)
def test_every_argument_of_a_command_is_explained(name, path):
    app = make_app(name.split())
    for part in name.split():
        app = app[part]
    for argument in app.assemble_argument_collection(parse_docstring=True):
        assert argument.parameter.help, argument.name


def test_the_overview_is_quick_and_imports_nothing_heavy(tmp_path):
    code = (
        "import sys, time\nfrom curate.cli import main\nmain(['--help'])\n"
        f"print([name for name in {HEAVY} if name in sys.modules], time.process_time(), file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path)}  # the first run compiles
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    said = [
        subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        for _ in range(3)
    ]
    found = [one.stderr.rsplit(maxsplit=1) for one in said]
    assert {heavy for heavy, _ in found} == {"[]"}
    assert min(float(seconds) for _, seconds in found) < 1  # 0.2 s here


def test_a_mistyped_command_imports_nothing_heavy_either():
    mistyped = [["rnu"], ["lake", "gcc"], ["plan", "--lak"], ["why", "--help"], ["run", "--help"]]
    code = (
        f"import sys\nfrom curate.cli import main\nfor tokens in {mistyped}: main(tokens)\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[-1] == "[]"


# How it is told that something is wrong.


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["rnu"], 'curate has no command "rnu"', 'Did you mean "run"'),
        (["lake", "gcc"], 'curate lake has no command "gcc"', 'Did you mean "gc"'),
        (["plan", "--lak", "x"], "Unknown option: --lak. Did you mean --lake?", "curate plan --help"),
        (["search"], "QUESTION", "curate search --help"),
        (["search", "x", "--k", "many"], '"many" into int', "curate search --help"),
        (["search", "x", "--k", "0"], '"0" for --k', "curate search --help"),
        (["search", "x", "--mode", "fuzzy"], "hybrid", "curate search --help"),
        (["log", "too", "much"], "too", "curate log --help"),
        (["run", "nowhere.toml"], "There is no recipe nowhere.toml", "curate init"),
        (["clean", "a.jsonl", "-o", "b.jsonl", "--columns", "body"], "names no column", "text=body"),
        (["clean", "a.jsonl", "-o", "b.jsonl", "--columns", "=body"], "names no column", "text=body"),
        (["dedup", "a.jsonl", "-o", "b.jsonl", "--columns", "text="], "names no column", "text=body"),
        (["clean", "a.jsonl", "-o", "b.jsonl", "--columns", "text=a", "--columns", "text=b"], 'text is in "a" and in "b"', "one of them"),
        (["clean", "a.jsonl", "-o", "b.jsonl", "--columns", "tekst=body"], "nothing asks for a column tekst", 'Did you mean "text"?'),
        (["dedup", "a.jsonl", "-o", "b.jsonl", "--columns", "tekst=body"], "nothing asks for a column tekst", 'Did you mean "text"?'),
        (["clean", "a.jsonl", "-o", "b.jsonl", "--set", 'filtered.langid.drop.x=language = "de"'], "names 'de'", "in single quotes: 'de'"),
        (["clean", "a.jsonl", "-o", "b.jsonl", "--set", "filtered.classifier.model=x"], "has no label, which it needs", "probability"),
        (["check", "wbe", "--sample", "a.jsonl"], "There is no recipe wbe", 'Did you mean "web"?'),
        (["run", "web"], "There is no recipe web", "curate init URL|FILES... --extends web"),
        (["plan", "--set", "novalue"], "has no value", "KEY=VALUE"),
        (["init"], "Nothing to look at", "curate init https://"),
        (["run", "--limit", "-1"], '"-1" for --limit', "curate run --help"),
        (["run", "--workers", "0"], '"0" for --workers', "curate run --help"),
        (["show", "--limit", "-1"], '"-1" for --limit', "curate show --help"),
        (["log", "--limit", "-1"], '"-1" for --limit', "curate log --help"),
        (["lake", "gc", "--keep", "0"], '"0" for --keep', "curate lake gc --help"),
        (["ui", "--port", "70000"], '"70000" for --port', "curate ui --help"),
        (["train", "classifier", "none.jsonl"], "There is no file none.jsonl", "curate label"),
    ],
)  # fmt: skip
def test_wrong_use_names_the_fault_and_the_way_out(arguments, message, hint, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = refusal(capsys, *arguments)
    first, second = said.splitlines()[:2]
    assert first.startswith("error: ")
    assert message in first
    assert second.startswith("hint: ")
    assert hint in second


def test_a_failure_that_is_no_misuse_exits_with_1(capsys, tmp_path):
    said = refusal(capsys, "log", "--lake", tmp_path / "none", code=1)
    assert said.startswith("error: ")
    assert "holds no lake" in said


@pytest.mark.parametrize("asked", ["kept.jsonl", "kept.jsonl.curate"])
def test_the_lake_of_a_clean_is_named_to_who_asks_beside_it(asked, capsys, tmp_path):
    home = tmp_path / "kept.jsonl.curate" / "lake"
    (home / "runs" / "_delta_log").mkdir(parents=True)
    said = refusal(capsys, "show", "--lake", tmp_path / asked, code=1)
    assert f"hint: --lake {home} holds one." in said


def test_a_fault_of_ours_is_one_line_and_debug_shows_the_rest(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("curate.toml").write_text('name = "x"')
    Path("curate.toml").chmod(0)
    Path("folder.toml").mkdir()
    broken = ["clean", "folder.toml", "-o", "/proc/none/x.jsonl"]
    said = refusal(capsys, *broken, code=1)
    assert re.match(r"error: \w+Error: .*\nhint: --debug shows the traceback\.\n$", said)
    with pytest.raises(OSError, match="none"):
        main([*broken, "--debug"])


def test_an_error_cannot_write_to_the_terminal(capsys):
    said = refusal(capsys, "run", f"{EVIL}.toml")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", said)


def test_a_reader_that_has_seen_enough_is_no_error(lake):
    command = f"{sys.executable} -m curate show documents --limit 30 --lake {lake} --json | head -1"
    said = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert said.stderr == ""


# --set


def test_settings_are_toml_and_what_is_none_is_a_string():
    assert read_settings(
        ["a.b=0.7", "a.c=words < 20", "a.d=false", 'a.e="x"', "a.f=[1, 2]", "a.g=it's \"quoted\"", "name=x"]
    ) == {
        "a": {"b": 0.7, "c": "words < 20", "d": False, "e": "x", "f": [1, 2], "g": 'it\'s "quoted"'},
        "name": "x",
    }  # fmt: skip


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_a_value(value):
    try:
        import tomllib

        tomllib.loads(f"key = {value.strip()}")
    except tomllib.TOMLDecodeError:
        assert read_settings([f"key={value}"]) == {"key": value.strip()}


@pytest.mark.parametrize("wrong", ["novalue", "=1", "a b=1", "a..b=1"])
def test_a_setting_that_is_none_is_refused(wrong):
    with pytest.raises(UsageError):
        read_settings([wrong])


# Commands on a lake.


def test_a_run_ends_with_the_funnel_one_sentence_and_what_to_do_next(tmp_path, capsys, monkeypatch):
    make_recipe(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--no-index", "--workers", "1"]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0].startswith("pages")
    assert re.match(r"✓ harbour version \d+: 21 documents, .*s$", lines[-3])
    assert re.match(r"  report  lake/harbour/reports/\S+\.html$", lines[-2])
    assert lines[-1] == "  next    curate show corpus"
    assert Path(lines[-2].split()[1]).is_file()
    assert "filtered" in captured.err
    again = json.loads(answer(capsys, "run", "--no-index", "--workers", "1", "--json"))
    assert (again["name"], again["version"]) == ("harbour", 5)
    assert sum(table["measured"] for table in again["tables"]) == 0


@pytest.mark.slow
def test_a_clean_says_where_the_kept_and_the_dropped_are(tmp_path, capsys, monkeypatch):
    write_jsonl(tmp_path / "posts.jsonl", [{"body": row["text"], "n": 1} for row in documents(20)])
    monkeypatch.chdir(tmp_path)
    shown = answer(
        capsys,
        "clean",
        "posts.jsonl",
        "-o",
        "kept.jsonl",
        "--recipe",
        "docs",
        "--columns",
        "text=body",
        "--workers",
        1,
    )
    kept = [json.loads(line) for line in Path("kept.jsonl").read_text().splitlines()]
    assert len(kept) == 14
    # Nobody counts its versions; nothing was there before.
    assert re.search(r"✓ clean: 14 documents, \d", shown)
    dropped = re.search(r"dropped  (\S+)", shown).group(1)
    assert Path(dropped).is_file()
    following = re.search(r"next     curate (.+)", shown).group(1)
    assert "posts.jsonl#" in answer(capsys, *following.split())


@pytest.mark.slow
def test_a_clean_into_shards_names_a_file_that_is_there(tmp_path, capsys, monkeypatch):
    write_jsonl(tmp_path / "posts.jsonl", documents(5))
    monkeypatch.chdir(tmp_path)
    shown = answer(capsys, "clean", "posts.jsonl", "-o", "kept.jsonl", "--shard-size", "1MB", "--workers", 1)
    assert re.search(r"kept +kept-00000.jsonl", shown)
    assert Path("kept-00000.jsonl").is_file()


def test_the_log_has_a_line_for_each_run(lake, capsys):
    (row,) = json.loads(answer(capsys, "log", "--lake", lake, "--json"))
    assert (row["name"], row["version"], row["documents"], row["kind"]) == ("harbour", 5, 21, "run")
    assert row["tables"] == ["pages", "documents", "filtered", "deduplicated", "corpus"]
    assert row["bytes"] > 0
    assert re.search(r"5 +\d{4}-\d\d-\d\d \d\d:\d\d +harbour +run +21", answer(capsys, "log", "--lake", lake))


def test_rollback_and_tag_are_lines_of_the_log_too(tmp_path, capsys):
    recipe = make_recipe(tmp_path, count=10)
    run(recipe)
    write_jsonl(tmp_path / "docs.jsonl", documents(10)[:2])
    run(recipe)
    home = tmp_path / "lake"
    assert "is tagged small" in answer(capsys, "lake", "tag", "small", "--lake", home)
    assert "back to version 5" in answer(capsys, "lake", "rollback", "5", "--lake", home)
    rows = json.loads(answer(capsys, "log", "--lake", home, "--json"))
    assert [(row["kind"], row["documents"]) for row in rows] == [
        ("rollback", 7), ("tag", 2), ("run", 2), ("run", 7),
    ]  # fmt: skip
    assert rows[1]["message"] == "small"
    assert len(json.loads(answer(capsys, "log", "--limit", 1, "--lake", home, "--json"))) == 1


def test_show_tells_what_is_in_the_lake(lake, capsys):
    (held,) = json.loads(answer(capsys, "show", "--lake", lake, "--json"))
    assert (held["name"], held["documents"], held["live"]) == ("harbour", 21, "")
    assert held["tables"]["filtered"] == {"rows": 30, "kept": 27}
    shown = answer(capsys, "show", "--lake", lake)
    assert "version 5, 21 documents, no index is live" in shown


def test_show_gives_rows_of_a_table_and_those_of_a_reason(lake, capsys):
    rows = json.loads(answer(capsys, "show", "corpus", "--limit", 2, "--lake", lake, "--json"))
    assert len(rows) == 2
    assert rows[0]["place"].startswith("docs.jsonl#")
    for arguments in (["--dropped", "too_short"], ["filtered", "--dropped", "length.too_short"]):
        rows = json.loads(answer(capsys, "show", *arguments, "--lake", lake, "--json"))
        assert [row["reason"] for row in rows] == ["length.too_short"] * 3
    assert "docs.jsonl#4" in answer(capsys, "show", "--dropped", "too_short", "--lake", lake)


def test_show_of_what_was_dropped_shows_how_it_begins(lake, capsys):
    rows = json.loads(answer(capsys, "show", "--dropped", "too_short", "--lake", lake, "--json"))
    assert {(row["text"], row["title"].split()[0]) for row in rows} == {("Too short.", "Page")}
    assert "Too short." in answer(capsys, "show", "--dropped", "too_short", "--lake", lake)


def test_show_leaves_room_for_words_beside_long_places(lake, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "a folder of some length" / "and another one within it"
    folder.mkdir(parents=True)
    (folder / "short.md").write_text("Too short to be kept.")
    assert main(["clean", str(folder), "-o", "x.jsonl", "--recipe", "docs", "--workers", "1"]) == 0
    monkeypatch.setenv("COLUMNS", "80")
    shown = answer(capsys, "show", "--dropped", "length.too_short", "--lake", "x.jsonl.curate/lake")
    assert "length.too_short" in shown
    assert "Too short" in shown


def test_show_of_one_name_shows_that_one(lake, capsys):
    assert [
        held["name"]
        for held in json.loads(answer(capsys, "show", "--name", "harbour", "--lake", lake, "--json"))
    ] == ["harbour"]
    assert 'Did you mean "harbour"?' in refusal(capsys, "show", "--name", "habour", "--lake", lake, code=1)


def test_show_helps_with_names(lake, capsys):
    assert 'Did you mean "filtered"' in refusal(capsys, "show", "filterd", "--lake", lake)
    assert 'Did you mean "length.too_short"' in refusal(
        capsys, "show", "--dropped", "too_shrt", "--lake", lake
    )


def test_why_names_the_rule_its_value_and_the_way_back(lake, capsys):
    shown = answer(capsys, "why", "docs.jsonl#4", "--lake", lake)
    assert shown.startswith("dropped by filtered.length: too_short  Page 3")
    assert re.search(r"too_short: words < 10 +words 2 +-8", shown)
    assert re.search(r"empty_text: chars = 0 +chars 10", shown)
    assert '[filtered.length]\n  drop.too_short = "words < 2"' in shown
    typed = shown.splitlines()[-1].strip()
    assert typed == f"curate plan --set 'filtered.length.drop.too_short=words < 2' --lake {lake}"
    recipe = lake.parent / "curate.toml"
    assert "comes back: too_short" in answer(capsys, "plan", recipe, *shlex.split(typed)[2:])


def test_why_names_the_document_that_stands_for_a_copy(lake, capsys):
    shown = answer(capsys, "why", "docs.jsonl#6", "--lake", lake)
    assert shown.startswith("dropped by deduplicated.exact: duplicate")
    assert re.search(r"duplicate of +docs.jsonl#5 Page 4.*similarity 1.000", shown)
    found = json.loads(answer(capsys, "why", "docs.jsonl#6", "--lake", lake, "--json"))
    assert (found["step"], found["kept"]) == ("exact", False)
    assert answer(capsys, "why", "docs.jsonl#1", "--lake", lake).startswith("kept  Page 0")


def test_plan_prints_the_recipe_and_what_it_would_change(lake, capsys):
    recipe = lake.parent / "curate.toml"
    shown = answer(
        capsys, "plan", recipe, "--lake", lake, "--set", "filtered.length.drop.too_short=words < 1"
    )
    assert 'too_short = "words < 1"' in shown
    assert re.search(r"comes back: too_short +docs.jsonl#4", shown)
    # Two tables would measure it, and it is one document.
    assert "corpus: 1 would come back; 0 would go; 1 has to be measured first, and counts as kept" in shown
    assert "index: none is live; a run would make chunks, vectors and the index." in shown
    same = answer(capsys, "plan", recipe, "--lake", lake, "--set", "index=false")
    assert "A run would change nothing." in same
    found = json.loads(answer(capsys, "plan", recipe, "--lake", lake, "--json"))
    assert found["recipe"]["name"] == "harbour"
    assert [table["table"] for table in found["tables"]] == [
        "documents",
        "filtered",
        "deduplicated",
        "corpus",
    ]


@pytest.mark.slow
def test_why_takes_the_end_of_a_path_that_only_one_document_has(tmp_path, capsys):
    for path in ("a/door.md", "b/door.md", "b/trapdoor.md", *[f"c{n}/door.md" for n in range(5)]):
        (tmp_path / "notes" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "notes" / path).write_text(f"# {path}\n\n{text(path)}\n")
    run(make_recipe(tmp_path, 'name = "notes"\nextends = "docs"\n[sources.files]\nfiles = "notes"\n'))
    home = tmp_path / "lake"
    assert answer(capsys, "why", "trapdoor.md", "--lake", home).startswith("kept  b/trapdoor.md")
    assert answer(capsys, "why", "b/door.md", "--lake", home).startswith("kept  b/door.md")
    said = refusal(capsys, "why", "door.md", "--lake", home)
    assert '"door.md" fits 7 places of notes.' in said
    assert said.splitlines()[1].count("/door.md") == 5
    assert 'Did you mean "notes/a/door.md"' in refusal(capsys, "why", "notes/a/doors.md", "--lake", home)
    (tmp_path / "notes" / "b" / "trapdoor.md").unlink()
    run(tmp_path / "curate.toml")
    assert "was made of this page (the file is gone)" in answer(capsys, "why", "trapdoor.md", "--lake", home)


def test_why_of_a_file_of_many_names_some_of_its_records(lake, capsys):
    said = refusal(capsys, "why", "docs.jsonl", "--lake", lake)
    assert '"docs.jsonl" fits 30 places of harbour.' in said
    assert "docs.jsonl#1, docs.jsonl#2, docs.jsonl#3, docs.jsonl#4, docs.jsonl#5, ..." in said


def test_why_after_a_clean_names_the_command_again(tmp_path, capsys, monkeypatch):
    write_jsonl(tmp_path / "posts.jsonl", documents(10))
    monkeypatch.chdir(tmp_path)
    answer(capsys, "clean", "posts.jsonl", "-o", "kept.jsonl", "--recipe", "docs", "--workers", 1)
    shown = answer(capsys, "why", "posts.jsonl#4", "--lake", "kept.jsonl.curate/lake")
    setting = "--set 'filtered.length.drop.too_short=words < 2'"
    plan = f"curate plan {setting} --lake kept.jsonl.curate/lake"
    clean = f"curate clean ... -o kept.jsonl {setting}"
    assert shown.endswith(f"to see the effect first\n  {plan}\nto keep it\n  {clean}\n")


@pytest.fixture(scope="module")
def crawled(tmp_path_factory):
    """A site of which some pages were never asked for, or gave nothing."""
    folder = tmp_path_factory.mktemp("crawled")
    body = f"<html><body><main><h1>Home</h1><p>{text(1, 80)}</p>{{}}</main></body></html>"
    link = '<a href="{}">x</a>'
    paths = ("/deep", "/secret", "/hidden", "/gone", "/left", "/file.zip")
    pages = {
        "/": body.format("".join(link.format(path) for path in paths)),
        "/robots.txt": Page("User-agent: *\nDisallow: /secret", "text/plain"),
        "/secret": body,
        "/hidden": f'<meta name="robots" content="noindex">{body}',
        "/deep": body.replace("Home", "Deep").format(link.format("/deeper")),
    }
    with serve(pages) as site:
        (folder / "curate.toml").write_text(
            f'name = "site"\nextends = "docs"\n[sources.web]\nurl = "{site.url}"\nallow_private = "127.0.0.1"\n'
            'max_depth = 1\ndeny = ["*/left"]\n'
        )
        run(folder / "curate.toml")
        yield site.url, folder / "lake"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("secret", r"\(banned by robots.txt or noindex\)(.|\n)*problem +robots.txt forbids it"),
        ("hidden", r"\(banned by robots.txt or noindex\)(.|\n)*problem +noindex"),
        ("gone", r"\(HTTP 404\)(.|\n)*asked +.*, HTTP 404\n$"),
    ],
)
def test_why_says_in_words_what_came_of_a_page(crawled, path, said, capsys):
    url, home = crawled
    assert re.search(said, answer(capsys, "why", url + path, "--lake", home))


@pytest.mark.parametrize(
    ("path", "why", "way"),
    [
        ("deeper", "/deep links to it, 2 links from the start, and max_depth = 1.", "max_depth = 2 under"),
        ("left", "deny of [sources.web] leaves it out.", 'deny = ["*/left"]'),
        ("file.zip", "such URLs are not asked for (no text by its file name).", "No reader"),
        ("nowhere", "no page that was read links to it, and no sitemap names it.", "asks for it"),
        ("https://else.example/x#top", "[sources.web] is limited to 127.0.0.1.", "a source of its own"),
    ],
)
def test_why_tells_why_a_url_was_never_asked_for(crawled, path, why, way, capsys):
    url, home = crawled
    asked = path if ":" in path else url + path
    first, second = refusal(capsys, "why", asked, "--lake", home).splitlines()
    assert first.startswith(f"error: site never asked for {asked.removesuffix('#top')}: ")
    assert first.endswith(why)
    assert way in second


def test_a_damaged_log_is_an_error_with_a_way_out(tmp_path, capsys):
    run(make_recipe(tmp_path, count=5))
    newest = max((tmp_path / "lake" / "runs").glob("*.parquet"))
    whole = newest.read_bytes()
    for content in (whole[:100], None):
        newest.write_bytes(content) if content else newest.unlink()
        for command in (["show"], ["show", "corpus"], ["log"], ["index", "list"], ["why", "x"]):
            said = refusal(capsys, *command, "--lake", tmp_path / "lake", code=1)
            assert "is gone or damaged" in said
            assert "hint: curate lake verify names it" in said
        assert f"✗ runs: {newest.name}" in answer(
            capsys, "lake", "verify", "--lake", tmp_path / "lake", code=1
        )


@pytest.mark.slow
def test_a_damaged_table_is_an_error_with_a_way_out(tmp_path, capsys):
    run(make_recipe(tmp_path, count=5))
    for victim in (tmp_path / "lake" / "harbour").rglob("*.parquet"):
        victim.write_bytes(victim.read_bytes()[:100])
    for table in ("corpus", "filtered"):
        said = refusal(capsys, "show", table, "--lake", tmp_path / "lake", code=1)
        assert "hint: curate lake verify names it" in said


def test_plan_names_code_that_the_recipe_runs(tmp_path, capsys):
    (tmp_path / "curate.toml").write_text('name = "x"\n[sources.own]\nloader = "mine.pages:read"\n')
    shown = answer(capsys, "plan", tmp_path / "curate.toml", "--lake", tmp_path / "lake")
    assert "runs code: mine.pages:read" in shown
    assert "curate run makes everything" in shown


def test_the_lake_can_be_verified_and_collected(lake, capsys):
    assert "tables are whole" in answer(capsys, "lake", "verify", "--lake", lake)
    assert all(
        check["passed"] for check in json.loads(answer(capsys, "lake", "verify", "--lake", lake, "--json"))
    )
    assert set(json.loads(answer(capsys, "lake", "gc", "--lake", lake, "--json"))) >= {
        "bytes_before",
        "bytes_after",
    }


def test_a_broken_lake_is_said_to_be_broken(tmp_path, capsys):
    run(make_recipe(tmp_path, count=5))
    victim = next((tmp_path / "lake" / "content" / "documents").rglob("*.parquet"))
    victim.write_bytes(victim.read_bytes()[:100])
    assert "✗ content/documents/" in answer(capsys, "lake", "verify", "--lake", tmp_path / "lake", code=1)


@pytest.mark.parametrize(
    "command",
    [
        ["show"], ["show", "corpus"], ["show", "documents"], ["log"], ["lake", "verify"], ["why", "docs.jsonl#1"],
        ["why", "docs.jsonl#6"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_titles_of_strangers_do_nothing_to_the_terminal(command, lake, capsys):
    shown = answer(capsys, *command, "--lake", lake)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", shown)
    if "why" in command or "corpus" in command:
        assert "[red]" in "".join(shown.split())  # no markup either


def test_hits_of_strangers_do_nothing_to_the_terminal(capsys):
    from curate.cli.search import answer as shown_hits
    from curate.cli.terminal import show
    from indexing.hits import Hit, Hits

    words = dict.fromkeys(("chunk_id", "date", "language", "source", "license", "access"), "")
    hit = Hit(1, 0.5, f"the vpn {EVIL}", f"https://x/{EVIL}", EVIL, "id", start=0, end=9, place=EVIL, **words)
    show(*shown_hits("vpn (", Hits([hit], index_version="i1", corpus_version="7", exact=True, took_ms=3.2)))
    shown = capsys.readouterr().out
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", shown)


@pytest.mark.slow
def test_run_search_and_the_index_commands(tmp_path, capsys, monkeypatch):
    rows = [{"text": f"{text(n)} The code of door {n} is {n}{n}.", "title": f"Door {n}"} for n in range(12)]
    write_jsonl(tmp_path / "docs.jsonl", rows)
    make_recipe(tmp_path, 'name = "doors"\nextends = "docs"\n[sources.files]\nfiles = "docs.jsonl"\n')
    monkeypatch.chdir(tmp_path)
    assert 'next    curate search "' in answer(capsys, "run", "--workers", "1")
    found = json.loads(answer(capsys, "search", "code of door 7", "--k", 2, "--json"))
    assert found["hits"][0]["title"] == "Door 7"
    assert "Door 7" in answer(capsys, "search", "code of door 7", "--where", "title = 'Door 7'", "--k", 1)
    (version,) = json.loads(answer(capsys, "index", "list", "--json"))
    assert version["live"]
    assert re.search(r"12 +12 +current", answer(capsys, "index", "list"))
    asked = (
        rf"1 of 12 passages, index {version['version']} made \d{{4}}-\d\d-\d\d \d\d:\d\d, exact, \d+ ms\n$"
    )
    assert re.search(asked, answer(capsys, "search", "code of door 7", "--k", 1))
    (row,) = json.loads(answer(capsys, "log", "--json"))
    # It put an index live, and is a run all the same.
    assert (row["kind"], row["live"]) == ("run", version["version"])
    for setting, made in (
        ("chunk_tokens=64", "chunk_tokens 200 → 64: a run would make chunks, vectors and the index anew."),
        ("dtype=bfloat16", 'dtype "float32" → "bfloat16": a run would make vectors and the index anew.'),
        ("min_recall=0.9", "min_recall 0.99 → 0.9: a run would make the index anew."),
    ):
        shown = answer(capsys, "plan", "--set", f"index.{setting}")
        assert shown.endswith(f"corpus: a run would change nothing.\nindex: {made}\n")
    assert "stays live as it is" in answer(capsys, "plan", "--set", "index=false")
    answer(
        capsys, "run", "--no-index", "--workers", "1", "--set", "filtered.length.drop.too_short=words > 20"
    )
    assert "The corpus has changed since" in answer(capsys, "search", "code of door 7")
    assert "is live" in answer(capsys, "index", "promote", version["version"])
    assert "no earlier index" in refusal(capsys, "index", "rollback", code=1)


# Looking at a source.


def test_init_writes_a_short_recipe_that_plans(tmp_path, capsys, monkeypatch):
    rows = [{"headline": "A", "body": text(n, 40), "id": n} for n in range(40)]
    write_jsonl(tmp_path / "posts.jsonl", rows)
    monkeypatch.chdir(tmp_path)
    shown = answer(capsys, "init", "posts.jsonl")
    assert "column body" in shown
    assert "next  curate run --limit 100" in shown
    written = Path("curate.toml").read_text()
    assert len(written.splitlines()) < 25
    recipe = load_recipe("curate.toml")
    assert (recipe.name, recipe.sources["files"].columns) == ("posts", {"text": "body"})
    assert "curate run makes everything" in answer(capsys, "plan")
    assert "is there already" in refusal(capsys, "init", "posts.jsonl")
    answer(capsys, "init", "posts.jsonl", "--force", "--extends", "web")
    assert load_recipe("curate.toml").resolved["filtered"]["gopher_quality"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "id,content\n1,{long}\n2,{long}\n"),
        ("a.json", '[{{"id": 1, "content": "{long}"}}]'),
        ("a.md", "# A\n\n{long}\n"),
    ],
)
def test_init_knows_every_kind_of_file(name, content, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    Path("in", name).write_text(content.format(long=text(1, 30).replace(",", "")))
    answer(capsys, "init", "in", "-o", "sub/own.toml")
    recipe = load_recipe("sub/own.toml")
    assert recipe.sources["files"].files == ["../in"]
    assert "curate run makes everything" in answer(capsys, "plan", "sub/own.toml")


def test_init_does_not_mix_files_of_different_columns(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    write_jsonl(Path("in/a.jsonl"), [{"body": text(1)}])
    write_jsonl(Path("in/b.jsonl"), [{"text": text(2)}])
    said = refusal(capsys, "init", "in", code=1)
    assert 'in/a.jsonl has its text in the column "body", which' in said
    assert "Start with one: curate init" in said
    assert not Path("curate.toml").exists()


def test_init_lists_the_packaged_recipes(capsys):
    assert {"docs", "web", "gopher"} <= {
        line.split()[0] for line in answer(capsys, "init", "--list").splitlines()
    }


def test_a_wrong_recipe_to_extend_is_found_before_anything_is_read(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert 'Did you mean "docs"' in refusal(capsys, "init", "none.jsonl", "--extends", "doc")


def test_init_looks_at_a_site(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    links = "".join(f'<a href="/p{n}">{n}</a> ' for n in range(60))
    body = f"<html><body><main><h1>Home</h1><p>{text(1, 80)}</p>{links}</main></body></html>"
    pages = {"/": body, **{f"/p{n}": body.replace("Home", f"P{n}") for n in range(60)}}
    with serve(pages) as site:
        shown = answer(capsys, "init", site.url)
        assert len(set(site.paths)) < 30
    assert re.search(r"pages +at least (6|7)\d;", shown)
    recipe = load_recipe("curate.toml")
    assert recipe.sources["site"].url == [site.url]
    assert recipe.sources["site"].allow_private == ["127.0.0.1"]


@pytest.mark.slow
def test_init_says_how_many_pages_the_sitemap_names(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with serve(
        {"/": f"<h1>Home</h1><p>{text(1)}</p>", "/app": "<div id=root></div><script src=/app.js></script>"}
    ) as site:
        urls = "".join(f"<url><loc>{site.url}{path}</loc></url>" for path in ("app", *range(99)))
        site.pages["/sitemap.xml"] = Page(f"<urlset>{urls}</urlset>", "text/xml")
        shown = answer(capsys, "init", site.url)
    assert re.search(r"pages +at least 101;", shown)
    assert re.search(r"sitemap +names 100 pages\n", shown)
    assert re.search(r"JavaScript +1 page holds no text without it", shown)


def test_init_says_that_a_site_wants_a_login(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with serve({"/": Page("no", status=401)}) as site:
        assert "1 page asked for one" in answer(capsys, "init", site.url)
    assert "# headers.Authorization" in Path("curate.toml").read_text()


# The installation, and the end.


@pytest.mark.slow
def test_the_doctor_knows_each_extra_and_its_command(capsys):
    found = json.loads(answer(capsys, "doctor", "--json"))
    named = {finding["name"]: finding for finding in found}
    assert {"python", "[crawl]", "[index]", "[gpu]", "schemas", "indexing", "device", "cache"} <= set(named)
    for finding in found:
        assert finding["state"] == "good" or finding["fix"] or finding["name"] == "device"


@pytest.mark.slow
def test_the_doctor_finds_a_module_that_hides_ours(tmp_path):
    (tmp_path / "indexing").mkdir()
    (tmp_path / "indexing" / "__init__.py").write_text("")
    said = subprocess.run(
        [sys.executable, "-m", "curate", "doctor"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert said.returncode == 1
    assert re.search(r"✗ indexing +.*is imported instead of", said.stdout)


def test_a_foreign_schemas_is_named_and_not_a_traceback(tmp_path):
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "__init__.py").write_text("")
    said = subprocess.run(
        [sys.executable, "-m", "curate", "log"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert said.returncode == 1
    assert said.stderr.startswith("error: ")
    assert str(tmp_path) in said.stderr
    assert "hint: " in said.stderr
    assert "Traceback" not in said.stderr


@pytest.mark.slow
def test_ctrl_c_finishes_the_shard_and_the_next_run_goes_on(tmp_path):
    rows = [{"text": text(n, 400)} for n in range(1000)]
    write_jsonl(tmp_path / "docs.jsonl", rows)
    make_recipe(tmp_path, 'name = "long"\nextends = "docs"\n[sources.files]\nfiles = "docs.jsonl"\n')
    command = [sys.executable, "-m", "curate", "run", "--no-index", "--workers", "1"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    for line in process.stderr:
        if line.startswith("documents"):
            break
    process.send_signal(signal.SIGINT)
    said = process.stderr.read()
    assert process.wait(timeout=60) == 1
    assert "finishing the shard; press again to stop at once" in said
    assert said.rstrip().endswith("stopped: finished work is kept; curate run goes on from there")
    assert process.stdout.read() == ""
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "✓ long version" in done.stdout
