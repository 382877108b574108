"""Laws of camera messages: whatever the encoding, the picture that went in comes out."""

from __future__ import annotations

import struct
import time
import zlib
from array import array
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming_net_ros.errors import ImageError
from streaming_net_ros.wire.camera import (
    ENCODINGS,
    MAX_SIDE,
    decode_camera,
    decode_compressed,
    decode_image,
    fit_image,
    write_rgb8,
)

DRIVE_A = Path(__file__).parents[3] / "shared/data/drive_a"


@dataclass
class RawDouble:
    height: Any = 0
    width: Any = 0
    encoding: Any = ""
    is_bigendian: Any = 0
    step: Any = 0
    data: Any = b""


@dataclass
class FileDouble:
    format: Any = "jpeg"
    data: Any = field(default=b"")


# ---------------------------------------------------------------------------------------------
# A reference that shares nothing with the package: pictures, packed by numpy


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


# ---------------------------------------------------------------------------------------------
# Raw images


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


@pytest.mark.parametrize(
    "holder",
    [
        bytes,
        bytearray,
        memoryview,
        lambda data: array("B", data),
        lambda data: np.frombuffer(data, np.uint8),
        lambda data: np.frombuffer(data, np.uint8).reshape(6, -1),
    ],
)
def test_any_buffer_of_bytes_holds_an_image(holder):
    rgb = picture(6, 8)
    message = raw_message(rgb, "rgb8")
    message.data = holder(message.data)
    np.testing.assert_array_equal(decode_image(message, "rgb"), rgb)


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(("encoding", "colour"), [("rgb8", "rgb"), ("mono8", "mono")])
def test_what_the_message_already_holds_is_a_read_only_view(encoding, colour, padding):
    message = raw_message(picture(6, 8), encoding, padding=padding)
    message.data = np.frombuffer(message.data, np.uint8).copy()
    got = decode_image(message, colour)
    assert np.shares_memory(got, message.data)
    assert not got.flags.writeable
    assert message.data.flags.writeable


@pytest.mark.parametrize("encoding", sorted(set(ENCODINGS) - {"rgb8"}))
def test_what_was_converted_is_new_and_contiguous(encoding):
    message = raw_message(picture(6, 8), encoding, padding=2)
    got = decode_image(message, "rgb")
    assert got.flags.writeable
    assert got.flags.c_contiguous
    assert not np.shares_memory(got, np.frombuffer(message.data, np.uint8))


# ---------------------------------------------------------------------------------------------
# Faults of raw images


def test_an_unknown_encoding_lists_the_known_ones():
    with pytest.raises(ImageError) as caught:
        decode_image(replace(raw_message(picture(4, 4), "rgb8"), encoding="RGB8"), "rgb")
    assert all(name in str(caught.value) for name in (*ENCODINGS, "RGB8"))


