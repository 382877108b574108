"""What no run can have written is told, with its place, before anything is computed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streaming_net_ros.errors import LedgerError
from streaming_net_ros.frames.ledger import FrameLine, InputLine, ResponseLine
from streaming_net_ros.network.ledger_check import check_lines
from troubled import SENSED_NETWORK, TINY_NETWORK, lived

IMAGE = InputLine("image", 0, 5, 5, None, 1)
SPEED = InputLine("speed", 0, 5, 5, (1.0, 2.0), 1)
STEM = FrameLine("stem", 1, {"image": 0}, (), 0, False, True, 0, 2)
MEMORY = FrameLine("memory", 2, {"stem": 1}, (), 0, False, True, 0, 3)
AGAIN = replace(MEMORY, frame=3, inputs={}, is_repeated=True)
DEEP = FrameLine("deep", 3, {"memory": 2}, (), 0, False, True, 0, 3)
FEATURES = ResponseLine("features", 3, True, 4)
GOOD = [IMAGE, SPEED, STEM, MEMORY, AGAIN, DEEP, FEATURES]


def check(lines):
    check_lines(lines, SENSED_NETWORK.spec, SENSED_NETWORK.rollout)


def changed(old, **changes):
    return [replace(line, **changes) if line is old else line for line in GOOD]


@pytest.mark.parametrize(
    "lines, hint",
    [
        (changed(IMAGE, name="stem"), "frame 0 of input 'stem': unknown input"),
        (changed(IMAGE, name="x"), "unknown input"),
        (changed(IMAGE, values=(1.0,)), "null, for an image"),
        (changed(SPEED, values=None), "2 numbers, got null"),
        (changed(SPEED, values=(1.0,)), "2 numbers, got 1 numbers"),
        (changed(STEM, group="image"), "frame 1 of group 'image': unknown group"),
        (changed(STEM, group="x"), "unknown group"),
        (changed(STEM, inputs={}), "frame 1 of group 'stem': computed from nothing"),
        (changed(STEM, inputs={"memory": 0}), "unknown source"),
        (changed(STEM, wait_ns={"x": 0}), "unknown source"),
        (changed(STEM, age_ns={"head": 0}), "unknown source"),
        (changed(STEM, inputs={"image": 1}), "a state of 'image' that comes later"),
        (changed(STEM, held=("image",)), "its held sources do not follow"),
        (changed(STEM, held=("image", "image"), frame=2), "its held sources do not follow"),
        (changed(MEMORY, frame=5), "its held sources do not follow"),
        (changed(MEMORY, inputs={"stem": 0}, held=("stem",)), "frame 0 of 'stem'"),
        (changed(AGAIN, inputs={"stem": 2}), "made from nothing"),
        (changed(AGAIN, is_finite=False), "made from nothing, and finite"),
        (changed(MEMORY, is_repeated=True, inputs={}), "never computed"),
        ([IMAGE, STEM, replace(MEMORY, is_finite=False), AGAIN], "never computed"),
        (changed(FEATURES, output="stem"), "response 3 of output 'stem': unknown output"),
        (changed(FEATURES, frame=4), "nobody computed frame 4 of 'deep'"),
        ([FEATURES, *GOOD[:-1]], "nobody computed frame 3 of 'deep'"),
        (changed(DEEP, is_finite=False), "nobody computed frame 3 of 'deep'"),
        ([IMAGE, MEMORY], "frame 2 of group 'memory': nobody computed frame 1 of 'stem'"),
        ([STEM], "nobody computed frame 0 of 'image'"),
    ],
)
def test_a_line_that_no_run_can_write_is_named(lines, hint):
    check(GOOD)
    with pytest.raises(LedgerError) as told:
        check(lines)
    assert hint in str(told.value)


@pytest.mark.parametrize("network", [TINY_NETWORK, SENSED_NETWORK], ids=["tiny", "sensed"])
def test_what_a_run_has_written_is_right(network):
    _, lines = lived([0.0, 2.5, 0.3], [False, True, False], network, broken=(5, 14))
    check_lines(lines, network.spec, network.rollout)
