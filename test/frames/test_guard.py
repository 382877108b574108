"""An output's guard: never an old answer, one stop, and it resumes by itself."""

from __future__ import annotations

import pytest
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


@pytest.mark.parametrize("stamp_ns", [0, 5, START_NS // 2, START_NS + 10**12])
def test_the_age_of_an_image_with_a_foreign_stamp_counts_from_its_frame(stamp_ns):
    judge = guard()
    frame = GRID.frame_at(START_NS)
    foreign = Origin(stamp_ns, frame)
    arrived_ns = GRID.stamp_ns(frame - 1)  # at the earliest: an image may be a frame ahead
    assert judge.judge(foreign, arrived_ns + 200 * MS) is Verdict.ANSWER
    assert judge.judge(foreign, arrived_ns + 201 * MS) is Verdict.STOP


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