def test_depth_is_refused_with_a_remedy():
    depth = RawDouble(2, 2, "32FC1", 0, 8, np.full((2, 2), 0.5, "<f4").tobytes())
    with pytest.raises(ImageError, match="metres, not brightness: scale it to mono8"):
        decode_image(depth, "mono")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"data": b""}, "data is empty"),
        ({"data": bytes(4 * 24 - 1)}, "expected 4 rows x step 24 = 96 bytes, got 95"),
        ({"step": 23}, "step is shorter than a row: expected at least 24 bytes, got 23"),
        ({"step": 0}, "step is shorter"),
        ({"step": 2**40}, "data is shorter"),
        ({"step": -1}, "step is shorter"),
        ({"height": 0}, "got width 8, height 0"),
        ({"width": 0}, "got width 0, height 4"),
        ({"width": -8}, "got width -8"),
        ({"height": MAX_SIDE + 1}, "no camera has this size"),
        ({"height": MAX_SIDE, "width": MAX_SIDE}, "no camera has this size"),
        ({"height": 4.0}, "'height' has a wrong type: expected a whole number, got float"),
        ({"width": None}, "'width' has a wrong type"),
        ({"is_bigendian": "no"}, "'is_bigendian' has a wrong type"),
        ({"encoding": b"rgb8"}, "'encoding' has a wrong type"),
        ({"data": [0] * 96}, "'data' has a wrong type"),
        ({"data": "x" * 96}, "'data' has a wrong type"),
        ({"data": np.zeros(96, np.float32)}, "'data' has a wrong type"),
        ({"data": np.zeros(192, np.uint8)[::2]}, "'data' has a wrong type"),
    ],
)
def test_a_fault_of_a_message_names_expected_and_got(change, says):
    message = replace(raw_message(picture(4, 8), "rgb8"), **change)
    with pytest.raises(ImageError) as caught:
        decode_image(message, "rgb")
    assert says in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("encoding", "height", "width"),
    [("yuyv", 4, 5), ("uyvy", 4, 1), ("nv12", 5, 4), ("nv21", 4, 5), ("bayer_rggb8", 2, 8)],
)
def test_a_size_that_an_encoding_cannot_hold_is_refused(encoding, height, width):
    message = RawDouble(height, width, encoding, 0, 64, bytes(64 * 64))
    with pytest.raises(ImageError, match="does not allow this size"):
        decode_image(message, "rgb")


def test_bytes_after_the_last_row_are_ignored():
    message = raw_message(picture(4, 8), "rgb8")
    message.data += b"tail"
    np.testing.assert_array_equal(decode_image(message, "rgb"), picture(4, 8))


def test_an_unknown_colour_is_refused():
    for message in (raw_message(picture(4, 8), "rgb8"), file_message(picture(4, 8))):
        with pytest.raises(ImageError, match="expected rgb or mono, got bgr"):
            decode_camera(message, "bgr")


junk = st.one_of(
    st.none(), st.integers(-3, 40), st.integers(), st.floats(), st.text(max_size=5), st.binary()
)


@settings(max_examples=300, deadline=None)
@given(
    height=st.one_of(st.integers(-1, 9), junk),
    width=st.one_of(st.integers(-1, 9), junk),
    encoding=st.one_of(st.sampled_from(ENCODINGS), junk),
    big=st.one_of(st.booleans(), junk),
    step=st.one_of(st.integers(0, 80), junk),
    data=st.one_of(st.binary(max_size=700), junk),
    colour=st.sampled_from(["rgb", "mono"]),
)
def test_a_garbage_image_is_an_image_or_an_image_error(
    height, width, encoding, big, step, data, colour
):
    try:
        got = decode_camera(RawDouble(height, width, encoding, big, step, data), colour)
    except ImageError:
        return
    assert got.shape == (height, width, 3 if colour == "rgb" else 1)


# ---------------------------------------------------------------------------------------------
# Compressed images


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


def test_a_message_of_the_other_kind_is_an_image_error():
    with pytest.raises(ImageError, match="no field 'encoding'"):
        decode_image(FileDouble(), "rgb")
    with pytest.raises(ImageError, match="no field 'format'"):
        decode_compressed(RawDouble(), "rgb")


WHOLE_FILES = [file_message(picture(9, 9), kind=kind).data for kind in (".jpg", ".png")]


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


@settings(deadline=None)
@given(label=junk, data=junk, head=st.sampled_from([b"", b"\xff\xd8\xff", WHOLE_FILES[1][:16]]))
def test_a_garbage_file_is_an_image_error(label, data, head):
    data = head + data if isinstance(data, bytes) else data
    with pytest.raises(ImageError):
        decode_camera(FileDouble(label, data), "rgb")


# ---------------------------------------------------------------------------------------------
# Fitting and writing


