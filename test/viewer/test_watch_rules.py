"""What a watch makes of what it hears, without a network."""

from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: extra 'ros'")

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from sensor_msgs.msg import Image

from networks import TINY
from streaming_net_ros.launching import FRAME_SOURCE
from streaming_net_ros.network import parse_network
from streaming_net_ros.viewer import watch as module
from streaming_net_ros.viewer.watch import Watch


def told(name, **values):
    pairs = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    status = DiagnosticStatus(name=name, values=pairs)
    array = DiagnosticArray(status=[status])
    array.header.stamp = Time()
    return array


@pytest.fixture
def watch():
    link = SimpleNamespace(namespace="/tiny", tick=lambda work: None, post=lambda work: None)
    return Watch(link, parse_network(TINY))


def test_changes_are_numbered_on_when_old_ones_are_forgotten(watch, monkeypatch):
    for number in range(module._CHANGES + 5):
        watch._on_changes(told("stem", gain=number))
    kept = watch.changes()
    assert len(kept) == module._CHANGES
    assert [one.number for one in kept] == list(range(6, module._CHANGES + 6))
    known = kept[-1].number
    assert watch.changes(known) == ()
    watch._on_changes(told("stem", gain=0.5))
    assert [(one.number, one.value) for one in watch.changes(known)] == [(known + 1, "0.5")]


def health(watch, member, **values):
    watch._on_diagnostics(told(f"tiny/{member}: streaming", **values))


def test_the_network_of_the_file_is_no_other(watch):
    for member in (FRAME_SOURCE, *(group.name for group in watch.spec.groups)):
        health(watch, member, target_hz=f"{watch.grid.rate_hz:g}")
    assert watch.mismatch == ""


def test_the_mode_is_the_one_that_the_frame_source_tells(watch):
    assert watch.mode == ""
    health(watch, FRAME_SOURCE, mode="realtime")
    assert watch.mode == "realtime"


def test_another_network_under_the_same_name_is_told_by_its_rate(watch):
    health(watch, FRAME_SOURCE, target_hz=watch.grid.rate_hz + 5)
    assert f"{watch.grid.rate_hz + 5:g} Hz" in watch.mismatch and "--rate-hz" in watch.mismatch


def test_another_network_under_the_same_name_is_told_by_its_groups(watch):
    health(watch, "stranger", target_hz=f"{watch.grid.rate_hz:g}")
    assert "stranger" in watch.mismatch


def test_another_network_under_the_same_name_is_told_by_its_states(watch, monkeypatch):
    watch._on_state("stem", Image(encoding="32FC7", height=1, width=1))
    assert "stem" in watch.mismatch and "shape" in watch.mismatch


def test_what_was_told_long_ago_is_not_told_of_the_network_that_runs_now(watch, monkeypatch):
    health(watch, "stranger", target_hz=3)
    watch._on_state("stem", Image(encoding="32FC7", height=1, width=1))
    assert watch.mismatch
    now_s = module.time.monotonic()
    monkeypatch.setattr(module, "_now_s", lambda: now_s + 60)
    assert watch.mismatch == ""
