"""Early, full and onset errors: hand-made streams with known answers."""

from __future__ import annotations

import json

import numpy as np
import pytest

from streaming_net_ros.errors import BagError, ParameterError
from streaming_net_ros.evaluation.metrics import mean_over_onsets, onset_errors, response_errors

PERIOD_NS = 50
FIRST, FULL = 2, 5


def column(values):
    return np.array(values, np.float32)[:, None]


def judged(responses, references, *, stamps_ns=None, judge=slice(None), first=FIRST, full=FULL):
    captured_ns = 1000 + PERIOD_NS * np.arange(len(references), dtype=np.int64)
    if stamps_ns is None:
        stamps_ns = captured_ns[: len(responses)]
    return response_errors(
        np.asarray(stamps_ns),
        column(responses),
        captured_ns,
        column(references),
        first_frames=first,
        full_frames=full,
        fields=["angular.z"],
        judge=judge,
    )


class TestEarlyAndFull:
    def test_a_hand_made_stream(self):
        # The answer stamped with image i is i + 0.5; the reference of image i is i.
        errors = judged(np.arange(10) + 0.5, np.arange(10))
        # Early: answer i against i. Full: the answer 5 - 2 frames later, i + 3.5, against i.
        assert errors.early.mae == pytest.approx((0.5,))
        assert errors.full.mae == pytest.approx((3.5,))
        # Images 7, 8, 9 have no full answer; the judged ones are 0 to 6, their mean is 3.
        assert errors.images == 7
        assert errors.mean.mae == pytest.approx((12 / 7,))
        assert errors.mean.rmse == pytest.approx((2.0,))

    def test_mean_absolute_and_root_mean_square_differ_as_they_should(self):
        errors = judged([3, -1, 1, 3], [0, 0, 0, 0], first=1, full=1)
        assert errors.early.mae == pytest.approx((2.0,))
        assert errors.early.rmse == pytest.approx((np.sqrt(5),))
        assert errors.early == errors.full

    def test_a_prophet_is_early_wrong_and_fully_right(self):
        """An answer that is right for the image three frames before the newest inside it."""
        truth = np.random.default_rng(0).standard_normal(50).astype(np.float32)
        errors = judged(np.concatenate([[0, 0, 0], truth[:-3]]), truth)
        assert errors.full.mae == (0.0,)
        assert errors.early.mae > (0.5,)

    def test_only_the_judged_part_counts_and_its_mean(self):
        responses = np.where(np.arange(20) < 10, 100.0, 1.0)
        errors = judged(responses, np.where(np.arange(20) < 10, -100.0, 0.0), judge=slice(10, 15))
        assert errors.images == 5
        assert errors.early.mae == errors.full.mae == (1.0,)
        assert errors.mean.mae == (0.0,)

    def test_a_judged_image_near_the_end_of_its_part_has_its_full_answer_beyond_it(self):
        errors = judged(np.arange(20) + 1.0, np.arange(20), judge=slice(10, 15))
        assert errors.images == 5
        assert errors.full.mae == (4.0,)

    def test_an_image_without_reference_is_not_judged(self):
        references = np.arange(10, dtype=np.float32)
        references[3] = np.nan
        errors = judged(np.arange(10) + 0.5, references)
        assert errors.images == 6
        assert errors.early.mae == pytest.approx((0.5,))

    def test_a_lost_response_takes_its_two_images_out_and_shifts_nothing(self):
        stamps = 1000 + PERIOD_NS * np.array([0, 1, 2, 3, 5, 6, 7, 8, 9], np.int64)
        errors = judged(
            np.array([0, 1, 2, 3, 5, 6, 7, 8, 9]) + 0.5, np.arange(10), stamps_ns=stamps
        )
        assert errors.images == 5  # neither image 4 (early) nor image 1 (full: stamped 4)
        assert errors.early.mae == pytest.approx((0.5,))
        assert errors.full.mae == pytest.approx((3.5,))

    def test_fields_are_judged_one_by_one(self):
        answers = np.array([[0, 10], [0, 20]], np.float32)
        errors = response_errors(
            np.arange(2),
            answers,
            np.arange(2),
            np.array([[1, 10], [1, 23]], np.float32),
            first_frames=3,
            full_frames=3,
            fields=["angular.z", "linear.x"],
        )
        assert errors.early.mae == (1.0, 1.5)

    def test_it_tells_itself_in_a_line_and_in_json(self):
        errors = judged(np.arange(10) + 0.5, np.arange(10))
        assert "\n" not in str(errors)
        for word in ("7 images", "angular.z", "0.500", "3.500", "1.714"):
            assert word in str(errors)
        told = json.loads(json.dumps(errors.to_json()))
        assert told["images"] == 7
        assert told["fields"] == ["angular.z"]
        assert told["early"]["mae"] == [0.5]
        assert told["full"]["rmse"] == [3.5]


class TestWhatIsRefused:
    def test_nothing_to_judge(self):
        with pytest.raises(BagError, match="no image"):
            judged([1.0], np.full(10, np.nan))
        with pytest.raises(BagError, match="no image"):
            judged(np.arange(10.0), np.arange(10.0), judge=slice(8, 10))

    def test_a_response_that_no_image_made(self):
        with pytest.raises(ParameterError, match="no image's capture time") as error:
            judged([1.0], np.arange(10.0), stamps_ns=np.array([1007]))
        assert "1007" in str(error.value)

    def test_stamps_that_do_not_increase(self):
        with pytest.raises(ParameterError, match="do not increase"):
            judged([1.0, 2.0], np.arange(10.0), stamps_ns=np.array([1050, 1000]))

    def test_response_times_that_cannot_be(self):
        with pytest.raises(ParameterError, match="response times"):
            judged([1.0], np.arange(10.0), first=3, full=2)

    def test_shapes_that_do_not_fit(self):
        with pytest.raises(ParameterError, match="another shape"):
            judged([1.0, 2.0], np.arange(10.0), stamps_ns=np.array([1000]))


class TestOnset:
    def test_each_response_is_compared_with_the_newest_image_inside_it(self):
        references = column(np.arange(20.0) ** 2)
        onsets = np.array([0, 4, 9])
        responses = references[onsets[:, None] + np.arange(5)] + column([1, 2, 3, 4, 5])
        assert onset_errors(responses, onsets, references)[:, 0].tolist() == [1, 2, 3, 4, 5]

    def test_missing_references_are_left_out(self):
        references = column([0, np.nan, 0, 0])
        responses = np.ones((2, 2, 1), np.float32)
        responses[1] = 3
        errors = onset_errors(responses, np.array([0, 2]), references)
        assert errors[:, 0].tolist() == [2, 3]

    def test_a_frame_without_any_reference_has_no_error(self):
        errors = mean_over_onsets(np.array([[[np.nan], [1]], [[np.nan], [2]]], np.float32))
        assert np.isnan(errors[0, 0]) and errors[1, 0] == 1.5

    def test_streams_that_outlast_the_references_are_refused(self):
        with pytest.raises(ParameterError, match="outlasts"):
            onset_errors(np.zeros((1, 3, 1), np.float32), np.array([8]), column(np.zeros(10)))
        with pytest.raises(ParameterError, match="do not fit"):
            onset_errors(np.zeros((1, 3, 2), np.float32), np.array([0]), column(np.zeros(10)))
