"""States for whoever looks on: ``state/<node>/throttled``, a few a second.

What the network itself hears leaves every frame, whole and reliably. A page, a plotter or a human
needs a few states a second: they get those here, best effort, and cost the network nothing while
nobody looks. (As ``topic_tools throttle`` does it, without making what is then thrown away.)
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import Image

from streaming_net_ros.frames import Origin
from streaming_net_ros.nodes import topics
from streaming_net_ros.nodes.listeners import Listeners
from streaming_net_ros.nodes.live import LiveParameters
from streaming_net_ros.nodes.settings import Row
from streaming_net_ros.wire import write_state

if TYPE_CHECKING:
    from streaming_net_ros.nodes.container import Container

_ROW = Row(5.0, "state/NODE/throttled has at most so many states a second (Hz)", 0.1, 1000)


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
    """The throttled states of one node. Used by one worker at a time.

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
        self._due_s = 0.0

    def takes_turn(self) -> bool:
        """Does somebody look on, and is it time? ``send`` must follow."""
        now_s = time.monotonic()
        is_turn = now_s >= self._due_s and bool(self._is_looked_at)
        if is_turn:
            self._due_s = now_s + 1 / self._throttle.hz
        return is_turn

    def send(self, payload: NDArray[Any] | None, stamp_ns: int, origin: Origin) -> None:
        """Publish a state; see ``StateSender.send``."""
        message = Image()
        write_state(message, self._form, payload, stamp_ns, origin)
        self._states.publish(message)

    def destroy(self) -> None:
        """Leave the topic."""
        self._node.destroy_publisher(self._states)
