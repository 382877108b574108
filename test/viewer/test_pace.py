"""However many clients ask, all of them together ask about as often as a few."""

from __future__ import annotations

import heapq

import pytest

from streaming_net_ros.viewer.pace import LEAST_MS, MOST_PER_S, Pace


def asked_per_s(views, seconds=30.0):
    """Requests a second in the second half, of views that wait as they are told."""
    now = [0.0]
    pace = Pace(lambda: now[0])
    due = [(number / max(1, views) * 0.2, number) for number in range(views)]
    count = 0
    while due and due[0][0] < seconds:
        now[0], number = heapq.heappop(due)
        count += now[0] > seconds / 2
        heapq.heappush(due, (now[0] + pace.asked() / 1e3, number))
    return count / (seconds / 2)


@pytest.mark.parametrize("views", [1, 6, 18])
def test_a_few_pages_ask_as_often_as_they_may(views):
    assert asked_per_s(views) == pytest.approx(views * 1e3 / LEAST_MS, rel=0.1)


@pytest.mark.parametrize("views", [60, 120, 400])
def test_many_pages_together_ask_no_more_than_a_few(views):
    assert asked_per_s(views) == pytest.approx(MOST_PER_S, rel=0.25)


def test_when_many_have_gone_the_rest_ask_often_again():
    now = [0.0]
    pace = Pace(lambda: now[0])
    for _ in range(5000):
        now[0] += 0.001
        crowded_ms = pace.asked()
    for _ in range(60):
        now[0] += 0.2
        alone_ms = pace.asked()
    assert crowded_ms > 2 * LEAST_MS and alone_ms == LEAST_MS
