"""A running network, with a plain rclpy robot beside it: services, life cycle, bad input."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import composed, run_container, start_container, wait_until

pytestmark = [pytest.mark.ros]


@pytest.fixture
def tiny_path(write_network, tiny):
    return write_network(tiny)


def test_pause_stops_frames_and_a_step_advances_exactly_one(tiny_path, namespace):
    with composed(tiny_path, namespace) as (container, robot):
        source = container.members[0]
        robot.look(3)
        assert robot.hears(3)
        assert robot.call("frame_source/pause").success
        robot.look(5)
        assert robot.host.spin(lambda: len(source._intake) == 5, 10)
        assert robot.host.spin(lambda: source.fed == 3, 10)
        assert len(robot.answers) == 3
        assert robot.call("frame_source/step").success
        assert robot.hears(4)
        assert robot.host.spin(lambda: source.fed == 4, 10)
        assert robot.call("frame_source/resume").success
        assert robot.hears(8)
        stamps = [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in robot.answers]
        assert stamps == [10**18 + n * 33_333_333 for n in range(8)]


def test_a_step_needs_a_paused_source(tiny_path, namespace):
    with composed(tiny_path, namespace) as (_, robot):
        answer = robot.call("frame_source/step")
        assert not answer.success and "paused" in answer.message


def test_a_bad_image_is_refused_counted_and_costs_no_frame(tiny_path, namespace):
    def shorten(message):
        message.data = message.data[:-7]

    def rename(message):
        message.encoding = "thermal"

    with composed(tiny_path, namespace) as (container, robot):
        robot.look(2)
        robot.look(1, spoil=shorten)
        robot.look(1, spoil=rename)
        robot.look(2)
        assert robot.hears(4)
        assert robot.host.spin(lambda: container.members[0].fed == 4, 10)
        health = container.members[0].health()
        assert health.values["refused_images"] == "2" and health.values["frames"] == "4"
        assert "thermal" in health.errors[0] and container.failure is None


def test_a_network_that_is_reset_answers_as_a_new_one(tiny_path, namespace):
    with composed(tiny_path, namespace) as (container, robot):
        robot.look(5)
        assert robot.hears(5)
        first = [m.twist.angular.z for m in robot.answers]
        for transition in ("trigger_deactivate", "trigger_activate"):
            for member in container.members:
                getattr(member, transition)()
        robot.answers.clear()
        robot.sent = 0
        robot.look(5)
        assert robot.hears(5)
        assert [m.twist.angular.z for m in robot.answers] == first


def test_a_network_can_be_cleaned_up_and_configured_again(tiny_path, namespace):
    with composed(tiny_path, namespace) as (container, robot):
        for transition in ("deactivate", "cleanup", "configure", "activate"):
            for member in container.members:
                getattr(member, f"trigger_{transition}")()
        assert robot.host.spin(lambda: robot.camera.get_subscription_count() > 0, 10)
        robot.look(3)
        assert robot.hears(3)


def test_a_group_that_starts_again_in_lockstep_ends_the_run(tiny_path, namespace):
    from std_msgs.msg import Header

    from streaming_net_ros.nodes import topics

    with composed(tiny_path, namespace) as (container, robot):
        robot.look(3)
        assert robot.hears(3)
        source = container.members[0]
        # On the topic a "ready" of before may come late; a group of this process tells it shorter.
        source._on_progress(Header(frame_id="deep", stamp=stamp_of_ready()))
        assert container.failure is None
        source._progressed("deep", topics.READY_NS)
        assert "deep" in str(container.failure) and "memory is lost" in str(container.failure)


def stamp_of_ready():
    from builtin_interfaces.msg import Time

    from streaming_net_ros.nodes import topics
    from streaming_net_ros.wire import write_stamp_ns

    stamp = Time()
    write_stamp_ns(stamp, topics.READY_NS)
    return stamp


def test_a_paused_realtime_source_lets_the_workers_sleep(tiny_path, namespace):
    with composed(tiny_path, namespace, mode="realtime") as (container, robot):
        robot.look()
        assert robot.hears(1)
        robot.call("frame_source/pause")
        robot.look(2)
        source = container.members[0]
        assert robot.host.spin(lambda: len(source._intake) > 0, 10)
        assert source.wake_at_ns() is None


def test_members_may_be_started_in_any_order(tiny_path, namespace):
    with composed(tiny_path, namespace, autostart=False) as (container, robot):
        for member in reversed(container.members):
            member.trigger_configure()
            member.trigger_activate()
            robot.host.spin(lambda: False, 0.2)
        assert robot.host.spin(lambda: robot.camera.get_subscription_count() > 0, 10)
        robot.look(3)
        assert robot.hears(3)


def test_a_subscriber_that_cannot_match_holds_nobody_up(tiny_path, namespace):
    from geometry_msgs.msg import TwistStamped
    from rclpy.qos import QoSDurabilityPolicy, QoSProfile

    with composed(tiny_path, namespace, autostart=False) as (container, robot):
        latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        robot.node.create_subscription(TwistStamped, "response/drive", lambda _: None, latched)
        for transition in ("trigger_configure", "trigger_activate"):
            for member in container.members:
                getattr(member, transition)()
        assert robot.host.spin(lambda: robot.camera.get_subscription_count() > 0, 10)
        robot.look(3)
        assert robot.hears(3)


def test_realtime_answers_every_image_and_counts_what_it_holds(tiny_path, namespace):
    with composed(tiny_path, namespace, mode="realtime", rate_hz=50.0) as (container, robot):
        for expected in range(1, 6):
            robot.look()
            assert robot.hears(expected)
        groups = {m.get_name(): m for m in container.members[1:]}
        # The camera has stopped: frames go on, made of held states, and say so.
        assert robot.host.spin(lambda: "held/image" in groups["stem"].health().values, 10)
        assert any("held" in warning for warning in groups["stem"].health().warnings)


def test_diagnostics_name_every_member_with_its_rate_and_transport(tiny_path, namespace):
    from diagnostic_msgs.msg import DiagnosticArray

    with composed(tiny_path, namespace) as (_, robot):
        heard = []
        robot.node.create_subscription(DiagnosticArray, "/diagnostics", heard.append, 10)
        robot.look(4)

        def complete():
            statuses = heard[-1].status if heard else []
            return any(v.key == "frames" and v.value == "4" for s in statuses for v in s.values)

        assert robot.host.spin(complete, 10)
        names = {status.name for status in heard[-1].status}
        members = ("frame_source", "stem", "memory", "deep", "head")
        assert names == {f"{namespace}/{name}: streaming" for name in members}
        values = {v.key: v.value for s in heard[-1].status if "head" in s.name for v in s.values}
        assert values["transport/deep"] == "reference" and float(values["rate_hz"]) > 0


def test_parameters_tell_what_they_are(tiny_path, namespace):
    with composed(tiny_path, namespace):
        from rclpy.context import Context
        from rclpy.node import Node
        from rclpy.parameter import Parameter

        from streaming_net_ros.nodes.settings import declare_settings

        context = Context()
        context.init(args=[])
        node = Node("described", context=context, parameter_overrides=[
            Parameter("network", value=str(tiny_path))])  # fmt: skip
        declare_settings(node)
        for name in ("mode", "rate_hz", "window_frames", "members"):
            descriptor = node.describe_parameter(name)
            assert descriptor.description and descriptor.read_only
        assert node.describe_parameter("rate_hz").floating_point_range[0].to_value == 1e5
        node.destroy_node()
        context.shutdown()


BAD_PARAMETERS = {
    "no network": ([], "network:=", "no network file"),
    "network missing": (["network:=/none.yaml"], "/none.yaml", "cannot read"),
    "rate a word": (["rate_hz:=fast"], "rate_hz", "float from 0"),
    "rate negative": (["rate_hz:=-3.0"], "rate_hz", "float from 0"),
    "unknown mode": (["mode:=warp"], "mode", "lockstep, realtime"),
    "unknown member": (["members:=[tail]"], "tail", "frame_source, stem"),
    "unknown device": (["device:=quantum"], "quantum", "cuda"),
    "unknown rollout": (["rollout:=sideways"], "sideways", "not a rollout"),
    "no weights there": (["weights:=/none.safetensors"], "/none.safetensors", "cannot read"),
    "window negative": (["window_frames:=-1"], "window_frames", "int from 0"),
    "threads too many": (["threads:=100000"], "threads", "int from 0"),
    "queue of none": (["queue_frames:=0"], "queue_frames", "int from 1"),
}


@pytest.mark.parametrize("case", BAD_PARAMETERS)
def test_a_bad_parameter_ends_the_container_with_one_line(case, tiny_path, namespace):
    given, place, hint = BAD_PARAMETERS[case]
    extra = [part for setting in given for part in ("-p", setting)]
    path = "''" if case == "no network" else tiny_path
    code, said = run_container(path, namespace, *extra)
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert code == 2 and len(errors) == 1, said
    assert place.rstrip(":=") in errors[0] and hint in errors[0], errors
    assert "Traceback" not in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_container_cleanly_and_soon(number, tiny_path, namespace):
    child = start_container(tiny_path, namespace, "-p", "mode:=realtime")
    try:
        lines = iter(child.stderr.readline, "")
        assert any("weights are random" in line for line in lines)
        time_of_signal = time.monotonic()
        child.send_signal(number)
        child.send_signal(number)  # launch and a terminal may both send one
        said = child.stderr.read()
        assert child.wait(10) == 0, said
        assert time.monotonic() - time_of_signal < 5  # the bound is 2 s; see benchmarks
        assert "Traceback" not in said and "frame_source: 0 frames fed" in said
    finally:
        child.kill()


def test_a_container_ends_when_the_process_that_started_it_was_killed(tiny_path, namespace):
    code = (
        "import os, subprocess, time; from harness import container_command as c;"
        f"a = [{str(tiny_path)!r}, {namespace!r}, '-p', f'follow_pid:={{os.getpid()}}'];"
        "p = subprocess.Popen(c(*a));"
        "print(p.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    grandchild = int(parent.stdout.readline())
    parent.kill()
    parent.wait()

    def has_ended():
        try:
            return "Z" in Path(f"/proc/{grandchild}/stat").read_text().rsplit(")", 1)[1]
        except OSError:
            return True

    ended = wait_until(has_ended, 40)
    if not ended:
        os.kill(grandchild, signal.SIGKILL)
    assert ended
