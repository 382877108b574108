"""The simulator as a robot: a composed network drives it over ROS; time, commands, parameters."""

from __future__ import annotations

import itertools
import json
import math
import re
import subprocess
import sys
from contextlib import contextmanager

import pytest

from harness import composed
from test_docs import page, parameter_row

pytestmark = [pytest.mark.ros]

PERIOD_NS = 50_000_000


@contextmanager
def simulated(host, namespace, cmd_vel="cmd_vel", **settings):
    from streaming_net_ros.nodes.simulator import Simulator, SimulatorSettings

    node = Simulator(
        SimulatorSettings(**settings),
        context=host.context,
        namespace=f"/{namespace}",
        cli_args=["--ros-args", "-r", f"cmd_vel:={cmd_vel}"],
    )
    host.add(node)
    yield node


class Driver:
    """Plain rclpy: hears images and the clock, says commands."""

    def __init__(self, host, namespace):
        from geometry_msgs.msg import TwistStamped
        from rclpy.node import Node
        from rosgraph_msgs.msg import Clock
        from sensor_msgs.msg import Image

        self.node = Node("driver", context=host.context, namespace=f"/{namespace}")
        host.add(self.node)
        self.images, self.times_ns = [], []
        self.node.create_subscription(Image, "image", self.images.append, 100)
        self.node.create_subscription(
            Clock, "/clock", lambda m: self.times_ns.append(nanoseconds(m.clock)), 1000
        )
        self.commands = self.node.create_publisher(TwistStamped, "cmd_vel", 10)

    def say(self, steering, throttle):
        from geometry_msgs.msg import TwistStamped

        message = TwistStamped()
        message.twist.angular.z, message.twist.linear.x = float(steering), float(throttle)
        self.commands.publish(message)


@contextmanager
def driven(namespace, **settings):
    """A simulator and a driver in one process."""
    from streaming_net_ros.nodes.host import Host

    with Host(["--ros-args"], handles_signals=False) as host:
        driver = Driver(host, namespace)
        with simulated(host, namespace, **settings) as simulator:
            assert host.spin(lambda: driver.commands.get_subscription_count() > 0, 10)
            yield host, driver, simulator


def nanoseconds(stamp):
    return stamp.sec * 10**9 + stamp.nanosec


def test_the_pilot_drives_the_simulator_over_ros_and_keeps_the_track(namespace):
    """Time stands still for each answer: no machine is too slow for it."""
    from streaming_net_ros.paths import find_network

    settings = {"publish_clock": True, "wait_for_command": True, "real_time_factor": 100.0}
    with (
        composed(find_network("pilot"), namespace, mode="lockstep") as (container, robot),
        simulated(robot.host, namespace, cmd_vel="response/drive", **settings) as simulator,
    ):
        way = simulator.car.way
        assert robot.host.spin(lambda: way.distance_m > 6 or way.off_track_events, 90), way
        assert way.off_track_events == 0 and container.failure is None
        assert simulator.waits == 0 and way.timeouts == 0
        assert way.laps * simulator.car.simulation.world.track.length_m > 5
        assert way.lateral_mean_m < 0.1


def test_the_pilot_follows_the_simulators_clock_in_realtime(namespace):
    """A slow clock of its own, so that the grid is kept; the frames are those of the clock."""
    from streaming_net_ros.paths import find_network

    with (
        composed(
            find_network("pilot"), namespace, ["-p", "use_sim_time:=true"], mode="realtime"
        ) as (container, robot),
        simulated(
            robot.host, namespace, cmd_vel="response/drive", publish_clock=True,
            real_time_factor=0.3, speed_mps=1.0,
        ) as simulator,
    ):  # fmt: skip
        way = simulator.car.way
        assert robot.host.spin(lambda: way.distance_m > 1 or way.off_track_events, 90), way
        assert container.failure is None
        stamps = [nanoseconds(m.header.stamp) for m in robot.answers]
        assert all(1_700_000_000 <= s / 1e9 < 1_700_001_000 for s in stamps)
        assert container.members[0].fed > 10


def test_images_carry_the_simulated_time_of_the_frame_grid(namespace):
    with driven(namespace, publish_clock=True, real_time_factor=10.0) as (host, driver, _):
        assert host.spin(lambda: len(driver.images) >= 8 and len(driver.times_ns) >= 40, 30)
        stamps = [nanoseconds(image.header.stamp) for image in driver.images]
        assert {b - a for a, b in itertools.pairwise(stamps)} == {PERIOD_NS}
        assert driver.times_ns == sorted(driver.times_ns)
        assert set(stamps) <= set(driver.times_ns) | {stamps[-1]}
        image = driver.images[0]
        assert (image.width, image.height, image.encoding) == (160, 120, "rgb8")


