"""How states travel between processes: in shared memory on one host, as messages otherwise.

`StateSender` offers both, and makes only what somebody hears. `StateHearer` chooses for its edge:
it asks for the source's ring on this host; where nobody answers, or it cannot be had, it
subscribes to ``state/<node>``, as viewers, recordings and other hosts do. Within a process states
are handed on by reference, and nothing here is used.

A notice does not take the way through DDS: at 30 Hz a small message takes a millisecond, and the
waking of a process itself a few hundredths of that (``benchmarks/hop.py``).

Threads: a sender is used by one worker at a time. A hearer chooses in the executor thread, and
states in shared memory come in the thread of the process's lines.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import torch
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image
from torch import Tensor

from streaming_net_ros.errors import RunError, StateError, TransportError
from streaming_net_ros.frames import Origin
from streaming_net_ros.frames.ledger import system_ns
from streaming_net_ros.network.upload import uploader_to
from streaming_net_ros.nodes import topics
from streaming_net_ros.nodes.diagnostics import Health
from streaming_net_ros.nodes.listeners import Listeners
from streaming_net_ros.nodes.peers import publishers_of
from streaming_net_ros.wire import (
    Notice,
    Outlet,
    RingReader,
    RingWriter,
    ask,
    pack_notice,
    read_notice,
    read_state,
    write_state,
)

if TYPE_CHECKING:
    from streaming_net_ros.nodes.container import Container

Transport = Literal["none yet", "shared_memory", "message"]
# (batch or None for silence, stamp, origin, time of sending)
Take = Callable[[Tensor | None, int, Origin, int | None], None]
ASK_AGAIN_S = 5.0  # who could not lend, or hangs: to ask costs time, at most two seconds
_GHOST_S = 6.0  # a killed process stays in the ROS graph for so long (config/fastdds.xml: 5 s)


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
        self._lock = threading.Lock()
        self._ring: RingWriter | None = None
        self._outlet: Outlet | None = None
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
        """Nodes that hear the states in shared memory."""
        return frozenset() if self._outlet is None else self._outlet.hearers

    @property
    def is_heard(self) -> bool:
        """True if some other process hears the states, one way or the other."""
        return (self._outlet is not None and self._outlet.is_heard) or bool(self._has_listeners)

    def reset(self) -> None:
        """A run begins: ask anew who listens."""
        self._has_listeners.reset()

    def send(self, payload: NDArray[Any] | None, stamp_ns: int, origin: Origin) -> None:
        """Send a state every way in which it is heard.

        Args:
            payload: its numbers, flat, in the order height, width, channel; None: there is none
                in this frame.
            stamp_ns: the frame's grid stamp.
            origin: what it is made of.
        """
        sent_ns = system_ns() if self._stamps_time else None
        outlet = self._outlet
        if outlet is not None and outlet.is_heard:
            with (
                self._lock
            ):  # a job of before a reset may still be at it, and `close` comes any time
                if self._ring is not None:
                    number = 0 if payload is None else self._ring.write(payload)
                    outlet.send(pack_notice(Notice(number, stamp_ns, origin, sent_ns)))
        if self._has_listeners:
            write_state(self._message, self._form, payload, stamp_ns, origin, sent_ns=sent_ns)
            self.states.publish(self._message)

    def close(self) -> None:
        """Leave the topic and lend no more."""
        if self._outlet is not None:
            self._container.lines.withdraw(self._outlet)
            self._outlet = None
        self._node.destroy_publisher(self.states)
        with self._lock:
            if self._ring is not None:
                self._ring.close()
            self._ring = None

    def _offer(self) -> None:
        try:
            name = self._container.line_name(self._form.name)
            self._outlet = self._container.lines.offer(name, self._lend)
        except TransportError as error:
            self.refusal = f"states leave as messages: {error}"
            self._node.get_logger().warning(self.refusal)

    def _lend(self) -> int:
        """The lines' thread: the ring is made when the first one asks for it."""
        with self._lock:
            if self._ring is None:
                self._ring = RingWriter(self._container.ring_slots, self._form.size_bytes)
            return self._ring.descriptor()


