"""A notice says exactly what was said to it, and nothing else is one."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming_net_ros.errors import TransportError
from streaming_net_ros.frames import Origin
from streaming_net_ros.wire import (
    Notice,
    pack_notice,
    pack_progress,
    read_notice,
    read_progress,
)

times = st.integers(-(2**63), 2**63 - 1)
notices = st.builds(
    Notice,
    st.integers(0, 2**64 - 1),
    times,
    st.builds(Origin, times, times, st.floats(0, 1), st.none() | times),
    st.none() | times,
)
_HELD = 32  # where the held share lies


@given(notices)
def test_a_notice_comes_back_as_it_was(notice):
    assert read_notice(pack_notice(notice)) == notice


@given(notices, st.integers(0, 200).filter(lambda size: size != 57))
def test_bytes_of_another_length_are_none(notice, size):
    with pytest.raises(TransportError, match=r"no notice of a state.*57 bytes"):
        read_notice((pack_notice(notice) * 4)[:size])


@given(st.binary(min_size=57, max_size=57))
def test_any_bytes_are_a_notice_in_range_or_are_refused(packet):
    try:
        notice = read_notice(packet)
    except TransportError:
        return
    assert 0 <= notice.origin.held <= 1 and read_notice(pack_notice(notice)) == notice


@pytest.mark.parametrize("held", [-0.1, 1.1, math.nan, math.inf])
@given(notices)
def test_a_share_that_is_none_is_refused(held, notice):
    packet = bytearray(pack_notice(notice))
    struct.pack_into("=d", packet, _HELD, held)
    with pytest.raises(TransportError, match="no notice"):
        read_notice(bytes(packet))


@pytest.mark.parametrize("has", [4, 7, 127, 128, 255])
@given(notices)
def test_what_has_unknown_fields_is_refused(has, notice):
    with pytest.raises(TransportError, match="no notice"):
        read_notice(pack_notice(notice)[:-1] + bytes([has]))


@given(st.integers(-(2**63), 2**63 - 1))
def test_progress_comes_back_as_it_was(stamp_ns):
    assert read_progress(pack_progress(stamp_ns)) == stamp_ns


@given(st.binary(max_size=40).filter(lambda packet: len(packet) != 8))
def test_other_bytes_are_no_progress(packet):
    with pytest.raises(TransportError, match="no progress"):
        read_progress(packet)
