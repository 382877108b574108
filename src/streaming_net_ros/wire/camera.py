"""Camera messages to pixels: what a robot's camera publishes, as rgb or grey bytes.

Owns the table of image encodings, the unpacking of raw and compressed camera messages, the fit
to a network's input size, and the way back for sources that publish (``write_rgb8``). Knows no
ROS: a message is whatever has the fields, so sensor_msgs, rosbags and test doubles all fit.
The frame source, the bag evaluation and the simulation import it.

All functions are pure and may run on any thread. The only error they raise is ``ImageError``.

Conventions, where ROS leaves them open:

* 16 bits become 8 by ``round(x / 257)``, in either byte order: 0 stays 0, 65535 becomes 255.
* ``8UC3``, ``8UC4`` and their 16 bit kin name no colours; they are bgr(a), as rviz shows them.
* YUV is BT.601 of limited range (16..235), as cameras send it and OpenCV reads it. Grey is the
  luma, stretched to 0..255, so that grey and rgb of one message have the same brightness.
* ``nv12`` and ``nv21``: ``step`` is the stride of a luma row, and the chroma rows, half as many,
  follow with the same stride.
* ``32FC1`` is refused, always. It is a depth in metres (REP 118), and no field states a range;
  to accept it whenever its values happen to lie in [0, 1] would depend on what the camera sees.
"""

from __future__ import annotations

import operator
import struct
import zlib
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final, Literal, Protocol, TypeAlias, cast, get_args

import cv2
import numpy as np
import numpy.typing as npt

from streaming_net_ros.errors import ImageError

Colour: TypeAlias = Literal["rgb", "mono"]
Image: TypeAlias = npt.NDArray[np.uint8]  # (height, width, 3) rgb or (height, width, 1) grey
Payload: TypeAlias = "bytes | bytearray | memoryview | array[int] | npt.NDArray[np.uint8]"

MAX_SIDE: Final = 32_767  # OpenCV counts in short integers in places
MAX_PIXELS: Final = 1 << 26  # 67 million: more than a robot's camera, and 200 MB as rgb

_Samples: TypeAlias = npt.NDArray[Any]  # (rows, width, samples per pixel), uint8 or uint16
_Convert: TypeAlias = Callable[[Image], Image]


class ImageMessage(Protocol):
    """The fields of sensor_msgs/Image that are read."""

    @property
    def height(self) -> int: ...  # noqa: D102
    @property
    def width(self) -> int: ...  # noqa: D102
    @property
    def encoding(self) -> str: ...  # noqa: D102
    @property
    def is_bigendian(self) -> int: ...  # noqa: D102
    @property
    def step(self) -> int: ...  # noqa: D102
    @property
    def data(self) -> Payload: ...  # noqa: D102


class CompressedImageMessage(Protocol):
    """The fields of sensor_msgs/CompressedImage that are read."""

    @property
    def format(self) -> str: ...  # noqa: D102
    @property
    def data(self) -> Payload: ...  # noqa: D102


