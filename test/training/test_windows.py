"""Windows: never across a gap, mirrored twice is itself, one seed one draw."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings import PERIOD_NS, START_NS, write_toy_bag
from streaming_net_ros.errors import BagError, ParameterError
from streaming_net_ros.evaluation import Recording
from streaming_net_ros.network import ImageInput
from streaming_net_ros.training import (
    Augmentation,
    Batch,
    Segment,
    Windows,
    augmented,
    mirrored,
    read_segments,
    segments_of,
    split,
)

FIELDS = ("angular.z", "linear.x")
STILL = Augmentation(mirror=False, brightness=0, contrast=0, noise=0)


def numbered(count, first=0, height=2, width=3):
    """A segment whose every pixel and target is the frame's number."""
    numbers = np.arange(first, first + count)
    images = np.broadcast_to(numbers[:, None, None, None], (count, 3, height, width))
    targets = np.stack([numbers, -numbers], axis=1).astype(np.float32)
    return Segment(numbers.astype(np.int64), images.astype(np.uint8).copy(), targets, "numbered")


def random_batch(time=4, count=5, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (time, count, 3, 4, 6), dtype=np.uint8)
    return Batch(images, rng.standard_normal((time, count, 2)).astype(np.float32))


class TestGaps:
    @given(st.lists(st.integers(1, 400), min_size=1, max_size=60), st.integers(1, 6))
    def test_no_window_crosses_a_gap(self, steps, frames):
        captured = np.cumsum([0, *steps]).astype(np.int64)
        count = len(captured)
        images = np.zeros((count, 1, 1, 1), np.uint8)
        recording = Recording(captured, images, "some")
        segments = segments_of(recording, np.zeros((count, 1), np.float32))
        assert np.array_equal(np.concatenate([s.captured_ns for s in segments]), captured)
        limit = 1.5 * np.median(steps)
        for segment in segments:
            assert (np.diff(segment.captured_ns) <= limit).all()
        for before, after in pairwise(segments):
            assert after.captured_ns[0] - before.captured_ns[-1] > limit
        fitting = [s for s in segments if len(s) >= frames]
        if fitting:
            windows = Windows(segments, frames, ["angular.z"])
            assert len(windows) == sum(len(s) - frames + 1 for s in fitting)

    def test_no_window_crosses_from_one_recording_to_the_next(self):
        windows = Windows([numbered(5), numbered(6, first=100)], 3, FIELDS)
        assert len(windows) == 3 + 4
        batch = windows.batch(range(len(windows)))
        starts = batch.targets[0, :, 0]
        assert starts.tolist() == [0, 1, 2, 100, 101, 102, 103]
        assert np.array_equal(batch.targets[:, :, 0], starts + np.arange(3)[:, None])
        assert np.array_equal(batch.images[:, :, 0, 0, 0], batch.targets[:, :, 0])

    def test_a_missing_frame_in_a_bag_is_a_gap(self, tmp_path):
        write_toy_bag(tmp_path / "toy", frames=30, missing=(10, 11))
        given_ = ImageInput(type="image", height=6, width=8)
        segments = read_segments(tmp_path / "toy", given_, "/cmd", ["twist.angular.z"])
        assert [len(segment) for segment in segments] == [10, 18]


