"""What the network hears from outside: cameras and other messages, decoded and handed on.

Threads: everything here runs in the executor thread.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from streaming_net_ros.errors import ImageError, RunError, StateError
from streaming_net_ros.network import ImageInput, VectorInput
from streaming_net_ros.nodes import topics
from streaming_net_ros.wire import decode_camera, fit_image, read_fields, read_stamp_ns

if TYPE_CHECKING:
    from streaming_net_ros.nodes.container import Container
    from streaming_net_ros.nodes.member import MemberNode

Hear = Callable[[str, NDArray[Any], int], None]  # (input, flat numbers, capture time in ns)


class InputTopics:
    """Subscriptions to all inputs of a network.

    Args:
        node: that subscribes.
        container: of the node.
        hear: is handed what could be understood.

    Attributes:
        refused: messages that could not be understood.
        last_refusal: why the last of them could not.
    """

    def __init__(self, node: MemberNode, container: Container, hear: Hear) -> None:
        self._node = node
        self._container = container
        self._hear = hear
        self.refused = 0
        self.last_refusal = ""
        self._subscriptions: list[Subscription] = []

    def join(self) -> None:
        """Hear the topics from now on.

        Raises:
            RunError: an input's message type is not installed.
        """
        settings = self._container.settings
        qos = topics.camera(settings.mode, settings.queue_frames)
        for name, given in self._container.spec.inputs.items():
            if isinstance(given, ImageInput):
                wanted = [(Image, name), (CompressedImage, topics.compressed(name))]
                on_message = partial(self._on_image, name, given)
            else:
                wanted = [(message_class(given.topic_type), name)]
                on_message = partial(self._on_vector, name, given)
            self._subscriptions += [
                self._node.create_subscription(
                    kind, topic, on_message, qos, qos_overriding_options=topics.overridable()
                )
                for kind, topic in wanted
            ]

    def leave(self) -> None:
        """Hear the topics no more."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()

    def _on_image(self, name: str, given: ImageInput, message: Any) -> None:
        try:
            image = fit_image(decode_camera(message, given.colour), given.width, given.height)
        except ImageError as error:
            self._refuse(name, error)
            return
        # A view into the message would keep it whole in the queue, and rclpy may reuse it.
        payload = np.array(image, copy=True).reshape(-1)
        self._hear(name, payload, read_stamp_ns(message.header.stamp))

    def _on_vector(self, name: str, given: VectorInput, message: Any) -> None:
        try:
            values = read_fields(message, given.fields, name)
        except StateError as error:
            self._refuse(name, error)
            return
        payload = np.array(values, dtype=np.float32)
        if not np.isfinite(payload).all():
            self._refuse(name, StateError("NaN or infinite", where=f"topic {name}", got=values))
            return
        header = getattr(message, "header", None)
        now_ns = self._container.pool.now_ns()
        self._hear(name, payload, now_ns if header is None else read_stamp_ns(header.stamp))

    def _refuse(self, name: str, error: ImageError | StateError) -> None:
        self.refused += 1
        self.last_refusal = f"{name}: {error}"
        self._node.get_logger().error(self.last_refusal, throttle_duration_sec=1.0)


def message_class(name: str) -> Any:
    """The class of ``package/msg/Type``.

    Raises:
        RunError: it is not installed here.
    """
    package, _, kind = name.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), kind)
    except (ImportError, AttributeError):
        raise RunError(
            f"message type {name} is not installed",
            where="inputs: topic_type",
            remedy=f"install the ROS package {package}",
        ) from None
