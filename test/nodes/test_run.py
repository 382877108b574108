"""Runs that meet trouble: a killed group, a second network of the name, a stopped feed."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager

import pytest

from harness import children_of, composed, run_container, wait_until
from networks import jittery_network
from streaming_net_ros.errors import RunError

pytestmark = [pytest.mark.ros, pytest.mark.timeout(120)]


def endless(rate_hz=100):
    import numpy as np
    from sensor_msgs.msg import Image

    from streaming_net_ros.nodes.player import Message
    from streaming_net_ros.nodes.run import Feed
    from streaming_net_ros.wire import write_rgb8, write_stamp_ns

    def messages():
        for number in range(10**6):
            message = Image()
            write_rgb8(message, np.full((12, 16, 3), number % 256, dtype=np.uint8))
            write_stamp_ns(message.header.stamp, 10**18 + number * 33_333_333)
            yield Message("image", 10**18 + number * 33_333_333, message, is_image=True)
            time.sleep(1 / rate_hz)  # a camera's pace, not synchronisation

    return Feed(messages(), {"image": Image})


def run_processes(path, namespace, frames):
    from streaming_net_ros.launching import process_list
    from streaming_net_ros.network import read_network_file
    from streaming_net_ros.nodes.run import run_network
    from streaming_net_ros.nodes.settings import Settings

    spec = read_network_file(path)
    groups = [group.name for group in spec.groups]
    shares = process_list(str(path), groups, namespace=namespace)

    def write(topic, kind, stamp_ns, cdr):
        if topic.endswith("response/drive"):
            frames.append(stamp_ns)

    return run_network(
        spec, Settings(path), endless(), write, processes=shares, namespace=namespace
    )


@contextmanager
def served(host):
    """Callbacks are served meanwhile, as in a process of its own."""
    is_over = threading.Event()
    server = threading.Thread(target=host.spin, args=(is_over.is_set,))
    server.start()
    try:
        yield
    finally:
        is_over.set()
        server.join()


def test_a_killed_group_is_reported_by_name_and_the_run_ends_without_a_wrong_frame(
    write_network, tiny, namespace
):
    path, answers, killed_at = write_network(tiny), [], []

    def kill_deep():
        assert wait_until(lambda: len(answers) > 20, 60)
        (pid,) = [p for p, line in children_of(os.getpid()).items() if "members:=[deep]" in line]
        killed_at.append(time.monotonic())
        os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_deep)
    killer.start()
    with pytest.raises(RunError, match=r"'deep' has ended \(killed by SIGKILL\)"):
        run_processes(path, namespace, answers)
    killer.join()
    assert time.monotonic() - killed_at[0] < 4  # reported within 2 s on an idle machine
    assert answers == [10**18 + n * 33_333_333 for n in range(len(answers))]
    assert not [line for line in children_of(os.getpid()).values() if namespace in line]


def test_a_group_that_stands_still_is_named_in_diagnostics(write_network, namespace):
    content = jittery_network()
    content["groups"][2]["args"]["hangs_at"] = 4  # two calls warm it up
    del content["outputs"]["drive"]
    with composed(write_network(content), namespace, threads=2) as (container, robot):
        source = container.members[0]
        robot.look(6)
        assert robot.host.spin(lambda: any("deep" in e for e in source.health().errors), 20)
        assert not any("head" in error for error in source.health().errors)


def test_a_second_network_of_the_name_refuses_to_start_and_the_first_goes_on(
    write_network, tiny, namespace
):
    path = write_network(tiny)
    with composed(path, namespace) as (container, robot):
        robot.look(3)
        assert robot.hears(3)
        with served(robot.host):
            code, said = run_container(path, namespace)
        assert code == 3 and "already running" in said and f"/{namespace}" in said, said
        assert "Traceback" not in said
        robot.look(3)
        assert robot.hears(6) and container.failure is None


def test_a_second_run_of_the_name_is_refused_before_it_feeds_anything(
    write_network, tiny, namespace
):
    from streaming_net_ros.network import read_network_file
    from streaming_net_ros.nodes.run import run_network
    from streaming_net_ros.nodes.settings import Settings

    path = write_network(tiny)
    with composed(path, namespace) as (container, robot):
        robot.look(3)
        assert robot.hears(3)
        spec = read_network_file(path)
        with served(robot.host), pytest.raises(RunError, match="already running"):
            run_network(spec, Settings(path), endless(), lambda *_: None, namespace=namespace)
        assert robot.host.spin(lambda: container.members[0].fed == 3, 10)


def test_a_run_that_is_paused_waits_and_one_with_a_silent_output_ends(
    write_network, tiny, namespace, monkeypatch
):
    from harness import Robot
    from streaming_net_ros.network import read_network_file
    from streaming_net_ros.nodes import run
    from streaming_net_ros.nodes.host import Host
    from streaming_net_ros.nodes.run import Feed, run_network
    from streaming_net_ros.nodes.settings import Settings

    monkeypatch.setattr(run, "_STANDS_STILL_S", 2.0)
    path = write_network(tiny)
    feed = endless()
    images = Feed((m for _, m in zip(range(60), feed.messages, strict=False)), feed.types)
    answered, done = [], []

    def write(topic, kind, stamp_ns, cdr):
        answered.extend([topic] if topic.endswith("response/drive") else [])

    def steer():
        with Host(["--ros-args"], handles_signals=False) as host:
            robot = Robot(host, f"/{namespace}")
            assert host.spin(lambda: answered, 60)
            assert robot.call("frame_source/pause").success
            both = dict.fromkeys(("edge__stem__lesion", "edge__deep__lesion"), "silence")
            assert robot.set("head", **both) == []
            host.spin(lambda: False, 5.0)  # for longer than a run may stand still
            assert robot.call("frame_source/resume").success
            done.append(True)

    thread = threading.Thread(target=steer)
    thread.start()
    result = run_network(
        read_network_file(path), Settings(path), images, write, namespace=namespace
    )
    thread.join()
    assert done and result.images == result.frames == 60
    assert 0 < result.responses["drive"] < 60 == result.responses["features"]


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="not Linux")
@pytest.mark.parametrize("mode", ["lockstep", "realtime"])
def test_who_feeds_a_lockstep_run_leaves_those_who_compute_their_cores(
    mode, write_network, tiny, namespace
):
    from streaming_net_ros.network import read_network_file
    from streaming_net_ros.nodes.run import Feed, run_network
    from streaming_net_ros.nodes.settings import Settings

    path, before, meanwhile = write_network(tiny), os.sched_getscheduler(0), set()
    feed = endless()
    images = Feed((m for _, m in zip(range(5), feed.messages, strict=False)), feed.types)

    def write(topic, kind, stamp_ns, cdr):
        meanwhile.add(os.sched_getscheduler(0))

    run_network(
        read_network_file(path), Settings(path, mode=mode), images, write, namespace=namespace
    )
    assert meanwhile == {os.SCHED_BATCH if mode == "lockstep" else before}
    assert os.sched_getscheduler(0) == before
