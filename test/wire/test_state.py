"""States as messages: exact, strict, and without per-element cost."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from streaming_net_ros.errors import StateError
from streaming_net_ros.frames import Origin
from streaming_net_ros.network.layout import as_state, from_payload, state_strides, to_payload
from streaming_net_ros.wire import StateFormat, read_state, write_state

DTYPES = {"uint8": torch.uint8, "float16": torch.float16, "float32": torch.float32}
shapes = st.one_of(
    st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 6)),
    st.tuples(st.integers(1, 40)),
)


def message():
    stamp = SimpleNamespace(sec=0, nanosec=0)
    return SimpleNamespace(
        header=SimpleNamespace(stamp=stamp, frame_id=""), height=0, width=0, encoding="",
        is_bigendian=0, step=0, data=b"",
    )  # fmt: skip


def state(shape, dtype="float32", seed=0):
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.rand((1, *shape), generator=generator) * 200
    return as_state(numbers.to(DTYPES[dtype]))


def written(shape=(4, 5, 6), dtype="float32", stamp_ns=3_000_000_007, origin=None, sent_ns=None):
    form, batch = StateFormat("stem", shape, dtype), state(shape, dtype)
    filled = message()
    write_state(
        filled, form, to_payload(batch).numpy(), stamp_ns, origin or Origin(-5, 3), sent_ns=sent_ns
    )
    return form, batch, filled


times = st.integers(-(10**19) + 1, 10**19 - 1)
origins = st.builds(Origin, times, times, st.floats(0, 1), st.none() | times)
sent_times = st.none() | st.integers(0, 10**19 - 1)


@given(shapes, st.sampled_from(sorted(DTYPES)), st.integers(0, 2**31 * 10**9), origins, sent_times)
def test_a_state_comes_back_bit_for_bit_with_its_origin(shape, dtype, stamp_ns, origin, sent_ns):
    _, batch, filled = written(shape, dtype, stamp_ns, origin, sent_ns)
    back = read_state(filled, StateFormat("stem", shape, dtype))
    clocked_ns = None if sent_ns is None else origin.since_ns  # in lockstep ages do not count
    assert (back.stamp_ns, back.sent_ns) == (stamp_ns, sent_ns)
    assert back.origin == origin._replace(clocked_ns=clocked_ns)
    again = from_payload(torch.from_numpy(back.payload.copy()), shape)
    assert again.dtype == batch.dtype and torch.equal(again, batch)
    assert again.stride() == batch.stride() == state_strides(batch.shape)


def test_the_payload_is_rows_of_pixels_of_channels():
    _, batch, filled = written((4, 5, 6))
    assert (filled.height, filled.width, filled.encoding) == (5, 6, "32FC4")
    assert filled.step == 6 * 4 * 4 and filled.is_bigendian == 0
    picture = np.frombuffer(filled.data, "<f4").reshape(5, 6, 4)
    assert np.array_equal(picture, batch[0].permute(1, 2, 0).numpy())


def test_a_vector_is_one_row_of_one_channel():
    _, _, filled = written((7,))
    assert (filled.height, filled.width, filled.encoding) == (1, 7, "32FC1")


def test_an_image_state_stays_in_eight_bits():
    _, _, filled = written((3, 5, 6), "uint8")
    assert filled.encoding == "8UC3" and len(filled.data) == 3 * 5 * 6


def test_encoding_and_decoding_are_views():
    form, batch, filled = written((8, 16, 16))
    assert to_payload(batch).data_ptr() == batch.data_ptr()
    payload = read_state(filled, form).payload
    assert payload.ctypes.data == np.frombuffer(filled.data, np.uint8).ctypes.data


def test_a_state_of_the_other_byte_order_is_read_right():
    form, batch, filled = written((2, 3, 4))
    filled.data = np.frombuffer(filled.data, "<f4").byteswap().tobytes()
    filled.is_bigendian = 1
    payload = read_state(filled, form).payload
    assert torch.equal(from_payload(torch.from_numpy(payload), (2, 3, 4)), batch)


def test_an_unaligned_payload_is_copied_to_where_kernels_expect_it():
    raw = torch.zeros(129, dtype=torch.uint8)
    for offset in (0, 1):
        batch = from_payload(raw[offset : offset + 64].view(torch.uint8), (64,))
        assert batch.data_ptr() % 64 == 0


@pytest.mark.parametrize(
    "field, value",
    [
        ("height", 6), ("width", 5), ("encoding", "32FC5"), ("encoding", "rgb8"), ("step", 1),
        ("data", b"\0" * 10), ("data", b""), ("data", b"\0" * 481),
    ],
)  # fmt: skip
def test_a_message_of_another_shape_is_refused_with_both_shapes(field, value):
    form, _, filled = written((4, 5, 6))
    setattr(filled, field, value)
    with pytest.raises(StateError, match=r"state/stem.*expected.*got.*one network file"):
        read_state(filled, form)


@pytest.mark.parametrize(
    "frame_id",
    [
        "",
        "camera",
        "1",
        "1 2",
        "1e9 2 0",
        "--5 1 0",
        "9" * 30 + " 1 0",
        "½ 1 0",
        "1 2 1.5",
        "1 2 nan",
        "1 2 0 x",
        "1 2 0 3",
        "1 2 0 3 4 5",
        "1 2 9e-0 3 4",
    ],
)
def test_a_state_without_a_capture_time_is_refused(frame_id):
    form, _, filled = written()
    filled.header.frame_id = frame_id
    with pytest.raises(StateError, match="capture time"):
        read_state(filled, form)


@pytest.mark.parametrize("payload", [np.zeros(7, np.float32), np.zeros(120, np.float64)])
def test_a_payload_of_another_format_is_not_written(payload):
    with pytest.raises(StateError, match="not the state"):
        write_state(message(), StateFormat("stem", (4, 5, 6)), payload, 0, Origin(0, 0))


@pytest.mark.ros
def test_a_state_costs_about_as_much_as_copying_it():
    """Into and out of a real message, against ten copies of the same bytes."""
    from sensor_msgs.msg import Image

    form, batch = StateFormat("stem", (64, 64, 64)), state((64, 64, 64))  # 1 MiB
    payload = to_payload(batch).numpy()

    def there_and_back():
        filled = Image()
        write_state(filled, form, payload, 1, Origin(2, 0))
        from_payload(torch.from_numpy(read_state(filled, form).payload), form.shape)

    def copy():
        for _ in range(10):  # ten plain copies of 1 MiB take about 1 ms on slow machines
            bytes(payload.data)

    def best(action):
        times = []
        for _ in range(15):
            begun = time.perf_counter()
            action()
            times.append(time.perf_counter() - begun)
        return min(times)

    assert best(there_and_back) < best(copy)
