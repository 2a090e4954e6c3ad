"""The lake's promises: a key once, versions as sets of files, one row that makes a run visible."""

import shutil
import threading
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from curate.lake.content import Content, new_file
from curate.lake.digest import content_digest, digest, digest_column, digest_rows
from curate.lake.lake import Lake
from curate.lake.parquet import write_parquet
from curate.lake.runs import Head, Runs
from curate.lake.state import State
from schemas.errors import LakeError, MovedError
from schemas.tables import TABLES

SCHEMA = TABLES["vectors"].schema


def shard(content: Content, keys) -> Path:
    file = new_file(content.folder)
    write_parquet(
        pa.table({"key": [str(key) for key in keys], "vector": [b"x"] * len(keys)}, schema=SCHEMA),
        SCHEMA,
        file,
    )
    return file


def test_a_key_that_stands_is_not_added_again(tmp_path):
    content = Content(tmp_path / "c", SCHEMA)
    assert content.append().add(shard(content, [1, 2])) == 2
    appender = content.append()
    assert appender.add(shard(content, [2, 3, 3])) == 1
    assert appender.add(shard(content, [1, 3])) == 0
    assert sorted(content.scan().collect()["key"]) == ["1", "2", "3"]


def test_keys_of_an_appender_that_began_at_the_same_time_are_left_out(tmp_path):
    content = Content(tmp_path / "c", SCHEMA)
    one, two = content.append(), content.append()
    one.add(shard(content, [1, 2]))
    two.add(shard(content, [3]))
    assert two.add(shard(content, [2, 4])) == 1
    assert sorted(content.scan().collect()["key"]) == ["1", "2", "3", "4"]


