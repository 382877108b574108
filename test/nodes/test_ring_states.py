"""What is made of another process's ring is the state that was written, or known not to be."""

from __future__ import annotations

import os
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from streaming_net_ros.frames import FrameGrid, Origin
from streaming_net_ros.network.layout import state_strides
from streaming_net_ros.nodes.ring_states import Borrowed, RingStates
from streaming_net_ros.wire import Notice, RingReader, RingWriter, StateFormat

FORM = StateFormat("stem", (3, 2, 4), "float32")
GRID = FrameGrid(30.0)
SLOTS = 3


class Ring:
    """Both sides of a ring; the state of frame ``f`` is full of ``f``, its number is ``f + 1``."""

    def __init__(self, borrowed):
        self.writer = RingWriter(SLOTS, FORM.size_bytes)
        descriptor = self.writer.descriptor()
        reader = RingReader(descriptor, FORM.size_bytes)
        os.close(descriptor)
        container = SimpleNamespace(device=torch.device("cpu"), patience_s=0.0, grid=GRID)
        self.states = RingStates(reader, FORM, container, borrowed)
        self.written = 0

    def close(self):
        self.writer.close()

    def write(self):
        self.writer.write(np.full(FORM.numbers, self.written, np.float32))
        self.written += 1

    def take(self, frame):
        stamp_ns = GRID.stamp_ns(frame)
        return self.states.take(Notice(frame + 1, stamp_ns, Origin(stamp_ns, stamp_ns), None))


def holds(batch, frame):
    return bool((batch == frame).all()) and batch.stride() == state_strides(batch.shape)


@given(st.lists(st.one_of(st.none(), st.integers(1, 2 * SLOTS)), max_size=40))
def test_a_state_that_is_said_to_be_there_is_what_was_written(steps):
    """None: the writer writes; n: the n-th newest state is asked for."""
    borrowed = Borrowed()
    taken = []
    with closing(Ring(borrowed)) as ring:
        for step in steps:
            if step is None:
                ring.write()
            elif (frame := ring.written - step) >= 0:
                batch = ring.take(frame)
                assert (batch is None) == (step > SLOTS)
                if batch is not None:
                    taken.append((frame, batch))
            for frame, batch in taken:
                is_there = ring.written - frame <= SLOTS
                assert borrowed.has(frame, batch) == is_there
                assert not is_there or holds(batch, frame)


@pytest.mark.parametrize("is_late", [False, True])
def test_a_copy_outlives_its_slot(is_late):
    """Where nothing is borrowed, and where the hearer turned out to be too slow for that."""
    borrowed = Borrowed()
    with closing(Ring(borrowed if is_late else None)) as ring:
        if is_late:
            ring.states.copy_from_now_on()
        ring.write()
        batch = ring.take(0)
        ring.states.prepare()
        for _ in range(SLOTS):
            ring.write()
        assert holds(batch, 0) and borrowed.has(0, batch) and not ring.states._slots
        assert holds(ring.take(SLOTS), SLOTS) and holds(batch, 0)  # each has memory of its own


def test_nothing_is_believed_of_a_borrowed_state_of_which_nothing_is_known():
    borrowed = Borrowed()
    with closing(Ring(borrowed)) as ring:
        ring.write()
        batch = ring.take(0)
        assert borrowed.has(0, batch)
        assert borrowed.has(0, batch.clone())  # a copy is nobody else's
        assert not borrowed.has(1, batch)
        other = next(slot for slot in ring.states._slots if slot is not batch)
        assert not borrowed.has(0, other)


def test_states_of_a_ring_whose_sender_has_gone_are_still_judged_when_the_next_one_is_there():
    borrowed = Borrowed()
    with closing(Ring(borrowed)) as gone:
        gone.write()
        batch = gone.take(0)
        following = Ring(borrowed)
        following.write()
        following.close()
        assert borrowed.has(0, batch) and holds(batch, 0)
        for _ in range(SLOTS):
            gone.write()
        assert not borrowed.has(0, batch)
