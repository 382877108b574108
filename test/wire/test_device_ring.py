"""A ring on a device gives exactly what was written, or nothing, as one of the host does."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_device import FakeDevice
from streaming_net_ros.errors import TransportError
from streaming_net_ros.wire import DeviceRingReader, DeviceRingWriter, RingReader, RingWriter

STATE_BYTES = 24


def opened(writer, make):
    descriptor = writer.descriptor()
    try:
        return make(descriptor)
    finally:
        os.close(descriptor)


def reader_of(writer, device, state_bytes=STATE_BYTES):
    return opened(writer, lambda lent: DeviceRingReader(lent, state_bytes, device))


def state_of(number):
    return np.full(STATE_BYTES, number % 251 + 1, np.uint8)


def written(writer, number):
    return writer.write(state_of(number).ctypes.data)


def read(reader, number):
    """What was read; None if it is not there."""
    into = np.zeros(STATE_BYTES, np.uint8)
    return into if reader.read(number, into.ctypes.data) else None


@given(st.integers(2, 5), st.lists(st.none() | st.integers(0, 30), max_size=40))
def test_a_read_gives_what_was_written_under_that_number_or_nothing(slots, steps):
    """Steps: None writes the next state, a number reads that state."""
    device = FakeDevice()
    with closing(DeviceRingWriter(slots, STATE_BYTES, device)) as writer:
        reader, newest = reader_of(writer, device), 0
        for step in steps:
            if step is None:
                newest += 1
                assert written(writer, newest) == newest
            else:
                got = read(reader, step)
                assert (got is not None) == (max(0, newest - slots) < step <= newest)
                assert got is None or np.array_equal(got, state_of(step))


def test_a_state_that_is_overwritten_while_it_is_copied_is_not_used():
    device, reads = FakeDevice(), FakeDevice()
    with closing(DeviceRingWriter(2, STATE_BYTES, device)) as writer:
        reader = reader_of(writer, reads)
        written(writer, 1)
        assert read(reader, 1) is not None
        reads.on_copy = lambda: [written(writer, number) for number in (2, 3)]
        assert read(reader, 1) is None


def test_a_state_is_not_there_before_its_copy_is_complete():
    device = FakeDevice()
    with closing(DeviceRingWriter(2, STATE_BYTES, device)) as writer:
        reader, seen = reader_of(writer, FakeDevice()), []
        device.on_copy = lambda: seen.append(read(reader, 1))
        written(writer, 1)
        assert seen == [None] and read(reader, 1) is not None


def test_a_state_that_could_not_be_copied_is_not_there():
    device = FakeDevice()
    with closing(DeviceRingWriter(2, STATE_BYTES, device)) as writer:
        reader = reader_of(writer, FakeDevice())
        device.broken = {"copy"}
        with pytest.raises(TransportError, match="copy"):
            written(writer, 1)
        assert read(reader, 1) is None


def test_a_closed_ring_has_no_states_and_its_memory_is_used_again():
    device = FakeDevice()
    first = DeviceRingWriter(2, STATE_BYTES, device)
    reader = reader_of(first, FakeDevice())
    written(first, 1)
    first.close()
    with closing(DeviceRingWriter(2, STATE_BYTES, device)) as second:
        written(second, 1)
        assert device.allocated == 1
        assert read(reader, 1) is None
        assert read(reader_of(second, FakeDevice()), 1) is not None


def test_memory_is_let_go_of_with_its_last_user():
    device = FakeDevice()
    with closing(DeviceRingWriter(2, STATE_BYTES, FakeDevice())) as writer:
        readers = [reader_of(writer, device) for _ in range(2)]
        assert device.opened == 2
        readers.pop()
        assert device.opened == 1
        readers.pop()
        assert device.opened == 0


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda d: DeviceRingReader(d, STATE_BYTES, FakeDevice("GPU-b")),
         "another GPU: expected GPU-b, got GPU-a"),
        (lambda d: DeviceRingReader(d, 48, FakeDevice()), "holds other states: expected 48"),
        (lambda d: RingReader(d, STATE_BYTES), "no ring of states"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(make, message):
    with (
        closing(DeviceRingWriter(2, STATE_BYTES, FakeDevice())) as writer,
        pytest.raises(TransportError, match=message),
    ):
        opened(writer, make)


def test_a_ring_of_the_host_is_none_of_a_device():
    with (
        closing(RingWriter(2, STATE_BYTES)) as writer,
        pytest.raises(TransportError, match="no ring of states"),
    ):
        reader_of(writer, FakeDevice())


@pytest.mark.parametrize("call", ["allocate", "handle"])
def test_memory_that_cannot_be_had_or_shared_is_told_and_not_lost(call):
    device = FakeDevice()
    device.broken = {call}
    with pytest.raises(TransportError, match=call):
        DeviceRingWriter(2, STATE_BYTES, device)
    device.broken = set()
    DeviceRingWriter(2, STATE_BYTES, device).close()
    assert device.allocated == 1


def test_another_process_reads_what_was_written_here():
    code = f"""
import sys
import numpy as np
from fake_device import FakeDevice
from streaming_net_ros.wire import DeviceRingReader
reader = DeviceRingReader(int(sys.argv[1]), {STATE_BYTES}, FakeDevice())
into = np.zeros({STATE_BYTES}, np.uint8)
print(reader.read(3, into.ctypes.data), set(into.tolist()), reader.read(4, into.ctypes.data))
"""
    with closing(DeviceRingWriter(2, STATE_BYTES, FakeDevice())) as writer:
        for number in (1, 2, 3):
            written(writer, number)
        descriptor = writer.descriptor()
        done = subprocess.run(
            [sys.executable, "-c", code, str(descriptor)], pass_fds=[descriptor],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        os.close(descriptor)
    assert done.stdout.strip() == "True {4} False"
