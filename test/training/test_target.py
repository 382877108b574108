"""Which output a target names, and the responses of a stream."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from streaming_net_ros.errors import BagError, ParameterError
from streaming_net_ros.network import OfflineRollout, StampedState, StreamingNetwork, parse_network
from streaming_net_ros.training import Clips, find_target, image_input, judged, stream

FIELDS = ["angular.z", "linear.x"]


def network_of(content):
    return StreamingNetwork(parse_network(content))


def random_clips(*lengths, seed=0):
    rng = torch.Generator().manual_seed(seed)
    count = sum(lengths)
    ends = torch.tensor(lengths).cumsum(0)
    return Clips(
        torch.randint(0, 256, (count, 3, 12, 16), generator=rng, dtype=torch.uint8),
        {"drive": torch.randn(count, 2, generator=rng)},
        torch.stack([ends - torch.tensor(lengths), ends], dim=1),
        fields={"drive": tuple(FIELDS)},
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

    def test_the_one_image_input_by_its_name(self, tiny):
        name, given = image_input(parse_network(tiny))
        assert (name, given.height, given.width) == ("image", 12, 16)

    def test_a_network_that_hears_more_than_one_camera_cannot_learn_from_pictures(self, tiny):
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
        target = find_target(network, FIELDS)
        images = random_clips(12).images
        offline = OfflineRollout(network)
        by_capture = {}
        for k, image in enumerate(images):
            given_ = {"image": StampedState(image[None], k)}
            for done in offline.feed(k, given_):
                if done.group == "head":
                    by_capture[done.state.captured_ns] = done.state.batch[0].numpy()
        answers = stream(network, target, images)
        assert answers.dtype == np.float32
        assert len(answers) == len(images) - target.times.first_frames
        for k, answer in enumerate(answers):
            assert np.array_equal(answer, by_capture[k])

    def test_elements_of_a_target_are_picked_in_its_order(self, tiny):
        network = network_of(tiny).eval()
        images = random_clips(6).images
        both, turned, one = (
            stream(network, find_target(network, fields), images)
            for fields in (FIELDS, FIELDS[::-1], FIELDS[1:])
        )
        assert np.array_equal(turned, both[:, ::-1]) and np.array_equal(one, both[:, 1:])

    def test_a_clip_too_short_for_a_response_has_none(self, tiny):
        network = network_of(tiny).eval()
        answers = stream(network, find_target(network, FIELDS), random_clips(2).images)
        assert answers.shape == (0, 2)

    @pytest.mark.parametrize("lengths", [[12], [1, 6, 2, 9], [5, 5], [3, 11, 4]])
    def test_streams_are_judged_together_and_never_mixed(self, tiny, lengths):
        network = network_of(tiny).eval()
        target = find_target(network, FIELDS)
        clips = random_clips(*lengths)
        wait, late = target.times.first_frames, target.times.full_frames
        early, full, right = [], [], []
        for k, (begin, end) in enumerate(clips.bounds.tolist()):
            answers = stream(network, target, clips.images_of(k))
            targets = clips.targets["drive"][begin:end].numpy()
            for image in range(end - begin - late):
                early.append(np.abs(answers[image] - targets[image]))
                full.append(np.abs(answers[image + late - wait] - targets[image]))
                right.append(targets[image])
        errors = judged(network, target, clips)
        assert errors.images == len(early)
        assert errors.early.mae == pytest.approx(np.mean(early, axis=0).tolist(), rel=1e-4)
        assert errors.full.mae == pytest.approx(np.mean(full, axis=0).tolist(), rel=1e-4)
        mean = np.abs(np.array(right) - np.mean(right, axis=0)).mean(axis=0)
        assert errors.mean.mae == pytest.approx(mean.tolist(), rel=1e-4)

    def test_some_of_the_clips_alone(self, tiny):
        network = network_of(tiny).eval()
        target = find_target(network, FIELDS)
        clips = random_clips(7, 9)
        second = judged(network, target, clips.chosen(torch.tensor([1])))
        assert second.images == 9 - target.times.full_frames

    def test_images_without_a_target_are_not_judged(self, tiny):
        network = network_of(tiny).eval()
        target = find_target(network, FIELDS)
        clips = random_clips(12)
        clips.targets["drive"][3] = torch.nan
        assert judged(network, target, clips).images == 12 - target.times.full_frames - 1
        clips.targets["drive"][:] = torch.nan
        with pytest.raises(BagError, match="no image has a reference"):
            judged(network, target, clips)