def test_time_stands_still_until_a_command_comes(namespace):
    settings = {"publish_clock": True, "wait_for_command": True, "real_time_factor": 100.0}
    with driven(namespace, **settings) as (host, driver, simulator):
        assert host.spin(lambda: driver.images, 10)
        turns = []
        driver.node.create_timer(0.005, lambda: turns.append(1))
        for _ in range(4):
            turns.clear()
            assert host.spin(lambda: len(turns) > 20, 30)  # many ticks of the simulator meanwhile
            assert simulator.images == simulator.commands + 1 + simulator.waits
            said = simulator.commands
            driver.say(0.0, 0.5)
            assert host.spin(lambda n=said: simulator.commands > n, 10)


def test_without_a_clock_of_its_own_it_follows_the_wall(namespace):
    import time

    with driven(namespace, rate_hz=50.0) as (host, driver, simulator):
        assert host.spin(lambda: len(driver.images) >= 3, 20)
        assert abs(nanoseconds(driver.images[-1].header.stamp) - time.time_ns()) < 10**10
        assert simulator._clock_topic.get_subscription_count() > 0 and not driver.times_ns


def test_the_car_stops_when_commands_stop_and_says_so(namespace):
    from diagnostic_msgs.msg import DiagnosticArray

    settings = {"publish_clock": True, "real_time_factor": 5.0}
    with driven(namespace, **settings) as (host, driver, simulator):
        told = []
        driver.node.create_subscription(DiagnosticArray, "/diagnostics", told.append, 10)
        driver.say(0.0, 1.0)
        assert host.spin(lambda: simulator.car.way.timeouts == 1, 30)
        assert host.spin(lambda: simulator.car.simulation.state.speed_mps < 0.01, 30)
        assert host.spin(lambda: told and "no command" in told[-1].status[0].message, 10)
        values = {v.key: v.value for v in told[-1].status[0].values}
        assert values["command_timeouts"] == "1" and float(values["distance_m"]) > 0
        assert json.dumps(values)


def test_a_command_that_is_not_finite_is_refused_and_counted(namespace):
    settings = {"publish_clock": True}
    with driven(namespace, **settings) as (host, driver, simulator):
        driver.say(math.nan, 1.0)
        assert host.spin(lambda: simulator.refused == 1, 10)
        assert simulator.commands == 0 and not simulator.car.has_command


def test_parameters_tell_what_they_are_and_the_docs_say_the_same():
    from streaming_net_ros.nodes.simulator import PARAMETERS, SimulatorSettings

    (section,) = re.findall(r"^## Parameters$(.*?)^## ", page("driving.md"), re.M | re.S)
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert rows == [parameter_row(name, row) for name, row in PARAMETERS.items()]
    assert vars(SimulatorSettings()) == {n: row.default for n, row in PARAMETERS.items()}


BAD = {
    "rate": (["rate_hz:=0.0"], "rate_hz"),
    "word": (["track_seed:=oval"], "track_seed"),
    "too fast": (["speed_mps:=9.0"], "speed_mps"),
    "no clock to stop": (["wait_for_command:=true"], "wait_for_command"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_parameter_ends_it_with_one_line(case):
    given, name = BAD[case]
    code, said = run(*(part for setting in given for part in ("-p", setting)))
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert code == 2 and len(errors) == 1 and name in errors[0], said
    assert "Traceback" not in said


def test_it_ends_after_its_laps_and_tells_the_way(namespace):
    code, said = run("-r", f"__ns:=/{namespace}", "-p", "laps:=0.001", "-p", "publish_clock:=true",
                     command=True)  # fmt: skip
    assert code == 0 and "0 times off the track" in said, said


def run(*arguments, command=False):
    """The node as a process; with a driver beside it that says one command again and again."""
    child = subprocess.Popen(
        [sys.executable, "-m", "streaming_net_ros.nodes.simulator", "--ros-args", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        if command:
            from streaming_net_ros.nodes.host import Host

            with Host(["--ros-args"], handles_signals=False) as host:
                driver = Driver(host, arguments[1].rpartition("/")[2])
                driver.node.create_timer(0.05, lambda: driver.say(0.0, 0.5))
                assert host.spin(lambda: child.poll() is not None, 60)
        said, _ = child.communicate(timeout=60)
        return child.returncode, said
    finally:
        child.kill()
