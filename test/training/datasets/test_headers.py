"""Headers: the size that a file states is the size that it has, and damage is told, not raised."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming_net_ros.errors import DataError
from streaming_net_ros.training.datasets.headers import stated_size

LOSSLESS = [cv2.IMWRITE_WEBP_QUALITY, 101]
FORMATS = {
    "jpeg": (".jpg", 3, []),
    "progressive jpeg": (".jpg", 3, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
    "grey jpeg": (".jpg", 1, []),
    "png": (".png", 3, []),
    "png with alpha": (".png", 4, []),
    "bmp": (".bmp", 3, []),
    "ppm": (".ppm", 3, []),
    "ppm in letters": (".ppm", 3, [cv2.IMWRITE_PXM_BINARY, 0]),
    "pgm": (".pgm", 1, []),
    "webp": (".webp", 3, [cv2.IMWRITE_WEBP_QUALITY, 50]),
    "lossless webp": (".webp", 3, LOSSLESS),
    "webp with alpha": (".webp", 4, [cv2.IMWRITE_WEBP_QUALITY, 50]),
}


def encoded(name, height, width, seed=0):
    suffix, channels, how = FORMATS[name]
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, channels), dtype=np.uint8)
    return cv2.imencode(suffix, image, how)[1].tobytes()


def size_of(file):
    return stated_size(np.frombuffer(file, np.uint8), "some/file")


@pytest.mark.parametrize("name", FORMATS)
@given(height=st.integers(1, 300), width=st.integers(1, 300))
def test_the_stated_size_is_the_size(name, height, width):
    assert size_of(encoded(name, height, width)) == (height, width)


@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data())
def test_a_file_cut_anywhere_states_its_size_or_is_told(name, data):
    file = encoded(name, 5, 7)
    cut = file[: data.draw(st.integers(0, len(file) - 1))]
    try:
        assert size_of(cut) == (5, 7)
    except DataError as error:
        assert str(error).startswith("some/file: not an image, or a damaged one")
        assert f"got {len(cut)} bytes" in str(error)


@given(st.binary(max_size=200))
def test_bytes_of_chance_are_no_image(file):
    for head in (b"", b"P6", b"BM", b"RIFF....WEBPVP8 ", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"):
        try:
            height, width = size_of(head + file)
        except DataError:
            continue
        assert height >= 0 and isinstance(width, int)


@pytest.mark.parametrize(
    "head",
    [b"P6 7 5 255\n", b"P5\n7\n5\n255\n", b"P6\n# drawn by hand\n#\n7 # wide\n5\n255\n"],
)
def test_a_pnm_may_have_comments_and_any_white_space(head):
    assert size_of(head + bytes(105)) == (5, 7)


def test_a_bmp_may_be_old_or_upside_down():
    old = b"BM" + bytes(12) + struct.pack("<IHHHH", 12, 7, 5, 1, 24)
    assert size_of(old) == (5, 7)
    turned = b"BM" + bytes(12) + struct.pack("<Iii", 40, 7, -5)
    assert size_of(turned) == (5, 7)


def test_what_is_asked_for_is_told():
    with pytest.raises(DataError) as error:
        size_of(b"GIF89a and so on")
    assert str(error.value) == (
        "some/file: not an image, or a damaged one: expected a whole jpeg, png, bmp, ppm, pgm or "
        "webp file, got 16 bytes that begin with b'GIF89a a'; fetch this file again, or remove it"
    )
