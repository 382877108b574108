"""Camera messages to pixels: what a robot's camera publishes, as rgb or grey bytes.

Owns the reading of a camera message's fields, the limits of an image's size, the fit to a
network's input, and the way back for sources that publish (``write_rgb8``). Knows no ROS: a
message is whatever has the fields, so sensor_msgs, rosbags and test doubles all fit. How samples
lie is known to ``encodings``, and files to ``compressed``. ``nodes`` and ``evaluation`` import it,
by way of ``wire``.

All functions are pure and may run on any thread. The only error they raise is ``ImageError``.
"""

from __future__ import annotations

import operator
from array import array
from typing import Any, Final, Protocol, cast, get_args

import cv2
import numpy as np

from streaming_net_ros.errors import ImageError
from streaming_net_ros.wire.compressed import decode_file, stated_size
from streaming_net_ros.wire.encodings import Colour, Image, Payload, find_encoding
from streaming_net_ros.wire.state import ImageMessage

MAX_SIDE: Final = 32_767  # OpenCV counts in short integers in places
MAX_PIXELS: Final = 1 << 26  # 67 million: more than a robot's camera, and 200 MB as rgb


class CompressedImageMessage(Protocol):
    """The fields of sensor_msgs/CompressedImage that are read."""

    format: str
    data: Any


def decode_camera(message: ImageMessage | CompressedImageMessage, colour: Colour) -> Image:
    """Pixels of a raw or a compressed camera message, told apart by their fields.

    Raises:
        ImageError: the message is neither, or ``decode_image`` or ``decode_compressed`` says so.
    """
    if hasattr(message, "encoding"):
        return decode_image(cast(ImageMessage, message), colour)
    if hasattr(message, "format"):
        return decode_compressed(message, colour)
    raise ImageError(
        "not a camera message",
        where="camera",
        expected="the fields of sensor_msgs/Image or sensor_msgs/CompressedImage",
        got=type(message).__name__,
        remedy="subscribe to the camera's image topic",
    )


def decode_image(message: ImageMessage, colour: Colour) -> Image:
    """Pixels of a raw image message.

    Args:
        message: sensor_msgs/Image or alike. ``step`` may pad the rows, and data may follow the
            last row.
        colour: "rgb" for three channels, "mono" for one.

    Returns:
        uint8, (height, width, 3) rgb or (height, width, 1) grey. If the message already holds
        just that (rgb8 as rgb; mono8 and 8UC1 as mono), it is a read-only view of the message's
        data, with its row padding skipped by stride; otherwise a new, contiguous array.

    Raises:
        ImageError: a missing field, an unknown encoding, a size that is zero, absurd or does not
            fit the encoding, or a step or data too short.
    """
    _check_colour(colour)
    where = "Image message"
    name = _text(message, "encoding", where)
    encoding = find_encoding(name, where)
    height, width = _whole(message, "height", where), _whole(message, "width", where)
    where = f"Image message of {width} x {height} {name}"
    _check_size(height, width, where)
    encoding.check_size(height, width, where)
    step = _whole(message, "step", where)
    is_big = bool(_whole(message, "is_bigendian", where))
    payload = _payload(message, where)
    samples = encoding.unpack(payload, height, width, step, is_bigendian=is_big, where=where)
    return encoding.render(samples, colour, where)


def decode_compressed(message: CompressedImageMessage, colour: Colour) -> Image:
    """Pixels of a jpeg or png message; ``compressed`` says how ``format`` is understood.

    Returns:
        uint8, (height, width, 3) rgb or (height, width, 1) grey, a new array.

    Raises:
        ImageError: data that is empty, truncated, corrupt, of another kind or of an absurd size,
            or a depth format.
    """
    _check_colour(colour)
    label = _text(message, "format", "CompressedImage message")
    where = f"CompressedImage message {label[:60]!r}"
    if "compresseddepth" in label.lower():
        raise ImageError(
            "a depth image, not a camera image",
            where=where,
            expected="jpeg or png",
            remedy="subscribe to the topic that ends in /compressed",
        )
    payload = _payload(message, where)
    _check_size(*stated_size(payload, where), where)
    samples, encoding = decode_file(payload, label, where)
    height, width = samples.shape[:2]
    encoding.check_size(height, width, where)
    return encoding.render(samples, colour, where)


