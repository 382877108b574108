"""What stands around the floor: walls, posts, cones and lamps, all far away.

Owns one picture of the full circle above the horizon. It turns with the car and does not move
with it, as far things do. Knows no track; ``camera`` samples it, ``world`` draws it once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streaming_net_ros.simulation.checks import check_count

COLUMNS = 1440  # azimuth 0 .. 360 degrees, growing to the right, that is clockwise
ROWS = 240  # elevation 60 degrees (row 0) .. 0 (the last row)
PIXELS_PER_RAD = COLUMNS / (2 * math.pi)
_DEGREE = COLUMNS // 360


@dataclass(frozen=True, eq=False)
class Panorama:
    """The surroundings, two turns of them, so that a view in any direction is one slice.

    Attributes:
        image: (``ROWS``, 2 * ``COLUMNS``, 3), uint8, RGB.
        glossy: the same, smeared upwards as a polished floor mirrors it.
    """

    image: NDArray[np.uint8]
    glossy: NDArray[np.uint8]


def draw_panorama(seed: int) -> Panorama:
    """The surroundings; the same for the same seed.

    Raises:
        ParameterError: ``seed`` is negative.
    """
    check_count("draw_panorama", "seed", seed, 0)
    rng = np.random.default_rng([seed, 3])
    image = _walls_and_ceiling(rng)
    for _ in range(rng.integers(25, 60)):
        _add_standing_thing(image, rng)
    _add_barrier(image, rng)
    for _ in range(rng.integers(10, 30)):
        _add_cone(image, rng)
    soft = cv2.GaussianBlur(_wrapped(image), (0, 0), 1.5)[:, COLUMNS : 2 * COLUMNS]
    turn = _with_lamps(np.asarray(soft, dtype=np.uint8), rng)
    image = np.concatenate([turn, turn], axis=1)
    glossy = cv2.GaussianBlur(image, (0, 0), sigmaX=_DEGREE, sigmaY=7 * _DEGREE)
    return Panorama(image, np.asarray(glossy, dtype=np.uint8))


def _walls_and_ceiling(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A ceiling that darkens or glows upwards, and walls in patches of different height."""
    low, high = rng.uniform(50, 110), rng.uniform(15, 90)
    column = np.linspace(high, low, ROWS)[:, None, None] * rng.uniform(0.85, 1.1, 3)
    image = np.repeat(column, COLUMNS, axis=1).astype(np.uint8)
    start = 0
    while start < COLUMNS:
        width = int(rng.uniform(10, 50)) * _DEGREE
        height = int(rng.uniform(4, 18)) * _DEGREE
        tone = rng.uniform(25, 200)
        image[ROWS - height :, start : start + width] = tone * rng.uniform(0.8, 1.1, 3)
        start += width
    return image


def _add_standing_thing(image: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """A post, a person or a banner, between the horizon and somewhere above it."""
    kind = rng.choice(["post", "person", "banner"], p=[0.45, 0.4, 0.15])
    centre = int(rng.integers(COLUMNS))
    width_deg, height_deg = {
        "post": (rng.uniform(0.5, 1.5), rng.uniform(8, 40)),
        "person": (rng.uniform(1.5, 4), rng.uniform(5, 14)),
        "banner": (rng.uniform(4, 12), rng.uniform(6, 25)),
    }[str(kind)]
    bottom = ROWS - int(rng.uniform(0, 3) * _DEGREE)
    top = max(0, bottom - int(height_deg * _DEGREE))
    half = max(1, int(width_deg * _DEGREE / 2))
    tone = rng.uniform(10, 220) if kind == "post" else rng.uniform(10, 130)
    colour = np.clip(tone * rng.uniform(0.4 if kind == "banner" else 0.85, 1.1, 3), 0, 255)
    columns = np.arange(centre - half, centre + half) % COLUMNS
    image[top:bottom, columns] = colour


def _add_barrier(image: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Low barriers at the foot of the walls, along parts of the circle."""
    for _ in range(rng.integers(1, 6)):
        columns = (rng.integers(COLUMNS) + np.arange(rng.integers(100, 400))) % COLUMNS
        height = int(rng.uniform(1, 3) * _DEGREE)
        image[ROWS - height :, columns] = rng.uniform(20, 180, 3)


def _add_cone(image: NDArray[np.uint8], rng: np.random.Generator) -> None:
    centre, size = int(rng.integers(COLUMNS)), rng.uniform(1.5, 4) * _DEGREE
    colour = [(225, 190, 40), (215, 95, 40), (40, 70, 120)][rng.integers(3)]
    for copy in (centre - COLUMNS, centre, centre + COLUMNS):
        corners = [[copy - size / 3, ROWS], [copy + size / 3, ROWS], [copy, ROWS - size]]
        cv2.fillConvexPoly(image, np.array(corners, dtype=np.int32), colour, cv2.LINE_AA)


def _with_lamps(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Bright lamps with a bloom around them."""
    glow = np.zeros(image.shape, dtype=np.uint8)
    warmth = (255.0, rng.uniform(225, 255), rng.uniform(190, 255))
    for _ in range(rng.integers(20, 70)):
        centre = (int(rng.integers(COLUMNS)), int(rng.uniform(0, ROWS * 0.85)))
        axes = (int(rng.uniform(3, 14)), int(rng.uniform(2, 4)))
        cv2.ellipse(glow, centre, axes, 0, 0, 360, warmth, -1, cv2.LINE_AA)
    bloom = cv2.GaussianBlur(_wrapped(glow), (0, 0), 8)[:, COLUMNS : 2 * COLUMNS]
    return np.asarray(cv2.add(cv2.add(image, cv2.GaussianBlur(glow, (0, 0), 1)), bloom))


def _wrapped(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Three turns side by side, so that a filter sees no seam."""
    return np.concatenate([image] * 3, axis=1)
