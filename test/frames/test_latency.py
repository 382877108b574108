from __future__ import annotations

from streaming_net_ros.frames import FrameGrid, Latency, Origin, ResponseClock

GRID = FrameGrid(10)
MS = 1_000_000
FIRST = 10**10  # a frame of today


def image(frame, held=0.0):
    return Origin(GRID.stamp_ns(frame), frame, held)


def published(clock, frame, image_frame, after_ms, held=0.0):
    """A response of a frame leaves so many ms after the tick of its newest image."""
    now_ns = GRID.stamp_ns(image_frame) + after_ms * MS
    return clock.published(frame, image(image_frame, held), now_ns)


def test_an_image_has_an_early_response_and_a_full_one_some_frames_later():
    clock = ResponseClock(first_frames=2, full_frames=4)
    assert published(clock, FIRST + 2, FIRST, 30) == Latency(30.0, None)
    assert published(clock, FIRST + 3, FIRST + 1, 40) == Latency(40.0, None)
    # Frame FIRST + 4 leaves 50 ms after image FIRST + 2: 250 ms after image FIRST.
    assert published(clock, FIRST + 4, FIRST + 2, 50) == Latency(50.0, 250.0)
    assert clock.early.count == 3 and clock.full.count == 1


def test_a_response_that_tells_nothing_new_has_no_latency():
    clock = ResponseClock(2, 2)
    assert published(clock, FIRST + 2, FIRST, 30) == Latency(30.0, 30.0)
    assert published(clock, FIRST + 3, FIRST, 130, held=1.0) == Latency(None, None)


def test_a_response_with_a_held_path_is_not_full():
    clock = ResponseClock(2, 3)
    published(clock, FIRST + 2, FIRST, 30)
    assert published(clock, FIRST + 3, FIRST + 1, 30, held=0.5) == Latency(30.0, None)


def test_images_without_a_full_response_are_forgotten():
    clock = ResponseClock(1, 5)
    for frame in range(1000):
        published(clock, FIRST + frame + 1, FIRST + frame, 10, held=0.5)
    assert len(clock._captured_ns) <= 5
