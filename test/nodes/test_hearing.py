"""How states travel between containers: chosen by itself, shown, and the same states each way."""

from __future__ import annotations

import math
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from fake_device import FakeDevice
from harness import Robot
from networks import TINY, two_groups
from streaming_net_ros.errors import TransportError
from streaming_net_ros.network.layout import shares_memory

pytestmark = [pytest.mark.ros]


@contextmanager
def two_containers(path, namespace, **settings):
    """Frame source and stem in one container, head in another, and a robot beside them."""
    from rclpy.node import Node

    from streaming_net_ros.nodes.container import Container
    from streaming_net_ros.nodes.host import Host
    from streaming_net_ros.nodes.settings import Settings

    with Host(["--ros-args", "-r", f"__ns:=/{namespace}"], handles_signals=False) as host:
        containers = []
        robot = Robot(host, f"/{namespace}")
        try:
            for number, members in enumerate([("frame_source", "stem"), ("head",)]):
                node = Node(f"container{number}", context=host.context)
                host.add(node)
                containers.append(
                    Container(node, Settings(Path(path), members=members, **settings))
                )
                containers[-1].create_members()
                for member in containers[-1].members:
                    host.add(member)
                containers[-1].start()
            assert host.spin(lambda: robot.camera.get_subscription_count() > 0, 10)
            yield containers, robot
        finally:
            for container in containers:
                container.stop()


def answers_of(robot, images=8):
    robot.look(images)
    assert robot.hears(images)
    return [(m.twist.angular.z, m.twist.linear.x) for m in robot.answers]


@pytest.fixture
def path(write_network):
    return write_network(two_groups(TINY))


def test_each_way_is_shown_with_its_reason_and_gives_the_same_answers(
    path, namespace, monkeypatch
):
    got = {}
    for transport in ("auto", "message"):
        with two_containers(path, f"{namespace}_{transport}", transport=transport) as (two, robot):
            got[transport] = answers_of(robot)
            stem, head = two[0].members[1].health(), two[1].members[0].health()
            assert stem.values["transport/image"] == "reference"
            way = "shared_memory" if transport == "auto" else "message"
            assert head.values["transport/stem"] == way and not head.warnings
            reason = head.values.get("transport_reason/stem")
            assert reason == (None if transport == "auto" else "parameter transport")

    def refuse(*_):
        raise TransportError("no memory left", remedy="buy some")

    monkeypatch.setattr("streaming_net_ros.nodes.sending.RingWriter", refuse)
    with two_containers(path, f"{namespace}_without") as (two, robot):
        got["without"] = answers_of(robot)
        head = two[1].members[0].health()
        assert head.values["transport/stem"] == "message"
        assert "no memory left" in head.values["transport_reason/stem"]
        assert any("come as messages" in w and "no memory left" in w for w in head.warnings)
    assert got["auto"] == got["message"] == got["without"]


def test_a_recorder_of_states_gets_every_one_beside_shared_memory(path, namespace):
    from sensor_msgs.msg import Image

    from streaming_net_ros.nodes import topics

    with two_containers(path, namespace) as (two, robot):
        states = []
        heard = robot.node.create_subscription(
            Image, topics.state("stem"), states.append, topics.reliable(1000)
        )
        assert robot.host.spin(heard.get_publisher_count, 10)
        answers_of(robot)
        assert robot.host.spin(lambda: len(states) == 8, 10)
        assert two[1].members[0].health().values["transport/stem"] == "shared_memory"


def test_a_hearer_and_a_sender_that_come_back_are_connected_by_shared_memory(path, namespace):
    with two_containers(path, namespace, mode="realtime") as (two, robot):
        stem, head = two[0].members[1], two[1].members[0]

        def is_shared():
            hearer = head._hearers["stem"]
            return hearer.transport == "shared_memory" and stem._sender.hearers == {"head"}

        robot.film(30)
        assert robot.host.spin(is_shared, 10)
        for member in (head, stem):
            for transition in ("deactivate", "cleanup", "configure", "activate"):
                getattr(member, f"trigger_{transition}")()
            assert robot.host.spin(is_shared, 10)
            seen = len(robot.answers)
            assert robot.hears(seen + 3)
        assert two[0].failure is None and two[1].failure is None


