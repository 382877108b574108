"""What is said over lines: where a state lies and what it is made of; that a frame is finished.

A notice has 57 bytes, progress has 8.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from streaming_net_ros.errors import TransportError
from streaming_net_ros.frames import Origin

_FIELDS = struct.Struct("=Qqqqdqqb")
_PROGRESS = struct.Struct("=q")
_HAS_CLOCK, _HAS_SENT = 1, 2


class Notice(NamedTuple):
    """What a notice says.

    Attributes:
        number: of the state in its ring; 0: the source is silent in this frame.
        stamp_ns: the frame's grid stamp.
        origin: what the state is made of.
        sent_ns: when it was sent, by the sender's system clock; None in lockstep.
    """

    number: int
    stamp_ns: int
    origin: Origin
    sent_ns: int | None


def pack_notice(notice: Notice) -> bytes:
    """A notice as bytes, for processes of the same host."""
    number, stamp_ns, origin, sent_ns = notice
    clocked_ns = origin.clocked_ns
    has = (clocked_ns is not None) * _HAS_CLOCK | (sent_ns is not None) * _HAS_SENT
    return _FIELDS.pack(
        number, stamp_ns, origin.captured_ns, origin.image_frame, origin.held,
        clocked_ns or 0, sent_ns or 0, has,
    )  # fmt: skip


def pack_progress(stamp_ns: int) -> bytes:
    """A frame is finished, as bytes; who has finished it is known from the line."""
    return _PROGRESS.pack(stamp_ns)


def read_progress(packet: bytes) -> int:
    """The stamp of a finished frame (ns).

    Raises:
        TransportError: it is none.
    """
    if len(packet) != _PROGRESS.size:
        raise TransportError("no progress", expected=f"{_PROGRESS.size} bytes", got=packet)
    return int(_PROGRESS.unpack(packet)[0])


def read_notice(packet: bytes) -> Notice:
    """The notice in a packet.

    Raises:
        TransportError: it is none.
    """
    if len(packet) != _FIELDS.size:
        raise TransportError("no notice of a state", expected=f"{_FIELDS.size} bytes", got=packet)
    number, stamp_ns, captured_ns, image_frame, held, clocked_ns, sent_ns, has = _FIELDS.unpack(
        packet
    )
    if not 0 <= held <= 1 or has & ~(_HAS_CLOCK | _HAS_SENT):
        raise TransportError("no notice of a state", got=packet)
    clocked = clocked_ns if has & _HAS_CLOCK else None
    origin = Origin(captured_ns, image_frame, held, clocked)
    return Notice(number, stamp_ns, origin, sent_ns if has & _HAS_SENT else None)