def fit_image(image: Image, width: int, height: int) -> Image:
    """The image at a network's input size, contiguous.

    Each axis on its own: what shrinks is averaged (INTER_AREA, no aliasing), what grows is
    interpolated (INTER_LINEAR). A contiguous image of the right size is returned as it is.

    Raises:
        ImageError: not a uint8 (height, width, channels) array, or a size that is zero or absurd.
    """
    _check_pixels(image, None, "image to fit")
    _check_size(height, width, "size to fit an image to")
    rows, columns = image.shape[:2]
    shrunk = _resized(image, min(columns, width), min(rows, height), cv2.INTER_AREA)
    return np.ascontiguousarray(_resized(shrunk, width, height, cv2.INTER_LINEAR))


def write_rgb8(message: ImageMessage, image: Image) -> None:
    """Fill a raw image message with rgb pixels; its header is left alone.

    ``data`` becomes an ``array.array('B')``, one copy: rclpy's setter takes it at once, while it
    looks at each element of an ndarray (about 50 ms per MiB).

    Args:
        message: sensor_msgs/Image or alike; all its fields but the header are set.
        image: uint8, (height, width, 3), rgb.

    Raises:
        ImageError: another shape or type.
    """
    _check_pixels(image, 3, "image to publish")
    data = array("B")
    data.frombytes(np.ascontiguousarray(image).data)
    message.height, message.width = image.shape[:2]
    message.encoding = "rgb8"
    message.is_bigendian = 0
    message.step = 3 * image.shape[1]
    message.data = data


def _resized(image: Image, width: int, height: int, interpolation: int) -> Image:
    if image.shape[:2] == (height, width):
        return image
    resized = np.asarray(cv2.resize(image, (width, height), interpolation=interpolation), np.uint8)
    return resized.reshape(height, width, image.shape[2])  # OpenCV drops a single channel's axis


def _field(message: object, name: str, where: str) -> Any:
    try:
        return getattr(message, name)
    except AttributeError:
        raise ImageError(
            f"no field {name!r}",
            where=where,
            expected="a camera message",
            got=type(message).__name__,
            remedy="subscribe to the camera's image topic",
        ) from None


def _text(message: object, name: str, where: str) -> str:
    value = _field(message, name, where)
    if not isinstance(value, str):
        raise _wrong_type(name, "a string", value, where)
    return value


def _whole(message: object, name: str, where: str) -> int:
    value = _field(message, name, where)
    try:
        return operator.index(value)
    except TypeError:
        raise _wrong_type(name, "a whole number", value, where) from None


def _payload(message: object, where: str) -> Payload:
    """The message's data as read-only bytes, without a copy."""
    value = _field(message, "data", where)
    try:
        view = memoryview(value)
        is_bytes = view.itemsize == 1 and view.c_contiguous
    except (TypeError, ValueError, BufferError):
        is_bytes = False
    if not is_bytes:
        raise _wrong_type("data", "a contiguous buffer of bytes", value, where)
    if not view.nbytes:
        raise ImageError(
            "data is empty",
            where=where,
            expected="pixels",
            got="0 bytes",
            remedy="check that the camera delivers, and not only its driver",
        )
    payload = np.frombuffer(view, np.uint8)
    payload.flags.writeable = False
    return payload


def _wrong_type(name: str, expected: str, value: object, where: str) -> ImageError:
    return ImageError(
        f"field {name!r} has a wrong type",
        where=where,
        expected=expected,
        got=type(value).__name__,
        remedy="pass a camera message",
    )


def _check_colour(colour: str) -> None:
    if colour not in get_args(Colour):
        raise ImageError(
            "unknown colour",
            where="camera",
            expected=" or ".join(get_args(Colour)),
            got=colour,
            remedy="set the input's colour to one of these",
        )


def _check_size(height: int, width: int, where: str) -> None:
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE and height * width <= MAX_PIXELS):
        raise ImageError(
            "no camera has this size",
            where=where,
            expected=f"sides of 1 to {MAX_SIDE} and at most {MAX_PIXELS} pixels",
            got=f"width {width}, height {height}",
            remedy="check the camera's settings",
        )


def _check_pixels(image: object, channels: int | None, where: str) -> None:
    """Whether it is a uint8 (height, width, channels) array with pixels in it."""
    got = type(image).__name__
    if isinstance(image, np.ndarray):
        is_image = image.dtype == np.uint8 and image.ndim == 3 and image.size > 0
        if is_image and channels in (None, image.shape[2]):
            return
        got = f"{image.dtype} {image.shape}"
    raise ImageError(
        "not an image",
        where=where,
        expected=f"uint8 (height, width, {channels or 'channels'}), not empty",
        got=got,
        remedy="give a channels-last array of bytes",
    )
