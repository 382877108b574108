"""A ring gives exactly what was written, or nothing; it leaves nothing behind."""

from __future__ import annotations

import fcntl
import mmap
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import open_files
from streaming_net_ros.errors import TransportError
from streaming_net_ros.wire import RingReader, RingWriter

STATE_BYTES = 24
BIG = 1 << 20  # long enough to write that a reader looks in between


def reader_of(writer, state_bytes=STATE_BYTES):
    descriptor = writer.descriptor()
    try:
        return RingReader(descriptor, state_bytes)
    finally:
        os.close(descriptor)


def state_of(number, state_bytes=STATE_BYTES):
    return np.full(state_bytes, number % 251 + 1, np.uint8)


@given(st.integers(2, 5), st.lists(st.none() | st.integers(0, 30), max_size=40))
def test_a_read_gives_what_was_written_under_that_number_or_nothing(slots, steps):
    """Steps: None writes the next state, a number reads that state."""
    with closing(RingWriter(slots, STATE_BYTES)) as writer:
        reader, newest = reader_of(writer), 0
        into = np.zeros(STATE_BYTES, np.uint8)
        for step in steps:
            if step is None:
                newest += 1
                assert writer.write(state_of(newest)) == newest
            else:
                is_there = reader.read(step, into)
                assert is_there == (max(0, newest - slots) < step <= newest)
                assert not is_there or np.array_equal(into, state_of(step))


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
def test_numbers_of_any_kind_come_back_bit_for_bit(dtype):
    payload = np.random.default_rng(0).integers(0, 256, 48, np.uint8).view(dtype)  # NaNs too
    with closing(RingWriter(2, 48)) as writer:
        number = writer.write(payload)
        into = np.zeros_like(payload)
        assert reader_of(writer, 48).read(number, into)
        assert into.tobytes() == payload.tobytes()


def test_every_reader_reads_every_state_and_none_disturbs_another():
    with closing(RingWriter(3, STATE_BYTES)) as writer:
        readers, into = [reader_of(writer) for _ in range(3)], np.zeros(STATE_BYTES, np.uint8)
        for number in range(1, 10):
            writer.write(state_of(number))
            for reader in readers:
                assert reader.read(number, into) and np.array_equal(into, state_of(number))


def test_what_was_mapped_outlives_its_writer():
    writer = RingWriter(2, STATE_BYTES)
    reader, into = reader_of(writer), np.zeros(STATE_BYTES, np.uint8)
    writer.write(state_of(1))
    writer.close()
    del writer
    assert reader.read(1, into) and np.array_equal(into, state_of(1))


# --- told of before it is there ---------------------------------------------------------------


def test_a_state_is_told_of_before_it_is_copied_and_who_is_early_gets_it_whole():
    with closing(RingWriter(2, STATE_BYTES)) as writer:
        reader, into, gone = reader_of(writer), np.zeros(STATE_BYTES, np.uint8), []
        there = threading.Event()

        def come_early(number):
            assert not reader._has(number)
            comes = threading.Thread(target=lambda: gone.append(reader.read(number, into, 20.0)))
            look = reader._sequences

            class Looked:
                """The sequence numbers, which tell that somebody waits for one."""

                def __getitem__(self, slot):
                    there.set()
                    return look[slot]

            reader._sequences = Looked()
            comes.start()
            assert there.wait(20)  # it waits, and the state is not there yet
            threads.append(comes)

        threads = []
        assert writer.write(state_of(1), tell=come_early) == 1
        threads[0].join(20)
        assert gone == [True] and np.array_equal(into, state_of(1))


@given(st.integers(2, 4), st.integers(1, 8), st.integers(0, 8))
def test_what_is_used_where_it_lies_is_there_until_its_slot_is_written_again(slots, number, more):
    with closing(RingWriter(slots, STATE_BYTES)) as writer:
        reader = reader_of(writer)
        for n in range(1, number + 1):
            writer.write(state_of(n))
        assert reader.comes(number) and reader.has(number)
        cell = reader.cells[number % slots]
        assert np.array_equal(cell, state_of(number))
        for n in range(number + 1, number + more + 1):
            writer.write(state_of(n))
        assert reader.has(number) == (more < slots)
        assert not reader.has(number) or np.array_equal(cell, state_of(number))
        writer._begin()  # from the first moment of a write on
        assert reader.has(number) == (more + 1 < slots)


def test_nobody_waits_for_one_that_is_written_later_or_was_overwritten():
    """Only for a state that is being written: a wait without an end would be seen as one here."""
    with closing(RingWriter(2, STATE_BYTES)) as writer:
        reader, into = reader_of(writer), np.zeros(STATE_BYTES, np.uint8)
        for number in range(1, 4):
            writer.write(state_of(number))
        for number in (0, 1, 4, 5):
            assert not reader.read(number, into, timeout_s=1e9)


