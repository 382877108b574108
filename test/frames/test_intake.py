from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.frames import Companion, FrameGrid, Intake, Offer

GRID = FrameGrid(10)  # 100 ms
MS = 1_000_000


@given(st.lists(st.integers(0, 10**15), min_size=1, max_size=20))
def test_lockstep_numbers_every_image_in_order_from_the_first_capture(stamps):
    intake = Intake(GRID, "lockstep")
    for number, stamp in enumerate(stamps):
        intake.offer(stamp, number)
    taken = [intake.take() for _ in stamps]
    first = GRID.nearest_frame(stamps[0])
    assert [(t.frame, t.captured_ns, t.image) for t in taken] == [
        (first + n, stamp, n) for n, stamp in enumerate(stamps)
    ]
    assert intake.take() is None


def test_lockstep_refuses_an_image_beyond_its_queue_and_counts_it():
    intake = Intake(GRID, "lockstep", queue_frames=2)
    assert [intake.offer(n, n) for n in range(3)] == [Offer.TAKEN, Offer.TAKEN, Offer.FULL]
    assert intake.dropped == 1 and intake.take().image == 0


def test_realtime_gives_an_image_the_frame_in_which_it_arrives():
    intake = Intake(GRID, "realtime")
    intake.offer(captured_ns=3, image="a", now_ns=1234 * MS)
    fed = intake.take(1234 * MS)
    assert (fed.frame, fed.captured_ns, fed.image) == (12, 3, "a")


def test_a_second_image_within_a_frame_is_the_next_frame_and_a_third_one_waits():
    intake = Intake(GRID, "realtime")
    intake.offer(1, "a", 1210 * MS)
    assert intake.take(1210 * MS).frame == 12
    intake.offer(2, "b", 1250 * MS)
    assert intake.take(1250 * MS).frame == 13
    intake.offer(3, "c", 1280 * MS)
    assert intake.take(1280 * MS) is None and intake.wake_at_ns() == 1300 * MS
    intake.offer(4, "d", 1290 * MS)
    assert intake.counts[Offer.DISPLACED] == 1
    fed = intake.take(1300 * MS)
    assert (fed.frame, fed.image) == (14, "d")


@given(st.integers(0, 99), st.integers(1, 3))
def test_a_camera_at_the_grids_rate_is_never_held_up_for_long_whatever_came_before(phase, burst):
    intake = Intake(GRID, "realtime")
    now = 5000 * MS
    for _ in range(burst):  # several images in one frame
        now += MS
        intake.offer(now, "burst", now)
        intake.take(now)
    waits = []
    for frame in range(52, 60):
        arrived = frame * 100 * MS + phase * MS
        if (wake := intake.wake_at_ns()) is not None and wake <= arrived:
            intake.take(wake)
        intake.offer(arrived, "image", arrived)
        waits.append(intake.take(arrived) is None)
    assert not any(waits[2:])


def test_realtime_uses_no_image_twice_and_none_that_was_overtaken():
    intake = Intake(GRID, "realtime")
    offers = [intake.offer(ms * MS, ms, 5000 * MS) for ms in (4000, 4000, 3900, 4100)]
    assert offers == [Offer.TAKEN, Offer.DUPLICATE, Offer.DISORDERED, Offer.TAKEN]


def test_realtime_follows_a_camera_whose_clock_has_started_anew():
    intake = Intake(GRID, "realtime")
    intake.offer(9000 * MS, "a", 9000 * MS)
    assert intake.take(9000 * MS).image == "a"
    assert intake.offer(100 * MS, "b", 9100 * MS) is Offer.TAKEN
    assert intake.take(9100 * MS).image == "b" and intake.jumps == 1


def test_realtime_begins_anew_when_ros_time_jumps_back():
    intake = Intake(GRID, "realtime")
    intake.offer(9000 * MS, "a", 9000 * MS)
    assert intake.take(9000 * MS).frame == 90
    assert intake.offer(2000 * MS, "b", 2000 * MS) is Offer.TAKEN
    assert intake.take(2000 * MS).frame == 20 and intake.jumps == 1


