"""Real pictures: a tiny network learns digits, goes on where it was, and streams the same bits."""

from __future__ import annotations

from array import array
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn", reason="digits come with scikit-learn: pip install scikit-learn")

from streaming_net_ros.network import (
    OfflineRollout,
    StampedState,
    StreamingNetwork,
    read_network_file,
    rollout_of,
    save_weights,
)
from streaming_net_ros.network.layout import to_payload
from streaming_net_ros.paths import find_network
from streaming_net_ros.theory import response_times
from streaming_net_ros.training import Watching, parse_plan, sequences_of, train
from streaming_net_ros.training.datasets import read_dataset
from streaming_net_ros.training.experiment_run import record_answers

CHANCE = 0.1
RATE_HZ = 20  # of the network file
PERIOD_NS = round(1e9 / RATE_HZ)
START_NS = 1_700_000_000_123_456_789
FRAMES = 40


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """The same seed promises the same bits on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def plan_of(**changes):
    objective = {"of": "class", "target": "class", "combine": "sum"}
    content = {
        "learners": [{"objectives": [objective], "optimizer": {"RMSprop": {"lr": 3e-3}}}],
        "augmentation": {"noise": 0.3},
        "responses": 6,
        "batch": 32,
        "steps": 120,
        "validate_every": 50,
    }
    return parse_plan({**content, **changes})


def digits(part):
    return read_dataset("digits", None, part, height=8, width=8, colour="mono")


def network_of(rollout, seed=1):
    spec = read_network_file(find_network("digits_sr"))
    return StreamingNetwork(spec, rollout_of(spec, rollout), seed=seed)


@pytest.fixture(scope="module")
def trained():
    """Networks of both rollouts after some seconds of training, with their losses."""
    made = {}
    for rollout in ("streaming", "sequential"):
        network, plan = network_of(rollout), plan_of()
        history = train(network, sequences_of(plan, digits("train"), network), plan)
        made[rollout] = network, history
    return made


@pytest.mark.parametrize("rollout", ["streaming", "sequential"])
class TestItLearns:
    def test_the_loss_falls_to_two_fifths(self, trained, rollout):
        _, history = trained[rollout]
        assert len(history.losses) == 120
        assert np.mean(history.losses[-10:]) < 0.4 * np.mean(history.losses[:5])

    def test_first_answers_beat_chance_and_last_answers_beat_the_first(self, trained, rollout):
        network, _ = trained[rollout]
        times = response_times(network.rollout)["class"]
        shown = sequences_of(plan_of(), digits("test"), network, to_judge=True)
        answers = record_answers(network, "class", times, shown, batch=64)
        assert answers.answers.shape == (6, 500)
        first, last = answers.accuracy[0], answers.accuracy[-1]
        assert first > 5 * CHANCE
        assert last > 7 * CHANCE
        assert last > first + 0.04


class TestResume:
    PLAN = plan_of(steps=30, validate_every=7)

    def train(self, network, checkpoint, *, resume=False, stop_after=None):
        """Train with a checkpoint; whoever is watching may stop it after some step."""
        done = []
        watching = Watching(
            on_step=lambda step: done.append(step.number),
            should_stop=lambda: done[-1] == stop_after,
        )
        data = sequences_of(self.PLAN, digits("train"), network)
        history = train(network, data, self.PLAN, checkpoint=checkpoint, resume=resume,
                        watching=watching)  # fmt: skip
        return history, done

    def test_what_was_interrupted_goes_on_bit_for_bit(self, tmp_path):
        whole = network_of("streaming")
        in_one_go, _ = self.train(whole, tmp_path / "whole.safetensors")

        checkpoint = tmp_path / "half.safetensors"
        interrupted, done = self.train(network_of("streaming"), checkpoint, stop_after=17)
        assert interrupted.was_interrupted
        assert done == list(range(1, 18))
        # Another seed's weights: all that counts is in the checkpoint.
        rest = network_of("streaming", seed=99)
        resumed, done = self.train(rest, checkpoint, resume=True)
        assert done == list(range(18, 31))
        assert not resumed.was_interrupted

        assert resumed.losses == in_one_go.losses
        for name, tensor in whole.state_dict().items():
            assert torch.equal(tensor, rest.state_dict()[name]), name


def noisy_digits():
    """What a camera sees: a digit for eight frames, then another one; noise in every frame."""
    images = digits("test").images
    rng = np.random.default_rng(3)
    shown = images[torch.arange(FRAMES) // 8].to(torch.float32)
    noise = torch.from_numpy(rng.normal(0, 40, shown.shape).astype(np.float32))
    return (shown + noise).round().clamp(0, 255).to(torch.uint8)


@torch.inference_mode()
def stepped(network):
    """Responses by frame, one ``step`` after the other."""
    state, made = network.init_state(), {}
    for frame, image in enumerate(noisy_digits()):
        state, responses = network.step(state, {"image": image.unsqueeze(0)})
        if responses["class"] is not None:
            made[frame] = responses["class"]
    return made


def through_mailboxes(network):
    """Responses by frame, as mailboxes let groups fire."""
    rollout, made = OfflineRollout(network), {}
    for frame, image in enumerate(noisy_digits()):
        for done in rollout.feed(frame, {"image": StampedState(image.unsqueeze(0), frame)}):
            if done.group == "class":
                made[done.frame] = done.state.batch
    return made


class TestATrainedNetworkStreams:
    @pytest.mark.parametrize("rollout", ["streaming", "sequential"])
    def test_mailboxes_give_what_step_gives_bit_for_bit(self, trained, rollout):
        network, _ = trained[rollout]
        one, other = stepped(network), through_mailboxes(network)
        first = response_times(network.rollout)["class"].first_frames
        assert list(one) == list(range(first, FRAMES))
        # The mailboxes' groups may run ahead of the newest image.
        assert set(one) <= set(other)
        for frame, response in one.items():
            assert torch.equal(response, other[frame]), frame

    @pytest.mark.ros
    def test_lockstep_over_ros_gives_what_mailboxes_give_bit_for_bit(
        self, trained, namespace, tmp_path
    ):
        network, _ = trained["streaming"]
        weights = tmp_path / "trained.safetensors"
        save_weights(network, weights)
        responses = over_ros(Path(network.spec.path), weights, namespace)
        made = through_mailboxes(network)
        first = response_times(network.rollout)["class"].first_frames
        # A response to each image, stamped with the newest one inside it.
        assert [stamp_ns for stamp_ns, _ in responses] == [capture_ns(n) for n in range(FRAMES)]
        for number, (_, payload) in enumerate(responses):
            assert payload == to_payload(made[first + number]).numpy().tobytes(), number


def capture_ns(number):
    return START_NS + number * PERIOD_NS


def over_ros(path, weights, namespace):
    """Run through nodes in lockstep; the responses in order: (stamp, bytes)."""
    from rosbags.typesys import Stores, get_typestore
    from sensor_msgs.msg import Image

    from streaming_net_ros.nodes.player import Message
    from streaming_net_ros.nodes.run import Feed, run_network
    from streaming_net_ros.nodes.settings import Settings
    from streaming_net_ros.wire import write_stamp_ns

    def messages():
        for number, picture in enumerate(noisy_digits()):
            message = Image(height=8, width=8, encoding="mono8", step=8)
            message.data = array("B", picture.numpy().tobytes())
            write_stamp_ns(message.header.stamp, capture_ns(number))
            yield Message("image", capture_ns(number), message, is_image=True)

    store, got = get_typestore(Stores.ROS2_KILTED), []

    def write(topic, kind, stamp_ns, cdr):
        if topic.endswith("response/class"):
            got.append((stamp_ns, bytes(store.deserialize_cdr(cdr, kind).data)))

    result = run_network(
        read_network_file(path),
        Settings(path, weights=weights),
        Feed(messages(), {"image": Image}),
        write,
        namespace=namespace,
    )
    assert (result.images, result.frames, result.unnumbered) == (FRAMES, FRAMES, 0)
    return got
