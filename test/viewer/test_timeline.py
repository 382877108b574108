"""Early and full answers side by side: each to its image, as theory counts them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming_net_ros.theory import ResponseTimes
from streaming_net_ros.viewer.timeline import pairs

pytest.importorskip("rclpy", reason="rclpy is not installed: extra 'ros'")

from streaming_net_ros.viewer.watch import Response


def times(first, full):
    return ResponseTimes("out", first, full, 1, 1, {})


def answer(frame, value, age_ms=50.0, received_s=0.0):
    return Response(frame * 10, frame, (value,), age_ms, received_s)


@given(frames=st.sets(st.integers(0, 60)), first=st.integers(0, 5), more=st.integers(0, 7))
def test_an_images_full_answer_leaves_as_many_frames_later_as_theory_says(frames, first, more):
    found = pairs([answer(f, float(f)) for f in frames], times(first, first + more))
    assert [pair.frame for pair in found] == sorted(frames)
    for pair in found:
        assert pair.early == (float(pair.frame),)
        later = pair.frame + more
        assert pair.full == ((float(later),) if later in frames else None)


def test_the_full_answer_is_as_old_as_the_early_one_was_and_the_time_since():
    found = pairs(
        [answer(0, 1.0, 40.0, 1.0), answer(1, 2.0, 45.0, 1.05), answer(2, 3.0, 41.0, 1.1)],
        times(1, 3),
    )
    assert found[0].early_ms == 40.0 and round(found[0].full_ms) == 140


def test_ages_of_a_recording_are_not_told():
    (pair,) = pairs([answer(0, 1.0, 5e10)], times(1, 1))
    assert pair.early_ms is None and pair.full_ms is None


def test_answers_whose_image_is_not_known_are_left_out():
    assert pairs([Response(1, None, (1.0,), 1.0, 0.0)], times(1, 2)) == []
