"""A lockstep process waits for a free core; whoever has the process in hand is left as he is."""

from __future__ import annotations

import os
import threading

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: extra 'ros'")

from streaming_net_ros.nodes.cores import leave_others_their_cores

pytestmark = pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="not Linux")


def policies_in_a_thread(act):
    """Of a thread that acts, and of one that it starts then."""
    told = []

    def run():
        act()
        told.append(os.sched_getscheduler(0))
        later = threading.Thread(target=lambda: told.append(os.sched_getscheduler(0)))
        later.start()
        later.join()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return told


def test_the_thread_and_those_that_it_starts_wait_and_no_other():
    assert policies_in_a_thread(leave_others_their_cores) == [os.SCHED_BATCH] * 2
    assert policies_in_a_thread(lambda: None) == [os.SCHED_OTHER] * 2


def test_a_system_that_refuses_changes_nothing(monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    assert policies_in_a_thread(leave_others_their_cores) == [os.SCHED_OTHER] * 2


def test_a_policy_that_was_chosen_stays():
    def choose_and_ask():
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        leave_others_their_cores()

    assert policies_in_a_thread(choose_and_ask) == [os.SCHED_IDLE] * 2
