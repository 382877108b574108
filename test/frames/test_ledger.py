from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streaming_net_ros.frames.ledger import FrameLedger, quantile

MS = 1_000_000


def test_the_cadence_adds_up():
    ledger = FrameLedger(target_hz=100)
    for frame, work_ms in enumerate([4, 12, 5, 3]):
        ledger.record(
            frame * 10 * MS, work_ms * MS, held=("a",) if frame == 2 else (), skipped=frame
        )
    cadence = ledger.cadence()
    assert (cadence.frames, cadence.rate_hz, cadence.over_budget) == (4, 100.0, 1)
    assert (cadence.work_mean_ms, cadence.work_worst_ms) == (6.0, 12.0)
    assert (cadence.held, cadence.skipped) == (1, 6)
    assert "4 frames, 100.0 Hz (target 100), 1 over budget" in str(cadence)


def test_an_empty_ledger_says_so():
    assert str(FrameLedger().cadence()) == "no frame"


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_a_quantile_is_reached_by_its_fraction_of_the_values(values, q):
    value = quantile(values, q)
    assert value in values
    assert sum(v <= value for v in values) >= q * len(values) - 1e-6


def test_the_ledger_does_not_grow():
    ledger = FrameLedger()
    for frame in range(5000):
        ledger.record(frame, 1)
    assert len(ledger._recent_ms) == 1000 and ledger.cadence().frames == 5000
