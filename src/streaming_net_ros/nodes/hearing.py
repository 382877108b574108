"""How the states of another process come: in shared memory on one host, as messages otherwise.

`StateHearer` chooses for its edge: it asks for the source's ring on this host; where nobody
answers, or it cannot be had, it subscribes to ``state/<node>``, as viewers, recordings and other
hosts do. On a GPU it asks for a ring in the memory of that GPU first (``sending``).

A notice does not take the way through DDS: at 30 Hz a small message takes a millisecond, and the
waking of a process itself a few hundredths of that (``benchmarks/hop.py``).

Threads: a hearer chooses in the executor thread, and states in shared memory come in the threads
of the process's lines.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import torch
from rclpy.node import Node
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image
from torch import Tensor

from streaming_net_ros.errors import RunError, StateError, TransportError
from streaming_net_ros.frames import Origin
from streaming_net_ros.frames.ledger import system_ns
from streaming_net_ros.network.upload import uploader_to
from streaming_net_ros.nodes import topics
from streaming_net_ros.nodes.diagnostics import Health
from streaming_net_ros.nodes.loans import borrow, device_memory_of, on_device
from streaming_net_ros.nodes.peers import publishers_of
from streaming_net_ros.nodes.ring_states import Borrowed, RingStates
from streaming_net_ros.wire import (
    DeviceRingReader,
    Notice,
    RingReader,
    ServeOn,
    read_notice,
    read_state,
)

if TYPE_CHECKING:
    from streaming_net_ros.nodes.container import Container

Transport = Literal["none yet", "cuda_ipc", "shared_memory", "message"]
Take = Callable[[Tensor | None, int, Origin], None]  # (batch or None for silence, stamp, origin)
TellHop = Callable[[int, int], None]  # (stamp, ns from its sending to its arrival)
ASK_AGAIN_S = 5.0  # who could not lend, or hangs: to ask costs time, at most two seconds
_GHOST_S = 6.0  # a killed process stays in the ROS graph for so long (config/fastdds.xml: 5 s)


class StateHearer:
    """Hears the states of one source that lives in another process.

    Args:
        node: that hears.
        source: the group or input.
        container: of the node.
        take: is handed every state.
        tell_hop: is told how long it was on its way, once it has been used; in realtime.
        refuse: is told of what is no such state.
        borrows: states in shared memory are used where they lie, without a copy: ask ``has``
            behind every use. Only on the CPU.

    Attributes:
        reason: why states come in a slower way than this process could take.
        is_fallback: true if a faster way is there, and could not be used.
        lost: states that were overwritten before they were read, or whose notice was missed.
    """

    def __init__(
        self,
        node: Node,
        source: str,
        container: Container,
        *,
        take: Take,
        tell_hop: TellHop,
        refuse: Callable[[StateError], None],
        borrows: bool = False,
    ) -> None:
        self._node = node
        self._borrowed = Borrowed() if borrows else None
        self._source = source
        self._container = container
        self._form = container.formats[source]
        self._uploader = uploader_to(container.device)
        self._take = take
        self._tell_hop = tell_hop
        self._refuse = refuse
        self._line: socket.socket | None = None
        self._ring: RingStates | None = None
        self._is_of_group = source in container.rules  # an input is taken up from the host
        self._device_reason = ""  # why not by the memory of the GPU, if that was tried
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
        if (opened := self._ring) is not None:
            is_on_device = isinstance(opened.ring, DeviceRingReader)
            return "cuda_ipc" if is_on_device else "shared_memory"
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
            self.reason = "parameter transport"
            self._hear_messages()
        elif self._may_choose:
            # Looked at before it is asked: who is found in the graph has offered its ring already.
            is_there = self._is_there()
            if not self._connect() and is_there:
                self.reason = "no line to its process: another host"
                self._hear_messages()

    def health(self, health: Health) -> None:
        """Adds what is to be said of this edge."""
        health.values[f"transport/{self._source}"] = self.transport
        if self.reason:
            health.values[f"transport_reason/{self._source}"] = self.reason
        if self.is_fallback:
            health.warnings.append(self._fallback_told)
        if self.lost:
            health.values[f"overwritten/{self._source}"] = str(self.lost)
            health.warnings.append(
                f"{self.lost} states of '{self._source}' were overwritten or missed"
            )

    def close(self) -> None:
        """Hear no more."""
        self._hang_up()
        if self._states is not None:
            self._node.destroy_subscription(self._states)
        self._states = None

    def _hang_up(self) -> None:
        if self._line is not None:
            self._container.lines.hang_up(self._line)
        self._line = self._ring = None

    # --- choosing (executor thread) ----------------------------------------------------------

    @property
    def _may_choose(self) -> bool:
        """In lockstep a choice stands: no state may be lost, or come twice."""
        if self._states is None:
            return True
        is_realtime = self._container.settings.mode == "realtime"
        return is_realtime and time.monotonic() >= self._no_question_until_s

    def _connect(self) -> bool:
        """Ask for the rings; one that is there and cannot be used is a fallback.

        Returns:
            True if somebody has answered, and a way is chosen.
        """
        size = self._form.size_bytes
        given: tuple[socket.socket, RingReader | DeviceRingReader] | None
        try:
            given = self._borrow_of_device() or borrow(
                self._container, self._node, self._source, lambda lent: RingReader(lent, size)
            )
        except TransportError as error:
            self._no_question_until_s = time.monotonic() + ASK_AGAIN_S
            self._hear_messages()
            self._fall_back(str(error))
            return True
        if given is None:
            return False
        self._newest = 0
        self._line, ring = given
        self._ring = RingStates(ring, self._form, self._container, self._borrowed)
        self.reason, self.is_fallback = self._device_reason, bool(self._device_reason)
        self._container.lines.hear(self._line, self._on_notice, self._on_end)
        return True

    def _borrow_of_device(self) -> tuple[socket.socket, DeviceRingReader] | None:
        """The ring in the memory of this GPU, if its sender has one there.

        What fails is not tried again: the same two processes would fail again.
        """
        size = self._form.size_bytes
        try:
            may_be = self._is_of_group and not self._device_reason
            memory = device_memory_of(self._container.device) if may_be else None
            if memory is None:
                return None
            return borrow(
                self._container,
                self._node,
                on_device(self._source),
                lambda lent: DeviceRingReader(lent, size, memory),
            )
        except TransportError as error:
            self._leave_device(str(error))
            return None

    def _leave_device(self, reason: str) -> None:
        self._device_reason = reason
        self._fall_back(reason)

    def _fall_back(self, reason: str) -> None:
        before, self.reason, self.is_fallback = self.reason, reason, True
        if reason != before:
            self._node.get_logger().warning(self._fallback_told)

    @property
    def _fallback_told(self) -> str:
        way = "through the host" if self._states is None else "as messages"
        return f"states of '{self._source}' come {way}: {self.reason}"

    def _is_there(self) -> bool:
        """Is the source in the graph, and not only the ghost of one that was here just now?"""
        return (
            time.monotonic() > self._no_messages_until_s
            and self._node.count_publishers(topics.state(self._source)) > 0
        )

    def _hear_messages(self) -> None:
        if self._states is None:
            self._states = self._node.create_subscription(
                Image,
                topics.state(self._source),
                self._on_state,
                topics.reliable(self._container.queue_depth),
                qos_overriding_options=topics.overridable(),
            )

    # --- arrivals ----------------------------------------------------------------------------

    def _on_notice(self, packet: bytes, serve_on: ServeOn) -> None:
        """A thread of the lines; of this one, one at a time until it is served on."""
        ring = self._ring
        if ring is None:
            return
        try:
            notice = read_notice(packet)
        except TransportError as error:
            self._refuse(StateError(str(error), where=f"line of {self._source}"))
            return
        if not notice.number:
            self._hand_on(None, notice, serve_on)
            return
        if self._newest and notice.number > self._newest + 1:
            missed = notice.number - self._newest - 1
            self._lose(missed, f"{missed} states before state {notice.number} were missed")
        self._newest = notice.number
        try:
            batch = ring.take(notice)
        except TransportError as error:  # of the device: ``look`` finds another way
            self._leave_device(str(error))
            self._hang_up()
            batch = None
        if batch is None:
            self._lose(1, f"state {notice.number} was overwritten before it was read, or never "
                          "finished")  # fmt: skip
            return
        self._hand_on(batch, notice, serve_on)
        ring.prepare()

    def _hand_on(self, batch: Tensor | None, notice: Notice, serve_on: ServeOn) -> None:
        """Give the state to the group, compute with it, and tell then what it took to come."""
        hop_ns = None if notice.sent_ns is None else system_ns() - notice.sent_ns
        with self._container.pool.helping(serve_on):
            self._take(batch, notice.stamp_ns, notice.origin)
        if hop_ns is not None:
            self._tell_hop(notice.stamp_ns, hop_ns)

    def _on_end(self) -> None:
        """A thread of the lines: the other process has ended, or takes its leave."""
        self._no_messages_until_s = time.monotonic() + _GHOST_S
        self._line = self._ring = None

    def has(self, frame: int, batch: Tensor) -> bool:
        """Is a state still what it was when it was handed on as that of a frame? Any thread."""
        return self._borrowed is None or self._borrowed.has(frame, batch)

    def lose(self, frame: int) -> None:
        """The state of a frame was overwritten while it was used: what came of that is nothing.

        The group takes longer than a state lies there: it is given copies from now on.
        """
        if (opened := self._ring) is not None:
            opened.copy_from_now_on()
        self._lose(1, f"the state of frame {frame} was overwritten while it was used")

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
        batch = None
        if given.payload is not None:
            payload = torch.from_numpy(given.payload)
            batch = self._uploader.upload(payload, self._form.shape)
        hop_ns = None if given.sent_ns is None else system_ns() - given.sent_ns
        self._take(batch, given.stamp_ns, given.origin)
        if hop_ns is not None:
            self._tell_hop(given.stamp_ns, hop_ns)
