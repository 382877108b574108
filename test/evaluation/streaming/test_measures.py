"""Errors, ages and delays of hand-made answers; the definitions against a search through all."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import strategies  # noqa: F401 (loads the profile of laws, which has no deadline)
from evaluation.streaming.worlds import MS, PERIOD_NS, answers_of, delayed, lived_in, made_world
from streaming_net_ros.errors import BagError, ParameterError
from streaming_net_ros.evaluation.metrics import response_errors
from streaming_net_ros.evaluation.streaming.comparison import measures_json
from streaming_net_ros.evaluation.streaming.measures import measure, plain
from streaming_net_ros.evaluation.streaming.world import thresholds_of

WAVE = np.sin(np.arange(80) / 5)


def judged(lived, names=("angular.z",), kind="numbers", frames=(2, 2), threshold=0.5):
    parts = lived if isinstance(lived, list) else [lived]
    return measure(parts, names, kind, frames, dict.fromkeys(names, threshold))


class TestTheWorldOfThatTime:
    def test_right_answers_at_once_are_without_error_and_age(self):
        world = made_world(WAVE)
        m = judged(lived_in(world, delayed(world, 0)))
        assert m.streaming["mae"] == pytest.approx([0.0])
        assert (m.age_ms.max, m.latency_ms.max, m.images_answered) == (0.0, 0.0, 1.0)
        assert m.times == 80

    @pytest.mark.parametrize("frames_late", [1, 2, 5])
    def test_right_answers_too_late_err_by_what_the_world_has_moved(self, frames_late):
        world = made_world(WAVE)
        m = judged(lived_in(world, delayed(world, frames_late * PERIOD_NS)))
        right = np.float32(WAVE).astype(float)
        moved = np.abs(right[frames_late:] - right[:-frames_late]).mean()
        assert m.streaming["mae"] == pytest.approx([moved])
        assert m.age_ms.mean == m.age_ms.p95 == 50 * frames_late
        assert m.lags["angular.z"].lags_ns[m.lags["angular.z"].best] == frames_late * PERIOD_NS
        assert m.offline[0]["mae"] == [0.0]  # time costs nothing there

    def test_an_answer_counts_from_the_very_moment_of_its_publication(self):
        world = made_world([0.0, 1.0, 1.0])
        at_once, late = (delayed(world, delay_ns) for delay_ns in (0, 1))
        assert lived_in(world, at_once).answers_at(world.stamps_ns)[:, 0].tolist() == [0, 1, 1]
        assert lived_in(world, late).answers_at(world.stamps_ns)[1:, 0].tolist() == [0, 1]

    @given(
        st.lists(st.tuples(st.integers(0, 79), st.integers(0, 400)), min_size=1, max_size=40),
        st.integers(0, 2**32),
    )
    def test_the_newest_answer_is_found_as_by_a_search_through_all(self, published, seed):
        world = made_world(np.random.default_rng(seed).standard_normal(80))
        rows = sorted((int(world.captured_ns[k]) + ms * MS, int(world.captured_ns[k]), k / 10)
                      for k, ms in published)  # fmt: skip
        lived = lived_in(world, answers_of(*zip(*rows, strict=True)))
        given = lived.answers_at(lived.times_ns)[:, 0]
        for time_ns, answer in zip(lived.times_ns, given, strict=True):
            by_then = [value for at_ns, _, value in rows if at_ns <= time_ns]
            assert answer == by_then[-1]
        first_ns = rows[0][0]
        assert len(lived.times_ns) == (world.stamps_ns >= first_ns).sum()

    def test_all_rollouts_are_judged_at_the_same_times(self):
        world = made_world(WAVE)
        prompt, slow = delayed(world, 0), delayed(world, 10 * PERIOD_NS)
        assert len(world.times_ns([prompt])) == 80
        assert len(world.times_ns([prompt, slow])) == 70

    def test_only_the_judged_part_counts(self):
        world = made_world(np.concatenate([np.full(40, 100.0), WAVE[:40]]), slice(40, None))
        m = judged(lived_in(world, delayed(world, 0, error=0.5)))
        assert (m.times, m.images) == (40, 40)
        assert m.streaming_mean["mae"][0] < 1

    def test_unknown_references_are_not_judged(self):
        values = WAVE.copy()
        values[[3, 4, 70]] = np.nan
        world = made_world(values)
        right = answers_of(world.captured_ns, world.captured_ns, WAVE.astype(np.float32))
        m = judged(lived_in(world, right, offline=right))
        assert (m.times, m.images) == (77, 77)
        assert m.streaming["mae"] == m.offline[0]["mae"] == [0.0]


class TestOffline:
    def test_early_and_full_are_those_of_the_recorded_run(self):
        world = made_world(WAVE)
        rng = np.random.default_rng(0)
        given = (world.at_capture + rng.standard_normal((80, 1))).astype(np.float32)
        offline = answers_of(world.captured_ns, world.captured_ns, given)
        m = judged(lived_in(world, delayed(world, 0), offline), frames=(2, 5))
        errors = response_errors(
            world.captured_ns, given, world.captured_ns, world.at_capture.astype(np.float32),
            first_frames=2, full_frames=5, fields=["angular.z"],
        )  # fmt: skip
        assert m.images == errors.images
        assert m.offline[0]["mae"] == pytest.approx(errors.early.mae)
        assert m.offline[3]["rmse"] == pytest.approx(errors.full.rmse)
        assert m.offline_mean["mae"] == pytest.approx(errors.mean.mae)
        assert len(m.offline) == 4

    def test_pooled_errors_weigh_recordings_by_their_images(self):
        short, long = made_world(WAVE[:20], bag="a"), made_world(WAVE[:60], bag="b")
        parts = [
            lived_in(short, delayed(short, 0, 1.0), delayed(short, 0, 1.0)),
            lived_in(long, delayed(long, 0, 3.0), delayed(long, 0, 3.0)),
        ]
        m = judged(parts)
        assert m.offline[0]["mae"] == m.streaming["mae"] == pytest.approx([2.5])

    def test_several_fields_stay_apart(self):
        world = made_world(np.stack([WAVE, 2 * WAVE], axis=1))
        timed = delayed(world, 0, np.array([0.25, -1.0]))
        m = judged(lived_in(world, timed), names=("angular.z", "linear.x"))
        assert m.streaming["mae"] == pytest.approx([0.25, 1.0])
        assert set(m.changes) == set(m.lags) == {"angular.z", "linear.x"}


class TestClasses:
    NUMBERS = np.repeat([0, 2, 1, 2], 20).astype(float)

    def test_a_late_classifier_is_wrong_after_each_switch(self):
        world = made_world(self.NUMBERS)
        m = judged(lived_in(world, delayed(world, 2 * PERIOD_NS)), kind="class", threshold=0)
        assert m.streaming == {"accuracy": pytest.approx([1 - 6 / 78])}
        change = m.changes["angular.z"]
        assert (change.changes, change.answered, change.median_ms) == (3, 3, 100.0)
        assert m.lags == {}

    def test_beside_it_stands_the_commonest_class(self):
        world = made_world(self.NUMBERS)
        m = judged(lived_in(world, delayed(world, 0)), kind="class", threshold=0)
        assert m.offline_mean == {"accuracy": [0.5]}


class TestChanges:
    def test_missed_changes_are_infinitely_late(self):
        world = made_world(np.repeat([0.0, 1.0, 0.0, 1.0], 20))
        m = judged(lived_in(world, delayed(world, 0, error=-5.0)))
        change = m.changes["angular.z"]
        assert (change.changes, change.answered) == (3, 1)  # downwards it is always below
        assert change.median_ms == np.inf
        assert plain({"x": change.median_ms}) == {"x": None}

    def test_the_threshold_is_half_a_deviation_or_what_is_given(self):
        world = made_world(np.tile([0.0, 2.0], 20))
        assert thresholds_of([world], ["x"], "numbers", None) == {"x": 0.5}
        assert thresholds_of([world], ["x"], "numbers", 0.7) == {"x": 0.7}
        assert thresholds_of([world], ["x"], "class", None) == {"x": 0.0}

    def test_a_reference_that_stands_still_never_changes(self):
        world = made_world(np.ones(30))
        m = judged(lived_in(world, delayed(world, 0)), threshold=0.0)
        assert m.changes["angular.z"].changes == 0


class TestSpread:
    def test_ages_of_a_slow_rollout_go_up_and_down(self):
        world = made_world(WAVE)
        slow = slice(None, None, 4)  # an answer to every fourth image, 100 ms later
        timed = answers_of(world.captured_ns[slow] + 100 * MS, world.captured_ns[slow],
                           world.at_capture[slow])  # fmt: skip
        m = judged(lived_in(world, timed))
        assert set((m.ages_ns / MS).tolist()) == {100, 150, 200, 250}
        assert (m.age_ms.max, m.latency_ms.p50, m.images_answered) == (250, 100, 0.25)
        assert m.answers_hz == pytest.approx(5, rel=0.06)

    def test_repeated_answers_to_an_image_count_once_for_its_latency(self):
        world = made_world(WAVE[:3])
        begin = world.captured_ns[0]
        timed = answers_of([begin, begin + 70, begin + 90], [begin] * 3, [0, 1, 2])
        assert len(timed.first_per_image) == 1
        assert timed.first_per_image.values.tolist() == [[0]]


class TestNothingToJudge:
    def test_no_answers(self):
        world = made_world(WAVE)
        with pytest.raises(BagError, match="no reference can be judged"):
            judged(lived_in(world, answers_of([], [], np.empty((0, 1)))))

    def test_no_image_with_a_full_answer(self):
        world = made_world(WAVE[:4])
        with pytest.raises(BagError, match="no image has a reference"):
            judged(lived_in(world, delayed(world, 0)), frames=(2, 9))

    def test_a_part_without_an_image(self):
        with pytest.raises(ParameterError, match="no image to judge"):
            made_world(WAVE, slice(90, None))


def test_measures_are_strict_json_with_six_decimals():
    world = made_world(np.ones(10))
    told = measures_json(judged(lived_in(world, delayed(world, 1, error=1 / 3))))
    text = json.dumps(told, allow_nan=False)
    assert "0.333333}" in text and "0.3333333" not in text
    assert told["lag"]["angular.z"]["lag_ms"] is None
