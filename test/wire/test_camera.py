"""Laws of camera messages: any message is an image or an ImageError; fitting and writing."""

from __future__ import annotations

from array import array
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming_net_ros.errors import ImageError
from streaming_net_ros.wire.camera import (
    MAX_SIDE,
    decode_camera,
    decode_compressed,
    decode_image,
    fit_image,
    write_rgb8,
)
from streaming_net_ros.wire.encodings import ENCODINGS
from wire.test_compressed import WHOLE_FILES, FileDouble, file_message
from wire.test_encodings import RawDouble, picture, raw_message

DRIVE_A = Path(__file__).parents[3] / "shared/data/drive_a"

junk = st.one_of(
    st.none(), st.integers(-3, 40), st.integers(), st.floats(), st.text(max_size=5), st.binary()
)


# ---------------------------------------------------------------------------------------------
# Messages


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


def test_an_unknown_colour_is_refused():
    for message in (raw_message(picture(4, 8), "rgb8"), file_message(picture(4, 8))):
        with pytest.raises(ImageError, match="expected rgb or mono, got bgr"):
            decode_camera(message, "bgr")


def test_a_message_of_the_other_kind_is_an_image_error():
    with pytest.raises(ImageError, match="no field 'encoding'"):
        decode_image(FileDouble(), "rgb")
    with pytest.raises(ImageError, match="no field 'format'"):
        decode_compressed(RawDouble(), "rgb")


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