class TestTargets:
    def test_a_bags_targets_are_those_of_its_images(self, tmp_path):
        write_toy_bag(tmp_path / "toy", frames=20)
        given_ = ImageInput(type="image", height=12, width=16)
        (whole,) = read_segments(tmp_path / "toy", given_, "/cmd", ["twist.angular.z"])
        brightness = whole.images.astype(np.float32).mean(axis=(1, 2))  # (frames, width)
        seen = (brightness[:, :8].mean(axis=1) - brightness[:, 8:].mean(axis=1)) / 180
        assert np.allclose(whole.targets[:, 0], seen, atol=0.05)
        (late,) = read_segments(
            tmp_path / "toy", given_, "/cmd", ["twist.angular.z"], lag_ns=PERIOD_NS
        )
        assert np.array_equal(late.targets[:-2], whole.targets[1:-1])
        (part,) = read_segments(
            tmp_path / "toy", given_, "/cmd", ["twist.angular.z"], part=slice(5, 9)
        )
        assert part.captured_ns.tolist() == [START_NS + k * PERIOD_NS for k in range(5, 9)]
        assert np.array_equal(part.targets, whole.targets[5:9])

    def test_an_empty_part_is_told(self, tmp_path):
        write_toy_bag(tmp_path / "toy", frames=5)
        given_ = ImageInput(type="image", height=6, width=8)
        with pytest.raises(BagError, match="no frame in this part"):
            read_segments(
                tmp_path / "toy", given_, "/cmd", ["twist.angular.z"], part=slice(50, 60)
            )

    def test_a_response_learns_the_target_of_the_newest_image_inside_it(self):
        batch = Windows([numbered(10)], 6, FIELDS).batch([2])
        # First response at frame 2 of the window: inside it is image 0, number 2 of the segment.
        assert batch.targets_of_responses(2)[:, 0, 0].tolist() == [2, 3, 4, 5]
        assert batch.targets_of_responses(0)[:, 0, 0].tolist() == [2, 3, 4, 5, 6, 7]

    def test_their_scale_is_their_deviation(self):
        segment = numbered(11)
        segment.targets[:, 1] = 0.5
        segment.targets[3, 0] = np.nan
        windows = Windows([segment], 3, FIELDS)
        known = np.delete(np.arange(11), 3)
        assert windows.target_scale == pytest.approx([known.std(), 1.0])


class TestSplit:
    @given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.floats(0, 0.99))
    def test_the_last_frames_are_set_aside_and_none_is_lost(self, lengths, share):
        starts = np.cumsum([0, *lengths])
        segments = [
            numbered(n, first=int(start)) for n, start in zip(lengths, starts, strict=False)
        ]
        learn, judge = split(segments, share)
        numbers = np.concatenate([s.captured_ns for s in [*learn, *judge]])
        assert np.array_equal(numbers, np.arange(sum(lengths)))
        assert sum(map(len, judge)) == round(share * sum(lengths))

    @pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
    def test_a_share_that_is_none(self, share):
        with pytest.raises(ParameterError, match="not a share"):
            split([numbered(5)], share)


class TestDraw:
    def draw(self, seed, count=7, how=None):
        windows = Windows([numbered(20)], 4, FIELDS, how)
        batches = windows.batches(3, np.random.default_rng(seed))
        return [next(batches) for _ in range(count)]

    def test_one_seed_draws_one_sequence_of_batches(self):
        how = Augmentation(mirror=True)
        for one, other in zip(self.draw(5, how=how), self.draw(5, how=how), strict=True):
            assert np.array_equal(one.images, other.images)
            assert np.array_equal(one.targets, other.targets)
        assert any(
            not np.array_equal(one.images, other.images)
            for one, other in zip(self.draw(5), self.draw(6), strict=True)
        )

    def test_every_window_comes_once_before_any_comes_twice(self):
        batches = self.draw(0, count=12)  # 36 draws of 17 windows
        starts = np.concatenate([batch.targets[0, :, 0] for batch in batches])
        assert sorted(starts[:17]) == sorted(starts[17:34]) == list(range(17))

    def test_shapes_are_time_first(self):
        (batch,) = self.draw(0, count=1)
        assert batch.images.shape == (4, 3, 3, 2, 3) and batch.images.dtype == np.uint8
        assert batch.targets.shape == (4, 3, 2) and batch.targets.dtype == np.float32

    def test_tiles_cover_what_fits_without_overlap(self):
        windows = Windows([numbered(11), numbered(7, first=50)], 3, FIELDS)
        numbers = np.concatenate([tile.targets[..., 0].T.ravel() for tile in windows.tiles(2)])
        assert numbers.tolist() == [*range(9), *range(50, 56)]

    def test_windows_that_fit_nowhere(self):
        with pytest.raises(BagError, match="no window fits") as error:
            Windows([numbered(4), numbered(3)], 5, FIELDS)
        assert "got 4" in str(error.value)

    def test_targets_of_which_none_is_known(self):
        segment = numbered(6)
        segment.targets[:, 1] = np.nan
        with pytest.raises(BagError, match="no image has a target"):
            Windows([segment], 3, FIELDS)


