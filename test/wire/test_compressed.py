"""Laws of compressed images: the format tells the colours, and a damaged file is an error."""

from __future__ import annotations

import struct
import time
import zlib
from array import array
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming_net_ros.errors import ImageError
from streaming_net_ros.wire.camera import decode_camera, decode_compressed
from wire.test_encodings import PRIMARIES, grey_of, mosaic, picture, plain


@dataclass
class FileDouble:
    format: Any = "jpeg"
    data: Any = field(default=b"")


def file_message(
    image: np.ndarray, label: str = "jpeg", kind: str = ".jpg", holder: Any = bytes
) -> FileDouble:
    """What OpenCV's encoder, which takes bgr, writes of these samples, as they are."""
    written = cv2.imencode(kind, image, [cv2.IMWRITE_JPEG_QUALITY, 98])[1]
    return FileDouble(label, holder(written.tobytes()))


BGR_FORMATS = [
    "jpeg",
    "jpg",
    "",
    "bgr8",
    "bgr8; jpeg compressed bgr8",
    "rgb8; jpeg compressed bgr8",
    "bgra8; jpeg compressed bgr8",
    "yuv422; jpeg compressed bgr8",
    "bayer_rggb8; jpeg compressed bgr8",
]
RGB_FORMATS = ["rgb8; jpeg compressed rgb8", "bgr8; jpeg compressed rgb8"]
WHOLE_FILES = [file_message(picture(9, 9), kind=kind).data for kind in (".jpg", ".png")]


@pytest.mark.parametrize("kind", [".jpg", ".png"])
@pytest.mark.parametrize("label", BGR_FORMATS + RGB_FORMATS)
def test_a_format_tells_which_colour_came_first(label, kind):
    rgb = picture(32, 40)
    given_to_encoder = rgb if label in RGB_FORMATS else rgb[..., ::-1]
    message = file_message(given_to_encoder, label.replace("jpeg", kind[1:]), kind)
    tolerance = 12 if kind == ".jpg" else 0
    assert np.abs(decode_camera(message, "rgb").astype(int) - rgb).max() <= tolerance
    grey = decode_camera(message, "mono")
    assert grey.shape == (32, 40, 1)
    assert np.abs(grey - grey_of(rgb)).max() <= max(tolerance, 1)


@pytest.mark.parametrize("label", ["mono8; png compressed ", "mono8; png compressed mono8", "png"])
def test_a_grey_file_is_grey(label):
    grey = np.rint(grey_of(picture(6, 8))).astype(np.uint8)
    message = file_message(grey, label, ".png")
    np.testing.assert_array_equal(decode_compressed(message, "mono"), grey)
    np.testing.assert_array_equal(decode_compressed(message, "rgb"), np.repeat(grey, 3, 2))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_a_compressed_mosaic_is_demosaiced(pattern, bits):
    rgb = plain(PRIMARIES["red"]).astype(f"u{bits // 8}") * (1 if bits == 8 else 257)
    message = file_message(mosaic(rgb, pattern), f"bayer_{pattern}{bits}; png compressed ", ".png")
    got = decode_compressed(message, "rgb").astype(int)
    assert np.abs(got - PRIMARIES["red"]).max() <= 1


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_16_bit_file_is_rounded_like_a_raw_image(channels):
    values = np.random.default_rng(1).integers(0, 65536, (6, 8, channels), np.uint16)
    got = decode_compressed(file_message(values, "png", ".png"), "rgb")
    want = np.rint(values / 257).astype(np.uint8)
    want = np.repeat(want, 3, 2) if channels == 1 else want[..., 2::-1]
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("holder", [bytes, memoryview, lambda data: array("B", data)])
def test_any_buffer_of_bytes_holds_a_file(holder):
    message = file_message(picture(6, 8), holder=holder)
    assert decode_compressed(message, "rgb").shape == (6, 8, 3)


@pytest.mark.parametrize("kind", [".jpg", ".png"])
def test_a_file_cut_anywhere_is_an_image_error(kind):
    whole = file_message(picture(16, 16), kind=kind).data
    for length in range(len(whole)):
        with pytest.raises(ImageError):
            decode_compressed(FileDouble("x", whole[:length]), "rgb")


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_file():
    whole = file_message(picture(16, 16)).data
    thumbnail = file_message(picture(8, 8)).data
    head = b"\xff\xd8\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    carrier = head + whole[2:]
    assert decode_compressed(FileDouble("jpeg", carrier), "rgb").shape == (16, 16, 3)
    with pytest.raises(ImageError, match="truncated or corrupt"):
        decode_compressed(FileDouble("jpeg", carrier[:-60]), "rgb")


def test_bytes_after_the_end_of_a_jpeg_are_ignored():
    message = file_message(picture(16, 16))
    want = decode_compressed(message, "rgb")
    message.data += bytes(100)  # as cameras that fill up their transfers do
    np.testing.assert_array_equal(decode_compressed(message, "rgb"), want)


def test_an_absurd_size_is_refused_before_it_is_decoded():
    jpeg = bytearray(file_message(picture(16, 16)).data)
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 65500, 65500)
    png = bytearray(file_message(picture(16, 16), kind=".png").data)
    png[16:24] = struct.pack(">II", 2**31 - 1, 2**31 - 1)
    png[29:33] = struct.pack(">I", zlib.crc32(png[12:29]))
    for data in (jpeg, png):
        with pytest.raises(ImageError, match="no camera has this size"):
            decode_compressed(FileDouble("x", bytes(data)), "rgb")


def test_a_png_with_any_byte_damaged_is_an_image_error_at_once():
    whole = file_message(picture(9, 9), kind=".png").data
    started_s = time.perf_counter()
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 0x7F  # in a chunk's length: up to 2 GiB that are not there
        with pytest.raises(ImageError):
            decode_compressed(FileDouble("png", bytes(damaged)), "rgb")
    assert time.perf_counter() - started_s < 1.0


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (FileDouble("jpeg", b""), "data is empty"),
        (FileDouble("h264", b"\0\0\0\1abcdefgh"), "neither a jpeg nor a png file"),
        (FileDouble("jpeg", b"\xff\xd8\xff\xd9"), "truncated or corrupt data"),
        (FileDouble("jpeg", b"\xff\xd8\xff\xc0\0\x0b"), "truncated or corrupt data"),
        (FileDouble("jpeg", [1, 2, 3]), "'data' has a wrong type"),
        (FileDouble(None, b"x"), "'format' has a wrong type"),
        (FileDouble("16UC1; compressedDepth png", b"x"), "a depth image"),
        (object(), "not a camera message: expected the fields of"),
    ],
)
def test_a_fault_of_a_compressed_message_says_what_is_wrong(message, says):
    with pytest.raises(ImageError) as caught:
        decode_camera(message, "rgb")
    assert says in str(caught.value)
    assert caught.value.remedy


@settings(max_examples=300, deadline=None)
@given(
    whole=st.sampled_from(WHOLE_FILES),
    hits=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=6),
    label=st.sampled_from([*BGR_FORMATS, *RGB_FORMATS, "bayer_grbg8; jpeg", "bayer_x; png"]),
    colour=st.sampled_from(["rgb", "mono"]),
)
def test_a_damaged_file_is_an_image_or_an_image_error(whole, hits, label, colour):
    data = bytearray(whole)
    for at, value in hits:
        data[at % len(data)] = value
    try:
        got = decode_camera(FileDouble(label, bytes(data)), colour)
    except ImageError:
        return
    assert (got.ndim, got.dtype, got.shape[2]) == (3, np.uint8, 3 if colour == "rgb" else 1)
