"""The equality law: lockstep over ROS gives the offline rollout's states, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from networks import jittery_network

pytestmark = [pytest.mark.ros, pytest.mark.timeout(180)]

FRAMES = 200
RATE_HZ = 30
START_NS = 1_700_000_000_123_456_789
PERIOD_NS = round(1e9 / RATE_HZ)
ROLLOUTS = {
    "streaming": "streaming",
    "sequential": "sequential",
    "hybrid": {"base": "sequential", "delays": {"stem -> head": 3, "memory -> memory": 2}},
}


def capture_ns(number):
    return START_NS + number * PERIOD_NS


def pictures():
    random = np.random.default_rng(1)
    return random.integers(0, 256, (FRAMES, 12, 16, 3), dtype=np.uint8)


def feed_of():
    from sensor_msgs.msg import Image

    from streaming_net_ros.nodes.player import Message
    from streaming_net_ros.nodes.run import Feed
    from streaming_net_ros.wire import write_rgb8, write_stamp_ns

    def messages():
        for number, picture in enumerate(pictures()):
            message = Image()
            write_rgb8(message, picture)
            write_stamp_ns(message.header.stamp, capture_ns(number))
            yield Message("image", capture_ns(number), message, is_image=True)

    return Feed(messages(), {"image": Image})


def stream(path, namespace, processes, **settings):
    """Run through ROS; what came on each topic, in order: (stamp, frame_id, bytes)."""
    from rosbags.typesys import Stores, get_typestore

    from streaming_net_ros.launching import process_list
    from streaming_net_ros.network import read_network_file
    from streaming_net_ros.nodes.run import run_network
    from streaming_net_ros.nodes.settings import Settings

    store = get_typestore(Stores.ROS2_KILTED)
    spec = read_network_file(path)
    chosen = Settings(Path(path), **settings)
    groups = [group.name for group in spec.groups]
    got = {}

    def write(topic, kind, stamp_ns, cdr):
        message = store.deserialize_cdr(cdr, kind)
        got.setdefault(topic.split("/", 2)[2], []).append((stamp_ns, message))

    shares = None
    if processes:
        shares = process_list(
            str(path), groups, namespace=namespace, parameters=chosen.parameters()
        )
    result = run_network(
        spec, chosen, feed_of(), write, processes=shares, namespace=namespace, states=tuple(groups)
    )
    assert (result.images, result.frames, result.unnumbered) == (FRAMES, FRAMES, 0)
    assert result.disordered == 0
    return spec, got


def offline(spec, threads=1):
    """Per group its states by frame, from the offline rollout."""
    from streaming_net_ros.frames import FrameGrid
    from streaming_net_ros.network import OfflineRollout, StampedState, StreamingNetwork

    torch.set_num_threads(threads)
    network = StreamingNetwork(spec).eval()
    start = FrameGrid(RATE_HZ).nearest_frame(START_NS)
    rollout, made = OfflineRollout(network), {group.name: {} for group in spec.groups}
    for number, picture in enumerate(pictures()):
        batch = torch.from_numpy(picture.copy()).permute(2, 0, 1).unsqueeze(0)
        for done in rollout.feed(
            start + number, {"image": StampedState(batch, capture_ns(number))}
        ):
            made[done.group][done.frame] = done.state
    return start, network, made


def check_equal(spec, got):
    from streaming_net_ros.network.layout import to_payload
    from streaming_net_ros.theory import first_frames

    start, network, made = offline(spec)
    first = first_frames(network.rollout)
    for group, states in made.items():
        arrived = got[f"state/{group}"]
        frames = [stamp_ns // PERIOD_NS for stamp_ns, _ in arrived]
        # No frame lost, none twice, in order, the first one exactly where theory says.
        assert frames == list(range(start + first[group], start + first[group] + FRAMES))
        for frame, (stamp_ns, message) in zip(frames, arrived, strict=True):
            assert stamp_ns == frame * PERIOD_NS
            assert bytes(message.data) == to_payload(states[frame].batch).numpy().tobytes()
            captured, image_frame, held = message.header.frame_id.split()
            assert int(captured) == states[frame].captured_ns
            assert int(image_frame) == frame - first[group] and held == "0"
    for output, form in spec.outputs.items():
        responses = got[f"response/{output}"]
        assert [stamp_ns for stamp_ns, _ in responses] == [capture_ns(n) for n in range(FRAMES)]
        for number, (_, message) in enumerate(responses):
            state = made[form.group][start + number + first[form.group]].batch
            if form.publish == "twist":
                assert message.twist.angular.z == state[0, 0].item()
                assert message.twist.linear.x == state[0, 1].item()
            else:
                assert bytes(message.data) == to_payload(state).numpy().tobytes()


@pytest.mark.parametrize("kind", ROLLOUTS)
@pytest.mark.parametrize("processes", [False, True], ids=["composed", "processes"])
def test_lockstep_equals_offline_bit_for_bit(kind, processes, write_network, namespace, tiny):
    path = write_network({**tiny, "rollout": ROLLOUTS[kind]})
    check_equal(*stream(path, namespace, processes))


@pytest.mark.parametrize("processes", [False, True], ids=["composed", "processes"])
def test_lockstep_equals_offline_whatever_time_the_groups_take(
    processes, write_network, namespace
):
    path = write_network(jittery_network())
    check_equal(*stream(path, namespace, processes, threads=0 if processes else 4))


@pytest.mark.parametrize("window", [1, 3])
def test_the_window_changes_no_bit(window, write_network, namespace, tiny):
    path = write_network(tiny)
    check_equal(*stream(path, namespace, False, window_frames=window))


def test_so_it_does_with_messages_alone(write_network, namespace, tiny):
    """Between processes states take shared memory by themselves; here they may not."""
    path = write_network(tiny)
    check_equal(*stream(path, namespace, True, transport="message"))


def test_half_precision_states_are_equal_too(write_network, namespace, tiny):
    path = write_network({**tiny, "state_dtype": "float16"})
    check_equal(*stream(path, namespace, False))
