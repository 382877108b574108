from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.ros


def watchdog(said, silence_ns=10**12):
    from streaming_net_ros.nodes.watchdog import Watchdog

    logger = SimpleNamespace(error=said.append, info=said.append)
    node = SimpleNamespace(get_logger=lambda: logger)
    return Watchdog(node, ["image"], "image", ["stem", "head"], silence_ns)


@pytest.mark.parametrize("by_s", [3600, -3600, 0.2])
def test_a_clock_that_is_set_is_told_once(by_s):
    said = []
    dog = watchdog(said)
    for set_s in (0, by_s, by_s):
        dog.clock(10**18 + round(set_s * 1e9) + time.monotonic_ns())
    assert dog.clock_jumps == 1 and len(said) == 1 and f"{by_s:+.1f}" in said[0]


def test_who_is_silent_is_said_once_and_again_when_heard():
    said = []
    dog = watchdog(said, silence_ns=-1)  # any silence is too long
    for name in ("stem", "head"):
        dog.progress(name)
    dog.look(is_paused=False)
    dog.look(is_paused=False)
    assert len([line for line in said if "'stem'" in line]) == 1
    assert not any("camera" in line for line in said)  # it may take its time to come up
    dog.look(is_paused=True)
    assert sum("heard again" in line for line in said) == 2 and dog.silent == []


def test_groups_are_not_blamed_for_a_camera_that_is_silent():
    said = []
    dog = watchdog(said, silence_ns=-1)
    dog.image("image")
    dog.progress("stem")
    dog.look(is_paused=False)
    assert [line.split(" has")[0] for line in said] == ["camera 'image'"]
