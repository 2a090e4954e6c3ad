"""The one seam to workers: same results inline and in processes, clear failures, no orphans."""

import os
import threading
import time

import pytest

from curate.engine.workers import STOP, Workers
from schemas.errors import RecipeError, StageError


def double(task):
    return {"value": task["value"] * 2, "pid": os.getpid()}


def refuse(task):
    raise RecipeError(f"no {task['value']}", hint="another")


def die(task):
    if task["value"] == 3:
        os._exit(9)
    return double(task)


def die_once(task):
    from pathlib import Path

    marker = Path(task["marker"])
    if task["value"] == 3 and not marker.exists():
        marker.touch()
        os._exit(9)
    return double(task)


def sleep(task):
    time.sleep(600)  # longer than a test may take


def break_down(task):
    raise ValueError(f"odd value {task['value']}")


TASKS = [{"value": n} for n in range(8)]


@pytest.fixture(scope="module")
def pool():
    with Workers(2) as workers:
        yield workers


def test_processes_give_what_inline_gives(pool):
    results = list(pool.map("tests.test_workers:double", TASKS))
    assert sorted(result["value"] for result in results) == [task["value"] * 2 for task in TASKS]
    assert os.getpid() not in {result["pid"] for result in results}
    inline = list(Workers(1).map("tests.test_workers:double", TASKS))
    assert {result["pid"] for result in inline} == {os.getpid()}


def test_an_error_of_ours_arrives_as_it_was_raised(pool):
    with pytest.raises(RecipeError, match="no ") as error:
        list(pool.map("tests.test_workers:refuse", TASKS))
    assert error.value.hint == "another"


def test_any_other_error_names_the_function_and_the_cause(pool):
    with pytest.raises(StageError, match=r"break_down failed: ValueError: odd value"):
        list(pool.map("tests.test_workers:break_down", TASKS))


def test_a_task_whose_worker_died_is_tried_once_more(pool, tmp_path):
    tasks = [{**task, "marker": str(tmp_path / "died")} for task in TASKS]
    assert len(list(pool.map("tests.test_workers:die_once", tasks))) == 8


def test_a_task_that_kills_two_workers_is_an_error_with_a_way_out(pool):
    with pytest.raises(StageError, match="twice on the same shard") as error:
        list(pool.map("tests.test_workers:die", TASKS))
    assert "--workers 1" in error.value.hint


def stop_after_one(pool, results):
    for result in pool.map("tests.test_workers:double", [{"value": n} for n in range(500)]):
        results.append(result)
        STOP.set()


def test_a_stop_finishes_what_was_begun_and_begins_nothing(pool):
    results = []
    try:
        with pytest.raises(KeyboardInterrupt):
            stop_after_one(pool, results)
    finally:
        STOP.clear()
    assert 1 <= len(results) < 500


@pytest.mark.slow
def test_a_stop_that_waits_no_longer_ends_what_is_begun():
    def stop():
        STOP.set()
        pool.kill()

    try:
        threading.Timer(1.0, stop).start()
        with Workers(2) as pool, pytest.raises(KeyboardInterrupt):
            list(pool.map("tests.test_workers:sleep", TASKS[:2]))
    finally:
        STOP.clear()
