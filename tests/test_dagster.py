"""The door of Dagster: a recipe as assets with checks, the same tables as through the other doors."""

import json
import socket
import sys

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dagster_defs
from curate.cli import main
from curate.engine.checks import check_names
from curate.lake.lake import Lake
from dagster_defs import curate_assets, curate_jobs
from indexing.way import tables_of
from schemas.recipe import load_recipe
from tests.lakes import RECIPE, digests, documents, make_recipe, run, write_jsonl
from tests.sites import Page, serve

NO_INDEX = "index = false\n" + RECIPE
WAY = ["pages", "documents", "filtered", "deduplicated", "corpus"]
ONE = {"resources": {"curate": {"config": {"workers": 1}}}}


def definitions(recipe, **more):
    """What a deployment of one recipe is made of."""
    more.setdefault("lake", recipe.parent / "lake")
    beside = {key: more[key] for key in ("lake", "key_prefix") if key in more}
    return dg.Definitions.merge(
        dg.Definitions(assets=curate_assets(recipe, **more), executor=dg.in_process_executor),
        curate_jobs(recipe, **beside),
    )


def materialize(recipe, tables=(), instance=None, settings=None, lake=None):
    """Make tables (all if none are named) in this process; failures are in the result."""
    keys = [dg.AssetKey(["harbour", table]) for table in tables]
    job = definitions(recipe, **({"lake": lake} if lake else {})).resolve_job_def("harbour_refresh")
    return job.execute_in_process(
        run_config={"resources": {"curate": {"config": {"workers": 1, **(settings or {})}}}},
        asset_selection=keys or None,
        instance=instance,
        raise_on_error=False,
    )


def made(result):
    return [event.asset_key.path[-1] for event in result.get_asset_materialization_events()]


def metadata(result, table):
    key = dg.AssetKey(["harbour", table])
    found = [event for event in result.get_asset_materialization_events() if event.asset_key == key]
    return found[-1].materialization.metadata


def versions(result):
    """Table → data version, as Dagster has it."""
    events = result.get_asset_materialization_events()
    return {event.asset_key.path[-1]: event.materialization.tags["dagster/data_version"] for event in events}


