"""Recordings: cut at every gap, never across two bags, each image with its own target."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recordings import IMAGE, PERIOD_NS, START_NS, TWIST, raw_image, twist, write_toy_bag
from streaming_net_ros.errors import BagError
from streaming_net_ros.evaluation import BagWriter, Recording
from streaming_net_ros.network import ImageInput
from streaming_net_ros.training import Sequences, joined
from streaming_net_ros.training.datasets.recordings import TopicFields, clips_of, read_recording

CAMERA = ImageInput(type="image", height=12, width=16)
STEERING = {"drive": TopicFields("/cmd", ("twist.angular.z",), ("angular.z",))}


@pytest.fixture
def toy(tmp_path):
    return write_toy_bag(tmp_path / "toy", frames=30)


class TestGaps:
    @given(st.lists(st.integers(1, 400), min_size=1, max_size=60), st.integers(1, 6))
    def test_no_sequence_crosses_a_gap(self, steps, frames):
        captured = np.cumsum([0, *steps]).astype(np.int64)
        count = len(captured)
        recording = Recording(captured, np.zeros((count, 1, 1, 1), np.uint8), "some")
        targets = {"drive": np.zeros((count, 1), np.float32)}
        clips = clips_of(recording, targets, {"drive": ("angular.z",)})
        assert clips.bounds.flatten().tolist()[0] == 0
        assert clips.bounds[-1, 1] == count
        assert torch.equal(clips.bounds[1:, 0], clips.bounds[:-1, 1])
        limit = 1.5 * np.median(steps)
        spans = [captured[first:last] for first, last in clips.bounds.tolist()]
        assert all((np.diff(span) <= limit).all() for span in spans)
        assert all(after[0] - before[-1] > limit for before, after in pairwise(spans))
        fitting = [n for n in clips.frames.tolist() if n >= frames]
        if fitting:
            sequences = Sequences(clips, frames)
            assert len(sequences) == sum(n - frames + 1 for n in fitting)
            rows = sequences.batch(0, len(sequences), seed=0).rows
            assert (np.diff(captured[rows], axis=0) <= limit).all()

    def test_a_missing_frame_in_a_bag_is_a_gap(self, tmp_path):
        path = write_toy_bag(tmp_path / "toy", frames=30, missing=(10, 11))
        clips = read_recording(path, CAMERA, STEERING)
        assert clips.frames.tolist() == [10, 18]

    def test_one_image_is_a_clip(self, toy):
        clips = read_recording(toy, CAMERA, STEERING, part=slice(7, 8))
        assert clips.frames.tolist() == [1]

    def test_no_clip_crosses_from_one_bag_to_the_next(self, tmp_path):
        bags = [
            read_recording(write_toy_bag(tmp_path / name, frames=n, seed=n), CAMERA, STEERING)
            for name, n in (("a", 9), ("b", 12))
        ]
        both = joined(bags)
        assert both.frames.tolist() == [9, 12]
        assert torch.equal(both.images_of(1), bags[1].images)
        assert torch.equal(both.targets["drive"][9:], bags[1].targets["drive"])


class TestTargets:
    def test_they_are_those_of_their_images(self, toy):
        clips = read_recording(toy, CAMERA, STEERING)
        assert clips.images.shape == (30, 3, 12, 16) and clips.name == str(toy)
        assert clips.fields == {"drive": ("angular.z",)} and clips.classes == {}
        assert clips.stamps_ns.tolist() == [START_NS + k * PERIOD_NS for k in range(30)]
        brightness = clips.images.double().mean(dim=(1, 2))  # (frames, width)
        seen = (brightness[:, :8].mean(dim=1) - brightness[:, 8:].mean(dim=1)) / 180
        assert torch.allclose(clips.targets["drive"][:, 0].double(), seen, atol=0.05)

    def test_they_may_come_later_than_their_images(self, toy):
        whole = read_recording(toy, CAMERA, STEERING).targets["drive"]
        late = read_recording(toy, CAMERA, STEERING, lag_ns=PERIOD_NS).targets["drive"]
        assert torch.equal(late[:-2], whole[1:-1])

    def test_of_a_part_of_the_images(self, toy):
        whole = read_recording(toy, CAMERA, STEERING)
        part = read_recording(toy, CAMERA, STEERING, part=slice(5, 9))
        assert part.stamps_ns.tolist() == [START_NS + k * PERIOD_NS for k in range(5, 9)]
        assert torch.equal(part.targets["drive"], whole.targets["drive"][5:9])
        assert torch.equal(part.images, whole.images[5:9])

    def test_of_several_outputs_and_fields(self, toy):
        targets = {
            "drive": TopicFields(
                "/cmd", ("twist.linear.x", "twist.angular.z"), ("linear.x", "angular.z")
            ),
            "wheel": TopicFields("/cmd", ("twist.angular.z",), ("angular.z",)),
        }
        clips = read_recording(toy, CAMERA, targets)
        assert set(clips.targets) == {"drive", "wheel"}
        assert (clips.targets["drive"][:, 0] == 0.5).all()
        assert torch.equal(clips.targets["drive"][:, 1:], clips.targets["wheel"])
        assert clips.fields["drive"] == ("linear.x", "angular.z")

    def test_a_slow_command_holds_for_all_images_until_the_next(self, tmp_path):
        with BagWriter(tmp_path / "slow") as writer:
            for k in range(20):
                stamp_ns = START_NS + k * PERIOD_NS
                writer.write("/image", IMAGE, stamp_ns,
                             raw_image(stamp_ns, np.zeros((12, 16, 3), np.uint8)))  # fmt: skip
                if k % 5 == 0:
                    writer.write("/cmd", TWIST, stamp_ns, twist(stamp_ns, k / 10))
        targets = read_recording(tmp_path / "slow", CAMERA, STEERING).targets["drive"]
        assert not targets.isnan().any() and targets[10, 0] == 1.0

    def test_far_from_any_command_nobody_knows(self, tmp_path):
        with BagWriter(tmp_path / "late") as writer:
            for k in range(20):
                stamp_ns = START_NS + k * PERIOD_NS
                writer.write("/image", IMAGE, stamp_ns,
                             raw_image(stamp_ns, np.zeros((12, 16, 3), np.uint8)))  # fmt: skip
                if k >= 10:
                    writer.write("/cmd", TWIST, stamp_ns, twist(stamp_ns, 0.5))
        targets = read_recording(tmp_path / "late", CAMERA, STEERING).targets["drive"]
        assert targets[:, 0].isnan().tolist() == [True] * 9 + [False] * 11


class TestFaults:
    def read(self, path, topic="/cmd", field="twist.angular.z", **how):
        return read_recording(
            path, CAMERA, {"drive": TopicFields(topic, (field,), ("angular.z",))}, **how
        )

    @pytest.mark.parametrize("part", [slice(50, 60), slice(5, 5), slice(9, 3)])
    def test_an_empty_part(self, toy, part):
        with pytest.raises(BagError, match="no frame in this part") as error:
            self.read(toy, part=part)
        assert f"{part.start}:{part.stop}" in str(error.value)

    def test_no_image_near_a_target(self, toy):
        with pytest.raises(BagError, match="no image has a target near it") as error:
            self.read(toy, lag_ns=10**15)
        assert "/cmd" in str(error.value) and "one clock" in str(error.value)

    def test_no_bag_topic_field_or_image(self, toy, tmp_path):
        for how, words in (
            ({"path": tmp_path / "nothing"}, "no such recording"),
            ({"topic": "/nope"}, "no such topic"),
            ({"field": "twist.angular.q"}, "angular.q|no field"),
            ({"image_topic": "/cmd"}, "not an image topic"),
        ):
            with pytest.raises(BagError, match=words):
                self.read(**{"path": toy, **how})
