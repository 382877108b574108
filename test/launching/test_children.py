"""Child processes that die and come back; processes and clock are stand-ins."""

from __future__ import annotations

import signal
import subprocess

import pytest

from streaming_net_ros.errors import RunError
from streaming_net_ros.launching import Children, RespawnPolicy, process_list


class Stub:
    """A process that ends when a test says so."""

    def __init__(self, process, pid):
        self.name, self.pid, self.code, self.signals = process.name, pid, None, []

    def poll(self):
        return self.code

    def send_signal(self, number):
        self.signals.append(number)
        if number == signal.SIGKILL:
            self.code = -number

    def wait(self, timeout=None):
        if self.code is None:
            raise subprocess.TimeoutExpired(self.name, timeout)
        return self.code


class World:
    """Children of stubs, and the clock that they live by."""

    def __init__(self, policy):
        self.clock_s = 0.0
        self.started = []
        self.told = []
        self.children = Children(
            process_list("net.yaml", ["stem", "head"], namespace="net"), policy,
            tell=self.told.append, start=self.start, now_s=lambda: self.clock_s,
        )  # fmt: skip

    def start(self, process):
        self.started.append(Stub(process, 100 + len(self.started)))
        return self.started[-1]

    def names(self):
        return [stub.name for stub in self.started]

    def die(self, name, code=-9):
        next(stub for stub in reversed(self.started) if stub.name == name).code = code

    def go(self, seconds):
        self.clock_s += seconds
        self.children.check()


@pytest.fixture
def world():
    return World(RespawnPolicy(0.5, 8.0, settled_s=30, most_early_ends=3))


def test_a_child_that_dies_is_started_again_after_its_delay_and_no_other(world):
    with world.children as children:
        before = children.pids
        world.go(60)
        world.die("stem")
        world.go(0)
        assert sorted(children.pids) == ["frame_source", "head"]
        world.go(0.4)
        assert world.names() == ["frame_source", "stem", "head"]
        world.go(0.2)
        assert world.names() == ["frame_source", "stem", "head", "stem"]
        assert children.restarts == {"stem": 1}
        assert {name for name, pid in children.pids.items() if before[name] != pid} == {"stem"}
    assert "'stem' has ended (killed by SIGKILL)" in world.told[0]
    assert "0.5 s" in world.told[0] and "started again" in world.told[1]


def test_a_check_never_starts_a_child_twice(world):
    with world.children:
        world.go(60)
        world.die("head")
        for _ in range(20):
            world.go(1)
        assert world.names().count("head") == 2


def test_a_crash_loop_ends_the_run_and_names_the_child(world):
    with world.children, pytest.raises(RunError, match=r"'head' has ended 3 times in a row"):
        for _ in range(100):
            world.die("head", 1)
            world.go(1)
    assert world.names().count("head") == 3


def test_a_child_that_dies_after_a_long_life_is_started_again_as_often_as_it_takes(world):
    with world.children as children:
        for _ in range(10):
            world.go(60)
            world.die("head")
            world.go(0)
            world.go(0.5)
        assert children.restarts == {"head": 10}


def test_a_child_that_refuses_its_input_ends_the_run_at_once(world):
    with world.children:
        world.die("stem", 2)
        with pytest.raises(RunError, match=r"'stem' refuses to run \(exit code 2\)"):
            world.go(0)
    assert world.names().count("stem") == 1


def test_without_a_policy_a_death_ends_the_run():
    world = World(None)
    with world.children:
        world.die("stem")
        with pytest.raises(RunError, match=r"pid 101: .*'stem' has ended \(killed by SIGKILL\)"):
            world.go(100)
    assert len(world.started) == 3


def test_at_the_end_those_who_live_are_asked_and_then_killed(world):
    with world.children:
        world.die("stem")
    source, stem, head = world.started
    assert stem.signals == []
    assert source.signals == head.signals == [signal.SIGINT, signal.SIGKILL]


def test_a_child_that_waits_to_be_started_again_is_not_started_after_the_end(world):
    with world.children:
        world.die("stem")
        world.go(0)
    assert world.names().count("stem") == 1
