from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from streaming_net_ros.frames import Arrival, FrameTally, Input, Job, Origin, Spread, quantile

MS = 1_000_000


def job(frame, held=(), absent=(), skipped=0, repeated=None):
    inputs = {s: Input("state", frame - 2, Origin(0, 0), 0, s in held) for s in ("a", *held)}
    return Job(frame, inputs, Origin(0, 0), absent, skipped, repeated)


def test_the_cadence_adds_up():
    tally = FrameTally(["a", "b"], target_hz=100)
    for frame, work_ms in enumerate([4, 12, 5, 3]):
        held, absent = (["a"], ("b",)) if frame == 2 else ((), ())
        done = job(frame, held, absent, skipped=frame)
        tally.record(done, frame * 10 * MS, work_ms * MS)
    cadence = tally.cadence()
    assert (cadence.frames, cadence.rate_hz, cadence.over_budget) == (4, 100.0, 1)
    assert (cadence.work_mean_ms, cadence.work_worst_ms) == (6.0, 12.0)
    assert (cadence.held, cadence.absent, cadence.skipped) == (1, 1, 6)
    assert "4 frames, 100.0 Hz (target 100), 1 over budget" in str(cadence)


def test_a_repeated_state_is_a_frame_but_no_work():
    tally = FrameTally(["a"])
    tally.record(job(1), 10 * MS, 5 * MS)
    tally.record(job(2, repeated="state"), 20 * MS, 0)
    assert tally.cadence().frames == 2 and tally.repeated == 1
    assert tally.cadence().work_mean_ms == 5


def test_silence_is_a_frame_but_no_work():
    tally = FrameTally(["a"])
    tally.record(job(1), 10 * MS, 5 * MS)
    tally.record(Job(2, {"a": Input(None, 1, Origin(0, 0), 0)}, Origin(0, 0)), 20 * MS, 0)
    assert (tally.cadence().frames, tally.silent, tally.cadence().work_mean_ms) == (2, 1, 5)


def test_arrivals_are_counted_by_edge_and_outcome():
    tally = FrameTally(["a", "b"])
    for source, arrival in [("a", Arrival.LATE), ("b", Arrival.LATE), ("b", Arrival.DUPLICATE)]:
        tally.arrived(source, arrival)
    assert tally.count(Arrival.LATE) == 2 and tally.edges["a"].arrivals[Arrival.LATE] == 1
    assert tally.cadence().duplicates == 1


def test_an_empty_tally_says_so():
    assert str(FrameTally().cadence()) == "no frame"


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_a_quantile_is_reached_by_its_fraction_of_the_values(values, q):
    value = quantile(values, q)
    assert value in values
    assert sum(v <= value for v in values) >= q * len(values) - 1e-6


def test_a_spread_keeps_the_worst_of_all_and_forgets_the_rest():
    spread = Spread()
    assert math.isnan(spread.mean_ms) and math.isnan(spread.told()["p99_ms"])
    for took_ms in [99, *range(5000)]:
        spread.add(took_ms % 100 * MS)
    assert spread.count == 5001 and len(spread._recent_ms) == 1000
    assert spread.told() == {"p50_ms": 49, "p99_ms": 98, "max_ms": 99}
