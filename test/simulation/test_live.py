"""The car in somebody's time: when pictures are due, and when a command runs out."""

from __future__ import annotations

import itertools
import math

import pytest

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.simulation import Command, Simulation, World
from streaming_net_ros.simulation.live import STEP_NS, LiveCar

WORLD = World.from_seed(3)
START_NS = 10**18 + 7


def live_car(rate_hz=20.0, **more):
    return LiveCar(Simulation(WORLD), rate_hz, START_NS, **more)


def drive(car, seconds):
    """How many pictures were due."""
    end_ns = car.now_ns + round(seconds * 1e9)
    pictures = 0
    while car.next_ns() <= end_ns:
        pictures += car.step()
    return pictures


@pytest.mark.parametrize("rate_hz", [20.0, 30.0, 60.0, 150.0])
def test_pictures_are_due_on_the_frame_grid_and_no_step_is_long(rate_hz):
    car = live_car(rate_hz)
    period_ns = round(1e9 / rate_hz)
    assert car.now_ns % period_ns == 0 and car.now_ns >= START_NS
    due = []
    for _ in range(200):
        before_ns = car.now_ns
        if car.step():
            due.append(car.now_ns)
        assert 0 < car.now_ns - before_ns <= STEP_NS
    assert due and all(b - a == period_ns for a, b in itertools.pairwise(due))


def test_the_car_stands_until_a_command_comes_and_stops_when_none_follows():
    car = live_car(command_timeout_s=0.5)
    drive(car, 1.0)
    assert car.way.distance_m == 0 and not car.has_command and car.way.timeouts == 0
    car.hear(Command(0.0, 1.0))
    drive(car, 0.4)
    assert car.has_command and car.simulation.state.speed_mps > 1
    drive(car, 3.0)
    assert not car.has_command and car.way.timeouts == 1
    assert car.simulation.state.speed_mps < 0.01


def test_a_held_speed_is_driven_only_while_there_is_a_command():
    car = live_car(speed_mps=1.0)
    drive(car, 1.0)
    assert car.simulation.state.speed_mps == 0
    for _ in range(20):
        car.hear(Command(0.0, 0.0))
        drive(car, 0.1)
    assert car.simulation.state.speed_mps == pytest.approx(1.0, rel=0.01)


def test_who_leaves_the_track_is_counted_and_put_back():
    car = live_car(speed_mps=2.0)
    for _ in range(100):
        car.hear(Command(1.0, 1.0))
        drive(car, 0.1)
    assert car.way.off_track_events > 2
    assert car.way.lateral_max_m > WORLD.track.lane_width_m / 2
    assert not car.simulation.is_off_track and str(car.way.off_track_events) in str(car.way)


def test_a_lap_of_the_expert_is_one_lap():
    car = live_car(speed_mps=1.5)
    while car.way.laps < 1 and car.way.seconds < 60:
        car.hear(car.simulation.expert_command())
        car.step()
    assert car.way.distance_m == pytest.approx(WORLD.track.length_m, rel=0.05)
    assert car.way.off_track_events == 0 and car.way.lateral_mean_m < 0.05


def test_time_that_begins_anew_forgets_the_command():
    car = live_car()
    car.hear(Command(0.0, 1.0))
    car.begin(5)
    assert not car.has_command and car.now_ns == car.period_ns


def test_a_command_that_is_not_finite_is_refused_and_the_one_before_stays():
    car = live_car()
    car.hear(Command(0.0, 1.0))
    with pytest.raises(ParameterError, match="finite"):
        car.hear(Command(math.nan, 1.0))
    assert car.has_command


@pytest.mark.parametrize(
    "bad", [{"rate_hz": 0.0}, {"command_timeout_s": 0.0}, {"speed_mps": 99.0}]
)
def test_values_out_of_range_are_refused_by_name(bad):
    with pytest.raises(ParameterError, match=next(iter(bad))):
        live_car(**bad)
