"""Processes that are killed and come back while the others go on; ghosts; early signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from networks import TINY

pytestmark = [pytest.mark.ros, pytest.mark.timeout(300)]

GROUPS = [group["name"] for group in TINY["groups"]]
SHAPES = {"stem": (8, 6, 8), "memory": (8, 6, 8), "deep": (8, 6, 8), "head": (2,)}
UP_S = 90  # for processes to load torch on a busy machine
CALM_FRAMES = 20
ROOT = Path(__file__).parents[2]


@contextmanager
def a_namesake(name, namespace):
    """A process with a lifecycle node of that name; up when its node is."""
    code = (
        "import rclpy; from rclpy.lifecycle import LifecycleNode;"
        "from streaming_net_ros.nodes.host import use_large_segments; use_large_segments();"
        f"rclpy.init(); node = LifecycleNode({name!r}, namespace={namespace!r});"
        "print('up', flush=True); rclpy.spin(node)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "up\n"
        yield child
    finally:
        child.kill()
        child.wait()


@contextmanager
def an_onlooker(namespace, name):
    """A node that has discovered a namesake, and the names that it sees there."""
    from rclpy.node import Node

    from streaming_net_ros.nodes.host import Host

    with Host([], handles_signals=False) as host:
        node = Node("onlooker", context=host.context, namespace=namespace)
        host.add(node)

        def shown():
            there = node.get_node_names_and_namespaces()
            return [one for one, where in there if (one, where) == (name, namespace)]

        assert host.spin(lambda: bool(shown()), UP_S)
        yield host, node, shown


def test_a_killed_namesake_is_a_ghost_and_a_live_one_is_not(namespace):
    from streaming_net_ros.nodes.peers import who_lives

    namespace = f"/{namespace}"
    with (
        a_namesake("stem", namespace) as child,
        an_onlooker(namespace, "stem") as (host, node, shown),
    ):
        assert who_lives(host, node, shown) == ["stem"]
        child.kill()
        child.wait()
        assert shown() == ["stem"]  # its ghost
        assert who_lives(host, node, shown) == []


def test_a_namesake_that_hangs_lives_if_it_stays_longer_than_a_ghost(namespace):
    from streaming_net_ros.nodes.peers import who_lives

    namespace = f"/{namespace}"
    with (
        a_namesake("stem", namespace),
        an_onlooker(namespace, "stem") as (host, node, _),
    ):
        # Never asked: as if it did not answer.
        assert who_lives(host, node, lambda: ["nobody"], lease_s=0.2) == ["nobody"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_rclpy_is_loaded_ends_a_container_cleanly(number, tmp_path):
    slow = tmp_path / "rclpy"
    slow.mkdir()
    (slow / "__init__.py").write_text("import time; print('loading', flush=True); time.sleep(60)")
    path = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    child = subprocess.Popen(
        [sys.executable, "-m", "streaming_net_ros.nodes"], env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert child.stdout.readline() == "loading\n"
        child.send_signal(number)
        _, said = child.communicate(timeout=20)
        assert child.returncode == 0 and "Traceback" not in said, said
    finally:
        child.kill()
        child.wait()


def two_hosts_fail():
    """Why the benchmark cannot make two hosts here."""
    code = "import hosts; print(hosts.why_not() or '')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "benchmarks", capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_a_host_that_drops_off_costs_the_others_nothing_and_rejoins(tmp_path):
    if reason := two_hosts_fail():
        pytest.skip(reason)
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "benchmarks/recovery.py", "--hosts", "--only", "short cut",
         "--json", str(figures)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (event,) = json.loads(figures.read_text())["events"]
    side, depth, drive = (event["outputs"][name] for name in ("side", "depth", "drive"))
    # The far host has the groups before 'depth', and one of the paths to 'drive'.
    assert depth["silent"] > 20 and side["silent"] + drive["silent"] < depth["silent"] / 2
    assert drive["held"] > depth["held"]
    assert event["restarted"] == [] and event["others_kept_their_pids"]


class Live:
    """The tiny network in realtime, a process each, with a camera; what its groups answer."""

    def __init__(self, path, namespace):
        from rclpy.node import Node
        from sensor_msgs.msg import Image

        from streaming_net_ros.frames import FrameGrid
        from streaming_net_ros.launching import Children, RespawnPolicy, process_list
        from streaming_net_ros.nodes import topics
        from streaming_net_ros.nodes.host import Host
        from streaming_net_ros.wire import StateFormat

        self.grid = FrameGrid(TINY["rate_hz"])
        shares = process_list(
            str(path), GROUPS, namespace=namespace, parameters={"mode": "realtime"}
        )
        self.children = Children(shares, RespawnPolicy(first_delay_s=0.1))
        self.host = Host([], handles_signals=False)
        self.answers = {group: [] for group in GROUPS}  # (frame, image's frame, held share)
        self.host.__enter__()
        self.node = Node("robot", context=self.host.context, namespace=f"/{namespace}")
        self.host.add(self.node)
        for group, shape in SHAPES.items():
            heard = partial(self._on_state, group, StateFormat(group, shape))
            self.node.create_subscription(Image, topics.state(group), heard, topics.reliable(1000))
        self.camera = self.node.create_publisher(Image, "image", topics.reliable(4))
        self.node.create_timer(self.grid.period_ns / 1e9, self._look)

    def _look(self):
        from sensor_msgs.msg import Image

        from streaming_net_ros.wire import write_rgb8, write_stamp_ns

        message = Image()
        write_rgb8(message, np.full((12, 16, 3), 100, np.uint8))
        write_stamp_ns(message.header.stamp, time.time_ns())
        self.camera.publish(message)

    def _on_state(self, group, form, message):
        from streaming_net_ros.wire import read_state

        given = read_state(message, form)
        frame = self.grid.frame_at(given.stamp_ns)
        self.answers[group].append((frame, given.origin.image_frame, given.origin.held))

    def wait(self, until):
        def met():
            self.children.check()
            return until()

        return self.host.spin(met, UP_S)

    def is_calm(self, group, after=0):
        """Has it answered with nothing held, lately and after so many answers?"""
        last = self.answers[group][after:][-CALM_FRAMES:]
        # What was held goes round and round the network's cycle, and is half as much each time.
        return len(last) == CALM_FRAMES and all(held < 0.01 for _, _, held in last)

    def normal_age(self, group):
        """Frames from the newest image inside to the answer, in most of the last answers."""
        ages = [frame - image for frame, image, _ in self.answers[group][-CALM_FRAMES:]]
        return max(set(ages), key=ages.count)


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """One network for all kills: nothing but the killed process is ever restarted."""
    import yaml

    path = tmp_path_factory.mktemp("live") / "network.yaml"
    path.write_text(yaml.safe_dump(TINY))
    run = Live(path, "recovery")
    try:
        with run.children:
            assert run.wait(lambda: all(run.is_calm(group) for group in GROUPS)), run.answers
            yield run
    finally:
        run.host.__exit__(None, None, None)


@pytest.mark.parametrize("victim", ["deep", "memory", "stem", "head", "frame_source"])
def test_a_killed_process_comes_back_at_the_right_frame_and_no_other_is_restarted(live, victim):
    assert live.wait(lambda: all(live.is_calm(group) for group in GROUPS))
    ages = {group: live.normal_age(group) for group in GROUPS}
    pids, restarts = live.children.pids, live.children.restarts
    seen = {group: len(answers) for group, answers in live.answers.items()}
    os.kill(pids[victim], signal.SIGKILL)
    assert live.wait(lambda: live.children.restarts.get(victim, 0) > restarts.get(victim, 0))
    assert live.wait(lambda: all(live.is_calm(group, seen[group]) for group in GROUPS))
    assert {group: live.normal_age(group) for group in GROUPS} == ages
    changed = {name for name, pid in live.children.pids.items() if pids[name] != pid}
    assert changed == {victim}
    for group in GROUPS:
        frames = [frame for frame, _, _ in live.answers[group]]
        assert frames == sorted(set(frames)), f"{group} has answered a frame twice"


def test_the_others_answer_on_held_states_while_a_group_is_dead(live):
    assert live.wait(lambda: all(live.is_calm(group) for group in GROUPS))
    seen = {group: len(answers) for group, answers in live.answers.items()}
    os.kill(live.children.pids["deep"], signal.SIGKILL)
    assert live.wait(lambda: live.is_calm("deep", seen["deep"]))
    died, back = max(
        zip(live.answers["deep"][seen["deep"] - 1 :], live.answers["deep"][seen["deep"] :],
            strict=False),
        key=lambda pair: pair[1][0] - pair[0][0],
    )  # fmt: skip
    outage = range(died[0] + 1, back[0])
    assert len(outage) > 10  # longer than states are held: it loads torch
    for group in ("stem", "memory", "head"):
        answers = {frame: held for frame, _, held in live.answers[group] if frame in outage}
        assert len(answers) > 0.9 * len(outage), group
    held = [held for frame, _, held in live.answers["head"] if frame in outage]
    assert sum(share > 0 for share in held) > 0.8 * len(outage)
