"""How states travel between containers: chosen by itself, shown, and the same states each way."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import pytest

from harness import Robot
from networks import TINY, two_groups
from streaming_net_ros.errors import TransportError

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

    monkeypatch.setattr("streaming_net_ros.nodes.transports.RingWriter", refuse)
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
            hearer._on_notice(pack_notice(Notice(number, 0, Origin(0, 0), None)))
        assert head.health().values["overwritten/stem"] == "5"
        assert any("5 states of 'stem'" in warning for warning in head.health().warnings)


def test_who_cannot_lend_is_not_asked_again_at_once(path, namespace, monkeypatch):
    asked = []

    def refuse(*_):
        asked.append(None)
        raise TransportError("no memory left", remedy="buy some")

    monkeypatch.setattr("streaming_net_ros.nodes.transports.RingWriter", refuse)
    with two_containers(path, namespace, mode="realtime") as (two, robot):
        hearer = two[1].members[0]._hearers["stem"]
        assert robot.host.spin(lambda: hearer.transport == "message", 10)
        for _ in range(5):
            hearer.look()
        assert len(asked) == 1 and "no memory left" in hearer.reason
