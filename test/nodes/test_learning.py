"""A group that learns while it streams over ROS: as offline, as replayed, and told."""

from __future__ import annotations

import math
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import PERIOD_NS, composed
from network.test_online import TAUGHT, taught

pytestmark = [pytest.mark.ros]


class Driver:
    """Publishes a command beside each image, and remembers both."""

    def __init__(self, robot):
        from geometry_msgs.msg import TwistStamped

        self._robot = robot
        self._commands = robot.node.create_publisher(TwistStamped, "teleop", 1000)
        robot.host.spin(lambda: self._commands.get_subscription_count() > 0, 10)

    def drive(self, frames):
        from geometry_msgs.msg import TwistStamped

        from streaming_net_ros.wire import write_stamp_ns

        for _ in range(frames):
            message = TwistStamped()
            message.twist.angular.z, message.twist.linear.x = label(self._robot.sent)
            write_stamp_ns(message.header.stamp, stamp_ns(self._robot.sent))
            self._commands.publish(message)
            self._robot.look()


def label(number):
    return math.sin(number / 5), 0.25


def stamp_ns(number):
    return 10**18 + number * PERIOD_NS


def picture(number):
    drawn = np.random.default_rng(number).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return torch.from_numpy(drawn).permute(2, 0, 1)[None]


@contextmanager
def driven(path, namespace, **settings):
    with composed(path, namespace, **settings) as (container, robot):
        yield container, robot, Driver(robot)


def group_of(container, name="head"):
    return next(m for m in container.members if m.get_name() == name)


def set_parameters(robot, node, **values):
    """As ``ros2 param set`` does; gives the result of each."""
    from rcl_interfaces.srv import SetParameters
    from rclpy.parameter import Parameter

    client = robot.node.create_client(SetParameters, f"{node}/set_parameters")
    assert robot.host.spin(client.service_is_ready, 10)
    wanted = [Parameter(n.replace("__", "."), value=v).to_parameter_msg()
              for n, v in values.items()]  # fmt: skip
    future = client.call_async(SetParameters.Request(parameters=wanted))
    assert robot.host.spin(future.done, 10)
    return future.result().results


def offline(path, frames, is_on=True):
    """Answers of the offline rollout under the same images and commands."""
    from streaming_net_ros.network import (
        OfflineRollout,
        StampedState,
        StreamingNetwork,
        learners_of,
        read_network_file,
    )

    torch.set_num_threads(1)
    network = StreamingNetwork(read_network_file(path)).eval()
    learners = learners_of(network)
    if is_on:
        learners["head"].begin()
    rollout, answers = OfflineRollout(network, learners), []
    for number in range(frames):
        label_of = torch.tensor([label(number)], dtype=torch.float32)
        inputs = {"image": picture(number), "teleop": label_of}
        stamped = {n: StampedState(state, stamp_ns(number)) for n, state in inputs.items()}
        answers += [
            done.state.batch[0].tolist()
            for done in rollout.feed(number, stamped)
            if done.group == "head"
        ]
    return answers, learners["head"]


def told(robot):
    return [[a.twist.angular.z, a.twist.linear.x] for a in robot.answers]


def test_learning_in_lockstep_equals_offline_bit_for_bit(write_network, namespace):
    path = write_network(taught())
    expected, learner = offline(path, 60)
    plain, _ = offline(path, 60, is_on=False)
    with driven(path, namespace, threads=3) as (container, robot, driver):
        assert set_parameters(robot, "head", learning=True)[0].successful
        driver.drive(60)
        assert robot.hears(60)
        health = group_of(container).health()
    assert told(robot) == expected != plain
    assert health.values["learning"] == "on"
    assert health.values["learning_updates"] == str(learner.updates)
    assert health.values["learning_change"] == f"{learner.change:.4g}"