def test_states_that_were_missed_or_overwritten_are_counted_and_shown(path, namespace):
    from streaming_net_ros.frames import Origin
    from streaming_net_ros.wire import Notice, pack_notice

    with two_containers(path, namespace, mode="realtime") as (two, robot):
        head = two[1].members[0]
        hearer = head._hearers["stem"]
        assert robot.host.spin(lambda: hearer.transport == "shared_memory", 10)
        for number in (1, 5):  # neither was written, and three were not told of
            hearer._on_notice(pack_notice(Notice(number, 0, Origin(0, 0), None)), lambda: None)
        assert head.health().values["overwritten/stem"] == "5"
        assert any("5 states of 'stem'" in warning for warning in head.health().warnings)


@pytest.mark.parametrize("mode", ["lockstep", "realtime"])
def test_a_state_in_shared_memory_is_used_where_it_lies(mode, path, namespace):
    with two_containers(path, namespace, mode=mode) as (two, robot):
        head = two[1].members[0]
        hearer, layers, used = head._hearers["stem"], head._layers, []

        def look(heard):
            used.append(heard["stem"].data_ptr())
            return layers(heard)

        head._layers = look
        assert robot.host.spin(lambda: hearer.transport == "shared_memory", 10)
        for sent in range(1, 4):
            robot.look()
            assert robot.hears(sent)
        slots = [slot.data_ptr() for slot in hearer._ring._slots]
        assert len(used) >= 3 and set(used) <= set(slots)
        # The group's own state is its own: nobody else writes there.
        own = head.mailbox.running.own.state
        assert not any(shares_memory(own, slot) for slot in hearer._ring._slots)


@pytest.mark.parametrize("mode", ["lockstep", "realtime"])
def test_what_came_of_a_state_that_was_overwritten_meanwhile_goes_nowhere(mode, path, namespace):
    with two_containers(path, namespace, mode=mode) as (two, robot):
        stem, head = two[0].members[1], two[1].members[0]
        hearer, layers = head._hearers["stem"], head._layers
        assert robot.host.spin(lambda: hearer.transport == "shared_memory", 10)
        robot.look()
        assert robot.hears(1)

        def overtaken(heard):
            """The sender goes once around the ring while this group computes."""
            head._layers = layers
            ring = stem._sender._of_host._ring
            for _ in hearer._ring._slots:
                ring.write(np.full(hearer._form.numbers, np.nan, np.float32))
            return layers(heard)

        head._layers = overtaken
        robot.look()
        if mode == "lockstep":
            assert robot.host.spin(lambda: two[1].failure is not None, 10)
            assert "overwritten while it was used, in lockstep" in str(two[1].failure)
            assert len(robot.answers) == 1
            return
        assert robot.host.spin(lambda: hearer.lost > 0, 10)
        assert len(robot.answers) == 1
        # A group that takes so long would find every state overwritten: it goes on with copies.
        assert not hearer._ring._slots and hearer.transport == "shared_memory"
        robot.film(30)
        assert robot.hears(4)
        assert all(math.isfinite(m.twist.angular.z) for m in robot.answers)
        assert not head.health().errors and two[1].failure is None


def test_a_group_that_only_passes_on_has_a_state_of_its_own(write_network, namespace):
    content = two_groups(TINY)
    content["groups"][1] = {"name": "head", "edges": [{"source": "stem"}]}
    content["outputs"] = {"passed_on": {"group": "head"}}
    with two_containers(write_network(content), namespace, mode="realtime") as (two, robot):
        head = two[1].members[0]
        hearer = head._hearers["stem"]
        assert robot.host.spin(lambda: hearer.transport == "shared_memory", 10)
        robot.look()
        assert robot.host.spin(lambda: head.has_worked, 10)
        own, (slot, *_) = head.mailbox.running.own.state, hearer._ring._slots
        assert own.shape == slot.shape
        assert not any(shares_memory(own, lying) for lying in hearer._ring._slots)


