"""What a sender lends to other processes of its host: a ring, and notices of what lies in it.

`Loan` is one such offer, and `borrow` takes it up; who it is for is decided by its name. What a
process shares of its GPU's memory is found here too. Imported by ``sending`` and ``hearing``.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import torch
from rclpy.node import Node

from streaming_net_ros.errors import TransportError
from streaming_net_ros.frames import Origin
from streaming_net_ros.wire import CudaMemory, DeviceMemory, Notice, Tell, ask, pack_notice

if TYPE_CHECKING:
    from streaming_net_ros.nodes.container import Container

_Ring = TypeVar("_Ring")
Payload_contra = TypeVar("Payload_contra", contravariant=True)


class LentRing(Protocol[Payload_contra]):
    """A ring as it is written."""

    def write(self, payload: Payload_contra, /, tell: Tell = ...) -> int:
        """Put a state into the next slot; its number, which is told when readers may come."""

    def descriptor(self) -> int:
        """What is given to a reader."""

    def close(self) -> None:
        """Let go of the memory."""


class Loan(Generic[Payload_contra]):
    """A ring that is made when the first one asks for it.

    Args:
        container: whose lines it is offered on.
        source: the name that it is asked for by.
        make: makes the ring; called in a thread of the lines, may raise TransportError.

    Raises:
        TransportError: it cannot be offered here.
    """

    def __init__(
        self, container: Container, source: str, make: Callable[[], LentRing[Payload_contra]]
    ) -> None:
        self._lines = container.lines
        self._make = make
        self._lock = threading.Lock()
        self._ring: LentRing[Payload_contra] | None = None
        self._has_ended = False
        self._outlet = self._lines.offer(container.line_name(source), self._lend)

    @property
    def hearers(self) -> frozenset[str]:
        """Nodes that have it."""
        return self._outlet.hearers

    @property
    def is_heard(self) -> bool:
        """True if anybody has it."""
        return self._outlet.is_heard

    def send(
        self, payload: Payload_contra | None, stamp_ns: int, origin: Origin, sent_ns: int | None
    ) -> None:
        """Write a state and tell of it; None: tell that there is none. Any thread."""

        def tell(number: int) -> None:
            self._outlet.send(pack_notice(Notice(number, stamp_ns, origin, sent_ns)))

        # At full speed a hearer that comes early only takes the core away from who still copies.
        is_early = sent_ns is not None

        # A job of before a reset may still be at it, and `close` comes any time.
        with self._lock:
            if self._ring is None:
                return
            if payload is None:
                tell(0)
            elif is_early:
                self._ring.write(payload, tell=tell)
            else:
                tell(self._ring.write(payload))

    def close(self) -> None:
        """Lend no more."""
        self._lines.withdraw(self._outlet)
        with self._lock:
            self._has_ended = True
            if self._ring is not None:
                self._ring.close()
            self._ring = None

    def _lend(self) -> int:
        """A thread of the lines."""
        with self._lock:
            if self._has_ended:
                raise TransportError("the sender has just ended")
            if self._ring is None:
                self._ring = self._make()
            return self._ring.descriptor()


def borrow(
    container: Container, hearer: Node, source: str, open_ring: Callable[[int], _Ring]
) -> tuple[socket.socket, _Ring] | None:
    """Ask for a ring of this host.

    Args:
        container: of the hearer.
        hearer: who asks.
        source: the name that it is asked for by.
        open_ring: makes a reader of a descriptor, which it leaves open.

    Returns:
        The line, for the caller to close, and the reader; None if nobody lends under that name.

    Raises:
        TransportError: it is there and cannot be had.
    """
    given = ask(container.line_name(source), hearer.get_name(), container.patience_s)
    if given is None:
        return None
    line, descriptor = given
    if descriptor is None:
        line.close()
        raise TransportError("its process lends no shared memory")
    try:
        return line, open_ring(descriptor)
    except TransportError:
        line.close()
        raise
    finally:
        os.close(descriptor)


def on_device(source: str) -> str:
    """The name under which a source's states are to be had in the memory of its GPU."""
    return f"{source}/cuda_ipc"


@cache
def device_memory_of(device: torch.device) -> DeviceMemory | None:
    """What this process shares of its GPU's memory; None on the CPU.

    Raises:
        TransportError: it cannot share any.
    """
    if device.type != "cuda":
        return None
    ordinal = torch.cuda.current_device() if device.index is None else device.index
    uuid = getattr(torch.cuda.get_device_properties(ordinal), "uuid", None)
    if uuid is None:
        raise TransportError("this torch does not tell which GPU it is", remedy="a newer torch")
    return CudaMemory(ordinal, str(uuid))
