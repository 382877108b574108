"""Laws of a recording: exact stamps, honest labels, on the road, repeatable."""

from itertools import islice, pairwise

import numpy as np
import pytest

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.simulation import (
    Camera,
    Disturbance,
    Simulation,
    World,
    drive_moments,
    simulate_drive,
)

SEEDS = range(24)
FRAMES = 500  # more than a lap


def moments_of(seed, frames=FRAMES, **arguments):
    simulation = Simulation(World.from_seed(seed))
    return list(drive_moments(simulation, frames, drive_seed=seed, **arguments))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_expert_stays_on_the_road_and_steers(seed):
    world = World.from_seed(seed)
    moments = moments_of(seed)
    half_m = world.track.lane_width_m / 2
    assert max(abs(moment.lateral_m) for moment in moments) < 0.8 * half_m
    way_m = sum(moment.state.speed_mps for moment in moments) / 20
    assert way_m > world.track.length_m
    steering = np.array([moment.steering for moment in moments])
    assert steering.std() > 0.25
    assert steering.min() < -0.2
    assert steering.max() > 0.2
    assert np.abs(steering).max() <= 1.0
    assert all(0.0 <= moment.throttle <= 1.0 for moment in moments)
    assert max(abs(moment.executed_steering) for moment in moments) <= 1.0


@pytest.mark.parametrize("rate_hz", [5.0, 10.0, 30.0, 100.0])
def test_the_expert_stays_on_the_road_at_other_rates(rate_hz):
    moments = moments_of(3, int(25 * rate_hz), rate_hz=rate_hz)
    assert max(abs(moment.lateral_m) for moment in moments) < 0.7


def test_labels_are_the_experts_answer_and_not_what_was_executed():
    simulation = Simulation(World.from_seed(1))
    pushed = 0
    for moment in drive_moments(simulation, 300):
        answer = simulation.expert_command()
        assert (moment.steering, moment.throttle) == (answer.steering, answer.throttle)
        assert moment.state == simulation.state
        assert moment.lateral_m == simulation.lateral_m
        pushed += moment.executed_steering != moment.steering
    assert 0.15 < pushed / 300 < 0.45


def test_disturbed_drives_show_recoveries_and_clean_ones_none():
    clean = moments_of(2, disturbance=Disturbance(share=0.0))
    pushed = moments_of(2)
    assert all(moment.executed_steering == moment.steering for moment in clean)
    assert np.std([m.lateral_m for m in pushed]) > 2 * np.std([m.lateral_m for m in clean[40:]])


@pytest.mark.parametrize("rate_hz", [20.0, 30.0, 59.94])
def test_stamps_lie_exactly_on_the_grid(rate_hz):
    start = 1_700_000_000_000_000_000
    moments = moments_of(0, 50, rate_hz=rate_hz, start_stamp_ns=start)
    period_ns = round(1e9 / rate_hz)
    assert [m.stamp_ns for m in moments] == [start + round(k * period_ns) for k in range(50)]


def test_the_same_seeds_give_identical_frames():
    one, same = (list(simulate_drive(3, 6, drive_seed=2)) for _ in range(2))
    assert len(one) == 6
    for frame, twin in zip(one, same, strict=True):
        np.testing.assert_array_equal(frame.image, twin.image)
        assert (frame.steering, frame.throttle) == (twin.steering, twin.throttle)
        assert (frame.state, frame.stamp_ns) == (twin.state, twin.stamp_ns)


@pytest.mark.parametrize(("track_seed", "drive_seed"), [(4, 2), (3, 1)])
def test_another_track_or_drive_gives_other_frames(track_seed, drive_seed):
    one = next(simulate_drive(3, 1, drive_seed=2))
    other = next(simulate_drive(track_seed, 1, drive_seed=drive_seed))
    assert one.state != other.state
    assert np.abs(one.image.astype(int) - other.image).mean() > 3


@pytest.mark.parametrize("seed", range(6))
def test_pictures_are_neither_dark_nor_glaring_and_change(seed):
    frames = list(islice(simulate_drive(seed, 60), 0, None, 10))
    for frame in frames:
        assert frame.image.shape == (120, 160, 3)
        assert frame.image.dtype == np.uint8
        assert 20 < frame.image.mean() < 200
        assert frame.image.std() > 12
    for before, after in pairwise(frames):
        assert np.abs(before.image.astype(int) - after.image).mean() > 4


def test_frames_are_those_of_the_moments():
    frames = list(simulate_drive(2, 5, drive_seed=2))
    for frame, moment in zip(frames, moments_of(2, 5), strict=True):
        assert (frame.stamp_ns, frame.steering) == (moment.stamp_ns, moment.steering)
        assert frame.state == moment.state


def test_the_camera_can_be_chosen():
    assert next(simulate_drive(0, 1, camera=Camera(width=80, height=60))).image.shape == (
        60,
        80,
        3,
    )


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"frames": 0}, "frames"),
        ({"frames": -3}, "frames"),
        ({"frames": 2.5}, "frames"),
        ({"rate_hz": 0.0}, "rate_hz"),
        ({"rate_hz": -20.0}, "rate_hz"),
        ({"rate_hz": float("nan")}, "rate_hz"),
        ({"track_seed": -1}, "track_seed"),
        ({"drive_seed": -1}, "drive_seed"),
        ({"start_stamp_ns": -1}, "start_stamp_ns"),
    ],
)
def test_a_bad_parameter_is_named_by_the_call_itself(arguments, named):
    with pytest.raises(ParameterError, match=f"{named}.*{arguments[named]}"):
        simulate_drive(**({"track_seed": 0, "frames": 10} | arguments))


@pytest.mark.parametrize(
    ("field", "value"), [("share", 0.95), ("spell_s", 0.0), ("push", -1.0), ("limit", 2.0)]
)
def test_a_bad_disturbance_is_named(field, value):
    with pytest.raises(ParameterError, match=field):
        Disturbance(**{field: value})
