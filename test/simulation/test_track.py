"""Laws of the track: closed, smooth, never crossing itself, and exact to project on."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.simulation import Track, random_track

SEEDS = range(12)
TRACK = random_track(5)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_track_is_closed_in_equal_steps(seed):
    track = random_track(seed)
    steps = np.linalg.norm(np.roll(track.points_m, -1, axis=0) - track.points_m, axis=1)
    assert steps.max() < 0.021
    assert steps.min() > 0.019
    assert track.length_m == pytest.approx(steps.sum())
    assert track.point_at(track.length_m) == pytest.approx(track.point_at(0.0))
    assert track.point_at(-1.0) == pytest.approx(track.point_at(track.length_m - 1.0))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_track_is_smooth_and_turns_by_its_curvature(seed):
    track = random_track(seed)
    steps = np.roll(track.points_m, -1, axis=0) - track.points_m
    headings = np.arctan2(steps[:, 1], steps[:, 0])
    turns = np.angle(np.exp(1j * (headings - np.roll(headings, 1))))
    assert np.abs(turns).max() < 0.03
    np.testing.assert_allclose(turns / 0.02, track.corner_curvature_per_m, atol=0.06)
    assert abs(turns.sum()) == pytest.approx(2 * math.pi)  # once around, no loop


@pytest.mark.parametrize("seed", SEEDS)
def test_no_curve_is_sharper_than_the_bound_and_both_sides_occur(seed):
    curvature = random_track(seed, min_radius_m=1.1).corner_curvature_per_m
    assert np.abs(curvature).max() <= 1 / 1.1
    assert curvature.max() > 0.3
    assert curvature.min() < -0.3


@pytest.mark.parametrize("seed", SEEDS)
def test_distant_stretches_keep_clear_of_each_other(seed):
    track = random_track(seed)
    points = track.points_m[::10]
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    order = np.arange(len(points))
    along = np.abs(order[:, None] - order[None])
    along = np.minimum(along, len(points) - along) * 0.2
    assert distance[along > 3.0].min() > track.lane_width_m * 1.15


def test_some_tracks_run_left_around_and_some_right_around():
    turns = [random_track(seed).corner_curvature_per_m.mean() for seed in range(10)]
    assert min(turns) < 0 < max(turns)


@given(st.floats(0.0, 1.0, exclude_max=True))
def test_projecting_a_point_of_the_line_gives_its_arc_length(share):
    arc_length_m = share * TRACK.length_m
    place = TRACK.project(TRACK.point_at(arc_length_m))
    around = math.remainder(place.arc_length_m - arc_length_m, TRACK.length_m)
    assert around == pytest.approx(0.0, abs=1e-9)
    assert place.lateral_m == pytest.approx(0.0, abs=1e-9)


@given(st.floats(0.0, 1.0), st.floats(-0.6, 0.6))
def test_lateral_is_the_distance_and_positive_to_the_left(share, lateral_m):
    arc_length_m = share * TRACK.length_m
    x_m, y_m = TRACK.point_at(arc_length_m)
    heading = TRACK.heading_at(arc_length_m)
    beside = (x_m - lateral_m * math.sin(heading), y_m + lateral_m * math.cos(heading))
    place = TRACK.project(beside)
    assert place.lateral_m == pytest.approx(lateral_m, abs=2e-3)
    assert abs(math.remainder(place.heading_rad - heading, 2 * math.pi)) < 0.05
    assert place.curvature_per_m == pytest.approx(TRACK.curvature_at(arc_length_m), abs=0.1)


def test_a_line_beside_lies_beside():
    for point in TRACK.line_beside(-0.5)[::100]:
        assert TRACK.project(tuple(point)).lateral_m == pytest.approx(-0.5, abs=1e-3)


def test_the_same_seed_gives_the_same_track_and_another_seed_another():
    np.testing.assert_array_equal(random_track(3).points_m, random_track(3).points_m)
    assert random_track(3).length_m != random_track(4).length_m


def test_a_track_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        TRACK.points_m[0] = 0.0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"seed": -1}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"seed": 0, "lane_width_m": 0.0}, "lane_width_m"),
        ({"seed": 0, "min_radius_m": 0.5}, "min_radius_m"),
        ({"seed": 0, "min_radius_m": math.nan}, "min_radius_m"),
        ({"seed": 0, "ring_radius_m": 1.0}, "ring_radius_m"),
    ],
)
def test_a_bad_parameter_is_named(arguments, named):
    with pytest.raises(ParameterError, match=named) as caught:
        random_track(**arguments)
    assert str(arguments[named]) in str(caught.value)


def test_bounds_that_no_track_fits_are_told_with_a_remedy():
    with pytest.raises(ParameterError, match="raise ring_radius_m"):
        random_track(0, min_radius_m=3.0, ring_radius_m=6.0, lane_width_m=4.9)


def test_a_lane_needs_a_width():
    with pytest.raises(ParameterError, match="lane_width_m"):
        Track(np.eye(3, 2), np.zeros(3), -1.0)
