"""Fixtures of several test files."""

import pytest

from curate.cli import main


class Said:
    """How a command ended: exit code, stdout, stderr."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def error(self):
        return self.err.partition("error: ")[2].partition("\nhint: ")[0]

    @property
    def hint(self):
        return self.err.partition("\nhint: ")[2]


@pytest.fixture
def curate(tmp_path, monkeypatch, capsys):
    """Run a command in an empty folder, in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")

    def call(*arguments):
        code = main([str(argument) for argument in arguments])
        return Said(code, *capsys.readouterr())

    return call


@pytest.fixture
def curate_run(curate, tmp_path):
    """`curate run` of a recipe with one worker and no index."""

    def call(recipe="", *arguments):
        if recipe:
            (tmp_path / "curate.toml").write_text(recipe)
        return curate("run", "--workers", "1", "--no-index", *arguments)

    return call
