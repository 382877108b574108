"""What one would write in an afternoon: plain rclpy nodes that pass states as Image messages.

    python benchmarks/naive.py NETWORK NAMESPACE [GROUP]

One group of a chain as a node: the callback of the state before it computes and publishes. Without
a group, the whole network in one node, in the callback of the image. Nothing of the package's own
nodes, transports or queues: default quality of service (reliable, depth 10), default executor,
headers handed on as they came. The layers are the network's own. For ``peers.py``.
"""

from __future__ import annotations

import sys
import warnings
from array import array
from contextlib import suppress

import numpy as np
import rclpy
import torch
from geometry_msgs.msg import TwistStamped
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import Image
from torch import Tensor

from streaming_net_ros.network import StreamingNetwork, read_network_file, rollout_of

DEPTH = 10


def tensor_of(message: Image) -> Tensor:
    """The pixels as (1, channels, height, width): a view."""
    kind = np.uint8 if message.encoding in ("rgb8", "mono8") else np.float32
    flat = np.frombuffer(message.data, dtype=kind)
    pixels = flat.reshape(message.height, message.width, -1)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


def message_of(state: Tensor, header: object) -> Image:
    """A state as an image of 32-bit floats."""
    pixels = state[0].permute(1, 2, 0).contiguous().numpy()
    height, width, channels = pixels.shape
    message = Image(
        header=header,
        height=height,
        width=width,
        step=width * channels * 4,
        encoding=f"32FC{channels}",
    )
    message.data = array("B", pixels.tobytes())  # assigning numpy itself takes 50 ms and more
    return message


class GroupNode(Node):
    """One group of a chain."""

    def __init__(self, network: StreamingNetwork, name: str, namespace: str) -> None:
        super().__init__(name, namespace=namespace)
        spec = network.spec
        self._group = network.group(name)
        (self._source,) = self._group.sources
        answers = [output for output, out in spec.outputs.items() if out.group == name]
        if answers:
            self._answers = self.create_publisher(TwistStamped, f"response/{answers[0]}", DEPTH)
        else:
            self._states = self.create_publisher(Image, f"state/{name}", DEPTH)
        is_camera = self._source in spec.inputs
        topic = self._source if is_camera else f"state/{self._source}"
        self._is_last = bool(answers)
        self.create_subscription(Image, topic, self._on_state, DEPTH)

    def _on_state(self, message: Image) -> None:
        with torch.inference_mode():
            state = self._group({self._source: tensor_of(message)})
        if self._is_last:
            answer = TwistStamped(header=message.header)
            answer.twist.angular.z, answer.twist.linear.x = state[0].tolist()
            self._answers.publish(answer)
        else:
            self._states.publish(message_of(state, message.header))


class WholeNode(Node):
    """The whole network in one callback."""

    def __init__(self, network: StreamingNetwork, namespace: str) -> None:
        super().__init__("plain", namespace=namespace)
        self._network = network
        self._state = network.init_state()
        self._input = network.spec.primary_input
        self._output = next(iter(network.spec.outputs))
        self._answers = self.create_publisher(TwistStamped, f"response/{self._output}", DEPTH)
        self.create_subscription(Image, self._input, self._on_image, DEPTH)

    def _on_image(self, message: Image) -> None:
        with torch.inference_mode():
            self._state, responses = self._network.step(
                self._state, {self._input: tensor_of(message)}
            )
        answer = TwistStamped(header=message.header)
        answer.twist.angular.z, answer.twist.linear.x = responses[self._output][0].tolist()
        self._answers.publish(answer)


def main() -> None:
    path, namespace, *group = sys.argv[1:]
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
    torch.set_num_threads(1)
    spec = read_network_file(path)
    rclpy.init()
    network = StreamingNetwork(spec, rollout_of(spec, "sequential")).eval()
    node = GroupNode(network, group[0], namespace) if group else WholeNode(network, namespace)
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(node)


if __name__ == "__main__":
    main()
