"""States as sensor_msgs/Image: ``32FC<channels>``, rows x cols = height x width.

The payload is the state in the order height, width, channel, little-endian, without padding: the
bytes of torch's channels-last memory, so that encoding and decoding are views. A vector is one
row of ``32FC1``. Half precision is ``16FC<n>`` and an image input's state stays ``8UC<n>``.

A source that is silent in a frame says so with an image of no rows and no columns.

What the state is made of (its origin) travels in ``header.frame_id`` (``wire.label``).
"""

from __future__ import annotations

import array
import sys
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from streaming_net_ros.errors import StateError
from streaming_net_ros.frames import Origin
from streaming_net_ros.wire.label import EXPECTED, read_label, write_label
from streaming_net_ros.wire.stamps import read_stamp_ns, write_stamp_ns

_PREFIXES = {"uint8": "8UC", "float16": "16FC", "float32": "32FC"}
_REMEDY = "start all nodes with one network file and one version of the package"


class ImageMessage(Protocol):
    """The fields of sensor_msgs/Image that are used here."""

    header: Any
    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


@dataclass(frozen=True)
class StateFormat:
    """What an edge carries.

    Attributes:
        name: the node whose state it is, for errors.
        shape: (channels, height, width) or (features,).
        dtype: of one number.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Literal["uint8", "float16", "float32"] = "float32"

    @property
    def rows(self) -> int:
        """The message's height."""
        return self.shape[1] if len(self.shape) == 3 else 1

    @property
    def columns(self) -> int:
        """The message's width."""
        return self.shape[2] if len(self.shape) == 3 else self.shape[0]

    @property
    def channels(self) -> int:
        """Numbers per pixel."""
        return self.shape[0] if len(self.shape) == 3 else 1

    @property
    def encoding(self) -> str:
        """The message's encoding."""
        return f"{_PREFIXES[self.dtype]}{self.channels}"

    @property
    def numbers(self) -> int:
        """How many numbers a state has."""
        return self.rows * self.columns * self.channels

    @property
    def step_bytes(self) -> int:
        """Bytes of one row."""
        return self.columns * self.channels * np.dtype(self.dtype).itemsize

    @property
    def size_bytes(self) -> int:
        """Bytes of the payload."""
        return self.rows * self.step_bytes


@dataclass(frozen=True)
class StateMessage:
    """What a message says.

    Attributes:
        payload: the flat numbers, in the order height, width, channel; a view of the message's
            memory (of the other byte order, a copy). None: the source is silent in this frame.
        stamp_ns: the frame's grid stamp.
        origin: what the state is made of.
        sent_ns: when it was sent, by the sender's system clock; None in lockstep.
    """

    payload: NDArray[Any] | None
    stamp_ns: int
    origin: Origin
    sent_ns: int | None


def write_state(
    message: ImageMessage,
    form: StateFormat,
    payload: NDArray[Any] | None,
    stamp_ns: int,
    origin: Origin,
    *,
    sent_ns: int | None = None,
) -> None:
    """Fill a message with a state.

    Args:
        message: a sensor_msgs/Image, or anything with its fields.
        form: what the edge carries.
        payload: the numbers, flat, in the order height, width, channel; None: no state.
        stamp_ns: the frame's grid stamp.
        origin: what the state is made of.
        sent_ns: the system clock's time; None in lockstep, where results do not depend on time.

    Raises:
        StateError: the payload is not of that format.
    """
    if payload is None:
        message.height = message.width = message.step = 0
        message.encoding = form.encoding
        message.data = array.array("B")
    else:
        write_tensor(message, form, payload)
    write_stamp_ns(message.header.stamp, stamp_ns)
    message.header.frame_id = write_label(origin, sent_ns)


def write_tensor(message: ImageMessage, form: StateFormat, payload: NDArray[Any]) -> None:
    """Fill a message's image with numbers; the header is left alone.

    Raises:
        StateError: the payload is not of that format.
    """
    if payload.dtype != form.dtype or payload.nbytes != form.size_bytes:
        raise StateError(
            "not the state that this edge carries",
            where=f"state {form.name}",
            expected=f"{form.shape} {form.dtype}",
            got=f"{payload.size} numbers of {payload.dtype}",
        )
    message.height, message.width = form.rows, form.columns
    message.encoding = form.encoding
    message.is_bigendian = 0
    message.step = form.step_bytes
    # Bytes go in through array('B'): assigning an ndarray costs rclpy 50 to 80 ms per MiB.
    data = array.array("B")
    data.frombytes(_little(payload).view(np.uint8).data)
    message.data = data


def read_state(message: ImageMessage, form: StateFormat) -> StateMessage:
    """The state in a message.

    Raises:
        StateError: another shape, type or size than the edge carries, or no origin.
    """
    got = (message.height, message.width, message.encoding)
    expected = (form.rows, form.columns, form.encoding)
    is_silent = got == (0, 0, form.encoding)
    if got != expected and not is_silent:
        raise StateError(
            "a state of another shape arrived",
            where=f"topic state/{form.name}",
            expected=f"{expected[0]}x{expected[1]} {expected[2]}",
            got=f"{got[0]}x{got[1]} {got[2]}",
            remedy=_REMEDY,
        )
    size = (message.step, len(message.data))
    if size != ((0, 0) if is_silent else (form.step_bytes, form.size_bytes)):
        raise StateError(
            "a state of another size arrived",
            where=f"topic state/{form.name}",
            expected=f"step {form.step_bytes}, {form.size_bytes} bytes",
            got=f"step {message.step}, {len(message.data)} bytes",
            remedy=_REMEDY,
        )
    told = read_label(message.header.frame_id)
    if told is None:
        raise StateError(
            "a state that does not tell its capture time arrived",
            where=f"topic state/{form.name}: header.frame_id",
            expected=EXPECTED,
            got=message.header.frame_id,
            remedy=_REMEDY,
        )
    origin, sent_ns = told
    stamp_ns = read_stamp_ns(message.header.stamp)
    if is_silent:
        return StateMessage(None, stamp_ns, origin, sent_ns)
    payload = np.frombuffer(message.data, dtype=form.dtype)
    if bool(message.is_bigendian) != (sys.byteorder == "big"):
        payload = payload.byteswap()
    return StateMessage(payload, stamp_ns, origin, sent_ns)


def _little(payload: NDArray[Any]) -> NDArray[Any]:
    if sys.byteorder == "big":
        payload = payload.byteswap()
    return np.ascontiguousarray(payload)