def test_a_held_edge_keeps_its_state_while_the_ring_goes_on(path, namespace):
    with two_containers(path, namespace, mode="realtime") as (two, robot):
        head = two[1].members[0]
        hearer = head._hearers["stem"]
        assert robot.host.spin(lambda: hearer.transport == "shared_memory", 10)
        robot.look()
        assert robot.hears(1)
        assert robot.set("head", edge__stem__lesion="hold") == []
        robot.film(30)
        rounds = 2 * len(hearer._ring._slots)
        assert robot.hears(rounds)  # the slot has been written again since
        first, *_, last = robot.answers
        assert last.twist == first.twist
        assert hearer.lost == 0


def test_who_cannot_lend_is_not_asked_again_at_once(path, namespace, monkeypatch):
    asked = []

    def refuse(*_):
        asked.append(None)
        raise TransportError("no memory left", remedy="buy some")

    monkeypatch.setattr("streaming_net_ros.nodes.sending.RingWriter", refuse)
    with two_containers(path, namespace, mode="realtime") as (two, robot):
        hearer = two[1].members[0]._hearers["stem"]
        assert robot.host.spin(lambda: hearer.transport == "message", 10)
        for _ in range(5):
            hearer.look()
        assert len(asked) == 1 and "no memory left" in hearer.reason


@pytest.fixture
def devices(monkeypatch):
    """Both containers compute on a "GPU": memory of the host. The sender's, then the hearer's."""
    sender, hearer = FakeDevice("GPU-a"), FakeDevice("GPU-a")
    monkeypatch.setattr("streaming_net_ros.nodes.sending.device_memory_of", lambda _: sender)
    monkeypatch.setattr("streaming_net_ros.nodes.hearing.device_memory_of", lambda _: hearer)
    return [sender, hearer]


def test_states_go_from_process_to_process_on_their_gpu(path, namespace, devices):
    with two_containers(path, f"{namespace}_host", transport="message") as (_, robot):
        expected = answers_of(robot)
    with two_containers(path, namespace) as (two, robot):
        copied = []
        devices[1].on_copy = lambda: copied.append(None)
        assert answers_of(robot) == expected
        head = two[1].members[0]
        assert head.health().values["transport/stem"] == "cuda_ipc"
        assert "transport_reason/stem" not in head.health().values
        assert not head.health().warnings and not two[0].members[1].health().warnings
        assert len(copied) == 8  # each state once, and no other way
        assert two[0].members[1]._sender.hearers == {"head"}
        # An image is made on the host: it is not asked for there.
        assert two[0].members[1].health().values["transport/image"] == "reference"


def other_gpu(sender, hearer):
    hearer.uuid = "GPU-b"


def not_opened(sender, hearer):
    hearer.broken = {"open"}


def not_lent(sender, hearer):
    sender.broken = {"allocate"}


@pytest.mark.parametrize(
    "spoil, reason", [(other_gpu, "another GPU"), (not_opened, "open"), (not_lent, "allocate")]
)
def test_where_a_gpu_cannot_be_shared_states_go_through_the_host_and_the_reason_is_told(
    path, namespace, devices, spoil, reason
):
    spoil(*devices)
    with two_containers(path, namespace) as (two, robot):
        answers_of(robot)
        health = two[1].members[0].health()
        assert health.values["transport/stem"] == "shared_memory"
        assert reason in health.values["transport_reason/stem"]
        assert any("come through the host" in warning for warning in health.warnings)
        assert devices[1].opened == 0


def test_a_gpu_that_fails_in_a_run_costs_a_state_and_the_rest_goes_through_the_host(
    path, namespace, devices
):
    with two_containers(path, namespace, mode="realtime") as (two, robot):
        hearer = two[1].members[0]._hearers["stem"]
        robot.film(30)
        assert robot.host.spin(lambda: hearer.transport == "cuda_ipc", 10)
        seen = len(robot.answers)
        assert robot.hears(seen + 3)
        devices[1].broken = {"copy"}
        assert robot.host.spin(lambda: hearer.transport == "shared_memory", 10)
        seen = len(robot.answers)
        assert robot.hears(seen + 3)
        health = two[1].members[0].health()
        assert "copy" in health.values["transport_reason/stem"]
        assert health.values["overwritten/stem"] == "1" and two[1].failure is None
