"""The floor without a track: stains, seams, tape, mats and shadows.

Owns what a network must learn to ignore. Works on pictures seen from above; knows neither track
nor camera. Only ``ground`` imports it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Colour = tuple[float, float, float]
_PER_M2 = 0.12  # pieces of clutter


def painted_floor(
    rng: np.random.Generator, rows: int, columns: int, metres_per_pixel: float
) -> tuple[NDArray[np.uint8], Colour]:
    """A stained floor (rows, columns, 3), uint8, RGB, and its mean colour."""
    tone = rng.uniform(75, 140)
    red, green, blue = (float(tone * tint) for tint in rng.uniform(0.92, 1.05, 3))
    grain = np.ones((rows, columns), dtype=np.float32)
    for size_m, strength in ((3.0, 0.10), (0.7, 0.06), (0.12, 0.05), (0.03, 0.04)):
        grain += strength * _noise(rng, rows, columns, size_m / metres_per_pixel)
    floor = grain[..., None] * np.array([red, green, blue], dtype=np.float32)
    return np.clip(floor, 0, 255).astype(np.uint8), (red, green, blue)


def add_clutter(
    image: NDArray[np.uint8], rng: np.random.Generator, metres_per_pixel: float
) -> None:
    """Seams across the floor, mats, pieces of tape and round spots."""
    rows, columns = image.shape[:2]
    _add_seams(image, rng, metres_per_pixel)
    count = int(_PER_M2 * rows * columns * metres_per_pixel**2)
    for kind in rng.choice(["mat", "tape", "spot"], size=count, p=[0.25, 0.4, 0.35]):
        at = (float(rng.uniform(0, columns)), float(rng.uniform(0, rows)))
        colour = _any_colour(rng)
        if kind == "mat":
            size_m = (rng.uniform(0.3, 1.6), rng.uniform(0.3, 1.0))
        elif kind == "tape":
            size_m = (rng.uniform(0.2, 1.2), rng.uniform(0.02, 0.05))
        else:
            radius = round(rng.uniform(0.04, 0.15) / metres_per_pixel)
            cv2.circle(image, (round(at[0]), round(at[1])), radius, colour, -1, cv2.LINE_AA)
            continue
        size = (size_m[0] / metres_per_pixel, size_m[1] / metres_per_pixel)
        corners = cv2.boxPoints((at, size, float(rng.uniform(0, 180))))
        cv2.fillConvexPoly(image, np.round(corners).astype(np.int32), colour, cv2.LINE_AA)


def add_shade(image: NDArray[np.uint8], rng: np.random.Generator, metres_per_pixel: float) -> None:
    """Soft shadow bands and pools of light, fixed to the floor."""
    rows, columns = image.shape[:2]
    coarse = 8
    small = (rows // coarse, columns // coarse)
    shade = 1.0 + 0.12 * _noise(rng, *small, 1.5 / metres_per_pixel / coarse)
    for _ in range(rng.integers(3, 9)):
        band = np.zeros(small, dtype=np.float32)
        width = rng.uniform(0.2, 1.2) / metres_per_pixel / coarse
        at = (float(rng.uniform(0, small[1])), float(rng.uniform(0, small[0])))
        corners = cv2.boxPoints((at, (2.0 * sum(small), width), float(rng.uniform(0, 180))))
        cv2.fillConvexPoly(band, np.round(corners).astype(np.int32), 1.0)
        band = cv2.GaussianBlur(band, (0, 0), rng.uniform(0.03, 0.2) / metres_per_pixel / coarse)
        shade *= 1.0 - rng.uniform(0.15, 0.45) * band
    full = cv2.resize(shade, (columns, rows), interpolation=cv2.INTER_LINEAR)
    image[...] = np.clip(image * full[..., None], 0, 255)


def _add_seams(
    image: NDArray[np.uint8], rng: np.random.Generator, metres_per_pixel: float
) -> None:
    """The joints of slabs or boards: thin dark parallels in two directions."""
    rows, columns = image.shape[:2]
    reach = float(np.hypot(rows, columns))
    centre = np.array([columns, rows]) / 2
    turn = rng.uniform(0, np.pi)
    darker = image.mean(axis=(0, 1)) * rng.uniform(0.6, 0.9)
    for angle in (turn, turn + np.pi / 2):
        along = np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-along[1], along[0]])
        spacing = rng.uniform(0.8, 3.0) / metres_per_pixel
        for offset in np.arange(-reach / 2, reach / 2, spacing):
            ends = centre + offset * across + np.array([[-reach], [reach]]) * along
            start, end = (tuple(int(value) for value in point) for point in ends)
            cv2.line(image, start, end, tuple(darker), 1, cv2.LINE_AA)


def _noise(rng: np.random.Generator, rows: int, columns: int, size: float) -> NDArray[np.float32]:
    """Smooth noise (rows, columns) of unit deviation at its nodes, ``size`` pixels apart."""
    nodes = (int(rows / size) + 2, int(columns / size) + 2)
    values = rng.standard_normal(nodes, dtype=np.float32)
    grown = cv2.resize(values, (columns, rows), interpolation=cv2.INTER_CUBIC)
    return np.asarray(grown, dtype=np.float32)


def _any_colour(rng: np.random.Generator) -> Colour:
    """Mostly dull; now and then as bright as a line of the track."""
    if rng.random() < 0.3:
        red, green, blue = rng.uniform(20, 230, 3)
    else:
        red, green, blue = rng.uniform(30, 150) + rng.uniform(-20, 20, 3)
    return float(red), float(green), float(blue)
