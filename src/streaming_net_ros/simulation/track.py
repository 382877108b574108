"""A closed track on a plane: its centre line, and where a point lies along it.

Owns the shape only, in metres of the world frame (x right, y up on the map). Knows neither its
picture (``ground``) nor the car; ``expert``, ``ground`` and ``world`` import it.

The centre line is a polygon of short equal steps. The polygon *is* the definition: ``point_at``
and ``project`` are exact inverses on it. Driving direction is that of growing arc length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.simulation.checks import check_above, check_between, check_count

STEP_M = 0.02
_RING_SAMPLES = 4096
_DRAWS = 400
_CLEARANCE = 1.2  # distant stretches stay this many lane widths apart
_LARGEST_SWING = 0.75  # of the ring radius; below 1 the radius stays positive: no crossing
_CURVED_PER_M = 0.3  # both a left and a right curve are at least this sharp


class TrackPlace(NamedTuple):
    """The place on the centre line that is nearest to a point.

    Attributes:
        arc_length_m: how far along the centre line, in ``[0, length_m)``.
        lateral_m: how far the point lies beside it, left of the driving direction positive.
        heading_rad: the centre line's direction there, in ``[-pi, pi]``.
        curvature_per_m: its curvature there, left curves positive.
    """

    arc_length_m: float
    lateral_m: float
    heading_rad: float
    curvature_per_m: float


@dataclass(frozen=True, eq=False)
class Track:
    """A closed smooth centre line in the middle between two borders.

    Attributes:
        points_m: corners of the centre line, (count, 2); the last joins the first.
        corner_curvature_per_m: the curvature at each corner, (count,), left positive.
        lane_width_m: from border to border.
    """

    points_m: NDArray[np.float64]
    corner_curvature_per_m: NDArray[np.float64]
    lane_width_m: float
    _steps_m: NDArray[np.float64] = field(init=False, repr=False)
    _starts_m: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_above("track", "lane_width_m", self.lane_width_m)
        steps = np.roll(self.points_m, -1, axis=0) - self.points_m
        starts = np.concatenate([[0.0], np.cumsum(np.hypot(steps[:, 0], steps[:, 1]))])
        object.__setattr__(self, "_steps_m", steps)
        object.__setattr__(self, "_starts_m", starts)
        for array in (self.points_m, self.corner_curvature_per_m, steps, starts):
            array.setflags(write=False)

    @property
    def length_m(self) -> float:
        """Length of one lap."""
        return float(self._starts_m[-1])

    def point_at(self, arc_length_m: float) -> tuple[float, float]:
        """The centre line's point after ``arc_length_m`` metres; any number of laps, or back."""
        index, fraction = self._corner_at(arc_length_m)
        x_m, y_m = self.points_m[index] + fraction * self._steps_m[index]
        return float(x_m), float(y_m)

    def heading_at(self, arc_length_m: float) -> float:
        """Direction of the centre line there, in ``[-pi, pi]``."""
        index, _ = self._corner_at(arc_length_m)
        return math.atan2(self._steps_m[index, 1], self._steps_m[index, 0])

    def curvature_at(self, arc_length_m: float) -> float:
        """Curvature of the centre line there, in 1/m, left positive."""
        index, fraction = self._corner_at(arc_length_m)
        here = self.corner_curvature_per_m[index]
        after = self.corner_curvature_per_m[(index + 1) % len(self.points_m)]
        return float(here + fraction * (after - here))

    def line_beside(self, lateral_m: float) -> NDArray[np.float64]:
        """Corners (count, 2) of the line ``lateral_m`` to the left of the centre line."""
        along = self._steps_m + np.roll(self._steps_m, 1, axis=0)
        along /= np.hypot(along[:, 0], along[:, 1])[:, None]
        left = np.stack([-along[:, 1], along[:, 0]], axis=1)
        return self.points_m + lateral_m * left

    def project(self, position: tuple[float, float]) -> TrackPlace:
        """The nearest place on the centre line to ``position`` (x, y), in metres."""
        point = np.asarray(position, dtype=np.float64)
        away = point - self.points_m
        nearest = int(np.argmin(np.einsum("ij,ij->i", away, away)))
        places = [self._project_on(point, index % len(away)) for index in (nearest - 1, nearest)]
        _, arc_length_m, lateral_m = min(places)
        arc_length_m %= self.length_m
        return TrackPlace(
            arc_length_m,
            lateral_m,
            self.heading_at(arc_length_m),
            self.curvature_at(arc_length_m),
        )

    def _project_on(self, point: NDArray[np.float64], index: int) -> tuple[float, float, float]:
        """Distance, arc length and signed lateral offset to one step of the polygon."""
        start, step = self.points_m[index], self._steps_m[index]
        length = float(np.hypot(step[0], step[1]))
        away = point - start
        fraction = min(1.0, max(0.0, float(away @ step) / length**2))
        side = float(step[0] * away[1] - step[1] * away[0])
        distance = float(np.hypot(*(away - fraction * step)))
        arc_length = float(self._starts_m[index]) + fraction * length
        return distance, arc_length, math.copysign(distance, side)

    def _corner_at(self, arc_length_m: float) -> tuple[int, float]:
        wrapped = arc_length_m % self.length_m
        index = int(np.searchsorted(self._starts_m, wrapped, side="right")) - 1
        index = min(index, len(self.points_m) - 1)
        start, end = self._starts_m[index : index + 2]
        return index, float((wrapped - start) / (end - start))


