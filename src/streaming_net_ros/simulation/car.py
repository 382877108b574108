"""A small car: a kinematic bicycle with a steering servo and a motor that lag.

Owns how a command moves the car. Knows no track and no camera; ``expert``, ``world`` and
``camera`` import it. Axes of REP 103: x forward, y left, yaw grows to the left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.simulation.checks import check_above, check_between

_LONGEST_STEP_S = 0.01


@dataclass(frozen=True)
class Command:
    """What a driver asks for.

    Attributes:
        steering: in [-1, 1], left positive, 1 is the largest steering angle.
        throttle: in [0, 1], 1 is the largest speed.
    """

    steering: float
    throttle: float

    def clipped(self) -> Command:
        """The command that the servo and the motor can follow.

        Raises:
            ParameterError: a value is not finite.
        """
        for name, value in (("steering", self.steering), ("throttle", self.throttle)):
            if not math.isfinite(value):
                raise ParameterError(
                    f"{name} is not finite", where="command", expected="a number", got=value
                )
        return Command(min(1.0, max(-1.0, self.steering)), min(1.0, max(0.0, self.throttle)))


@dataclass(frozen=True)
class CarState:
    """Where the car is and what it does.

    Attributes:
        x_m: rear axle's middle in the world frame.
        y_m: rear axle's middle in the world frame.
        yaw_rad: heading, left positive, not wrapped.
        speed_mps: along the heading.
        steering: where the servo stands now, in [-1, 1], left positive.
    """

    x_m: float
    y_m: float
    yaw_rad: float
    speed_mps: float = 0.0
    steering: float = 0.0


@dataclass(frozen=True)
class Car:
    """The car's measures.

    Attributes:
        wheelbase_m: from rear to front axle.
        max_steering_deg: front wheels' angle at steering 1.
        max_speed_mps: speed at throttle 1.
        steering_lag_s: time constant of the servo.
        speed_lag_s: time constant of the motor.
    """

    wheelbase_m: float = 0.26
    max_steering_deg: float = 20.0
    max_speed_mps: float = 2.5
    steering_lag_s: float = 0.08
    speed_lag_s: float = 0.3

    def __post_init__(self) -> None:
        check_above("car", "wheelbase_m", self.wheelbase_m)
        check_between("car", "max_steering_deg", self.max_steering_deg, 1.0, 60.0)
        check_above("car", "max_speed_mps", self.max_speed_mps)
        check_above("car", "steering_lag_s", self.steering_lag_s)
        check_above("car", "speed_lag_s", self.speed_lag_s)

    def curvature_per_m(self, steering: float) -> float:
        """Curvature of the rear axle's path at a steering, left positive."""
        return math.tan(steering * math.radians(self.max_steering_deg)) / self.wheelbase_m

    def steering_for(self, curvature_per_m: float) -> float:
        """The steering that drives a curvature; beyond [-1, 1] if the car cannot."""
        angle_rad = math.atan(curvature_per_m * self.wheelbase_m)
        return angle_rad / math.radians(self.max_steering_deg)

    def yaw_rate_rad_per_s(self, state: CarState) -> float:
        """How fast the car turns now, left positive."""
        return state.speed_mps * self.curvature_per_m(state.steering)

    def step(self, state: CarState, command: Command, dt_s: float) -> CarState:
        """The state after ``dt_s`` seconds of one command; ``state`` is left as it is.

        Raises:
            ParameterError: ``dt_s`` is not above 0, or a command value is not finite.
        """
        check_above("car", "dt_s", dt_s)
        wanted = command.clipped()
        count = math.ceil(dt_s / _LONGEST_STEP_S)
        for _ in range(count):
            state = self._short_step(state, wanted, dt_s / count)
        return state

    def _short_step(self, state: CarState, wanted: Command, dt_s: float) -> CarState:
        # The lags are solved exactly, the path with the middle of the step: stable at any rate.
        steering = _follow(state.steering, wanted.steering, dt_s / self.steering_lag_s)
        wanted_mps = wanted.throttle * self.max_speed_mps
        speed_mps = _follow(state.speed_mps, wanted_mps, dt_s / self.speed_lag_s)
        way_m = (state.speed_mps + speed_mps) / 2 * dt_s
        turn_rad = way_m * self.curvature_per_m((state.steering + steering) / 2)
        middle_rad = state.yaw_rad + turn_rad / 2
        return CarState(
            x_m=state.x_m + way_m * math.cos(middle_rad),
            y_m=state.y_m + way_m * math.sin(middle_rad),
            yaw_rad=state.yaw_rad + turn_rad,
            speed_mps=speed_mps,
            steering=steering,
        )


def _follow(value: float, target: float, steps: float) -> float:
    """A first-order lag after ``steps`` time constants."""
    return value + (target - value) * -math.expm1(-steps)
