"""Dagster as users meet it: `curate ui` with its processes, runs that are cancelled, other executors."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from curate.cache import cache_folder
from curate.lake.lake import Lake
from tests.lakes import RECIPE, digests, make_recipe, run, text
from tests.object_store import BUCKET, s3_server
from tests.sites import Page, serve

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).resolve().parents[1]
CURATE = [sys.executable, "-m", "curate"]
WAIT = 300  # seconds: CI machines are slow to start Dagster's six processes


def until(found, seconds=WAIT):
    """What `found` gives, as soon as it gives something."""
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, f"{found.__name__} gave nothing for {seconds} s"
        time.sleep(0.2)
    return value


def members(group):
    """Command lines of the living processes of a group."""
    listed = subprocess.run(["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True, check=True)
    rows = [line.split(None, 2) for line in listed.stdout.splitlines()]
    return [row[2] for row in rows if int(row[0]) == group and not row[1].startswith("Z")]


class Ui:
    """A running `curate ui`."""

    def __init__(self, folder, site):
        self.folder, self.site = folder, site
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process = subprocess.Popen(
            [*CURATE, "ui", "--port", str(self.port)], cwd=folder, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        said = iter(self.process.stderr.readline, "")
        assert any(f"http://127.0.0.1:{self.port} shows curate.toml and lake" in line for line in said)
        listed = ["ps", "--ppid", str(self.process.pid), "-o", "pid="]
        self.group = int(subprocess.run(listed, capture_output=True, text=True, check=True).stdout)

    def ask(self, query, **variables):
        """The answer of the web page's own interface."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            (found,) = json.load(answer)["data"].values()
        return found

    def location(self):
        """Names of the jobs, or the error of the code location."""
        query = (
            "{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError {"
            " ... on PythonError { message errorChain { error { message } } }"
            " ... on RepositoryLocation { repositories { jobs { name } } } } } } } }"
        )
        (entry,) = self.ask(query)["locationEntries"]
        found = entry["locationOrLoadError"]
        if "errorChain" in found:
            return found["message"] + "".join(one["error"]["message"] for one in found["errorChain"])
        return [job["name"] for repository in found["repositories"] for job in repository["jobs"]]

    def reload(self):
        """Press "Reload"."""
        mutation = "mutation($name: String!) { reloadRepositoryLocation(repositoryLocationName: $name) { __typename } }"
        self.ask(mutation, name="dagster_defs.definitions")
        return self.location()

    def launch(self, *tables):
        """Start a run of some tables (all if none are named); returns its id."""
        name = "__ASSET_JOB" if tables else "harbour_refresh"
        selector = {
            "repositoryName": "__repository__",
            "repositoryLocationName": "dagster_defs.definitions",
            "pipelineName": name,
            "assetSelection": [{"path": ["harbour", table]} for table in tables] or None,
        }
        mutation = (
            "mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {"
            " __typename ... on LaunchRunSuccess { run { runId } } } }"
        )
        params = {
            "selector": selector,
            "runConfigData": {},
            "mode": "default",
            "executionMetadata": {"tags": []},
        }
        return self.ask(mutation, params=params)["run"]["runId"]

    def status(self, run):
        return self.ask("query($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }", run=run)[
            "status"
        ]

    def end(self, run):
        """How a run ended."""

        def ended():
            status = self.status(run)
            return status if status in {"SUCCESS", "FAILURE", "CANCELED"} else ""

        return until(ended)

    def stale(self):
        """Table → why it is stale, of those that are."""
        nodes = self.ask("{ assetNodes { assetKey { path } staleStatus staleCauses { category reason } } }")
        return {
            node["assetKey"]["path"][-1]: [cause["category"] for cause in node["staleCauses"]]
            for node in nodes
            if node["staleStatus"] == "STALE"
        }

    def errors(self, run):
        """All that the event log of a run says about errors."""
        query = (
            "query($run: ID!) { logsForRun(runId: $run) { ... on EventConnection { events {"
            " ... on ErrorEvent { error { message errorChain { error { message } } } } } } } }"
        )
        return json.dumps(self.ask(query, run=run)["events"])


def page(number, *links):
    more = "".join(f'<a href="{link}">more</a>' for link in links)
    body = f"<article><h1>Page {number}</h1><p>{text(number, 80)}</p></article>{more}"
    return Page(f"<html><head><title>Page {number}</title></head><body>{body}</body></html>")


