"""The simulator: a robot that is not there. Images out, commands in, and a car between them.

``ros2 run streaming_net_ros simulator --ros-args -r __ns:=/pilot -r cmd_vel:=response/drive``

Time is the node's clock: the wall's, or somebody's /clock under ``use_sim_time``. With
``publish_clock`` the node makes the time itself, at a pace of its own, and never skips: on a slow
machine, time slows down. The car itself is ``simulation.live``; here are callbacks and wiring.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import TwistStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import Image

from streaming_net_ros.errors import ParameterError, StreamingNetError
from streaming_net_ros.nodes import topics
from streaming_net_ros.nodes.host import Host
from streaming_net_ros.nodes.settings import Row, declared
from streaming_net_ros.simulation import Car, Command, Simulation, World
from streaming_net_ros.simulation.live import LiveCar
from streaming_net_ros.wire import write_rgb8, write_stamp_ns

SIMULATOR = "simulator"
_TICK_S = 0.002
_DIAGNOSTICS_S = 1.0
_START_NS = 1_700_000_000_000_000_000  # of a clock of its own: zero would read as "no stamp"
_PATIENCE_S = 1.0  # how long time stands still for a command; an image may get lost
_JUMP_NS = 1_000_000_000
_STEPS_PER_TICK = 50

PARAMETERS: dict[str, Row] = {
    "track_seed": Row(9001, "of the track and of all that is seen around it", 0, 2**31),
    "rate_hz": Row(20.0, "images per second (Hz)", 1, 200),
    "speed_mps": Row(0.0, "speed that is held while there is a command (m/s); 0: linear.x of the "
                     "command is the throttle", 0, 20),
    "max_speed_mps": Row(2.5, "speed at full throttle (m/s)", 0.1, 20),
    "steering_lag_s": Row(0.08, "time constant of the steering servo (s)", 0.001, 2),
    "command_timeout_s": Row(0.5, "the car stops if no command came for longer (s)", 0.01, 60),
    "publish_clock": Row(False, "make the time, and publish it on /clock; others follow it with "
                         "use_sim_time"),
    "real_time_factor": Row(1.0, "publish_clock: simulated seconds per second, at most", 0.01,
                            100),
    "wait_for_command": Row(False, "publish_clock: after each image, time stands still until a "
                            "command comes (for a second at most)"),
    "laps": Row(0.0, "end after so many rounds of the track; 0: never", 0, 1e6),
}  # fmt: skip


@dataclass(frozen=True)
class SimulatorSettings:
    """What the parameters say, checked. Names, units and meanings as in the table."""

    track_seed: int = 9001
    rate_hz: float = 20.0
    speed_mps: float = 0.0
    max_speed_mps: float = 2.5
    steering_lag_s: float = 0.08
    command_timeout_s: float = 0.5
    publish_clock: bool = False
    real_time_factor: float = 1.0
    wait_for_command: bool = False
    laps: float = 0.0

    def __post_init__(self) -> None:
        if self.speed_mps > self.max_speed_mps:
            raise ParameterError(
                "the car cannot go that fast",
                where="parameter speed_mps",
                expected=f"at most max_speed_mps, {self.max_speed_mps:g}",
                got=self.speed_mps,
            )
        if self.wait_for_command and not self.publish_clock:
            raise ParameterError(
                "time cannot stand still for a command",
                where="parameter wait_for_command",
                expected="publish_clock:=true with it",
            )


class Simulator(Node):
    """The node. All callbacks run in the executor's thread.

    Args:
        settings: what its parameters say; None reads them.
        options: for the node (context, namespace, ...).

    Raises:
        ParameterError: a parameter of the wrong type or out of its range.
    """

    def __init__(self, settings: SimulatorSettings | None = None, **options: Any) -> None:
        super().__init__(SIMULATOR, **options)
        given = settings or SimulatorSettings(
            **{name: declared(self, name, row) for name, row in PARAMETERS.items()}
        )
        self.settings = given
        world = World.from_seed(given.track_seed)
        car = Car(max_speed_mps=given.max_speed_mps, steering_lag_s=given.steering_lag_s)
        self.car = LiveCar(
            Simulation(world, car=car),
            given.rate_hz,
            _START_NS if given.publish_clock else self._clock_ns(),
            command_timeout_s=given.command_timeout_s,
            speed_mps=given.speed_mps,
        )
        self.car.simulation.observe()  # the first look draws the hall, which takes a while
        self.images = self.commands = self.refused = self.skipped_images = self.waits = 0
        self._begun: tuple[float, int] | None = None  # wall seconds and simulated ns that belong
        self._waiting_since_s: float | None = None
        qos: dict[str, Any] = {"qos_overriding_options": topics.overridable()}
        self._image = self.create_publisher(Image, "image", topics.reliable(10), **qos)
        self._clock_topic = self.create_publisher(ClockMessage, "/clock", topics.reliable(10))
        self._diagnostics = self.create_publisher(DiagnosticArray, topics.DIAGNOSTICS, 10)
        self.create_subscription(
            TwistStamped, "cmd_vel", self._on_command, topics.reliable(10), **qos
        )
        wall = Clock(clock_type=ClockType.STEADY_TIME)  # runs on while simulated time stands
        self.create_timer(_TICK_S, self._tick, clock=wall)
        self.create_timer(_DIAGNOSTICS_S, self._publish_diagnostics, clock=wall)

    @property
    def is_done(self) -> bool:
        """The laps that were asked for are driven."""
        return 0 < self.settings.laps <= self.car.way.laps

    def _on_command(self, message: TwistStamped) -> None:
        try:
            self.car.hear(Command(message.twist.angular.z, message.twist.linear.x))
        except ParameterError as error:
            self.refused += 1
            self.get_logger().warning(f"command refused: {error}", throttle_duration_sec=5.0)
            return
        self.commands += 1
        self._waiting_since_s = None

    def _clock_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _tick(self) -> None:
        """Drive up to now."""
        if self.settings.publish_clock:
            self._tick_own_time()
            return
        now_ns = self._clock_ns()
        if abs(now_ns - self.car.now_ns) > _JUMP_NS:  # also: /clock has come, or begun again
            self.car.begin(now_ns)
        while self.car.next_ns() <= now_ns and not self.is_done:
            if self.car.step():
                if self.car.now_ns + self.car.period_ns > now_ns:
                    self._look()
                else:  # this node was held up: the car moves on, and only the newest is worth it
                    self.skipped_images += 1

    def _tick_own_time(self) -> None:
        wall_s = time.monotonic()
        if self._image.get_subscription_count() == 0 and self.images == 0:
            self._publish_clock()  # others wait for a time before they begin
            return
        if self._is_waiting(wall_s):
            self._begun = None
            return
        if self._begun is None:
            self._begun = wall_s, self.car.now_ns
        begun_s, begun_ns = self._begun
        until_ns = begun_ns + (wall_s - begun_s) * 1e9 * self.settings.real_time_factor
        for _ in range(_STEPS_PER_TICK):
            if self.car.next_ns() > until_ns or self.is_done:
                return
            is_due = self.car.step()
            self._publish_clock()
            if is_due:
                self._look()
                return  # commands that came meanwhile count before the next step
        self._begun = None  # too slow: time slows down, nothing is made up for

    def _is_waiting(self, wall_s: float) -> bool:
        """Does time stand still for a command?"""
        if self._waiting_since_s is None:
            return False
        if wall_s - self._waiting_since_s <= _PATIENCE_S:
            return True
        self._waiting_since_s = None
        self.waits += 1
        return False

    def _publish_clock(self) -> None:
        message = ClockMessage()
        write_stamp_ns(message.clock, self.car.now_ns)
        self._clock_topic.publish(message)

    def _look(self) -> None:
        message = Image()
        message.header.frame_id = "camera"
        write_stamp_ns(message.header.stamp, self.car.now_ns)
        write_rgb8(message, self.car.simulation.observe())
        self._image.publish(message)
        self.images += 1
        if self.settings.wait_for_command:
            self._waiting_since_s = time.monotonic()

    def _publish_diagnostics(self) -> None:
        way, car = self.car.way, self.car
        level, text = DiagnosticStatus.OK, "driving"
        if not car.has_command:
            level, text = DiagnosticStatus.WARN, "stopped: no command"
        values = {
            "images": self.images,
            "skipped_images": self.skipped_images,
            "commands": self.commands,
            "refused_commands": self.refused,
            "waits_given_up": self.waits,
            "command_timeouts": way.timeouts,
            "distance_m": f"{way.distance_m:.2f}",
            "laps": f"{way.laps:.3f}",
            "speed_mps": f"{car.simulation.state.speed_mps:.2f}",
            "lateral_m": f"{car.simulation.lateral_m:.3f}",
            "lateral_mean_m": f"{way.lateral_mean_m:.3f}",
            "lateral_max_m": f"{way.lateral_max_m:.3f}",
            "off_track_events": way.off_track_events,
        }
        status = DiagnosticStatus(
            level=level,
            name=f"{self.get_fully_qualified_name()[1:]}: simulation",
            message=text,
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )
        array = DiagnosticArray(status=[status])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)


def main(args: list[str] | None = None) -> None:
    """Console entry ``simulator``; ends the process with an error's exit code, or 0."""
    try:
        with Host(args if args is not None else sys.argv[1:]) as host:
            node = Simulator(context=host.context)
            host.add(node)
            host.spin(lambda: node.is_done)
            node.get_logger().info(str(node.car.way))
    except StreamingNetError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