def test_realtime_counts_stamps_that_cannot_be_of_its_clock():
    intake = Intake(GRID, "realtime")
    now_ns = 10**18
    for captured_ns in (now_ns - 10**8, now_ns + 10**8, now_ns + 10**9, 10**17):
        intake.offer(captured_ns, "image", now_ns)
    assert intake.foreign_stamps == 2


def test_a_camera_that_has_our_clock_is_believed_however_late_its_images_come():
    intake = Intake(GRID, "realtime")
    now_ns = 10**18
    intake.offer(now_ns, "a", now_ns)
    assert intake.take(now_ns).clocked_ns == now_ns
    intake.offer(now_ns + 1, "stalled for 11 s", now_ns + 11_000 * MS)
    assert intake.take(now_ns + 11_000 * MS).clocked_ns == now_ns + 1


@pytest.mark.parametrize("stamp_ns", [5, 10**17, 10**18 + 10**12])
def test_the_age_of_an_image_of_another_clock_counts_from_its_arrival(stamp_ns):
    intake = Intake(GRID, "realtime")
    for ahead in range(3):
        now_ns = 10**18 + ahead * GRID.period_ns
        intake.offer(stamp_ns + ahead * GRID.period_ns, "image", now_ns)
        fed = intake.take(now_ns)
        assert fed.clocked_ns == now_ns and fed.captured_ns != now_ns


def test_one_stamp_ahead_of_time_shuts_out_no_later_image():
    intake = Intake(GRID, "realtime")
    offers = []
    for frame in range(6):
        now_ns = 10**18 + frame * GRID.period_ns
        ahead_ns = 900 * MS if frame == 2 else 0
        offers.append(intake.offer(now_ns + ahead_ns, "image", now_ns))
    assert offers == [Offer.TAKEN] * 6


def test_realtime_takes_an_image_without_a_stamp_as_captured_now():
    intake = Intake(GRID, "realtime")
    for now_ns in (10**18, 10**18 + 10**8):
        assert intake.offer(0, "image", now_ns) is Offer.TAKEN
        assert intake.take(now_ns).captured_ns == now_ns


@given(st.lists(st.integers(1, 400), min_size=1, max_size=40))
def test_realtime_frames_only_ever_grow_whatever_the_jitter(gaps_ms):
    intake = Intake(GRID, "realtime")
    now, taken = 0, []
    for gap in gaps_ms:
        now += gap * MS
        intake.offer(now, now, now)
        while (fed := intake.take(now)) is not None:
            taken.append(fed)
    frames = [fed.frame for fed in taken]
    assert frames == sorted(set(frames))
    assert len(taken) + intake.dropped + len(intake) == len(gaps_ms)
    assert all(fed.frame - GRID.frame_at(fed.image) <= 1 for fed in taken)


def test_a_queue_of_none_is_refused():
    with pytest.raises(ParameterError, match="queue_frames"):
        Intake(GRID, "lockstep", queue_frames=0)


def test_lockstep_companion_waits_until_no_later_arrival_can_change_the_choice():
    box = Companion("lockstep")
    box.offer(100, "a")
    assert box.choose(150) is None
    box.offer(200, "b")
    assert box.choose(150) == "a"
    assert box.choose(200) == "b"


def test_lockstep_tells_when_a_companion_message_is_lost():
    box = Companion("lockstep", queue=2)
    assert [box.offer(n, n) for n in range(3)] == [True, True, False]


def test_realtime_companion_uses_nothing_that_came_too_long_ago():
    box = Companion("realtime", limit_ns=100)
    box.offer(1000, "a", now_ns=7000)
    assert box.choose(0, now_ns=7100) == "a" and box.choose(0, now_ns=7101) is None


def test_realtime_companion_takes_the_newest_that_is_there_whatever_the_stamps():
    box = Companion("realtime")
    assert box.choose(10) is None
    for stamp, message in [(100, "a"), (90, "b"), (10**18, "c"), (0, "d")]:
        box.offer(stamp, message)
    assert box.choose(50) == "d"
