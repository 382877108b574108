"""A ring whose slots lie in the memory of a GPU: states go from process to process on the device.

The sequence numbers are those of ``ring``, in a sealed memfd of the host; the memfd also says
which GPU it is, and carries the handle by which another process opens the device's memory. A copy
is complete on return, so that on both sides it lies between two marks, or two looks.

What calls the GPU is behind ``DeviceMemory``; ``cuda`` has the one for CUDA. Device memory is its
address here; torch is not known.
"""

from __future__ import annotations

import struct
import threading
import weakref
from abc import ABC, abstractmethod

from streaming_net_ros.errors import TransportError
from streaming_net_ros.wire.ring import WRITE_S, SequenceReader, SequenceWriter, Tell, tell_nobody

_MAGIC = 0x3156454452544E53  # "SNTRDEV1", little-endian
_NOTE = struct.Struct("=64s64s")  # handle, UUID
_ALIGNED = 512  # bytes; what kernels and copies like best


class DeviceMemory(ABC):
    """Memory of one GPU that processes share. From any thread.

    Memory that was lent is not freed while this process lives, because to free it while another
    process has it open is undefined: it is kept, and used again for the next ring of that size.

    Args:
        uuid: of the GPU, the same in every process.
    """

    def __init__(self, uuid: str) -> None:
        self.uuid = uuid
        self._spare: dict[int, list[int]] = {}
        self._lock = threading.Lock()

    def take(self, size: int) -> int:
        """The address of so many bytes.

        Raises:
            TransportError: there are none.
        """
        with self._lock:
            kept = self._spare.get(size)
            return kept.pop() if kept else self.allocate(size)

    def keep(self, address: int, size: int) -> None:
        """Nobody writes there any more until it is taken again."""
        with self._lock:
            self._spare.setdefault(size, []).append(address)

    @abstractmethod
    def allocate(self, size: int) -> int:
        """The address of new memory."""

    @abstractmethod
    def handle(self, address: int) -> bytes:
        """What another process opens this memory by: 64 bytes."""

    @abstractmethod
    def open(self, handle: bytes) -> int:
        """The address of another process's memory here."""

    @abstractmethod
    def close(self, address: int) -> None:
        """Let go of another process's memory. Raises nothing."""

    @abstractmethod
    def copy(self, target: int, source: int, size: int) -> None:
        """Copy within the device; complete on return."""


class DeviceRingWriter(SequenceWriter):
    """The writing side; its owner calls ``write`` from one thread at a time.

    Args:
        slots: states that the ring holds, at least 2.
        state_bytes: bytes of one state.
        memory: of the GPU.

    Raises:
        TransportError: there is no such memory here, or it cannot be shared.
    """

    magic = _MAGIC

    def __init__(self, slots: int, state_bytes: int, memory: DeviceMemory) -> None:
        self._device = memory
        self._stride = _aligned(state_bytes)
        self._size = slots * self._stride
        self._first = memory.take(self._size)
        try:
            note = _NOTE.pack(memory.handle(self._first), memory.uuid.encode())
            super().__init__(slots, state_bytes, 0, note)
        except TransportError:
            memory.keep(self._first, self._size)
            raise

    def write(self, address: int, tell: Tell = tell_nobody) -> int:
        """Put a state into the next slot.

        Args:
            address: of its numbers on the device, flat, complete.
            tell: is told its number once it lies there.

        Returns:
            The state's number in this ring: 1, 2, ...
        """
        number, slot = self._begin()
        self._device.copy(self._first + slot * self._stride, address, self.state_bytes)
        self._end(number, slot)
        tell(number)
        return number

    def close(self) -> None:
        """Let go of the memory: from now on its readers find nothing there."""
        self._sequences[:] = 0
        self._order()  # before a new ring writes to the same memory
        self._device.keep(self._first, self._size)
        super().close()


class DeviceRingReader(SequenceReader):
    """The reading side. The device's memory is let go of when nobody uses the reader any more.

    Args:
        descriptor: of the writer's ring; mapped and left open.
        state_bytes: bytes of the state that is expected.
        memory: of the GPU of this process.

    Raises:
        TransportError: it is no such ring, not of such states, on another GPU, or cannot be
            opened.
    """

    magic = _MAGIC

    def __init__(self, descriptor: int, state_bytes: int, memory: DeviceMemory) -> None:
        super().__init__(descriptor, state_bytes, 0)
        handle, uuid = _NOTE.unpack(self._note[: _NOTE.size].tobytes())
        told = uuid.rstrip(b"\0").decode(errors="replace")
        if told != memory.uuid:
            raise TransportError(
                "the sender computes on another GPU", expected=memory.uuid, got=told
            )
        self._device = memory
        self._stride = _aligned(state_bytes)
        self._first = memory.open(handle)
        # When the last user is gone: another thread may be in the middle of a copy.
        weakref.finalize(self, memory.close, self._first).atexit = False

    def read(self, number: int, into: int, timeout_s: float = WRITE_S) -> bool:
        """Copy a state out of its slot.

        Args:
            number: of the state in this ring, from 1.
            into: address on the device that takes its numbers; of no worth if the answer is False.
            timeout_s: how long to wait for a state that is being written.

        Returns:
            False if the state is not there whole: overwritten, or not yet written.

        Raises:
            TransportError: the device cannot copy it.
        """
        if not self.comes(number, timeout_s):
            return False
        self._order()
        slot = number % self._slots
        self._device.copy(into, self._first + slot * self._stride, self.state_bytes)
        self._order()
        return self._has(number)


def _aligned(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED
