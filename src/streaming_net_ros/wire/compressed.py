"""Jpeg and png files: the size that they state, whether they are whole, and their samples.

Owns the walk over both formats and the meaning of a CompressedImage's ``format``. Knows bytes, but
no messages and no limits of size. Imported by ``camera``, and by the readers of data sets.

All functions are pure and may run on any thread.

What the file is, its first bytes say. ``format`` only says what its colours mean, in
image_transport's words "<raw encoding>; jpeg compressed <encoding given to the encoder>":

* "jpeg", "bgr8; jpeg compressed bgr8", "rgb8; jpeg compressed bgr8": an ordinary file, with red
  where a viewer shows red. cv_bridge writes and assumes this one always.
* "rgb8; jpeg compressed rgb8": rgb bytes were given to an encoder that takes bgr, so red and blue
  are exchanged in the file. They are exchanged back, as image_transport does.
* "bayer_rggb8; jpeg compressed ": a grey file that holds the raw mosaic; it is demosaiced.
"""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np

from streaming_net_ros.errors import ImageError
from streaming_net_ros.wire.encodings import Encoding, Payload, Samples, find_encoding

_JPEG_HEAD = b"\xff\xd8\xff"
_JPEG_BARE = frozenset(range(0xD0, 0xD9)) | {0x01}  # markers without a length
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_SCAN = 0xDA
_JPEG_END = b"\xff\xd9"
_PNG_HEAD = b"\x89PNG\r\n\x1a\n"


def stated_size(payload: Payload, where: str) -> tuple[int, int]:
    """Height and width that a whole jpeg or png file states, before anything is decoded.

    Raises:
        ImageError: a file that is truncated, has no proper head, or is of another kind.
    """
    file = payload.tobytes()
    if file.startswith(_JPEG_HEAD):
        size = _jpeg_size(file)
    elif file.startswith(_PNG_HEAD):
        size = _png_size(file)
    else:
        raise ImageError(
            "neither a jpeg nor a png file",
            where=where,
            expected="data that starts like one of them",
            got=file[:8],
            remedy="set the image transport's format to jpeg or png",
        )
    if size is None:
        raise _corrupt(where, got=f"{len(file)} bytes without a proper head or end")
    return size


def decode_file(payload: Payload, label: str, where: str) -> tuple[Samples, Encoding]:
    """The samples as the file stores them, and what they mean given the message's ``format``.

    Bytes damaged in the middle of a jpeg are not noticed if the file stays well formed.

    Raises:
        ImageError: corrupt data, or an unknown mosaic.
    """
    try:
        # Unchanged keeps 16 bits and, as everywhere in ROS, ignores a phone's orientation tag.
        decoded = cv2.imdecode(payload, cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise _corrupt(where, got=str(error).strip()) from error
    if decoded is None:
        raise _corrupt(where, got=f"{payload.size} bytes that OpenCV cannot decode")
    samples: Samples = decoded if decoded.ndim == 3 else decoded[:, :, np.newaxis]
    name = _order(samples.shape[2], label)
    return samples, find_encoding(f"{name}{8 * samples.dtype.itemsize}", where)


def _order(channels: int, label: str) -> str:
    """What the channels of a file are: the name of a raw encoding without its bits."""
    raw = label.partition(";")[0].strip()
    is_mosaic = raw.startswith("bayer_") and "compressed mono" not in label
    is_exchanged = "compressed rgb" in label
    orders = {
        1: raw.rstrip("0123456789") if is_mosaic else "mono",
        3: "rgb" if is_exchanged else "bgr",
        4: "rgba" if is_exchanged else "bgra",
    }
    return orders.get(channels, f"{channels} channels of ")


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
        if marker == _JPEG_SCAN:  # within it, FF D9 can only be the end
            return size if file.rfind(_JPEG_END, at) >= 0 else None
    return None


def _png_size(file: bytes) -> tuple[int, int] | None:
    """(height, width), or None for a file without a head, an end, or whole chunks between.

    Walks the chunks, because some OpenCV allocate and clear whatever length a damaged one states:
    seconds, and gigabytes.
    """
    size = None
    at = len(_PNG_HEAD)
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


def _corrupt(where: str, got: str) -> ImageError:
    return ImageError(
        "truncated or corrupt data",
        where=where,
        expected="a whole jpeg or png file",
        got=got,
        remedy="check the link to the camera, or drop this image",
    )
