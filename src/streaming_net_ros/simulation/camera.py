"""The camera: a pinhole above the floor, tilted down.

Owns the perspective. Knows how to look at a ``Ground`` and a panorama from a pose, nothing of
driving or of what makes a picture bad (``lens``). Pictures are (height, width, 3), uint8, RGB.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from streaming_net_ros.simulation.checks import check_above, check_between, check_count
from streaming_net_ros.simulation.ground import LEVELS, Ground
from streaming_net_ros.simulation.panorama import COLUMNS, PIXELS_PER_RAD, ROWS, Panorama

Image = NDArray[np.uint8]
Pose = tuple[float, float, float]  # x_m, y_m, yaw_rad of the rear axle

# Every picture is the mean of these looks, each shifted by a part of a pixel: no jagged lines.
# Given a pose each, they also blur what moves.
SHIFTS_PX = ((-0.25, -0.25), (0.25, 0.25), (0.25, -0.25), (-0.25, 0.25))
_GLOSS = 0.4  # how much of the surroundings the floor mirrors, seen at a grazing angle
_HORIZON_GAP_PX = 0.5


@dataclass(frozen=True)
class Camera:
    """Where the camera sits on the car and what it sees.

    Attributes:
        width: of the picture, in pixels.
        height: of the picture, in pixels.
        field_of_view_deg: horizontal, from edge to edge.
        height_m: above the floor.
        pitch_deg: nose down positive, as REP 103 turns about y.
        ahead_m: in front of the rear axle.
    """

    width: int = 160
    height: int = 120
    field_of_view_deg: float = 104.0
    height_m: float = 0.25
    pitch_deg: float = 17.0
    ahead_m: float = 0.2

    def __post_init__(self) -> None:
        check_count("camera", "width", self.width, 16)
        check_count("camera", "height", self.height, 12)
        check_between("camera", "field_of_view_deg", self.field_of_view_deg, 20.0, 150.0)
        check_above("camera", "height_m", self.height_m)
        check_between("camera", "pitch_deg", self.pitch_deg, 0.0, 60.0)
        check_between("camera", "ahead_m", self.ahead_m, -5.0, 5.0)

    @property
    def focal_px(self) -> float:
        """Focal length in pixels."""
        return self.width / 2 / math.tan(math.radians(self.field_of_view_deg) / 2)

    @property
    def horizon_row(self) -> float:
        """The picture row of the horizon; negative when it lies above the picture."""
        return (self.height - 1) / 2 - self.focal_px * math.tan(math.radians(self.pitch_deg))

    @property
    def first_ground_row(self) -> int:
        """The first row that sees the floor only."""
        return max(0, math.ceil(self.horizon_row + _HORIZON_GAP_PX))

    def pixel_of(self, forward_m: float, left_m: float) -> tuple[float, float]:
        """Column and row of a floor point, given from the rear axle (x forward, y left)."""
        column, row, scale = _pixel_from_floor(self) @ (forward_m, left_m, 1.0)
        return float(column / scale), float(row / scale)

    def look(self, ground: Ground, surroundings: Panorama, poses: Sequence[Pose]) -> Image:
        """The picture (height, width, 3), uint8, RGB.

        Args:
            ground: the floor.
            surroundings: what stands around it.
            poses: of the rear axle while the shutter was open, one for each of ``SHIFTS_PX``.

        Raises:
            ParameterError: not as many poses as ``SHIFTS_PX``.
        """
        check_between("camera", "number of poses", len(poses), len(SHIFTS_PX), len(SHIFTS_PX))
        picture = np.zeros((self.height, self.width, 3), dtype=np.float32)
        split = self.first_ground_row
        for pose, shift_px in zip(poses, SHIFTS_PX, strict=True):
            if split > 0:
                sky = _sky_map(self, shift_px, is_mirrored=False)
                cv2.accumulate(_view(surroundings.image, pose[2], sky), picture[:split])
            for strip in _strips(self, ground.metres_per_pixel):
                seen = _floor_strip(self, ground, pose, strip, shift_px)
                cv2.accumulate(seen, picture[strip.start : strip.stop])
        picture *= 1.0 / len(SHIFTS_PX)
        mirror = _sky_map(self, (0.0, 0.0), is_mirrored=True)
        picture[split:] += _view(surroundings.glossy, poses[-1][2], mirror) * _gloss(self)
        return np.asarray(cv2.convertScaleAbs(picture), dtype=np.uint8)


@dataclass(frozen=True)
class _Strip:
    """Rows ``start`` to ``stop`` of the picture, seen at one level of detail."""

    start: int
    stop: int
    level: int


def _pixel_from_floor(camera: Camera) -> NDArray[np.float64]:
    """Homography (3, 3) from the floor (forward m, left m, 1) to (column, row, 1)."""
    pitch = math.radians(camera.pitch_deg)
    # A floor point seen from the camera: right, down, deep. Left on the floor is less column.
    seen = np.array(
        [
            [0.0, -1.0, 0.0],
            [-math.sin(pitch), 0.0, math.cos(pitch) * camera.height_m],
            [math.cos(pitch), 0.0, math.sin(pitch) * camera.height_m],
        ]
    )
    behind = np.array([[1.0, 0.0, -camera.ahead_m], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    return np.asarray(_lens_matrix(camera) @ seen @ behind)


def _lens_matrix(camera: Camera) -> NDArray[np.float64]:
    middle = ((camera.width - 1) / 2, (camera.height - 1) / 2)
    return np.array(
        [
            [camera.focal_px, 0.0, middle[0]],
            [0.0, camera.focal_px, middle[1]],
            [0.0, 0.0, 1.0],
        ]
    )


@lru_cache(maxsize=16)
def _floor_from_pixel(camera: Camera) -> NDArray[np.float64]:
    return np.asarray(np.linalg.inv(_pixel_from_floor(camera)))


def _floor_strip(
    camera: Camera, ground: Ground, pose: Pose, strip: _Strip, shift_px: tuple[float, float]
) -> Image:
    x_m, y_m, yaw = pose
    cosine, sine = math.cos(yaw), math.sin(yaw)
    world_from_car = np.array([[cosine, -sine, x_m], [sine, cosine, y_m], [0.0, 0.0, 1.0]])
    shifted = np.array(
        [[1.0, 0.0, shift_px[0]], [0.0, 1.0, strip.start + shift_px[1]], [0.0, 0.0, 1.0]]
    )
    homography = (
        ground.pixel_from_world(strip.level) @ world_from_car @ _floor_from_pixel(camera) @ shifted
    )
    seen = cv2.warpPerspective(
        ground.levels[strip.level],
        homography,
        (camera.width, strip.stop - strip.start),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=ground.far_colour,
    )
    return np.asarray(seen, dtype=np.uint8)


@lru_cache(maxsize=16)
def _strips(camera: Camera, metres_per_pixel: float) -> tuple[_Strip, ...]:
    """The floor's rows, cut where a pixel grows beyond the detail of a level."""
    rows = np.arange(camera.first_ground_row, camera.height)
    # How far the row looks away from the horizon, in pixels at the picture's middle column.
    below_px = (rows - camera.horizon_row) * math.cos(math.radians(camera.pitch_deg)) ** 2
    distance_m = camera.height_m * camera.focal_px / below_px
    # A pixel covers distance / focal across and distance / below along; the looks halve it.
    covers_m = distance_m / np.sqrt(camera.focal_px * below_px) / 2
    levels = np.clip(np.floor(np.log2(covers_m / metres_per_pixel)), 0, LEVELS - 1).astype(int)
    cuts = [0, *(np.flatnonzero(np.diff(levels)) + 1), len(rows)]
    return tuple(
        _Strip(int(rows[start]), int(rows[stop - 1]) + 1, int(levels[start]))
        for start, stop in pairwise(cuts)
        if stop > start
    )


