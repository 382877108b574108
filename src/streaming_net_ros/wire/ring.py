"""A ring of slots in shared memory: one writer, any number of readers, nobody waits for anybody.

The memory is a sealed memfd: it has no name in any file system, cannot shrink under a reader, and
the kernel frees it when the last process that maps it has ended, however that process ended.
Readers get its descriptor over a socket (``wire.lines``) and map it read-only.

Each slot has a sequence number (a seqlock): state ``n`` lies in slot ``n % slots``, whose sequence
is ``2 n - 1`` while it is written and ``2 n`` from then on. A reader copies the slot out between
two looks at the sequence, or uses it there; if either is not ``2 n``, what came of it is of no
worth. Readers may be told of a state before it is written, to wake up meanwhile: one that is early
waits for the sequence.

``SequenceWriter`` and ``SequenceReader`` are that alone, wherever the slots lie (``device_ring``:
in the memory of a GPU); ``RingWriter`` and ``RingReader`` have them in the same memory.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming_net_ros.errors import TransportError

_MAGIC = 0x31474E4952544E53  # "SNTRING1", little-endian
_FIELDS = 3  # magic, slots, bytes of a state
_NOTE_AT, NOTE_BYTES = 64, 256  # what a ring says of itself besides, in the header's page
_PAGE = mmap.PAGESIZE
_LINE = 64  # bytes of a cache line: a sequence number has one of its own
_SEAL_FUTURE_WRITE = 0x10  # Linux 5.1; Python 3.11 does not name it
_LOOK_S = 20e-6  # a copy of 1 MiB takes ten times as long
WRITE_S = 0.2  # how long a writer may take that is there
Tell = Callable[[int], None]  # (number of a state)
_REMEDY = "start all nodes with one network file and one version of the package"


def tell_nobody(number: int) -> None:
    """Of a state."""


class Sequences:
    """The layout that both sides share: header, sequence numbers, slots on pages of their own.

    Args:
        memory: all of it.
        slots: states that the ring holds.
        state_bytes: bytes of one state.
        cell_bytes: those of them that lie in this memory: all, or none.
    """

    magic = _MAGIC

    def __init__(self, memory: mmap.mmap, slots: int, state_bytes: int, cell_bytes: int) -> None:
        self.state_bytes = state_bytes
        self._slots = slots
        self._memory = memory
        whole = np.frombuffer(memory, np.uint8)
        at = _FIELDS * 8
        self._header = whole[:at].view(np.uint64)
        self._note = whole[_NOTE_AT : _NOTE_AT + NOTE_BYTES]
        first = _sequences_at()
        lines = whole[first : first + slots * _LINE].view(np.uint64)
        self._sequences = lines.reshape(slots, _LINE // 8)[:, 0]
        first, stride = _slots_at(slots), _on_pages(cell_bytes)
        cells = whole[first : first + slots * stride].reshape(slots, stride)
        self._cells = [cells[slot, :cell_bytes] for slot in range(slots)]
        # Two critical sections one after the other are a full memory barrier on any processor:
        # what stands before the first cannot pass the end of it, nor what follows the second its
        # beginning. Python has no other; x86 keeps the order that is needed here by itself.
        self._barrier = threading.Lock()

    def _order(self) -> None:
        with self._barrier:
            pass
        with self._barrier:
            pass


class SequenceWriter(Sequences):
    """The writing side, without the slots; used from one thread at a time.

    Args:
        slots: states that the ring holds, at least 2.
        state_bytes: bytes of one state.
        cell_bytes: those of them that lie in this memory.
        note: what its readers need besides, at most ``NOTE_BYTES``.

    Raises:
        TransportError: there is no such memory here.
    """

    def __init__(self, slots: int, state_bytes: int, cell_bytes: int, note: bytes = b"") -> None:
        size = _slots_at(slots) + slots * _on_pages(cell_bytes)
        self._descriptor, memory = _sealed_memory(size)
        super().__init__(memory, slots, state_bytes, cell_bytes)
        self._header[:] = (self.magic, slots, state_bytes)
        self._note[: len(note)] = np.frombuffer(note, np.uint8)
        self._written = 0

    def _begin(self) -> tuple[int, int]:
        """The next state's number, and its slot: nobody uses what lies there from now on."""
        number = self._written = self._written + 1
        slot = number % self._slots
        self._sequences[slot] = 2 * number - 1
        self._order()
        return number, slot

    def _end(self, number: int, slot: int) -> None:
        """The state lies in its slot, whole."""
        self._order()
        self._sequences[slot] = 2 * number

    def descriptor(self) -> int:
        """A new descriptor that can only read; the caller closes it.

        Raises:
            TransportError: the system gives none.
        """
        try:
            return os.open(f"/proc/self/fd/{self._descriptor}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise TransportError(f"shared memory cannot be lent ({error.strerror})") from None

    def close(self) -> None:
        """Let go of the memory. Readers keep what they have mapped."""
        os.close(self._descriptor)


class RingWriter(SequenceWriter):
    """The writing side; its owner calls ``write`` from one thread at a time.

    Args:
        slots: states that the ring holds, at least 2.
        state_bytes: bytes of one state.

    Raises:
        TransportError: there is no such memory here.
    """

    def __init__(self, slots: int, state_bytes: int) -> None:
        super().__init__(slots, state_bytes, state_bytes)

    def write(self, payload: NDArray[Any], tell: Tell = tell_nobody) -> int:
        """Put a state into the next slot.

        Args:
            payload: its numbers, flat and contiguous.
            tell: is told its number before it is copied: readers wake up meanwhile.

        Returns:
            The state's number in this ring: 1, 2, ...
        """
        number, slot = self._begin()
        tell(number)
        np.copyto(self._cells[slot], payload.view(np.uint8))
        self._end(number, slot)
        return number


class SequenceReader(Sequences):
    """The reading side, without the slots.

    Args:
        descriptor: of the writer's ring; mapped and left open.
        state_bytes: bytes of the state that is expected.
        cell_bytes: those of them that lie in this memory.

    Raises:
        TransportError: it is no ring, or not of such states.
    """

    def __init__(self, descriptor: int, state_bytes: int, cell_bytes: int) -> None:
        try:
            is_sealed = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK
            size = os.fstat(descriptor).st_size
            memory = mmap.mmap(descriptor, size, mmap.MAP_SHARED, mmap.PROT_READ)
        except (OSError, ValueError) as error:
            raise TransportError(f"cannot map the shared memory ({error})") from None
        header = [int(n) for n in np.frombuffer(memory, np.uint64, min(_FIELDS, size // 8))]
        if not is_sealed or len(header) < _FIELDS or header[0] != self.magic:
            raise TransportError("the shared memory is no ring of states", remedy=_REMEDY)
        _, slots, got_bytes = header
        if got_bytes != state_bytes:
            raise TransportError(
                "the shared memory holds other states",
                expected=f"{state_bytes} bytes",
                got=got_bytes,
                remedy=_REMEDY,
            )
        if not 0 < slots <= size or size < _slots_at(slots) + slots * _on_pages(cell_bytes):
            raise TransportError("the shared memory is smaller than it says", got=size)
        super().__init__(memory, slots, state_bytes, cell_bytes)

    def _has(self, number: int) -> bool:
        """Does a state lie in its slot, whole?"""
        # 0 is of a slot never written
        return number >= 1 and bool(self._sequences[number % self._slots] == 2 * number)

    def comes(self, number: int, timeout_s: float = WRITE_S) -> bool:
        """Does it, once its writer has written it? One that was killed at it never does.

        Args:
            number: of the state in this ring, from 1.
            timeout_s: how long to wait for a state that is being written.
        """
        end_s = 0.0
        while self._sequences[number % self._slots] == 2 * number - 1:
            end_s = end_s or time.monotonic() + timeout_s
            if time.monotonic() > end_s:
                return False
            time.sleep(_LOOK_S)
        return self._has(number)


class RingReader(SequenceReader):
    """The reading side.

    Args:
        descriptor: of the writer's ring; mapped and left open.
        state_bytes: bytes of the state that is expected.

    Raises:
        TransportError: it is no ring, or not of such states.
    """

    def __init__(self, descriptor: int, state_bytes: int) -> None:
        super().__init__(descriptor, state_bytes, state_bytes)

    def read(self, number: int, into: NDArray[Any], timeout_s: float = WRITE_S) -> bool:
        """Copy a state out of its slot.

        Args:
            number: of the state in this ring, from 1.
            into: takes its numbers, flat and contiguous; of no worth if the answer is False.
            timeout_s: how long to wait for a state that is being written.

        Returns:
            False if the state is not there whole: overwritten, or not yet written.
        """
        if not self.comes(number, timeout_s):
            return False
        self._order()
        np.copyto(into.view(np.uint8), self._cells[number % self._slots])
        return self.has(number)

    @property
    def cells(self) -> list[NDArray[np.uint8]]:
        """The memory of every slot, to be used where it lies. State ``n`` is in ``n % slots``.

        Look at ``comes`` before it is used and at ``has`` after: what was used of a state that is
        not there any more is of no worth. They stay mapped as long as somebody refers to one.
        """
        return self._cells

    def has(self, number: int) -> bool:
        """Has a state been there, whole, all the time since ``comes``?"""
        self._order()
        return self._has(number)


def _on_pages(size: int) -> int:
    return -(-size // _PAGE) * _PAGE


def _sequences_at() -> int:
    return _on_pages(_FIELDS * 8)


def _slots_at(slots: int) -> int:
    return _sequences_at() + _on_pages(slots * _LINE)


def _sealed_memory(size: int) -> tuple[int, mmap.mmap]:
    """Memory without a name: all of it is there (no fault later on), of a size that stays."""
    if not hasattr(os, "memfd_create"):
        raise TransportError(
            "no shared memory: this system has no memfd",
            remedy="none is needed; messages are slower, and the parameter transport:=message "
            "asks for them",
        )
    descriptor = -1
    try:
        descriptor = os.memfd_create("streaming_net_ros", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.posix_fallocate(descriptor, 0, size)
        memory = mmap.mmap(descriptor, size)
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    except OSError as error:
        if descriptor >= 0:
            os.close(descriptor)
        raise TransportError(
            f"no shared memory of {size / 2**20:.1f} MiB ({error.strerror})",
            remedy="give the process more memory, or the network fewer window_frames",
        ) from None
    # An older kernel lacks this seal; readers get a descriptor that can only read all the same.
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEAL_FUTURE_WRITE | fcntl.F_SEAL_SEAL)
    return descriptor, memory
