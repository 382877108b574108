"""The expert: steers by the geometry that a camera would have to guess.

Owns the label of every recorded frame: pure pursuit of a point ahead on the centre line, slower
in curves. Knows the track and the car's measures, no picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from streaming_net_ros.simulation.car import Car, CarState, Command
from streaming_net_ros.simulation.checks import check_above, check_between
from streaming_net_ros.simulation.track import Track

_SLOWEST_AT_PER_M = 1.0  # curvature at which the throttle reaches its lowest
_LOOKS = 5


@dataclass(frozen=True)
class Expert:
    """A driver who sees the centre line.

    The look-ahead does not grow with speed: a single picture shows no speed, so an answer that
    depended on it could not be learned from pictures.

    Attributes:
        look_ahead_m: the pursued point is this far ahead along the centre line.
        curve_throttle: throttle in the sharpest curves.
        straight_throttle: throttle on straight stretches.
    """

    look_ahead_m: float = 0.75
    curve_throttle: float = 0.5
    straight_throttle: float = 0.8

    def __post_init__(self) -> None:
        check_above("expert", "look_ahead_m", self.look_ahead_m)
        check_between("expert", "curve_throttle", self.curve_throttle, 0.0, 1.0)
        check_between("expert", "straight_throttle", self.straight_throttle, 0.0, 1.0)

    def command(self, track: Track, car: Car, state: CarState) -> Command:
        """What the expert does in ``state``: steering in [-1, 1], throttle in [0, 1]."""
        place = track.project((state.x_m, state.y_m))
        x_m, y_m = track.point_at(place.arc_length_m + self.look_ahead_m)
        bearing_rad = math.atan2(y_m - state.y_m, x_m - state.x_m) - state.yaw_rad
        bearing_rad = math.remainder(bearing_rad, 2 * math.pi)
        if abs(bearing_rad) > math.pi / 2:  # the track lies behind: turn as sharply as possible
            steering = math.copysign(1.0, bearing_rad)
        else:
            distance_m = math.hypot(x_m - state.x_m, y_m - state.y_m)
            steering = car.steering_for(2 * math.sin(bearing_rad) / max(distance_m, 1e-6))
        return Command(steering, self._throttle(track, place.arc_length_m)).clipped()

    def _throttle(self, track: Track, arc_length_m: float) -> float:
        looks = (arc_length_m + 2 * self.look_ahead_m * i / (_LOOKS - 1) for i in range(_LOOKS))
        sharpest = max(abs(track.curvature_at(look)) for look in looks)
        share = min(1.0, sharpest / _SLOWEST_AT_PER_M)
        return self.straight_throttle + share * (self.curve_throttle - self.straight_throttle)
