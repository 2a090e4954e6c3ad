"""The documents: their blocks run, their links lead somewhere, and the reference pages are what the code says.

Blocks of a document run in their order, in one folder that holds the files of docs/example; its site is up.

    python   is executed; names stay for the blocks that follow
    toml     is a recipe, or a part of one, that must plan
    console  runs each `$ curate ...` and compares what it prints; `...` stands for anything
    text, sh are shown only

With `# NAME.py` or `# NAME.toml` as its first line a block is written to that file, too; a part of a recipe is
appended to it.
"""

import html
import importlib.util
import json
import re
import shlex
import sys
import tomllib
from pathlib import Path
from shutil import copytree

import pytest
from markdown_it import MarkdownIt

from curate.cli import main
from curate.cli.app import COMMANDS, FAMILIES
from curate.engine import stage
from curate.engine.plan import make_plan
from schemas.recipe import build_recipe
from tests.sites import serve

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "docs" / "example"
DOCUMENTS = [
    ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
] + sorted((ROOT / "docs").glob("*.md"))
REFERENCE = sorted((ROOT / "docs" / "reference").glob("*.md"))
SITE = "127.0.0.1:8000"  # as the documents call it: `python -m http.server -d docs/example/site`

# What no two runs print alike.
VOLATILE = (
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d\+\d\d:\d\d)?",
    r"\d{8}T\d{6}-[0-9a-f]{6}",
    r"\b[0-9a-f]{32}\b|\b[0-9a-f]{12}\b",
    r"\d[\d,.]*(?= (ms|s|min|h)\b)",
    r"\d[\d,.]* (B|kB|MB|GB|bytes)\b",
    r"-?\d+\.\d{3,4}\b",
)


def blocks(document):
    """(kind, text, line of the first line of text) of every fence."""
    for token in MarkdownIt().parse(document.read_text("utf-8")):
        if token.type == "fence":
            yield token.info.strip(), token.content, token.map[0] + 2


def is_slow(document):
    work = r"^\$ curate (run|clean|search|index)\b|\brun\("
    return any(re.search(work, text, re.MULTILINE) for _, text, _ in blocks(document))


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(path, id=path.name, marks=[pytest.mark.slow] if is_slow(path) else [])
        for path in DOCUMENTS
    ],
)
def test_the_blocks_of_a_document_run(document, tmp_path, monkeypatch, capsys):
    copytree(EXAMPLE, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "88")
    # What a document registers stays in it.
    packaged = {name: stage.find_stage(name) for name in stage.stage_names()}
    monkeypatch.setattr(stage, "_REGISTRY", packaged)
    names = {"__name__": document.stem}
    with serve(EXAMPLE / "site") as site:
        for kind, text, line in blocks(document):
            text = text.replace(SITE, site.address)
            where = f"{document.name}:{line}"
            if kind == "python":
                if file := re.match(r"# (\w+\.py)\n", text):
                    Path(file[1]).write_text(text)
                exec(compile("\n" * (line - 1) + text, str(document), "exec"), names)  # noqa: S102 - ours
            elif kind == "toml":
                check_recipe(text, where)
            elif kind == "console":
                check_console(text, where, capsys)
            else:
                assert kind in {"text", "sh"}, f"{where}: a block of {kind or 'no kind'}"


def check_recipe(text, where):
    file = re.match(r"# (\S+\.toml)\n", text)
    whole = "name" in tomllib.loads(text)
    if file:
        with Path(file[1]).open("w" if whole else "a") as opened:
            opened.write(text if whole else f"\n{text}")
        text = Path(file[1]).read_text()
    data = {"name": "part", "extends": "docs", **tomllib.loads(text)}
    data.setdefault("sources", {"files": {"files": "notes"}})
    try:
        make_plan(build_recipe(data, None, where, text))
    except Exception as error:
        raise AssertionError(f"{where}: {error}") from error


def check_console(text, where, capsys):
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        words = shlex.split(command)
        assert words[0] == "curate", f"{where}: only curate runs in a console block, not {words[0]}"
        capsys.readouterr()
        code = main(words[1:])
        printed = capsys.readouterr()
        output = printed.err if code else printed.out
        if not expected.strip():
            assert code == 0, f"{where}: {command}\n{output}"
        elif not re.fullmatch(pattern(expected), steady(output)):
            raise AssertionError(f"{where}: {command}\n--- expected\n{expected}--- printed\n{output}")