def random_track(
    seed: int,
    *,
    lane_width_m: float = 1.4,
    min_radius_m: float = 0.9,
    ring_radius_m: float = 4.5,
) -> Track:
    """A track from a seed: a ring whose radius swings with random harmonics.

    The swing grows until the sharpest curve nearly reaches ``min_radius_m``; draws that bring two
    stretches too near to each other, or that lack a left or a right curve, are drawn again. Half
    of the seeds drive it clockwise.

    Args:
        seed: whole number >= 0; the same seed gives the same track.
        lane_width_m: from border to border.
        min_radius_m: no curve of the centre line is sharper.
        ring_radius_m: mean radius of the ring.

    Raises:
        ParameterError: a value is out of its range, or no track fits all of them.
    """
    check_count("random_track", "seed", seed, 0)
    check_above("random_track", "lane_width_m", lane_width_m)
    check_above("random_track", "min_radius_m", min_radius_m, lane_width_m * _CLEARANCE / 2)
    check_between("random_track", "ring_radius_m", ring_radius_m, 2 * min_radius_m, 50.0)
    rng = np.random.default_rng([seed, 1])
    for _ in range(_DRAWS):
        points, curvature = _drawn_ring(rng, min_radius_m, ring_radius_m)
        has_both_curves = curvature.min() < -_CURVED_PER_M and curvature.max() > _CURVED_PER_M
        if has_both_curves and _is_clear(points, min_radius_m, lane_width_m * _CLEARANCE):
            if rng.random() < 0.5:
                points, curvature = points[::-1].copy(), -curvature[::-1]
            return Track(points, np.ascontiguousarray(curvature), lane_width_m)
    raise ParameterError(
        "no track fits these bounds",
        where="random_track",
        expected="a ring large enough for both left and right curves",
        got={"lane_width_m": lane_width_m, "min_radius_m": min_radius_m},
        remedy=f"raise ring_radius_m (now {ring_radius_m:g}) or narrow the lane",
    )


def _drawn_ring(
    rng: np.random.Generator, min_radius_m: float, ring_radius_m: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corners at equal steps, and the curvature at each, of one random ring."""
    harmonics = rng.choice(np.arange(2, 8), size=4, replace=False)
    weights = rng.uniform(0.4, 1.0, 4) / np.sqrt(harmonics)
    phases = rng.uniform(0.0, 2 * math.pi, 4)
    sharpest = 1.0 / (min_radius_m * rng.uniform(1.03, 1.2))
    angle = np.linspace(0.0, 2 * math.pi, _RING_SAMPLES, endpoint=False)
    waves = harmonics[:, None] * angle + phases[:, None]
    swing = weights @ np.cos(waves)
    first = -(weights * harmonics) @ np.sin(waves)
    second = -(weights * harmonics**2) @ np.cos(waves)

    def ring(amount: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        radius = 1.0 + amount * swing
        bend = radius**2 + 2 * (amount * first) ** 2 - radius * amount * second
        speed = np.hypot(radius, amount * first)
        return radius * ring_radius_m, bend / speed**3 / ring_radius_m

    low, high = 0.0, _LARGEST_SWING / float(np.abs(swing).max())
    if np.abs(ring(high)[1]).max() > sharpest:
        for _ in range(40):
            middle = (low + high) / 2
            too_sharp = np.abs(ring(middle)[1]).max() > sharpest
            low, high = (low, middle) if too_sharp else (middle, high)
    else:
        low = high
    radius, curvature = ring(low)
    corners = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return _at_equal_steps(corners, curvature)


def _at_equal_steps(
    corners: NDArray[np.float64], curvature: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    closed = np.vstack([corners, corners[:1]])
    lengths = np.hypot(*np.diff(closed, axis=0).T)
    starts = np.concatenate([[0.0], np.cumsum(lengths)])
    count = round(starts[-1] / STEP_M)
    wanted = np.arange(count) * (starts[-1] / count)
    x, y = (np.interp(wanted, starts, closed[:, axis]) for axis in (0, 1))
    bends = np.interp(wanted, starts, np.append(curvature, curvature[0]))
    return np.stack([x, y], axis=1), bends


def _is_clear(points: NDArray[np.float64], min_radius_m: float, clearance_m: float) -> bool:
    """No two distant stretches come nearer than ``clearance_m``.

    Points nearer than half a circle of the smallest radius along the line need no look: a curve
    of bounded curvature opens at least as far as that circle does (Schur's theorem).
    """
    some = points[::5]
    gap = some[:, None, :] - some[None, :, :]
    distance = np.hypot(gap[..., 0], gap[..., 1])
    order = np.arange(len(some))
    along = np.abs(order[:, None] - order[None, :])
    along = np.minimum(along, len(some) - along) * (5 * STEP_M)
    far_along = along > math.pi * min_radius_m
    return bool(distance[far_along].min(initial=math.inf) >= clearance_m)