def failure(result):
    """What Dagster shows of the step that failed."""
    event = next(event for event in result.all_events if event.is_step_failure)
    return event.event_specific_data.error_display_string


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The recipe, and the result of making all its tables."""
    recipe = make_recipe(tmp_path_factory.mktemp("whole"), NO_INDEX)
    return recipe, materialize(recipe)


# What is defined


def test_a_recipe_is_a_graph_with_an_asset_for_each_table_and_source(tmp_path):
    recipe = make_recipe(tmp_path)
    defs = definitions(recipe)
    dg.Definitions.validate_loadable(defs)
    specs = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}
    tables = tables_of(load_recipe(recipe))
    assert set(specs) == {f"harbour/{table}" for table in tables} | {"harbour/sources/files"}
    for table, inputs in tables.items():
        found = {dep.asset_key.to_user_string() for dep in specs[f"harbour/{table}"].deps}
        assert found == {f"harbour/{name}" for name in inputs} or table == "pages"
    assert [dep.asset_key.path[-1] for dep in specs["harbour/pages"].deps] == ["files"]
    groups = {key: spec.group_name for key, spec in specs.items()}
    assert groups["harbour/sources/files"] == groups["harbour/documents"] == "ingest"
    assert groups["harbour/filtered"] == groups["harbour/corpus"] == "curation"
    assert groups["harbour/chunks"] == groups["harbour/index_live"] == "retrieval"


def test_a_table_shows_what_it_is_before_it_is_made(tmp_path):
    recipe = make_recipe(tmp_path)
    specs = {spec.key.path[-1]: spec for spec in definitions(recipe).resolve_all_asset_specs()}
    told = specs["filtered"].description
    assert "`length`" in told
    assert "`too_short` drops where `words < 10`" in told
    assert {"langid", "digest_out"} <= {
        column.name for column in specs["filtered"].metadata["dagster/column_schema"].columns
    }
    product = specs["corpus"].metadata["dagster/column_schema"].columns
    assert {"text", "topic"} <= {column.name for column in product}
    assert all(column.description for column in product)
    for table, spec in specs.items():
        assert spec.description, table
        assert spec.kinds, table
        assert spec.owners == ([] if table == "files" else ["team:harbour"])


def test_checks_are_those_of_the_library_and_block_where_they_do(tmp_path):
    recipe = make_recipe(tmp_path)
    found = {}
    for asset in curate_assets(recipe):
        for spec in getattr(asset, "check_specs", ()):
            severity = "blocking" if spec.blocking else "warning"
            found.setdefault(spec.asset_key.path[-1], {})[spec.name] = severity
            assert spec.description
    loaded = load_recipe(recipe)
    assert found == {table: names for table in tables_of(loaded) if (names := check_names(loaded, table))}


def test_jobs_are_there_and_whatever_runs_by_itself_is_off(tmp_path):
    found = curate_jobs(make_recipe(tmp_path))
    assert {job.name for job in found.jobs} == {
        "harbour_refresh", "harbour_index", "harbour_promote", "harbour_rollback",
    }  # fmt: skip
    assert {sensor.name for sensor in found.sensors} == {"harbour_new_files", "harbour_recipe_changed"}
    assert [schedule.name for schedule in found.schedules] == ["harbour_nightly"]
    started = [one for one in [*found.sensors, *found.schedules] if one.default_status.value != "STOPPED"]
    assert not started
    smaller = curate_jobs(make_recipe(tmp_path / "b", NO_INDEX))
    assert [job.name for job in smaller.jobs] == ["harbour_refresh"]


def test_two_recipes_merge_into_one_deployment_with_tags_and_pools_of_its_own(tmp_path):
    one = make_recipe(tmp_path / "one", NO_INDEX)
    two = make_recipe(tmp_path / "two", RECIPE.replace('"harbour"', '"two-towns"'))
    pod = {"dagster-k8s/config": {"container_config": {"resources": {"limits": {"nvidia.com/gpu": "1"}}}}}
    options = {"key_prefix": ["platform"], "group_prefix": "two_", "owners": ["data@two.example"]}
    defs = dg.Definitions.merge(
        definitions(one),
        dg.Definitions(
            assets=curate_assets(two, tags={"vectors": pod}, pools={"pages": "egress"}, **options)
        ),
        curate_jobs(two, key_prefix=["platform"]),
        dg.Definitions(assets=[dg.AssetSpec("theirs", deps=[["platform", "two-towns", "corpus"]])]),
    )
    dg.Definitions.validate_loadable(defs)
    graph = defs.resolve_asset_graph()
    vectors = graph.get(dg.AssetKey(["platform", "two-towns", "vectors"])).assets_def
    assert "nvidia.com/gpu" in str(vectors.op.tags["dagster-k8s/config"])
    assert vectors.op.pool == "gpu"
    pages = [dg.AssetKey(["harbour", "pages"]), dg.AssetKey(["platform", "two-towns", "pages"])]
    assert [graph.get(key).assets_def.op.pool for key in pages] == ["network", "egress"]
    assert graph.get(pages[1]).group_name == "two_ingest"
    assert graph.get(pages[1]).owners == ["data@two.example"]
    assert {"harbour_refresh", "two_towns_refresh", "two_towns_promote"} <= {
        job.name for job in defs.resolve_all_job_defs()
    }


def test_what_is_public():
    assert sorted(dagster_defs.__all__) == ["curate_assets", "curate_jobs"]


# What is made


def test_the_chain_is_made_and_has_the_digests_of_the_other_doors(whole, tmp_path, capsys):
    recipe, result = whole
    assert result.success
    assert made(result) == WAY
    here = {key.split("/")[1]: digest for key, digest in digests(recipe.parent / "lake").items()}
    assert versions(result) == {table: here[table] for table in WAY}
    run(recipe, tmp_path / "library")
    assert digests(tmp_path / "library") == digests(recipe.parent / "lake")
    command = ["run", str(recipe), "--lake", str(tmp_path / "command"), "--no-index", "--workers", "1"]
    assert main(command) == 0
    assert digests(tmp_path / "command") == digests(recipe.parent / "lake")


def test_metadata_tells_counts_funnel_reasons_and_languages(whole):
    recipe, result = whole
    found = metadata(result, "filtered")
    assert found["dagster/row_count"].value == 27
    assert found["reached"].value == 30
    assert found["stored rows"].value == found["made"].value == 25  # each text once
    assert found["reused share"].value == 0
    assert found["bytes written"].value > 0
    assert found["seconds"].value > 0
    assert found["dagster/uri"].value == str(recipe.parent / "lake" / "harbour" / "verdicts" / "filtered")
    assert [record.data for record in found["funnel"].records][-1] == {
        "what": "table filtered", "documents": 27,
    }  # fmt: skip
    reasons = {record.data["reason"]: record.data for record in found["reasons"].records}
    assert reasons["too_short"]["dropped"] == 3
    assert reasons["too_short"]["rule"] == "words < 10"
    assert {record.data["language"] for record in found["languages"].records} == {"en"}
    numbers = [value.value for value in found.values() if isinstance(value, dg.IntMetadataValue)]
    assert len(numbers) >= 9  # each is a plot over runs


def test_texts_are_shown_from_corpus_on_and_masked(whole):
    _, result = whole
    assert [table for table in WAY if "samples" in metadata(result, table)] == ["corpus"]
    shown = metadata(result, "corpus")["samples"].value
    assert shown.count("\n") == 6
    assert "@harbour.example" not in shown


def test_every_check_of_the_library_arrives_with_its_numbers(whole):
    recipe, result = whole
    found = {(one.asset_key.path[-1], one.check_name): one for one in result.get_asset_check_evaluations()}
    loaded = load_recipe(recipe)
    assert set(found) == {(table, name) for table in WAY for name in check_names(loaded, table)}
    assert all(one.passed for one in found.values())
    share = found["filtered", "kept_share"]
    assert share.severity == dg.AssetCheckSeverity.ERROR
    assert share.metadata["kept"].value == 27
    report = json.loads(next(row.report for row in runs(recipe) if row.table == "filtered"))
    assert {check["name"] for check in report["checks"]} <= set(check_names(loaded, "filtered"))


def runs(recipe):
    lake = Lake(recipe.parent / "lake")
    return [lake.runs.at(seq) for seq in range(1, lake.head().seq + 1)]


@pytest.mark.slow
def test_a_second_run_measures_nothing_and_changes_no_version(tmp_path):
    recipe = make_recipe(tmp_path, NO_INDEX)
    first, second = materialize(recipe), materialize(recipe)
    assert versions(second) == versions(first)
    assert [metadata(second, table)["reused share"].value for table in WAY] == [1] * 5
    assert [metadata(second, table)["made"].value for table in WAY] == [0] * 5


@pytest.mark.slow
def test_the_launchpad_takes_a_limit_and_another_recipe_of_the_same_name(tmp_path):
    recipe = make_recipe(tmp_path, NO_INDEX)
    result = materialize(recipe, settings={"limit": 7})
    assert metadata(result, "documents")["dagster/row_count"].value == 7
    other = tmp_path / "looser.toml"
    other.write_text(NO_INDEX + "\n[filtered.length]\ndrop.too_short = false\n")
    result = materialize(recipe, settings={"recipe": str(other)})
    assert metadata(result, "filtered")["dagster/row_count"].value == 30
    other.write_text(NO_INDEX.replace('"harbour"', '"elsewhere"'))
    result = materialize(recipe, ["pages"], settings={"recipe": str(other)})
    assert "looser.toml is the recipe of elsewhere; these are the tables of harbour" in failure(result)


# What goes wrong


def test_a_table_before_its_inputs_says_which_is_missing(tmp_path):
    recipe = make_recipe(tmp_path, NO_INDEX)
    result = materialize(recipe, ["filtered"])
    assert not result.success
    assert "filtered is made from documents, which harbour does not have yet." in failure(result)
    assert "Make documents first" in failure(result)


@pytest.mark.slow
def test_a_site_that_gives_nothing_is_asked_again_and_nothing_else_is_tried_twice(tmp_path, monkeypatch):
    monkeypatch.setattr("dagster_defs.running._WAIT", 0.0)
    with serve({"/": Page("down", status=503)}) as site:
        recipe = make_recipe(
            tmp_path, f'name = "harbour"\n[sources.site]\nurl = "{site.url}"\nallow_private = "127.0.0.1"\n'
        )
        result = materialize(recipe, ["pages"])
        asked = [event for event in result.all_events if event.event_type_value == "STEP_RESTARTED"]
    assert not result.success
    assert len(asked) == 3
    assert "503" in failure(result)
    recipe.write_text(NO_INDEX.replace("docs.jsonl", "nowhere.jsonl"))
    result = materialize(recipe, ["filtered"])
    assert not [event for event in result.all_events if event.event_type_value == "STEP_RESTARTED"]


def test_a_failed_blocking_check_keeps_what_follows_from_being_made(tmp_path):
    recipe = make_recipe(tmp_path, NO_INDEX + "\n[checks.filtered]\nmin_kept = 0.99\n")
    result = materialize(recipe)
    assert not result.success
    assert made(result) == ["pages", "documents", "filtered"]
    failed = [one for one in result.get_asset_check_evaluations() if not one.passed]
    assert [(one.check_name, one.severity.value) for one in failed] == [("kept_share", "ERROR")]
    assert "27 of 30 documents kept" in failed[0].description


def test_a_lake_of_a_newer_format_is_told(tmp_path):
    recipe = make_recipe(tmp_path, NO_INDEX)
    materialize(recipe, ["pages"])
    (row,) = (tmp_path / "lake" / "runs").glob("*.parquet")
    table = pq.read_table(row)
    at = table.schema.get_field_index("format")
    pq.write_table(table.set_column(at, "format", pa.array([99], pa.int32())), row)
    result = materialize(recipe, ["documents"])
    assert "The lake has format 99" in failure(result)


def test_a_recipe_that_cannot_be_loaded_is_told_with_what_to_do(tmp_path, monkeypatch):
    recipe = make_recipe(tmp_path, NO_INDEX.replace("[sources.files]", "[source.files]"))
    monkeypatch.setenv("CURATE_RECIPE", str(recipe))
    with pytest.raises(dg.DagsterInvalidDefinitionError) as error:
        import dagster_defs.definitions  # noqa: F401
    assert f'{recipe}: there is no table or key "source" in a recipe.' in str(error.value)
    assert 'Did you mean "sources"?' in str(error.value)


def test_without_the_packages_curate_ui_says_how_to_install_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "dagster_webserver", None)
    assert main(["ui", str(make_recipe(tmp_path))]) == 2
    said = capsys.readouterr().err
    assert "curate ui needs the package dagster_webserver" in said
    assert "pip install '.[dagster]'" in said


def test_curate_ui_says_what_is_wrong_before_it_starts_anything(tmp_path, capsys):
    recipe = make_recipe(tmp_path, NO_INDEX)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["ui", str(recipe), "--lake", str(tmp_path / "lake"), "--port", str(port)]) == 2
    assert f"Port {port} is taken." in capsys.readouterr().err
    recipe.write_text(NO_INDEX + "\n[filtered.length]\ndrop.too_short = 'wrods < 3'\n")
    assert main(["ui", str(recipe), "--lake", str(tmp_path / "lake")]) == 2
    assert "wrods" in capsys.readouterr().err
    assert not (tmp_path / "lake").exists()


# The index


@pytest.mark.slow
def test_index_live_refuses_a_failed_gate_when_it_is_clicked_alone(tmp_path):
    recipe = make_recipe(tmp_path, RECIPE + "\n[checks.corpus]\nmax_kept = 0.5\n")
    assert made(materialize(recipe)) == WAY
    for table in ("chunks", "vectors"):
        assert materialize(recipe, [table]).success
    candidate = materialize(recipe, ["index_candidate"])
    failed = [one.check_name for one in candidate.get_asset_check_evaluations() if not one.passed]
    assert failed == ["tables_passed"]
    result = materialize(recipe, ["index_live"])
    assert not result.success
    assert "failed its gates: tables_passed" in failure(result)
    assert not Lake(tmp_path / "lake").head().live


@pytest.mark.slow
def test_a_version_is_promoted_and_rolled_back_and_dagster_knows_which_is_live(tmp_path):
    recipe = make_recipe(tmp_path)
    materialize(recipe)
    first = Lake(tmp_path / "lake").head().live["harbour"]
    recipe.write_text(RECIPE + "\n[index]\nchunk_tokens = 60\n")
    instance = dg.DagsterInstance.ephemeral()
    assert materialize(recipe, instance=instance).success
    second = Lake(tmp_path / "lake").head().live["harbour"]
    assert second != first

    def choose(job, config=None):
        ops = {"ops": {"harbour_promote_version": {"config": {"version": config}}}} if config else None
        result = (
            definitions(recipe)
            .resolve_job_def(job)
            .execute_in_process(run_config=ops, instance=instance, raise_on_error=False)
        )
        told = instance.get_latest_materialization_event(dg.AssetKey(["harbour", "index_live"]))
        live = told.asset_materialization.tags["dagster/data_version"]
        assert Lake(tmp_path / "lake").head().live["harbour"] == live
        return live if result.success else failure(result)

    assert choose("harbour_rollback") == first
    assert choose("harbour_promote", second) == second
    assert "harbour has no index version nowhere" in choose("harbour_promote", "nowhere")


# What must not leave the lake


PAGE = (
    "<html><head><title>{0} of anna.berg{1}@mail.example</title></head><body><article><h1>{0}</h1>"
    "<p>The harbour opens early, and boats leave before dawn while gulls circle over the pier until noon. "
    "Write to anna.berg{1}@mail.example or call +49 30 901820{1} before the market hall is full.</p></article>"
)


@pytest.mark.slow
def test_secrets_and_personal_data_never_reach_the_event_log(tmp_path, monkeypatch):
    token = "s3cr3t-t0k3n-of-harbour"
    monkeypatch.setenv("HARBOUR_TOKEN", token)
    pages = {f"/anna.berg{n}@mail.example": Page(PAGE.format(f"Page {n}", n)) for n in range(3)}
    links = "".join(f'<a href="{path}">more</a>' for path in pages)
    with serve({"/": Page(PAGE.format("Start", 9) + links), **pages}) as site:
        recipe = tmp_path / "curate.toml"
        # Without a step that would mask the texts of the corpus.
        recipe.write_text(
            f'name = "harbour"\nextends = "docs"\nindex = false\n[sources.site]\nurl = "{site.url}"\n'
            'allow_private = "127.0.0.1"\nheaders.Authorization = "Bearer ${HARBOUR_TOKEN}"\n'
            "[corpus]\nanonymize = false\n"
        )
        home = tmp_path / "home"
        home.mkdir()
        with dg.DagsterInstance.local_temp(str(home)) as instance:
            result = materialize(recipe, instance=instance)
            monkeypatch.delenv("HARBOUR_TOKEN")
            assert "HARBOUR_TOKEN" in failure(materialize(recipe, ["pages"], instance=instance))
        assert site.headers("/")["authorization"] == f"Bearer {token}"
    assert result.success
    assert metadata(result, "corpus")["dagster/row_count"].value == 4
    assert "&lt;EMAIL_1>" in metadata(result, "corpus")["samples"].value
    kept = b"".join(file.read_bytes() for file in home.rglob("*") if file.is_file())
    assert b"harbour__corpus" in kept
    for secret in (token, "anna.berg", "mail.example", "901820"):
        assert secret.encode() not in kept, secret


# What runs by itself


def tick(sensor, cursor):
    """Whether a run is asked for, the new cursor, and why not."""
    with dg.build_sensor_context(cursor=cursor) as context:
        found = sensor(context)
    if isinstance(found, dg.SkipReason):
        return False, cursor, found.skip_message
    return bool(found.run_requests), found.cursor, ""


def sensors(recipe):
    return {sensor.name.removeprefix("harbour_"): sensor for sensor in curate_jobs(recipe).sensors}


def test_new_files_ask_for_one_run_once_they_stand_still(tmp_path):
    recipe = make_recipe(tmp_path, NO_INDEX)
    sensor = sensors(recipe)["new_files"]
    asked, cursor, _ = tick(sensor, None)
    assert not asked  # seen once: perhaps somebody is still writing
    asked, cursor, _ = tick(sensor, cursor)
    assert asked
    asked, cursor, _ = tick(sensor, cursor)
    assert not asked
    before = (tmp_path / "docs.jsonl").read_bytes()
    for content in (b"{}\n", before):  # a change, and the way back
        (tmp_path / "docs.jsonl").write_bytes(content)
        assert [tick(sensor, cursor)[0], tick(sensor, tick(sensor, cursor)[1])[0]] == [False, True]
        cursor = tick(sensor, tick(sensor, cursor)[1])[1]


def test_a_folder_that_is_gone_is_a_reason_to_skip(tmp_path):
    (tmp_path / "inbox").mkdir()
    write_jsonl(tmp_path / "inbox" / "docs.jsonl", documents(3))
    recipe = make_recipe(tmp_path, NO_INDEX.replace('"docs.jsonl"', '"inbox"'))
    sensor = sensors(recipe)["new_files"]
    _, cursor, _ = tick(sensor, None)
    (tmp_path / "inbox" / "docs.jsonl").unlink()
    (tmp_path / "inbox").rmdir()
    asked, kept, why = tick(sensor, cursor)
    assert not asked
    assert kept == cursor
    assert f"There is no file {tmp_path / 'inbox'}" in why


def test_a_changed_recipe_asks_for_a_run_and_a_broken_one_says_why_not(tmp_path):
    recipe = make_recipe(tmp_path, NO_INDEX)
    sensor = sensors(recipe)["recipe_changed"]
    _, cursor, _ = tick(sensor, None)
    asked, cursor, _ = tick(sensor, cursor)
    assert asked
    recipe.write_text("# a comment is no change\n" + NO_INDEX)
    assert not tick(sensor, tick(sensor, cursor)[1])[0]
    recipe.write_text(NO_INDEX + "\n[filtered.length]\ndrop.too_short = 'words < 11'\n")
    assert tick(sensor, tick(sensor, cursor)[1])[0]
    recipe.write_text(NO_INDEX + "\n[nowhere]\n")
    asked, kept, why = tick(sensor, cursor)
    assert not asked
    assert kept == cursor
    assert 'there is no table or key "nowhere"' in why


@pytest.mark.slow
def test_a_table_is_asked_for_when_its_input_is_new_and_checked_and_not_otherwise(tmp_path):
    recipe = make_recipe(tmp_path, NO_INDEX)
    defs = definitions(recipe)
    instance = dg.DagsterInstance.ephemeral()
    cursor = None

    def asked():
        nonlocal cursor
        found = dg.evaluate_automation_conditions(defs, instance, cursor=cursor)
        cursor = found.cursor
        keys = [dg.AssetKey(["harbour", table]) for table in WAY]
        return [key.path[-1] for key in keys if found.get_num_requested(key)]

    materialize(recipe, instance=instance)
    asked()
    materialize(recipe, ["documents"], instance=instance)  # again, with what stood
    assert asked() == []
    with (tmp_path / "docs.jsonl").open("a") as file:
        file.write(json.dumps({"id": "new", "text": "A new page about the old harbour. " * 5}) + "\n")
    materialize(recipe, ["pages"], instance=instance)
    assert asked() == ["documents"]  # then filtered, once documents has another version
    recipe.write_text(NO_INDEX + "\n[checks.documents]\nmax_kept = 0.5\n")
    materialize(recipe, ["documents"], instance=instance)
    assert asked() == []
