"""Recordings played without ROS: time changes when answers are there, not what they say."""

from __future__ import annotations

import numpy as np
import pytest

from recordings import PERIOD_NS, START_NS, write_toy_bag
from streaming_net_ros.evaluation.inputs import read_inputs
from streaming_net_ros.evaluation.streaming.played import (
    Answers,
    Contender,
    Timing,
    is_sequential,
    measure_work,
    play_offline,
    play_timed,
)
from streaming_net_ros.evaluation.streaming.references import find_references
from streaming_net_ros.network import StreamingNetwork, parse_network, rollout_of

MS = 1_000_000
FRAMES = 25


@pytest.fixture
def spec(tiny):
    return parse_network({**tiny, "rate_hz": 20})


@pytest.fixture
def inputs(spec, tmp_path):
    return read_inputs(write_toy_bag(tmp_path / "toy", FRAMES), spec)


def contender(spec, choice, is_pipelined=None):
    network = StreamingNetwork(spec, rollout_of(spec, choice)).eval()
    if is_pipelined is None:
        is_pipelined = not is_sequential(network)
    return Contender(choice, network, "random", is_pipelined)


def references(spec):
    return find_references(spec, ["/cmd:twist.angular.z,twist.linear.x"])


def timed(spec, inputs, choice, work_ms=0, is_pipelined=None, **timing):
    one = contender(spec, choice, is_pipelined)
    work_ns = dict.fromkeys(one.groups, work_ms * MS)
    return play_timed(one, inputs, references(spec), Timing(work_ns, **timing))


WAYS = [("streaming", True), ("sequential", True), ("sequential", False)]


@pytest.mark.parametrize(("choice", "is_pipelined"), WAYS)
class TestTime:
    def test_without_compute_times_answers_are_those_of_the_offline_rollout(
        self, choice, is_pipelined, spec, inputs
    ):
        offline = play_offline(contender(spec, choice), inputs, references(spec))["drive"]
        play = timed(spec, inputs, choice, 0, is_pipelined)
        answers = play.answers["drive"].first_per_image
        assert np.array_equal(answers.captured_ns, offline.captured_ns)
        assert np.array_equal(answers.values, offline.values)
        assert np.array_equal(answers.captured_ns, inputs.captured_ns)
        assert play.held == 0

    def test_the_same_times_give_the_same_bits(self, choice, is_pipelined, spec, inputs):
        first, again = (timed(spec, inputs, choice, 20, is_pipelined) for _ in range(2))
        for name in ("published_ns", "captured_ns", "values"):
            one, other = (getattr(play.answers["drive"], name) for play in (first, again))
            assert np.array_equal(one, other)
        assert first.computed == again.computed

    def test_a_camera_that_takes_time_delays_every_answer(
        self, choice, is_pipelined, spec, inputs
    ):
        prompt = timed(spec, inputs, choice, 5, is_pipelined).answers["drive"].first_per_image
        late = timed(spec, inputs, choice, 5, is_pipelined, camera_ns=7 * MS)
        late = late.answers["drive"].first_per_image
        assert np.array_equal(late.published_ns - prompt.published_ns, np.full(FRAMES, 7 * MS))
        assert np.array_equal(late.values, prompt.values)


class TestCost:
    def test_a_plain_node_answers_after_its_pass_and_misses_images(self, spec, inputs):
        """Four groups one after the other, 20 ms each: every second image, 80 ms later."""
        play = timed(spec, inputs, "sequential", 20)
        answers = play.answers["drive"]
        assert answers.published_ns[0] == START_NS + 80 * MS
        gaps = np.diff(answers.captured_ns)
        assert set((gaps // PERIOD_NS).tolist()) <= {1, 2} and gaps.mean() > 1.4 * PERIOD_NS
        assert play.computed == 4 * len(answers)

    def test_streaming_answers_to_every_image_at_the_same_cost(self, spec, inputs):
        answers = timed(spec, inputs, "streaming", 20).answers["drive"].first_per_image
        assert np.array_equal(answers.captured_ns, inputs.captured_ns)
        assert (answers.published_ns - answers.captured_ns).max() < 80 * MS

    def test_measured_work_has_a_time_for_every_group(self, spec, inputs):
        one = contender(spec, "streaming")
        work_ns = measure_work(one, inputs)
        assert set(work_ns) == set(one.groups)
        assert all(took_ns > 0 for took_ns in work_ns.values())
        assert not any(one.network.group(name)._forward_hooks for name in one.groups)


class TestAnswers:
    def test_they_are_ordered_by_publication(self):
        rows = [(30, 1, np.array([3.0])), (10, 2, np.array([1.0])), (20, 0, np.array([2.0]))]
        answers = Answers.of(rows, 1)
        assert answers.values[:, 0].tolist() == [1, 2, 3]
        assert answers.newest_at(np.array([9, 10, 29, 99])).tolist() == [-1, 0, 1, 2]

    def test_of_none_there_is_none(self):
        answers = Answers.of([], 2)
        assert answers.values.shape == (0, 2) and len(answers.first_per_image) == 0