@settings(max_examples=100, deadline=None)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    target=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    channels=st.sampled_from([1, 3]),
)
def test_a_plain_image_stays_plain_at_every_size(size, target, channels):
    image = np.full((*size, channels), 77, np.uint8)
    height, width = target
    got = fit_image(image, width, height)
    assert (got.shape, got.dtype) == ((height, width, channels), np.uint8)
    assert got.flags.c_contiguous
    assert (got == 77).all()


def test_an_image_of_the_right_size_is_returned_as_it_is():
    image = picture(6, 8)
    assert fit_image(image, 8, 6) is image


def test_a_strided_image_of_the_right_size_becomes_contiguous():
    image = decode_image(raw_message(picture(6, 8), "rgb8", padding=5), "rgb")
    got = fit_image(image, 8, 6)
    assert got.flags.c_contiguous
    np.testing.assert_array_equal(got, image)


def test_shrinking_averages_and_does_not_alias():
    stripes = np.zeros((8, 8, 1), np.uint8)
    stripes[:, ::4] = 200
    assert (fit_image(stripes, 2, 2) == 50).all()
    assert (fit_image(stripes, 2, 16) == 50).all()  # one axis shrinks while the other grows


def test_enlarging_interpolates():
    got = fit_image(np.array([[[0], [100]]], np.uint8), 4, 1)
    np.testing.assert_array_equal(got.ravel(), [0, 25, 75, 100])


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        b"bytes",
        None,
    ],
)
def test_what_is_not_an_image_is_neither_fitted_nor_written(image):
    with pytest.raises(ImageError, match=r"expected uint8 \(height, width, channels\)"):
        fit_image(image, 2, 2)
    with pytest.raises(ImageError, match=r"expected uint8 \(height, width, 3\)"):
        write_rgb8(RawDouble(), image)


@pytest.mark.parametrize(("width", "height"), [(0, 4), (4, -1), (MAX_SIDE + 1, 4)])
def test_an_absurd_size_to_fit_is_refused(width, height):
    with pytest.raises(ImageError, match="size to fit"):
        fit_image(picture(4, 4), width, height)


@pytest.mark.parametrize("image", [picture(6, 8), picture(6, 16)[:, ::2], picture(1, 1)])
def test_what_is_written_is_read(image):
    message = RawDouble()
    write_rgb8(message, image)
    assert type(message.data) is array
    assert message.data.typecode == "B"
    np.testing.assert_array_equal(decode_camera(message, "rgb"), image)


# ---------------------------------------------------------------------------------------------
# Real messages


@pytest.mark.ros
def test_real_ros_messages_round_trip():
    messages = pytest.importorskip("sensor_msgs.msg", reason="sensor_msgs is not installed")
    rgb = picture(48, 64)
    raw = messages.Image()
    write_rgb8(raw, rgb)
    np.testing.assert_array_equal(decode_camera(raw, "rgb"), rgb)
    double = file_message(rgb[..., ::-1], "rgb8; jpeg compressed bgr8")
    compressed = messages.CompressedImage(format=double.format, data=double.data)
    assert np.abs(decode_camera(compressed, "rgb").astype(int) - rgb).max() <= 12


@pytest.mark.data
def test_a_recorded_drive_decodes():
    if not DRIVE_A.is_dir():
        pytest.skip("no development recordings beside the repository")
    highlevel = pytest.importorskip("rosbags.highlevel", reason="rosbags is not installed")
    typesys = pytest.importorskip("rosbags.typesys")
    store = typesys.get_typestore(typesys.Stores.ROS2_JAZZY)
    with highlevel.AnyReader([DRIVE_A], default_typestore=store) as reader:
        camera = [c for c in reader.connections if c.msgtype.endswith("CompressedImage")]
        shapes = set()
        for connection, _, data in reader.messages(connections=camera):
            message = reader.deserialize(data, connection.msgtype)
            shapes.add(decode_camera(message, "rgb").shape)
            shapes.add(decode_camera(message, "mono").shape)
    assert shapes == {(120, 160, 3), (120, 160, 1)}
