"""What a person sees while a run works: live rows on a terminal, plain lines everywhere else."""

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from curate.reports.live import LiveProgress
from curate.reports.plain import Pace, PlainProgress, outcome
from schemas.report import TableReport


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def plain():
    lines, clock = [], Clock()
    return lines, clock, PlainProgress(lines.append, clock)


def test_what_was_there_before_does_not_count_as_speed():
    clock = Clock()
    pace = Pace(20_000, clock)
    pace.advance(18_000)  # reused, in no time
    for _ in range(4):
        clock.now += 1
        pace.advance(100)
    assert pace.rate == 100
    assert pace.left == 16


def test_a_rate_looks_back_a_minute_and_falls_while_nothing_comes():
    clock = Clock()
    pace = Pace(10_000, clock)
    pace.advance(0)
    for _ in range(100):
        clock.now += 1
        pace.advance(1)
    for _ in range(100):
        clock.now += 1
        pace.advance(10)
    assert 9 <= pace.rate <= 10
    clock.now += 60
    assert pace.rate <= 5.1


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 50)), max_size=40), st.integers(0, 500))
def test_a_pace_is_never_negative_or_past_the_end(steps, total):
    clock = Clock()
    pace = Pace(total, clock)
    for seconds, done in steps:
        clock.now += seconds
        pace.advance(done)
        assert pace.rate >= 0
        assert pace.left >= 0
    assert pace.done == sum(done for _, done in steps)


def test_plain_lines_come_at_the_begin_at_each_tenth_and_at_the_end():
    lines, clock, progress = plain()
    progress.start("filtered", 1000)
    for _ in range(100):
        clock.now += 1
        progress.advance("filtered", 10)
    progress.finish(TableReport(table="filtered", rows=1000, kept=940, reused=60, seconds=99))
    assert lines[0] == "filtered         0/1,000"
    assert lines[1] == "filtered         100/1,000  10 %  10 docs/s  1 min 30 s left"
    assert lines[-1] == "filtered         940 of 1,000 kept, 60 dropped, 60 reused, 1 min 39 s"
    assert len(lines) == 2 + 9


def test_plain_lines_break_a_long_silence():
    lines, clock, progress = plain()
    progress.start("pages")
    for _ in range(61):
        clock.now += 1
        progress.advance("pages", 2)
    assert lines == [
        "pages            started",
        "pages            60 pages  2 pages/s",
        "pages            120 pages  2 pages/s",
    ]


def test_a_short_table_says_only_that_it_began_and_how_it_ended():
    lines, clock, progress = plain()
    progress.start("filtered", 1000)
    for _ in range(10):
        clock.now += 0.01
        progress.advance("filtered", 100)
    assert len(lines) == 1


def test_a_total_may_be_learnt_on_the_way_and_a_note_stands_for_the_rate():
    lines, clock, progress = plain()
    progress.start("documents")
    clock.now += 31
    progress.advance("documents", 1, 4, note="11,079 documents")
    assert lines[-1] == "documents        1/4  25 %  11,079 documents"


def test_what_a_stranger_wrote_cannot_move_the_cursor():
    lines, _, progress = plain()
    progress.start("evil\x1b[2J")
    progress.say("title \x1b]0;pwned\x07 \u202e")
    assert not any(character in "".join(lines) for character in "\x1b\x07\u202e")


def test_the_outcome_of_each_kind_of_table():
    assert outcome(TableReport(table="pages", rows=9, kept=8, measured=2, reused=6, seconds=3)) == (
        "8 pages, 2 new, 6 reused, 3.0 s"
    )
    assert (
        outcome(TableReport(table="vectors", rows=9, kept=9, measured=2, reused=7))
        == "2 made, 7 reused, 0.0 s"
    )
    assert (
        outcome(TableReport(table="corpus", rows=9, kept=9, came_back=3)) == "9 of 9 kept, 3 came back, 0.0 s"
    )
    candidate = TableReport(table="index_candidate", rows=1, kept=1, measured=1)
    assert outcome(candidate) == "1 chunk, a new version, 0.0 s"
    assert outcome(candidate.model_copy(update={"measured": 0})) == "1 chunk, the version is there, 0.0 s"
    assert outcome(TableReport(table="index_live", rows=1200, kept=1200)) == "1,200 chunks live, 0.0 s"


def test_one_of_something_is_one():
    lines, clock, progress = plain()
    progress.start("filtered")
    for _ in range(61):
        clock.now += 1
        progress.advance("filtered", 1)
    assert lines[-1] == "filtered         60 docs  1 doc/s"


def terminal(width=80):
    return Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)


def test_a_finished_table_becomes_one_line_and_the_rows_go_away(capsys):
    console = terminal()
    with LiveProgress(console) as progress:
        progress.start("filtered", 100)
        progress.advance("filtered", 40)
        print("a result")
        progress.say("a sentence \x1b[2J")
        progress.finish(TableReport(table="filtered", rows=100, kept=90))
    written = console.file.getvalue()
    assert written.count("✓ filtered") == 1
    assert "a sentence \N{REPLACEMENT CHARACTER}[2J" in written
    assert written.rstrip().endswith("\x1b[?25h")  # the cursor is back
    assert capsys.readouterr().out == "a result\n"  # stdout is the command's own


def test_rows_fit_every_width():
    for width in (20, 60, 80, 200):
        console = terminal(width)
        progress = LiveProgress(console)
        progress.start("deduplicated", 1_234_567)
        progress.advance("deduplicated", 234_567)
        lines = console.render_lines(progress._rows(), console.options)
        assert len(lines) == 1
        assert sum(segment.cell_length for segment in lines[0]) <= width


def test_tables_that_run_together_have_a_row_each():
    console = terminal()
    with LiveProgress(console) as progress:
        progress.start("chunks", 10)
        progress.start("vectors", 10)
        assert len(console.render_lines(progress._rows(), console.options)) == 2
