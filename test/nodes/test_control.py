"""A running network is changed, stopped, saved and restored: over ROS, at borders of frames."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from harness import PERIOD_NS, Robot, composed, start_container
from streaming_net_ros.errors import LedgerError
from streaming_net_ros.frames import FrameGrid, Origin
from streaming_net_ros.frames.ledger import ChangeLine, read_ledger

pytestmark = [pytest.mark.ros]
START_NS = 10**18
SKIP = "edge__stem__lesion"


@pytest.fixture
def path(write_network, tiny):
    """The tiny network, with a number in its head that can be changed."""
    tiny["groups"][-1]["apply"] = [
        {"LeakyReLU": {"negative_slope": 0.25}},
        *tiny["groups"][-1].get("apply", []),
    ]
    return write_network(tiny)


def pictures(count):
    return [
        np.random.default_rng(n).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        for n in range(count)
    ]


def offline_answers(path, images, change=lambda rollout, network, frame: None):
    """What the network answers to so many images; ``change`` is called before each is fed."""
    from streaming_net_ros.network import (
        OfflineRollout,
        StampedState,
        StreamingNetwork,
        read_network_file,
    )

    spec = read_network_file(path)
    network = StreamingNetwork(spec).eval()
    rollout, answers = OfflineRollout(network), []
    group = spec.outputs["drive"].group
    first = FrameGrid(spec.rate_hz).nearest_frame(START_NS)
    for number, picture in enumerate(pictures(images)):
        change(rollout, network, first + number)
        batch = torch.from_numpy(picture).permute(2, 0, 1).unsqueeze(0)
        stamped = StampedState(batch, START_NS + number * PERIOD_NS)
        answers += [
            made.state.batch[0, 0].item()
            for made in rollout.feed(first + number, {"image": stamped})
            if made.group == group
        ]
    return answers


def answers_of(robot):
    return [answer.twist.angular.z for answer in robot.answers]


def replayed_answers(path, ledger):
    """The answers of a run, computed again from its ledger."""
    from streaming_net_ros.network import (
        ReplayedResponse,
        StreamingNetwork,
        read_network_file,
        replay,
    )

    def picture(name, captured_ns):
        number = round((captured_ns - START_NS) / PERIOD_NS)
        return torch.from_numpy(pictures(number + 1)[-1]).permute(2, 0, 1).unsqueeze(0)

    head, lines = read_ledger([ledger])
    network = StreamingNetwork(read_network_file(path)).eval()
    return [
        made.state.batch[0, 0].item()
        for made in replay(network, lines, picture, head)
        if isinstance(made, ReplayedResponse) and made.line.output == "drive"
    ]


def stamp_of(stamp_ns):
    from builtin_interfaces.msg import Time

    return Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)


def changes_in(path):
    return [line for line in read_ledger([path])[1] if isinstance(line, ChangeLine)]


def test_one_step_feeds_as_many_images_as_the_parameter_says(path, namespace):
    with composed(path, namespace) as (container, robot):
        assert robot.call("frame_source/pause").success
        robot.look(9)
        assert robot.set("frame_source", step_frames=3) == []
        assert robot.call("frame_source/step").success
        assert robot.hears(3)
        assert robot.host.spin(lambda: container.members[0].fed == 3, 10)
        assert robot.call("frame_source/step").success
        assert robot.hears(6)
        assert robot.host.spin(lambda: container.members[0].fed == 6, 10)


def test_slow_motion_holds_the_next_frame_back_until_it_is_called_off(path, namespace):
    with composed(path, namespace) as (container, robot):
        assert robot.set("frame_source", pace_hz=1e-4) == []
        robot.look(4)
        assert robot.hears(1)
        assert robot.host.spin(lambda: len(container.members[0]._intake) == 3, 10)
        assert robot.host.spin(lambda: container.members[0].fed == 1, 10)
        assert robot.set("frame_source", pace_hz=0.0) == []
        assert robot.hears(4)


@pytest.mark.parametrize("lesion", ["silence", "hold"])
def test_a_lesion_holds_from_its_frame_on_as_offline(lesion, path, namespace, tmp_path):
    ledger = tmp_path / "run.ledger"
    with composed(path, namespace, ledger=ledger) as (_, robot):
        robot.look(5)
        assert robot.hears(5)
        assert robot.set("head", **{SKIP: lesion}) == []
        robot.look(5)
        assert robot.hears(10)
        got = answers_of(robot)
    (told,) = changes_in(ledger)
    assert (told.group, told.name, told.value) == ("head", "edge.stem.lesion", lesion)
    first = FrameGrid(30).nearest_frame(START_NS)

    def change(rollout, network, image):
        if image == first + 5:
            rollout.lesions("head").set(lesion, "stem")

    assert got == offline_answers(path, 10, change) != offline_answers(path, 10)
    assert got == replayed_answers(path, ledger)


def test_silence_of_the_skip_path_takes_the_early_response_and_nothing_else(namespace):
    from sensor_msgs.msg import Image

    from streaming_net_ros.network import read_network_file, rollout_of
    from streaming_net_ros.paths import find_network
    from streaming_net_ros.theory import response_times

    pilot = find_network("pilot")
    times = response_times(rollout_of(read_network_file(pilot)))["steer"]
    assert (times.first_frames, times.full_frames) == (2, 5)
    images = 8

    def outputs(namespace, lesion):
        with composed(pilot, namespace) as (container, robot):
            road = []
            robot.node.create_subscription(Image, "response/road", road.append, 100)
            steer = container._by_name["steer"]
            assert robot.host.spin(lambda: robot.node.count_publishers("response/road") > 0, 10)
            assert robot.set("steer", edge__stem__lesion=lesion) == []
            robot.look(images)
            assert robot.host.spin(lambda: len(road) == images, 10)
            assert robot.host.spin(lambda: steer.health().values["frames"] == str(images), 10)
            silent = int(steer.health().values["silent"])
            assert robot.hears(images - silent)
            return [bytes(message.data) for message in road], silent

    road, silent = outputs(namespace, "none")
    road_without, silent_without = outputs(f"{namespace}_cut", "silence")
    assert road == road_without
    assert (silent, silent_without) == (0, times.full_frames - times.first_frames)


def test_silence_of_all_that_an_output_hears_silences_it_alone(path, namespace):
    with composed(path, namespace) as (container, robot):
        robot.look(4)
        assert robot.hears(4)
        sources = container.rules["head"].delays
        lesions = {f"edge__{source}__lesion": "silence" for source in sources}
        assert robot.set("head", **lesions) == []
        robot.look(3)
        head = container._by_name["head"]
        assert robot.host.spin(lambda: head.health().values["silent"] == "3", 10)
        assert robot.host.spin(lambda: container.members[0].fed == 7, 10)
        assert len(robot.answers) == 4
        assert any("silenced" in warning for warning in head.health().warnings)
        assert robot.set("head", **dict.fromkeys(lesions, "none")) == []
        robot.look(2)
        assert robot.hears(6)
        assert answers_of(robot)[4:] == offline_answers(path, 9)[7:]


def test_gains_and_scalars_hold_from_the_frame_that_the_ledger_tells(path, namespace, tmp_path):
    ledger = tmp_path / "run.ledger"
    with composed(path, namespace, ledger=ledger) as (_, robot):
        robot.look(4)
        assert robot.hears(4)
        assert robot.set("head", edge__stem__gain=3, scalar__apply__0__negative_slope=0.5) == []
        robot.look(4)
        assert robot.hears(8)
        got = answers_of(robot)
    changes = changes_in(ledger)
    assert {(c.name, c.value) for c in changes} == {
        ("edge.stem.gain", 3.0), ("scalar.apply.0.negative_slope", 0.5),
    }  # fmt: skip
    assert len({c.frame for c in changes}) == 1
    first = FrameGrid(30).nearest_frame(START_NS)

    def change(rollout, network, image):
        if image == first + 4:
            network.group("head").gains["stem"] = 3.0
            network.group("head").after[0].negative_slope = 0.5

    assert got == offline_answers(path, 8, change) != offline_answers(path, 8)
    assert got == replayed_answers(path, ledger)


def test_noise_is_drawn_alike_offline_and_in_a_replay(path, namespace, tmp_path):
    ledger = tmp_path / "run.ledger"
    with composed(path, namespace, ledger=ledger) as (container, robot):
        robot.look(4)
        assert robot.hears(4)
        assert robot.set("deep", noise=0.5) == []
        robot.look(4)
        assert robot.hears(8)
        got = answers_of(robot)
        behind = container.rules["deep"].first_frames["deep"]
    (told,) = changes_in(ledger)

    def change(rollout, network, image):
        if image == told.frame - behind:
            network.group("deep").noise = 0.5

    assert told.name == "noise"
    assert got == offline_answers(path, 8, change) != offline_answers(path, 8)
    assert got == replayed_answers(path, ledger)


def test_changes_are_told_on_a_topic_with_their_frame(path, namespace):
    from diagnostic_msgs.msg import DiagnosticArray

    with composed(path, namespace) as (container, robot):
        told = []
        robot.node.create_subscription(DiagnosticArray, "changes", told.append, 10)
        robot.look(3)
        assert robot.hears(3)
        assert robot.set("stem", lesion="hold") == []
        robot.look(1)
        assert robot.host.spin(lambda: told, 10)
        frame = FrameGrid(30).nearest_frame(START_NS) + 3
        stem = container.rules["stem"].first_frames["stem"]
        stamp = told[0].header.stamp
        assert stamp.sec * 10**9 + stamp.nanosec == FrameGrid(30).stamp_ns(frame + stem)
        (status,) = told[0].status
        assert (status.name, status.values[0].key, status.values[0].value) == (
            "stem",
            "lesion",
            "hold",
        )


@pytest.mark.parametrize(
    ("node", "values", "reason"),
    [
        ("head", {"lesion": "hurt"}, "one of none, hold, silence"),
        ("head", {"edge__stem__gain": float("nan")}, "value not allowed"),
        ("head", {"edge__stem__gain": "much"}, "value not allowed"),
        ("head", {"weights": "/nowhere.safetensors"}, "cannot read weights"),
        ("frame_source", {"step_frames": 0}, "out of range"),
        ("frame_source", {"pace_hz": -1.0}, "out of range"),
        ("frame_source", {"pace_hz": 1e-310}, "too slow"),
    ],
)
def test_what_cannot_be_set_is_refused_with_the_reason(node, values, reason, path, namespace):
    with composed(path, namespace) as (container, robot):
        assert reason in robot.set(node, **values)[0]
        robot.look(3)
        assert robot.hears(3)
        assert container.failure is None


def test_weights_are_swapped_between_two_frames(path, namespace, tmp_path):
    from streaming_net_ros.network import StreamingNetwork, read_network_file, save_weights

    other = StreamingNetwork(read_network_file(path), seed=7)
    save_weights(other, tmp_path / "other.safetensors")
    ledger = tmp_path / "run.ledger"
    with composed(path, namespace, ledger=ledger) as (_, robot):
        robot.look(4)
        assert robot.hears(4)
        assert robot.set("head", weights=str(tmp_path / "other.safetensors")) == []
        robot.look(4)
        assert robot.hears(8)
        got = answers_of(robot)
    first = FrameGrid(30).nearest_frame(START_NS)

    def change(rollout, network, image):
        if image == first + 4:
            network.group("head").load_state_dict(other.group("head").state_dict())

    assert got == offline_answers(path, 8, change) != offline_answers(path, 8)
    assert got == replayed_answers(path, ledger)
    save_weights(StreamingNetwork(read_network_file(path), seed=8), tmp_path / "other.safetensors")
    with pytest.raises(LedgerError, match="weights file was changed since"):
        replayed_answers(path, ledger)


def test_a_network_that_was_reset_answers_as_a_new_one(path, namespace):
    with composed(path, namespace) as (_, robot):
        robot.look(6)
        assert robot.hears(6)
        answer = robot.call("frame_source/reset")
        assert answer.success, answer.message
        robot.look(3)
        assert robot.hears(9)
        got = answers_of(robot)
    with composed(path, f"{namespace}_new") as (_, robot):
        robot.sent = 6
        robot.look(3)
        assert robot.hears(3)
        assert answers_of(robot) == got[6:]


def test_a_restored_network_goes_on_bit_for_bit(path, namespace, tmp_path):
    images, saved_after = 16, 7
    with composed(path, namespace) as (_, robot):
        robot.look(saved_after)
        assert robot.hears(saved_after)
        assert robot.set("head", edge__stem__gain=2.0, edge__deep__lesion="hold") == []
        robot.look(1)
        assert robot.hears(saved_after + 1)
        assert robot.set("frame_source", snapshot=str(tmp_path / "kept")) == []
        answer = robot.call("frame_source/save_snapshot")
        assert answer.success, answer.message
        robot.look(images - saved_after - 1)
        assert robot.hears(images)
        undisturbed = answers_of(robot)
    with composed(path, f"{namespace}_b", restore=tmp_path / "kept") as (container, robot):
        robot.sent = saved_after + 1
        robot.look(images - saved_after - 1)
        assert robot.hears(images - saved_after - 1)
        assert answers_of(robot) == undisturbed[saved_after + 1 :]
        parameter = container._by_name["head"].get_parameter("edge.stem.gain")
        assert parameter.value == 2.0
        # And back again while it runs.
        robot.answers.clear()
        assert robot.set("frame_source", snapshot=str(tmp_path / "kept")) == []
        answer = robot.call("frame_source/restore_snapshot")
        assert answer.success, answer.message
        robot.sent = saved_after + 1
        robot.look(3)
        assert robot.hears(3)
        assert answers_of(robot) == undisturbed[saved_after + 1 : saved_after + 4]


def test_processes_that_were_killed_go_on_from_their_snapshot(path, namespace, tmp_path):
    from rclpy.node import Node  # noqa: F401 - rclpy re-executes python once: before the children

    from streaming_net_ros.nodes.host import Host

    images, saved_after = 120, 20
    parts = "[frame_source,stem,memory]", "[deep,head]"

    @contextmanager
    def running(name, *extra):
        children = [
            start_container(path, name, "-p", f"members:={part}", *extra) for part in parts
        ]
        with Host(["--ros-args"], handles_signals=False) as host:
            robot = Robot(host, f"/{name}")
            try:
                assert host.spin(lambda: robot.camera.get_subscription_count() > 0, 30)
                assert host.spin(lambda: robot.node.count_publishers("response/drive") > 0, 30)
                yield robot
            finally:
                for child in children:
                    child.kill()
                for child in children:
                    child.communicate()

    with running(namespace) as robot:
        robot.look(saved_after)
        assert robot.hears(saved_after, 30)
        assert robot.set("frame_source", snapshot=str(tmp_path / "kept")) == []
        answer = robot.call("frame_source/save_snapshot")
        assert answer.success, answer.message
    with running(f"{namespace}_b", "-p", f"restore:={tmp_path / 'kept'}") as robot:
        robot.sent = saved_after
        robot.look(images - saved_after)
        assert robot.hears(images - saved_after, 30)
        assert answers_of(robot) == offline_answers(path, images)[saved_after:]


def test_a_restore_that_one_group_refuses_changes_nothing(path, namespace, tmp_path):
    kept = tmp_path / "kept"
    with composed(path, namespace) as (container, robot):
        robot.look(3)
        assert robot.hears(3)
        assert robot.set("frame_source", snapshot=str(kept)) == []
        assert robot.call("frame_source/save_snapshot").success
        robot.look(2)
        assert robot.hears(5)
        (kept / "head.safetensors").unlink()
        answer = robot.call("frame_source/restore_snapshot")
        assert not answer.success and "head: " in answer.message
        robot.look(3)
        assert robot.hears(8)
        assert answers_of(robot) == offline_answers(path, 8)
        assert container.failure is None


def test_a_pause_outlives_a_save_and_a_save_just_after_a_reset_is_one(path, namespace, tmp_path):
    with composed(path, namespace) as (container, robot):
        robot.look(3)
        assert robot.hears(3)
        assert robot.call("frame_source/pause").success
        assert robot.set("frame_source", snapshot=str(tmp_path / "kept")) == []
        for service in ("save_snapshot", "reset", "save_snapshot", "restore_snapshot"):
            answer = robot.call(f"frame_source/{service}")
            assert answer.success, answer.message
        assert container.members[0].health().values["state"] == "paused"
        robot.look(2)
        assert robot.call("frame_source/resume").success
        assert robot.hears(5)


def test_what_is_asked_of_the_whole_network_is_in_the_ledger(path, namespace, tmp_path):
    ledger = tmp_path / "run.ledger"
    with composed(path, namespace, ledger=ledger) as (_, robot):
        robot.look(2)
        assert robot.hears(2)
        for service in ("pause", "reset", "resume"):
            assert robot.call(f"frame_source/{service}").success
        robot.look(3)
        assert robot.hears(5)
        got = answers_of(robot)
    frame = FrameGrid(30).nearest_frame(START_NS) + 2
    told = [(line.group, line.name, line.value, line.frame) for line in changes_in(ledger)]
    assert told == [
        ("frame_source", "pause", 1.0, frame),
        ("frame_source", "reset", 1.0, frame),
        ("frame_source", "pause", 0.0, frame),
    ]
    assert got == replayed_answers(path, ledger)


def test_a_snapshot_that_is_no_snapshot_is_refused_and_the_run_goes_on(path, namespace, tmp_path):
    with composed(path, namespace) as (container, robot):
        robot.look(2)
        assert robot.hears(2)
        assert "no folder" in robot.call("frame_source/save_snapshot").message
        assert robot.set("frame_source", snapshot=str(tmp_path / "none")) == []
        answer = robot.call("frame_source/restore_snapshot")
        assert not answer.success and "cannot read the snapshot" in answer.message
        (tmp_path / "none").mkdir()
        (tmp_path / "none" / "frame_source.safetensors").write_bytes(b"\0" * 100)
        answer = robot.call("frame_source/restore_snapshot")
        assert not answer.success and "cannot read the snapshot" in answer.message
        robot.look(2)
        assert robot.hears(4)
        assert answers_of(robot) == offline_answers(path, 4)
        assert container.failure is None


def test_who_looks_on_gets_throttled_states(path, namespace):
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image

    from streaming_net_ros.wire import read_state

    with composed(path, namespace) as (container, robot):
        shown = []
        for name in ("stem", "image"):
            topic = f"state/{name}/throttled"
            robot.node.create_subscription(Image, topic, shown.append, qos_profile_sensor_data)
        assert robot.host.spin(
            lambda: all(
                robot.node.count_publishers(f"state/{n}/throttled") for n in ("stem", "image")
            ),
            10,
        )

        def look():
            robot.look(1)
            robot.hears(robot.sent)
            return len({message.encoding for message in shown}) == 2

        for name in ("stem", "frame_source"):
            assert robot.set(name, throttle_hz=0.1) == []
        assert robot.host.spin(look, 20)
        robot.look(20)
        assert robot.hears(robot.sent)
        assert len(shown) == 2  # the next ones are due in ten seconds
        for name in ("stem", "frame_source"):
            assert robot.set(name, throttle_hz=1000.0) == []
        container._by_name["stem"]._telling.looked_at._send_at_s = 0.0  # as if they were over
        last = FrameGrid(30).nearest_frame(START_NS) + robot.sent
        assert robot.host.spin(lambda: len(shown) == 3, 10)  # the newest comes without another
        assert shown[-1].header.stamp == stamp_of(FrameGrid(30).stamp_ns(last))
        (state,) = [m for m in shown if m.encoding == "32FC8"][:1]
        told = read_state(state, container.formats["stem"])
        assert isinstance(told.origin, Origin) and told.payload.size == 8 * 6 * 8
