"""Laws of the camera: a mark is seen where geometry puts it, left is left, up is up."""

import math

import numpy as np
import pytest

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.simulation import Camera, Ground, Panorama
from streaming_net_ros.simulation.camera import SHIFTS_PX
from streaming_net_ros.simulation.panorama import COLUMNS, PIXELS_PER_RAD, ROWS

BLACK = Panorama(*(np.zeros((ROWS, 2 * COLUMNS, 3), np.uint8) for _ in range(2)))


def marked_floor(x_m, y_m):
    """A black floor of 8 x 8 m about the origin with one white mark of 4 cm."""
    ground = Ground(np.zeros((1600, 1600, 3), np.uint8), 0.005, -4.0, 4.0, (0, 0, 0))
    column, row = ground.pixels(np.array([[x_m, y_m]]))[0].round().astype(int)
    image = ground.image.copy()
    image[row - 4 : row + 5, column - 4 : column + 5] = 255
    return Ground(image, 0.005, -4.0, 4.0, (0, 0, 0))


def seen_at(image):
    """Column and row of the light's centre of gravity."""
    light = image.sum(axis=2).astype(float)
    rows, columns = np.indices(light.shape)
    return (columns * light).sum() / light.sum(), (rows * light).sum() / light.sum()


@pytest.mark.parametrize("yaw_rad", [0.0, 1.0, -2.5])
@pytest.mark.parametrize(("forward_m", "left_m"), [(0.6, 0.0), (0.8, 0.3), (1.2, -0.5)])
def test_a_mark_on_the_floor_is_seen_where_the_geometry_says(yaw_rad, forward_m, left_m):
    camera, pose = Camera(), (0.4, -0.7, yaw_rad)
    x_m = pose[0] + forward_m * math.cos(yaw_rad) - left_m * math.sin(yaw_rad)
    y_m = pose[1] + forward_m * math.sin(yaw_rad) + left_m * math.cos(yaw_rad)
    image = camera.look(marked_floor(x_m, y_m), BLACK, [pose] * 4)
    assert seen_at(image) == pytest.approx(camera.pixel_of(forward_m, left_m), abs=0.6)


def test_left_on_the_floor_is_left_in_the_picture_and_far_is_up():
    camera = Camera()
    middle = (camera.width - 1) / 2
    assert camera.pixel_of(1.0, 0.2)[0] < middle < camera.pixel_of(1.0, -0.2)[0]
    assert camera.pixel_of(1.0, 0.0)[0] == pytest.approx(middle)
    assert camera.horizon_row < camera.pixel_of(2.0, 0.0)[1] < camera.pixel_of(1.0, 0.0)[1]


def test_far_away_the_floor_meets_the_horizon():
    camera = Camera()
    assert camera.pixel_of(1e6, 0.0)[1] == pytest.approx(camera.horizon_row, abs=1e-3)
    assert camera.first_ground_row > camera.horizon_row


def test_more_pitch_lifts_the_horizon_out_of_the_picture():
    camera = Camera(pitch_deg=50.0)
    assert camera.first_ground_row == 0
    image = camera.look(marked_floor(0.5, 0.0), BLACK, [(0.0, 0.0, 0.0)] * 4)
    assert image.shape == (120, 160, 3)
    assert seen_at(image) == pytest.approx(camera.pixel_of(0.5, 0.0), abs=0.6)


@pytest.mark.parametrize("azimuth_left_rad", [-0.5, 0.0, 0.4])
@pytest.mark.parametrize("yaw_rad", [0.0, 3.0, -4.0])
def test_the_surroundings_stand_in_the_direction_of_far_floor(azimuth_left_rad, yaw_rad):
    camera = Camera(height=60)
    turn = np.zeros((ROWS, COLUMNS, 3), np.uint8)
    column = round(-(yaw_rad + azimuth_left_rad) * PIXELS_PER_RAD) % COLUMNS
    turn[-12:, [(column + near) % COLUMNS for near in (-1, 0, 1)]] = 255
    hall = Panorama(np.concatenate([turn, turn], axis=1), BLACK.glossy)
    image = camera.look(marked_floor(3.9, 3.9), hall, [(-3.0, -3.0, yaw_rad)] * 4)
    far = camera.pixel_of(1e5 * math.cos(azimuth_left_rad), 1e5 * math.sin(azimuth_left_rad))
    sky = image[camera.first_ground_row - 3 : camera.first_ground_row]
    assert seen_at(sky)[0] == pytest.approx(far[0], abs=1.0)


def test_moving_while_the_shutter_is_open_smears_the_mark():
    ground = marked_floor(0.6, 0.0)
    still = Camera().look(ground, BLACK, [(0.0, 0.0, 0.0)] * 4)
    moved = Camera().look(ground, BLACK, [(0.03 * look, 0.0, 0.0) for look in range(4)])
    assert (moved > 10).sum() > (still > 10).sum()
    assert moved.max() < still.max()


def test_a_picture_needs_one_pose_for_each_look():
    with pytest.raises(ParameterError, match="poses"):
        Camera().look(marked_floor(1, 0), BLACK, [(0.0, 0.0, 0.0)] * (len(SHIFTS_PX) - 1))


def test_any_size_can_be_had():
    camera = Camera(width=64, height=36)
    image = camera.look(marked_floor(1.0, 0.0), BLACK, [(0.0, 0.0, 0.0)] * 4)
    assert image.shape == (36, 64, 3)
    assert image.dtype == np.uint8


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("width", 8),
        ("width", 160.0),
        ("height", 0),
        ("field_of_view_deg", 180.0),
        ("height_m", 0.0),
        ("pitch_deg", -3.0),
        ("ahead_m", math.nan),
    ],
)
def test_a_bad_parameter_is_named(field, value):
    with pytest.raises(ParameterError, match=f"{field} is out of its range.*{value}"):
        Camera(**{field: value})
