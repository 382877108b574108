"""One output of a group: its answers as messages, guarded and measured.

In realtime an answer that is too old, or made of too much that stood in, does not leave; the safe
command is sent once in its place, if the network file gives one, and the output resumes by itself.

Threads: ``answer`` is called from a worker, ``watch`` from the executor; a lock of this output's
own makes judging and sending one act, so that no safe command follows a fresh answer.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from geometry_msgs.msg import TwistStamped
from numpy.typing import NDArray
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image

from streaming_net_ros.frames import Limits, Origin, OutputGuard, ResponseClock, Verdict
from streaming_net_ros.frames.ledger import ResponseLine, system_ns
from streaming_net_ros.network import OutputSpec
from streaming_net_ros.network.measured import OfResponse, response_name
from streaming_net_ros.nodes import topics
from streaming_net_ros.nodes.debug import DebugTopics
from streaming_net_ros.nodes.diagnostics import Health, told_spread
from streaming_net_ros.theory import response_times
from streaming_net_ros.wire import write_field, write_stamp_ns, write_tensor

if TYPE_CHECKING:
    from streaming_net_ros.nodes.container import Container
    from streaming_net_ros.nodes.member import MemberNode

_WATCHES_PER_LIMIT = 10  # a stop comes at most a tenth of the limit late
_SHORTEST_WATCH_S = 0.001
_LONGEST_WATCH_S = 0.1
_START_NS = 5 * 10**9  # how long cameras and groups may take to come up


class Responder:
    """Publishes the answers of one output.

    Args:
        node: the output's group.
        name: of the output.
        spec: of the output.
        container: of the node.
        debug: where latencies are told.
    """

    def __init__(
        self,
        node: MemberNode,
        name: str,
        spec: OutputSpec,
        container: Container,
        debug: DebugTopics,
    ) -> None:
        self._node = node
        self._name = name
        self._spec = spec
        self._container = container
        self._debug = debug
        self._lock = threading.Lock()
        self._is_realtime = container.settings.mode == "realtime"
        self.publisher: Publisher = node.create_publisher(
            TwistStamped if spec.publish == "twist" else Image,
            topics.response(name),
            topics.reliable(container.queue_depth),
            qos_overriding_options=topics.overridable(),
        )
        self._watch = None
        self._limits = self._limits_of()
        if self._is_realtime and self._limits.max_age_ns is not None:
            watch_s = self._limits.max_age_ns / 1e9 / _WATCHES_PER_LIMIT
            watch_s = min(max(watch_s, _SHORTEST_WATCH_S), _LONGEST_WATCH_S)
            self._watch = node.create_timer(watch_s, self.watch)
        self.reset()

    def reset(self) -> None:
        """Forget what has left."""
        times = response_times(self._container.rollout)[self._spec.group]
        repeats = bool(self._container.spec.periods)
        self.clock = ResponseClock(times.first_frames, None if repeats else times.full_frames)
        # Whoever gives a safe command wants it also where no answer ever comes.
        start_ns = None if self._spec.safe is None else _START_NS
        self.guard = OutputGuard(self._limits, self._container.grid, start_ns)
        self._has_ended = False

    def release(self) -> None:
        """Leave the topic."""
        if self._watch is not None:
            self._node.destroy_timer(self._watch)
        self._node.destroy_publisher(self.publisher)

    def answer(self, frame: int, payload: NDArray[Any], origin: Origin) -> None:
        """Worker thread: a state is there, as flat numbers."""
        with self._lock:
            if self._has_ended:
                return
            now_ns = self._container.pool.now_ns()
            verdict = self.guard.judge(origin, now_ns) if self._is_realtime else Verdict.ANSWER
            has_left = verdict is Verdict.ANSWER
            if has_left:
                self.publisher.publish(self._message(payload, origin))
            elif verdict is Verdict.STOP:
                self._stop(now_ns)
            if self._container.ledger is not None:
                self._container.ledger.write(
                    ResponseLine(self._name, frame, has_left, system_ns())
                )
            if self._is_realtime and has_left:
                self._measure(frame, origin, now_ns)

    def end(self) -> None:
        """The node stops: no answer leaves any more, and the safe command is sent once."""
        with self._lock:
            is_running = self._is_realtime and not self._has_ended and self.guard.reason is None
            if is_running and self._spec.safe is not None:
                now_ns = self._container.pool.now_ns()
                self.publisher.publish(self._twist(self._spec.safe, now_ns))
            self._has_ended = True

    def watch(self) -> None:
        """Executor thread: no answer may have come for too long."""
        with self._lock:
            if self._has_ended or not self._node.is_active:
                return
            now_ns = self._container.pool.now_ns()
            if self.guard.watch(now_ns) is Verdict.STOP:
                self._stop(now_ns)

    def health(self, health: Health) -> None:
        """Adds what is to be said of this output."""
        if not self._is_realtime:
            return
        with self._lock:
            health.values.update(told_spread("early", self.clock.early, self._name))
            health.values.update(told_spread("full", self.clock.full, self._name))
            health.values[f"stops/{self._name}"] = str(self.guard.stops)
            if self.guard.reason is not None:
                health.errors.append(f"output {self._name} has stopped: {self.guard.reason}")

    def _measure(self, frame: int, origin: Origin, now_ns: int) -> None:
        latency = self.clock.published(frame, origin, now_ns)
        told: dict[OfResponse, float | None] = {
            "early_ms": latency.early_ms,
            "full_ms": latency.full_ms,
            "held": origin.held,
        }
        for what, value in told.items():
            if value is not None:
                self._debug.tell(response_name(self._name, what), value, now_ns)

    def _stop(self, now_ns: int) -> None:
        """Lock held: the output stops; its safe command, if there is one, is sent once."""
        safe = "" if self._spec.safe is None else "; its safe command is sent"
        self._node.get_logger().error(
            f"output {self._name} stops: {self.guard.reason}{safe}", throttle_duration_sec=1.0
        )
        if self._spec.safe is not None:
            self.publisher.publish(self._twist(self._spec.safe, now_ns))

    def _message(self, payload: NDArray[Any], origin: Origin) -> Any:
        """An answer, stamped with the capture time of the newest image inside (age law)."""
        if self._spec.publish == "twist":
            limits = self._spec.limits or (-np.inf, np.inf)
            values: dict[str, float] = {
                name: min(max(float(payload[element]), limits[0]), limits[1])
                for name, element in self._spec.fields.items()
            }
            return self._twist(values, origin.captured_ns)
        message = Image()
        write_tensor(message, self._container.formats[self._spec.group], payload)
        write_stamp_ns(message.header.stamp, origin.captured_ns)
        message.header.frame_id = self._spec.frame_id
        return message

    def _twist(self, values: Mapping[str, float], stamp_ns: int) -> TwistStamped:
        message = TwistStamped()
        write_stamp_ns(message.header.stamp, stamp_ns)
        message.header.frame_id = self._spec.frame_id
        for name, value in values.items():
            write_field(message, f"twist.{name}", value)
        return message

    def _limits_of(self) -> Limits:
        max_age_ms = self._container.settings.max_age_ms or self._spec.max_age_ms
        if max_age_ms is not None and self._spec.publish == "twist":
            times = response_times(self._container.rollout)[self._spec.group]
            least_ms = 1e3 / self._container.grid.rate_hz
            if max_age_ms < least_ms:
                self._node.get_logger().warning(
                    f"output {self._name}: max_age_ms {max_age_ms:g} is below one frame period "
                    f"({least_ms:.0f} ms; the first response comes {times.first_frames} frames "
                    "after an image): it will stop between two answers"
                )
        age_ns = None if max_age_ms is None else round(max_age_ms * 1e6)
        return Limits(age_ns, self._spec.max_held)
