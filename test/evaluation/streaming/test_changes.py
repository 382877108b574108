"""How fast answers follow: steps with known delays, and what counts as a change at all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import strategies  # noqa: F401 (loads the profile of laws, which has no deadline)
from streaming_net_ros.evaluation.streaming.changes import (
    HORIZON_NS,
    changes_of,
    class_changes_of,
    lag_of,
    response_ns,
)

MS = 1_000_000


def stamps(count, period_ms=50):
    return np.arange(count, dtype=np.int64) * period_ms * MS


def step(at, count=60, before=0.0, after=1.0):
    values = np.full(count, before)
    values[at:] = after
    return stamps(count), values


def held(stamps_ns, values):
    def at(times_ns):
        places = np.searchsorted(stamps_ns, times_ns, "right") - 1
        return np.where(places >= 0, np.asarray(values)[np.maximum(places, 0)], np.nan)

    return at


class TestWhatAChangeIs:
    def test_a_step_is_one_change_between_its_levels(self):
        (change,) = changes_of(*step(10), threshold=0.5)
        assert (change.at_ns, change.before, change.after) == (500 * MS, 0.0, 1.0)
        assert change.until_ns == 500 * MS + HORIZON_NS

    def test_what_stays_within_the_threshold_never_changes(self):
        rng = np.random.default_rng(0)
        assert changes_of(stamps(500), rng.uniform(-0.2, 0.2, 500), threshold=0.41) == []

    def test_a_ramp_changes_each_time_it_has_gone_by_the_threshold(self):
        found = changes_of(stamps(101), np.linspace(0, 1, 101), threshold=0.2499)
        assert [round(c.after, 2) for c in found] == [0.25, 0.5, 0.75, 1.0]

    def test_it_ends_when_the_reference_turns_back(self):
        stamps_ns, values = step(10)
        values[14:] = 0.5  # below 63 % of the way
        change = changes_of(stamps_ns, values, threshold=0.6)[0]
        assert change.until_ns == 700 * MS

    def test_unknown_references_are_passed_over(self):
        stamps_ns, values = step(10)
        values[[3, 10, 11]] = np.nan
        (change,) = changes_of(stamps_ns, values, threshold=0.5)
        assert change.at_ns == 600 * MS

    def test_nothing_changes_in_an_empty_or_single_reference(self):
        assert changes_of(stamps(0), np.empty(0), 0.1) == []
        assert changes_of(stamps(1), np.ones(1), 0.1) == []

    def test_a_class_changes_whenever_it_is_another_one_and_until_the_next(self):
        found = class_changes_of(stamps(8), np.array([2, 2, 0, 0, 0, 1, 1, 1.0]))
        assert [(c.at_ns, c.before, c.after, c.until_ns) for c in found] == [
            (100 * MS, 2, 0, 250 * MS),
            (250 * MS, 0, 1, 250 * MS + HORIZON_NS),
        ]

    def test_a_class_that_stays_never_changes(self):
        assert class_changes_of(stamps(8), np.ones(8)) == []


class TestResponses:
    @given(st.integers(0, 900), st.floats(-3, 3), st.sampled_from([-1.0, 1.0, 2.5]))
    def test_a_delayed_copy_answers_after_its_delay(self, delay_ms, level, height):
        stamps_ns, values = step(10, before=level, after=level + height)
        (change,) = changes_of(stamps_ns, values, threshold=0.5)
        assert response_ns(change, stamps_ns + delay_ms * MS, values) == delay_ms * MS

    def test_an_answer_that_was_there_before_took_no_time(self):
        stamps_ns, values = step(10)
        (change,) = changes_of(stamps_ns, values, threshold=0.5)
        early = np.where(np.arange(60) >= 8, 1.0, 0.0)
        assert response_ns(change, stamps_ns, early) == 0

    def test_answered_is_at_63_percent_of_the_way(self):
        stamps_ns, values = step(10)
        (change,) = changes_of(stamps_ns, values, threshold=0.5)
        slow = np.clip((np.arange(60) - 10) / 10, 0, 1)  # 10 % per answer
        assert response_ns(change, stamps_ns, slow) == 7 * 50 * MS

    def test_too_late_or_never_is_missed(self):
        stamps_ns, values = step(10)
        (change,) = changes_of(stamps_ns, values, threshold=0.5)
        assert response_ns(change, stamps_ns + HORIZON_NS, values) is None
        assert response_ns(change, stamps_ns, np.zeros(60)) is None
        assert response_ns(change, stamps(0), np.empty(0)) is None

    def test_a_class_is_answered_by_itself_alone(self):
        stamps_ns, values = step(10, before=0, after=1)
        (change,) = class_changes_of(stamps_ns, values)
        others = np.where(np.arange(60) >= 14, 1.0, 2.0)
        assert response_ns(change, stamps_ns, others, is_class=True) == 200 * MS


class TestLag:
    WAVE = np.sin(np.arange(400) / 9) + 0.3 * np.sin(np.arange(400) / 3.7)

    @pytest.mark.parametrize("delay_ms", [-400, -50, 0, 10, 70, 250, 600])
    def test_of_a_delayed_copy_it_is_the_delay(self, delay_ms):
        now = stamps(400)
        late = held(now + delay_ms * MS, 3 * self.WAVE + 1)
        lag = lag_of([(int(now[20]), int(now[-20]), late, held(now, self.WAVE))])
        assert lag.lags_ns[lag.best] == delay_ms * MS
        assert lag.correlations[lag.best] == pytest.approx(1.0)

    def test_several_recordings_are_pooled(self):
        now = stamps(400)
        piece = (
            int(now[20]),
            int(now[180]),
            held(now + 100 * MS, self.WAVE),
            held(now, self.WAVE),
        )
        other = (int(now[200]), int(now[-20]), *piece[2:])
        lag = lag_of([piece, other])
        assert lag.lags_ns[lag.best] == 100 * MS

    @pytest.mark.parametrize("count", [0, 1, 2, 60])
    def test_where_nothing_varies_there_is_none(self, count):
        now = stamps(max(count, 1))
        flat = held(now, np.ones(len(now)))
        lag = lag_of([(0, 50 * MS * count, flat, flat)])
        assert lag.best is None and np.isnan(lag.zero)
