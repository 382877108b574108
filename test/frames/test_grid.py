from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.frames import FrameGrid

rates = st.floats(0.01, 10_000, allow_nan=False)
frames = st.integers(0, 10**12)


@given(rates, frames)
def test_a_frame_is_computed_back_from_its_stamp(rate_hz, frame):
    grid = FrameGrid(rate_hz)
    assert grid.frame_at(grid.stamp_ns(frame)) == frame
    assert grid.frame_at(grid.stamp_ns(frame + 1) - 1) == frame
    assert grid.nearest_frame(grid.stamp_ns(frame)) == frame


@given(rates, st.integers(0, 10**18))
def test_the_nearest_frame_is_at_most_half_a_period_away(rate_hz, stamp_ns):
    grid = FrameGrid(rate_hz)
    assert abs(grid.stamp_ns(grid.nearest_frame(stamp_ns)) - stamp_ns) <= (grid.period_ns + 1) // 2


@pytest.mark.parametrize("rate_hz", [0, -30, float("nan"), float("inf"), 1e6])
def test_a_rate_out_of_range_is_refused(rate_hz):
    with pytest.raises(ParameterError, match="rate_hz"):
        FrameGrid(rate_hz)
