"""How the states of a node leave its process: in shared memory on one host, and as messages.

`StateSender` offers both, and makes only what somebody hears. A group on a GPU lends a ring in the
memory of that GPU besides, and whoever computes there asks for it first (``hearing``). Within a
process states are handed on by reference, and nothing here is used.

A sender is used by one worker at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image
from torch import Tensor

from streaming_net_ros.errors import TransportError
from streaming_net_ros.frames import Origin
from streaming_net_ros.frames.ledger import system_ns
from streaming_net_ros.nodes import topics
from streaming_net_ros.nodes.listeners import Listeners
from streaming_net_ros.nodes.loans import Loan, device_memory_of, on_device
from streaming_net_ros.wire import DeviceRingWriter, RingWriter, write_state

if TYPE_CHECKING:
    from streaming_net_ros.nodes.container import Container


class StateSender:
    """Sends the states of one node to other processes.

    Args:
        node: that sends.
        name: the group or input whose states they are.
        container: of the node.

    Attributes:
        states: publishes them as messages.
        refusal: why nobody can have them in shared memory; empty if all can who may.
    """

    def __init__(self, node: Node, name: str, container: Container) -> None:
        self._node = node
        self._container = container
        self._form = container.formats[name]
        self._stamps_time = container.settings.mode == "realtime"
        self._of_host: Loan[NDArray[Any]] | None = None
        self._of_device: Loan[int] | None = None
        self.refusal = ""
        if container.settings.transport == "auto" and container.hearers_outside(name):
            self._offer()  # before the topic exists: who finds the topic must find the ring
        self.states: Publisher = node.create_publisher(
            Image,
            topics.state(name),
            topics.reliable(container.queue_depth),
            qos_overriding_options=topics.overridable(),
        )
        self._has_listeners = Listeners(self.states)
        self._message = Image()

    @property
    def hearers(self) -> frozenset[str]:
        """Nodes that hear the states in memory that they share."""
        loans = [loan for loan in (self._of_device, self._of_host) if loan is not None]
        return frozenset[str]().union(*(loan.hearers for loan in loans))

    @property
    def is_heard(self) -> bool:
        """True if some other process hears the states by the host's memory or as messages."""
        return (self._of_host is not None and self._of_host.is_heard) or bool(self._has_listeners)

    def reset(self) -> None:
        """A run begins: ask anew who listens."""
        self._has_listeners.reset()

    def share(self, batch: Tensor | None, stamp_ns: int, origin: Origin) -> None:
        """Send a state to those that compute on the same GPU, if there are any.

        Args:
            batch: the state on the device, complete, in the layout of states; None: there is none
                in this frame.
            stamp_ns: the frame's grid stamp.
            origin: what it is made of.
        """
        loan = self._of_device
        if loan is not None and loan.is_heard:
            address = None if batch is None else batch.data_ptr()
            loan.send(address, stamp_ns, origin, self._now_ns())

    def send(self, payload: NDArray[Any] | None, stamp_ns: int, origin: Origin) -> None:
        """Send a state in every way of the host in which it is heard.

        Args:
            payload: its numbers, flat, in the order height, width, channel; None: there is none
                in this frame.
            stamp_ns: the frame's grid stamp.
            origin: what it is made of.
        """
        sent_ns = self._now_ns()
        loan = self._of_host
        if loan is not None and loan.is_heard:
            loan.send(payload, stamp_ns, origin, sent_ns)
        if self._has_listeners:
            write_state(self._message, self._form, payload, stamp_ns, origin, sent_ns=sent_ns)
            self.states.publish(self._message)

    def close(self) -> None:
        """Leave the topic and lend no more."""
        for loan in (self._of_device, self._of_host):
            if loan is not None:
                loan.close()
        self._of_device = self._of_host = None
        self._node.destroy_publisher(self.states)

    def _now_ns(self) -> int | None:
        return system_ns() if self._stamps_time else None

    def _offer(self) -> None:
        """That of the device first: who finds the other one may have it."""
        name, slots, size = self._form.name, self._container.ring_slots, self._form.size_bytes
        try:
            # An input is made on the host: every process that hears it takes it up by itself.
            memory = (
                device_memory_of(self._container.device) if name in self._container.rules else None
            )
            if memory is not None:
                self._of_device = Loan(
                    self._container,
                    on_device(name),
                    lambda: DeviceRingWriter(slots, size, memory),
                )
        except TransportError as error:
            self._refuse(f"states leave through the host: {error}")
        try:
            self._of_host = Loan(self._container, name, lambda: RingWriter(slots, size))
        except TransportError as error:
            self._refuse(f"states leave as messages: {error}")

    def _refuse(self, why: str) -> None:
        self.refusal = why
        self._node.get_logger().warning(why)
