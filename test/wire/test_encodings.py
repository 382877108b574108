"""Laws of raw images: whatever the encoding, the picture that went in comes out.

The reference shares nothing with the package: pictures, packed by numpy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming_net_ros.errors import ImageError
from streaming_net_ros.wire.camera import decode_image
from streaming_net_ros.wire.encodings import ENCODINGS


@dataclass
class RawDouble:
    height: Any = 0
    width: Any = 0
    encoding: Any = ""
    is_bigendian: Any = 0
    step: Any = 0
    data: Any = b""


def picture(height: int, width: int) -> np.ndarray:
    """Smooth, every channel different: red grows to the right, green downwards, blue shrinks."""
    y, x = np.mgrid[0:height, 0:width]
    x, y = x / max(width - 1, 1), y / max(height - 1, 1)
    return np.rint(np.stack([230 * x + 10, 200 * y + 20, 220 - 190 * x], 2)).astype(np.uint8)


def plain(colour: tuple[int, int, int], height: int = 8, width: int = 12) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def grey_of(rgb: np.ndarray) -> np.ndarray:
    return (rgb.astype(float) @ [0.299, 0.587, 0.114])[..., None]


def yuv_of(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """BT.601, limited range."""
    r, g, b = np.moveaxis(rgb / 255.0, 2, 0)
    y = 16 + 65.481 * r + 128.553 * g + 24.966 * b
    u = 128 - 37.797 * r - 74.203 * g + 112.0 * b
    v = 128 + 112.0 * r - 93.786 * g - 18.214 * b
    return y, u, v


def pairs(plane: np.ndarray) -> np.ndarray:
    return (plane[:, 0::2] + plane[:, 1::2]) / 2


def packed_422(rgb: np.ndarray, order: str) -> np.ndarray:
    y, u, v = yuv_of(rgb)
    parts = {"u": [pairs(u)], "v": [pairs(v)], "y": [y[:, 0::2], y[:, 1::2]]}
    rows = np.stack([parts[letter].pop(0) for letter in order], 2)
    return np.rint(rows).astype(np.uint8).reshape(len(rgb), -1)


def packed_420(rgb: np.ndarray, order: str) -> np.ndarray:
    y, u, v = yuv_of(rgb)
    small = {"u": pairs(u)[0::2] / 2 + pairs(u)[1::2] / 2}
    small["v"] = pairs(v)[0::2] / 2 + pairs(v)[1::2] / 2
    chroma = np.stack([small[letter] for letter in order], 2).reshape(len(rgb) // 2, -1)
    return np.rint(np.concatenate([y, chroma])).astype(np.uint8)


def mosaic(rgb: np.ndarray, pattern: str) -> np.ndarray:
    rows = np.zeros(rgb.shape[:2], rgb.dtype)
    for at, letter in enumerate(pattern):
        corner = np.s_[at // 2 :: 2, at % 2 :: 2]
        rows[corner] = rgb[(*corner, "rgb".index(letter))]
    return rows


def samples_of(rgb: np.ndarray, encoding: str) -> np.ndarray:
    """(rows, samples) as the encoding lays them out: 8 bit, or 16 bit native."""
    by_name = {"yuv422": "uyvy", "uyvy": "uyvy", "yuv422_yuy2": "yuyv", "yuyv": "yuyv"}
    if encoding in by_name:
        return packed_422(rgb, by_name[encoding])
    if encoding.startswith("nv"):
        return packed_420(rgb, {"nv12": "uv", "nv21": "vu"}[encoding])
    is_wide = "16" in encoding
    wide = rgb.astype(np.uint16) * 257 if is_wide else rgb
    if encoding.startswith("bayer_"):
        return mosaic(wide, encoding[6:10])
    names = {"mono": "m", "8UC1": "m", "16UC1": "m", "8UC3": "bgr", "16UC3": "bgr"}
    names |= {"8UC4": "bgra", "16UC4": "bgra"}
    order = names.get(encoding) or names.get(encoding.rstrip("168")) or encoding.rstrip("168")
    full = 65535 if is_wide else 255
    alpha = np.full(rgb.shape[:2], full // 3)
    grey = np.rint(grey_of(rgb)[..., 0]) * (full // 255)
    planes = dict(zip("rgb", np.moveaxis(wide, 2, 0), strict=True)) | {"a": alpha, "m": grey}
    return np.stack([planes[c] for c in order], 2).astype(wide.dtype).reshape(len(rgb), -1)


def raw_message(
    rgb: np.ndarray, encoding: str, *, padding: int = 0, big: bool = False
) -> RawDouble:
    samples = samples_of(rgb, encoding)
    rows = samples.astype(samples.dtype.newbyteorder(">" if big else "<")).view(np.uint8)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xA5)
    height, width = rgb.shape[:2]
    return RawDouble(height, width, encoding, int(big), padded.shape[1], padded.tobytes())


def is_exact(encoding: str) -> bool:
    return not encoding.startswith(("yuv", "yuyv", "uyvy", "nv", "bayer"))


def is_grey(encoding: str) -> bool:
    return encoding.startswith("mono") or encoding.endswith("C1")


WIDE = [name for name in ENCODINGS if "16" in name]
COLOURED = [name for name in ENCODINGS if not is_grey(name)]
PRIMARIES = {"red": (220, 30, 30), "green": (30, 220, 30), "blue": (30, 30, 220)}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_picture_that_went_in_comes_out(encoding):
    rgb = picture(48, 64)
    message = raw_message(rgb, encoding)
    got = decode_image(message, "rgb")
    grey = decode_image(message, "mono")
    want = np.repeat(np.rint(grey_of(rgb)), 3, 2) if is_grey(encoding) else rgb
    assert (got.shape, got.dtype) == ((48, 64, 3), np.uint8)
    assert (grey.shape, grey.dtype) == ((48, 64, 1), np.uint8)
    inner = np.s_[2:-2, 2:-2]  # a Bayer border is a copy of its neighbours
    off = np.abs(got.astype(int) - want)[inner]
    assert off.max() <= (0 if is_exact(encoding) else 6)
    assert np.abs(grey - grey_of(rgb))[inner].max() <= (1 if is_exact(encoding) else 6)


@pytest.mark.parametrize("name", PRIMARIES)
@pytest.mark.parametrize("encoding", COLOURED)
def test_red_is_red_and_blue_is_blue(encoding, name):
    message = raw_message(plain(PRIMARIES[name]), encoding)
    assert np.abs(decode_image(message, "rgb").astype(int) - PRIMARIES[name]).max() <= 4


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_grey_and_rgb_of_one_message_are_equally_bright(encoding):
    message = raw_message(plain((240, 236, 230)), encoding)
    grey = decode_image(message, "mono")
    assert np.abs(grey - grey_of(decode_image(message, "rgb"))).max() <= 3


@pytest.mark.parametrize("padding", [1, 2, 7, 64])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_padded_rows_equal_unpadded_rows(encoding, padding):
    rgb = picture(10, 14)
    for colour in ("rgb", "mono"):
        want = decode_image(raw_message(rgb, encoding), colour)
        got = decode_image(raw_message(rgb, encoding, padding=padding), colour)
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_big_endian_equals_little_endian(encoding, padding):
    rgb = picture(10, 14)
    for colour in ("rgb", "mono"):
        want = decode_image(raw_message(rgb, encoding), colour)
        got = decode_image(raw_message(rgb, encoding, padding=padding, big=True), colour)
        np.testing.assert_array_equal(got, want)


def test_byte_order_matters_for_16_bits_and_for_no_others():
    rgb = picture(10, 14) // 2
    for encoding in ENCODINGS:
        message = raw_message(rgb, encoding)
        if encoding in WIDE:
            message.data = (np.frombuffer(message.data, "<u2") & 0xFF00).tobytes()
        wrong = replace(message, is_bigendian=1)
        same = np.array_equal(decode_image(message, "rgb"), decode_image(wrong, "rgb"))
        assert same is (encoding not in WIDE)


def test_16_bits_are_rounded_to_8_for_every_value():
    values = np.arange(65536, dtype="<u2")
    message = RawDouble(256, 256, "mono16", 0, 512, values.tobytes())
    want = np.rint(values / 257).astype(np.uint8).reshape(256, 256, 1)
    np.testing.assert_array_equal(decode_image(message, "mono"), want)


@settings(max_examples=150, deadline=None)
@given(
    encoding=st.sampled_from(ENCODINGS),
    size=st.tuples(st.integers(2, 20), st.integers(2, 20)),
    padding=st.integers(0, 5),
    big=st.booleans(),
    colour=st.sampled_from(["rgb", "mono"]),
)
def test_every_size_round_trips(encoding, size, padding, big, colour):
    unit = 1 if is_exact(encoding) or encoding.startswith("bayer") else 2
    height, width = (max(3, n) // unit * unit for n in size)
    value = PRIMARIES["red"]
    message = raw_message(plain(value, height, width), encoding, padding=padding, big=big)
    got = decode_image(message, colour).astype(int)
    grey = grey_of(plain(value, height, width))
    want = plain(value, height, width)
    want = grey if colour == "mono" or is_grey(encoding) else want
    assert got.shape == (height, width, 3 if colour == "rgb" else 1)
    assert np.abs(got - want).max() <= 4


@pytest.mark.parametrize("encoding", [name for name in ENCODINGS if is_exact(name)])
def test_one_pixel_is_an_image(encoding):
    assert decode_image(raw_message(picture(1, 1), encoding), "rgb").shape == (1, 1, 3)


@pytest.mark.parametrize("encoding", sorted(set(ENCODINGS) - {"rgb8"}))
def test_what_was_converted_is_new_and_contiguous(encoding):
    message = raw_message(picture(6, 8), encoding, padding=2)
    got = decode_image(message, "rgb")
    assert got.flags.writeable
    assert got.flags.c_contiguous
    assert not np.shares_memory(got, np.frombuffer(message.data, np.uint8))


def test_bytes_after_the_last_row_are_ignored():
    message = raw_message(picture(4, 8), "rgb8")
    message.data += b"tail"
    np.testing.assert_array_equal(decode_image(message, "rgb"), picture(4, 8))


def test_an_unknown_encoding_lists_the_known_ones():
    with pytest.raises(ImageError) as caught:
        decode_image(replace(raw_message(picture(4, 4), "rgb8"), encoding="RGB8"), "rgb")
    assert all(name in str(caught.value) for name in (*ENCODINGS, "RGB8"))


def test_depth_is_refused_with_a_remedy():
    depth = RawDouble(2, 2, "32FC1", 0, 8, np.full((2, 2), 0.5, "<f4").tobytes())
    with pytest.raises(ImageError, match="metres, not brightness: scale it to mono8"):
        decode_image(depth, "mono")


@pytest.mark.parametrize(
    ("encoding", "height", "width"),
    [("yuyv", 4, 5), ("uyvy", 4, 1), ("nv12", 5, 4), ("nv21", 4, 5), ("bayer_rggb8", 2, 8)],
)
def test_a_size_that_an_encoding_cannot_hold_is_refused(encoding, height, width):
    message = RawDouble(height, width, encoding, 0, 64, bytes(64 * 64))
    with pytest.raises(ImageError, match="does not allow this size"):
        decode_image(message, "rgb")
