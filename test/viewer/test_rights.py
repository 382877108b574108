"""A page without the right to change anything asks for nothing, whatever its browser sends."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

pytest.importorskip("nicegui", reason="the page's library is not installed: extra 'view'")
pytest.importorskip("rclpy", reason="rclpy is not installed: extra 'ros'")

from streaming_net_ros.viewer.control import Answer
from streaming_net_ros.viewer.guard import Guard
from streaming_net_ros.viewer.page import Page


@pytest.fixture
def told(monkeypatch):
    """What pages say to their visitors."""
    from streaming_net_ros.viewer import page

    said = []
    monkeypatch.setattr(page.ui, "notify", lambda text, **_: said.append(text))
    return said


def change(guard, session):
    """Ask for a change; the answer, and whether it was asked for."""
    asked = []

    def ask():
        asked.append(True)
        done = Future()
        done.set_result(Answer(True, "done"))
        return done

    page = Page(SimpleNamespace(guard=guard), session)
    answer = asyncio.run(page.change(ask))
    return answer, bool(asked)


@pytest.mark.parametrize("session", [None, "", "secret", "guess"])
def test_without_a_session_nothing_is_asked_for(told, session):
    answer, was_asked = change(Guard("secret"), session)
    assert not was_asked and not answer.is_done and "token" in told[0]


def test_with_the_token_it_is(told):
    guard = Guard("secret")
    answer, was_asked = change(guard, guard.admit("secret"))
    assert was_asked and answer == Answer(True, "done") and told == ["done"]


@pytest.mark.parametrize("typed", [float("inf"), float("nan"), "x", []])
def test_what_is_no_number_is_answered_and_ends_nothing(told, typed):
    guard = Guard("secret")
    page = Page(SimpleNamespace(guard=guard), guard.admit("secret"))
    assert not asyncio.run(page.change(lambda: int(typed))).is_done


def test_a_panel_does_what_it_does_regularly_only_while_it_is_in_front(monkeypatch):
    from streaming_net_ros.viewer import page as module

    timers, done = [], []
    monkeypatch.setattr(module.ui, "timer", lambda period_s, due: timers.append(due))
    page = Page(SimpleNamespace(guard=Guard()), None, shown="one")
    page.build("one", lambda page: page.every(1.0, lambda: done.append("one")))
    page.build("two", lambda page: page.every(1.0, lambda: done.append("two")))
    for due in timers:
        due()
    page.shown = "two"
    for due in timers:
        due()
    assert done == ["one", "two"]


def test_a_page_in_a_hidden_tab_looks_at_nothing(monkeypatch):
    from streaming_net_ros.viewer import page as module

    timers, done = [], []
    monkeypatch.setattr(module.ui, "timer", lambda period_s, due: timers.append(due))
    page = Page(SimpleNamespace(guard=Guard()), None)
    page.every(1.0, lambda: done.append("looked"))
    for page.is_visible in (True, False, False, True):
        timers[0]()
    assert done == ["looked", "looked"]
