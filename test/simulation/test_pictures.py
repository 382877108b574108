"""Laws of what is drawn and of the lens: seeded, in a sane range, lines where the track is."""

import numpy as np
import pytest

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.simulation import LensNoise, draw_ground, draw_panorama, random_track
from streaming_net_ros.simulation.panorama import COLUMNS

TRACK = random_track(1)
GREY = np.full((120, 160, 3), 100, np.uint8)
PERFECT = {
    "brightness_drift": 0.0,
    "contrast_drift": 0.0,
    "tint_drift": 0.0,
    "vignette": 0.0,
    "noise_std": 0.0,
}


def test_the_same_seed_draws_the_same_floor_and_another_seed_another():
    one, same, other = (draw_ground(TRACK, seed, metres_per_pixel=0.02) for seed in (7, 7, 8))
    np.testing.assert_array_equal(one.image, same.image)
    assert one.image.shape == other.image.shape
    assert np.abs(one.image.astype(int) - other.image).mean() > 5


def test_the_same_seed_draws_the_same_surroundings_and_another_seed_another():
    one, same, other = (draw_panorama(seed) for seed in (7, 7, 8))
    np.testing.assert_array_equal(one.image, same.image)
    np.testing.assert_array_equal(one.glossy, same.glossy)
    assert np.abs(one.image.astype(int) - other.image).mean() > 5


def test_the_surroundings_are_two_equal_turns():
    image = draw_panorama(3).image
    np.testing.assert_array_equal(image[:, :COLUMNS], image[:, COLUMNS:])


def test_the_borders_are_brighter_than_the_floor_beside_them():
    ground = draw_ground(TRACK, 0)
    half_m = TRACK.lane_width_m / 2

    def brightness(lateral_m):
        columns, rows = ground.pixels(TRACK.line_beside(lateral_m)).round().astype(int).T
        return float(ground.image[rows, columns].mean())

    for side in (-1, 1):
        border = brightness(side * half_m)
        assert border > brightness(side * (half_m - 0.15)) + 40
        assert border > brightness(side * (half_m + 0.15)) + 40


def test_the_middle_line_is_dashed_and_yellow():
    ground = draw_ground(TRACK, 0)
    columns, rows = ground.pixels(TRACK.points_m).round().astype(int).T
    red, _, blue = ground.image[rows, columns].astype(int).T
    is_yellow = red - blue > 60
    assert 0.3 < is_yellow.mean() < 0.85
    assert np.abs(np.diff(is_yellow.astype(int))).sum() > 40


def test_a_floor_has_a_margin_and_whole_levels():
    ground = draw_ground(TRACK, 0, metres_per_pixel=0.02)
    pixels = ground.pixels(TRACK.points_m)
    assert pixels.min() > 100
    assert (pixels.max(axis=0) < np.array(ground.image.shape[1::-1]) - 100).all()
    for level, image in enumerate(ground.levels):
        assert image.shape[0] * 2**level == ground.image.shape[0]
        corner = ground.pixel_from_world(level) @ (ground.left_m, ground.top_m, 1.0)
        assert corner == pytest.approx([-0.5, -0.5, 1.0])


def test_a_perfect_lens_changes_nothing():
    np.testing.assert_array_equal(LensNoise(**PERFECT).develop(GREY, 3.0, 5), GREY)


def test_a_lens_is_a_pure_function_of_seed_time_and_frame():
    lens = LensNoise(seed=4)
    picture = lens.develop(GREY, 1.0, 20)
    np.testing.assert_array_equal(picture, LensNoise(seed=4).develop(GREY, 1.0, 20))
    assert (picture != lens.develop(GREY, 1.0, 21)).any()
    assert (picture != LensNoise(seed=5).develop(GREY, 1.0, 20)).any()


def test_the_light_drifts_within_its_bound():
    lens = LensNoise(**(PERFECT | {"brightness_drift": 0.25}))
    means = [lens.develop(GREY, time_s, 0).mean() for time_s in np.arange(0.0, 60.0, 0.5)]
    assert 74 <= min(means) < 95
    assert 105 < max(means) <= 126


def test_the_corners_are_darker_than_the_middle():
    picture = LensNoise(**(PERFECT | {"vignette": 0.4})).develop(GREY, 0.0, 0)
    assert picture[0, 0, 0] == 60
    assert picture[60, 80, 0] >= 99


def test_noise_has_its_deviation():
    picture = LensNoise(**(PERFECT | {"noise_std": 6.0})).develop(GREY, 0.0, 0)
    assert picture.std() == pytest.approx(6.0, rel=0.05)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", -2),
        ("brightness_drift", 1.5),
        ("contrast_drift", -0.1),
        ("tint_drift", 2.0),
        ("vignette", 1.0),
        ("noise_std", -1.0),
        ("exposure_s", -0.01),
    ],
)
def test_a_bad_lens_is_named(field, value):
    with pytest.raises(ParameterError, match=f"{field}.*{value}"):
        LensNoise(**{field: value})


def test_bad_drawing_parameters_are_named():
    with pytest.raises(ParameterError, match="metres_per_pixel"):
        draw_ground(TRACK, 0, metres_per_pixel=0.0)
    with pytest.raises(ParameterError, match="seed"):
        draw_ground(TRACK, -1)
    with pytest.raises(ParameterError, match="seed"):
        draw_panorama(-1)