class WritableImageMessage(Protocol):
    """The fields of sensor_msgs/Image that ``write_rgb8`` sets."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


# ---------------------------------------------------------------------------------------------
# The table of encodings


def _as_is(samples: Image) -> Image:
    return samples


def _by(code: int) -> _Convert:
    """The conversion that OpenCV does under this code."""

    def convert(samples: Image) -> Image:
        return np.asarray(cv2.cvtColor(samples, code), np.uint8)

    return convert


_STRETCHED_LUMA: Final = np.clip(np.rint((np.arange(256) - 16) * (255 / 219)), 0, 255).astype(
    np.uint8
)


def _luma_of_pairs(channel: int) -> _Convert:
    def convert(samples: Image) -> Image:
        luma = cv2.extractChannel(samples, channel)
        return np.asarray(cv2.LUT(luma, _STRETCHED_LUMA), np.uint8)

    return convert


def _luma_plane(samples: Image) -> Image:
    luma = samples[: samples.shape[0] * 2 // 3]
    return np.asarray(cv2.LUT(luma, _STRETCHED_LUMA), np.uint8)


@dataclass(frozen=True)
class _Encoding:
    """How the bytes of one encoding lie, and what makes rgb and grey of their 8 bit samples."""

    samples: int  # per pixel, within a row
    rgb: _Convert
    mono: _Convert
    sample_bytes: int = 1
    rows: Fraction = Fraction(1)  # rows of data per row of the image
    height_multiple: int = 1
    width_multiple: int = 1
    least_side: int = 1


def _wide(encoding: _Encoding) -> _Encoding:
    """The same order of samples, with 16 bits each."""
    return replace(encoding, sample_bytes=2)


_GREY = _Encoding(1, rgb=_by(cv2.COLOR_GRAY2RGB), mono=_as_is)
_RGB = _Encoding(3, rgb=_as_is, mono=_by(cv2.COLOR_RGB2GRAY))
_BGR = _Encoding(3, rgb=_by(cv2.COLOR_BGR2RGB), mono=_by(cv2.COLOR_BGR2GRAY))
_RGBA = _Encoding(4, rgb=_by(cv2.COLOR_RGBA2RGB), mono=_by(cv2.COLOR_RGBA2GRAY))
_BGRA = _Encoding(4, rgb=_by(cv2.COLOR_BGRA2RGB), mono=_by(cv2.COLOR_BGRA2GRAY))
_UYVY = _Encoding(2, rgb=_by(cv2.COLOR_YUV2RGB_UYVY), mono=_luma_of_pairs(1), width_multiple=2)
_YUYV = _Encoding(2, rgb=_by(cv2.COLOR_YUV2RGB_YUY2), mono=_luma_of_pairs(0), width_multiple=2)
_NV12 = _Encoding(
    1,
    rgb=_by(cv2.COLOR_YUV2RGB_NV12),
    mono=_luma_plane,
    rows=Fraction(3, 2),
    height_multiple=2,
    width_multiple=2,
)
_NV21 = replace(_NV12, rgb=_by(cv2.COLOR_YUV2RGB_NV21))

# ROS names a Bayer pattern by its first two rows from the corner. OpenCV's old names, which every
# OpenCV has, are read one pixel down and one to the right: rggb is "BG". The border pixels are
# copies of their neighbours, so that an image needs 3 x 3 pixels (below, OpenCV returns black).
_RGGB, _BGGR, _GBRG, _GRBG = (
    _Encoding(1, rgb=_by(rgb_code), mono=_by(grey_code), least_side=3)
    for rgb_code, grey_code in (
        (cv2.COLOR_BayerBG2RGB, cv2.COLOR_BayerBG2GRAY),
        (cv2.COLOR_BayerRG2RGB, cv2.COLOR_BayerRG2GRAY),
        (cv2.COLOR_BayerGR2RGB, cv2.COLOR_BayerGR2GRAY),
        (cv2.COLOR_BayerGB2RGB, cv2.COLOR_BayerGB2GRAY),
    )
)

_ENCODINGS: Final[Mapping[str, _Encoding]] = {
    "rgb8": _RGB,
    "bgr8": _BGR,
    "rgba8": _RGBA,
    "bgra8": _BGRA,
    "mono8": _GREY,
    "8UC1": _GREY,
    "8UC3": _BGR,
    "8UC4": _BGRA,
    "rgb16": _wide(_RGB),
    "bgr16": _wide(_BGR),
    "rgba16": _wide(_RGBA),
    "bgra16": _wide(_BGRA),
    "mono16": _wide(_GREY),
    "16UC1": _wide(_GREY),
    "16UC3": _wide(_BGR),
    "16UC4": _wide(_BGRA),
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUYV,
    "yuyv": _YUYV,
    "nv12": _NV12,
    "nv21": _NV21,
    "bayer_rggb8": _RGGB,
    "bayer_bggr8": _BGGR,
    "bayer_gbrg8": _GBRG,
    "bayer_grbg8": _GRBG,
    "bayer_rggb16": _wide(_RGGB),
    "bayer_bggr16": _wide(_BGGR),
    "bayer_gbrg16": _wide(_GBRG),
    "bayer_grbg16": _wide(_GRBG),
}

ENCODINGS: Final = tuple(_ENCODINGS)

_REMEDIES: Final[Mapping[str, str]] = {
    "32FC1": "it holds metres, not brightness: scale it to mono8 with a range that you choose",
    "64FC1": "it holds metres, not brightness: scale it to mono8 with a range that you choose",
}


# ---------------------------------------------------------------------------------------------
# Messages to pixels


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
    encoding = _known_encoding(name, where)
    height = _whole(message, "height", where)
    width = _whole(message, "width", where)
    where = f"Image message of {width} x {height} {name}"
    _check_size(height, width, where)
    _check_fit(encoding, height, width, where)
    samples = _unpacked(message, encoding, height, width, where)
    return _rendered(samples, encoding, colour, where)


def decode_compressed(message: CompressedImageMessage, colour: Colour) -> Image:
    """Pixels of a jpeg or png message.

    What the file is, its first bytes say. ``format`` only says what its colours mean, in
    image_transport's words "<raw encoding>; jpeg compressed <encoding given to the encoder>":

    * "jpeg", "bgr8; jpeg compressed bgr8", "rgb8; jpeg compressed bgr8": an ordinary file, with
      red where a viewer shows red. cv_bridge writes and assumes this one always.
    * "rgb8; jpeg compressed rgb8": rgb bytes were given to an encoder that takes bgr, so red and
      blue are exchanged in the file. They are exchanged back, as image_transport does.
    * "bayer_rggb8; jpeg compressed ": a grey file that holds the raw mosaic; it is demosaiced.

    16 bit files become 8 bit like raw images. A file that ends early is an error; bytes damaged
    in the middle of a jpeg are not noticed by its decoder if the file stays well formed.

    Returns:
        uint8, (height, width, 3) rgb or (height, width, 1) grey, a new array.

    Raises:
        ImageError: data that is empty, truncated, corrupt, of another kind or of an absurd size,
            or a depth format.
    """
    _check_colour(colour)
    where = "CompressedImage message"
    label = _text(message, "format", where)
    where = f"CompressedImage message {label[:60]!r}"
    if "compresseddepth" in label.lower():
        raise ImageError(
            "a depth image, not a camera image",
            where=where,
            expected="jpeg or png",
            remedy="subscribe to the topic that ends in /compressed",
        )
    payload = _payload(message, where)
    height, width = _file_size(payload.tobytes(), where)
    _check_size(height, width, where)
    decoded = _decoded_file(payload, where)
    encoding = _encoding_of_file(decoded, label, where)
    _check_fit(encoding, decoded.shape[0], decoded.shape[1], where)
    return _rendered(decoded, encoding, colour, where)


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
    between = (min(columns, width), min(rows, height))
    fitted = _resized(image, between, cv2.INTER_AREA)
    return np.ascontiguousarray(_resized(fitted, (width, height), cv2.INTER_LINEAR))


def write_rgb8(message: WritableImageMessage, image: Image) -> None:
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


# ---------------------------------------------------------------------------------------------
# Steps of the above


def _unpacked(
    message: ImageMessage, encoding: _Encoding, height: int, width: int, where: str
) -> _Samples:
    """The samples as the encoding lays them out: a read-only view, without the row padding."""
    step = _whole(message, "step", where)
    row_bytes = width * encoding.samples * encoding.sample_bytes
    if step < row_bytes:
        raise ImageError(
            "step is shorter than a row",
            where=where,
            expected=f"at least {row_bytes} bytes",
            got=step,
            remedy="let the driver set step to the bytes of a row, padding included",
        )
    rows = int(height * encoding.rows)
    payload = _payload(message, where)
    if payload.size < step * rows:
        raise ImageError(
            "data is shorter than the image",
            where=where,
            expected=f"{rows} rows x step {step} = {step * rows} bytes",
            got=payload.size,
            remedy="the message was cut, or its step or size is wrong: check the driver",
        )
    order = ">" if _whole(message, "is_bigendian", where) else "<"
    row_view = payload[: step * rows].reshape(rows, step)[:, :row_bytes]
    samples = row_view.view(f"{order}u{encoding.sample_bytes}")
    return samples.reshape(rows, width, encoding.samples)


def _rendered(samples: _Samples, encoding: _Encoding, colour: Colour, where: str) -> Image:
    narrow = _eight_bits(samples) if encoding.sample_bytes == 2 else samples
    convert = encoding.rgb if colour == "rgb" else encoding.mono
    try:
        image = convert(narrow)
    except cv2.error as error:  # OpenCV refuses some sizes, and which ones is its version's
        raise ImageError(
            "OpenCV cannot convert it",
            where=where,
            got=str(error).strip(),
            remedy="let the camera publish rgb8 or bgr8",
        ) from error
    return image if image.ndim == 3 else image[:, :, np.newaxis]


def _eight_bits(samples: _Samples) -> Image:
    """``round(x / 257)`` of 16 bit samples in any byte order; exact for every value."""
    # OpenCV wants native order and, unlike numpy, aligned rows: an odd step gives neither.
    native = np.require(samples, np.uint16, ["C", "A"])
    return np.asarray(cv2.convertScaleAbs(native, alpha=1 / 257), np.uint8).reshape(samples.shape)


def _resized(image: Image, size: tuple[int, int], interpolation: int) -> Image:
    width, height = size
    if image.shape[:2] == (height, width):
        return image
    resized = np.asarray(cv2.resize(image, size, interpolation=interpolation), np.uint8)
    return resized.reshape(height, width, image.shape[2])  # OpenCV drops a single channel's axis


def _decoded_file(payload: Image, where: str) -> _Samples:
    """The file's samples as they are stored: grey, bgr or bgra, (height, width, channels)."""
    try:
        # Unchanged keeps 16 bits and, as everywhere in ROS, ignores a phone's orientation tag.
        decoded = cv2.imdecode(payload, cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise _corrupt(where, got=str(error).strip()) from error
    if decoded is None:
        raise _corrupt(where, got=f"{payload.size} bytes that OpenCV cannot decode")
    return decoded if decoded.ndim == 3 else decoded[:, :, np.newaxis]


def _encoding_of_file(decoded: _Samples, label: str, where: str) -> _Encoding:
    """What the stored samples mean, given the message's ``format``."""
    channels = decoded.shape[2]
    bits = 8 * decoded.dtype.itemsize
    raw = label.partition(";")[0].strip()
    is_mosaic = raw.startswith("bayer_") and "compressed mono" not in label
    exchanged = "compressed rgb" in label
    name = {
        1: raw.rstrip("0123456789") if is_mosaic else "mono",
        3: "rgb" if exchanged else "bgr",
        4: "rgba" if exchanged else "bgra",
    }.get(channels, f"{channels} channels of ")
    return _known_encoding(f"{name}{bits}", where)


def _file_size(file: bytes, where: str) -> tuple[int, int]:
    """Height and width that a whole jpeg or png file states, before anything is decoded."""
    for signature, size_of in _FILES.items():
        if file.startswith(signature):
            size = size_of(file)
            if size is None:
                raise _corrupt(where, got=f"{len(file)} bytes without a proper head or end")
            return size
    raise ImageError(
        "neither a jpeg nor a png file",
        where=where,
        expected="data that starts like one of them",
        got=file[:8],
        remedy="set the image transport's format to jpeg or png",
    )


def _jpeg_size(file: bytes) -> tuple[int, int] | None:
    """(height, width), or None for a file without a frame head, a scan, or an end after it.

    Walks the segments, because the thumbnail in a head brings a size and an end of its own.
    """
    size = None
    at = 2
    while at + 4 <= len(file) and file[at] == 0xFF:
        marker = file[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker in _JPEG_BARE:
            at += 2
            continue
        (length,) = struct.unpack_from(">H", file, at + 2)
        if marker in _JPEG_FRAMES and at + 9 <= len(file):
            size = struct.unpack_from(">HH", file, at + 5)
        at += 2 + length
        if marker == 0xDA:  # start of scan; within it, FF D9 can only be the end
            return size if file.rfind(b"\xff\xd9", at) >= 0 else None
    return None


_JPEG_BARE: Final = frozenset(range(0xD0, 0xD9)) | {0x01}  # markers without a length
_JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def _png_size(file: bytes) -> tuple[int, int] | None:
    """(height, width), or None for a file without a head, an end, or whole chunks between.

    Walks the chunks, because some OpenCV allocate and clear whatever length a damaged one states:
    seconds, and gigabytes.
    """
    size = None
    at = 8
    while at + 12 <= len(file):
        length, kind = struct.unpack_from(">I4s", file, at)
        end = at + 8 + length
        checksum = file[end : end + 4]  # empty if the length leads out of the file
        if checksum != zlib.crc32(file[at + 4 : end]).to_bytes(4, "big"):
            return None
        if kind == b"IHDR" and length == 13:
            width, height = struct.unpack_from(">II", file, at + 8)
            size = (height, width)
        if kind == b"IEND":
            return size
        at = end + 4
    return None


_FILES: Final[Mapping[bytes, Callable[[bytes], tuple[int, int] | None]]] = {
    b"\xff\xd8\xff": _jpeg_size,
    b"\x89PNG\r\n\x1a\n": _png_size,
}


def _corrupt(where: str, got: str) -> ImageError:
    return ImageError(
        "truncated or corrupt data",
        where=where,
        expected="a whole jpeg or png file",
        got=got,
        remedy="check the link to the camera, or drop this image",
    )


# ---------------------------------------------------------------------------------------------
# Checks of fields


def _field(message: object, name: str, where: str) -> object:
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
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise _wrong_type(name, "a whole number", value, where) from None


def _payload(message: object, where: str) -> Image:
    """The message's data as read-only bytes, without a copy."""
    value = _field(message, "data", where)
    try:
        view = memoryview(value)  # type: ignore[arg-type]
        flat = view.cast("B") if view.nbytes else None
    except (TypeError, ValueError, BufferError):
        raise _wrong_type("data", "a contiguous buffer of bytes", value, where) from None
    if view.itemsize != 1:
        raise _wrong_type("data", "a buffer of bytes", value, where)
    if flat is None:
        raise ImageError(
            "data is empty",
            where=where,
            expected="pixels",
            got="0 bytes",
            remedy="check that the camera delivers, and not only its driver",
        )
    payload = np.frombuffer(flat, np.uint8)
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


def _known_encoding(name: str, where: str) -> _Encoding:
    encoding = _ENCODINGS.get(name)
    if encoding is None:
        raise ImageError(
            "unknown encoding",
            where=where,
            expected=f"one of {', '.join(ENCODINGS)}",
            got=repr(name),
            remedy=_REMEDIES.get(name, "let the camera publish one of these, rgb8 if in doubt"),
        )
    return encoding


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


def _check_fit(encoding: _Encoding, height: int, width: int, where: str) -> None:
    """Whether the encoding can hold an image of this size at all."""
    by_height, by_width = encoding.height_multiple, encoding.width_multiple
    if height % by_height or width % by_width or min(height, width) < encoding.least_side:
        raise ImageError(
            "the encoding does not allow this size",
            where=where,
            expected=f"width a multiple of {by_width}, height a multiple of {by_height}, "
            f"both at least {encoding.least_side}",
            got=f"width {width}, height {height}",
            remedy="change the camera's size, or let it publish rgb8",
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
