"""Laws of the expert: back to the line from either side, and slower in curves."""

import math

import numpy as np
import pytest

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.simulation import Expert, Simulation, World

WORLD = World.from_seed(2)


def straightest_arc_length_m(track):
    arcs = np.arange(0.0, track.length_m, 0.1)
    ahead = [max(abs(track.curvature_at(arc + step)) for step in (0, 0.4, 0.8)) for arc in arcs]
    return float(arcs[int(np.argmin(ahead))])


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_a_car_beside_the_line_is_steered_back(side):
    simulation = Simulation(WORLD)
    at = straightest_arc_length_m(WORLD.track)
    simulation.place_car(at, lateral_m=0.3 * side)
    assert side * simulation.expert_command().steering < -0.2
    simulation.place_car(at, heading_error_rad=0.3 * side)
    assert side * simulation.expert_command().steering < -0.2


def test_a_car_that_points_backwards_is_turned_as_sharply_as_it_can():
    simulation = Simulation(WORLD)
    simulation.place_car(0.0, heading_error_rad=math.pi - 0.3)
    assert simulation.expert_command().steering == -1.0


def test_curves_are_steered_by_their_side():
    simulation = Simulation(WORLD)
    curvature = WORLD.track.corner_curvature_per_m
    for corner in (int(curvature.argmax()), int(curvature.argmin())):
        simulation.place_car(corner * 0.02 - 0.3)
        assert simulation.expert_command().steering * curvature[corner] > 0


def test_curves_are_slower():
    simulation = Simulation(WORLD)
    sharpest = int(np.abs(WORLD.track.corner_curvature_per_m).argmax()) * 0.02
    simulation.place_car(sharpest - 0.3)
    in_curve = simulation.expert_command().throttle
    simulation.place_car(straightest_arc_length_m(WORLD.track))
    assert in_curve < simulation.expert_command().throttle


def test_speed_does_not_change_the_answer():
    simulation = Simulation(WORLD)
    simulation.place_car(3.0, lateral_m=0.1)
    at_rest = simulation.expert_command()
    simulation.place_car(3.0, lateral_m=0.1, speed_mps=2.0)
    assert simulation.expert_command() == at_rest


@pytest.mark.parametrize(
    ("field", "value"),
    [("look_ahead_m", 0.0), ("curve_throttle", -0.1), ("straight_throttle", 1.1)],
)
def test_a_bad_parameter_is_named(field, value):
    with pytest.raises(ParameterError, match=field):
        Expert(**{field: value})
