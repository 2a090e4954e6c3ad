"""The house rules: which way imports flow, where heavy packages may be imported, what is public."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ["schemas", "curate", "indexing", "dagster_defs"]
HOMES = {
    "torch": ["indexing/"],
    "sentence_transformers": ["indexing/"],
    "faiss": ["indexing/"],
    "deltalake": ["curate/lake/"],
    "dagster": ["dagster_defs/"],
    "scrapy": ["curate/sources/crawler/", "curate/sources/crawl.py"],
    "trafilatura": ["curate/sources/"],
}
ONE_FILE = ["torch", "sentence_transformers"]
FORBIDDEN = {"pickle", "joblib", "dill", "marshal", "shelve"}


def modules():
    for room in FLOORS:
        yield from sorted((ROOT / room).rglob("*.py"))


def imports(file):
    """(line, dotted name) of every import of a file, those inside functions too."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield node.lineno, name.name
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.lineno, node.module


def test_an_import_never_runs_up():
    wrong = []
    for file in modules():
        place = file.relative_to(ROOT).as_posix()
        floor = len(FLOORS) if place.startswith("curate/cli/") else FLOORS.index(place.split("/")[0])
        for line, name in imports(file):
            top = name.split(".")[0]
            above = top in FLOORS and FLOORS.index(top) > floor
            # `curate.run` is the top floor's function: the package hands it out when it is asked for.
            to_cli = (
                name.startswith("curate.cli")
                and not place.startswith("curate/cli/")
                and place != "curate/__init__.py"
            )
            if above or (to_cli and place != "curate/__main__.py"):
                wrong.append(f"{place}:{line} imports {name}")
    assert not wrong


@pytest.mark.parametrize("package", HOMES)
def test_a_heavy_package_is_imported_in_its_home_only(package):
    found = {
        f.relative_to(ROOT).as_posix()
        for f in modules()
        for _, name in imports(f)
        if name.split(".")[0] == package
    }
    # The doctor looks at everything.
    strangers = {file for file in found if not any(file.startswith(home) for home in HOMES[package])} - {
        "curate/cli/installation.py"
    }
    assert not strangers
    if package in ONE_FILE:
        assert len(found - {"curate/cli/installation.py"}) <= 1


def test_nothing_unpickles_or_evaluates():
    wrong = []
    for file in modules():
        tree = ast.parse(file.read_text("utf-8"))
        wrong += [f"{file}:{line} {name}" for line, name in imports(file) if name.split(".")[0] in FORBIDDEN]
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = node.func.id if isinstance(node.func, ast.Name) else ""
                shell = any(
                    k.arg == "shell" and getattr(k.value, "value", False) is True for k in node.keywords
                )
                if name in {"eval", "exec"} or shell:
                    wrong.append(f"{file}:{node.lineno}")
    assert not wrong


def test_a_stage_is_one_file_named_as_its_function():
    import curate.stages
    from curate.engine.stage import find_stage

    for file in sorted(Path(curate.stages.__path__[0]).glob("[a-z]*.py")):
        stage = find_stage(file.stem)
        assert stage.run.__module__ == f"curate.stages.{file.stem}"
        assert stage.purpose, f"{file.stem} has no docstring"


def test_no_measurement_hides_a_column_or_is_a_word_of_sql():
    import polars as pl

    from curate.engine.stage import find_stage, stage_names
    from schemas.tables import DOCUMENT_COLUMNS

    for name in stage_names():
        stage = find_stage(name)
        assert name not in DOCUMENT_COLUMNS
        for field in stage.measures:
            assert field.name not in {*DOCUMENT_COLUMNS, *stage_names()}, f"{name}.{field.name}"
            assert pl.sql_expr(f"{field.name} > 0").meta.root_names() == [field.name]
            assert pl.sql_expr(f"{name}.{field.name} > 0") is not None


@pytest.mark.parametrize(
    ("module", "names"),
    [("curate", ["clean", "open_lake", "run", "stage"]), ("indexing", ["build_index", "open_index"])],
)
def test_what_is_public(module, names):
    package = importlib.import_module(module)
    assert sorted(package.__all__) == names
    for name in names:
        assert callable(getattr(package, name))
        assert getattr(package, name).__doc__


def loaded(code):
    """Top-level modules that a fresh interpreter holds after running the code."""
    tail = "; import sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code + tail], capture_output=True, text=True, check=True)
    return set(done.stdout.split("\n")[-2].split())


HEAVY = {"torch", "transformers", "sentence_transformers", "faiss", "deltalake", "dagster", "polars", "pyarrow", "numba", "scrapy", "scipy", "sklearn", "trafilatura"}  # fmt: skip


def test_import_curate_and_indexing_load_nothing_heavy():
    assert not HEAVY & loaded("import curate")
    assert not HEAVY & loaded("import indexing")


def test_help_loads_nothing_heavy():
    code = "from curate.cli import main; import contextlib\nwith contextlib.suppress(SystemExit): main(['--help'])\n0"
    assert not HEAVY & loaded(code)


def test_no_kernel_takes_the_address_of_an_array_that_it_made():
    """Numba frees such an array after its last use, and an address is none: what follows writes into freed memory."""
    found = []
    for path in sorted((ROOT / "curate").rglob("*.py")):
        for function in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(function, ast.FunctionDef):
                continue
            if not {"kernel", "inlined"} & {ast.unparse(one) for one in function.decorator_list}:
                continue
            taken = function.args.args
            given = {argument.arg for argument in taken}
            found += [
                f"{path.name}: {function.name}: {node.value.id}"
                for node in ast.walk(function)
                if isinstance(node, ast.Attribute) and node.attr == "ctypes"
                and isinstance(node.value, ast.Name) and node.value.id not in given
            ]  # fmt: skip
    assert found == []