def pattern(expected):
    """A line `...` stands for any lines, `...` within a line for any words."""
    return "".join(
        r"(?:.*\n)*" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") + r"\n"
        for line in steady(expected).split("\n")[:-1]
    )


def steady(output):
    """Without what differs from run to run."""
    for volatile in VOLATILE:
        output = re.sub(volatile, "#", output)
    return "".join(re.sub(r" +", " ", line.rstrip()) + "\n" for line in output.rstrip().split("\n"))


@pytest.mark.parametrize("document", [*DOCUMENTS, *REFERENCE], ids=lambda path: path.name)
def test_links_lead_to_files_and_headings(document):
    for target in links(document):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, heading = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), f"{document.name} links to {target}"
        if heading and file.suffix == ".md":
            assert heading in headings(file), f"{document.name} links to {target}"


def links(document):
    for token in MarkdownIt().enable("table").parse(document.read_text("utf-8")):
        for child in token.children or ():
            if child.type in {"link_open", "image"}:
                yield child.attrs.get("href") or child.attrs["src"]


def headings(document):
    """Names that GitHub gives to headings."""
    tokens = MarkdownIt().parse(document.read_text("utf-8"))
    for at, token in enumerate(tokens):
        if token.type == "heading_open":
            text = re.sub(r"[^\w\- ]", "", tokens[at + 1].content.lower())
            yield text.replace(" ", "-")


def test_every_command_is_told():
    told = "\n".join(document.read_text("utf-8") for document in DOCUMENTS)
    members = [f"{family} {name}" for family, names in FAMILIES.items() for name in names]
    for command in [*COMMANDS, *members]:
        assert f"curate {command}" in told, f"no document tells of curate {command}"


def script(name):
    """A Python file of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_what_the_code_says():
    made = script("make_reference").pages()
    assert {path.name for path in REFERENCE} == set(made)
    for path in REFERENCE:
        assert path.read_text("utf-8") == made[path.name], f"{path.name} is old: run make docs"


def test_the_reference_knows_every_key_of_a_recipe():
    import schemas.recipe

    reference = script("make_reference")
    assert set(reference.ROOT_KEYS) == schemas.recipe._ROOT_KEYS
    assert {key.split(".")[0] for key in reference.STEP_KEYS} == schemas.recipe._STEP_WORDS


def write_labels(path):
    """What `curate label` leaves when somebody had patience: notes to keep, and lists to drop."""
    rows = [
        {"text": f"The harbour opens at {n}, and boats leave before dawn.", "label": "keep"}
        for n in range(200)
    ]
    rows += [{"text": f"Home | Login | Cart {n} | Sign up", "label": "drop"} for n in range(200)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.slow
def test_the_examples_of_the_help_run(tmp_path, monkeypatch, capsys):
    copytree(EXAMPLE, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "reference" / "cli.md").read_text("utf-8")
    examples = dict.fromkeys(re.findall(r"^\$ curate (.+)$", text, flags=re.MULTILINE))
    for example in examples:
        words = shlex.split(example)
        if words[:2] == ["index", "promote"]:
            assert main(["index", "list", "--json"]) == 0
            words[2] = json.loads(capsys.readouterr().out)[-1]["version"]
        code = main(words)
        assert code == 0, f"curate {example}: {capsys.readouterr().err}"
        capsys.readouterr()
        if (
            words[0] == "init"
        ):  # what the examples after it speak of: German posts, an export, some versions, two indexes
            with Path("curate.toml").open("a") as recipe:
                recipe.write("\n[filtered.langid]\ndrop.wrong_language = \"language <> 'en'\"\n")
                recipe.write("\n[exports.pretrain]\n")
            write_labels(Path("labels.jsonl"))
        if words[0] == "run":
            assert main(["run", "--set", "index.chunk_tokens=100"]) == 0
            assert main(["run", "--set", "filtered.length.drop.too_short=words < 2"]) == 0


@pytest.mark.slow
def test_the_picture_shows_what_the_commands_print():
    pictures = script("pictures")
    drawn = (ROOT / "docs" / "pictures" / "loop.svg").read_text("utf-8")
    anew = pictures.picture(pictures.record(), "")
    assert shown(drawn) == shown(anew), "the picture is old: run python docs/pictures.py"
    for x, length in re.findall(r'<text x="([\d.]+)" [^>]*textLength="([\d.]+)"', drawn):
        assert float(x) + float(length) <= pictures.COLUMNS * pictures.CELL + pictures.PADDING


def shown(svg):
    """The words of a picture."""
    return [steady(html.unescape(text)) for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg)]
