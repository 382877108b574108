"""Laws of the closed loop: look and decide change nothing, moving does."""

import math

import numpy as np
import pytest

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.simulation import Command, LensNoise, Simulation, World

WORLD = World.from_seed(6)


def yellow_column(image):
    """Mean column of the middle line's yellow, in the lower half of a picture."""
    red, green, blue = image[60:].astype(int).transpose(2, 0, 1)
    _, columns = np.nonzero((red - blue > 50) & (green - blue > 30))
    return columns.mean()


def test_observing_changes_nothing():
    simulation = Simulation(WORLD)
    simulation.place_car(1.0, speed_mps=1.5)
    before = simulation.state
    first, again = simulation.observe(), simulation.observe()
    np.testing.assert_array_equal(first, again)
    assert simulation.state is before
    assert first.shape == (120, 160, 3)
    assert first.dtype == np.uint8


def test_a_picture_is_the_same_whether_or_not_earlier_ones_were_drawn():
    looking, blind = Simulation(WORLD), Simulation(WORLD)
    for _ in range(5):
        looking.observe()
        for simulation in (looking, blind):
            simulation.advance(simulation.expert_command(), 0.05)
    np.testing.assert_array_equal(looking.observe(), blind.observe())


@pytest.mark.parametrize("arc_length_m", [0.0, 7.0, 19.0])
def test_left_of_the_line_the_line_is_right_in_the_picture_and_the_way_back_too(arc_length_m):
    simulation = Simulation(WORLD)
    columns, steering = [], []
    for lateral_m in (0.25, 0.0, -0.25):
        simulation.place_car(arc_length_m, lateral_m=lateral_m)
        columns.append(yellow_column(simulation.observe()))
        steering.append(simulation.expert_command().steering)
    assert columns[0] > columns[1] + 10
    assert columns[1] > columns[2] + 10
    assert steering[0] < steering[1] < steering[2]


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_steering_left_moves_the_line_right_in_the_picture(side):
    straight, turned = Simulation(WORLD), Simulation(WORLD)
    for other, steering in ((straight, 0.0), (turned, 0.4 * side)):
        other.place_car(0.0, speed_mps=1.2)
        for _ in range(5):
            other.advance(Command(steering, 0.5), 0.05)
    assert side * (turned.state.yaw_rad - straight.state.yaw_rad) > 0.05
    moved = yellow_column(turned.observe()) - yellow_column(straight.observe())
    assert side * moved > 5


def test_an_open_shutter_blurs_a_moving_car_only():
    sharp, blurred = (
        Simulation(WORLD, lens=LensNoise(noise_std=0.0, exposure_s=exposure_s))
        for exposure_s in (0.0, 0.04)
    )
    np.testing.assert_array_equal(sharp.observe(), blurred.observe())
    for simulation in (sharp, blurred):
        simulation.place_car(0.0, speed_mps=2.0)
    assert np.abs(sharp.observe().astype(int) - blurred.observe()).mean() > 1.0


def test_a_car_that_never_steers_leaves_the_track():
    simulation = Simulation(WORLD)
    assert not simulation.is_off_track
    for _ in range(200):
        simulation.advance(Command(0.0, 0.6), 0.05)
    assert simulation.is_off_track
    assert abs(simulation.lateral_m) > WORLD.track.lane_width_m / 2
    assert simulation.observe().mean() > 10  # out there it still sees something


def test_a_car_is_placed_where_it_is_told():
    simulation = Simulation(WORLD)
    simulation.advance(Command(0.3, 0.5), 0.2)
    state = simulation.place_car(4.0, lateral_m=0.2, heading_error_rad=-0.4, speed_mps=1.0)
    assert state == simulation.state
    assert simulation.place.arc_length_m == pytest.approx(4.0, abs=0.02)
    assert simulation.lateral_m == pytest.approx(0.2, abs=1e-3)
    assert simulation.heading_error_rad == pytest.approx(-0.4, abs=0.02)
    assert simulation.time_s == 0.0
    assert simulation.state.speed_mps == 1.0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"arc_length_m": math.nan}, "arc_length_m"),
        ({"arc_length_m": 0.0, "lateral_m": 0.8}, "lateral_m"),
        ({"arc_length_m": 0.0, "heading_error_rad": 4.0}, "heading_error_rad"),
        ({"arc_length_m": 0.0, "speed_mps": -1.0}, "speed_mps"),
    ],
)
def test_a_bad_place_is_named(arguments, named):
    with pytest.raises(ParameterError, match=named):
        Simulation(WORLD).place_car(**arguments)


def test_bad_steps_and_seeds_are_named():
    with pytest.raises(ParameterError, match="dt_s"):
        Simulation(WORLD).advance(Command(0.0, 0.0), 0.0)
    with pytest.raises(ParameterError, match=r"seed.*-4"):
        World.from_seed(-4)