class TestAugmentation:
    def test_mirrored_twice_is_itself(self):
        batch = random_batch()
        again = mirrored(mirrored(batch, FIELDS), FIELDS)
        assert np.array_equal(again.images, batch.images)
        assert np.array_equal(again.targets, batch.targets)

    def test_a_mirror_exchanges_left_and_right_and_turns_fields_that_have_a_side(self):
        batch = random_batch()
        other = mirrored(batch, FIELDS)
        assert np.array_equal(other.images, np.flip(batch.images, axis=-1))
        assert np.array_equal(other.targets, batch.targets * [-1, 1])
        fields = ["linear.x", "linear.y", "linear.z", "angular.x", "angular.y", "angular.z"]
        ones = Batch(batch.images, np.ones((4, 5, 6), np.float32))
        assert mirrored(ones, fields).targets[0, 0].tolist() == [1, -1, 1, -1, 1, -1]

    def test_a_window_is_mirrored_whole_or_not_at_all(self):
        batch = random_batch(count=64)
        how = Augmentation(mirror=True, brightness=0, contrast=0, noise=0)
        changed = augmented(batch, FIELDS, how, np.random.default_rng(0))
        turned = (changed.images == np.flip(batch.images, -1)).all(axis=(0, 2, 3, 4))
        kept = (changed.images == batch.images).all(axis=(0, 2, 3, 4))
        assert (turned ^ kept).all() and 16 < turned.sum() < 48
        signs = np.where(turned, -1, 1)
        assert np.array_equal(changed.targets[..., 0], batch.targets[..., 0] * signs)
        assert np.array_equal(changed.targets[..., 1], batch.targets[..., 1])

    def test_nothing_asked_nothing_changed(self):
        batch = random_batch()
        changed = augmented(batch, FIELDS, STILL, np.random.default_rng(0))
        assert np.array_equal(changed.images, batch.images)
        assert np.array_equal(changed.targets, batch.targets)

    def test_light_changes_alike_over_a_window(self):
        images = np.full((6, 8, 3, 4, 4), 120, np.uint8)
        batch = Batch(images, np.zeros((6, 8, 2), np.float32))
        how = Augmentation(noise=0)
        changed = augmented(batch, FIELDS, how, np.random.default_rng(0)).images
        assert (changed == changed[:1, :, :1, :1, :1]).all()
        assert len(np.unique(changed[0, :, 0, 0, 0])) > 4

    def test_noise_is_new_in_every_frame_and_of_its_size(self):
        images = np.full((2, 4, 3, 30, 30), 120, np.uint8)
        batch = Batch(images, np.zeros((2, 4, 2), np.float32))
        how = Augmentation(brightness=0, contrast=0, noise=0.02)
        changed = augmented(batch, FIELDS, how, np.random.default_rng(0)).images.astype(float)
        assert (changed - 120).std() == pytest.approx(0.02 * 255, rel=0.05)
        assert not np.array_equal(changed[0], changed[1])

    def test_light_saturates_and_never_wraps(self):
        images = np.stack([np.zeros((8, 3, 4, 4)), np.full((8, 3, 4, 4), 255)]).astype(np.uint8)
        batch = Batch(images, np.zeros((2, 8, 2), np.float32))
        how = Augmentation(brightness=0.4, contrast=0.4, noise=0.1)
        changed = augmented(batch, FIELDS, how, np.random.default_rng(0)).images.astype(int)
        assert (changed[0].mean(axis=(1, 2, 3)) < changed[1].mean(axis=(1, 2, 3))).all()

    @pytest.mark.parametrize("name", ["brightness", "contrast", "noise"])
    @pytest.mark.parametrize("value", [-0.1, 1.0])
    def test_sizes_out_of_range(self, name, value):
        with pytest.raises(ParameterError, match=name):
            Augmentation(**{name: value})