def test_it_is_off_until_it_is_turned_on_and_its_ledger_is_replayed(
    write_network, namespace, tmp_path
):
    from streaming_net_ros.frames.ledger import ChangeLine, LearningLine, read_ledger
    from streaming_net_ros.network import (
        ReplayedResponse,
        StreamingNetwork,
        read_network_file,
        replay,
    )

    path = write_network(taught({**TAUGHT, "period_frames": 2}))
    plain, _ = offline(path, 20, is_on=False)
    ledger = tmp_path / "ledger"
    with driven(path, namespace, ledger=ledger) as (container, robot, driver):
        driver.drive(20)
        assert robot.hears(20) and told(robot) == plain
        assert group_of(container).health().values["learning"] == "off"
        for values in (
            {"learning": True},
            {"learning__rate": 0.03},
            {"learning": False},
            {"learning": True, "edge__deep__gain": 0.5},
        ):
            assert all(result.successful for result in set_parameters(robot, "head", **values))
            before = len(robot.answers)
            driver.drive(10)
            assert robot.hears(before + 10)
        updates = group_of(container).health().values["learning_updates"]
    head, lines = read_ledger([ledger])
    learnt = [line for line in lines if isinstance(line, LearningLine)]
    assert [line.what for line in learnt].count("update") == int(updates) > 8
    assert [line.what for line in learnt if line.what != "update"] == ["begin", "begin"]
    assert {line.rate for line in learnt if line.what == "update"} == {0.1, 0.03}
    changes = [(line.name, line.value) for line in lines if isinstance(line, ChangeLine)]
    assert changes[:3] == [("learning", "true"), ("learning.rate", 0.03), ("learning", "false")]
    network = StreamingNetwork(read_network_file(path)).eval()
    again = [
        done.state.batch[0].tolist()
        for done in replay(network, lines, lambda _, at: picture(number_at(at)), head)
        if isinstance(done, ReplayedResponse) and done.line.output == "drive"
    ]
    assert again == told(robot)


def number_at(captured_ns):
    return (captured_ns - 10**18) // PERIOD_NS


def test_a_group_without_a_section_has_no_such_parameter(write_network, namespace):
    path = write_network(taught())
    with driven(path, namespace) as (container, _, _):
        assert group_of(container).has_parameter("learning")
        assert not group_of(container, "stem").has_parameter("learning")
        assert "learning" not in group_of(container, "stem").health().values


def test_a_rate_that_cannot_be_is_refused_and_nothing_changes(write_network, namespace):
    path = write_network(taught())
    with driven(path, namespace) as (container, robot, _):
        for wrong in (-1.0, math.nan, "fast"):
            (result,) = set_parameters(robot, "head", learning__rate=wrong)
            assert not result.successful
        assert group_of(container).health().values["learning_rate"] == "0.1"


def test_nan_stops_learning_and_the_run_goes_on_with_the_weights_before(
    write_network, namespace, monkeypatch
):
    from streaming_net_ros.network.pupil import Pupil
    from streaming_net_ros.nodes import learning

    path = write_network(taught())
    plain, _ = offline(path, 30, is_on=False)
    monkeypatch.setattr(learning, "OnlineLearner", spoiling(learning.OnlineLearner, Pupil))
    with driven(path, namespace) as (container, robot, driver):
        assert set_parameters(robot, "head", learning=True)[0].successful
        driver.drive(30)
        assert robot.hears(30)
        health = group_of(container).health()
        assert container.failure is None
    assert health.values["learning"] == "stopped"
    assert any("learning stopped" in warning for warning in health.warnings)
    assert told(robot) == plain


def spoiling(kind, pupil):
    """A learner whose first update makes the state infinite, or is NaN itself."""

    class Spoiling(kind):
        def compute(self, lessons):
            made = super().compute(lessons)
            weights = {name: torch.full_like(t, math.inf) for name, t in made.weights.items()}
            return type(made)(made.frames, made.rate, made.loss, weights, made.pupil)

    return Spoiling


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(["on", "off", "weights", "gain", "reset", *["frame"] * 5]),
                max_size=40))  # fmt: skip
