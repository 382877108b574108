"""Realtime over ROS: trouble is stopped where it arises, said by name, and ends by itself."""

from __future__ import annotations

import math
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from harness import PERIOD_NS, composed
from streaming_net_ros.network import OfflineRollout, StampedState
from streaming_net_ros.wire import read_stamp_ns

pytestmark = [pytest.mark.ros, pytest.mark.timeout(120)]


@pytest.fixture
def tiny_path(write_network, tiny):
    return write_network(tiny)


@pytest.fixture
def guarded_path(write_network, tiny):
    """The control output stops beyond 300 ms, with a command of its own."""
    tiny["outputs"]["drive"] |= {"max_age_ms": 300, "safe": {"angular.z": 0.25, "linear.x": -1}}
    return write_network(tiny)


def member(container, name):
    return next(m for m in container.members if m.get_name() == name)


def is_safe(message):
    return (message.twist.angular.z, message.twist.linear.x) == (0.25, -1.0)


def test_an_output_stops_once_with_its_safe_command_and_resumes_by_itself(guarded_path, namespace):
    with composed(guarded_path, namespace, mode="realtime", rate_hz=50.0) as (container, robot):
        head = member(container, "head")
        robot.look()
        assert robot.host.spin(lambda: any(map(is_safe, robot.answers)), 10)  # no camera any more
        assert not is_safe(robot.answers[0])
        health = head.health()
        assert any("drive has stopped" in error for error in health.errors)
        robot.host.spin(lambda: False, 0.5)
        assert sum(map(is_safe, robot.answers)) == 1 and is_safe(robot.answers[-1])
        heard = len(robot.answers)
        robot.look()
        assert robot.hears(heard + 1) and not is_safe(robot.answers[heard])
        assert not any("stopped" in error for error in head.health().errors)
        assert head.health().values["stops/drive"] == "1"


@pytest.mark.parametrize("how", ["deactivate", "stop"])
def test_an_output_whose_node_stops_sends_its_safe_command_once(how, guarded_path, namespace):
    settings = {"mode": "realtime", "rate_hz": 50.0, "max_age_ms": 10_000.0}
    with composed(guarded_path, namespace, **settings) as (container, robot):
        robot.look()
        assert robot.hears(1)
        head = member(container, "head")
        head.trigger_deactivate() if how == "deactivate" else container.stop()
        assert robot.host.spin(lambda: any(map(is_safe, robot.answers)), 10)
        robot.host.spin(lambda: False, 0.2)
        assert is_safe(robot.answers[-1]) and sum(map(is_safe, robot.answers)) == 1


def test_the_limit_of_an_age_can_be_set_for_all_control_outputs(tiny_path, namespace):
    settings = {"mode": "realtime", "rate_hz": 50.0, "max_age_ms": 100.0}
    with composed(tiny_path, namespace, **settings) as (container, robot):
        robot.look()
        head = member(container, "head")
        assert robot.host.spin(lambda: head.health().values["stops/drive"] == "1", 10)


def test_a_state_that_is_no_number_is_stopped_at_the_group_where_it_arises(tiny_path, namespace):
    with composed(tiny_path, namespace, mode="realtime", rate_hz=50.0) as (container, robot):
        robot.look()
        assert robot.hears(1)
        memory = member(container, "memory")
        with torch.no_grad():
            next(container.network.group("memory").parameters()).fill_(math.nan)
        heard = len(robot.answers)
        for more in range(1, 6):
            robot.look()
            assert robot.hears(heard + more)
        assert all(math.isfinite(m.twist.angular.z) for m in robot.answers)
        assert "NaN or infinite" in memory.health().errors[0]
        for name in ("deep", "head", "stem"):
            assert not member(container, name).health().errors
        assert container.failure is None


def test_a_state_that_is_no_number_ends_a_lockstep_run_by_name(tiny_path, namespace):
    with composed(tiny_path, namespace) as (container, robot):
        with torch.no_grad():
            next(container.network.group("memory").parameters()).fill_(math.nan)
        robot.look(3)
        assert robot.host.spin(lambda: container.failure is not None, 10)
        assert "group memory" in str(container.failure) and "NaN" in str(container.failure)


def test_a_silent_camera_and_a_silent_group_are_named_and_heard_again(tiny_path, namespace):
    with composed(tiny_path, namespace, mode="realtime", rate_hz=50.0) as (container, robot):
        source = member(container, "frame_source")

        def said(text):
            return lambda: any(text in error for error in source.health().errors)

        robot.look()
        assert robot.host.spin(said("camera 'image' has been silent"), 10)
        member(container, "deep").trigger_deactivate()

        missed = said("group 'deep' has been silent")
        robot.film(50)
        assert robot.host.spin(missed, 20)
        assert not said("camera")() and not said("group 'stem'")()
        member(container, "deep").trigger_activate()
        assert robot.host.spin(lambda: not missed(), 20)