def test_one_whose_writer_has_died_at_it_is_waited_for_no_longer_than_told():
    with closing(RingWriter(2, STATE_BYTES)) as writer:
        reader, into = reader_of(writer), np.zeros(STATE_BYTES, np.uint8)
        number, _ = writer._begin()
        assert not reader.read(number, into, timeout_s=0.0)
        assert not reader.read(number, into)


# --- torn states ------------------------------------------------------------------------------

# Writes as fast as it can, in a process of its own, into a ring of two slots.
WRITE = f"""
import socket, sys, numpy as np
from streaming_net_ros.wire.ring import RingWriter
writer = RingWriter(2, {BIG})
line = socket.socket(fileno=int(sys.argv[1]))
socket.send_fds(line, [b'.'], [writer.descriptor()])
states = [np.full({BIG}, n, np.uint8) for n in range(1, 252)]
while True:
    writer.write(states[writer._written % 251])
"""


class Writing:
    """A process that writes without end."""

    def __init__(self):
        ours, theirs = socket.socketpair()
        self.child = subprocess.Popen(
            [sys.executable, "-c", WRITE, str(theirs.fileno())], pass_fds=[theirs.fileno()]
        )
        theirs.close()
        with ours:
            _, (descriptor,), _, _ = socket.recv_fds(ours, 1, 1)
        self.memory_id = os.fstat(descriptor).st_ino
        self.reader = RingReader(descriptor, BIG)
        os.close(descriptor)
        self.into = np.zeros(BIG, np.uint8)

    def newest(self):
        return int(self.reader._sequences.max()) // 2

    def read(self, number):
        """Was it read? What was read must be whole."""
        if not self.reader.read(number, self.into):
            return False
        assert (self.into == (number - 1) % 251 + 1).all(), f"state {number} is torn"
        return True

    def end(self):
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()


def test_no_state_is_torn_while_a_process_writes_as_fast_as_it_can():
    writing = Writing()
    try:
        reads = missed = 0
        while reads < 100 or missed < 100:
            was_read = writing.read(writing.newest())
            reads, missed = reads + was_read, missed + (not was_read)
    finally:
        writing.end()


def shared_files():
    """Files of shared memory, without those that other processes' DDS makes and removes."""
    return {path for path in Path("/dev/shm").iterdir() if "fastdds" not in path.name}


def maps_of_this_process():
    """What this process has mapped, by file number."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return {int(line.split()[4]) for line in lines if "memfd:streaming_net_ros" in line}


def test_a_writer_killed_in_the_middle_leaves_no_torn_state_and_no_memory():
    """Processes are slow to start: one is killed; where in a state it was is seen, not chosen."""
    files = shared_files()
    writing = Writing()
    while writing.newest() < 3:
        pass
    writing.end()
    newest = writing.newest()
    found = [number for number in range(newest + 2) if writing.read(number)]
    # The slot that was being written is lost, the other one is whole.
    assert found in ([newest], [newest - 1, newest], [newest - 1])
    assert shared_files() == files
    assert writing.memory_id in maps_of_this_process()
    writing.reader = None
    assert writing.memory_id not in maps_of_this_process()


def test_wherever_a_writer_is_killed_no_reader_gets_what_it_was_writing():
    """A child ends itself in the midst of a write: before, in and after the copy, in each slot."""
    for slots in (2, 3):
        for at in range(1, 2 * slots + 2):
            for order in (1, 2):  # the barrier before the copy, and the one after it
                with closing(RingWriter(slots, STATE_BYTES)) as writer:
                    reader, into = reader_of(writer), np.zeros(STATE_BYTES, np.uint8)
                    for number in range(1, at):
                        writer.write(state_of(number))
                    child = os.fork()
                    if child == 0:
                        die_in_write(writer, order, state_of(at))
                    _, status = os.waitpid(child, 0)
                    assert os.WTERMSIG(status) == signal.SIGKILL
                    assert not reader.read(at, into) and not reader.read(at - slots, into)
                    for number in range(max(1, at - slots + 1), at):
                        assert reader.read(number, into)
                        assert np.array_equal(into, state_of(number))


def die_in_write(writer, order, payload):
    barriers = []

    def die():
        barriers.append(None)
        if len(barriers) == order:
            os.kill(os.getpid(), signal.SIGKILL)

    writer._order = die
    writer.write(payload)
    os._exit(0)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_state_that_is_overwritten_or_written_while_it_is_copied_is_not_given(number):
    with closing(RingWriter(2, STATE_BYTES)) as writer:
        reader, into = reader_of(writer), np.zeros(STATE_BYTES, np.uint8)
        writer.write(state_of(1))
        barriers = []

        def overtake():
            barriers.append(None)
            if len(barriers) == 2:  # after the copy, before the second look
                writer.write(state_of(2))
                writer.write(state_of(3))

        reader._order = overtake
        assert not reader.read(number, into)


def test_a_thread_that_writes_beside_readers_tears_nothing():
    is_over = threading.Event()
    with closing(RingWriter(2, BIG)) as writer:
        reader, into = reader_of(writer, BIG), np.zeros(BIG, np.uint8)

        def write():
            while not is_over.is_set():
                writer.write(state_of(writer._written + 1, BIG))

        thread = threading.Thread(target=write)
        thread.start()
        try:
            for _ in range(200):
                number = writer._written
                if number and reader.read(number, into):
                    assert (into == state_of(number, 1)).all()
        finally:
            is_over.set()
            thread.join()


# --- what is lent can only be read ------------------------------------------------------------


@pytest.fixture(params=["sealed", "an older kernel"])
def lent(request, monkeypatch):
    """A descriptor as a reader gets it."""
    if request.param == "an older kernel":
        monkeypatch.setattr("streaming_net_ros.wire.ring._SEAL_FUTURE_WRITE", 1 << 20)
    with closing(RingWriter(2, STATE_BYTES)) as writer:
        writer.write(state_of(1))
        descriptor = writer.descriptor()
        yield descriptor
        os.close(descriptor)


def test_a_reader_cannot_write(lent):
    size = os.fstat(lent).st_size
    with pytest.raises(OSError):
        os.write(lent, b"x")
    with pytest.raises(PermissionError):
        mmap.mmap(lent, size)
    reader = RingReader(lent, STATE_BYTES)
    with pytest.raises(ValueError, match="read-only"):
        reader._cells[0][:] = 0


@pytest.mark.parametrize("lent", ["sealed"], indirect=True)
def test_nor_can_one_who_opens_the_memory_again_to_write(lent):
    again = os.open(f"/proc/self/fd/{lent}", os.O_RDWR)
    try:
        with pytest.raises(PermissionError):
            os.write(again, b"x")
        with pytest.raises(PermissionError):
            mmap.mmap(again, os.fstat(again).st_size)
        with pytest.raises(PermissionError):
            os.ftruncate(again, 0)
    finally:
        os.close(again)


# --- what is no such ring ---------------------------------------------------------------------


def memory(size, seals=fcntl.F_SEAL_SHRINK, content=b""):
    descriptor = os.memfd_create("other", os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    os.pwrite(descriptor, content, 0)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


def a_ring(**change):
    """The bytes of a ring's first page, one field of its header changed."""
    with closing(RingWriter(2, STATE_BYTES)) as writer:
        head = dict(zip(("magic", "slots", "state_bytes"), map(int, writer._header), strict=True))
        size = len(writer._memory)
    return size, np.array(list({**head, **change}.values()), np.uint64).tobytes()


