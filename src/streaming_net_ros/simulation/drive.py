"""Recordings of an expert who is pushed off course now and then.

Owns the frame stamps, the disturbances and the labels. Imports ``world``; the room's users that
train from pictures or write bags start here.

A recording of perfect driving never shows the way back to the lane. So for spells the *executed*
steering is pushed aside, while the *recorded* steering stays the expert's answer to what the
camera sees (DART: Laskey et al., Noise Injection for Robust Imitation Learning, CoRL 2017).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from streaming_net_ros.simulation.camera import Camera, Image
from streaming_net_ros.simulation.car import Car, CarState, Command
from streaming_net_ros.simulation.checks import check_above, check_between, check_count
from streaming_net_ros.simulation.lens import LensNoise
from streaming_net_ros.simulation.world import Simulation, World

_LEAD_M = 0.4  # a push must not aim the car out of the lane either


@dataclass(frozen=True)
class Disturbance:
    """How often and how hard the executed steering is pushed aside.

    Attributes:
        share: of the drive that is disturbed, in [0, 0.9]; 0 for a clean drive.
        spell_s: mean length of a spell; spells last 0.5 to 1.5 times as long.
        push: largest push on the steering; each spell draws from half of it up to it.
        limit: a spell ends once the car is this share of the half lane width off its centre line.
    """

    share: float = 0.3
    spell_s: float = 0.5
    push: float = 0.7
    limit: float = 0.5

    def __post_init__(self) -> None:
        check_between("disturbance", "share", self.share, 0.0, 0.9)
        check_above("disturbance", "spell_s", self.spell_s)
        check_between("disturbance", "push", self.push, 0.0, 2.0)
        check_between("disturbance", "limit", self.limit, 0.0, 1.0)


@dataclass(frozen=True, eq=False)
class DriveMoment:
    """One frame of a drive without its picture.

    Attributes:
        stamp_ns: capture time on the frame grid.
        steering: the expert's answer in [-1, 1], left positive: the label.
        throttle: the expert's answer in [0, 1].
        executed_steering: what the car was made to do instead, in [-1, 1].
        state: of the car at the stamp.
        lateral_m: how far left of the centre line the car is at the stamp.
    """

    stamp_ns: int
    steering: float
    throttle: float
    executed_steering: float
    state: CarState
    lateral_m: float


@dataclass(frozen=True, eq=False)
class DriveFrame(DriveMoment):
    """One frame of a drive.

    Attributes:
        image: what the camera sees at the stamp, (height, width, 3), uint8, RGB.
    """

    image: Image


def simulate_drive(
    track_seed: int,
    frames: int,
    rate_hz: float = 20.0,
    *,
    drive_seed: int = 0,
    start_stamp_ns: int = 0,
    camera: Camera | None = None,
    car: Car | None = None,
    lens: LensNoise | None = None,
    disturbance: Disturbance | None = None,
) -> Iterator[DriveFrame]:
    """A recording of the expert's drive, frame by frame; each picture is drawn when asked for.

    Args:
        track_seed: of the track and its surroundings.
        frames: how many.
        rate_hz: frames per second, 1 to 1000; frame ``k`` is stamped
            ``start_stamp_ns + k * round(1e9 / rate_hz)``.
        drive_seed: of the start, the disturbances and, unless ``lens`` is given, the light.
        start_stamp_ns: stamp of the first frame.
        camera: where the camera sits.
        car: the car's measures.
        lens: light and camera faults.
        disturbance: pushes on the steering.

    Raises:
        ParameterError: a value is out of its range; raised by the call, not by the first frame.
    """
    lens = lens or LensNoise(seed=_lens_seed(track_seed, drive_seed))
    simulation = Simulation(World.from_seed(track_seed), car=car, camera=camera, lens=lens)
    moments = drive_moments(
        simulation,
        frames,
        rate_hz,
        drive_seed=drive_seed,
        start_stamp_ns=start_stamp_ns,
        disturbance=disturbance,
    )
    # ``moments`` halts before the car moves on, so the simulation still stands at the stamp.
    return (DriveFrame(**vars(moment), image=simulation.observe()) for moment in moments)


def drive_moments(
    simulation: Simulation,
    frames: int,
    rate_hz: float = 20.0,
    *,
    drive_seed: int = 0,
    start_stamp_ns: int = 0,
    disturbance: Disturbance | None = None,
) -> Iterator[DriveMoment]:
    """The same drive without pictures: thousands of frames per second.

    The car is placed anew, somewhere on the track and a little askew. When a moment is yielded,
    ``simulation`` stands at its stamp; it moves on when the next one is asked for.

    Args:
        simulation: the car to drive; others must not advance it meanwhile.
        frames: how many.
        rate_hz: frames per second, 1 to 1000.
        drive_seed: of the start and the disturbances.
        start_stamp_ns: stamp of the first frame.
        disturbance: pushes on the steering.

    Raises:
        ParameterError: a value is out of its range; raised by the call, not by the first moment.
    """
    check_count("simulate_drive", "frames", frames, 1)
    check_between("simulate_drive", "rate_hz", rate_hz, 1.0, 1000.0)
    check_count("simulate_drive", "drive_seed", drive_seed, 0)
    check_count("simulate_drive", "start_stamp_ns", start_stamp_ns, 0)
    period_ns = round(1e9 / rate_hz)
    rng = np.random.default_rng([simulation.world.seed, drive_seed, 5])
    _place_somewhere(simulation, rng)
    pushes = _Pushes(disturbance or Disturbance(), rng)
    stamps = range(start_stamp_ns, start_stamp_ns + frames * period_ns, period_ns)
    return _moments(simulation, pushes, stamps, period_ns * 1e-9)


def _moments(
    simulation: Simulation, pushes: _Pushes, stamps_ns: range, dt_s: float
) -> Iterator[DriveMoment]:
    for stamp_ns in stamps_ns:
        wanted = simulation.expert_command()
        aside = pushes.next_push(simulation, dt_s)
        executed = Command(wanted.steering + aside, wanted.throttle).clipped()
        yield DriveMoment(
            stamp_ns=stamp_ns,
            steering=wanted.steering,
            throttle=wanted.throttle,
            executed_steering=executed.steering,
            state=simulation.state,
            lateral_m=simulation.lateral_m,
        )
        simulation.advance(executed, dt_s)


class _Pushes:
    """Spells of a constant push on the steering, and quiet gaps between them."""

    def __init__(self, disturbance: Disturbance, rng: np.random.Generator) -> None:
        self._disturbance = disturbance
        self._rng = rng
        self._push = 0.0
        self._left_s = self._gap_s()

    def next_push(self, simulation: Simulation, dt_s: float) -> float:
        """What to add to the steering for the next ``dt_s`` seconds."""
        half_m = simulation.world.track.lane_width_m / 2
        ahead_m = _LEAD_M * math.sin(simulation.heading_error_rad)
        is_far = abs(simulation.lateral_m + ahead_m) > self._disturbance.limit * half_m
        if self._push != 0.0 and (is_far or self._left_s <= 0.0):
            self._push, self._left_s = 0.0, self._gap_s()
        elif self._left_s <= 0.0:
            side = self._rng.choice([-1.0, 1.0])
            self._push = side * self._disturbance.push * self._rng.uniform(0.5, 1.0)
            self._left_s = self._disturbance.spell_s * self._rng.uniform(0.5, 1.5)
        self._left_s -= dt_s
        return self._push

    def _gap_s(self) -> float:
        share = self._disturbance.share
        if share == 0.0 or self._disturbance.push == 0.0:
            return math.inf
        return self._disturbance.spell_s * (1 - share) / share * self._rng.uniform(0.5, 1.5)


def _place_somewhere(simulation: Simulation, rng: np.random.Generator) -> None:
    track = simulation.world.track
    simulation.place_car(
        rng.uniform(0.0, track.length_m),
        lateral_m=rng.uniform(-0.2, 0.2) * track.lane_width_m,
        heading_error_rad=rng.uniform(-0.2, 0.2),
        speed_mps=simulation.expert.curve_throttle * simulation.car.max_speed_mps,
    )


def _lens_seed(track_seed: int, drive_seed: int) -> int:
    """One seed for each pair; checked here because the lens is built before the track."""
    check_count("simulate_drive", "track_seed", track_seed, 0)
    check_count("simulate_drive", "drive_seed", drive_seed, 0)
    return int(np.random.SeedSequence([track_seed, drive_seed]).generate_state(1)[0])