def test_measured_times_are_topics_and_values_of_diagnostics(tiny_path, namespace):
    from geometry_msgs.msg import Vector3Stamped

    names = [
        *("group/stem/work_ms", "edge/stem/head/wait_ms", "edge/image/stem/age_ms"),
        *(f"response/drive/{what}" for what in ("early_ms", "full_ms", "held")),
    ]
    with composed(tiny_path, namespace, mode="realtime", rate_hz=50.0) as (container, robot):
        heard = {name: [] for name in names}
        for name in names:
            robot.node.create_subscription(Vector3Stamped, f"debug/{name}", heard[name].append, 10)

        robot.film(50)
        assert robot.host.spin(lambda: all(heard.values()), 20), {n for n in names if not heard[n]}
        assert all(m.vector.x >= 0 for messages in heard.values() for m in messages)
        full = heard["response/drive/full_ms"][0].vector.x
        assert full > heard["response/drive/early_ms"][0].vector.x
        values = {}  # of a frame that is finished: its answer has left before

        def is_counted():
            values.update(member(container, "head").health().values)
            return "age_p50_ms/deep" in values

        assert robot.host.spin(is_counted, 10), values
        for name in ("work_p99_ms", "wait_max_ms/stem", "age_p50_ms/deep", "early_p50_ms/drive"):
            assert math.isfinite(float(values[name])), name


def test_nobody_offers_debug_topics_if_told_so(tiny_path, namespace):
    settings = {"mode": "realtime", "debug_topics": False}
    with composed(tiny_path, namespace, **settings) as (_, robot):
        robot.look()
        assert robot.hears(1)
        assert not [t for t, _ in robot.node.get_topic_names_and_types() if "/debug/" in t]


@contextmanager
def played(path, namespace):
    """A network that follows /clock, as under ``ros2 bag play --clock``, and what sets the clock.

    The clock shows the time of an image's capture when the image comes (see ``Robot.look``).
    """
    from rosgraph_msgs.msg import Clock

    from streaming_net_ros.wire import write_stamp_ns

    arguments = ["-p", "use_sim_time:=true"]
    with composed(path, namespace, arguments, mode="realtime") as (container, robot):
        clock = robot.node.create_publisher(Clock, "/clock", 10)
        assert robot.host.spin(lambda: clock.get_subscription_count() > 0, 10)

        def tick(frame):
            now, wanted_ns = Clock(), 10**18 + frame * PERIOD_NS
            write_stamp_ns(now.clock, wanted_ns)
            clock.publish(now)
            assert robot.host.spin(lambda: container.pool.now_ns() == wanted_ns, 10)

        yield container, robot, tick


def test_realtime_is_the_offline_rollout_bit_for_bit_when_nothing_is_held(tiny_path, namespace):
    with played(tiny_path, namespace) as (container, robot, tick):
        for frame in range(12):
            tick(frame)
            robot.look()
            assert robot.hears(frame + 1)
        for group in container.members[1:]:
            cadence = group._tally.cadence()
            assert (cadence.held, cadence.absent, cadence.skipped) == (0, 0, 0), group.group_name
        network = container.network
    offline, answers = OfflineRollout(network), []
    for frame in range(12):
        picture = np.random.default_rng(frame).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        batch = torch.from_numpy(picture.transpose(2, 0, 1).copy())[None]
        stamped = {"image": StampedState(batch, 10**18 + frame * PERIOD_NS)}
        answers += [done.state for done in offline.feed(frame, stamped) if done.group == "head"]
    assert len(answers) == len(robot.answers) == 12
    for heard, state in zip(robot.answers, answers, strict=True):
        assert read_stamp_ns(heard.header.stamp) == state.captured_ns
        assert heard.twist.angular.z == float(state.batch[0, 0])
        assert heard.twist.linear.x == float(state.batch[0, 1])


def test_ros_time_that_jumps_back_begins_anew_and_is_told(tiny_path, namespace):
    with played(tiny_path, namespace) as (container, robot, tick):
        for frame in (100, 101, 102, 3, 4, 5):  # in a loop
            tick(frame)
            robot.sent = frame
            heard = len(robot.answers)
            robot.look()
            assert robot.hears(heard + 1), frame
        assert member(container, "frame_source").health().values["clock_jumps"] != "0"
        assert member(container, "stem").health().values["clock_jumps"] == "1"


def test_who_looks_on_gets_a_state_half_a_period_after_its_frame(tiny_path, namespace):
    """Also where ROS time stands still, as it does here; then from whoever looks now and then."""
    from sensor_msgs.msg import Image

    from streaming_net_ros.nodes import topics

    with played(tiny_path, namespace) as (container, robot, tick):
        shown = []
        for node in ("image", "stem"):
            topic = topics.throttled(node)
            robot.node.create_subscription(Image, topic, shown.append, topics.LOOKED_AT)
            assert robot.host.spin(lambda t=topic: robot.node.count_publishers(t) > 0, 10)
        stem, source = member(container, "stem"), member(container, "frame_source")
        all_shown = [stem._telling.looked_at, source._looked_at["image"]]
        assert {one._rest_s for one in all_shown} == {PERIOD_NS / 2e9}
        assert robot.host.spin(lambda: all(one._is_looked_at for one in all_shown), 10)
        for one in all_shown:
            one._rest_s = 1e6  # until it is said here that it is over
        tick(0)
        robot.look()
        assert robot.hears(1)  # the frame has gone through the whole network
        assert robot.host.spin(lambda: all(one._send_at_s for one in all_shown), 10)
        assert not shown
        for one in all_shown:
            one._send_at_s = 0.0
        assert robot.host.spin(lambda: len(shown) == 2, 10)


def test_what_was_not_shown_of_a_run_is_forgotten_with_it(tiny_path, namespace):
    with composed(tiny_path, namespace, mode="realtime") as (container, _):
        stem, source = member(container, "stem"), member(container, "frame_source")
        for node, shown in ((stem, stem._telling.looked_at), (source, source._looked_at["image"])):
            shown._newest, shown._send_at_s = ("a state", 0, None), 1e12
            node.trigger_deactivate()
            node.trigger_activate()
            assert shown._newest is None and shown._send_at_s is None
