"""The states in another process's ring, as batches: used where they lie, or copied out of it.

`RingStates` is one ring as its hearer reads it. What is used where it lies may be overwritten
meanwhile; `Borrowed` knows it afterwards. Imported by ``hearing``.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from streaming_net_ros.network.layout import from_payload
from streaming_net_ros.network.upload import uploader_to
from streaming_net_ros.wire import DeviceRingReader, Notice, RingReader, StateFormat

if TYPE_CHECKING:
    from streaming_net_ros.nodes.container import Container

_KNOWN_FRAMES = 1000  # of which it is known where a state lies: longer than any frame takes


class _Place(NamedTuple):
    """Where a state lies: the batch that was handed on, its ring and its number there."""

    batch: Tensor
    ring: RingReader
    number: int


class Borrowed:
    """The states of one source that were handed on as they lie, of all its rings. Any thread."""

    def __init__(self) -> None:
        self._by_frame: dict[int, _Place] = {}
        self._slots: list[Tensor] = []  # of the newest ring

    def begin(self, slots: list[Tensor]) -> None:
        """States lie in a ring with these slots from now on."""
        self._slots = slots

    def add(self, frame: int, batch: Tensor, ring: RingReader, number: int) -> None:
        """A state is handed on where it lies."""
        known = self._by_frame
        known[frame] = _Place(batch, ring, number)
        while len(known) > _KNOWN_FRAMES:
            del known[next(iter(known))]

    def has(self, frame: int, batch: Tensor) -> bool:
        """Is a state still what it was when it was handed on as that of a frame?

        A copy always is. Of one that was borrowed nothing is believed that is not known.
        """
        place = self._by_frame.get(frame)
        if place is not None and place.batch is batch:
            return place.ring.has(place.number)
        return not any(batch is slot for slot in self._slots)


class RingStates:
    """Makes batches of the states in a ring.

    ``take`` is for one thread at a time; the others for any, also during one.

    Args:
        ring: that was lent.
        form: of its states.
        container: of the hearer.
        borrowed: is told of the states that are used where they lie; None: all are copied.
    """

    def __init__(
        self,
        ring: RingReader | DeviceRingReader,
        form: StateFormat,
        container: Container,
        borrowed: Borrowed | None,
    ) -> None:
        self.ring = ring
        self._form = form
        self._container = container
        self._uploader = uploader_to(container.device)
        self._spare: list[tuple[Tensor, Any]] = []  # for the next state, made while nobody waits
        self._borrowed = borrowed
        self._slots: list[Tensor] = []  # a batch of one state in each; empty: states are copied
        if borrowed is not None and isinstance(ring, RingReader):
            self._slots = self._batches_of(ring)
            borrowed.begin(self._slots)
        self.prepare()

    def take(self, notice: Notice) -> Tensor | None:
        """The state that a notice tells of; None if it is not there any more.

        Raises:
            TransportError: the device cannot read its own memory; the ring is of no use.
        """
        slots = self._slots  # once: another thread may find meanwhile that copies are needed
        return self._lying_in(slots, notice) if slots else self._copy(notice)

    def prepare(self) -> None:
        """Make memory for the next copy, while nobody waits for it."""
        if not (self._slots or self._spare):  # another thread may have made one already
            self._spare.append(self._fresh())

    def copy_from_now_on(self) -> None:
        """Its hearer takes longer than a state lies there."""
        self._slots = []

    def _batches_of(self, ring: RingReader) -> list[Tensor]:
        with warnings.catch_warnings():  # nobody writes: groups that might are given copies
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            flat = [torch.from_numpy(cell.view(self._form.dtype)) for cell in ring.cells]
        return [from_payload(one, self._form.shape) for one in flat]

    def _lying_in(self, slots: list[Tensor], notice: Notice) -> Tensor | None:
        assert isinstance(self.ring, RingReader) and self._borrowed is not None
        if not self.ring.comes(notice.number, self._container.patience_s):
            return None
        batch = slots[notice.number % len(slots)]
        frame = self._container.grid.frame_at(notice.stamp_ns)
        self._borrowed.add(frame, batch, self.ring, notice.number)
        return batch

    def _copy(self, notice: Notice) -> Tensor | None:
        payload, numbers = self._spare.pop() if self._spare else self._fresh()
        if not self.ring.read(notice.number, numbers, self._container.patience_s):
            return None
        is_on_device = isinstance(self.ring, DeviceRingReader)
        upload = from_payload if is_on_device else self._uploader.upload
        return upload(payload, self._form.shape)

    def _fresh(self) -> tuple[Tensor, Any]:
        """Memory for a state, and the same as the ring sees it: by numpy, or by its address."""
        numbers, dtype = self._form.numbers, getattr(torch, self._form.dtype)
        if isinstance(self.ring, DeviceRingReader):
            state = torch.empty(numbers, dtype=dtype, device=self._container.device)
            return state, state.data_ptr()
        payload = self._uploader.memory(numbers, dtype)
        return payload, payload.numpy()