@dataclass(frozen=True, eq=False)
class _SkyMap:
    """For every pixel of some rows, where it looks on a panorama seen at yaw 0.

    Attributes:
        columns: panorama columns right of ``first``, (rows, width), float32.
        rows: panorama rows, (rows, width), float32.
        first: panorama column of the leftmost pixel; may be negative.
        width: panorama columns that the view spans.
    """

    columns: NDArray[np.float32]
    rows: NDArray[np.float32]
    first: int
    width: int


@lru_cache(maxsize=64)
def _sky_map(camera: Camera, shift_px: tuple[float, float], *, is_mirrored: bool) -> _SkyMap:
    """Rows above the floor look up; mirrored, the floor's rows look up by as much as down."""
    split = camera.first_ground_row
    rows = np.arange(split, camera.height) if is_mirrored else np.arange(split)
    column, row = np.meshgrid(np.arange(camera.width) + shift_px[0], rows + shift_px[1])
    right = (column - (camera.width - 1) / 2) / camera.focal_px
    down = (row - (camera.height - 1) / 2) / camera.focal_px
    pitch = math.radians(camera.pitch_deg)
    ahead = math.cos(pitch) - math.sin(pitch) * down
    falls = math.sin(pitch) + math.cos(pitch) * down
    azimuth = np.arctan2(right, ahead) * PIXELS_PER_RAD
    elevation = np.arctan2(falls if is_mirrored else -falls, np.hypot(right, ahead))
    first = math.floor(azimuth.min()) - 1
    return _SkyMap(
        columns=(azimuth - first).astype(np.float32),
        rows=(ROWS - 1 - elevation * PIXELS_PER_RAD).astype(np.float32),
        first=first,
        width=min(COLUMNS, math.ceil(azimuth.max()) - first + 2),
    )


def _view(turns: Image, yaw_rad: float, sky: _SkyMap) -> Image:
    """Pixels of a panorama (two turns of it) seen at a yaw."""
    start = round(sky.first - yaw_rad * PIXELS_PER_RAD) % COLUMNS
    part = turns[:, start : start + sky.width]
    seen = cv2.remap(
        part, sky.columns, sky.rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(seen, dtype=np.uint8)


@lru_cache(maxsize=16)
def _gloss(camera: Camera) -> NDArray[np.float32]:
    """Share of the mirrored light, (rows, width, 3): a floor mirrors more at a grazing angle."""
    rows = np.arange(camera.height - camera.first_ground_row, dtype=np.float32)
    share = _GLOSS * (0.25 + 0.75 * np.exp(-rows / (0.15 * camera.height)))
    shape = (len(rows), camera.width, 3)
    return np.ascontiguousarray(np.broadcast_to(share[:, None, None], shape), dtype=np.float32)
