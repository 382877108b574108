"""A simulated car that lives in somebody's time: commands count when they come, or run out.

Owns when pictures are due, when a command is too old, and the figures of the way. Knows no clock:
time is handed in. The ROS node ``simulator`` gives it a clock and topics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from streaming_net_ros.simulation.car import Command
from streaming_net_ros.simulation.checks import check_above, check_between
from streaming_net_ros.simulation.world import Simulation

STEP_NS = 10_000_000
_STILL = Command(0.0, 0.0)


@dataclass
class Way:
    """The figures of a drive so far.

    Attributes:
        seconds: driven, standing still included.
        distance_m: driven.
        laps: progress along the centre line, in rounds.
        off_track_events: how often the rear axle's middle crossed a border.
        lateral_sum_m: of the distances from the centre line, at every step.
        lateral_max_m: the largest of them.
        steps: counted.
        timeouts: how often the car was stopped because its command was too old.
    """

    seconds: float = 0.0
    distance_m: float = 0.0
    laps: float = 0.0
    off_track_events: int = 0
    lateral_sum_m: float = 0.0
    lateral_max_m: float = 0.0
    steps: int = 0
    timeouts: int = 0

    @property
    def lateral_mean_m(self) -> float:
        """Mean distance from the centre line."""
        return self.lateral_sum_m / self.steps if self.steps else 0.0

    def __str__(self) -> str:
        """In one line, for a log."""
        return (
            f"{self.distance_m:.1f} m in {self.seconds:.1f} s ({self.laps:.2f} laps), "
            f"{self.off_track_events} times off the track, "
            f"{100 * self.lateral_mean_m:.1f} cm from the centre line (largest "
            f"{100 * self.lateral_max_m:.0f} cm), stopped {self.timeouts} times for want of a "
            "command"
        )


class LiveCar:
    """The car, its camera's pace and its watch on commands. Call it from one thread at a time.

    Args:
        simulation: the car in its world; nobody else advances it.
        rate_hz: of the camera; pictures are due at multiples of ``round(1e9 / rate_hz)`` ns.
        start_ns: the time now; it begins with the next picture's.
        command_timeout_s: a command older than this stops the car.
        speed_mps: held while there is a command; 0: the command's throttle drives.

    Raises:
        ParameterError: a value out of its range.
    """

    def __init__(
        self,
        simulation: Simulation,
        rate_hz: float,
        start_ns: int,
        *,
        command_timeout_s: float = 0.5,
        speed_mps: float = 0.0,
    ) -> None:
        check_between("live car", "rate_hz", rate_hz, 0.1, 1000.0)
        check_above("live car", "command_timeout_s", command_timeout_s)
        check_between("live car", "speed_mps", speed_mps, 0.0, simulation.car.max_speed_mps)
        self.simulation = simulation
        self.period_ns = round(1e9 / rate_hz)
        self.way = Way()
        self.now_ns = 0
        self._timeout_ns = round(1e9 * command_timeout_s)
        self._speed_mps = speed_mps
        self._command = _STILL
        self._heard_ns: int | None = None
        self.begin(start_ns)

    def begin(self, now_ns: int) -> None:
        """Time begins anew, here; the command is forgotten, the car stays where it is."""
        self.now_ns = -(-now_ns // self.period_ns) * self.period_ns
        self._command, self._heard_ns = _STILL, None

    @property
    def has_command(self) -> bool:
        """A command is there, and not too old."""
        return self._heard_ns is not None

    def hear(self, command: Command) -> None:
        """A command counts from now on.

        Raises:
            ParameterError: a value is not finite; the command before it stays.
        """
        self._command = command.clipped()
        self._heard_ns = self.now_ns

    def next_ns(self) -> int:
        """The end of the next step."""
        step_ns = (self.now_ns // STEP_NS + 1) * STEP_NS
        picture_ns = (self.now_ns // self.period_ns + 1) * self.period_ns
        return min(step_ns, picture_ns)

    def step(self) -> bool:
        """Drive to ``next_ns``. True if a picture is due then."""
        to_ns = self.next_ns()
        if self._heard_ns is not None and to_ns - self._heard_ns > self._timeout_ns:
            self._command, self._heard_ns = _STILL, None
            self.way.timeouts += 1
        before = self.simulation.place
        step_s = (to_ns - self.now_ns) / 1e9
        state = self.simulation.advance(self._command_now(), step_s)
        self.now_ns = to_ns
        place, way = self.simulation.place, self.way
        lap_m = self.simulation.world.track.length_m
        way.seconds += step_s
        way.distance_m += state.speed_mps * step_s
        way.laps += math.remainder(place.arc_length_m - before.arc_length_m, lap_m) / lap_m
        way.lateral_sum_m += abs(place.lateral_m)
        way.lateral_max_m = max(way.lateral_max_m, abs(place.lateral_m))
        way.steps += 1
        if self.simulation.is_off_track:
            way.off_track_events += 1
            # On the centre line, along the track, at the speed that it had.
            self.simulation.place_car(place.arc_length_m, speed_mps=state.speed_mps)
        return to_ns % self.period_ns == 0

    def _command_now(self) -> Command:
        if self._speed_mps == 0.0 or not self.has_command:
            return self._command
        return Command(self._command.steering, self._speed_mps / self.simulation.car.max_speed_mps)
