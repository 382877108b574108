"""The world to drive in, and one car in it.

Owns the closed loop: look, decide, move. ``World`` is what stands still and is shared by any
number of drives; ``Simulation`` is one car's life in it. Knows no recording (``drive``) and no
ROS; a closed-loop node steps a ``Simulation`` with a network's commands.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from streaming_net_ros.simulation.camera import SHIFTS_PX, Camera, Image, Pose
from streaming_net_ros.simulation.car import Car, CarState, Command
from streaming_net_ros.simulation.checks import check_between
from streaming_net_ros.simulation.expert import Expert
from streaming_net_ros.simulation.ground import Ground, draw_ground
from streaming_net_ros.simulation.lens import LensNoise
from streaming_net_ros.simulation.panorama import Panorama, draw_panorama
from streaming_net_ros.simulation.track import Track, TrackPlace, random_track


@dataclass(frozen=True, eq=False)
class World:
    """A track and what is seen around it. Its pictures are drawn at the first look.

    Attributes:
        track: where to drive.
        seed: of everything that is drawn.
    """

    track: Track
    seed: int

    @classmethod
    def from_seed(cls, seed: int) -> World:
        """A random track in a random hall.

        Raises:
            ParameterError: ``seed`` is not a whole number >= 0.
        """
        return cls(random_track(seed), seed)

    @cached_property
    def ground(self) -> Ground:
        """The floor; drawn once, which takes a while."""
        return draw_ground(self.track, self.seed)

    @cached_property
    def surroundings(self) -> Panorama:
        """The hall around the floor; drawn once, which takes a while."""
        return draw_panorama(self.seed)


class Simulation:
    """One car in a world. Call it from one thread at a time.

    Nothing here reads a clock or a global random state: the same calls give the same states and
    pictures, and ``observe`` changes nothing.
    """

    def __init__(
        self,
        world: World,
        *,
        car: Car | None = None,
        camera: Camera | None = None,
        lens: LensNoise | None = None,
        expert: Expert | None = None,
    ) -> None:
        self.world = world
        self.car = car or Car()
        self.camera = camera or Camera()
        self.lens = lens or LensNoise(seed=world.seed)
        self.expert = expert or Expert()
        self.place_car(0.0)

    @property
    def state(self) -> CarState:
        """Where the car is and what it does."""
        return self._state

    @property
    def time_s(self) -> float:
        """Seconds driven since the car was placed."""
        return self._time_s

    @property
    def place(self) -> TrackPlace:
        """The rear axle on the track: arc length, lateral offset, track heading, curvature."""
        return self.world.track.project((self._state.x_m, self._state.y_m))

    @property
    def lateral_m(self) -> float:
        """How far left of the centre line the car is."""
        return self.place.lateral_m

    @property
    def heading_error_rad(self) -> float:
        """How far left of the track's direction the car points, in ``[-pi, pi]``."""
        return math.remainder(self._state.yaw_rad - self.place.heading_rad, 2 * math.pi)

    @property
    def is_off_track(self) -> bool:
        """The rear axle's middle has crossed a border."""
        return abs(self.lateral_m) > self.world.track.lane_width_m / 2

    def place_car(
        self,
        arc_length_m: float,
        *,
        lateral_m: float = 0.0,
        heading_error_rad: float = 0.0,
        speed_mps: float = 0.0,
    ) -> CarState:
        """Puts the car beside a point of the track and starts its time anew.

        Args:
            arc_length_m: how far along the centre line.
            lateral_m: how far left of it.
            heading_error_rad: how far left of the track's direction the car points.
            speed_mps: how fast it drives already.

        Raises:
            ParameterError: a value is not finite, the place lies outside the lane, or the car
                cannot drive that fast.
        """
        track = self.world.track
        half_m = track.lane_width_m / 2
        check_between("place_car", "arc_length_m", arc_length_m, -1e6, 1e6)
        check_between("place_car", "lateral_m", lateral_m, -half_m, half_m)
        check_between("place_car", "heading_error_rad", heading_error_rad, -math.pi, math.pi)
        check_between("place_car", "speed_mps", speed_mps, 0.0, self.car.max_speed_mps)
        x_m, y_m = track.point_at(arc_length_m)
        heading_rad = track.heading_at(arc_length_m)
        self._state = CarState(
            x_m=x_m - lateral_m * math.sin(heading_rad),
            y_m=y_m + lateral_m * math.cos(heading_rad),
            yaw_rad=heading_rad + heading_error_rad,
            speed_mps=speed_mps,
        )
        self._time_s = 0.0
        self._frame = 0
        return self._state

    def observe(self) -> Image:
        """What the camera sees now, (height, width, 3), uint8, RGB."""
        world = self.world
        clean = self.camera.look(world.ground, world.surroundings, self._poses_in_exposure())
        return self.lens.develop(clean, self._time_s, self._frame)

    def expert_command(self) -> Command:
        """What the expert would do now."""
        return self.expert.command(self.world.track, self.car, self._state)

    def advance(self, command: Command, dt_s: float) -> CarState:
        """Drives ``dt_s`` seconds with one command; values beyond their range are clipped.

        Raises:
            ParameterError: ``dt_s`` is not above 0, or a command value is not finite.
        """
        self._state = self.car.step(self._state, command, dt_s)
        self._time_s += dt_s
        self._frame += 1
        return self._state

    def _poses_in_exposure(self) -> list[Pose]:
        """Rear-axle poses while the shutter was open, the last one now."""
        state, turning = self._state, self.car.yaw_rate_rad_per_s(self._state)
        poses = []
        for look in range(len(SHIFTS_PX)):
            ago_s = self.lens.exposure_s * (1 - (look + 1) / len(SHIFTS_PX))
            back_m = state.speed_mps * ago_s
            x_m = state.x_m - back_m * math.cos(state.yaw_rad)
            y_m = state.y_m - back_m * math.sin(state.yaw_rad)
            poses.append((x_m, y_m, state.yaw_rad - turning * ago_s))
        return poses
