"""Which output a target names, and the responses of a stream."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.network import OfflineRollout, StampedState, StreamingNetwork, parse_network
from streaming_net_ros.training import Segment, find_target, image_input, judged, stream


def network_of(content):
    return StreamingNetwork(parse_network(content))


def random_segment(frames=12, seed=0):
    rng = np.random.default_rng(seed)
    return Segment(
        np.arange(frames, dtype=np.int64),
        rng.integers(0, 256, (frames, 3, 12, 16), dtype=np.uint8),
        rng.standard_normal((frames, 2)).astype(np.float32),
    )


class TestTheOutputThatIsMeant:
    @pytest.mark.parametrize("field", ["twist.angular.z", "angular.z", "a.b.twist.angular.z"])
    def test_a_messages_field_fits_an_outputs_field_by_its_end(self, tiny, field):
        target = find_target(network_of(tiny), [field])
        assert (target.output, target.fields, target.elements) == ("drive", ("angular.z",), (0,))
        assert (target.times.first_frames, target.times.full_frames) == (2, 4)

    def test_elements_come_in_the_order_of_the_wanted_fields(self, tiny):
        target = find_target(network_of(tiny), ["twist.linear.x", "twist.angular.z"])
        assert target.fields == ("linear.x", "angular.z") and target.elements == (1, 0)

    @pytest.mark.parametrize(
        "fields", [["twist.angular.y"], ["ngular.z"], ["z"], [], ["angular.z", "q"]]
    )
    def test_no_output_has_them(self, tiny, fields):
        with pytest.raises(ParameterError, match="no output") as error:
            find_target(network_of(tiny), fields)
        assert "drive (angular.z, linear.x)" in str(error.value)

    def test_two_outputs_have_them(self, tiny):
        tiny["outputs"]["twin"] = dict(tiny["outputs"]["drive"])
        with pytest.raises(ParameterError, match="several outputs") as error:
            find_target(network_of(tiny), ["angular.z"])
        assert "twin" in str(error.value)

    def test_a_network_that_hears_more_than_one_camera_cannot_learn_from_a_recording(self, tiny):
        extra = {"type": "vector", "topic_type": "std_msgs/msg/Float64", "fields": ["data"]}
        tiny["inputs"]["speed"] = extra
        tiny["groups"][3]["edges"].append(
            {"source": "speed", "layers": [{"Linear": {"out_features": 2}}]}
        )
        with pytest.raises(ParameterError, match="one image input") as error:
            image_input(parse_network(tiny))
        assert "speed" in str(error.value)


class TestStreams:
    @pytest.mark.parametrize("rollout", ["streaming", "sequential"])
    def test_a_stream_gives_the_responses_of_the_mailboxes(self, tiny, rollout):
        network = network_of({**tiny, "rollout": rollout}).eval()
        target = find_target(network, ["angular.z", "linear.x"])
        segment = random_segment()
        offline = OfflineRollout(network)
        by_capture = {}
        for k, image in enumerate(segment.images):
            given_ = {"image": StampedState(torch.from_numpy(image)[None], k)}
            for done in offline.feed(k, given_):
                if done.group == "head":
                    by_capture[done.state.captured_ns] = done.state.batch[0].numpy()
        answers = stream(network, target, segment)
        assert len(answers) == len(segment) - target.times.first_frames
        for k, answer in enumerate(answers):
            assert np.array_equal(answer, by_capture[k])

    @pytest.mark.parametrize("lengths", [[12], [1, 6, 2, 9], [5, 5], [3, 11, 4]])
    def test_streams_are_judged_together_and_never_mixed(self, tiny, lengths):
        network = network_of(tiny).eval()
        target = find_target(network, ["angular.z", "linear.x"])
        segments = [random_segment(n, seed=n) for n in lengths]
        wait, late = target.times.first_frames, target.times.full_frames
        early, full = [], []
        for segment in segments:
            answers = stream(network, target, segment)
            for k in range(len(segment) - late):
                early.append(np.abs(answers[k] - segment.targets[k]))
                full.append(np.abs(answers[k + late - wait] - segment.targets[k]))
        errors = judged(network, target, segments)
        assert errors.images == len(early)
        assert errors.early.mae == pytest.approx(np.mean(early, axis=0).tolist(), rel=1e-4)
        assert errors.full.mae == pytest.approx(np.mean(full, axis=0).tolist(), rel=1e-4)
