"""Clips: nothing is lost, mixed or reordered, whatever is cut or joined."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from streaming_net_ros.errors import DataError
from streaming_net_ros.training import UNKNOWN_CLASS, Clips, joined
from training.toys import CLASSES, FIELDS, drive_clips, numbered, still_clips

lengths = st.lists(st.integers(1, 12), min_size=1, max_size=5)


def shown(clips):
    """The numbers that each clip shows, by its pictures and by its targets."""
    return [
        (clips.images_of(k)[:, 0, 0, 0].tolist(), clips.targets["drive"][b:e, 0].tolist())
        for k, (b, e) in enumerate(clips.bounds.tolist())
    ]


class TestWhatTheyAre:
    def test_a_still_is_a_clip_of_one_frame(self):
        clips = still_clips(7)
        assert len(clips) == 7 and clips.frames.tolist() == [1] * 7
        assert torch.equal(torch.cat([clips.images_of(k) for k in range(7)]), clips.images)
        assert clips.classes == {"class": CLASSES} and clips.stamps_ns is None

    @given(lengths)
    def test_a_clips_pictures_are_those_between_its_bounds(self, lengths):
        clips = numbered(*lengths)
        assert clips.frames.tolist() == lengths and len(clips) == len(lengths)
        seen = [n for pictures, _ in shown(clips) for n in pictures]
        assert seen == list(range(sum(lengths)))

    def test_some_clips_are_chosen_by_their_numbers_in_that_order(self):
        clips = numbered(2, 3, 4)
        some = clips.chosen(torch.tensor([2, 0]))
        assert [pictures for pictures, _ in shown(some)] == [[5, 6, 7, 8], [0, 1]]

    @pytest.mark.parametrize(
        "images",
        [
            torch.zeros(2, 1, 4, 4),
            torch.zeros(2, 4, 4, dtype=torch.uint8),
            torch.zeros(1, 2, 1, 4, 4, dtype=torch.uint8),
        ],
    )
    def test_what_is_no_8_bit_picture_is_refused(self, images):
        with pytest.raises(DataError, match="not pictures") as error:
            Clips(images, {}, torch.tensor([[0, 1]]), name="odd")
        assert "odd" in str(error.value) and "uint8" in str(error.value)

    def test_a_target_for_each_picture_is_needed(self):
        clips = numbered(3)
        with pytest.raises(DataError, match="a 'drive' for each picture") as error:
            replace(clips, targets={"drive": torch.zeros(2, 2)})
        assert "expected 3, got 2" in str(error.value)

    @pytest.mark.parametrize("label", [-1, 2, -99])
    def test_a_label_must_be_a_class(self, label):
        clips = numbered(3)
        with pytest.raises(DataError, match="a 'class' is no class") as error:
            replace(clips, targets={"class": torch.tensor([0, label, 1])})
        assert "0 to 1" in str(error.value)

    def test_an_unknown_class_is_no_fault(self):
        known = replace(numbered(3), targets={"class": torch.tensor([0, UNKNOWN_CLASS, 1])})
        none = replace(known, targets={"class": torch.full((3,), UNKNOWN_CLASS)})
        assert len(known) == len(none) == 1

    def test_not_one_picture(self):
        clips = numbered(3)
        with pytest.raises(DataError, match="not one picture"):
            clips.chosen(torch.tensor([], dtype=torch.int64))
        empty = torch.zeros(0, 1, 4, 4, dtype=torch.uint8)
        with pytest.raises(DataError, match="not one picture"):
            Clips(empty, {}, torch.tensor([[0, 0]]))

    def test_pictures_and_targets_go_to_a_device_together(self):
        clips = replace(numbered(3), targets={"drive": torch.zeros(3, 2)}, classes={})
        there = clips.to("meta")
        assert there.images.device.type == there.targets["drive"].device.type == "meta"
        assert there.bounds.tolist() == [[0, 3]]


class TestSplit:
    @given(lengths, st.floats(0, 1))
    def test_the_last_frames_are_set_aside_and_none_is_lost(self, lengths, share):
        clips = numbered(*lengths)
        learn, judge = clips.split(share)
        first, last = (shown(part) if part else [] for part in (learn, judge))
        told = [n for pictures, _ in first + last for n in pictures]
        assert told == list(range(sum(lengths)))
        assert sum(len(pictures) for pictures, _ in last) == round(share * sum(lengths))
        for pictures, targets in first + last:
            assert pictures == targets

    @pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
    def test_a_share_that_is_none(self, share):
        with pytest.raises(DataError, match="not a share") as error:
            numbered(5).split(share)
        assert "validate" in str(error.value)


class TestJoin:
    @given(st.lists(lengths, min_size=1, max_size=4))
    def test_each_clip_stays_whole_and_keeps_its_targets(self, parts):
        every = [numbered(*part) for part in parts]
        assert shown(joined(every)) == [clip for one in every for clip in shown(one)]

    def test_stamps_stay_only_if_all_have_them(self):
        stamped, bare = numbered(3, stamped=True), numbered(2)
        assert joined([stamped, stamped]).stamps_ns.tolist() == [0, 100, 200] * 2
        assert joined([stamped, bare]).stamps_ns is None

    def test_nothing_to_join(self):
        with pytest.raises(DataError, match="not one clip"):
            joined([])

    @pytest.mark.parametrize(
        "odd",
        [
            {"images": torch.zeros(3, 1, 4, 5, dtype=torch.uint8)},
            {"classes": {"class": ("right", "left")}},
            {"fields": {"drive": ("linear.x", "angular.z")}},
            {"targets": {"drive": torch.zeros(3, 2)}, "classes": {}},
        ],
    )
    def test_what_cannot_be_learnt_together(self, odd):
        other = replace(numbered(3), name="other", **odd)
        with pytest.raises(DataError, match="cannot be learnt together") as error:
            joined([numbered(3), other])
        assert "numbered and other" in str(error.value)


class TestTargets:
    def test_a_mirror_turns_the_fields_that_point_sideways(self):
        fields = ("linear.x", "linear.y", "linear.z", "angular.x", "angular.y", "angular.z")
        clips = replace(numbered(2), fields={"drive": fields})
        assert clips.signs("drive").tolist() == [1, -1, 1, -1, 1, -1]
        assert numbered(2).signs("class").tolist() == []

    @given(st.integers(2, 40), st.integers(0, 2**31))
    def test_their_deviation_is_that_of_what_is_known(self, count, seed):
        rng = torch.Generator().manual_seed(seed)
        rows = 3 * torch.randn(count, 2, generator=rng) + 5
        rows[torch.rand(count, generator=rng) < 0.3, 0] = torch.nan
        rows[0] = 4.0
        clips = replace(numbered(count), targets={"drive": rows})
        known = rows[~rows[:, 0].isnan(), 0]
        expected = [float(c.std(correction=0)) or 1.0 for c in (known, rows[:, 1])]
        assert clips.deviation("drive").tolist() == pytest.approx(expected, rel=1e-4, abs=1e-6)

    def test_a_target_that_never_changes_or_is_never_known_is_not_scaled(self):
        rows = torch.tensor([[0.5, torch.nan]]).expand(9, 2).clone()
        assert replace(numbered(9), targets={"drive": rows}).deviation("drive").tolist() == [1, 1]

    def test_their_deviation_is_that_of_the_chosen_clips(self):
        clips = numbered(4, 6)
        second = clips.chosen(torch.tensor([1])).deviation("drive")
        assert second[0] == pytest.approx(float(torch.arange(6.0).std(correction=0)))


def test_a_drive_names_its_fields():
    assert drive_clips().fields == {"drive": FIELDS}
