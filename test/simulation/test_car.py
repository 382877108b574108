"""Laws of the car: REP 103 signs, end stops, lags, and steps that do not depend on the rate."""

import math

import pytest

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.simulation import Car, CarState, Command

CAR = Car()
MOVING = CarState(0.0, 0.0, 0.0, speed_mps=1.0)


def driven(state, command, seconds, dt_s=0.05, car=CAR):
    for _ in range(round(seconds / dt_s)):
        state = car.step(state, command, dt_s)
    return state


def test_zero_steering_goes_straight():
    state = driven(CarState(1.0, 2.0, 0.5), Command(0.0, 0.6), 3.0)
    assert state.yaw_rad == 0.5
    assert math.atan2(state.y_m - 2.0, state.x_m - 1.0) == pytest.approx(0.5)


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_steering_left_turns_left_and_right_right(side):
    state = driven(MOVING, Command(0.5 * side, 0.4), 0.5)
    assert side * state.yaw_rad > 0.1
    assert side * state.y_m > 0.0
    assert side * CAR.yaw_rate_rad_per_s(state) > 0.0


def test_a_held_steering_drives_the_circle_of_its_curvature():
    car = Car(steering_lag_s=1e-3)
    start = CarState(0.0, 0.0, 0.0, speed_mps=1.0, steering=0.6)
    radius_m = 1 / car.curvature_per_m(0.6)
    state = driven(start, Command(0.6, 1.0 / car.max_speed_mps), 2.0, car=car)
    assert math.hypot(state.x_m, state.y_m - radius_m) == pytest.approx(radius_m, rel=1e-3)


def test_steering_for_a_curvature_is_the_inverse():
    for steering in (-1.0, -0.3, 0.0, 0.7):
        assert CAR.steering_for(CAR.curvature_per_m(steering)) == pytest.approx(steering)


def test_servo_and_motor_lag_by_their_time_constants():
    state = driven(CarState(0, 0, 0), Command(1.0, 1.0), CAR.steering_lag_s, CAR.steering_lag_s)
    assert state.steering == pytest.approx(1 - math.exp(-1))
    state = driven(CarState(0, 0, 0), Command(1.0, 1.0), CAR.speed_lag_s, CAR.speed_lag_s)
    assert state.speed_mps == pytest.approx(CAR.max_speed_mps * (1 - math.exp(-1)))


def test_the_path_hardly_depends_on_the_step():
    coarse = driven(MOVING, Command(0.8, 0.5), 2.0, dt_s=0.1)
    fine = driven(MOVING, Command(0.8, 0.5), 2.0, dt_s=0.002)
    assert (coarse.x_m, coarse.y_m) == pytest.approx((fine.x_m, fine.y_m), abs=2e-3)


def test_commands_stop_at_the_end_stops():
    wild = driven(MOVING, Command(-7.0, 9.0), 0.3)
    assert wild == driven(MOVING, Command(-1.0, 1.0), 0.3)
    assert Command(0.0, -1.0).clipped() == Command(0.0, 0.0)


def test_a_step_leaves_its_state_as_it_is():
    before = CarState(0.0, 0.0, 0.0, 1.0, 0.2)
    CAR.step(before, Command(1.0, 1.0), 0.1)
    assert before == CarState(0.0, 0.0, 0.0, 1.0, 0.2)


@pytest.mark.parametrize("dt_s", [0.0, -0.1, math.nan, math.inf])
def test_a_step_takes_time(dt_s):
    with pytest.raises(ParameterError, match="dt_s"):
        CAR.step(MOVING, Command(0.0, 0.5), dt_s)


@pytest.mark.parametrize(
    ("command", "named"),
    [(Command(math.nan, 0.5), "steering"), (Command(0.0, math.inf), "throttle")],
)
def test_a_command_is_finite(command, named):
    with pytest.raises(ParameterError, match=named):
        CAR.step(MOVING, command, 0.05)


@pytest.mark.parametrize(
    "field",
    ["wheelbase_m", "max_steering_deg", "max_speed_mps", "steering_lag_s", "speed_lag_s"],
)
def test_a_bad_measure_is_named(field):
    with pytest.raises(ParameterError, match=field):
        Car(**{field: 0.0})
