"""States for whoever looks on: ``state/NODE/throttled``, a few a second.

What the network itself hears leaves every frame, whole and reliably. A page, a plotter or a human
needs a few states a second: they get those here, best effort, and cost the network nothing while
nobody looks. (As ``topic_tools throttle`` does it, without making what is then thrown away.) The
newest state always comes, if late: a network that was paused is seen as it stands.

In realtime such a state is made half a period after its frame, when the network is at rest: right
behind the frame, all nodes would make theirs while later groups still want the cores.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rclpy.node import Node
from sensor_msgs.msg import Image
from torch import Tensor

from streaming_net_ros.frames import Origin
from streaming_net_ros.network.layout import to_payload
from streaming_net_ros.nodes import topics
from streaming_net_ros.nodes.listeners import Listeners
from streaming_net_ros.nodes.live import LiveParameters
from streaming_net_ros.nodes.settings import Row
from streaming_net_ros.nodes.workers import Aside, Task
from streaming_net_ros.wire import write_state

if TYPE_CHECKING:
    from streaming_net_ros.nodes.container import Container

_ROW = Row(5.0, "state/NODE/throttled has at most so many states a second (Hz)", 0.1, 1000)
_Shown = tuple[Tensor | None, int, Origin]  # state or silence, stamp, what it is made of


class Throttle:
    """How often a node tells those who look on: its parameter ``throttle_hz``."""

    def __init__(self, node: Node) -> None:
        self.hz: float = _ROW.default
        self._parameters = LiveParameters(
            node, {"throttle_hz": _ROW}, lambda name, value: value, self._take
        )

    def destroy(self) -> None:
        """Leave the node."""
        self._parameters.destroy()

    def _take(self, values: Sequence[float]) -> None:
        self.hz = values[-1]


class Throttled:
    """The throttled states of one node.

    Args:
        node: that publishes.
        name: the group or input whose states they are.
        container: of the node.
        throttle: how often.
    """

    def __init__(self, node: Node, name: str, container: Container, throttle: Throttle) -> None:
        self._node = node
        self._form = container.formats[name]
        self._throttle = throttle
        self._states = node.create_publisher(
            Image,
            topics.throttled(name),
            topics.LOOKED_AT,
            qos_overriding_options=topics.overridable(),
        )
        self._is_looked_at = Listeners(self._states, fresh_s=0.1)
        self._pool = container.pool
        is_realtime = container.settings.mode == "realtime"
        self._rest_s = container.grid.period_ns / 2e9 if is_realtime else 0.0
        self._lock = threading.Lock()
        self._due_s = 0.0
        self._newest: _Shown | None = None  # that has not been sent
        # When the newest one shall be sent, by a clock that nobody sets or stops.
        self._send_at_s: float | None = None
        self._has_ended = False

    def take(self, state: Tensor | None, stamp_ns: int, origin: Origin) -> None:
        """The newest state is there; None: silence. Called with the pool's lock held.

        It is sent by ``next_task`` if it is time, and otherwise kept until the next state, or
        until ``look`` finds that its time has come.
        """
        if not self._is_looked_at:
            self.forget()
            return
        self._newest = (state, stamp_ns, origin)
        if self._send_at_s is None:
            self._send_at_s = max(self._due_s, time.monotonic() + self._rest_s)

    def forget(self) -> None:
        """What was not sent is of a run that is over. Called with the pool's lock held."""
        self._newest = self._send_at_s = None

    def next_task(self) -> Task | None:
        """To send the newest state, if that is to be done now. Called with the lock held."""
        if not self._is_due():
            return None
        self._send_at_s = None
        return Aside(self._send_as_task)

    def wake_at_ns(self) -> int | None:
        """When to ask for a task again, in ROS time as far as that is known."""
        if self._send_at_s is None:
            return None
        left_ns = math.ceil(1e9 * max(0.0, self._send_at_s - time.monotonic()))
        return self._pool.now_ns() + left_ns

    def look(self) -> None:
        """Executor thread, now and then: send what should have been sent.

        Where there is always something to compute, no worker asks; and ROS time may stand still.
        """
        if self._is_due():
            self.send()

    def send(self) -> None:
        """Publish the newest state, unless that was done. Any thread."""
        with self._pool.lock:
            newest = self._newest
            self.forget()
        with self._lock:
            if newest is None or self._has_ended:
                return
            self._due_s = time.monotonic() + 1 / self._throttle.hz
            state, stamp_ns, origin = newest
            payload = None if state is None else to_payload(state.cpu()).numpy()
            message = Image()
            write_state(message, self._form, payload, stamp_ns, origin)
            self._states.publish(message)

    def _send_as_task(self) -> None:
        """Worker thread."""
        self.send()
        with self._pool.lock:
            self._pool.wake(self._node)  # what else there was to do had to wait

    def destroy(self) -> None:
        """Leave the topic."""
        with self._lock:
            self._has_ended = True
            self._node.destroy_publisher(self._states)

    def _is_due(self) -> bool:
        return self._send_at_s is not None and time.monotonic() >= self._send_at_s
