"""Calls in processes that can be lost: each is answered, and none harms its neighbours."""

import functools
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from curate.sources.killable import map_killable
from curate.sources.record import Fault
from schemas.errors import CurateError

GB = 1_000_000_000


def misbehave(*how: str, seconds: float = 0.2, workers: int = 2) -> list[object]:
    items = ((number, b"", {"how": name}) for number, name in enumerate(how))
    found = list(
        map_killable(
            "tests.killable_calls:misbehave", items, workers=workers, seconds=seconds, memory_bytes=GB
        )
    )
    assert [key for key, _ in found] == list(range(len(how)))
    return [result for _, result in found]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "reason", "message"),
    [
        ("spin", "error:timeout", "It was not done after 0.2 seconds."),
        ("sleep", "error:timeout", "It was not done after 0.2 seconds."),  # after five times as long
        ("crash", "error:extract", "The process that read it crashed (Segmentation fault)."),
        ("exit", "error:extract", "The process that read it ended with code 7."),
        ("eat", "error:memory", "It needs more than 1,000 MB of memory."),
        ("raise", "error:extract", "ValueError: a document broke it"),
    ],
)
def test_a_lost_call_is_a_fault_and_its_neighbours_are_answered(how, reason, message):
    assert misbehave("before", how, "after", "later", workers=1) == [
        "before",
        Fault(0, reason, message),
        "after",
        "later",
    ]


def test_answers_come_in_the_order_of_the_items():
    found = misbehave("a", "spin", "b", "crash", "c", "eat", *"defghijklmnopqrstuvw")
    assert [result for result in found if isinstance(result, str)] == list("abcdefghijklmnopqrstuvw")


def test_a_long_answer_and_a_long_question_do_not_wait_for_each_other():
    items = [(number, b"x" * 8_000_000, {"how": "long"}) for number in range(3)]
    found = dict(map_killable("tests.killable_calls:misbehave", items, workers=1, seconds=5, memory_bytes=GB))
    assert [len(text) for text in found.values()] == [3_000_000] * 3


def test_items_are_read_only_a_little_ahead():
    taken = 0

    def items():
        nonlocal taken
        for number in range(1_000):
            taken += 1
            yield number, b"body", {}

    results = map_killable("tests.killable_calls:length", items(), workers=1, seconds=1, memory_bytes=GB)
    assert next(results) == (0, 4)
    assert taken <= 10
    results.close()


def test_closing_early_does_not_wait_for_a_call_that_hangs():
    items = [(0, b"", {"how": "quick"}), *((number, b"", {"how": "sleep"}) for number in range(1, 50))]
    results = map_killable("tests.killable_calls:misbehave", items, workers=2, seconds=900, memory_bytes=GB)
    assert next(results) == (0, "quick")
    results.close()


def test_a_worker_is_replaced_after_many_calls(monkeypatch):
    monkeypatch.setattr("curate.sources.killable._RECYCLE", 3)
    items = [(number, b"", {}) for number in range(9)]
    found = map_killable("tests.killable_calls:process", items, workers=1, seconds=2, memory_bytes=GB)
    pids = [result[0] for _, result in found]
    assert len(set(pids)) == 3


def test_a_worker_has_the_preloaded_modules_and_none_that_map_gigabytes():
    preload = ("curate.sources.webpage",)
    ((_, (_, modules)),) = map_killable(
        "tests.killable_calls:process", [(0, b"", {})], workers=1, seconds=2, memory_bytes=GB, preload=preload
    )
    assert "curate.sources.webpage" in modules
    assert not {"pyarrow", "polars", "numba", "numpy", "torch"} & set(modules)


def test_a_server_that_was_killed_is_started_again():
    preload = ("tests.killable_calls",)
    call = functools.partial(
        map_killable, "tests.killable_calls:parent", workers=1, seconds=2, memory_bytes=GB, preload=preload
    )
    ((_, server),) = call([(0, b"", {})])
    os.kill(server, signal.SIGKILL)
    ((_, after),) = call([(0, b"", {})])
    assert after != server


def test_a_preload_that_fails_says_so(capfd):
    with pytest.raises(
        CurateError, match=r"The process for no\.such\.module did not start: it ended with code 1"
    ):
        list(
            map_killable(
                "tests.killable_calls:length",
                [(0, b"", {})],
                workers=1,
                seconds=1,
                memory_bytes=GB,
                preload=("no.such.module",),
            )
        )
    assert "No module named" in capfd.readouterr().err


SCRIPT = """
import sys
print("started", file=sys.stderr)
from curate.sources.killable import map_killable
results = map_killable("tests.killable_calls:length", [(0, b"four", {})], workers=1, seconds=2, memory_bytes=10**9)
print(list(results))
"""


@pytest.mark.parametrize("way", ["script", "module", "stdin"])
def test_a_program_without_a_guard_is_not_run_again(tmp_path, way):
    """Notebooks, piped scripts and unguarded scripts have a `__main__` that must not be imported twice."""
    (tmp_path / "unguarded.py").write_text(SCRIPT)
    command = {"script": ["unguarded.py"], "module": ["-m", "unguarded"], "stdin": ["-"]}[way]
    paths = f"import sys; sys.path[:0] = {[path for path in sys.path if path]!r}\n"
    (tmp_path / "unguarded.py").write_text(paths + SCRIPT)
    done = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, input=paths + SCRIPT if way == "stdin" else None, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert done.stdout.strip() == "[(0, 4)]", done.stderr
    assert done.stderr.count("started") == 1


def test_workers_end_with_a_driver_that_is_killed(tmp_path):
    program = textwrap.dedent(f"""
        import sys
        sys.path[:0] = {[path for path in sys.path if path]!r}
        from curate.sources.killable import map_killable
        items = [(number, b"", {{}}) for number in range(100)]
        results = map_killable("tests.killable_calls:process", items, workers=1, seconds=2, memory_bytes=10**9)
        print(next(results)[1][0], flush=True)
        sys.stdin.read()
    """)
    driver = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    worker = int(driver.stdout.readline())
    driver.kill()
    driver.communicate()
    assert ended(worker)


def ended(pid: int, patience: float = 10) -> bool:
    """Whether no such process runs any more (a zombie has ended: its parent only has to notice)."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        state = subprocess.run(
            ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
        ).stdout.strip()
        if not state or state.startswith("Z"):
            return True
        time.sleep(0.05)
    return False
