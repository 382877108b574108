"""An output's guard: never an old answer, one stop, and it resumes by itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streaming_net_ros.frames import FrameGrid, Limits, Origin, OutputGuard, Verdict

GRID = FrameGrid(10)
MS = 1_000_000
START_NS = 10**18


def guard(max_age_ms=200, max_held=None):
    age_ns = None if max_age_ms is None else max_age_ms * MS
    return OutputGuard(Limits(age_ns, max_held), GRID)


def origin(captured_ms, held=0.0):
    captured_ns = START_NS + captured_ms * MS
    return Origin(captured_ns, GRID.frame_at(captured_ns), held)


def at(ms):
    return START_NS + ms * MS


def test_a_fresh_answer_leaves():
    assert guard().judge(origin(0), at(200)) is Verdict.ANSWER


def test_an_old_answer_stops_the_output_once_and_a_fresh_one_resumes_it():
    judge = guard()
    assert judge.judge(origin(0), at(201)) is Verdict.STOP
    assert judge.judge(origin(10), at(300)) is Verdict.STOPPED
    assert judge.reason == "290 ms old, the limit is 200 ms" and judge.stops == 1
    assert judge.judge(origin(290), at(300)) is Verdict.ANSWER
    assert judge.reason is None
    assert judge.judge(origin(0), at(600)) is Verdict.STOP and judge.stops == 2


def test_silence_stops_the_output_when_its_last_answer_has_become_too_old():
    judge = guard()
    assert judge.watch(at(0)) is Verdict.STOPPED  # nothing has left: nothing to take back
    judge.judge(origin(0), at(50))
    assert judge.watch(at(200)) is Verdict.ANSWER
    assert judge.watch(at(201)) is Verdict.STOP and "no newer answer" in judge.reason
    assert judge.watch(at(400)) is Verdict.STOPPED


def test_an_answer_made_of_too_much_that_was_held_stops_the_output():
    judge = guard(max_age_ms=None, max_held=0.5)
    assert judge.judge(origin(0, held=0.5), at(10**6)) is Verdict.ANSWER
    assert judge.judge(origin(0, held=0.51), at(0)) is Verdict.STOP
    assert judge.reason == "51% of its paths held, the limit is 50%"


def test_an_age_counts_from_where_the_origin_says():
    judge = guard()
    foreign = Origin(5, 0, clocked_ns=at(0))  # a camera with a clock of its own
    assert judge.judge(foreign, at(200)) is Verdict.ANSWER
    assert judge.judge(foreign, at(201)) is Verdict.STOP


def test_time_that_jumps_back_stops_the_output():
    judge = guard()
    judge.judge(origin(5000), at(5000))
    assert judge.judge(origin(5000), at(1000)) is Verdict.STOP and "jumped back" in judge.reason
    judge = guard()
    judge.judge(origin(5000), at(5000))
    assert judge.watch(at(1000)) is Verdict.STOP and "jumped back" in judge.reason
    assert judge.watch(at(1100)) is Verdict.STOPPED
    assert judge.judge(origin(1200), at(1200)) is Verdict.ANSWER


def test_where_no_answer_ever_comes_the_output_stops_after_the_time_to_come_up():
    judge = OutputGuard(Limits(200 * MS), GRID, start_ns=1000 * MS)
    judge.watch(at(0))
    assert judge.watch(at(1200)) is Verdict.ANSWER
    assert judge.watch(at(1201)) is Verdict.STOP and judge.watch(at(1300)) is Verdict.STOPPED


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 400), st.booleans()), max_size=40))
def test_no_answer_beyond_the_limit_ever_leaves_and_every_stop_is_said_once(events):
    judge, now_ms, stopped, stops = guard(), 0, False, 0
    for gap_ms, age_ms, is_answer in events:
        now_ms += gap_ms
        if is_answer:
            verdict = judge.judge(origin(now_ms - age_ms), at(now_ms))
            assert (verdict is Verdict.ANSWER) == (age_ms <= 200)
        else:
            verdict = judge.watch(at(now_ms))
        if verdict is Verdict.STOP:
            assert not stopped
            stops += 1
        stopped = judge.reason is not None
    assert judge.stops == stops


@given(st.lists(st.tuples(st.integers(-(10**4), 500), st.booleans()), min_size=1, max_size=30))
def test_after_any_jumps_silence_stops_the_output_within_its_limit(events):
    judge, now_ms = guard(), 0
    for gap_ms, is_answer in events:
        now_ms += gap_ms
        if is_answer:
            judge.judge(origin(now_ms), at(now_ms))
        else:
            judge.watch(at(now_ms))
    has_spoken = any(is_answer for _, is_answer in events)
    judge.watch(at(now_ms))
    judge.watch(at(now_ms + 201 + 100))  # time may fall by up to a period unnoticed
    assert (judge.reason is not None) == has_spoken
