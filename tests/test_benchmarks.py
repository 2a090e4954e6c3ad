"""Every benchmark runs, with a tiny input, and ends with its figures as one line of JSON."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
SHARED = {
    "measuring.py",
    "texts.py",
    "websites.py",
    "plain_scrapy.py",
    "plain_datatrove.py",
    "plain_dedup.py",
    "plain_juicer.py",
    "plain_nemo.py",
    "whole_datatrove.py",
    "peers.py",
}  # imported or run by the others
SCRIPTS = sorted(file.name for file in FOLDER.glob("*.py") if file.name not in SHARED)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_benchmark_runs_and_ends_with_its_figures(script, tmp_path):
    if script == "dagster_ui.py" and not shutil.which("chromium"):
        pytest.skip("there is no chromium on the PATH: apt-get install chromium")
    command = [sys.executable, FOLDER / script, "--quick", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    machine = found.pop("machine")
    assert machine["cores"] >= 1
    assert {"cpu", "load", "python", "curate"} <= machine.keys()
    assert found
    for name, value in found.items():
        assert math.isfinite(value), name


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_readme_tells_what_a_benchmark_measures(script):
    assert f"`{script}`" in (FOLDER / "README.md").read_text("utf-8")