def refused(descriptor, text):
    opened = open_files()
    try:
        with pytest.raises(TransportError, match=text):
            RingReader(descriptor, STATE_BYTES)
        assert open_files() == opened
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"magic": 0}, "no ring"),
        ({"slots": 0}, "smaller than it says"),
        ({"slots": 1000}, "smaller than it says"),
        ({"slots": 2**64 - 1}, "smaller than it says"),
        ({"state_bytes": 0}, "other states.*expected 24 bytes, got 0.*one network file"),
        ({"state_bytes": 2**63}, "other states"),
        ({"state_bytes": STATE_BYTES + 1}, "other states"),
    ],
)
def test_a_damaged_header_is_one_clear_error(change, text):
    size, content = a_ring(**change)
    refused(memory(size, content=content), text)


@pytest.mark.parametrize("size", [1, 8, 23, 24, mmap.PAGESIZE, 3 * mmap.PAGESIZE])
def test_memory_of_another_size_is_one_clear_error(size):
    _, content = a_ring()
    refused(memory(size, content=content[:size]), "no ring|smaller than it says")


def test_empty_memory_is_one_clear_error():
    refused(memory(0), "cannot map")


def test_memory_that_may_shrink_is_refused():
    size, content = a_ring()
    refused(memory(size, seals=0, content=content), "no ring")


def test_a_file_is_refused():
    with tempfile.TemporaryFile(dir=Path.cwd()) as file:
        refused(os.dup(file.fileno()), "cannot map|no ring")


def test_a_descriptor_that_is_none_is_refused():
    with pytest.raises(TransportError, match="cannot map"):
        RingReader(10**6, STATE_BYTES)


# --- where there is no memory -----------------------------------------------------------------


def test_a_system_without_memfd_is_one_error_with_a_remedy(monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    with pytest.raises(TransportError, match=r"memfd.*messages"):
        RingWriter(2, STATE_BYTES)


def test_memory_that_cannot_be_had_is_one_error_with_a_remedy(monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    opened = open_files()
    with pytest.raises(TransportError, match=r"No space left.*window_frames"):
        RingWriter(2, STATE_BYTES)
    assert open_files() == opened


def test_a_ring_leaves_no_descriptor_and_no_mapping_behind():
    opened, mapped = open_files(), maps_of_this_process()
    for _ in range(3):
        with closing(RingWriter(2, STATE_BYTES)) as writer:
            reader_of(writer)
        del writer
    assert open_files() == opened and maps_of_this_process() == mapped
