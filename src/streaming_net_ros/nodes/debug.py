"""Measured times as topics: ``debug/...``, a stamped number each, to plot a running network.

The number is ``vector.x`` of a geometry_msgs/Vector3Stamped: there is no stamped scalar among the
standard messages. Nothing is made or sent unless somebody subscribes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from geometry_msgs.msg import Vector3Stamped
from rclpy.node import Node
from rclpy.publisher import Publisher

from streaming_net_ros.nodes import topics
from streaming_net_ros.nodes.listeners import Listeners
from streaming_net_ros.wire import write_stamp_ns

_DEPTH = 10


class DebugTopics:
    """Publishers of a node's numbers, by name.

    Args:
        node: that publishes.
        names: of the numbers; the topics are these, under ``debug/``.
    """

    def __init__(self, node: Node, names: Iterable[str]) -> None:
        self._node = node
        self._publishers: dict[str, Publisher] = {
            name: node.create_publisher(
                Vector3Stamped, topics.debug(name), topics.reliable(_DEPTH)
            )
            for name in names
        }
        # Nobody is served badly who is heard of a quarter second late.
        self._is_heard = Listeners(*self._publishers.values(), fresh_s=0.25)
        self._listeners = {name: Listeners(p) for name, p in self._publishers.items()}

    @property
    def is_heard(self) -> bool:
        """True if somebody listens to any of them."""
        return bool(self._is_heard)

    def tell(self, name: str, value: float, stamp_ns: int) -> None:
        """Publish a number, if it has a topic and somebody listens. Any thread."""
        publisher = self._publishers.get(name)
        if publisher is None or not self._listeners[name]:
            return
        message: Any = Vector3Stamped()
        write_stamp_ns(message.header.stamp, stamp_ns)
        message.vector.x = float(value)
        publisher.publish(message)

    def destroy(self) -> None:
        """Leave the topics."""
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)
        self._publishers.clear()