class StateHearer:
    """Hears the states of one source that lives in another process.

    Args:
        node: that hears.
        source: the group or input.
        container: of the node.
        take: is handed every state.
        refuse: is told of what is no such state.

    Attributes:
        reason: why states come as messages.
        is_fallback: true if there is shared memory, and it could not be used.
        lost: states that were overwritten before they were read, or whose notice was missed.
    """

    def __init__(
        self,
        node: Node,
        source: str,
        container: Container,
        take: Take,
        refuse: Callable[[StateError], None],
    ) -> None:
        self._node = node
        self._source = source
        self._container = container
        self._form = container.formats[source]
        self._uploader = uploader_to(container.device)
        self._take = take
        self._refuse = refuse
        self._line: socket.socket | None = None
        self._ring: RingReader | None = None
        self._spare = self._fresh()
        self._states: Subscription | None = None
        self._no_messages_until_s = self._no_question_until_s = 0.0
        self._newest = 0  # number of the newest state of this ring that was told of
        self.reason = ""
        self.is_fallback = False
        self.lost = 0
        self.look()

    @property
    def transport(self) -> Transport:
        """How states come."""
        if self._ring is not None:
            return "shared_memory"
        return "none yet" if self._states is None else "message"

    @property
    def is_matched(self) -> bool:
        """True if the way is chosen, and the source found on it."""
        if self._ring is not None:
            return True
        return self._states is not None and publishers_of(self._node, self._states) > 0

    def look(self) -> None:
        """Choose a way once the source is there; take shared memory where that appears later."""
        if self._ring is not None:
            if self._states is not None:  # the ring is open: no state is lost between the two
                self._node.destroy_subscription(self._states)
                self._states = None
        elif self._container.settings.transport == "message":
            self._hear_messages("parameter transport")
        elif self._may_choose:
            # Looked at before it is asked: who is found in the graph has offered its ring already.
            is_there = self._is_there()
            if not self._connect() and is_there:
                self._hear_messages("no line to its process: another host")

    def health(self, health: Health) -> None:
        """Adds what is to be said of this edge."""
        health.values[f"transport/{self._source}"] = self.transport
        if self.transport == "message":
            health.values[f"transport_reason/{self._source}"] = self.reason
        if self.is_fallback:
            health.warnings.append(f"states of '{self._source}' come as messages: {self.reason}")
        if self.lost:
            health.values[f"overwritten/{self._source}"] = str(self.lost)
            health.warnings.append(
                f"{self.lost} states of '{self._source}' were overwritten or missed"
            )

    def close(self) -> None:
        """Hear no more."""
        if self._line is not None:
            self._container.lines.hang_up(self._line)
        if self._states is not None:
            self._node.destroy_subscription(self._states)
        self._line = self._ring = self._states = None

    # --- choosing (executor thread) ----------------------------------------------------------

    @property
    def _may_choose(self) -> bool:
        """In lockstep a choice stands: no state may be lost, or come twice."""
        if self._states is None:
            return True
        is_realtime = self._container.settings.mode == "realtime"
        return is_realtime and time.monotonic() >= self._no_question_until_s

    def _connect(self) -> bool:
        """Ask for the ring; one that is there and cannot be used is a fallback.

        Returns:
            True if somebody has answered, and a way is chosen.
        """
        try:
            name = self._container.line_name(self._source)
            given = ask(name, self._node.get_name(), self._container.patience_s)
            if given is None:
                return False
            line, descriptor = given
            if descriptor is None:
                line.close()
                raise TransportError("its process lends no shared memory")
            try:
                ring = RingReader(descriptor, self._form.size_bytes)
            except TransportError:
                line.close()
                raise
            finally:
                os.close(descriptor)
        except TransportError as error:
            if not self.is_fallback:
                self._node.get_logger().warning(
                    f"states of '{self._source}' come as messages: {error}"
                )
            self.is_fallback = True
            self._no_question_until_s = time.monotonic() + ASK_AGAIN_S
            self._hear_messages(str(error))
            return True
        self._newest = 0
        self._line, self._ring = line, ring
        self.reason, self.is_fallback = "", False
        self._container.lines.hear(line, self._on_notice, self._on_end)
        return True

    def _is_there(self) -> bool:
        """Is the source in the graph, and not only the ghost of one that was here just now?"""
        return (
            time.monotonic() > self._no_messages_until_s
            and self._node.count_publishers(topics.state(self._source)) > 0
        )

    def _hear_messages(self, reason: str) -> None:
        self.reason = reason
        if self._states is None:
            self._states = self._node.create_subscription(
                Image,
                topics.state(self._source),
                self._on_state,
                topics.reliable(self._container.queue_depth),
                qos_overriding_options=topics.overridable(),
            )

    # --- arrivals ----------------------------------------------------------------------------

    def _on_notice(self, packet: bytes) -> None:
        """The lines' thread."""
        ring = self._ring
        if ring is None:
            return
        try:
            notice = read_notice(packet)
        except TransportError as error:
            self._refuse(StateError(str(error), where=f"line of {self._source}"))
            return
        if not notice.number:
            with self._container.pool.helping():
                self._take(None, notice.stamp_ns, notice.origin, notice.sent_ns)
            return
        if self._newest and notice.number > self._newest + 1:
            missed = notice.number - self._newest - 1
            self._lose(missed, f"{missed} states before state {notice.number} were missed")
        self._newest = notice.number
        payload, numbers = self._spare
        if ring.read(notice.number, numbers):
            with self._container.pool.helping():
                self._hand_on(payload, notice.stamp_ns, notice.origin, notice.sent_ns)
        else:
            self._lose(1, f"state {notice.number} was overwritten before it was read")
        self._spare = self._fresh()  # for the next state, when nobody waits for it

    def _fresh(self) -> tuple[Tensor, NDArray[Any]]:
        """Memory for a state, and the same as numpy sees it."""
        payload = self._uploader.memory(self._form.numbers, getattr(torch, self._form.dtype))
        return payload, payload.numpy()

    def _on_end(self) -> None:
        """The lines' thread: the other process has ended, or takes its leave."""
        self._no_messages_until_s = time.monotonic() + _GHOST_S
        self._line = self._ring = None

    def _lose(self, count: int, what: str) -> None:
        self.lost += count
        where = f"edge {self._source} -> {self._node.get_name()}"
        self._node.get_logger().warning(f"{where}: {what}", throttle_duration_sec=1.0)
        if self._container.settings.mode == "lockstep":
            self._container.fail(RunError(f"{what}, in lockstep", where=where))

    def _on_state(self, message: Image) -> None:
        """Executor thread."""
        try:
            given = read_state(message, self._form)
        except StateError as error:
            self._refuse(error)
            return
        if given.payload is None:
            self._take(None, given.stamp_ns, given.origin, given.sent_ns)
        else:
            payload = torch.from_numpy(given.payload)
            self._hand_on(payload, given.stamp_ns, given.origin, given.sent_ns)

    def _hand_on(
        self, payload: Tensor, stamp_ns: int, origin: Origin, sent_ns: int | None
    ) -> None:
        batch = self._uploader.upload(payload, self._form.shape)
        self._take(batch, stamp_ns, origin, sent_ns)
