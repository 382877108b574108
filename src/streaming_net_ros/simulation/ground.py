"""The picture of the floor with the track on it, seen from above.

Owns the picture's scale and the lines of the track. Knows the track's shape, not the camera;
``floor`` paints what is no track, ``camera`` looks at the result, ``world`` draws it once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from streaming_net_ros.simulation.checks import check_between, check_count
from streaming_net_ros.simulation.floor import Colour, add_clutter, add_shade, painted_floor
from streaming_net_ros.simulation.track import STEP_M, Track

LEVELS = 4
_MARGIN_M = 3.0
_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates


@dataclass(frozen=True, eq=False)
class Ground:
    """A top-down picture of the floor, north (+y) up.

    Attributes:
        image: (rows, columns, 3), uint8, RGB.
        metres_per_pixel: its scale.
        left_m: world x of the picture's left edge.
        top_m: world y of its top edge.
        far_colour: the floor beyond the picture.
        levels: the picture, halved again and again, for what is seen from afar.
    """

    image: NDArray[np.uint8]
    metres_per_pixel: float
    left_m: float
    top_m: float
    far_colour: Colour
    levels: tuple[NDArray[np.uint8], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        levels = [self.image]
        for _ in range(LEVELS - 1):
            rows, columns = levels[-1].shape[:2]
            half = cv2.resize(levels[-1], (columns // 2, rows // 2), interpolation=cv2.INTER_AREA)
            levels.append(np.asarray(half, dtype=np.uint8))
        object.__setattr__(self, "levels", tuple(levels))

    def pixel_from_world(self, level: int = 0) -> NDArray[np.float64]:
        """Homography (3, 3) from metres (x, y, 1) to pixel centres (column, row, 1)."""
        scale = 1.0 / (self.metres_per_pixel * 2**level)
        return np.array(
            [
                [scale, 0.0, -self.left_m * scale - 0.5],
                [0.0, -scale, self.top_m * scale - 0.5],
                [0.0, 0.0, 1.0],
            ]
        )

    def pixels(self, points_m: NDArray[np.float64]) -> NDArray[np.float64]:
        """World points (count, 2) as (column, row) on ``image``."""
        homography = self.pixel_from_world()
        return points_m @ homography[:2, :2].T + homography[:2, 2]


def draw_ground(track: Track, seed: int, *, metres_per_pixel: float = 0.008) -> Ground:
    """Draws the floor around a track; the same seed gives the same floor.

    Raises:
        ParameterError: ``seed`` is negative, or the scale is not 0.002 to 0.05 m.
    """
    check_count("draw_ground", "seed", seed, 0)
    check_between("draw_ground", "metres_per_pixel", metres_per_pixel, 0.002, 0.05)
    rng = np.random.default_rng([seed, 2])
    border_m = track.lane_width_m / 2 + _MARGIN_M
    low = track.points_m.min(axis=0) - border_m
    high = track.points_m.max(axis=0) + border_m
    # Whole blocks of pixels, so that every level covers exactly the same ground.
    block = 2 ** (LEVELS - 1)
    columns, rows = (math.ceil(size / metres_per_pixel / block) * block for size in high - low)
    image, colour = painted_floor(rng, rows, columns, metres_per_pixel)
    blank = Ground(image, metres_per_pixel, float(low[0]), float(high[1]), colour)
    add_clutter(image, rng, metres_per_pixel)
    _add_road(blank, track, rng)
    _add_lines(blank, track, rng)
    add_shade(image, rng, metres_per_pixel)
    return Ground(image, metres_per_pixel, blank.left_m, blank.top_m, colour)


def _add_road(ground: Ground, track: Track, rng: np.random.Generator) -> None:
    """Tints the lane; with some seeds it is the same floor as everywhere."""
    sides = [track.line_beside(side * track.lane_width_m / 2) for side in (-1, 1)]
    mask = np.zeros(ground.image.shape[:2], dtype=np.uint8)
    cv2.fillPoly(mask, [_fixed(ground, side) for side in sides], 255, cv2.LINE_AA, _SHIFT)
    tint = rng.uniform(0.55, 1.05) * rng.uniform(0.94, 1.06, 3)
    tinted = np.clip(ground.image * tint.astype(np.float32), 0, 255)
    share = mask[..., None].astype(np.float32) * (rng.choice([0.0, 0.6, 1.0]) / 255.0)
    ground.image[...] = ground.image + share * (tinted - ground.image)


def _add_lines(ground: Ground, track: Track, rng: np.random.Generator) -> None:
    """White borders, and the dashed yellow line in the middle."""
    border_px = _pixels_wide(ground, rng.uniform(0.04, 0.06))
    white = tuple(rng.uniform(205, 250) + rng.uniform(-12, 5, 3))
    for side in (-1, 1):
        border = _fixed(ground, track.line_beside(side * track.lane_width_m / 2))
        cv2.polylines(ground.image, [border], True, white, border_px, cv2.LINE_AA, _SHIFT)
    yellow = (rng.uniform(215, 250), rng.uniform(180, 215), rng.uniform(20, 90))
    half_m = rng.uniform(0.05, 0.075) / 2
    dash_m, period_m = rng.uniform(0.25, 0.4), rng.uniform(0.5, 0.65)
    dashes = round(track.length_m / period_m)
    sides = [_fixed(ground, track.line_beside(side * half_m)) for side in (-1, 1)]
    for number in range(dashes):
        start = round(number / dashes * len(track.points_m))
        part = slice(start, start + round(dash_m / STEP_M) + 1)
        outline = np.concatenate([sides[0][part], sides[1][part][::-1]])
        cv2.fillPoly(ground.image, [outline], yellow, cv2.LINE_AA, _SHIFT)


def _pixels_wide(ground: Ground, width_m: float) -> int:
    return max(1, round(width_m / ground.metres_per_pixel))


def _fixed(ground: Ground, points_m: NDArray[np.float64]) -> NDArray[np.int32]:
    """World points as OpenCV's fixed-point pixels."""
    return np.asarray(np.round(ground.pixels(points_m) * 2**_SHIFT), dtype=np.int32)