def test_whatever_is_asked_for_in_whatever_order_follows_from_the_ledgers_lines(asked):
    """A learner that is told the ledger's lines alone is at every frame where the node's is."""
    from network.test_online import network_of
    from streaming_net_ros.network.online import OnlineLearner

    pytest.importorskip("rclpy")
    network, lines = network_of(taught({**TAUGHT, "period_frames": 2})), []
    learning = learning_of(network, "lockstep", lines)
    other = OnlineLearner(network_of(taught({**TAUGHT, "period_frames": 2})), "head", 1)
    frame, lessons = 0, {}
    for what in asked:
        if what in ("on", "off"):
            learning.set("learning", what == "on")
        elif what == "reset":
            learning.reset()
        elif what in ("gain", "weights"):
            for one in (network.group("head"), other._group):
                with torch.no_grad():
                    one.edges["deep"][-1].bias += 0.1 if what == "weights" else 0.0
            learning.adjusted(has_new_weights=what == "weights")
        else:
            frame += 1
            learning.enter(frame)
            follow(other, lines, lessons)
            job = a_job(frame, network)
            lessons[frame] = {source: given.state for source, given in job.inputs.items()}
            learning.lived(job)
            if (task := learning.next_task()) is not None:
                task()
            assert not learning.is_in_the_way
            ours = dict(network.group("head").named_parameters())
            assert all(torch.equal(p, ours[n]) for n, p in other._group.named_parameters())


@pytest.mark.parametrize("mode", ["lockstep", "realtime"])
def test_an_update_is_in_the_way_of_lockstep_alone(mode):
    from network.test_online import network_of

    network = network_of(taught({**TAUGHT, "period_frames": 2}))
    learning = learning_of(network, mode, lines := [])
    learning.set("learning", value=True)
    for frame in (1, 2):
        learning.enter(frame)
        learning.lived(a_job(frame, network))
    assert learning.is_in_the_way is (mode == "lockstep")
    update = learning.next_task()
    assert update is not None and learning.is_in_the_way is (mode == "lockstep")
    for frame in (3, 4, 5):  # realtime: frames come while the update is made
        learning.enter(frame)
        learning.lived(a_job(frame, network))
        assert learning.next_task() is None
    update()
    assert not learning.is_in_the_way
    learning.enter(6)
    assert [(line.what, line.frame, line.lessons) for line in lines] == [
        ("begin", 1, ()), ("update", 6, (1, 2)),
    ]  # fmt: skip
    learning.lived(a_job(6, network))
    learning.next_task()()
    learning.enter(7)
    assert lines[-1].lessons == (3, 4, 5, 6)


def learning_of(network, mode, lines):
    from streaming_net_ros.network.runner import Runner
    from streaming_net_ros.nodes.learning import Learning

    container = SimpleNamespace(
        settings=SimpleNamespace(mode=mode), network=network,
        ledger=SimpleNamespace(write=lines.append), pool=Pool(),
    )  # fmt: skip
    return Learning(SimpleNamespace(), "head", container, Runner(network.group("head")))


def follow(learner, lines, lessons):
    from streaming_net_ros.network.online import Lesson

    while lines:
        line = lines.pop(0)
        if line.what == "update":
            learner.rate = line.rate
            made = learner.compute([Lesson(frame, lessons[frame]) for frame in line.lessons])
            assert learner.apply(made)
        else:
            learner.begin(anew=line.what == "begin_anew")


class Pool:
    def __init__(self):
        from contextlib import nullcontext

        self.lock = nullcontext()

    def wake(self, member):
        pass


def a_job(frame, network):
    from streaming_net_ros.frames import Input, Job, Origin

    generator = torch.Generator().manual_seed(frame)
    inputs = {
        source: Input(torch.rand((1, *network.shapes[source]), generator=generator), frame - 1,
                      Origin(1, 1), 0)
        for source in ("stem", "deep", "teleop")
    }  # fmt: skip
    return Job(frame, inputs, Origin(1, 1))