def test_many_appenders_at_once_store_each_key_once(tmp_path):
    content = Content(tmp_path / "c", SCHEMA)

    def append():
        appender = content.append()
        for start in range(0, 100, 20):
            appender.add(shard(content, range(start, start + 20)))

    threads = [threading.Thread(target=append) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(content.scan().collect()["key"]) == sorted(str(n) for n in range(100))


def test_a_file_with_another_schema_is_refused(tmp_path):
    content = Content(tmp_path / "c", SCHEMA)
    appender = content.append()
    wide = pa.schema([*SCHEMA, ("more", pa.int32())])
    file = new_file(content.folder)
    write_parquet(
        pa.table({"key": ["1"], "vector": [b""], "more": pa.array([1], pa.int32())}, schema=wide), wide, file
    )
    with pytest.raises(LakeError, match="columns"):
        appender.add(file)


def test_small_files_are_merged_and_nothing_changes(tmp_path):
    content = Content(tmp_path / "c", SCHEMA)
    appender = content.append()
    for n in range(10):
        appender.add(shard(content, [n]))
    content.compact()
    assert len(content.files()) == 1
    assert sorted(content.scan().collect()["key"]) == sorted(str(n) for n in range(10))


def rows(*keys):
    return pl.DataFrame({"key": [str(key) for key in keys], "vector": [b"x"] * len(keys)})


def test_a_reader_sees_what_was_committed_and_a_table_made_anew_where_one_was(tmp_path):
    content = Content(tmp_path / "c", SCHEMA)
    assert content.files() == []
    content.append().add(shard(content, [1]))
    assert [len(content.files()) for _ in range(2)] == [1, 1]
    Content(tmp_path / "c", SCHEMA).append().add(shard(content, [2]))
    assert sorted(content.scan().collect()["key"]) == ["1", "2"]
    shutil.rmtree(tmp_path / "c")
    assert content.files() == []
    content.append().add(shard(content, [3]))
    content.append().add(shard(content, [4]))
    assert sorted(content.scan().collect()["key"]) == ["3", "4"]


def test_an_unchanged_state_keeps_its_version(tmp_path):
    state = State(tmp_path / "s", SCHEMA)
    first, written = state.replace_rows(rows(1, 2), None, "key")
    assert written > 0
    assert state.replace_rows(rows(2, 1), first, "key") == (first, 0)


def test_an_old_version_stays_readable_and_leftovers_vanish(tmp_path):
    state = State(tmp_path / "s", SCHEMA)
    first, _ = state.replace_rows(rows(1, 2), None, "key")
    dead, _ = state.replace_rows(rows(9), first, "key")  # a run that never published
    second, _ = state.replace_rows(rows(1, 2, 3), first, "key")
    assert dead < second
    assert sorted(state.scan(first).collect()["key"]) == ["1", "2"]
    assert sorted(state.scan(second).collect()["key"]) == ["1", "2", "3"]
    assert state.replace(state.files(first), second) > second
    assert sorted(state.scan(None).collect()["key"]) == []


def test_a_row_of_runs_is_what_makes_a_table_visible(tmp_path):
    runs = Runs(tmp_path / "runs")
    assert runs.head() == Head()
    one = runs.publish(runs.head(), Head(name="a", pins={"a/corpus": 3}), ["a/corpus"], [])
    two = runs.publish(
        one, Head(name="b", pins={"b/corpus": 5}, fingerprints={"b/x": "f"}), ["b/corpus", "b/x"], []
    )
    assert (one.seq, two.seq) == (1, 2)
    assert runs.head().pins == {"a/corpus": 3, "b/corpus": 5}
    assert runs.at(1).pins == {"a/corpus": 3}
    assert runs.log()["seq"].to_list() == [1, 2]


def test_a_run_whose_input_moved_is_told_and_one_beside_it_is_not(tmp_path):
    runs = Runs(tmp_path / "runs")
    base = runs.publish(
        runs.head(), Head(pins={"a/documents": 1, "a/corpus": 1}), ["a/documents", "a/corpus"], []
    )
    runs.publish(base, Head(pins={"a/documents": 2}), ["a/documents"], [])
    with pytest.raises(MovedError, match="a/documents"):
        runs.publish(base, Head(pins={"a/corpus": 2}), ["a/corpus"], ["a/documents"])
    assert runs.publish(base, Head(pins={"b/corpus": 1}), ["b/corpus"], []).pins["a/documents"] == 2


def test_publishers_at_once_leave_an_unbroken_chain(tmp_path):
    runs = Runs(tmp_path / "runs")

    def publish(name):
        for n in range(5):
            runs.publish(runs.head(), Head(name=name, pins={f"{name}/corpus": n}), [f"{name}/corpus"], [])

    threads = [threading.Thread(target=publish, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert runs.log()["seq"].to_list() == list(range(1, 16))
    assert runs.head().pins == {"a/corpus": 4, "b/corpus": 4, "c/corpus": 4}


def test_a_folder_that_is_no_lake_says_how_to_make_one(tmp_path):
    with pytest.raises(LakeError) as error:
        Lake(tmp_path / "nothing")
    assert "curate run" in error.value.hint


def test_the_second_run_of_a_name_is_told_who_holds_it(tmp_path):
    lake = Lake(tmp_path / "lake", create=True)
    with lake.lock("a"), pytest.raises(LakeError, match=r"Process \d+"), lake.lock("a"):
        pass


def test_digests_do_not_depend_on_order_or_chunks_but_on_every_value():
    frame = pl.DataFrame({"id": [digest("a"), digest("b")], "key": [digest("x"), ""], "kept": [True, False]})
    assert content_digest(frame) == content_digest(frame.reverse())
    assert content_digest(frame) != content_digest(frame.with_columns(kept=pl.lit(True)))
    assert content_digest(frame) != content_digest(frame.with_columns(key=pl.lit("")))
    texts = pa.chunked_array([["a", "b"], ["", "ü"]], pa.large_string())
    assert digest_column(texts).to_pylist() == [digest(text) for text in ("a", "b", "", "ü")]
    assert digest_column(texts.combine_chunks().slice(1, 2)).to_pylist() == [digest("b"), digest("")]
    assert (
        digest_rows([pl.Series(["ab"]), pl.Series(["c"])])[0]
        != digest_rows([pl.Series(["a"]), pl.Series(["bc"])])[0]
    )


def test_rows_that_come_in_parts_are_those_that_come_at_once(tmp_path):
    state = State(tmp_path / "state", TABLES["verdicts"].schema)
    whole = pl.DataFrame(
        [_verdict(n) for n in range(10)], schema=pl.DataFrame(state.schema.empty_table()).schema
    )
    first, _ = state.replace_rows(whole, None, "id")
    assert state.replace_parts(whole.iter_slices(3), first) == (first, 0)
    longer = pl.concat([whole, whole.tail(1).with_columns(id=pl.lit("z"))])
    second, written = state.replace_parts(longer.iter_slices(4), first)
    assert written
    assert state.scan(second).collect().equals(longer)
    third, _ = state.replace_parts(longer.head(7).iter_slices(4), second)
    assert state.scan(third).collect().equals(longer.head(7))
    for nothing in ([longer.clear()], []):
        fourth, _ = state.replace_parts(nothing, third)
        assert state.scan(fourth).collect().is_empty()
        assert state.replace_parts(nothing, fourth) == (fourth, 0)


def _verdict(number):
    return {
        "id": f"{number:032x}", "key": "k", "kept": True, "step": "", "reason": "", "failed": [], "message": "",
        "duplicate_of": "", "similarity": 0.0,
    }  # fmt: skip
