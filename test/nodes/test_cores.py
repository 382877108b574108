"""A lockstep process waits for a free core; in realtime one may go before all usual ones."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: extra 'ros'")

from streaming_net_ros.nodes.cores import leave_others_their_cores, take_priority

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


PROCESS = """
import os, sys, threading
from streaming_net_ros.nodes.cores import take_priority

end = threading.Event()
def told():
    threads = [int(name) for name in os.listdir("/proc/self/task")]
    return {(os.sched_getscheduler(t), os.sched_getparam(t).sched_priority) for t in threads}

before = threading.Thread(target=end.wait)
before.start()
why_not = take_priority(3) or take_priority(7)
after = threading.Thread(target=end.wait)
after.start()
print(why_not or (told() == {(os.SCHED_RR, 7)}))
end.set()
"""


def test_all_threads_of_a_process_have_the_priority_and_those_that_come_too():
    done = subprocess.run(
        [sys.executable, "-c", PROCESS], capture_output=True, text=True, check=True
    )
    if "Operation not permitted" in done.stdout:
        pytest.skip(f"this machine does not allow it: {done.stdout.strip()}")
    assert done.stdout.strip() == "True"


def test_threads_that_appear_meanwhile_are_not_forgotten(monkeypatch):
    usual, wanted = (os.SCHED_OTHER, 0), (os.SCHED_RR, 5)
    policies = {1: usual, 2: usual}

    def set_policy(thread, policy, param):
        policies[thread] = policy, param.sched_priority
        policies.setdefault(3, usual)  # one more, of a thread that did not have it yet

    class Tasks:
        def iterdir(self):
            return [Path(str(thread)) for thread in (*policies, 4)]  # 4 has just ended

    def policy_of(thread):
        if thread == 4:
            raise ProcessLookupError
        return policies[thread][0]

    monkeypatch.setattr("streaming_net_ros.nodes.cores._THREADS", Tasks())
    monkeypatch.setattr(os, "sched_setscheduler", set_policy)
    monkeypatch.setattr(os, "sched_getscheduler", policy_of)
    monkeypatch.setattr(os, "sched_getparam", lambda thread: os.sched_param(policies[thread][1]))
    assert take_priority(5) == ""
    assert set(policies.values()) == {wanted}


def test_a_system_that_takes_no_priority_and_says_nothing_ends_the_asking(monkeypatch):
    monkeypatch.setattr(os, "sched_setscheduler", lambda *_: None)
    assert "some threads never have it" in take_priority(5)


def refuse(*_):
    raise PermissionError(1, "Operation not permitted")


@pytest.mark.ros
def test_a_priority_that_is_not_allowed_is_a_warning_of_every_member(
    monkeypatch, write_network, tiny, namespace
):
    from diagnostic_msgs.msg import DiagnosticArray

    from harness import composed

    path = write_network(tiny)
    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    heard = []
    with composed(path, namespace, mode="realtime", realtime_priority=7) as (container, robot):
        robot.node.create_subscription(DiagnosticArray, "/diagnostics", heard.append, 10)

        def told():
            return [one for array in heard for one in array.status if namespace in one.name]

        def names():
            return {one.name for one in told()}

        assert len(container.members) > 1
        assert robot.host.spin(lambda: len(names()) == len(container.members), 10)
        for one in told():
            assert one.level == b"\x01"
            assert "no real-time priority 7" in one.message and "rtprio" in one.message


@pytest.mark.ros
@pytest.mark.parametrize(
    "settings", [{"mode": "lockstep", "realtime_priority": 7}, {"mode": "realtime"}]
)
def test_nobody_asks_for_a_priority_unless_told_so_and_in_realtime(
    settings, monkeypatch, write_network, tiny, namespace
):
    from harness import composed

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    with composed(write_network(tiny), namespace, **settings) as (container, _):
        assert container.warnings == []