@pytest.fixture(scope="module")
def ui(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ui")
    pages = {"/": page(0, *(f"/{n}" for n in range(1, 12)))} | {f"/{n}": page(n) for n in range(1, 12)}
    with serve(pages) as site:
        (folder / "curate.toml").write_text(
            f'name = "harbour"\nextends = "docs"\n[sources.site]\nurl = "{site.url}"\nallow_private = "127.0.0.1"\n'
        )
        running = Ui(folder, site)
        try:
            yield running
        finally:
            begun = time.monotonic()
            running.process.send_signal(signal.SIGINT)
            code = running.process.wait(timeout=60)
            left = members(running.group)
            seconds = time.monotonic() - begun
        assert code == 0
        assert not left
        assert seconds < 30  # ten, and what a busy machine adds


@pytest.fixture
def recipe(ui):
    """The recipe of the page, as it was when the test ends."""
    file = ui.folder / "curate.toml"
    before = file.read_text()
    yield file
    file.write_text(before)


def test_all_is_made_and_fresh_and_a_changed_rule_marks_what_follows(ui, recipe):
    assert ui.end(ui.launch()) == "SUCCESS"
    assert Lake(ui.folder / "lake").head().live["harbour"]
    assert ui.stale() == {}
    assert ui.end(ui.launch()) == "SUCCESS"
    assert ui.stale() == {}
    with recipe.open("a") as file:
        file.write("\n[filtered.length]\ndrop.too_short = \"title == 'Page 3'\"\n")
    assert ui.end(ui.launch("filtered")) == "SUCCESS"
    assert ui.stale() == {"deduplicated": ["DATA"]}
    assert ui.end(ui.launch("deduplicated")) == "SUCCESS"
    assert ui.stale() == {"corpus": ["DATA"]}
    ui.reload()
    assert ui.stale() == {"corpus": ["DATA"]}


def test_a_recipe_that_no_longer_loads_is_told_and_the_graph_stays_until_it_is_reloaded(ui, recipe):
    jobs = ui.location()
    good = recipe.read_text()
    recipe.write_text(good + "\n[nowhere]\n")
    assert ui.location() == jobs
    run = ui.launch("documents")
    assert ui.end(run) == "FAILURE"
    assert 'there is no table or key \\"nowhere\\" in a recipe' in ui.errors(run)
    assert 'there is no table or key "nowhere" in a recipe' in ui.reload()
    recipe.write_text(good)
    assert ui.reload() == jobs
    assert ui.end(ui.launch("pages")) == "SUCCESS"  # whether or not Dagster's daemon has seen that it loads


def test_a_cancelled_crawl_ends_its_processes_and_is_taken_up_again(ui):
    slow = {f"/slow/{n}": page(100 + n) for n in range(20)}
    ui.site.pages.update(slow)
    for n in range(10, 20):
        ui.site.pages[f"/slow/{n}"] = Page(slow[f"/slow/{n}"].body, delay=40)
    ui.site.pages["/"] = page(0, *(f"/{n}" for n in range(1, 12)), *slow)
    run = ui.launch("pages")

    def under_way():
        return ui.site.count("/slow/9") and any(ui.site.count(f"/slow/{n}") for n in range(10, 20))

    until(under_way)
    assert any("curate.sources.crawler" in line for line in members(ui.group))
    ui.ask("mutation($run: String!) { terminateRun(runId: $run) { __typename } }", run=run)
    begun = time.monotonic()
    until(lambda: not any("curate.sources.crawler" in line for line in members(ui.group)))
    assert time.monotonic() - begun < 30  # ten, and what a busy machine adds; the pages take forty
    assert ui.end(run) == "CANCELED"
    ui.site.pages.update(slow)
    assert ui.end(ui.launch("pages")) == "SUCCESS"
    assert [ui.site.count(f"/slow/{n}") for n in range(10)] == [1] * 10


def dagster(*arguments, home, **environment):
    """A command of Dagster in the folder of the sources."""
    home.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", "dagster", *arguments], cwd=ROOT, check=True, capture_output=True, text=True,
        env={**os.environ, "DAGSTER_HOME": str(home), **environment},
    )  # fmt: skip


def test_dagster_finds_the_project_in_its_folder_and_makes_what_is_selected(tmp_path):
    recipe = make_recipe(tmp_path, "index = false\n" + RECIPE)
    where = {"CURATE_RECIPE": str(recipe), "CURATE_LAKE": str(tmp_path / "lake")}
    dagster("definitions", "validate", home=tmp_path / "home", **where)
    command = ["asset", "materialize", "-m", "dagster_defs.definitions", "--select", "group:ingest"]
    dagster(*command, home=tmp_path / "home", **where)
    assert set(digests(tmp_path / "lake")) == {"harbour/pages", "harbour/documents"}


PLATFORM = """
import dagster as dg
from dagster_defs import curate_assets, curate_jobs

defs = dg.Definitions.merge(
    dg.Definitions(assets=curate_assets({recipe!r}, lake={lake!r}), executor=dg.multiprocess_executor),
    curate_jobs({recipe!r}, lake={lake!r}),
)
"""


def test_a_process_for_each_step_gives_the_same_digests(tmp_path):
    recipe = make_recipe(tmp_path, "index = false\n" + RECIPE)
    run(recipe, tmp_path / "library")
    file = tmp_path / "platform_definitions.py"
    file.write_text(PLATFORM.format(recipe=str(recipe), lake=str(tmp_path / "lake")))
    done = dagster("job", "execute", "-f", str(file), "-j", "harbour_refresh", home=tmp_path / "home")
    assert "Launching subprocess for" in done.stderr
    assert digests(tmp_path / "lake") == digests(tmp_path / "library")


def test_pods_share_a_lake_on_an_object_store(tmp_path):
    recipe = make_recipe(tmp_path, "index = false\n" + RECIPE)
    run(recipe, tmp_path / "library")
    home, lake = tmp_path / "home", f"s3://{BUCKET}/dagster"
    with s3_server(tmp_path / "s3") as store:
        for group in ("ingest", "curation"):
            cache = tmp_path / group  # a machine of its own
            cache.mkdir()
            (cache / "kernels").symlink_to(cache_folder() / "kernels")  # compiled already
            where = {"CURATE_RECIPE": str(recipe), "CURATE_LAKE": lake, "CURATE_CACHE": str(cache)}
            command = ["asset", "materialize", "-m", "dagster_defs.definitions", "--select", f"group:{group}"]
            dagster(*command, home=home, **where, **store)
        code = (
            "from tests.lakes import digests; import json, sys; json.dump(digests(sys.argv[1]), sys.stdout)"
        )
        found = subprocess.run(
            [sys.executable, "-c", code, lake], cwd=ROOT, env={**os.environ, **store}, check=True,
            capture_output=True, text=True,
        )  # fmt: skip
    assert json.loads(found.stdout) == digests(tmp_path / "library")
